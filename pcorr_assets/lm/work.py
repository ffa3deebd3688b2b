"""The loop over batches: drawing, scoring, keeping what is finished.

Belongs here: which batch comes next, what happens when memory runs out, and when a shard is
written. Does not belong here: one forward pass (`forward`), the plan (`batching`), other
processes that draw from the same plan (`crew`), and what becomes of the sums (`scoring`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.batching import BatchPlan
from pcorr_assets.lm.forward import LossModel, free_memory, is_out_of_memory
from pcorr_assets.lm.shards import ShardFolder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlannedTexts:
    """The plan and the tokens that it is about, as `tokens.TokenisedChunks` has them."""

    plan: BatchPlan
    ids: np.ndarray
    offsets: np.ndarray

    def unit(self, unit: int) -> np.ndarray:
        """Token ids of one unit (int32)."""
        start = int(self.offsets[self.plan.chunk[unit]] + self.plan.start[unit])
        return self.ids[start : start + int(self.plan.length[unit])]

    def token_count(self, batch: int) -> int:
        """Tokens of one batch, without padding."""
        return int(self.plan.length[self.plan.units(batch)].sum())


def order_of_work(done: np.ndarray, part: int = 0, parts: int = 1) -> np.ndarray:
    """Batches that are not done, as one of `parts` jobs should take them (int64).

    Every `parts`-th batch is a job's own. Then come those of the others from their ends, so
    that jobs meet in the middle, and one that never starts leaves nothing undone.
    """
    todo = np.flatnonzero(~done)
    own = [todo[todo % parts == part]]
    others = [todo[todo % parts == (part + step) % parts][::-1] for step in range(1, parts)]
    return np.concatenate([*own, *others]).astype(np.int64)


class Worker:
    """Scores the batches that it is given; what is finished goes into shards.

    `nll` (float64, one entry a unit of the plan) takes the sums of its losses; after `run`,
    `batch_tokens` is the budget that memory left and `scored` the batches that it scored.
    """

    def __init__(
        self,
        texts: PlannedTexts,
        model: LossModel,
        shards: ShardFolder,
        label: str,
        *,
        batch_tokens: int,
        seconds_per_shard: float,
        nll: np.ndarray | None = None,
    ) -> None:
        self.texts = texts
        self.model = model
        self.shards = shards
        self.label = label
        self.batch_tokens = batch_tokens
        self.seconds_per_shard = seconds_per_shard
        self.nll = np.full(len(texts.plan.length), np.nan) if nll is None else nll
        self.scored: list[int] = []
        self._pending: list[int] = []
        self._last_shard = time.monotonic()

    def run(
        self,
        batches: Iterator[int],
        stop: Callable[[], bool],
        note: Callable[[int], None] = lambda _: None,
    ) -> bool:
        """Score all batches that `batches` yields; False if `stop` said yes before the end.

        `stop` is asked before each batch, `note` told the tokens of each that was scored.

        Raises:
            PcorrError: not even one text fits into memory.
        """
        try:
            while not stop():
                batch = next(batches, None)
                if batch is None:
                    return True
                self._score(self.texts.plan.units(batch))
                self._pending.append(batch)
                self._flush(after=self.seconds_per_shard)
                self.scored.append(batch)
                note(self.texts.token_count(batch))
        finally:
            self._flush(after=0.0)
        return False

    def _score(self, units: slice) -> None:
        """Score a batch in pieces that fit the present budget, halving it when it does not."""
        longest = int(self.texts.plan.length[units.start])
        position = units.start
        while position < units.stop:
            rows = max(1, self.batch_tokens // longest)
            end = min(position + rows, units.stop)
            failure = self._attempt(position, end)
            if failure is None:
                position = end
            else:
                self._halve(end - position, longest, failure)

    def _attempt(self, start: int, end: int) -> str | None:
        """Score units; the message of the failed allocation if they do not fit.

        Only the text of the error leaves this function: the error itself would keep the
        tensors of the failed pass in memory.
        """
        try:
            units = [self.texts.unit(unit) for unit in range(start, end)]
            self.nll[start:end] = self.model.nll(units)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return str(error)
        return None

    def _halve(self, rows: int, longest: int, failure: str) -> None:
        if rows == 1:
            raise PcorrError(
                f"Not even one text of {longest} tokens fits into memory beside {self.label} "
                f"({failure}). Use a device with more memory, a smaller `dtype`, or shorter "
                "chunks (`chunk_tokens`)."
            )
        self.batch_tokens = max(longest, rows * longest // 2)
        logger.warning("%s: out of memory; batches of %d tokens now", self.label, self.batch_tokens)
        free_memory(str(self.model.model.device))

    def _flush(self, after: float) -> None:
        if not self._pending or time.monotonic() - self._last_shard < after:
            return
        self.shards.write(sorted(self._pending), self.nll, self.batch_tokens)
        self._pending = []
        self._last_shard = time.monotonic()
