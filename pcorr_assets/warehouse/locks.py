"""The lock that keeps two runs off one partition.

Belongs here: taking the lock, naming its holder, letting go. Does not belong here:
what is done while it is held. Readers never need it.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse.files import writing


@contextmanager
def partition_lock(path: Path, what: str, holder: str) -> Iterator[None]:
    """Hold the lock file at `path` for the length of the block.

    The kernel's `flock` lets go of it when its holder dies in whatever way, so there is
    never a dead lock to clear. The file stays where it is: removing it would let two
    runs lock two files of one name.

    Raises:
        PcorrError: at once, if somebody else holds it; names `what` and the holder.
    """
    descriptor = _open(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PcorrError(
                f"{what} is being materialised by {_holder(descriptor)}. "
                "Wait until it has ended, or terminate it; then launch this again."
            ) from None
        _note(descriptor, path, holder)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def waiting_lock(
    path: Path, what: str, *, seconds: float = 120, holder: str | None = None
) -> Iterator[None]:
    """Hold the lock file at `path`, waiting for one's turn; `holder` is noted in it.

    Raises:
        PcorrError: somebody else still holds it after so many seconds.
    """
    descriptor = _open(path)
    deadline = time.monotonic() + seconds
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise PcorrError(
                        f"waited {seconds:.0f} s for {what}, which another process holds "
                        f"({path}). Look for one that hangs and end it; then launch this again."
                    ) from None
                time.sleep(0.05)
        if holder is not None:
            _note(descriptor, path, holder)
        yield
    finally:
        os.close(descriptor)


def _note(descriptor: int, path: Path, holder: str) -> None:
    note = {
        "holder": holder,
        "host": socket.gethostname(),
        "process": os.getpid(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with writing(path):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(note).encode(), 0)


def _open(path: Path) -> int:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


def _holder(descriptor: int) -> str:
    """Who wrote itself into the lock file; it may have been taken this very moment."""
    try:
        note = json.loads(os.pread(descriptor, 4096, 0))
        return "{holder} (host {host}, process {process}, since {since})".format(**note)
    except (ValueError, KeyError):
        return "a run that started this moment"
