"""Selection frequency: counts, redraws, and the world of exchangeable texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pcorr_assets.stats.estimation import ESTIMATOR_NAMES, ESTIMATORS
from pcorr_assets.stats.panel import Panel, make_panel
from pcorr_assets.stats.projection import linear
from pcorr_assets.stats.selection_frequency import exchangeable_texts, selection_frequency


def panel_of(world, estimator: str = "spearmanr") -> Panel:
    return make_panel(
        world.X,
        world.errors,
        world.tau,
        llms=world.llms,
        families=world.families,
        estimator=estimator,
    )


@pytest.mark.parametrize("estimator", ESTIMATOR_NAMES)
def test_frequency_is_the_share_of_resamples_that_select(
    make_world: Callable, estimator: str
) -> None:
    world = make_world(20)
    panel = panel_of(world, estimator)
    result = selection_frequency(panel, resamples=400, seed=3)
    rng = np.random.default_rng(77)
    counts = np.zeros(world.tau.size)
    for _ in range(400):
        rows = np.concatenate([panel.groups.members[g] for g in rng.integers(8, size=8)])
        counts += linear(ESTIMATORS[estimator](world.X[rows], world.errors[rows]), world.tau) > 0
    assert result.frequency is not None
    # Two independent binomials of 400: five standard errors of their difference.
    np.testing.assert_allclose(result.frequency, counts / 400, atol=5 * np.sqrt(2 * 0.25 / 400))
    # A fifth of the 48 units: 9 full and one cut.
    assert result.frequency.sum() == pytest.approx(10)


def test_a_clear_world_is_above_chance_and_a_null_world_is_not(clear_world, null_world) -> None:
    clear = selection_frequency(panel_of(clear_world), resamples=60)
    null = selection_frequency(panel_of(null_world), resamples=60)
    assert clear.frequency is not None
    assert clear.selected_mean is not None
    assert clear.chance_mean is not None
    assert null.selected_mean is not None
    assert null.chance_mean is not None
    true_units = clear_world.true_weights > 0
    assert clear.frequency[true_units].mean() > 0.8
    assert clear.selected_mean > clear.chance_mean + 0.15
    assert null.selected_mean == pytest.approx(null.chance_mean, abs=0.15)


def test_exchangeable_texts_keep_levels_and_families_but_no_texts(clear_world) -> None:
    panel = panel_of(clear_world)
    world = exchangeable_texts(panel, seed=1)
    np.testing.assert_allclose(world.mean(axis=1), clear_world.X.mean(axis=1), rtol=1e-12)
    residual = world - world.mean(axis=1, keepdims=True)
    correlations = np.corrcoef(residual)
    np.fill_diagonal(correlations, np.nan)
    family = panel.groups.labels
    siblings = family[:, np.newaxis] == family
    assert np.nanmean(correlations[siblings]) > 0.4
    assert abs(np.nanmean(correlations[~siblings])) < 0.1
    np.testing.assert_array_equal(world, exchangeable_texts(panel, seed=1))
    assert (world != exchangeable_texts(panel, seed=2)).any()


def test_few_groups_have_no_frequency_but_a_reason(make_world: Callable) -> None:
    result = selection_frequency(panel_of(make_world(21, family_count=4)))
    assert result.frequency is None
    assert result.reason is not None
    assert "4 independent group(s)" in result.reason


def test_redraws_are_counted(make_world: Callable) -> None:
    world = make_world(22, family_count=6, llms_per_family=1)
    errors = np.full(6, 0.4)
    errors[2] = 0.6
    result = selection_frequency(panel_of(replace(world, errors=errors)), resamples=200)
    # The one LLM with another error is missing with probability (5/6)^6 = .33.
    assert 50 < result.redrawn < 170


def test_order_of_the_llms_changes_nothing(make_world: Callable) -> None:
    world = make_world(23)
    order = np.random.default_rng(1).permutation(len(world.llms))
    shuffled = replace(
        world,
        X=world.X[order],
        errors=world.errors[order],
        llms=[world.llms[row] for row in order],
        families=[world.families[row] for row in order],
    )
    before = selection_frequency(panel_of(world), resamples=30)
    after = selection_frequency(panel_of(shuffled), resamples=30)
    np.testing.assert_array_equal(before.frequency, after.frequency)
    assert before.chance_mean == after.chance_mean
