"""One object of a store, read as a stream in bounded memory.

Belongs here: `RemoteFile`, which modules that read files take in the place of a `Path`, and its
reader. Does not belong here: finding objects (`listing`), and retrying (`faults`).

An object is read in blocks, each a request of its own: a connection that drops costs one block,
and nothing is held open while somebody else works. Each block must have its full length, and at
the end of the object size and version (etag) must be what they were at its beginning.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from pcorr_assets.config.storage import Storage
from pcorr_assets.config.urls import path_of, scheme_of
from pcorr_assets.errors import PcorrError
from pcorr_assets.storage.faults import ChangedError, retried
from pcorr_assets.storage.filesystems import filesystem_of, gives_parts

BLOCK_BYTES = 8 << 20
BUFFER_BYTES = 1 << 16
_VERSIONS = (
    "ETag", "etag", "generation", "blob_id", "content_md5", "Content-MD5", "LastModified",
    "last_modified", "Last-Modified",
)  # fmt: skip


@dataclass(frozen=True)
class Stamp:
    """Size in bytes, and what changes with the content: etag, or the time of a local file."""

    size: int
    version: str


@dataclass(frozen=True)
class RemoteFile:
    """An object that a URL names; two of the same URL are equal. `known` is from a listing."""

    url: str
    options: Storage = field(default=Storage(), compare=False)
    known: Stamp | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """What stands behind the last slash."""
        return path_of(self.url).rpartition("/")[2]

    def resolve(self) -> RemoteFile:
        """Itself: there are no links."""
        return self

    def is_file(self) -> bool:
        """True; an object that is not there is told, with the reason, when it is opened."""
        return True

    def stamp(self) -> Stamp:
        """Size and version as they are now.

        Raises PcorrError if the object cannot be asked for, or is a folder.
        """
        system, path = filesystem_of(self.url, self.options)
        # Without it the hub does not say which version it is.
        asked = {"expand_info": True} if scheme_of(self.url) == "hf" else {}
        info = retried(self.url, lambda: system.info(path, **asked))
        if info.get("type") == "directory":
            raise PcorrError(f"{self.url}: it is a folder: add a pattern for the files in it")
        return stamp_of_info(info, self.url)

    def open(self, mode: str = "rb", block_bytes: int = BLOCK_BYTES) -> BinaryIO:
        """The content as a binary stream that can seek; blocks of `block_bytes` are fetched.

        Raises PcorrError as `stamp`; while reading as `faults.retried`, and `ChangedError` if
        the object is another one by its end.
        """
        if mode != "rb":
            raise ValueError(f"mode {mode!r}: objects are read here")
        return io.BufferedReader(_Blocks(self, block_bytes), BUFFER_BYTES)

    def refuse_if_changed(self, since: Stamp) -> None:
        """Raise ChangedError if size or version are not those of `since`."""
        now = self.stamp()
        if now != since:
            raise ChangedError(
                f"{self.url}: the object changed while it was read ({since.size:,} bytes, version "
                f"{since.version}; now {now.size:,}, {now.version}): launch this again when "
                "nothing writes to it"
            )


AnyFile: TypeAlias = Path | RemoteFile


def stamp_of(file: AnyFile) -> Stamp:
    """Size and version (of a local file, the time of its last change in nanoseconds)."""
    if isinstance(file, RemoteFile):
        return file.stamp()
    found = file.stat()
    return Stamp(found.st_size, str(found.st_mtime_ns))


def stamp_of_info(info: dict[str, Any], url: str) -> Stamp:
    """The stamp in what a file system of fsspec says of an object.

    Raises PcorrError if it does not say the size, without which no end is known to be the end.
    """
    size = info.get("size")
    if size is None:
        raise PcorrError(
            f"{url}: the server does not say how long it is, so a cut would not be seen: download "
            "the file and name its path"
        )
    version = next((info[name] for name in _VERSIONS if info.get(name)), "")
    return Stamp(int(size), str(version).strip('"'))


class _Blocks(io.RawIOBase):
    """The bytes of an object, of which one block is held."""

    def __init__(self, file: RemoteFile, block_bytes: int) -> None:
        super().__init__()
        self._file = file
        self._block_bytes = block_bytes
        self._system, self._path = filesystem_of(file.url, file.options)
        self._stamp = file.stamp()
        if file.known is not None:
            # Whoever made a plan by what the listing said must see that it holds no more.
            file.refuse_if_changed(file.known)
        self._position = 0
        self._start = 0
        self._block = b""
        is_small = self._stamp.size <= block_bytes
        is_web = scheme_of(file.url) in ("https", "http")
        self._is_known_to_give_parts = is_small or not is_web

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._stamp.size}
        self._position = max(base[whence] + offset, 0)
        return self._position

    def readinto(self, buffer: Any) -> int:
        if self._position >= self._stamp.size:
            self._file.refuse_if_changed(self._stamp)
            return 0
        if not self._is_known_to_give_parts:
            self._refuse_without_parts()
        inside = self._position - self._start
        if not 0 <= inside < len(self._block):
            self._start, inside = self._position, 0
            self._block = retried(self._file.url, self._fetch)
        count = min(len(buffer), len(self._block) - inside)
        buffer[:count] = self._block[inside : inside + count]
        self._position += count
        return count

    def _refuse_without_parts(self) -> None:
        url = self._file.url
        if not retried(url, lambda: gives_parts(self._system, url)):
            raise PcorrError(
                f"{url}: the server gives no parts of files (HTTP ranges), so a file of "
                f"{self._stamp.size:,} bytes cannot be read in bounded memory: download it and "
                "name its path"
            )
        self._is_known_to_give_parts = True

    def _fetch(self) -> bytes:
        end = min(self._start + self._block_bytes, self._stamp.size)
        block = self._system.cat_file(self._path, start=self._start, end=end)
        if len(block) != end - self._start:
            self._file.refuse_if_changed(self._stamp)
            raise EOFError(
                f"{len(block):,} bytes came of {end - self._start:,} from byte {self._start:,} on"
            )
        return block
