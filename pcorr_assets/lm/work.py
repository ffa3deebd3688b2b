"""The loop over batches: drawing, scoring, keeping what is finished.

Belongs here: which batch comes next, what happens when memory runs out, and when a shard is
written. Does not belong here: one forward pass (`forward`), having a batch ready (`ahead`), the
plan (`batching`), other processes that draw from the same plan (`crew`), and what becomes of the
sums (`scoring`).
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.ahead import Ahead, Ready
from pcorr_assets.lm.batching import BatchPlan
from pcorr_assets.lm.forward import LossModel, free_memory, is_out_of_memory
from pcorr_assets.lm.packing import LateLosses, Packed
from pcorr_assets.lm.shards import ShardFolder

logger = logging.getLogger(__name__)

# Padded tokens that a kind of device takes at once of a batch, where that is faster than the
# whole: what a layer makes of more does not fit the caches of a CPU (docs/performance.md).
PIECE_TOKENS = {"cpu": 2048}


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


def pieces_of(device_type: str, batch_tokens: int) -> dict[str, str]:
    """What roundings depend on beside the sizes that a table notes, for the shards of one."""
    piece = PIECE_TOKENS.get(device_type, batch_tokens)
    return {"piece_tokens": str(piece)} if piece < batch_tokens else {}


def order_of_work(done: np.ndarray, part: int = 0, parts: int = 1) -> np.ndarray:
    """Batches that are not done, as one of `parts` jobs should take them (int64).

    Every `parts`-th batch is a job's own. Then come those of the others from their ends, so
    that jobs meet in the middle, and one that never starts leaves nothing undone.
    """
    todo = np.flatnonzero(~done)
    own = [todo[todo % parts == part]]
    others = [todo[todo % parts == (part + step) % parts][::-1] for step in range(1, parts)]
    return np.concatenate([*own, *others]).astype(np.int64)


# Packed units by the first of them and the one behind the last.
Pieces = dict[tuple[int, int], Packed]


@dataclass(frozen=True)
class Launched:
    """Units that went through the model; `batch` is theirs if they are its last."""

    start: int
    end: int
    losses: LateLosses
    batch: int | None


class Worker:
    """Scores the batches that it is given; what is finished goes into shards.

    `nll` (float64, one entry a unit of the plan) takes the sums of its losses; after `run`,
    `batch_tokens` is the budget that memory left, `scored` the batches that it scored and
    `seconds_waiting` how long it waited for a batch to be padded and sent.

    `behind` is how many pieces may be computed while no losses are fetched. None: one on CUDA,
    which computes by itself, and none elsewhere, where a kill would lose them for nothing.
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
        behind: int | None = None,
    ) -> None:
        self.texts = texts
        self.model = model
        self.shards = shards
        self.label = label
        self.batch_tokens = batch_tokens
        self.seconds_per_shard = seconds_per_shard
        self.nll = np.full(len(texts.plan.length), np.nan) if nll is None else nll
        self.scored: list[int] = []
        self.seconds_waiting = 0.0
        on_cuda = model.model.device.type == "cuda"
        self._piece_tokens = PIECE_TOKENS.get(model.model.device.type, batch_tokens)
        self._behind = int(on_cuda) if behind is None else behind
        self._launched: deque[Launched] = deque()
        self._pending: list[int] = []
        self._last_shard = time.monotonic()

    def run(
        self,
        batches: Iterator[int],
        stop: Callable[[], bool],
        note: Callable[[int], None] = lambda _: None,
    ) -> bool:
        """Score all batches that `batches` yields; False if `stop` said yes before the end.

        `stop` is asked before each batch, `note` told the tokens of each that was scored. One
        batch more than those that are scored is drawn, to have it ready.

        Raises:
            PcorrError: not even one text fits into memory.
        """
        try:
            with Ahead(batches, self._pack) as ahead:
                try:
                    while not stop():
                        if (ready := ahead.take()) is None:
                            return True
                        self._score(ready, note)
                finally:
                    self.seconds_waiting += ahead.seconds_waiting
        finally:
            try:
                self._fetch(note, behind=0)
            finally:
                self._flush(after=0.0)
        return False

    def _pack(self, batch: int) -> Pieces:
        """A batch in pieces that fit the present budget, and the caches of a CPU."""
        units = self.texts.plan.units(batch)
        pieces: Pieces = {}
        position = units.start
        while position < units.stop:
            end = self._end(position, units)
            pieces[position, end] = self._packed(position, end)
            position = end
        return pieces

    def _end(self, position: int, units: slice) -> int:
        longest = int(self.texts.plan.length[position])
        budget = min(self.batch_tokens, self._piece_tokens)
        return min(position + max(1, budget // longest), units.stop)

    def _packed(self, start: int, end: int) -> Packed:
        return self.model.pack([self.texts.unit(unit) for unit in range(start, end)])

    def _score(self, ready: Ready[Pieces], note: Callable[[int], None]) -> None:
        """Score a batch in pieces that fit the present budget, halving it when it does not."""
        units = self.texts.plan.units(ready.batch)
        position = units.start
        while position < units.stop:
            end = self._end(position, units)
            outcome = self._attempt(ready, position, end)
            if isinstance(outcome, str):
                longest = int(self.texts.plan.length[position])
                self._halve(end - position, longest, outcome)
                continue
            last = ready.batch if end == units.stop else None
            self._launched.append(Launched(position, end, outcome, last))
            self._fetch(note, self._behind)
            position = end

    def _attempt(self, ready: Ready[Pieces], start: int, end: int) -> LateLosses | str:
        """Launch units; the message of the failed allocation if they do not fit.

        Only the text of the error leaves this function: the error itself would keep the
        tensors of the failed pass in memory.
        """
        try:
            # Pieces of a larger budget than the present one are not asked for.
            packed = (ready.wait() or {}).pop((start, end), None)
            return self.model.launch(packed or self._packed(start, end))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            ready.drop()
            return str(error)

    def _fetch(self, note: Callable[[int], None], behind: int) -> None:
        """Take the losses of all pieces but the last `behind`."""
        while len(self._launched) > behind:
            piece = self._launched.popleft()
            self.nll[piece.start : piece.end] = piece.losses.sums()
            if piece.batch is None:
                continue
            self._pending.append(piece.batch)
            self._flush(after=self.seconds_per_shard)
            self.scored.append(piece.batch)
            note(self.texts.token_count(piece.batch))

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
