"""Groups of LLMs and the random draws made of them."""

from __future__ import annotations

import numpy as np
import pytest

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.groups import draw_halving, draw_resample, group_llms, usable

LLMS = ["e", "d", "c", "b", "a"]


def as_keys(groups_members: tuple[np.ndarray, ...], llms: list[str]) -> list[list[str]]:
    return [[llms[row] for row in rows] for rows in groups_members]


def test_families_are_groups_in_the_order_of_the_keys() -> None:
    groups = group_llms(LLMS, ["x", "y", "x", "z", "y"])
    assert groups.names == ("y", "z", "x")
    assert as_keys(groups.members, LLMS) == [["a", "d"], ["b"], ["c", "e"]]
    np.testing.assert_array_equal(groups.labels, [2, 0, 2, 1, 0])


def test_families_that_share_an_llm_are_one_group() -> None:
    identities = [("m", "main"), ("n", "main"), ("n", "step1"), ("m", "main"), ("o", "main")]
    groups = group_llms(LLMS, ["v", "w", "x", "y", "z"], identities)
    assert groups.names == ("z", "v+y", "x", "w")
    assert groups.distinct_llm_count(groups.rows_of([1])) == 1
    assert groups.distinct_llm_count(np.arange(5)) == 4


def test_identical_rows_and_chains_of_families_are_merged() -> None:
    X = np.arange(15.0).reshape(5, 3)
    X[4] = X[1]
    X[0, 0], X[2] = -0.0, X[0]
    assert group_llms(LLMS, ["v", "w", "x", "w", "z"], X=X).names == ("w+z", "v+x")
    X[2, 1] += 1e-12
    assert group_llms(LLMS, ["v", "w", "x", "w", "z"], X=X).names == ("w+z", "x", "v")


def test_groups_do_not_depend_on_the_order_of_the_llms() -> None:
    rng = np.random.default_rng(0)
    llms = [f"llm{number}" for number in range(30)]
    families = [f"f{number % 11}" for number in range(30)]
    identities = [f"i{number % 28}" for number in range(30)]
    groups = group_llms(llms, families, identities)
    order = rng.permutation(30)
    shuffled = [[values[row] for row in order] for values in (llms, families, identities)]
    again = group_llms(*shuffled)
    assert again.names == groups.names
    assert as_keys(again.members, shuffled[0]) == as_keys(groups.members, llms)


def test_mistakes_are_refused() -> None:
    with pytest.raises(PcorrError, match="listed twice: a"):
        group_llms(["a", "b", "a"], ["x"] * 3)
    with pytest.raises(PcorrError, match="2 families"):
        group_llms(["a", "b", "c"], ["x"] * 2)
    with pytest.raises(PcorrError, match="2 rows"):
        group_llms(["a", "b", "c"], ["x"] * 3, X=np.zeros((2, 4)))


def test_resamples_draw_whole_groups_and_only_usable_ones() -> None:
    families = ["v", "w", "w", "x", "y", "z", "z", "z"]
    llms = list("abcdefgh")
    errors = np.array([1.0, 1, 1, 1, 1, 2, 2, 2])
    groups = group_llms(llms, families)
    rng = np.random.default_rng(1)
    redrawn = 0
    for _ in range(200):
        rows, again = draw_resample(groups, errors, rng)
        redrawn += again
        assert usable(groups, errors, rows)
        times = np.bincount(rows, minlength=8)
        # Group z is the only one with another error, so it is always drawn.
        assert times[5] == times[6] == times[7] > 0
        assert times[1] == times[2]
        assert sum(times[member[0]] for member in groups.members) == len(groups)
    # z is missing with probability (4/5)^5 = .33: about 98 redraws in 200, never none.
    assert 50 < redrawn < 160


def test_an_llm_listed_twice_counts_once_in_usable() -> None:
    groups = group_llms(list("abcd"), list("vwxy"), ["i", "i", "j", "k"])
    errors = np.arange(4.0)
    assert not usable(groups, errors, np.array([0, 1, 2, 2]))
    assert usable(groups, errors, np.array([0, 2, 3]))
    assert not usable(groups, np.array([0.0, 5, 0, 0]), np.array([0, 2, 3]))


def test_halvings_split_all_groups_in_two() -> None:
    families = [f"f{number // 3}" for number in range(21)]
    groups = group_llms([f"llm{number:02d}" for number in range(21)], families)
    errors = np.random.default_rng(2).random(21)
    rng = np.random.default_rng(3)
    halves = [draw_halving(groups, errors, rng) for _ in range(20)]
    assert len({tuple(sorted(half[0])) for half in halves if half}) > 10
    for half in halves:
        assert half is not None
        first, second, _ = half
        assert len(first) == 9
        assert sorted([*first, *second]) == list(range(21))
        assert not set(groups.labels[first]) & set(groups.labels[second])


def test_impossible_draws_end() -> None:
    groups = group_llms(list("abcd"), list("vvww"))
    assert draw_halving(groups, np.arange(4.0), np.random.default_rng(0)) is None
    same = group_llms(list("abc"), list("vwx"), ["i", "i", "j"])
    with pytest.raises(PcorrError, match="1000 resamples"):
        draw_resample(same, np.arange(3.0), np.random.default_rng(0))
