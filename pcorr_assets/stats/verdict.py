"""Go, caution or no-go: is an estimate to be trusted before anybody spends GPU hours?

Belongs here: the evidence put together, and the decision in words. Does not belong
here: the evidence itself (`rank_prediction`, `stability`), and where it is shown.

High held-out correlation alone is no evidence of a good selection: mean BPB over all
texts ranks LLMs nearly as well. So the estimate must beat mean BPB (`delta`), and its
choice must hold for LLM groups that did not make it (`stability`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pcorr_assets.errors import PcorrError
from pcorr_assets.progress import Progress
from pcorr_assets.stats.checks import Floats
from pcorr_assets.stats.estimation import estimate_all
from pcorr_assets.stats.groups import draw_resample
from pcorr_assets.stats.panel import Panel
from pcorr_assets.stats.projection import linear
from pcorr_assets.stats.rank_prediction import RankPredictions, predict_ranks
from pcorr_assets.stats.ranks import rank_correlation
from pcorr_assets.stats.stability import Stability, stability

VERDICTS = ("go", "caution", "no-go")
GROUPS_FOR_GO = 6
GROUPS_FOR_VALIDATION = 3
LARGEST_P = 0.05
INTERVAL = (0.05, 0.95)

_BOOTSTRAP_STREAM = 3
_PERMUTATION_STREAM = 4
_PERMUTED_ENTRIES = 2**24

ADVICE = (
    "More LLM families, texts of other kinds, or another level (domain instead of page) "
    "may give a clearer answer."
)


@dataclass(frozen=True)
class ValidationSettings:
    """How much is resampled, and the threshold of stability for a go."""

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
            a mean estimate; a sanity check only.
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


def judge(
    panel: Panel,
    predictions: RankPredictions | None = None,
    settings: ValidationSettings | None = None,
) -> Verdict:
    """The verdict on one estimate.

    Args:
        panel: the matrix, errors and LLMs.
        predictions: of the same panel, if they are there already.
        settings: counts, seed and threshold.

    Returns:
        "go": lower limit of delta above 0 and stability at least `go_stability`;
        "caution": one of the two; "no-go": neither, or permutation p above .05. Fewer than
        6 groups: caution at best. Fewer than 3, or held-out predictions impossible:
        "no-go" that says it cannot be validated.
    """
    settings = settings or ValidationSettings()
    predictions = predictions or predict_ranks(panel, seed=settings.seed)
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
    steadiness = stability(panel, halvings=settings.halvings, seed=settings.seed)
    p = permutation_p(panel, permutations=settings.permutations, seed=settings.seed)
    verdict = decide(low, steadiness.value, p, group_count, settings.go_stability)
    delta = estimate.rank_correlation - baseline.rank_correlation
    return Verdict(
        verdict=verdict,
        reason=_words(verdict, delta, (low, high), steadiness, p, group_count, settings),
        delta=delta,
        delta_low=low,
        delta_high=high,
        stability=steadiness.value,
        permutation_p=p,
        rank_correlation=estimate.rank_correlation,
        rank_r2=estimate.rank_r2,
        mean_bpb_correlation=baseline.rank_correlation,
        llm_count=len(panel.llms),
        group_count=group_count,
    )


def decide(
    delta_low: float,
    stability: float | None,
    permutation_p: float,
    group_count: int,
    go_stability: float = 0.5,
) -> str:
    """The rule, on numbers alone; stability None counts as not reached."""
    if permutation_p > LARGEST_P:
        return "no-go"
    passed = (delta_low > 0) + (stability is not None and stability >= go_stability)
    if passed == 2 and group_count >= GROUPS_FOR_GO:
        return "go"
    return "caution" if passed else "no-go"


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
    errors go with BPB at all, and takes LLMs of a family for independent.
    """
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
        reason=f"The estimate cannot be validated: {why}. Add LLM families.",
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


def _words(
    verdict: str,
    delta: float,
    interval: tuple[float, float],
    steadiness: Stability,
    p: float,
    group_count: int,
    settings: ValidationSettings,
) -> str:
    beats = "beats" if interval[0] > 0 else "does not clearly beat"
    sentences = [
        f"Held-out LLMs: the selected texts rank them so that it {beats} mean BPB over all "
        f"texts (delta {delta:+.3f}, 90 % interval {interval[0]:+.3f} to {interval[1]:+.3f})."
    ]
    if steadiness.value is None:
        sentences.append(f"Stability is unknown: {steadiness.reason}.")
    else:
        holds = "holds" if steadiness.value >= settings.go_stability else "does not hold"
        sentences.append(
            f"A selection made on half of the LLM groups {holds} on the other half (stability "
            f"{steadiness.value:.2f}, {settings.go_stability:.2f} needed)."
        )
    if p > LARGEST_P:
        sentences.append(
            f"Permuted errors do as well in {p:.1%} of cases (at most {LARGEST_P:.0%} allowed), "
            "so the errors may have nothing to do with BPB."
        )
    if group_count < GROUPS_FOR_GO:
        sentences.append(
            f"With {group_count} independent groups of LLMs the verdict is caution at best; "
            f"{GROUPS_FOR_GO} are needed."
        )
    if verdict != "go":
        sentences.append(ADVICE)
    return " ".join(sentences)
