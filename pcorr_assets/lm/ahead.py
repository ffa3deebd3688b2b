"""Batches that are made ready while the one before them is scored.

Belongs here: the thread that packs the next batch, and how long its packing was waited for. Does
not belong here: what packing is (`packing`), and what is done with a batch (`work`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Ahead(Generic[Made]):
    """Draws from `batches` and lets one thread `make` what is drawn, one batch ahead.

    Drawing stays in the caller's thread, since what draws may look at the caller's arrays. Used
    as a context: at its end the thread has ended. `seconds_waiting` is what `Ready.wait` took.
    """

    def __init__(self, batches: Iterator[int], make: Callable[[int], Made]) -> None:
        self.seconds_waiting = 0.0
        self._batches = batches
        self._make = make
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pack")
        self._next: Ready[Made] | None = None
        self._begun = False

    def __enter__(self) -> Ahead[Made]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._next = None
        self._thread.shutdown(cancel_futures=True)

    def take(self) -> Ready[Made] | None:
        """The next batch, None after the last; the one behind it begins to be made."""
        if not self._begun:
            self._begun = True
            self._next = self._draw()
        taken = self._next
        if taken is not None:
            self._next = self._draw()
        return taken

    def _draw(self) -> Ready[Made] | None:
        batch = next(self._batches, None)
        if batch is None:
            return None
        return Ready(batch, self._thread.submit(self._make, batch), self)


class Ready(Generic[Made]):
    """A batch that is being made ready."""

    def __init__(self, batch: int, future: Future[Made], ahead: Ahead[Made]) -> None:
        self.batch = batch
        self._future: Future[Made] | None = future
        self._ahead = ahead

    def wait(self) -> Made | None:
        """What was made of it, once it is there; None after `drop`.

        Raises:
            Exception: whatever making it raised.
        """
        if self._future is None:
            return None
        started = time.perf_counter()
        try:
            return self._future.result()
        finally:
            self._ahead.seconds_waiting += time.perf_counter() - started

    def drop(self) -> None:
        """Forget what was made: it does not fit."""
        self._future = None
