"""How much a selection would change if all pages were scored, told from those that were.

Belongs here: the bootstrap over pages, and the overlap that follows from it. Does not belong
here: which pages were scored, and what is done about it.

What the pages that are not scored leave open of an estimate is a variance, by a bootstrap of the
pages within each unit, scaled for a finite number of pages (Rao and Wu, JASA 83, 1988, section
4.1). Estimates spread by chance as well as in truth: taken as they are, they would look firmer
than they are. So the distribution of what all pages would give is deconvolved from the estimates
and their variances (EM on a grid, stopped early; Laird, JASA 73, 1978), and of each unit drawn
given its estimate. Pages are taken as a random part of their unit, and units as independent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pcorr_assets.errors import PcorrError
from pcorr_assets.progress import Progress
from pcorr_assets.stats.checks import Floats
from pcorr_assets.stats.estimation import estimate_all
from pcorr_assets.stats.projection import linear

# Of a variance of few pages, this many degrees of freedom are those of all units together.
PRIOR_FREEDOM = 4
GRID = 121
EM_STEPS = 10

_PAGE_STREAM = 21
_DRAW_STREAM = 22


@dataclass(frozen=True)
class PilotPages:
    """The pages that were scored, and how many there are.

    `X` (N, P) is their BPB for each LLM, `byte_count` (P,) their bytes, `unit` (P,) the place of
    their unit among D, in ascending order; `page_count` (D,) counts the pages of each unit in the
    whole sample.
    """

    X: np.ndarray
    byte_count: np.ndarray
    unit: np.ndarray
    page_count: np.ndarray

    @property
    def scored(self) -> np.ndarray:
        """(D,) how many pages of each unit were scored."""
        return np.bincount(self.unit, minlength=len(self.page_count))

    @property
    def share(self) -> float:
        """The share of the pages of the sample that were scored."""
        return len(self.unit) / int(self.page_count.sum())


@dataclass(frozen=True)
class PredictedOverlap:
    """What a pilot of this share of the pages selects, beside what all pages would select.

    `overlap` is the expected sum of the smaller of both weights of each unit, 1 where they are
    the same; `overlap_low` and `overlap_high` bound it in 9 of 10 draws; `changed_share` is the
    expected share of the units that all pages would select and the pilot does not.
    """

    share: float
    overlap: float
    overlap_low: float
    overlap_high: float
    changed_share: float


def page_variance(
    pages: PilotPages, errors: Floats, estimator: str, *, resamples: int = 200, seed: int = 0
) -> Floats:
    """(D,) the variance that one page brings to the estimate of its unit.

    An estimate of k of n pages is off that of all n by this times `1 / k - 1 / n`. Units with
    few pages lean on the others; those with one page have the mean of the others.

    Raises:
        PcorrError: no unit has two pages.
    """
    scored = pages.scored
    several = scored > 1
    if not several.any():
        raise PcorrError("no unit has two pages in the pilot, so they cannot be compared")
    open_share = np.where(scored < pages.page_count, 1 - scored / pages.page_count, 1.0)
    k = np.maximum(scored, 2)
    stretch = np.sqrt(open_share * k / (k - 1))
    total, squares = np.zeros(len(scored)), np.zeros(len(scored))
    for X in _resampled(pages, stretch, resamples, seed):
        estimate = estimate_all(X, errors, (estimator,))[estimator]
        total += estimate
        squares += estimate**2
    variance = (squares - total**2 / resamples) / (resamples - 1)
    one_page = np.maximum(variance, 0) * scored / open_share
    common = float(one_page[several].mean())
    freedom = np.where(several, scored - 1, 0)
    return (PRIOR_FREEDOM * common + freedom * one_page) / (PRIOR_FREEDOM + freedom)


def _resampled(
    pages: PilotPages, stretch: Floats, resamples: int, seed: int
) -> Iterator[np.ndarray]:
    """(N, D) matrices whose units have other pages: as many, drawn of their own."""
    rng = np.random.default_rng([seed, _PAGE_STREAM])
    scored = pages.scored
    starts = np.cumsum(scored) - scored
    bits = pages.X * pages.byte_count
    mean = _ratio(bits, pages.byte_count, starts)
    first, size = starts[pages.unit], scored[pages.unit]
    with Progress("pages of the pilot", total=resamples, unit="resamples") as progress:
        for _ in range(resamples):
            drawn = first + (rng.random(len(first)) * size).astype(np.int64)
            times = np.bincount(drawn, minlength=len(first))
            other = _ratio(bits * times, pages.byte_count * times, starts)
            yield mean + stretch * (other - mean)
            progress.update()


def _ratio(bits: np.ndarray, byte_count: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return np.add.reduceat(bits, starts, axis=1) / np.add.reduceat(byte_count, starts)


def predict_overlaps(
    pages: PilotPages,
    estimate: Floats,
    variance: Floats,
    tau: Floats,
    shares: tuple[float, ...] = (),
    *,
    draws: int = 200,
    seed: int = 0,
) -> list[PredictedOverlap]:
    """The overlap of this pilot's selection with that of all pages; then of pilots of `shares`.

    Args:
        estimate: (D,) that of the pages that were scored.
        variance: (D,) what `page_variance` gives.
        tau: (D,) caps of the weights.
        shares: of the pages of each unit, rounded up, as other pilots might have them.
    """
    rng = np.random.default_rng([seed, _DRAW_STREAM])
    n = pages.page_count
    own = variance * (1 / pages.scored - 1 / n)
    spreads = [np.sqrt(variance * (1 / np.ceil(share * n) - 1 / n)) for share in shares]
    selected = linear(estimate, tau)
    found: list[list[tuple[float, float]]] = [[] for _ in range(1 + len(shares))]
    for full in _given(estimate, own, draws, rng):
        weights = linear(full, tau)
        found[0].append(_beside(selected, weights))
        for place, spread in enumerate(spreads, start=1):
            other = linear(full + spread * rng.normal(size=len(full)), tau)
            found[place].append(_beside(other, weights))
    return [
        _summary(share, np.asarray(pairs))
        for share, pairs in zip((pages.share, *shares), found, strict=True)
    ]


def _beside(weights: Floats, of_all: Floats) -> tuple[float, float]:
    chosen = of_all > 0
    return min(1.0, float(np.minimum(weights, of_all).sum())), float((weights[chosen] == 0).mean())


def _summary(share: float, pairs: np.ndarray) -> PredictedOverlap:
    low, high = np.quantile(pairs[:, 0], (0.05, 0.95))
    overlap, changed = pairs.mean(axis=0)
    return PredictedOverlap(share, float(overlap), float(low), float(high), float(changed))


def _given(
    estimate: Floats, variance: Floats, draws: int, rng: np.random.Generator
) -> Iterator[Floats]:
    """Draws (D,) of what all pages would give, given the estimates and their variances."""
    is_open = variance > 0
    if not is_open.any() or np.ptp(estimate) == 0:
        for _ in range(draws):
            yield estimate
        return
    grid = np.linspace(estimate.min(), estimate.max(), GRID)
    step = grid[1] - grid[0]
    width = np.maximum(variance, (step / 2) ** 2)[:, np.newaxis]
    log = -((estimate[:, np.newaxis] - grid) ** 2) / (2 * width)
    likelihood = np.exp(log - log.max(axis=1, keepdims=True))
    prior = np.full(GRID, 1 / GRID)
    for _ in range(EM_STEPS):
        given = likelihood * prior
        given /= given.sum(axis=1, keepdims=True)
        prior = given.mean(axis=0)
    upto = np.cumsum(likelihood * prior, axis=1)
    upto /= upto[:, -1:]
    for _ in range(draws):
        at = (upto < rng.random(len(estimate))[:, np.newaxis]).sum(axis=1)
        drawn = grid[at] + step * (rng.random(len(estimate)) - 0.5)
        yield np.where(is_open, drawn, estimate)
