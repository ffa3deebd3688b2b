"""Signals that end a `pcorr run`: the first one gently, the second one at once.

Belongs here: noting them. Does not belong here: what is done then (`runner`, `workers`).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopping:
    """`signal` is the first that came, 0 before."""

    def __init__(self) -> None:
        self.signal = 0
        self.at_once: Callable[[], None] = lambda: None
        self._came = threading.Event()

    def wait(self, seconds: float) -> None:
        """So long, or until a signal comes."""
        self._came.wait(seconds)

    def note(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signals."""
        if self.signal:
            self.at_once()
        self.signal = self.signal or number
        self._came.set()


@contextmanager
def stopping() -> Iterator[Stopping]:
    """Signals are noted within the block.

    Also SIGINT, which a shell has the background processes of its scripts ignore, but not SIGHUP
    below `nohup`.
    """
    found = Stopping()
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    noted = [
        number
        for number in SIGNALS
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
    ]
    before = {number: signal.signal(number, found.note) for number in noted}
    try:
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
