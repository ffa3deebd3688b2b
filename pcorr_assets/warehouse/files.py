"""Files that are there whole or not at all.

Belongs here: atomic replacement, scratch folders, removal of what killed writers left,
content hashes, and words for a disk that takes nothing more. Does not belong here: what is
inside the files.

Whoever writes holds the kernel's lock on its temporary file, or on a file in its scratch
folder. So whoever comes next knows which of them a living process is using, and removes
the others.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pcorr_assets.errors import PcorrError

TEMPORARY_SUFFIX = ".tmp"
# Of files that a library makes itself, so that nobody can hold a lock on them before.
UNLOCKED_SUFFIX = ".writing"
SECONDS_UNTIL_STALE = 24 * 3600
_TOKEN_BYTES = 8
_ALIVE = ".in-use"

_CANNOT_WRITE = {
    errno.ENOSPC: ("its disk is full", "Make room on it"),
    errno.EDQUOT: ("the disk quota is used up", "Remove files, or have the quota raised"),
    errno.EFBIG: (
        "it would be larger than files may be here",
        "Raise the limit (ulimit -f), or use another file system",
    ),
    errno.EROFS: (
        "its file system is read-only",
        "Mount it for writing, or name a folder that can be written to",
    ),
    errno.EACCES: (
        "this user may not write there",
        "Give the user the right to, or name a folder that can be written to",
    ),
    errno.EIO: ("its disk has a fault", "See the system's log, and use another disk"),
}
_CANNOT_WRITE[errno.EPERM] = _CANNOT_WRITE[errno.EACCES]


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say it in words if the system refuses to write in the block, whose output is `path`.

    Raises:
        PcorrError: the disk is full or has a fault, a limit is reached, or this user may not
            write there; with the path, and what to do.
    """
    try:
        yield
    except OSError as error:
        why, remedy = _CANNOT_WRITE.get(error.errno or 0, ("", ""))
        # The block may read as well; what it may not read is somewhere else.
        is_elsewhere = error.filename is not None and not _is_about(Path(error.filename), path)
        if not why or (is_elsewhere and error.errno in (errno.EACCES, errno.EPERM, errno.EIO)):
            raise
        raise PcorrError(
            f"{path} cannot be written: {why}. What was there before is still there. {remedy}, "
            "then launch this again."
        ) from error


def _is_about(named: Path, path: Path) -> bool:
    """Is it `path`, one of the folders above it, or something beside or in it?"""
    return named.is_relative_to(path.parent) or path.is_relative_to(named)


