"""Files in buckets and on web servers, named by an address (`s3://bucket/fix.n5/s0`) instead of a path.

`Place` is the common interface of paths and addresses; the readers of chunked formats use nothing else. Folders at an
address are never listed: a bucket would list every chunk in a folder, and web servers list nothing.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Protocol, Self, TypeAlias
from urllib.parse import unquote

import tensorstore as ts

from teralign.errors import InputError

Store: TypeAlias = dict[str, "str | bool | Store"]
"""A key-value store of tensorstore, as its JSON specification."""

REFUSED = (ValueError, NotImplementedError, OSError)
"""The errors that tensorstore raises when it cannot fulfil a request."""

_ARCHIVE = "zip://"
_READ_AT_ONCE = 64 << 20  # bytes of a file in an archive; tensorstore expands each whole
_MOST_EXPANDED = 20  # times its compressed size, above that
_NOT_OURS = "__MACOSX/"  # which macOS adds to archives
_READ = ("s3", "gs", "http", "https")
_CACHE_BYTES = 64 << 20
_THREADS = 2  # that decode and encode chunks, where the number of cores is not given
_RETRIES = {"max_retries": 4, "initial_delay": "250ms", "max_delay": "8s"}


class Place(Protocol):
    """The place of a file or folder: a path or an address. Hashable."""

    @property
    def name(self) -> str:
        """The last part."""
        ...

    @property
    def parent(self) -> Self:
        """The folder around it."""
        ...

    @property
    def parents(self) -> Sequence[Self]:
        """The folders around it, from inside out."""
        ...

    def __truediv__(self, inside: str) -> Self:
        """Return the place of a name in this folder."""
        ...

    def is_relative_to(self, folder: Self) -> bool:
        """Return whether the place is `folder`, or lies in it."""
        ...

    def relative_to(self, folder: Self) -> PurePosixPath | Path:
        """The way from a folder around it. Raises ValueError when it does not lie in it."""
        ...

    def resolve(self) -> Self:
        """Return the same place without symbolic links."""
        ...

    def exists(self) -> bool:
        """Return whether the place exists; at an address only files can be found, not folders."""
        ...

    def read_bytes(self) -> bytes:
        """The content of the file. Raises OSError, FileNotFoundError where there is none."""
        ...


@dataclass(frozen=True)
class Address:
    """A file or folder in a bucket, on a web server or in a zip archive; `path` counts from the `root`.

    A root is "s3://bucket", "https://server" or, within Teralign only, "zip:///folder/a.zarr.zip".
    """

    root: str
    path: PurePosixPath

    @classmethod
    def in_archive(cls, archive: Path) -> Address:
        """Return the root folder of a zip archive on a disk; if the archive has only one folder, that folder.

        Raises OSError when the archive cannot be read, zipfile.BadZipFile when it is damaged.
        """
        changed = archive.stat().st_mtime_ns
        return cls(f"{_ARCHIVE}{archive.absolute()}", PurePosixPath(_only_folder(archive, changed)))

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse a text with "://" in it. Raises InputError if it is no address that can be read."""
        scheme, _, rest = text.partition("://")
        host, _, path = rest.partition("/")
        if scheme.lower() not in _READ:
            raise InputError(f"{text} cannot be read: an address begins with s3://, gs://, http:// or https://.")
        if not host:
            raise InputError(f"{text} names no {'server' if scheme.startswith('http') else 'bucket'}; complete it.")
        return cls(f"{scheme.lower()}://{host}", PurePosixPath(path.strip("/")))

    def __str__(self) -> str:
        root = self.root.removeprefix(_ARCHIVE)
        return f"{root}/{self.path}" if self.path.parts else root

    @property
    def archive(self) -> Path | None:
        """The zip archive that contains this place, or None."""
        return Path(self.root.removeprefix(_ARCHIVE)) if self.root.startswith(_ARCHIVE) else None

    @property
    def name(self) -> str:
        """The last part, "" of a root."""
        return self.path.name

    @property
    def parent(self) -> Address:
        """The folder around it, which of a root is the root."""
        return replace(self, path=self.path.parent)

    @property
    def parents(self) -> tuple[Address, ...]:
        """The folders around it, from inside out to the root."""
        return tuple(replace(self, path=path) for path in self.path.parents)

    def __truediv__(self, inside: str) -> Address:
        return replace(self, path=self.path / inside)

    def is_relative_to(self, folder: Address) -> bool:
        """Return whether the place is `folder`, or lies in it."""
        return self.root == folder.root and self.path.is_relative_to(folder.path)

    def relative_to(self, folder: Address) -> PurePosixPath:
        """The way from a folder around it. Raises ValueError when it does not lie in it."""
        return self.path.relative_to(folder.path)

    def resolve(self) -> Address:
        """Itself: at addresses there are no links."""
        return self

    def exists(self) -> bool:
        """Return whether there is a file, by reading it. Raises OSError when that cannot be determined."""
        try:
            self.read_bytes()
        except FileNotFoundError:
            return False
        return True

    def read_bytes(self) -> bytes:
        """The content of the file. Raises OSError, FileNotFoundError where there is none."""
        try:
            found = self.parent.open().read(self.name).result()
        except REFUSED as error:
            raise self._os_error(error) from error
        if found.state != "value":
            raise FileNotFoundError(errno.ENOENT, "there is no such file", str(self))
        content: bytes = found.value
        return content

    def store(self) -> Store:
        """Return the specification of this folder as a key-value store of tensorstore."""
        scheme, _, host = self.root.partition("://")
        path = f"{self.path}/" if self.path.parts else ""
        if self.archive is not None:
            return {"driver": "zip", "base": {"driver": "file", "path": str(self.archive.resolve())}, "path": path}
        if scheme == "s3":
            return {"driver": "s3", "bucket": host, "path": path, **_s3_settings(os.environ)}
        if scheme == "gs":
            return {"driver": "gcs", "bucket": host, "path": path}
        return {"driver": "http", "base_url": self.root, "path": f"/{unquote(path)}"}

    def open(self) -> ts.KvStore:
        """The folder as a key-value store of tensorstore."""
        return ts.KvStore.open(self.store(), context=shared_context()).result()

    def _os_error(self, error: Exception) -> OSError:
        if str(error).startswith(("PERMISSION_DENIED", "UNAUTHENTICATED")):
            return PermissionError(errno.EACCES, reason(error), str(self))
        return OSError(errno.EIO, reason(error), str(self))


