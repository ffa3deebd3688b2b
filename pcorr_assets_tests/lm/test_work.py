"""The loop over batches with a thread that packs them: same bytes, same errors, nothing lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm import work
from pcorr_assets.lm.ahead import Ahead
from pcorr_assets.lm.batching import plan_batches
from pcorr_assets.lm.forward import LossModel
from pcorr_assets.lm.packing import Packed
from pcorr_assets.lm.shards import ShardFolder
from pcorr_assets.lm.work import PlannedTexts, Worker, pieces_of
from pcorr_assets_tests.lm import tiny

LENGTHS = np.random.default_rng(3).integers(2, 40, 30)
IDS = np.random.default_rng(4).integers(0, tiny.VOCABULARY, LENGTHS.sum()).astype(np.int32)
OFFSETS = np.concatenate([[0], np.cumsum(LENGTHS)[:-1]])
PLAN = plan_batches(LENGTHS, np.full(len(LENGTHS), True), 128)
TEXTS = PlannedTexts(PLAN, IDS, OFFSETS)


@pytest.fixture(scope="module")
def model() -> LossModel:
    return LossModel(tiny.tiny_model("llama"), sliced=True)


def worker(model: LossModel, folder: Path, **options: Any) -> Worker:
    options = {"batch_tokens": 128, "seconds_per_shard": 1e9, **options}
    return Worker(TEXTS, model, ShardFolder(folder, {"of": "test"}, PLAN), "tiny", **options)


def one_after_the_other(model: LossModel) -> np.ndarray:
    """The sums of losses by the plan, without a thread."""
    batches = [PLAN.units(batch) for batch in range(PLAN.batch_count)]
    units = [[TEXTS.unit(unit) for unit in range(span.start, span.stop)] for span in batches]
    return np.concatenate([model.nll(batch) for batch in units])


class Failing(LossModel):
    """Packing fails from the third batch on."""

    error: Exception = RuntimeError("unset")

    def pack(self, units: Sequence[np.ndarray]) -> Packed:
        if any(unit.tobytes() == TEXTS.unit(PLAN.units(2).start).tobytes() for unit in units):
            raise self.error
        return super().pack(units)


@pytest.mark.parametrize("behind", [0, 1, 3])
def test_the_same_bytes_as_one_batch_after_the_other(
    model: LossModel, tmp_path: Path, behind: int
) -> None:
    ours = worker(model, tmp_path, behind=behind)
    told: list[int] = []
    assert ours.run(iter(range(PLAN.batch_count)), lambda: False, told.append)
    assert ours.nll.tobytes() == one_after_the_other(model).tobytes()
    assert ours.scored == list(range(PLAN.batch_count))
    assert sum(told) == LENGTHS.sum()
    assert ours.seconds_waiting > 0
    assert ours._behind == behind


def test_a_cpu_takes_a_batch_in_pieces(
    model: LossModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(work.PIECE_TOKENS, "cpu", 48)
    packed: list[list[int]] = []

    class Noting(LossModel):
        def pack(self, units: Sequence[np.ndarray]) -> Packed:
            packed.append([len(unit) for unit in units])
            return super().pack(units)

    ours = worker(Noting(model.model, sliced=True), tmp_path)
    assert ours.run(iter(range(PLAN.batch_count)), lambda: False)
    assert len(packed) > PLAN.batch_count
    assert all(max(lengths) * len(lengths) <= 48 for lengths in packed)
    assert [length for piece in packed for length in piece] == PLAN.length.tolist()
    np.testing.assert_allclose(ours.nll, one_after_the_other(model), rtol=1e-6)
    # No memory ran out, so the budget is what it was.
    assert ours.batch_tokens == 128
    assert pieces_of("cpu", 128) == {"piece_tokens": "48"}
    assert pieces_of("cpu", 48) == pieces_of("cuda", 128) == {}


@pytest.mark.parametrize("behind", [0, 2])
def test_stopped_in_the_middle_keeps_all_that_was_launched(
    model: LossModel, tmp_path: Path, behind: int
) -> None:
    answers = iter([False] * 4)
    drawn: list[int] = []

    def draw() -> Iterator[int]:
        for batch in range(PLAN.batch_count):
            drawn.append(batch)
            yield batch

    first = worker(model, tmp_path, behind=behind)
    assert not first.run(draw(), lambda: next(answers, True))
    assert first.scored == [0, 1, 2, 3]
    assert drawn == [0, 1, 2, 3, 4]
    finished = ShardFolder(tmp_path, {"of": "test"}, PLAN).read()
    assert np.flatnonzero(finished.done).tolist() == first.scored
    rest = worker(model, tmp_path, nll=finished.nll)
    assert rest.run(iter(range(4, PLAN.batch_count)), lambda: False)
    assert rest.nll.tobytes() == one_after_the_other(model).tobytes()


@pytest.mark.parametrize("error", [RuntimeError("made up"), PcorrError("made up"), KeyError("x")])
def test_an_error_of_the_thread_is_the_error_of_the_run(
    model: LossModel, tmp_path: Path, error: Exception
) -> None:
    failing = Failing(model.model, sliced=True)
    object.__setattr__(failing, "error", error)
    ours = worker(failing, tmp_path)
    before = threading.active_count()
    with pytest.raises(type(error)) as caught:
        ours.run(iter(range(PLAN.batch_count)), lambda: False)
    assert caught.value is error
    assert threading.active_count() == before
    done = ShardFolder(tmp_path, {"of": "test"}, PLAN).read().done
    assert np.flatnonzero(done).tolist() == ours.scored == [0, 1]


def test_memory_that_runs_out_in_the_thread_halves_the_budget(
    model: LossModel, tmp_path: Path
) -> None:
    failed: list[int] = []

    class Once(LossModel):
        def pack(self, units: Sequence[np.ndarray]) -> Packed:
            if not failed:
                failed.append(1)
                raise torch.OutOfMemoryError("CUDA out of memory (made up)")
            return super().pack(units)

    ours = worker(Once(model.model, sliced=True), tmp_path)
    assert ours.run(iter(range(PLAN.batch_count)), lambda: False)
    assert 40 <= ours.batch_tokens < 128
    np.testing.assert_allclose(ours.nll, one_after_the_other(model), rtol=1e-5)


def test_the_next_batch_is_made_while_this_one_is_in_use() -> None:
    made = threading.Event()

    def make(batch: int) -> int:
        if batch == 1:
            made.set()
        return batch * 10

    with Ahead(iter([0, 1, 2]), make) as ahead:
        first = ahead.take()
        assert first is not None
        assert first.wait() == 0
        assert made.wait(30)  # nobody has asked for it yet
        rest = [ready.wait() for _ in range(2) if (ready := ahead.take())]
        assert rest == [10, 20]
        assert ahead.take() is None
