"""Servers on this machine: a web server for a folder, and buckets of S3."""

import contextlib
import functools
import io
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_PATIENCE = 60.0


@dataclass(frozen=True)
class Bucket:
    """A bucket of S3, and what one does with it besides aligning."""

    client: Any
    name: str

    @property
    def address(self) -> str:
        return f"s3://{self.name}"

    def upload(self, folder: Path, **options: Any) -> str:
        """Store a file, or a folder with all that is in it, under its own name; gives its address."""
        for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
            if path.is_file():
                key = path.relative_to(folder.parent).as_posix()
                self.client.put_object(Bucket=self.name, Key=key, Body=path.read_bytes(), **options)
        return f"{self.address}/{folder.name}"

    def stored(self) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def content(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()


def s3_server(log: Path) -> contextlib.AbstractContextManager[int]:
    """S3 on a free port."""
    return _serving(["-c", "from moto.server import main; main(['-p', '0'])"], r"http://127\.0\.0\.1:(\d+)", log)


def web_server(folder: Path, log: Path) -> contextlib.AbstractContextManager[int]:
    """The files of a folder on a free port."""
    return _serving([__file__, str(folder)], r"port (\d+)", log)


@contextlib.contextmanager
def _serving(command: Sequence[str], says: str, log: Path) -> Iterator[int]:
    """Run a server until the block ends; gives its port, which it tells in a line of its log."""
    with log.open("wb") as output:
        server = subprocess.Popen([sys.executable, "-u", *command], stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + _PATIENCE
        while not (told := re.search(says, log.read_text())):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start: {log.read_text()}")
            time.sleep(0.05)
        yield int(told[1])
    finally:
        server.terminate()
        server.wait()


class _Handler(SimpleHTTPRequestHandler):
    """Python's web server, and parts of files: "Range: bytes=10-19", "bytes=10-" and "bytes=-10"."""

    def do_GET(self):
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if asked is None or not path.is_file():
            super().do_GET()
            return
        content = path.read_bytes()
        first, last = (int(n) if n else None for n in asked.groups())
        start = len(content) - last if first is None else first
        stop = len(content) if first is None or last is None else min(last + 1, len(content))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        self.copyfile(io.BytesIO(content[start:stop]), self.wfile)


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # a client that reads many chunks at once is not kept waiting


if __name__ == "__main__":
    with _Server(("127.0.0.1", 0), functools.partial(_Handler, directory=sys.argv[1])) as server:
        print("port", server.server_port)
        server.serve_forever()