@functools.lru_cache(maxsize=64)
def _only_folder(archive: Path, changed: int) -> str:
    """Return the name of the folder that holds all of a zip archive, "" if there is more than one.

    Raises InputError for an archive with a file that tensorstore would leave out, or that would take much memory.
    """
    with zipfile.ZipFile(archive) as file:
        entries = file.infolist()
        names = [name for name in file.namelist() if not name.startswith(_NOT_OURS)]
    store: Store = {"driver": "zip", "base": {"driver": "file", "path": str(archive.resolve())}}
    try:
        found = {name.decode("utf-8", "replace") for name in ts.KvStore.open(store).result().list().result()}
    except REFUSED as error:
        raise InputError(f"{archive} is damaged: {reason(error)}; copy it again.") from error
    found -= {
        entry.filename
        for entry in entries
        if entry.file_size > max(_READ_AT_ONCE, _MOST_EXPANDED * entry.compress_size)
    }
    left_out = next((name for name in names if not name.endswith("/") and name not in found), None)
    if left_out is not None:
        raise InputError(
            f"{archive} holds {left_out}, which is encrypted, or compressed in a way or to a degree that is not read "
            "in place; unpack the archive and give the folder."
        )
    tops = {name.partition("/")[0] for name in names}
    return min(tops) if len(tops) == 1 and any("/" in name for name in names) else ""


def as_place(uri: str | Path) -> Path | Address:
    """Return the path or address that a user's text names. Raises InputError for an address that cannot be read."""
    text = str(uri)
    return Address.parse(text) if "://" in text else Path(text).expanduser()


def absolute_uri(uri: str | Path) -> str:
    """Return a URI that holds in any working directory: paths are made absolute, addresses already are."""
    place = as_place(uri)
    return str(place.absolute() if isinstance(place, Path) else place)


@functools.cache
def shared_context() -> ts.Context:
    """Return the context that all stores and arrays of this process share: bounded memory, threads and retries.

    A server that does not answer is asked four times, over a few seconds.
    """
    retries = {f"{driver}_request_retries": _RETRIES for driver in ("s3", "gcs", "http")}
    return ts.Context({"cache_pool": {"total_bytes_limit": _CACHE_BYTES}, **concurrency(), **retries})


def concurrency() -> dict[str, dict[str, int]]:
    """Return the numbers of threads that decode and read. A worker decodes with the cores that it was given."""
    threads = int(os.environ.get("TERALIGN_THREADS", 0)) or _THREADS
    return {"data_copy_concurrency": {"limit": threads}, "file_io_concurrency": {"limit": threads}}


def reason(error: Exception) -> str:
    """Return tensorstore's description of an error, without its codes and the echo of the request."""
    lines = str(error).split(" [", maxsplit=1)[0].splitlines() or [type(error).__name__]
    return re.sub(r"^[A-Z_]+: ", "", lines[0]).rstrip(".")


def _s3_settings(environment: Mapping[str, str]) -> Store:
    """Return the settings of S3 in the usual environment variables that tensorstore itself ignores.

    A region is passed only with an endpoint other than AWS: AWS itself knows the region of a bucket. Keys in the
    environment are named as the source of credentials, because the search for others would fill the log.
    """
    settings: Store = {}
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    if endpoint:
        settings["endpoint"] = endpoint.rstrip("/")
        if region:
            settings["aws_region"] = region
    if environment.get("AWS_ACCESS_KEY_ID"):
        settings["aws_credentials"] = {"type": "environment"}
    return settings
