"""Comparing an estimate with the last one."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcorr_assets.plausibility.estimates import Estimates, change, stable_since_last
from pcorr_assets.stats.estimation import estimate_all

UNITS = [f"site-{index:02}" for index in range(40)]
TAU = np.full(40, 1 / 40 / 0.25)


def estimates(values: np.ndarray, units: list[str] = UNITS, level: str = "domain") -> Estimates:
    return Estimates(level, units, values)


def values(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=40)


def test_the_first_estimate_passes_with_a_note() -> None:
    found = stable_since_last("web|t", None, estimates(values(0)), TAU)
    assert found.passed
    assert found.note == "web|t: the first estimate; there is none to compare it with."


def test_a_small_move_passes() -> None:
    found = stable_since_last(
        "web|t", estimates(values(0)), estimates(values(0) + 0.02 * values(1)), TAU
    )
    assert found.passed
    assert found.numbers["units in both, web|t"] == 40


def test_another_answer_is_noticed() -> None:
    found = stable_since_last("web|t", estimates(values(0)), estimates(-values(0)), TAU)
    assert "web|t: since the last materialisation" in found.text
    assert "rank correlation -1.00" in found.text
    assert "100% of the selected units are new" in found.text


def test_a_new_selection_in_the_same_order_elsewhere_is_noticed() -> None:
    """The order of many units hardly moves, but those at the top are others."""
    before = np.arange(40.0)
    now = before.copy()
    now[:4], now[36:] = before[36:], before[:4]
    found = change(estimates(before), estimates(now), np.full(40, 1 / 4))
    assert found is not None
    assert found.changed_share == 1.0


def test_only_units_that_both_have_are_compared() -> None:
    units = [*UNITS[:20], *(f"new-{index}" for index in range(20))]
    found = change(estimates(values(0)), estimates(values(0), units), TAU)
    assert found is not None
    assert (found.common, found.changed_share) == (20, 0.0)
    assert found.rank_correlation == pytest.approx(1)


def test_what_cannot_be_compared_passes_with_a_note() -> None:
    now = estimates(values(0))
    other_level = estimates(values(0), level="page")
    assert "at level page" in stable_since_last("web|t", other_level, now, TAU).note
    strangers = estimates(values(0), [f"x{index}" for index in range(40)])
    assert "of other units" in stable_since_last("web|t", strangers, now, TAU).note


def test_units_without_tokens_alone_are_not_compared() -> None:
    """Caps of 0 cannot be scaled to anything; the run that asks must not fail for it."""
    before = estimates(values(0)[:5], UNITS[:5])
    tau = np.where(np.arange(40) < 5, 0, 1 / 35 / 0.25)
    found = stable_since_last("web|t", before, estimates(values(1)), tau)
    assert found.passed
    assert "of other units" in found.note


@given(st.integers(0, 1000), st.integers(2, 40), st.floats(0.05, 1))
@settings(max_examples=60)
def test_the_same_estimate_is_never_a_change(seed: int, size: int, keep: float) -> None:
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, 1000, size)
    tau = tokens / tokens.sum() / keep
    same = Estimates("page", UNITS[:size], rng.normal(size=size))
    found = change(same, same, tau)
    assert found is not None
    assert found.changed_share == 0
    assert found.rank_correlation == pytest.approx(1)


def test_one_llm_more_is_no_alarm_on_the_published_matrix(published_data: Path) -> None:
    """One LLM of 90 taken away flags few of the targets, a quarter of the families many."""
    bpb = pd.read_csv(published_data / "bpb_by_page.csv", index_col=0)
    errors = pd.read_csv(published_data / "benchmark_errors.csv", index_col=0)[bpb.columns]
    X, Y = bpb.to_numpy().T, errors.to_numpy().T
    units, tau = list(map(str, bpb.index)), np.full(len(bpb), 1 / len(bpb) / 0.1)
    families = np.array([ast.literal_eval(name)[0] for name in bpb.columns])
    full = estimate_all(X, Y)["spearmanr"]

    def flagged(keep: np.ndarray) -> float:
        less = estimate_all(X[keep], Y[keep])["spearmanr"]
        return float(
            np.mean(
                [
                    not stable_since_last(
                        "p|t",
                        Estimates("page", units, full[:, target]),
                        Estimates("page", units, less[:, target]),
                        tau,
                    ).passed
                    for target in range(Y.shape[1])
                ]
            )
        )

    assert np.mean([flagged(np.arange(90) != index) for index in range(0, 90, 3)]) < 0.05
    rng = np.random.default_rng(0)
    names = sorted(set(families))
    quarters = [rng.choice(names, len(names) // 4, replace=False) for _ in range(10)]
    assert np.mean([flagged(~np.isin(families, gone)) for gone in quarters]) > 0.3
