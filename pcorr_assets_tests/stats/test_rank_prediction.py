"""Held-out ranks against a plain reimplementation with SciPy and the published package."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from perplexity_correlations import estimation as reference

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.estimation import ESTIMATOR_NAMES
from pcorr_assets.stats.panel import Panel, make_panel
from pcorr_assets.stats.projection import linear
from pcorr_assets.stats.rank_prediction import predict_ranks


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
def test_family_scheme_holds_each_group_out(make_world: Callable, estimator: str) -> None:
    world = make_world(3)
    prediction = predict_ranks(panel_of(world, estimator)).predictions["family", "estimate"]
    families = np.array(world.families)
    expected = np.empty(len(families))
    for family in np.unique(families):
        out = families == family
        estimate = getattr(reference, estimator)(world.X[~out], world.errors[~out])
        weights = linear(np.round(estimate, 12), world.tau)
        expected[out] = scipy.stats.rankdata(world.X @ weights)[out]
    actual = scipy.stats.rankdata(world.errors)
    assert prediction.folds == tuple(world.families)
    np.testing.assert_array_equal(prediction.actual, actual)
    np.testing.assert_array_equal(prediction.predicted, expected)
    assert prediction.rank_correlation == pytest.approx(
        np.corrcoef(scipy.stats.rankdata(expected), actual)[0, 1], abs=1e-14
    )
    total = np.sum((actual - actual.mean()) ** 2)
    assert prediction.rank_r2 == pytest.approx(1 - np.sum((expected - actual) ** 2) / total)


def test_random_scheme_has_five_even_folds_and_the_seed_decides(make_world: Callable) -> None:
    panel = panel_of(make_world(4))
    folds = predict_ranks(panel, seed=1).predictions["random", "estimate"].folds
    assert sorted(np.unique(folds, return_counts=True)[1]) == [3, 3, 3, 3, 4]
    assert folds == predict_ranks(panel, seed=1).predictions["random", "estimate"].folds
    assert folds != predict_ranks(panel, seed=2).predictions["random", "estimate"].folds


def test_mean_bpb_predicts_by_the_mean_over_all_texts(make_world: Callable) -> None:
    world = make_world(5)
    predictions = predict_ranks(panel_of(world)).predictions
    for scheme in ("family", "random"):
        np.testing.assert_array_equal(
            predictions[scheme, "mean_bpb"].predicted, scipy.stats.rankdata(world.X.mean(axis=1))
        )


def test_rows_name_every_llm_once_for_each_scheme_and_predictor(make_world: Callable) -> None:
    world = make_world(6)
    rows = list(predict_ranks(panel_of(world)).rows())
    assert len(rows) == 2 * 2 * len(world.llms)
    assert len({(row.scheme, row.predictor, row.llm) for row in rows}) == len(rows)
    by_llm = dict(zip(world.llms, zip(world.families, world.errors, strict=True), strict=True))
    assert all((row.family, row.error) == by_llm[row.llm] for row in rows)


def test_order_of_the_llms_changes_nothing(make_world: Callable) -> None:
    world = make_world(7)
    order = np.random.default_rng(0).permutation(len(world.llms))
    shuffled = make_panel(
        world.X[order],
        world.errors[order],
        world.tau,
        llms=[world.llms[row] for row in order],
        families=[world.families[row] for row in order],
    )
    rows = {row[:3] + row[4:5]: row for row in predict_ranks(panel_of(world)).rows()}
    again = {row[:3] + row[4:5]: row for row in predict_ranks(shuffled).rows()}
    assert rows == again


def test_two_groups_of_one_name_are_two_folds(make_world: Callable) -> None:
    world = make_world(10, family_count=6, llms_per_family=2)
    # Families "a" and "b" share an LLM, so their group is called "a+b", like a third family.
    families = ["a", "a", "b", "b", "a+b", "a+b", *world.families[6:]]
    identities = [*world.llms[:2], world.llms[1], *world.llms[3:]]

    def predicted(names: list[str]) -> dict[str, float]:
        panel = make_panel(
            world.X,
            world.errors,
            world.tau,
            llms=world.llms,
            families=names,
            identities=identities,
        )
        found = predict_ranks(panel).predictions["family", "estimate"]
        assert found.folds[:6] == ("a+b",) * 4 + (names[4],) * 2
        return dict(zip(world.llms, found.predicted.tolist(), strict=True))

    renamed = ["third" if family == "a+b" else family for family in families]
    assert predicted(families) == predicted(renamed)


def test_a_scheme_that_cannot_be_trained_says_why(make_world: Callable) -> None:
    world = make_world(8, family_count=4, llms_per_family=1)
    world.errors[1:] = 0.5
    predictions = predict_ranks(panel_of(world))
    assert "same error" in predictions.impossible["family"]
    assert "family-00" in predictions.impossible["family"]
    assert not [key for key in predictions.predictions if key[0] == "family"]


def test_panels_are_checked_once(make_world: Callable) -> None:
    world = make_world(9)
    names = {"llms": world.llms, "families": world.families}
    with pytest.raises(PcorrError, match=r"sum to 0\.5"):
        make_panel(world.X, world.errors, world.tau / 10, **names)
    with pytest.raises(PcorrError, match="one for each text"):
        make_panel(world.X, world.errors, world.tau[1:], **names)
    with pytest.raises(PcorrError, match="pearson"):
        make_panel(world.X, world.errors, world.tau, estimator="pearson", **names)
    with pytest.raises(PcorrError, match="one target"):
        make_panel(world.X, world.X[:, :2], world.tau, **names)
    holes = world.X.copy()
    holes[2, 3] = np.nan
    with pytest.raises(PcorrError, match=r"1 NaN.*row 2 .*column 3"):
        make_panel(holes, world.errors, world.tau, **names)
