"""What files of this machine hold, as short ids that know nothing of where they lie.

Belongs here: ids of files and folders, and keeping them so that a file is read once. Does not
belong here: which files something is made from (`defs.made_from`), and objects of stores, which
have versions of their own (`remote`).

A file of up to 64 MiB counts by all of its bytes; a larger one by its size and by 64 blocks of
1 MiB, spread evenly from its first byte to its last, since a terabyte cannot be read to answer
what is out of date. Neither path nor time counts, so that copies, clones and other mounts agree.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from io import BufferedReader
from pathlib import Path

from pcorr_assets.errors import DamagedFileError
from pcorr_assets.progress import Progress
from pcorr_assets.warehouse.json_files import read_json, write_json

logger = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 20
BLOCKS = 64
NOT_THERE = "not there"
UNREADABLE = "cannot be read"
# A file that was written within the same tick of the clock would look the same.
SETTLED_SECONDS = 2.0


def folder_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """A folder's files in a fixed order: name relative to it, with slashes, and path.

    Hidden files and folders and Python's caches are left out.
    """
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if any(part.startswith(".") or part == "__pycache__" for part in inside.parts):
            continue
        if path.is_file():
            yield inside.as_posix(), path


class Contents:
    """Ids of files, each read once as long as its size, time of change and inode stay.

    `cache` is a JSON file, or None; one that cannot be read or written costs time and nothing
    else. Ids are 32 hexadecimal digits, `not there` or `cannot be read`. Of a file that is larger
    than `block_bytes` times 64, that many bytes are read.
    """

    def __init__(self, cache: Path | None = None, block_bytes: int = BLOCK_BYTES) -> None:
        self._cache = cache
        self._block_bytes = block_bytes
        self._kept = _read(cache)
        self._seen: dict[str, str] = {}
        self._new: dict[str, list[object]] = {}

    def of_file(self, path: Path) -> str:
        """The id of a file; what is looked at twice is asked for once."""
        name = str(path)
        if name not in self._seen:
            self._seen[name] = self._look(path)
        return self._seen[name]

    def of_files(self, files: Iterable[tuple[str, Path]]) -> dict[str, str]:
        """Ids by the names that the files are given."""
        listed = list(files)
        with Progress("look at files", total=len(listed), unit="files") as progress:
            found = {}
            for name, path in listed:
                found[name] = self.of_file(path)
                progress.update()
        return found

    def of_folder(self, folder: Path, without: Collection[str] = ()) -> str:
        """The id of a folder: names in it and contents, without some endings (`.safetensors`)."""
        if not folder.is_dir():
            return self.of_file(folder)
        try:
            inside = [one for one in folder_files(folder) if one[1].suffix not in without]
        except OSError:
            return UNREADABLE
        return together(self.of_files(inside))

    def save(self) -> None:
        """Keep what was found for the next time."""
        if self._cache is None or not self._new:
            return
        # Read again: others look at files meanwhile.
        kept = {**_read(self._cache), **self._new}
        try:
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._cache, kept, indent=None)
        except Exception as error:  # noqa: BLE001 - whatever happens, the answer is known
            logger.debug("ids of files are not kept: %s", error)
        self._new = {}

    def _look(self, path: Path) -> str:
        name = str(path)
        try:
            if path.exists() and not path.is_file():
                return UNREADABLE  # opening a pipe would wait for its other end
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                stamp = [status.st_size, status.st_mtime_ns, status.st_ino]
                kept = self._kept.get(name)
                if isinstance(kept, list) and kept[:3] == stamp and len(kept) == 4:
                    return str(kept[3])
                found = _id_of(file, status.st_size, self._block_bytes)
        except (FileNotFoundError, NotADirectoryError):
            return NOT_THERE
        except OSError:
            return UNREADABLE
        if time.time() - status.st_mtime > SETTLED_SECONDS:
            self._new[name] = [*stamp, found]
        return found


def together(ids: Mapping[str, str]) -> str:
    """One id of several files by their names."""
    text = "".join(f"{name}\0{found}\n" for name, found in sorted(ids.items()))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _id_of(file: BufferedReader, size: int, block_bytes: int) -> str:
    if size <= BLOCKS * block_bytes:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]
    digest = hashlib.sha256(f"{size}\n".encode())
    for number in range(BLOCKS):
        file.seek((size - block_bytes) * number // (BLOCKS - 1))
        digest.update(file.read(block_bytes))
    return digest.hexdigest()[:32]


def _read(cache: Path | None) -> dict[str, list[object]]:
    try:
        return read_json(cache) if cache is not None else {}
    except (OSError, DamagedFileError):
        return {}
