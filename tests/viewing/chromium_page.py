"""A headless Chromium, driven by its debugging protocol: opens pages, evaluates JavaScript, takes pictures."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tornado.websocket import WebSocketClientConnection, websocket_connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_PATIENCE = 90.0  # seconds; machines of tests are slow, and draw without a graphics card
_WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")


class Page:
    """One page; calls return when the browser has answered."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: WebSocketClientConnection) -> None:
        self._loop = loop
        self._socket = socket
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Call a method of the protocol, and return its result."""
        return self._loop.run_until_complete(self._call(method, parameters))

    async def _call(self, method: str, parameters: dict[str, object]) -> dict[str, Any]:
        self._number += 1
        await self._socket.write_message(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            text = await asyncio.wait_for(self._socket.read_message(), _PATIENCE)
            assert text is not None, "the browser has gone"
            message = json.loads(text)
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def open(self, url: str) -> None:
        """Go to a page."""
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)

    def value(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """Return the value of an expression as soon as it is true. Raises AssertionError after a while."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
            if answer["result"].get("value"):
                return answer["result"]["value"]
            time.sleep(0.2)
        raise AssertionError(f"never true: {expression}; {self.complaints()}")

    def complaints(self) -> list[str]:
        """Return the errors that the page has logged, exceptions among them."""
        self.value("1")  # reads what is waiting
        found = []
        for event in self.events:
            parameters = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                found.append(json.dumps(parameters["exceptionDetails"])[:500])
            elif event["method"] == "Log.entryAdded" and parameters["entry"]["level"] == "error":
                found.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
            elif event["method"] == "Runtime.consoleAPICalled" and parameters["type"] == "error":
                found.append(json.dumps(parameters["args"])[:500])
        return found

    def requested(self) -> list[str]:
        """Return the URLs that the page has asked for."""
        self.value("1")
        sent = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def picture(self, path: Path) -> None:
        """Write what the page shows as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def opened_page(folder: Path, size: tuple[int, int] = (1200, 800)) -> Iterator[Page]:
    """Run a browser that keeps its files in `folder`, with one empty page."""
    assert CHROMIUM is not None
    options = ["--headless=new", "--no-sandbox", "--no-first-run", *_WEBGL, f"--window-size={size[0]},{size[1]}"]
    command = [CHROMIUM, *options, "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    loop = asyncio.new_event_loop()
    try:
        port = _port_of(folder / "DevToolsActivePort")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            pages = [page for page in json.load(answer) if page["type"] == "page"]
        socket = loop.run_until_complete(_connected(pages[0]["webSocketDebuggerUrl"]))
        yield Page(loop, socket)
        loop.run_until_complete(_closed(socket))  # in the loop, for another test may have ended that of this thread
    finally:
        browser.terminate()
        browser.wait()
        loop.close()


async def _connected(address: str) -> WebSocketClientConnection:
    return await websocket_connect(address, max_message_size=64 << 20)


async def _closed(socket: WebSocketClientConnection) -> None:
    socket.close()


def _port_of(file: Path) -> int:
    """Wait until the browser has written the port on which it listens."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if file.exists() and (lines := file.read_text().splitlines()):
            return int(lines[0])
        time.sleep(0.1)
    raise AssertionError("Chromium does not start")
