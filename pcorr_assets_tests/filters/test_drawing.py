"""Pools whose documents are drawn with the filter's odds."""

from __future__ import annotations

import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pcorr_assets.filters.ordering import SMALLEST_PROBABILITY, order_of
from pcorr_assets.methods.material import seeded_gumbel
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.filters.test_selection import (
    Scored,
    brute_force,
    documents,
    pool_of,
    select,
    sha,
    write_scores,
)


def value(row: Scored, seed: int) -> float:
    """What a document is ordered by, from the formula: the logarithm of its odds, and its luck."""
    content, score, _ = row
    inside = min(max(score, SMALLEST_PROBABILITY), 1 - SMALLEST_PROBABILITY)
    luck = seeded_gumbel(seed, "resampled", sha(content).encode())
    return float(np.log(inside) - np.log(1 - inside)) + luck


@settings(max_examples=40)
@given(
    st.lists(st.lists(documents, max_size=12), min_size=1, max_size=3),
    st.integers(1, 150),
    st.integers(0, 3),
)
def test_the_drawn_are_those_of_the_formula(
    shards: list[list[Scored]], budget: int, seed: int
) -> None:
    if not sum(tokens for rows in shards for _, _, tokens in rows):
        return
    # What is closer than roundings may stand either way, so that scores have four digits.
    shards = [[(text, round(score, 4), tokens) for text, score, tokens in rows] for rows in shards]
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder))
        keys = write_scores(warehouse, shards)
        pool = pool_of(token_budget=budget, draw={"seed": seed})
        summary, found = select(warehouse, pool, keys)
    ordered = [[(row[0], value(row, seed), row[2]) for row in rows] for rows in shards]
    taken, is_short = brute_force(ordered, budget)
    rows = [(n, one) for n, key in enumerate(keys) for one in found[key]]
    assert [(n, one["row"]) for n, one in rows] == sorted(taken)
    assert [one["score"] for _, one in rows] == [shards[n][r][1] for n, r in sorted(taken)]
    assert summary.threshold is None
    assert summary.is_short == is_short
    if not is_short:
        shard, row = taken[-1]
        assert [(n, one["row"]) for n, one in rows if one["is_boundary"]] == [(shard, row)]
        assert summary.boundary is not None
        assert summary.boundary.score == shards[shard][row][1]
        np.testing.assert_allclose(summary.boundary.value, ordered[shard][row][1], rtol=1e-12)


def test_the_first_is_drawn_as_often_as_its_odds_say() -> None:
    """Of four documents, again and again: a share of the odds, within four standard errors."""
    scores = np.array([0.1, 0.3, 0.5, 0.9])
    count = 40_000
    rows = pa.table(
        {
            "trial": np.repeat(np.arange(count), len(scores)),
            "score": np.tile(scores, count),
            "content_sha256": [sha(str(number)) for number in range(len(scores) * count)],
        }
    )
    value = order_of(pool_of(token_budget=1, draw={})).value
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        drawn = dict(
            connection.execute(
                f"""SELECT best, count(*) FROM (
                    SELECT arg_max(score, {value}) AS best FROM rows GROUP BY trial)
                GROUP BY best"""
            ).fetchall()
        )
    odds = scores / (1 - scores)
    expected = odds / odds.sum()
    found = np.array([drawn[score] / count for score in scores])
    assert (np.abs(found - expected) < 4 * np.sqrt(expected * (1 - expected) / count)).all(), found


def test_another_seed_draws_others_and_new_files_change_no_luck(tmp_path: Path) -> None:
    texts: list[Scored] = [(f"text {number}", 0.5, 1) for number in range(200)]
    drawn = {}
    for name, shards, draw in (
        ("one", [texts], {}),
        ("again", [texts], {"seed": 7}),
        ("other", [texts], {"seed": 1}),
        ("more", [texts[:100], texts[100:], [(f"new {n}", 0.5, 1) for n in range(200)]], {}),
    ):
        warehouse = Warehouse(tmp_path / name)
        keys = write_scores(warehouse, shards)
        _, found = select(warehouse, pool_of(token_budget=100, draw=draw), keys)
        drawn[name] = {row["content_sha256"] for key in keys for row in found[key]}
    assert drawn["one"] == drawn["again"] != drawn["other"]
    # With as many again, about half of those that were drawn still are.
    assert 25 < len(drawn["one"] & drawn["more"]) < 75
    known = {sha(text) for text, *_ in texts}
    assert drawn["more"] & known <= drawn["one"]
