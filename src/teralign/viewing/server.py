"""A server on this machine for one view: the viewer's page, its state, and the chunks of layers, made on request.

It listens on 127.0.0.1 only. Every path begins with a random token, so that other users of the machine and pages of
other sites, which cannot see the link, get nothing; names of other hosts are refused, so that no site's name can be
made to lead here. Only the layers of the view are served, and paths name no files but those of the page.

The page is that of the Python package neuroglancer. It gets its state as an event from /events/NAME, reports changes
to /state/NAME and the like, where NAME is the last part of its own address /v/NAME; other pages read state.json.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import secrets
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import imagecodecs
import tornado.httpserver
import tornado.web

from teralign.caching import BoundedCache
from teralign.errors import DataError, InputError
from teralign.viewing.layers import LayeredView
from teralign.viewing.neuroglancer_state import viewer_state
from teralign.viewing.zarr_view import content

_LOOPBACK = "127.0.0.1"
_NAME = "view"
_MAX_BODY_BYTES = 16 << 20  # of a state with all its points
_CACHE_BYTES = 256 << 20
_GZIP_LEVEL = 1  # by libdeflate, which takes a third of the time of zlib
_MIN_GZIP_BYTES = 1024


@dataclass(frozen=True)
class Answer:
    """The content of a file, and the same compressed if that is worth it."""

    plain: bytes
    zipped: bytes | None

    @classmethod
    def of(cls, plain: bytes) -> Answer:
        """Compress a content unless it is short."""
        worth = len(plain) >= _MIN_GZIP_BYTES
        return cls(plain, bytes(imagecodecs.gzip_encode(plain, _GZIP_LEVEL)) if worth else None)

    @property
    def size(self) -> int:
        """The bytes in memory."""
        return len(self.plain) + len(self.zipped or b"")


@dataclass
class Served:
    """The things that requests share: the view, the threads that make chunks, and the answers kept."""

    view: LayeredView
    token: str
    viewer: str
    threads: ThreadPoolExecutor
    answers: BoundedCache[Answer | None] = field(
        default_factory=lambda: BoundedCache(_CACHE_BYTES, lambda answer: answer.size if answer else 0)
    )

    def answer(self, layer: int, key: str) -> Answer | None:
        """Return a file of a layer, None where there is none. Raises DataError when voxels cannot be read."""

        def make() -> Answer | None:
            made = content(self.view.layers[layer], key)
            return None if made is None else Answer.of(made)

        return self.answers.get((layer, key), make)


class ViewServer:
    """Serves a view from a thread of its own, within a context; `link` opens it in Neuroglancer."""

    link: str

    def __init__(self, view: LayeredView, *, port: int = 0, threads: int = 2, viewer: str | None = None) -> None:
        """Take the view; `port` 0 is any free one, `viewer` is another Neuroglancer than the one installed here.

        Raises InputError when the port is taken, or no Neuroglancer is installed and none is given.
        """
        try:
            self._socket = socket.create_server((_LOOPBACK, port))
        except OSError as error:
            raise InputError(f"port {port} cannot be used: {error.strerror}; choose another --port.") from error
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self._token = secrets.token_urlsafe(16)
        self.address = f"http://{_LOOPBACK}:{self.port}/{self._token}"
        client = None if viewer else neuroglancer_client()
        self.link = f"{viewer.rstrip('/')}/#!{self.address}/state.json" if viewer else f"{self.address}/v/{_NAME}/"
        self._threads = ThreadPoolExecutor(threads)
        self._served = Served(view, self._token, _origin(self.link), self._threads)
        self._application = _application(self._served, self.address, client)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> ViewServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._threads.shutdown(cancel_futures=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)

        async def listen() -> tornado.httpserver.HTTPServer:
            server = tornado.httpserver.HTTPServer(self._application, max_body_size=_MAX_BODY_BYTES)
            server.add_socket(self._socket)
            return server

        server = self._loop.run_until_complete(listen())
        self._loop.run_forever()

        async def leave() -> None:
            server.stop()
            await server.close_all_connections()

        self._loop.run_until_complete(leave())
        self._loop.close()


def neuroglancer_client() -> Path:
    """Return the folder of the built page in the Python package neuroglancer, without importing it.

    Raises InputError when it is not installed.
    """
    found = importlib.util.find_spec("neuroglancer")
    folder = Path(found.origin).parent / "static" / "client" if found is not None and found.origin else None
    if folder is None or not (folder / "index.html").is_file():
        raise InputError(
            "Neuroglancer is not installed; run pip install 'teralign[view]', or give the address of one as --viewer."
        )
    return folder


def _origin(url: str) -> str:
    """Return scheme, host and port of a URL, as browsers name the origin of a request."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def _application(served: Served, address: str, client: Path | None) -> tornado.web.Application:
    token = served.token
    state = json.dumps(viewer_state(served.view, f"{address}/layers"))
    routes: list[tuple[str, type[tornado.web.RequestHandler], dict[str, object]]] = [
        (rf"/{token}/state\.json", _State, {"state": state}),
        (rf"/{token}/layers/(\d{{1,4}})/(.+)", _LayerFile, {}),
    ]
    if client is not None:
        files: dict[str, object] = {"path": str(client), "default_filename": "index.html"}
        routes += [
            (rf"/{token}/events/{_NAME}", _Events, {"state": state}),
            (rf"/{token}/(?:state|action|volume_response)/{_NAME}.*", _Reports, {}),
            (rf"/{token}/v/{_NAME}/(.*)", _Page, files),
        ]
    return tornado.web.Application(routes, default_handler_class=_Nothing, log_function=_no_log, served=served)


