"""Files that are there whole or not at all.

Belongs here: atomic replacement, content hashes, removal of what crashed writers
left. Does not belong here: what is inside the files.
"""

from __future__ import annotations

import glob
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY_SUFFIX = ".tmp"
SECONDS_UNTIL_STALE = 24 * 3600
_TOKEN_BYTES = 8


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; a clean exit moves it into place.

    The file is synced to disk before the move and its folder after it, so a crash at
    any instant leaves the old file or the new one. On an exception the temporary file
    is removed and `path` stays as it was. The temporary name starts with a dot and
    ends in `.tmp`, so that no glob over `*.parquet` sees it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(_temporary_name(path.name[:150], secrets.token_hex(_TOKEN_BYTES)))
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove what writers of `path` left when they died, and what DuckDB put beside it.

    Only for one who keeps other writers of `path` away, since it spares none.
    """
    pattern = _temporary_name(glob.escape(path.name[:150]), "?" * 2 * _TOKEN_BYTES)
    for leftover in path.parent.glob(f"{pattern}*"):
        leftover.unlink(missing_ok=True)


def _temporary_name(name: str, token: str) -> str:
    return f".{name}.{token}{TEMPORARY_SUFFIX}"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_stale(folder: Path) -> None:
    """Remove temporary files of `folder` that no writer can still be working on."""
    oldest = time.time() - SECONDS_UNTIL_STALE
    for leftover in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        try:
            if leftover.stat().st_mtime < oldest:
                leftover.unlink()
        except FileNotFoundError:  # another writer was faster
            continue


def write_text(path: Path, text: str) -> None:
    """Replace the file by one that holds `text` (UTF-8), atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
