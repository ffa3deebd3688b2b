"""Progress of long loops: a bar in a terminal, log lines everywhere else.

Belongs here: measuring and showing how far a loop is. Does not belong here: what
the loop does, and anything that knows where log lines end up.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TextIO

from tqdm import tqdm

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0
# Where bars are drawn; None: on standard error, whatever that is then.
_stream: TextIO | None = None


@contextmanager
def shown_on(stream: TextIO) -> Iterator[None]:
    """Within the block bars are drawn on `stream`, while standard error is somewhere else."""
    global _stream
    before, _stream = _stream, stream
    try:
        yield
    finally:
        _stream = before


class Progress:
    """Show how far a loop is, with its rate and the time left.

    In a terminal it is a tqdm bar; elsewhere (a Dagster run, a cluster job) one
    INFO line every ten seconds (`every`), and a last one if there was any before it that did
    not say all.

    Example:
        with Progress("score pythia-160m", total=token_count, unit="tokens") as progress:
            for batch in batches:
                ...
                progress.update(batch.token_count)
    """

    def __init__(
        self,
        label: str,
        *,
        total: int | None = None,
        unit: str = "items",
        every: float | None = None,
    ) -> None:
        self.label = label
        self.total = total
        self.unit = unit
        self.done = 0
        self._every = every
        self._start = self._last_line = time.monotonic()
        self._said: int | None = None
        out = _stream or sys.stderr
        self._bar = (
            # Said outright: TQDM_DISABLE silences the bars of libraries, not these.
            tqdm(total=total, desc=label, unit=f" {unit}", unit_scale=True, disable=False, file=out)
            if out.isatty()
            else None
        )

    def update(self, count: int = 1) -> None:
        """Count `count` more units of work as done."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)
        elif time.monotonic() - self._last_line >= (self._every or SECONDS_BETWEEN_LINES):
            self._log()

    @property
    def rate(self) -> float:
        """Units per second since the start (0 before the first unit)."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._said not in (None, self.done) and kind is None:
            self._log()

    def _log(self) -> None:
        self._last_line = time.monotonic()
        self._said = self.done
        line = f"{self.label}: {self.done:,} {self.unit}, {self.rate:,.0f}/s"
        if self.total:
            seconds_left = (self.total - self.done) / self.rate if self.rate else float("inf")
            line = (
                f"{self.label}: {self.done:,} of {self.total:,} {self.unit} "
                f"({self.done / self.total:.0%}), {self.rate:,.0f}/s, {seconds_left:,.0f} s left"
            )
        logger.info(line)
