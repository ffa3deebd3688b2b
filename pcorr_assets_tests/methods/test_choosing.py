"""Methods fill the budget through the code that selects for the filter."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.groups import groups_of
from pcorr_assets.filters.pools import list_shards
from pcorr_assets.filters.writing import write_selected
from pcorr_assets.methods.comparing import Compared, compare, shares_by_domain
from pcorr_assets.methods.table import METHODS
from pcorr_assets_tests.filters.conftest import TARGET
from pcorr_assets_tests.methods.conftest import POOL, ScoredWorld

MakeScored = Callable[..., ScoredWorld]


def brute_force(texts: list[str], scores: np.ndarray, budget: int) -> set[int]:
    """Documents of 130 tokens: best first, ties by content hash, of copies the first."""
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    order = sorted(range(len(texts)), key=lambda n: (-scores[n], hashes[n], n))
    taken: dict[str, int] = {}
    for number in order:
        if 130 * len(taken) >= budget:
            break
        taken.setdefault(hashes[number], number)
    return set(taken.values())


def test_the_filter_as_a_method_selects_what_the_platform_selects(make_scored: MakeScored) -> None:
    world = make_scored()
    (own, *_) = compare(world.scored, world.material, [])
    wh = world.warehouse
    shards, groups = list_shards(POOL, world.pool), groups_of(wh, POOL)
    write_selected(wh, POOL, world.pool, TARGET, shards, groups)
    selected = wh.read("selections", POOL, TARGET)
    assert own.chosen is not None
    names = ("shard", "document_id", "score", "token_count")
    for name in names:
        assert own.chosen.documents[name].to_pylist() == selected[name].to_pylist(), name
    assert own.overlap == 1.0


def test_a_pool_that_draws_selects_what_resampled_selects(make_scored: MakeScored) -> None:
    world = make_scored(draw={"seed": 5})
    material = dataclasses.replace(world.material, seed=5)
    own, resampled = compare(world.scored, material, ["resampled"])
    wh = world.warehouse
    shards, groups = list_shards(POOL, world.pool), groups_of(wh, POOL)
    write_selected(wh, POOL, world.pool, TARGET, shards, groups)
    selected = wh.read("selections", POOL, TARGET)
    assert own.chosen is not None
    assert resampled.chosen is not None
    for name in ("shard", "document_id", "token_count"):
        drawn = resampled.chosen.documents[name].to_pylist()
        assert drawn == selected[name].to_pylist(), name
    # The filter as a method takes the best, whatever the pool does.
    best = own.chosen.documents["document_id"].to_pylist()
    assert best != selected["document_id"].to_pylist()


def test_the_budget_is_filled_as_by_brute_force(make_scored: MakeScored) -> None:
    world = make_scored()
    assert [text.decode() for text in world.scored.documents.read()] == world.texts
    by_text = {text: np.random.default_rng(n).normal() for n, text in enumerate(world.texts)}
    drawn = np.array([by_text[text] for text in world.texts])
    budget = int(world.pool.token_budget or 0)
    for scores in (drawn, np.round(drawn), np.where(drawn < 0, -np.inf, 1e4 * drawn)):
        found = world.scored.chosen(scores)
        assert set(found.numbers.tolist()) == brute_force(world.texts, scores, budget)
        assert found.token_counts.sum() == found.summary.token_count == budget
        assert found.documents["score"].to_pylist() == [
            None if np.isinf(score) else score for score in scores[found.numbers]
        ]
    with pytest.raises(PcorrError, match="3 scores are NaN"):
        world.scored.chosen(np.array([np.nan] * 3 + [0.5] * 57))
    with pytest.raises(PcorrError, match="do not fit the 60 documents"):
        world.scored.chosen(np.zeros(3))
    with pytest.raises(
        PcorrError, match="no such method: best; there are filter, resampled, random"
    ):
        next(compare(world.scored, world.material, ["best"]))


def test_scores_of_before_there_were_examples_are_compared(make_scored: MakeScored) -> None:
    world = make_scored()
    wanted = world.scored.chosen(np.arange(60.0)).documents
    for path in world.scored.scored.paths:
        rows = pq.read_table(path)
        pq.write_table(rows.drop_columns(["shared_words"]), path)
    assert world.scored.chosen(np.arange(60.0)).documents == wanted


def test_methods_are_compared_and_those_without_material_left_out(make_scored: MakeScored) -> None:
    world = make_scored()
    found = {
        one.method: one
        for one in compare(
            world.scored, world.material, ["random", "dsir", "classifier", "mean_bpb"]
        )
    }
    assert list(found) == ["filter", "random", "dsir", "classifier", "mean_bpb"]
    assert found["mean_bpb"] == Compared("mean_bpb", reason="there is no matrix of bits-per-byte")
    topics = {}
    for name, one in found.items():
        if one.chosen is not None:
            topics[name] = world.topics(one.chosen.documents)
            assert one.chosen.summary.token_count == 130 * 9
            assert one.cpu_seconds is not None
            assert one.cpu_seconds > 0
    assert set(topics["filter"]) == {"sailing"}
    assert set(topics["dsir"]) == {"baking"}
    assert topics["classifier"].count("baking") >= 6
    assert len(set(topics["random"])) == 3
    assert found["dsir"].overlap == 0
    chosen = found["dsir"].chosen
    assert chosen is not None
    assert shares_by_domain(chosen) == {"baking.example": 1.0}


def test_near_duplicates_are_left_out_for_every_method(make_scored: MakeScored) -> None:
    world = make_scored(near_duplicates={"jaccard": 0.7, "ngram": 1}, token_budget=130 * 40)
    plain = dataclasses.replace(
        world.scored, pool=world.pool.model_copy(update={"near_duplicates": None})
    )
    scores = METHODS["random"](world.material, world.scored.documents)
    less, more = world.scored.chosen(scores).summary, plain.chosen(scores).summary
    assert more.near_duplicate_document_count == 0 < less.near_duplicate_document_count


def test_a_pool_that_was_changed_is_refused(make_scored: MakeScored) -> None:
    world = make_scored()
    file = next(iter(world.scored.shards.values())).path
    assert isinstance(file, Path)
    changed = file.read_bytes().replace(b"rook", b"ROOK", 1)
    file.write_bytes(changed)
    with pytest.raises(PcorrError, match="the text is not the one that was scored"):
        METHODS["random"](world.material, world.scored.documents)
    file.write_bytes(changed[: changed.index(b"\n") + 1])
    with pytest.raises(PcorrError, match="the text is not the one that was scored"):
        METHODS["random"](world.material, world.scored.documents)