def _no_log(_: tornado.web.RequestHandler) -> None:
    """Log no requests: there are hundreds a second."""


class _Guarded(tornado.web.RequestHandler):
    """Answers requests that name this machine, and lets the viewer's page read the answers."""

    @property
    def served(self) -> Served:
        """The things that requests share."""
        shared: Served = self.application.settings["served"]
        return shared

    def prepare(self) -> None:
        """Refuse requests by another name than this machine's."""
        host = self.request.host.rpartition(":")[0] or self.request.host
        if host not in (_LOOPBACK, "localhost"):
            raise tornado.web.HTTPError(403)

    def set_default_headers(self) -> None:
        """Allow the viewer's page alone, and keep the token out of requests to other sites."""
        self.set_header("Server", "teralign")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Vary", "Origin, Accept-Encoding")
        if self.request.headers.get("Origin") == self.served.viewer:
            self.set_header("Access-Control-Allow-Origin", self.served.viewer)
            self.set_header("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
            self.set_header("Access-Control-Allow-Headers", "Range")
            self.set_header("Access-Control-Expose-Headers", "Content-Range, Content-Length")
            self.set_header("Access-Control-Allow-Private-Network", "true")

    def options(self, *_: str) -> None:
        """Answer what a browser asks before the request of another site's page."""
        self.set_status(204)

    def write_error(self, status_code: int, **_: object) -> None:
        """Answer an error with its number only."""
        self.set_header("Content-Type", "text/plain")
        self.finish(f"{status_code}\n")


class _Nothing(_Guarded):
    def get(self) -> None:
        raise tornado.web.HTTPError(404)


class _State(_Guarded):
    def initialize(self, state: str) -> None:
        self.state = state

    def get(self) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(self.state)


class _Events(_Guarded):
    """Sends the installed page its first state; a page that comes back keeps what its user has changed."""

    def initialize(self, state: str) -> None:
        self.state = state
        self.closed = asyncio.Event()

    def on_connection_close(self) -> None:
        self.closed.set()

    async def get(self) -> None:
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-cache")
        if not self.get_query_argument("gs", ""):
            self.write(f'data: {{"k": "s", "g": "1", "s": {self.state}}}\n\n')
        await self.flush()
        await self.closed.wait()


class _Reports(_Guarded):
    """Takes what the installed page reports to its server, and keeps none of it."""

    def post(self) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish('{"g": "1"}')


class _Page(_Guarded, tornado.web.StaticFileHandler):
    """Files of Neuroglancer's page; tornado refuses paths that leave their folder."""


class _LayerFile(_Guarded):
    """Metadata and chunks of a layer, compressed for those who take it, whole or a range of bytes."""

    gone = False

    def on_connection_close(self) -> None:
        """Remember that the client has gone: viewers ask for chunks and scroll past them before they are made."""
        self.gone = True

    async def head(self, layer: str, key: str) -> None:
        await self.get(layer, key)

    async def get(self, layer: str, key: str) -> None:
        if int(layer) >= len(self.served.view.layers):
            raise tornado.web.HTTPError(404)

        def answer() -> Answer | None:
            return None if self.gone else self.served.answer(int(layer), key)

        try:
            found = await asyncio.get_running_loop().run_in_executor(self.served.threads, answer)
        except DataError as error:
            self.set_status(500)
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish(f"{error}\n")
            return
        if self.gone:
            return
        if found is None:
            raise tornado.web.HTTPError(404)
        self.set_header("Content-Type", "application/json" if key.endswith(".json") else "application/octet-stream")
        self.set_header("Accept-Ranges", "bytes")
        self._send(found)

    def _send(self, answer: Answer) -> None:
        asked = self.request.headers.get("Range")
        if asked is not None:
            self._send_range(answer.plain, asked)
        elif answer.zipped is not None and "gzip" in self.request.headers.get("Accept-Encoding", ""):
            self.set_header("Content-Encoding", "gzip")
            self.finish(answer.zipped)
        else:
            self.finish(answer.plain)

    def _send_range(self, plain: bytes, asked: str) -> None:
        size = len(plain)
        try:
            span = parse_range(asked, size)
        except ValueError:
            self.set_status(416)
            self.set_header("Content-Range", f"bytes */{size}")
            self.finish()
            return
        self.set_status(206)
        self.set_header("Content-Range", f"bytes {span.start}-{span.stop - 1}/{size}")
        self.finish(plain[span.start : span.stop])


def parse_range(asked: str, size: int) -> range:
    """Return the bytes that the header Range asks for of `size`: `bytes=0-99`, `bytes=100-` or `bytes=-100`.

    Raises ValueError for other forms, several ranges, and ranges that begin beyond the end.
    """
    unit, _, span = asked.partition("=")
    first, dash, last = span.strip().partition("-")
    if unit.strip() != "bytes" or not dash:
        raise ValueError(f"not one range of bytes: {asked}")
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
    if not 0 <= start < stop:
        raise ValueError(f"no bytes of {size}: {asked}")
    return range(start, stop)
