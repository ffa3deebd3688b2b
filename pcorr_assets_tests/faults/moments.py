"""The moments of a process at which something on disk is about to change, one by one.

Belongs here: seeing them, and what a fault does at one of them. Does not belong here: which
moment, and what comes of it.

A moment is an opening for writing, a rename, a removal, a new folder, a lock, a sync, or a
piece of a Parquet file. What libraries write by themselves in between has no moment of its
own: kills at random times and a disk that is really full cover it.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

Act = Callable[[int, str], None]

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_OF_PATHS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
# What needs room; the others work on a full disk.
_NEEDS_ROOM = ("open", "os.mkdir", "fsync", "write")


def watch(folder: Path, act: Act) -> None:
    """Call `act(number, what)` at every moment from now on; there is no way back."""
    count = 0
    prefix = str(folder)

    def moment(what: str, path: object) -> None:
        nonlocal count
        count += 1
        act(count, f"{what} {Path(os.fsdecode(path)).name}" if isinstance(path, str) else what)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = bool(set(mode or "") & set("wax+")) or bool((flags or 0) & _WRITING)
            if writes and isinstance(path, str | bytes | os.PathLike):
                _if_inside(event, path)
        elif event in _OF_PATHS and not isinstance(arguments[0], int):
            _if_inside(event, arguments[0])
        elif event == "fcntl.flock":
            moment("lock", None)

    def _if_inside(event: str, path: Any) -> None:
        named = os.fsdecode(path)
        if named.startswith(prefix):
            moment(event, named)

    def announced(function: Callable[..., Any], what: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            moment(what, None)
            return function(*arguments, **options)

        return call

    os.fsync = announced(os.fsync, "fsync")
    pq.ParquetWriter.write_table = announced(pq.ParquetWriter.write_table, "write")
    pq.ParquetWriter.close = announced(pq.ParquetWriter.close, "write")
    sys.addaudithook(hook)


def kill_at(number: int) -> Act:
    """The process is killed at that moment, as by the kernel when memory runs out."""

    def act(count: int, what: str) -> None:
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return act


def full_from(number: int) -> Act:
    """From that moment on the disk has no room left."""

    def act(count: int, what: str) -> None:
        if count >= number and what.partition(" ")[0] in _NEEDS_ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), what)

    return act


def read_only_from(number: int) -> Act:
    """From that moment on nothing can be written, as after an error of the disk."""

    def act(count: int, what: str) -> None:
        if count >= number and what != "lock":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), what)

    return act


def pause_at(number: int, reached: int, go_on: int) -> Act:
    """The process says on the pipe `reached` that it is there, and waits for `go_on`."""

    def act(count: int, what: str) -> None:
        if count == number:
            os.write(reached, b".")
            os.read(go_on, 1)

    return act
