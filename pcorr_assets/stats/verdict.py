"""Go, caution or no-go: is an estimate to be trusted before anybody spends GPU hours?

Belongs here: the evidence put together, and the decision. Does not belong here: the
evidence itself (`dependence`, `gain`, `rank_prediction`, `stability`), the decision in
words (`verdict_words`), and where it is shown.

Two questions decide. Do the errors depend on *which* texts, beyond overall ability
(`p_value`)? And is what the selection gains over random texts worth having (`gain`)?
High held-out correlation alone is no evidence: mean BPB over all texts ranks LLMs nearly
as well. `delta`, `stability` and `permutation_p` are shown beside the two and do not
decide: they have little power where LLMs are few, or where model size dominates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pcorr_assets.errors import PcorrError
from pcorr_assets.progress import Progress
from pcorr_assets.stats.checks import Floats
from pcorr_assets.stats.choice import AUTO, PLAIN
from pcorr_assets.stats.dependence import dependence_p
from pcorr_assets.stats.estimation import estimate_all
from pcorr_assets.stats.gain import Gain, selection_gain
from pcorr_assets.stats.groups import draw_resample
from pcorr_assets.stats.ordered import order_texts
from pcorr_assets.stats.panel import Panel
from pcorr_assets.stats.projection import linear
from pcorr_assets.stats.rank_prediction import RankPredictions, predict_ranks
from pcorr_assets.stats.ranks import rank_correlation
from pcorr_assets.stats.stability import stability
from pcorr_assets.stats.verdict_words import Evidence, cannot_be_validated, in_words

VERDICTS = ("go", "caution", "no-go")
GROUPS_FOR_GO = 6
GROUPS_FOR_VALIDATION = 3
LARGEST_P = 0.05
# Up to here p is a hint, which more LLMs may turn into evidence.
LARGEST_P_OF_HINT = 0.1
# A gain worth having is this share of what lies between random texts and a perfect rank
# correlation; where the LLMs' overall ability explains nearly all, there is little to gain.
SMALLEST_SHARE = 0.05
INTERVAL = (0.05, 0.95)

_BOOTSTRAP_STREAM = 3
_PERMUTATION_STREAM = 4
_PERMUTED_ENTRIES = 2**24


@dataclass(frozen=True)
class ValidationSettings:
    """How much is resampled.

    `permutations` serves the randomisations of the dependence test as well.
    `go_stability` no longer decides; it is the mark that stability is shown against.
    """

    bootstrap: int = 200
    halvings: int = 50
    permutations: int = 1000
    seed: int = 0
    go_stability: float = 0.5

    def __post_init__(self) -> None:
        for name in ("bootstrap", "halvings", "permutations"):
            if getattr(self, name) < 1:
                raise PcorrError(f"{name} must be at least 1, not {getattr(self, name)}")


@dataclass(frozen=True)
class Verdict:
    """A row of the table `verdicts`, but for its sample and target.

    Numbers are None where they cannot be computed; `reason` then says why.

    Attributes:
        delta: rank correlation of the held-out prediction (scheme `family`) minus that of
            mean BPB; `delta_low` and `delta_high` are its 90 % interval by group bootstrap.
        stability: see `stability`.
        permutation_p: share of permuted errors for which the selected texts have as large
            a mean estimate; whether errors go with BPB at all.
        p_value: see `dependence.dependence_p`.
        gain: expected gain of the selection over random texts, in rank correlation, with
            its 90 % interval `gain_low` to `gain_high`; see `gain`.
        gain_needed: the least gain that is worth having.
        gain_mean_bpb: gain of the texts of lowest mean BPB.
        gain_strongest_llm: gain of the texts of lowest BPB under the LLM of lowest error.
        random_texts: mean rank correlation of all texts, which random texts have.
    """

    verdict: str
    reason: str
    delta: float | None
    delta_low: float | None
    delta_high: float | None
    stability: float | None
    permutation_p: float | None
    rank_correlation: float | None
    rank_r2: float | None
    mean_bpb_correlation: float | None
    llm_count: int
    group_count: int
    p_value: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    gain_needed: float | None = None
    gain_mean_bpb: float | None = None
    gain_strongest_llm: float | None = None
    random_texts: float | None = None


def judge(
    panel: Panel,
    predictions: RankPredictions | None = None,
    settings: ValidationSettings | None = None,
) -> Verdict:
    """The verdict on one estimate.

    Args:
        panel: the matrix, errors and LLMs.
        predictions: of the same panel, if they are there already.
        settings: counts and seed.

    Returns:
        What `decide` says. Fewer than 3 groups, or held-out predictions impossible:
        "no-go" that says it cannot be validated.
    """
    settings = settings or ValidationSettings()
    ordered = order_texts(panel.X)
    predictions = predictions or predict_ranks(panel, seed=settings.seed, ordered=ordered)
    group_count = len(panel.groups)
    if group_count < GROUPS_FOR_VALIDATION:
        return _unvalidated(panel, f"there are only {group_count} independent group(s) of LLMs")
    if "family" in predictions.impossible:
        return _unvalidated(panel, predictions.impossible["family"])
    estimate = predictions.predictions["family", "estimate"]
    baseline = predictions.predictions["family", "mean_bpb"]
    low, high = delta_interval(
        panel, estimate.predicted, baseline.predicted, settings.bootstrap, settings.seed
    )
    steadiness = stability(panel, halvings=settings.halvings, seed=settings.seed, ordered=ordered)
    gain = selection_gain(panel, steadiness, ordered)
    evidence = Evidence(
        p_value=dependence_p(panel, randomisations=settings.permutations, seed=settings.seed),
        gain=gain,
        gain_needed=gain_needed(gain),
        delta=estimate.rank_correlation - baseline.rank_correlation,
        delta_low=low,
        delta_high=high,
        steadiness=steadiness,
        group_count=group_count,
    )
    verdict = _decided(evidence)
    return Verdict(
        verdict=verdict,
        reason=in_words(verdict, evidence, largest_p=LARGEST_P, groups_for_go=GROUPS_FOR_GO),
        delta=evidence.delta,
        delta_low=low,
        delta_high=high,
        stability=steadiness.value,
        permutation_p=permutation_p(panel, permutations=settings.permutations, seed=settings.seed),
        rank_correlation=estimate.rank_correlation,
        rank_r2=estimate.rank_r2,
        mean_bpb_correlation=baseline.rank_correlation,
        llm_count=len(panel.llms),
        group_count=group_count,
        p_value=evidence.p_value,
        gain=gain.value,
        gain_low=gain.low,
        gain_high=gain.high,
        gain_needed=evidence.gain_needed,
        gain_mean_bpb=gain.mean_bpb,
        gain_strongest_llm=gain.strongest_llm,
        random_texts=gain.random_texts,
    )


def gain_needed(gain: Gain) -> float:
    """The least gain worth having: a share of what random texts leave to be gained."""
    return SMALLEST_SHARE * (1 - gain.random_texts)


def decide(
    p_value: float,
    gain: float,
    gain_high: float,
    gain_needed: float,
    best_alternative: float,
    group_count: int,
) -> str:
    """The rule, on numbers alone.

    Returns:
        "go": p at most .05, a gain of at least `gain_needed`, no alternative (texts of
        lowest mean BPB, or of lowest BPB under the strongest LLM) that gains more than the
        upper end of the selection's interval, and at least 6 groups. "caution": p at most
        .05, but one of the others is not so; or a gain worth having with p at most .10.
        "no-go": all else.
    """
    worth_having = gain >= gain_needed
    if p_value <= LARGEST_P:
        enough = worth_having and best_alternative <= gain_high and group_count >= GROUPS_FOR_GO
        return "go" if enough else "caution"
    return "caution" if worth_having and p_value <= LARGEST_P_OF_HINT else "no-go"


def _decided(found: Evidence) -> str:
    gain = found.gain
    return decide(
        found.p_value,
        gain.value,
        gain.high,
        found.gain_needed,
        max(gain.mean_bpb, gain.strongest_llm),
        found.group_count,
    )


def delta_interval(
    panel: Panel, predicted: Floats, baseline: Floats, resamples: int, seed: int
) -> tuple[float, float]:
    """90 % interval of delta by group bootstrap over the held-out ranks (N,).

    The predictions stay as they are, so that no LLM is both drawn for training and
    held out; correlations are of the LLMs in the resample, by multiplicity.
    """
    rng = np.random.default_rng([seed, _BOOTSTRAP_STREAM])
    deltas = np.empty(resamples)
    for number in range(resamples):
        rows, _ = draw_resample(panel.groups, panel.errors, rng)
        errors = panel.errors[rows]
        deltas[number] = rank_correlation(predicted[rows], errors) - rank_correlation(
            baseline[rows], errors
        )
    low, high = np.quantile(deltas, INTERVAL)
    return float(low), float(high)


def permutation_p(panel: Panel, *, permutations: int = 1000, seed: int = 0) -> float:
    """p of the mean estimate of the selected texts, `<w, estimate>`, under permuted errors.

    `(1 + permutations that reach it) / (1 + permutations)`. It asks only whether the
    errors go with BPB at all, and takes LLMs of a family for independent. The statistic of
    `auto` is Spearman's: a choice for each permutation would take hours.
    """
    if panel.estimator == AUTO:
        panel = panel.with_estimator(PLAIN)
    rows = panel.all_rows
    rng = np.random.default_rng([seed, _PERMUTATION_STREAM])
    observed = _selected_mean(panel.estimate(rows), panel.tau)
    # Rounding must not decide between permutations that only swap equal errors.
    threshold = observed - 1e-9 * abs(observed)
    step = max(1, _PERMUTED_ENTRIES // panel.text_count)
    reached = 0
    with Progress("permutation test", total=permutations, unit="permutations") as progress:
        for start in range(0, permutations, step):
            count = min(step, permutations - start)
            permuted = np.empty((rows.size, count))
            for column in range(count):
                permuted[rows, column] = panel.errors[rng.permutation(rows)]
            estimates = estimate_all(panel.X, permuted, (panel.estimator,))[panel.estimator]
            for column in range(count):
                reached += _selected_mean(estimates[:, column], panel.tau) >= threshold
            progress.update(count)
    return (1 + reached) / (1 + permutations)


def _selected_mean(estimate: Floats, tau: Floats) -> float:
    return float(linear(estimate, tau) @ estimate)


def _unvalidated(panel: Panel, why: str) -> Verdict:
    return Verdict(
        verdict="no-go",
        reason=cannot_be_validated(why),
        delta=None,
        delta_low=None,
        delta_high=None,
        stability=None,
        permutation_p=None,
        rank_correlation=None,
        rank_r2=None,
        mean_bpb_correlation=None,
        llm_count=len(panel.llms),
        group_count=len(panel.groups),
    )
