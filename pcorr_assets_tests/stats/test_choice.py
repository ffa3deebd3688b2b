"""The choice of an estimator: by held-out halves, and from given LLMs alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.choice import choose_estimator
from pcorr_assets.stats.estimation import ESTIMATOR_NAMES, estimate_all
from pcorr_assets.stats.panel import Panel, make_panel
from pcorr_assets.stats.projection import linear
from pcorr_assets.stats.rank_prediction import predict_ranks
from pcorr_assets.stats.stability import stability
from pcorr_assets.stats.verdict import ValidationSettings, judge

SMALL = ValidationSettings(bootstrap=20, halvings=6, permutations=50)


def world(
    seed: int, family_count: int = 12, *, level: float = 0.0, estimator: str = "auto"
) -> Panel:
    """LLMs in families of two; ten of 40 texts go with the errors.

    With `level` the other texts are much harder, which is all that `product` looks at.
    """
    rng = np.random.default_rng(seed)
    count = 2 * family_count
    skill = np.repeat(rng.normal(size=family_count), 2) + 0.5 * rng.normal(size=count)
    X = 1 + 0.1 * rng.normal(size=(count, 40)) + level * (np.arange(40) >= 10)
    X[:, :10] -= 0.1 * skill[:, np.newaxis]
    return make_panel(
        X, 5 - skill + 0.2 * rng.normal(size=count), np.full(40, 0.1),
        llms=[f"llm-{n:02}" for n in range(count)],
        families=[f"family-{n // 2:02}" for n in range(count)],
        estimator=estimator,
    )  # fmt: skip


def test_the_chosen_one_gains_most_on_held_out_halves() -> None:
    panel = world(0)
    labels, rows = panel.groups.labels, panel.all_rows
    rng = np.random.default_rng(11)
    gains: dict[str, float] = dict.fromkeys(ESTIMATOR_NAMES, 0.0)
    for _ in range(4):
        half = set(rng.permutation(12)[:6].tolist())
        one = [row for row in rows if labels[row] in half]
        other = [row for row in rows if labels[row] not in half]
        for name in ESTIMATOR_NAMES:
            for chosen, held in ((one, other), (other, one)):
                weights = linear(estimate_all(panel.X, panel.errors, (name,), rows=chosen)[name],
                                 panel.tau)  # fmt: skip
                truth = estimate_all(panel.X, panel.errors, ("spearmanr",), rows=held)["spearmanr"]
                gains[name] += float(weights @ truth)
    best = max(gains.values())
    assert gains[panel.chosen(rows)] == pytest.approx(best)


def test_an_estimator_that_selects_badly_is_not_taken() -> None:
    for seed in range(10):
        panel = world(seed, level=3.0)
        assert panel.chosen(panel.all_rows) != "product"


def test_the_estimate_is_that_of_the_chosen_one() -> None:
    panel = world(1)
    for rows in (panel.all_rows, panel.all_rows[:14], np.repeat(panel.all_rows[:16], 2)):
        name = panel.chosen(rows)
        expected = panel.with_estimator(name).estimate(rows)
        assert np.array_equal(panel.estimate(rows), expected)


def test_held_out_llms_have_no_say_in_the_choice() -> None:
    panel = world(2)
    rows = panel.all_rows[:12]
    X, errors = panel.X.copy(), panel.errors.copy()
    rng = np.random.default_rng(3)
    X[12:], errors[12:] = rng.normal(size=X[12:].shape), rng.normal(size=12)
    other = replace(panel, X=X, errors=errors)
    assert panel.chosen(rows) == other.chosen(rows)
    assert np.array_equal(panel.estimate(rows), other.estimate(rows))
    # So a fold's predictions do not change with the errors of those it holds out.
    errors = panel.errors.copy()
    errors[:2] += 1
    before, after = (
        predict_ranks(p).predictions["family", "estimate"].predicted[:2]
        for p in (panel, replace(panel, errors=errors))
    )
    assert np.array_equal(before, after)


def test_few_groups_or_equal_errors_leave_the_plain_one() -> None:
    panel = world(4, 2)
    assert choose_estimator(
        panel.X, panel.errors, panel.tau, panel.groups, panel.all_rows[:2]
    ) == "spearmanr"  # fmt: skip
    level = replace(panel, errors=np.array([0.0, 0.0, 0.0, 1.0]))
    assert level.chosen(level.all_rows) == "spearmanr"


def test_stability_and_verdict_take_it() -> None:
    panel = world(5)
    steady = stability(panel, halvings=6)
    assert steady.value is not None
    assert steady.value > 0.5
    verdict, plain = (judge(p, settings=SMALL) for p in (panel, panel.with_estimator("spearmanr")))
    assert verdict.verdict == plain.verdict == "go"
    # Neither depends on the estimator.
    assert verdict.p_value == plain.p_value
    assert verdict.permutation_p == plain.permutation_p


def test_an_unknown_name_lists_auto() -> None:
    with pytest.raises(PcorrError, match="spearmanr and auto"):
        world(0, estimator="best")
