"""Doing a plan: what is finished already, who scores the rest, and what it took.

Belongs here: resuming from shards, in this process alone or with others, and the figures of it.
Does not belong here: the loop of one process (`work`), how processes share a plan (`crew`),
and what the losses mean (`scoring`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.crew import Crew, Task
from pcorr_assets.lm.forward import SLICE_POSITIONS, LossModel, prepare
from pcorr_assets.lm.shards import Finished, ShardFolder
from pcorr_assets.lm.work import PlannedTexts, Worker, order_of_work, pieces_of
from pcorr_assets.progress import Progress

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pcorr_assets.lm.identity import ResolvedLLM

logger = logging.getLogger(__name__)

SECONDS_PER_SHARD = 30.0
# Names of `attention_mask` in shards and reports.
LEFT_OUT, KEPT = "left out", "kept"


@dataclass(frozen=True)
class ScoringSettings:
    """How to score: `batch_tokens` (padded tokens a batch), `overlong` (error, nan, window).

    With `finds_batch_tokens` the budget is whatever fits, and `batch_tokens` is not looked at.
    `slice_positions` are those of `forward.LossModel`, which `scoring` finds out too.
    `helpers` are the devices of further processes that score with this one; `part` of
    `parts` jobs on one folder of shards is this one, which decides what it does first.
    """

    batch_tokens: int = 8192
    overlong: str = "error"
    seconds_per_shard: float = SECONDS_PER_SHARD
    helpers: tuple[str, ...] = ()
    part: int = 0
    parts: int = 1
    finds_batch_tokens: bool = False
    slice_positions: int = SLICE_POSITIONS


class StoppedError(PcorrError):
    """The run was asked to stop; what it finished is kept in shards."""


@dataclass(frozen=True)
class Work:
    """What was done: all losses of the plan, and figures for the user."""

    finished: Finished
    report: dict[str, Any]


@dataclass(frozen=True)
class Known:
    """What needs no scoring: `done` (bool, one entry a batch) has its scores from elsewhere.

    `effective_batch_tokens` is the budget that memory left there, None if it was not lowered;
    `attention_mask` what was done there.
    """

    done: np.ndarray
    effective_batch_tokens: int | None = None
    attention_mask: str = LEFT_OUT


class Session:
    """One job's work on a plan; `identity` is what the numbers depend on.

    Batches that are `known` are passed over, and the losses of their units stay NaN.
    """

    def __init__(
        self,
        resolved: ResolvedLLM,
        model: PreTrainedModel,
        texts: PlannedTexts,
        identity: dict[str, str],
        settings: ScoringSettings,
        known: Known | None = None,
    ) -> None:
        self.known = known or Known(np.zeros(texts.plan.batch_count, dtype=bool))
        self.resolved = resolved
        self.model = model
        self.texts = texts
        self.identity = identity
        self.settings = settings
        self.label = resolved.label
        self.token_count = 0
        self.seconds_waiting = 0.0
        self._helpers = list(settings.helpers)
        self._looked = time.monotonic()
        self._at_work = 0

    def run(self, folder: Path, stop: Callable[[], bool]) -> Work:
        """Score all that is not finished in the shards of `folder`.

        Raises:
            StoppedError: `stop` said yes; what was finished is in shards.
            PcorrError: see `forward.prepare` and `work.Worker.run`.
        """
        model = LossModel(self.model, sliced=False)
        if not self.known.done.all():
            model = prepare(self.model, self.texts.unit(0), self.label)
            model = replace(model, slice_positions=self.settings.slice_positions)
        attention_mask = KEPT if model.masked else LEFT_OUT
        if len(self.known.done) and self.known.done.all():
            attention_mask = self.known.attention_mask
        pieces = pieces_of(self.model.device.type, self.settings.batch_tokens)
        identity = {**self.identity, **pieces, "attention_mask": attention_mask}
        shards = ShardFolder(folder, identity, self.texts.plan)
        finished = shards.read()
        resumed = int((finished.done & ~self.known.done).sum())
        finished.done |= self.known.done
        if self.known.effective_batch_tokens is not None:
            _lower(finished, self.known.effective_batch_tokens)
        started = time.monotonic()
        # A process that was killed leaves something undone: the next round does it.
        while not finished.done.all():
            order = order_of_work(finished.done, self.settings.part, self.settings.parts)
            self._round(model, shards, finished, order, stop)
        seconds = time.monotonic() - started
        effective = finished.effective_batch_tokens or self.settings.batch_tokens
        return Work(
            finished,
            {
                "scored_token_count": self.token_count,
                "seconds": seconds,
                "tokens_per_second": self.token_count / seconds if seconds else 0.0,
                "seconds_waiting_for_data": self.seconds_waiting,
                "found_batch_tokens": self.settings.batch_tokens,
                "slice_positions": model.slice_positions,
                "effective_batch_tokens": effective,
                "out_of_memory": effective < self.settings.batch_tokens,
                "attention_mask": attention_mask,
                "mask_free_difference": model.difference,
                "scoring_workers": self._at_work,
                "resumed_batches": resumed,
                "refused_shards": finished.refused,
            },
        )

    def _round(
        self,
        model: LossModel,
        shards: ShardFolder,
        finished: Finished,
        order: np.ndarray,
        stop: Callable[[], bool],
    ) -> None:
        """Score the batches of `order`, with helpers if there are any."""
        budget = finished.effective_batch_tokens or self.settings.batch_tokens
        worker = Worker(
            self.texts,
            model,
            shards,
            self.label,
            batch_tokens=min(budget, self.settings.batch_tokens),
            seconds_per_shard=self.settings.seconds_per_shard,
            nll=finished.nll,
        )
        total = sum(self.texts.token_count(int(batch)) for batch in order)
        helpers = self._helpers[: max(0, len(order) - 1)]
        look = partial(self._look, shards, finished)
        with Progress(f"score {self.label}", total=total, unit="tokens") as progress:

            def note(count: int) -> None:
                self.token_count += count
                progress.update(count)

            if helpers:
                ended = self._together(worker, order, helpers, look, stop, note)
            else:
                ended = worker.run(_alone(order, finished, look), stop, note)
                self._at_work = max(self._at_work, 1)
        self.seconds_waiting += worker.seconds_waiting
        finished.done[worker.scored] = True
        shards.take_new(finished)
        _lower(finished, worker.batch_tokens)
        if not ended:
            raise StoppedError(
                f"Scoring {self.label} was asked to stop after {self.token_count:,} of "
                f"{total:,} tokens. Launch it again: it resumes from its shards."
            )

    def _together(
        self,
        worker: Worker,
        order: np.ndarray,
        helpers: list[str],
        look: Callable[[], np.ndarray | None],
        stop: Callable[[], bool],
        note: Callable[[int], None],
    ) -> bool:
        import torch

        task = Task(
            resolved=self.resolved,
            dtype=str(self.model.dtype).removeprefix("torch."),
            threads=torch.get_num_threads(),
            sliced=worker.model.sliced,
            masked=worker.model.masked,
            slice_positions=worker.model.slice_positions,
            shards=worker.shards.folder,
            identity=worker.shards.identity,
            batch_tokens=worker.batch_tokens,
            seconds_per_shard=worker.seconds_per_shard,
        )
        before = self.token_count
        with Crew(task, self.texts, order, helpers) as crew:

            def show() -> None:
                note(crew.board.token_count - (self.token_count - before))
                if (done := look()) is not None:
                    crew.board.done[:] = done

            def count(tokens: int) -> None:
                crew.board.count(0, tokens)
                show()

            ended = worker.run(crew.board.draw(), lambda: stop() or crew.failed(), count)
            ended = ended and crew.wait(stop, show)
            crew.refuse_failures()
            show()
            self._at_work = max(self._at_work, 1 + crew.begun())
            self.seconds_waiting += crew.board.seconds_waiting
        if killed := crew.ended_from_outside():
            self._helpers = self._helpers[: len(helpers) - killed]
            logger.warning(
                "%d processes that scored %s were ended from outside, most often because memory "
                "ran out; what they had not finished is scored by the others",
                killed,
                self.label,
            )
        return ended

    def _look(self, shards: ShardFolder, finished: Finished) -> np.ndarray | None:
        """What is finished, once it is time to look for what other jobs wrote here."""
        waited = time.monotonic() - self._looked
        if self.settings.parts == 1 or waited < self.settings.seconds_per_shard:
            return None
        shards.take_new(finished)
        self._looked = time.monotonic()
        return finished.done


def _alone(
    order: np.ndarray, finished: Finished, look: Callable[[], np.ndarray | None]
) -> Iterator[int]:
    for batch in order:
        look()
        if not finished.done[batch]:
            yield int(batch)


def _lower(finished: Finished, batch_tokens: int) -> None:
    """Remember the smallest budget that memory left to anybody."""
    finished.effective_batch_tokens = min(
        batch_tokens, finished.effective_batch_tokens or batch_tokens
    )
