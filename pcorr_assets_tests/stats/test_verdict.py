"""The verdict: its parts against plain reimplementations, its behaviour in known worlds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import pytest
import scipy.stats

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.estimation import ESTIMATOR_NAMES
from pcorr_assets.stats.panel import Panel, make_panel
from pcorr_assets.stats.rank_prediction import predict_ranks
from pcorr_assets.stats.stability import stability, transfer
from pcorr_assets.stats.verdict import (
    ValidationSettings,
    decide,
    delta_interval,
    judge,
    permutation_p,
)

QUICK = ValidationSettings(bootstrap=100, halvings=15, permutations=100)


def panel_of(world, estimator: str = "spearmanr") -> Panel:
    return make_panel(
        world.X,
        world.errors,
        world.tau,
        llms=world.llms,
        families=world.families,
        estimator=estimator,
    )


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    return np.corrcoef(scipy.stats.rankdata(a), scipy.stats.rankdata(b))[0, 1]


@pytest.mark.parametrize("estimator", ["sign", "sign_cdf", "sign_sign", "spearmanr"])
def test_a_clear_world_is_a_go(clear_world, estimator: str) -> None:
    verdict = judge(panel_of(clear_world, estimator), settings=QUICK)
    assert verdict.verdict == "go", verdict.reason
    assert verdict.delta_low is not None
    assert verdict.delta_high is not None
    assert 0 < verdict.delta_low <= verdict.delta_high
    assert verdict.stability is not None
    assert verdict.stability >= 0.5
    assert verdict.permutation_p == pytest.approx(1 / 101)
    assert (verdict.llm_count, verdict.group_count) == (28, 14)
    assert verdict.p_value is not None
    assert verdict.p_value <= 0.05
    assert verdict.gain is not None
    assert verdict.gain_low is not None
    assert verdict.gain_high is not None
    assert verdict.gain_needed is not None
    assert verdict.gain_low < verdict.gain < verdict.gain_high
    assert verdict.gain > verdict.gain_needed > 0
    assert "The errors depend on which texts, beyond overall ability" in verdict.reason
    assert "worth having" in verdict.reason
    assert "beats mean BPB" in verdict.reason


# Not `product`: on BPB that is not centred it selects texts by their mean BPB, which is the
# same for all LLMs, so that it is stable without being right.
@pytest.mark.parametrize("estimator", [name for name in ESTIMATOR_NAMES if name != "product"])
def test_a_null_world_is_no_go_however_well_it_ranks(null_world, estimator: str) -> None:
    verdict = judge(panel_of(null_world, estimator), settings=QUICK)
    assert verdict.verdict == "no-go", verdict.reason
    assert verdict.rank_correlation is not None
    assert verdict.rank_correlation > 0.8
    assert verdict.stability is not None
    assert verdict.stability < 0.3
    assert "More LLM families" in verdict.reason


@pytest.mark.parametrize("seed", range(6))
def test_permuted_errors_are_no_go(clear_world, seed: int) -> None:
    errors = np.random.default_rng(seed).permutation(clear_world.errors)
    assert judge(panel_of(replace(clear_world, errors=errors)), settings=QUICK).verdict == "no-go"


@pytest.mark.parametrize(
    ("p", "gain", "gain_high", "alternative", "groups", "expected"),
    [
        (0.05, 0.02, 0.2, 0.2, 6, "go"),
        (0.051, 0.02, 0.2, 0.2, 6, "caution"),
        (0.10, 0.02, 0.2, 0.2, 6, "caution"),
        (0.101, 0.02, 0.2, 0.2, 6, "no-go"),
        (0.05, 0.019, 0.2, 0.2, 6, "caution"),
        (0.051, 0.019, 0.2, 0.2, 6, "no-go"),
        (0.05, 0.02, 0.2, 0.201, 6, "caution"),
        (0.05, 0.02, 0.2, 0.2, 5, "caution"),
        (0.05, -0.02, 0.2, 0.2, 40, "caution"),
    ],
)
def test_the_rule(
    p: float, gain: float, gain_high: float, alternative: float, groups: int, expected: str
) -> None:
    assert decide(p, gain, gain_high, 0.02, alternative, groups) == expected


def test_go_stability_no_longer_decides(clear_world) -> None:
    strict = replace(QUICK, go_stability=1.0)
    assert judge(panel_of(clear_world), settings=strict).verdict == "go"


def test_few_groups_are_caution_at_best(make_world: Callable) -> None:
    world = make_world(1, family_count=5, llms_per_family=6, topic_strength=1.5, error_noise=0.05)
    verdict = judge(panel_of(world), settings=QUICK)
    assert verdict.verdict in ("caution", "no-go")
    assert "With 5 independent groups" in verdict.reason


def test_fewer_than_three_groups_cannot_be_validated(make_world: Callable) -> None:
    world = make_world(1, family_count=2, llms_per_family=8)
    verdict = judge(panel_of(world), settings=QUICK)
    assert verdict.verdict == "no-go"
    assert "cannot be validated: there are only 2 independent group(s)" in verdict.reason
    assert verdict.delta is None
    assert verdict.stability is None


def test_three_single_llms_cannot_be_validated_either(make_world: Callable) -> None:
    verdict = judge(panel_of(make_world(1, family_count=3, llms_per_family=1)), settings=QUICK)
    assert verdict.verdict == "no-go"
    assert "cannot be validated: without fold" in verdict.reason


def test_four_single_llms_have_no_halves_but_a_verdict(make_world: Callable) -> None:
    verdict = judge(panel_of(make_world(1, family_count=4, llms_per_family=1)), settings=QUICK)
    assert verdict.stability is None
    assert "cannot be halved" in verdict.reason
    assert verdict.delta is not None


def test_no_choice_under_the_caps_is_never_stable(clear_world) -> None:
    everything = replace(clear_world, tau=np.full(clear_world.tau.size, 1 / clear_world.tau.size))
    assert stability(panel_of(everything), halvings=5).value == 0


def test_transfer_is_the_ratio_of_mean_ranks_above_the_middle() -> None:
    estimate = np.array([0.1, 0.9, 0.9, -0.5, 0.4])  # ranks 2, 4.5, 4.5, 1, 3: the middle is 3
    own = np.array([0, 0.5, 0.5, 0, 0])
    assert transfer(own, own, estimate) == 1
    assert transfer(np.full(5, 0.2), own, estimate) == pytest.approx(0, abs=1e-15)
    assert transfer(np.array([0.5, 0.5, 0, 0, 0]), own, estimate) == pytest.approx(0.25 / 1.5)
    assert transfer(np.array([0, 0, 0, 1.0, 0]), own, estimate) == pytest.approx(-2 / 1.5)
    assert transfer(own, own, np.zeros(5)) == 0


def test_stability_of_two_groups_a_half_is_the_formula(make_world: Callable) -> None:
    world = make_world(11, family_count=2, llms_per_family=5)
    panel = panel_of(world)
    first, second = panel.groups.members
    estimates = [panel.estimate(rows) for rows in (first, second)]
    weights = [panel.weights(rows) for rows in (first, second)]
    ranks = [scipy.stats.rankdata(estimate) for estimate in estimates]
    ratios = [
        (weights[1 - half] @ ranks[half] - ranks[half].mean())
        / (weights[half] @ ranks[half] - ranks[half].mean())
        for half in (0, 1)
    ]
    # Two groups have one halving, so every draw gives the same.
    assert stability(panel, halvings=3).value == pytest.approx(np.mean(ratios), abs=1e-12)


def test_delta_interval_is_a_group_bootstrap_of_the_held_out_ranks(make_world: Callable) -> None:
    world = make_world(12, family_count=10)
    panel = panel_of(world)
    predictions = predict_ranks(panel).predictions
    predicted = predictions["family", "estimate"].predicted
    baseline = predictions["family", "mean_bpb"].predicted
    rng = np.random.default_rng(99)
    deltas = []
    for _ in range(1000):
        rows = np.concatenate([panel.groups.members[g] for g in rng.integers(10, size=10)])
        errors = world.errors[rows]
        deltas.append(spearman(predicted[rows], errors) - spearman(baseline[rows], errors))
    low, high = delta_interval(panel, predicted, baseline, 1000, seed=0)
    # Two independent sets of 1000 draws: about four standard errors of a 5 % quantile.
    error = 4 * np.sqrt(2 * 0.05 * 0.95 / 1000) * np.std(deltas) / 0.103
    assert low == pytest.approx(np.quantile(deltas, 0.05), abs=error)
    assert high == pytest.approx(np.quantile(deltas, 0.95), abs=error)


def test_permutation_p_is_small_for_a_signal_and_large_for_none(clear_world) -> None:
    panel = panel_of(clear_world)
    assert permutation_p(panel, permutations=199) == pytest.approx(1 / 200)
    ps = []
    for seed in range(12):
        errors = np.random.default_rng(100 + seed).permutation(clear_world.errors)
        shuffled = panel_of(replace(clear_world, errors=errors))
        ps.append(permutation_p(shuffled, permutations=99, seed=seed))
    # Uniform under the null: the mean of 12 is within .5 +- 4 * .29 / sqrt(12).
    assert 0.16 < np.mean(ps) < 0.84
    assert min(ps) < 0.5 < max(ps)


def test_the_seed_decides_and_the_order_of_the_llms_does_not(make_world: Callable) -> None:
    world = make_world(13)
    order = np.random.default_rng(0).permutation(len(world.llms))
    shuffled = replace(
        world,
        X=world.X[order],
        errors=world.errors[order],
        llms=[world.llms[row] for row in order],
        families=[world.families[row] for row in order],
    )
    verdict = asdict(judge(panel_of(world), settings=QUICK))
    assert asdict(judge(panel_of(shuffled), settings=QUICK)) == verdict
    other = asdict(judge(panel_of(world), settings=replace(QUICK, seed=1)))
    assert other["delta"] == verdict["delta"]
    assert other["stability"] != verdict["stability"]


def test_settings_are_checked() -> None:
    with pytest.raises(PcorrError, match="halvings must be at least 1"):
        ValidationSettings(halvings=0)


def test_the_reason_says_what_is_simpler_and_better(make_world: Callable) -> None:
    """Texts that are easy for all are also those whose BPB goes with the errors."""
    world = make_world(4, topic_strength=1.5, error_noise=0.05, family_count=14)
    X = world.X - 5 * (world.topics == 0)
    easy = make_panel(
        X, world.errors, world.tau, llms=world.llms, families=world.families, estimator="product"
    )
    verdict = judge(easy, settings=QUICK)
    assert verdict.gain_mean_bpb is not None
    assert verdict.gain_high is not None
    assert verdict.gain is not None
    assert verdict.gain_mean_bpb > verdict.gain_high
    assert "taking those is simpler, and better" in verdict.reason
    assert verdict.verdict != "go"
