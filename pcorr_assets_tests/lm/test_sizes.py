"""Sizes of batches and slices: what fits, and that all who score one table use the same."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pcorr_assets.lm.forward import SLICE_POSITIONS, LossModel
from pcorr_assets.lm.sizes import (
    DEFAULT_BATCH_TOKENS,
    LARGEST_BATCH_TOKENS,
    LARGEST_SLICE,
    PLAN_FILE,
    Agreement,
    Sizes,
    budget_that_fits,
    measured,
    slice_that_fits,
)
from pcorr_assets_tests.lm import tiny

OF: dict[str, str | None] = {"llm": "a", "commit_sha": "1"}
GIB = 2**30


def finds(sizes: Sizes, times: list[int] | None = None) -> Callable[[], Sizes]:
    def measure() -> Sizes:
        if times is not None:
            times.append(1)
        return sizes

    return measure


def unasked() -> Sizes:
    pytest.fail("it was measured again")


def agreement(folder: Path, *notes: dict[str, str]) -> Agreement:
    return Agreement(folder / "lock", lambda: notes)


def test_the_first_to_measure_decides_for_all(tmp_path: Path) -> None:
    shards, found, times = tmp_path / "shards", [], []
    start = threading.Barrier(4)

    def score(number: int) -> None:
        start.wait()
        sizes = Sizes(1024 * (number + 1), 512 * 2**number)
        found.append(agreement(tmp_path).sizes(shards, OF, None, finds(sizes, times)))

    threads = [threading.Thread(target=score, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(times) == 1
    assert len(found) == 4
    assert len(set(found)) == 1
    stored = json.loads((shards / PLAN_FILE).read_text())
    assert Sizes(stored["batch_tokens"], stored["slice_positions"]) == found[0]


def test_what_was_found_for_something_else_is_found_anew(tmp_path: Path) -> None:
    one = agreement(tmp_path).sizes(tmp_path, OF, None, finds(Sizes(2048, 1024)))
    assert agreement(tmp_path).sizes(tmp_path, OF, None, unasked) == one
    for of, asked in (({**OF, "commit_sha": "2"}, None), (OF, 4096)):
        other = Sizes(4096, 2048)
        assert agreement(tmp_path).sizes(tmp_path, of, asked, finds(other)) == other
    (tmp_path / PLAN_FILE).write_text("{")
    assert agreement(tmp_path).sizes(tmp_path, OF, None, finds(one)) == one


def test_a_finished_table_decides(tmp_path: Path) -> None:
    own = {"llm": "a", "commit_sha": "1", "batch_tokens": "auto", "found_batch_tokens": "3072"}
    pilot = {**own, "found_batch_tokens": "5120", "slice_positions": "2048"}
    foreign = {**pilot, "commit_sha": "2"}

    def sizes(*notes: dict[str, str], asked: int | None = None) -> Sizes:
        return agreement(tmp_path, *notes).sizes(tmp_path, OF, asked, unasked)

    assert sizes(own, pilot) == Sizes(3072, 512)
    assert sizes(foreign, pilot) == Sizes(5120, 2048)
    # Of a table with a number of its own nothing was found, but slices had a size.
    numeric = {"llm": "a", "commit_sha": "1", "batch_tokens": "8192"}
    assert sizes(numeric, pilot) == Sizes(5120, 2048)
    assert sizes(numeric, asked=8192) == Sizes(8192, SLICE_POSITIONS)


def test_shards_from_before_slices_had_sizes_still_hold(tmp_path: Path) -> None:
    (tmp_path / "batches-0.parquet").touch()
    assert agreement(tmp_path).sizes(tmp_path, OF, 8192, unasked) == Sizes(8192, SLICE_POSITIONS)


def test_constants_without_cuda() -> None:
    model, unit = tiny.tiny_model("llama"), np.arange(5, dtype=np.int32)
    assert measured(model, unit, "tiny", None) == Sizes(DEFAULT_BATCH_TOKENS, SLICE_POSITIONS)
    assert measured(model, unit, "tiny", 96) == Sizes(96, SLICE_POSITIONS)


@pytest.mark.parametrize(
    ("free", "vocabulary", "positions"),
    # A sixteenth of 64 GiB, 12 bytes a logit: 7,115 positions of 50,304, 1,398 of 256,000.
    [(64 * GIB, 50_304, 4096), (64 * GIB, 256_000, 1024), (GIB, 50_304, 512), (0, 9, 512)],
)
def test_slices_take_a_sixteenth_of_free_memory(free: int, vocabulary: int, positions: int) -> None:
    assert slice_that_fits(free, vocabulary) == positions


def test_slices_have_a_largest_size() -> None:
    assert slice_that_fits(10**13, 1000) == LARGEST_SLICE


def test_budget_is_what_fits_into_the_share() -> None:
    # 4,096 tokens took 1 GiB; 0.7 of 20 GiB are 14 times as many.
    assert budget_that_fits(20 * GIB, GIB, 4096, 512) == 14 * 4096
    assert budget_that_fits(10**13, GIB, 4096, 512) == LARGEST_BATCH_TOKENS
    assert budget_that_fits(0, GIB, 4096, 512) == 1024
    assert budget_that_fits(0, GIB, 4096, 3000) == 3000


def test_losses_with_other_slices() -> None:
    model = tiny.tiny_model("llama")
    units = [np.random.default_rng(n).integers(0, tiny.VOCABULARY, 60) for n in range(9)]
    usual, other = (LossModel(model, True, slice_positions=size) for size in (512, 64))
    np.testing.assert_allclose(usual.nll(units), other.nll(units), rtol=1e-6)