@contextmanager
def atomic_path(path: Path, *, made_by_library: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; a clean exit moves it into place.

    The file is synced to disk before the move and its folder after it, so a crash at
    any instant leaves the old file or the new one. On an exception the temporary file
    is removed and `path` stays as it was. The temporary file is there, empty, to be written
    to; its name starts with a dot and ends in `.tmp`, so that no glob over `*.parquet` sees
    it. `made_by_library`: it is not there, and its leftovers are the caller's to remove.

    Raises:
        PcorrError: as `writing`.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(path.parent)
        if made_by_library:
            temporary, lock = path.with_name(_temporary_name(path, UNLOCKED_SUFFIX)), None
        else:
            temporary, lock = _create_locked(path)
        try:
            yield temporary
            move_into_place(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
            if lock is not None:
                os.close(lock)


def move_into_place(source: Path, path: Path) -> None:
    """Replace `path` by a finished file of the same file system, synced to disk."""
    _sync(source)
    os.replace(source, path)
    _sync(path.parent)


def replace_folder(source: Path, path: Path, aside: Path) -> None:
    """Put the finished folder `source` where `path` is; `aside` is where that waits meanwhile.

    All three are on one file system. A crash leaves the old folder or the new one at `path`,
    or, between two renames, none: `restore_folder` then brings the old one back.

    Raises:
        PcorrError: as `writing`.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            os.rename(path, aside)
        os.rename(source, path)
        _sync(path.parent)
        _sync(source.parent)
        if aside.exists():
            shutil.rmtree(aside)


def restore_folder(path: Path, aside: Path) -> None:
    """Undo, or finish, what a crash interrupted in `replace_folder`."""
    if not aside.exists():
        return
    with writing(path):
        if path.exists():
            shutil.rmtree(aside)
        else:
            os.rename(aside, path)


@contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Yield a new folder in `parent` that is removed at the end, whatever happens.

    `prefix` begins with a dot. Folders that killed processes left under it are removed.

    Raises:
        PcorrError: as `writing`.
    """
    with writing(parent):
        parent.mkdir(parents=True, exist_ok=True)
        remove_dead_scratch(parent, prefix)
        folder, lock = _make_locked(parent, prefix)
        try:
            yield folder
        finally:
            shutil.rmtree(folder)
            os.close(lock)


def remove_dead_scratch(parent: Path, prefix: str) -> None:
    """Remove scratch folders of `parent` that killed processes left."""
    for leftover in parent.glob(f"{prefix}{_any_token()}"):
        _remove_if_dead(leftover)


def remove_stale(folder: Path) -> None:
    """Remove temporary files of `folder` that no living process is writing."""
    for leftover in folder.glob(f".*.{_any_token()}{TEMPORARY_SUFFIX}"):
        _remove_if_dead(leftover)


def clear_folder(folder: Path, pattern: str) -> None:
    """Remove the files of a pattern, and the folder if it is empty then; it may be missing."""
    for path in folder.glob(pattern):
        path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def remove_leftovers(path: Path) -> None:
    """Remove what writers of `path` by a library left when they died, and what is beside it.

    Only for one who keeps other writers of `path` away, since it spares none.
    """
    for suffix in (UNLOCKED_SUFFIX, TEMPORARY_SUFFIX):
        name = f".{glob.escape(path.name[:150])}.{_any_token()}{suffix}"
        for leftover in path.parent.glob(f"{name}*"):
            leftover.unlink(missing_ok=True)


def _any_token() -> str:
    return "?" * 2 * _TOKEN_BYTES


def _temporary_name(path: Path, suffix: str) -> str:
    return f".{path.name[:150]}.{secrets.token_hex(_TOKEN_BYTES)}{suffix}"


def _create_locked(path: Path) -> tuple[Path, int]:
    """A new empty file beside `path`, and the descriptor that holds its lock."""
    while True:
        temporary = path.with_name(_temporary_name(path, TEMPORARY_SUFFIX))
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if _lock(descriptor) and _is_at(descriptor, temporary):
            return temporary, descriptor
        os.close(descriptor)  # somebody took it for a leftover before it was locked


def _make_locked(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        folder = parent / f"{prefix}{secrets.token_hex(_TOKEN_BYTES)}"
        folder.mkdir(0o700)
        alive = folder / _ALIVE
        descriptor = os.open(alive, os.O_RDWR | os.O_CREAT, 0o666)
        if _lock(descriptor) and _is_at(descriptor, alive):
            return folder, descriptor
        os.close(descriptor)


def _remove_if_dead(leftover: Path) -> None:
    """Remove a temporary file or folder, unless its maker lives or it may not be removed."""
    is_folder = leftover.is_dir()
    marker = leftover / _ALIVE if is_folder else leftover
    try:
        descriptor = os.open(marker, os.O_RDWR)
    except FileNotFoundError:
        # Just being made, or of a version that marked nothing.
        if is_folder and _is_old(leftover):
            shutil.rmtree(leftover, ignore_errors=True)
        return
    except OSError:  # somebody else's, or a file system that takes no writes: theirs to remove
        return
    try:
        if _lock(descriptor) and _is_at(descriptor, marker):
            if is_folder:
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Is the open file still the one that has this name?"""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _is_old(path: Path) -> bool:
    try:
        return path.stat().st_mtime < time.time() - SECONDS_UNTIL_STALE
    except FileNotFoundError:
        return False


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Replace the file by one that holds `text` (UTF-8), atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
