"""How much of the differences between LLMs' scores other items would show again.

Belongs here: the reliability of a mean over items, and of several such means taken together.
Does not belong here: which items and LLMs those are (`steps`), and what is too little
(`plausibility`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.checks import Floats

# Of what a benchmark's items agree on, the share that is taken to be common to the target's
# benchmarks: no weight rests on reliability alone. And limits, since it is estimated.
COMMON_SHARE = 0.8
LOWEST_RELIABILITY, HIGHEST_RELIABILITY = 0.05, 0.98
# Variances over fewer LLMs say nothing.
MIN_LLMS = 6
MIN_ITEMS = 2


def reliability(scores: ArrayLike) -> float | None:
    """Split-half reliability of the LLMs' mean scores over K items, averaged over all halves.

    In its exact form: Cronbach's alpha, `K / (K - 1) (1 - sum of the items' variances / variance
    of the sums)`, is the mean over all splits into halves A and B of `4 cov(A, B) / var(A + B)`
    (Cronbach 1951), which is the Spearman-Brown coefficient of halves of equal variance. It is
    the squared correlation that the scores have with those over very many such items.

    Args:
        scores: (N, K), a row for each LLM. Items that are NaN for some LLM are left out.

    Returns:
        At most 1; negative where the items contradict each other. None for fewer than 6 LLMs
        or 2 items, or LLMs of equal mean scores.

    Raises:
        PcorrError: `scores` is no matrix.
    """
    items = np.asarray(scores, dtype=np.float64)
    if items.ndim != 2:
        raise PcorrError(f"scores of items have {items.ndim} dimension(s), expected LLMs by items")
    items = items[:, np.isfinite(items).all(axis=0)]
    llm_count, item_count = items.shape
    if llm_count < MIN_LLMS or item_count < MIN_ITEMS:
        return None
    # Means of LLMs that differ by rounding alone are equal.
    sums = items.sum(axis=1)
    if np.ptp(sums) <= 1e-9 * max(1.0, float(np.abs(items).sum(axis=1).max())):
        return None
    share = float(items.var(axis=0, ddof=1).sum() / sums.var(ddof=1))
    return item_count / (item_count - 1) * (1 - share)


def combined_reliability(errors: ArrayLike, reliabilities: ArrayLike) -> float | None:
    """Reliability of the mean of several benchmarks, from that of each.

    `1 - sum of v_b (1 - r_b) / variance of the sums`, with the variance v_b of benchmark b over
    LLMs and its reliability r_b (Mosier 1943; Cronbach's stratified alpha): items of different
    benchmarks are independent.

    Args:
        errors: (N, B) what is averaged, errors or their ranks.
        reliabilities: (B,).

    Returns:
        As `reliability`. For one benchmark its own.
    """
    values = np.asarray(errors, dtype=np.float64)
    if values.shape[0] < MIN_LLMS:
        return None
    total = float(values.sum(axis=1).var(ddof=1))
    if not total:
        return None
    noise = values.var(axis=0, ddof=1) * (1 - np.asarray(reliabilities, dtype=np.float64))
    return 1 - float(noise.sum()) / total


def rank_weights(reliabilities: ArrayLike) -> Floats:
    """(B,) weights of benchmarks in a mean of ranks, by their reliabilities (B,); they sum to 1.

    `sqrt(h r) / (1 - h r)`, loading over unique variance of a one-factor model (Bartlett 1937),
    where h = 0.8 of what is reliable is common to the benchmarks. In the worlds of
    docs/studies.md this loses nothing where the benchmarks are alike.
    """
    reliable = np.clip(
        np.asarray(reliabilities, dtype=np.float64), LOWEST_RELIABILITY, HIGHEST_RELIABILITY
    )
    weights = (COMMON_SHARE * reliable) ** 0.5 / (1 - COMMON_SHARE * reliable)
    return weights / weights.sum()
