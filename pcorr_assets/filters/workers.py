"""A pass over a group in this process, or spread over several.

Belongs here: which process reads which files, and what becomes of a process that dies. Does
not belong here: reading them (`passes`), and how many processes there are (the job).

Each process loads the filters and tokenizers once, and ends with the one that started it,
however that ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.groups import FILE_COST_BYTES, PoolGroup
from pcorr_assets.filters.parts import Part, PartFolder, reached_by
from pcorr_assets.filters.passes import Done, Pass, PassPlan, Work
from pcorr_assets.processes import end_with
from pcorr_assets.progress import Progress

if TYPE_CHECKING:
    from pcorr_assets.config import Pool
    from pcorr_assets.filters.scoring import Options

# More pieces than processes, so that none waits long for the others at the end.
PIECES_A_WORKER = 4
SECONDS_BETWEEN_LOOKS = 0.5
# Starting a process, and loading filters and tokenizers there, takes as long as reading so much.
WORTH_A_PROCESS_BYTES = 8 << 20


def run_pass(
    folder: PartFolder, group: PoolGroup, pool: Pool, plan: PassPlan, options: Options
) -> list[Part]:
    """Read what is not read yet of a group; returns all of its parts, in order.

    Raises:
        PcorrError: as `Pass.run`; or one of the processes was ended from outside.
    """
    parts = folder.read()
    workers = max(1, min(options.workers, group.byte_count // max(WORTH_A_PROCESS_BYTES, 1)))
    pieces = list(_pieces(group, parts, workers))
    if pieces:
        single = _Reader(folder, pool, plan, options.seconds_per_part)
        progress = _PassProgress(group, parts)
        with progress:
            if min(workers, len(pieces)) > 1:
                _spread(group.key, single, pieces, parts, workers, progress)
            else:
                for piece in pieces:
                    single.read.run(folder, parts, piece, progress.note)
        parts = folder.read()
    return parts


class _PassProgress(Progress):
    """Files, documents and bytes of text so far, and when all of the group will be done."""

    def __init__(self, group: PoolGroup, parts: Sequence[Part]) -> None:
        super().__init__(f"read {group.key}", unit="documents")
        reached = reached_by(parts)
        finished = [
            shard
            for place, shard in enumerate(group.shards)
            if place in reached and reached[place].is_finished
        ]
        self._group = group
        self._files = len(finished)
        self._left = group.byte_count - sum(shard.byte_count for shard in finished)
        self._text_bytes = self._file_bytes = 0

    def note(self, done: Done) -> None:
        """Count what was done."""
        self._files += done.files
        self._file_bytes += done.file_bytes
        self._text_bytes += done.text_bytes
        rate = self._text_bytes / max(self.seconds, 1e-9) / 1e9
        files = f"{self._files:,} of {len(self._group.shards):,} files"
        self.label = f"read {self._group.key}: {files}, {rate:.3f} GB/s of text"
        if self._file_bytes:
            # As many documents a byte as in the files that are finished.
            self.total = round((self.done + done.documents) * self._left / self._file_bytes)
        self.update(done.documents)


def _pieces(group: PoolGroup, parts: Sequence[Part], workers: int) -> Iterator[list[Work]]:
    """Shards that are not finished, in pieces that follow each other in the group."""
    reached = reached_by(parts)
    total = sum(_cost(shard.byte_count) for shard in group.shards)
    limit = total / (PIECES_A_WORKER * workers) if workers > 1 else total
    piece: list[Work] = []
    size = 0
    for place, shard in enumerate(group.shards):
        known = reached.get(place)
        is_finished = known is not None and known.is_finished
        if piece and (is_finished or size + _cost(shard.byte_count) > limit):
            yield piece
            piece, size = [], 0
        if not is_finished:
            piece.append(Work(place, shard, known.row_count if known is not None else 0))
            size += _cost(shard.byte_count)
    if piece:
        yield piece


def _cost(byte_count: int) -> int:
    return max(byte_count, FILE_COST_BYTES)


@dataclass
class _Reader:
    """What a process needs to read files; loaded when it is used for the first time."""

    folder: PartFolder
    pool: Pool
    plan: PassPlan
    seconds_per_part: float

    @cached_property
    def read(self) -> Pass:
        return Pass(self.pool, self.plan, self.seconds_per_part)


def _spread(
    group: str,
    reader: _Reader,
    pieces: Sequence[list[Work]],
    parts: Sequence[Part],
    workers: int,
    progress: _PassProgress,
) -> None:
    context = get_context("spawn")  # other threads of this process may hold locks
    done, stop = context.Array("q", len(fields(Done))), context.Event()
    with ProcessPoolExecutor(
        min(workers, len(pieces)),
        mp_context=context,
        initializer=_begin,
        initargs=(reader, done, stop, os.getpid()),
    ) as processes:
        try:
            pending = {processes.submit(_read, piece, _begun(parts, piece)) for piece in pieces}
            refusals = _watch(pending, done, stop, progress)
        except BrokenProcessPool:
            raise PcorrError(
                f"A process that read files of {group} was ended from outside, most often because "
                "memory ran out. What was finished is kept: launch this again, with fewer "
                "compute.workers if it was that."
            ) from None
        finally:
            stop.set()
            processes.shutdown(cancel_futures=True)
    if refusals:
        raise PcorrError("\n".join(dict.fromkeys(refusals)))


def _begun(parts: Sequence[Part], piece: Sequence[Work]) -> list[Part]:
    """The parts of shards that the piece goes on with."""
    places = {work.place for work in piece if work.first_row}
    return [part for part in parts if any(s.shard in places for s in part.segments)]


def _watch(
    pending: set[Future[str | None]], done: Any, stop: Any, progress: _PassProgress
) -> list[str]:
    """Wait for all; after one was refused, for what the others are at."""
    refusals: list[str] = []
    while pending:
        finished, pending = wait(pending, SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
        with done.get_lock():
            counted, done[:] = Done(*done), [0] * len(done)
        progress.note(counted)
        refusals += [said for future in finished if (said := future.result()) is not None]
        if refusals and not stop.is_set():
            stop.set()
            pending = {future for future in pending if not future.cancel()}
    return refusals


class _StoppedError(Exception):
    """Another process was refused: what is finished is enough."""


_process: dict[str, Any] = {}


def _begin(reader: _Reader, done: Any, stop: Any, parent: int) -> None:
    # Each process has a core; the own threads of tokenizers and of rensa would want all of them.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["RAYON_NUM_THREADS"] = "1"
    _process.update(reader=reader, done=done, stop=stop)
    end_with(parent)  # nobody waits for its parts then


def _read(piece: list[Work], parts: list[Part]) -> str | None:
    """Read a piece; returns what it was refused with. Errors of libraries may not survive the
    way from one process to another, words do."""
    reader, done, stop = _process["reader"], _process["done"], _process["stop"]

    def note(more: Done) -> None:
        with done.get_lock():
            done[:] = [old + new for old, new in zip(done, astuple(more), strict=True)]
        if stop.is_set():
            raise _StoppedError

    try:
        reader.read.run(reader.folder, parts, piece, note)
    except _StoppedError:
        return None
    except PcorrError as error:
        return str(error)
    return None
