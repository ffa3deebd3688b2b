"""How probable is it that a text belongs above the budget line?

Belongs here: that probability, for each text. Does not belong here: how often resamples
select it (`selection_frequency`, a stability), and what the whole selection gains.

Empirical Bayes. The estimates of all texts are the prior of each: they spread because the
truth does and because few LLMs measured it, and the reliability r of the whole (see
`gain.reliability`) says in which proportion. True estimates are drawn as `sqrt(r)` times
the estimate plus what resampled groups of LLMs change of it; a text's probability is the
share of draws in which the caps let it in. With r = 0 every draw is noise, and no text is
more probable than its share of the budget.

Noise moves texts of one kind together, while the Gaussian prior takes true estimates for
spread evenly, which is more doubt than kinds of text leave. `NOISE_KEPT` is the part of the
noise with which stated probabilities came true in the worlds of docs/studies.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pcorr_assets.progress import Progress
from pcorr_assets.stats.checks import Floats
from pcorr_assets.stats.gain import reliability
from pcorr_assets.stats.panel import Panel
from pcorr_assets.stats.projection import linear
from pcorr_assets.stats.ranks import centred_ranks
from pcorr_assets.stats.stability import Stability

GROUPS_FOR_PROBABILITY = 5
NOISE_KEPT = 0.3

_STREAM = 9
_BLOCK_ENTRIES = 2**20


@dataclass(frozen=True)
class Inclusion:
    """Inclusion probabilities (D,), or the reason why there are none."""

    probability: Floats | None
    reason: str | None


def inclusion_probability(
    panel: Panel, steadiness: Stability, *, draws: int = 200, seed: int = 0
) -> Inclusion:
    """For each text the probability that its true rank correlation is above the budget line.

    The budget line is where the caps are used up by the texts of highest true rank
    correlation. None with fewer than 5 groups, or where they cannot be halved.

    Args:
        panel: the matrix, errors, caps and groups.
        steadiness: of the same panel.
        draws: of true estimates.
        seed: of the draws.
    """
    group_count = len(panel.groups)
    if group_count < GROUPS_FOR_PROBABILITY:
        return Inclusion(
            None,
            f"{group_count} independent group(s) of LLMs are too few to tell how far the "
            f"estimates may be off, {GROUPS_FOR_PROBABILITY} are needed",
        )
    if steadiness.gain_held_out is None:
        return Inclusion(None, steadiness.reason)
    by_group = _by_group(panel)
    estimate = by_group.sum(axis=0, dtype=np.float64)
    believed = reliability(steadiness) ** 0.5 * estimate
    rng = np.random.default_rng([seed, _STREAM])
    shares = np.full(group_count, 1 / group_count)
    included = np.zeros(panel.text_count)
    with Progress("inclusion probability", total=draws, unit="draws") as progress:
        for _ in range(draws):
            change = (rng.multinomial(group_count, shares) - 1).astype(np.float32) @ by_group
            included += linear(believed + NOISE_KEPT * change, panel.tau) > 0
            progress.update()
    return Inclusion(included / draws, None)


def _by_group(panel: Panel) -> np.ndarray:
    """(G, D) float32: what each group contributes to Spearman's correlation of each text,
    less the mean of its contributions over the texts."""
    order = np.concatenate(panel.groups.members)
    starts = np.cumsum([0, *(len(members) for members in panel.groups.members[:-1])])
    errors = centred_ranks(panel.errors[np.newaxis, order])[0].astype(np.float64)
    errors /= np.sqrt(errors @ errors)
    result = np.empty((len(panel.groups), panel.text_count), dtype=np.float32)
    step = max(1, _BLOCK_ENTRIES // order.size)
    for start in range(0, panel.text_count, step):
        block = np.ascontiguousarray(panel.X[order, start : start + step].T)
        ranks = centred_ranks(block).astype(np.float64)
        norms = np.sqrt(np.einsum("dn,dn->d", ranks, ranks))
        norms[norms == 0] = 1
        parts = ranks * errors / norms[:, np.newaxis]
        result[:, start : start + step] = np.add.reduceat(parts, starts, axis=1).T
    result -= result.mean(axis=1, keepdims=True)
    return result
