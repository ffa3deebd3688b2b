"""Do the errors depend on *which* texts, beyond overall ability?

Belongs here: the test of that hypothesis. Does not belong here: how large the effect is
(`gain`), and what is concluded (`verdict`).

The statistic is what the selection claims: the mean partial correlation, given overall
ability, of the texts that the caps let in, less that of all texts. A selection is the
best of many, so its claim is always positive; the null distribution is that of the same
claim, selection included, where the residual errors of each group of LLMs have random
signs. Whatever groups share, and however unlike their sizes and spreads are, stays as it
is; only the tie to the texts goes. The residuals are made anew after each draw (Freedman
and Lane 1983), which keeps the level for few LLMs. All LLMs serve in selecting and in
testing, so that no noise comes from how they might have been divided.

Signs are drawn in two ways: one for each group, and one each for a group's mean and for
its members' deviations from it. The first assumes less of what happens within groups, the
second has more draws to go by. The larger p of the two counts, so that neither alone can
make a go.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pcorr_assets.progress import Progress
from pcorr_assets.stats.ability import Residuals, residuals
from pcorr_assets.stats.checks import Floats
from pcorr_assets.stats.groups import Groups
from pcorr_assets.stats.panel import Panel

_STREAM = 8
_SCORE_ENTRIES = 2**22


def dependence_p(panel: Panel, *, randomisations: int = 1000, seed: int = 0) -> float:
    """p-value of "given overall ability, the errors do not depend on which texts".

    `(1 + randomisations that reach the statistic) / (1 + randomisations)`, the larger of
    two such shares; see the module. 1 where ability leaves nothing of the errors.

    Args:
        panel: the matrix, errors, caps and groups; its estimator plays no part.
        randomisations: draws of signs, in each of the two ways.
        seed: of the draws.
    """
    rest = residuals(panel.X, panel.errors)
    return residual_p(rest, panel.tau, panel.groups, randomisations=randomisations, seed=seed)


def residual_p(
    rest: Residuals, tau: Floats, groups: Groups, *, randomisations: int = 1000, seed: int = 0
) -> float:
    """The same on residuals that are there already."""
    claims = claims_by_chance(rest, tau, groups, randomisations=randomisations, seed=seed)
    return 1.0 if claims is None else claims.p_value


@dataclass(frozen=True)
class Claims:
    """What a selection claims, and what it claims (R,) in each of the two ways by chance."""

    observed: float
    by_chance: tuple[Floats, Floats]

    @property
    def p_value(self) -> float:
        """`(1 + randomisations that reach it) / (1 + randomisations)`, the larger of two."""
        threshold = self.observed - 1e-6 * abs(self.observed)
        reached = max(int((claims >= threshold).sum()) for claims in self.by_chance)
        return (1 + reached) / (1 + self.by_chance[0].size)

    @property
    def strength(self) -> float:
        """How many standard deviations it stands above chance, in the way it stands less so."""
        return min(
            float((self.observed - claims.mean()) / max(claims.std(), 1e-12))
            for claims in self.by_chance
        )


def claims_by_chance(
    rest: Residuals, tau: Floats, groups: Groups, *, randomisations: int, seed: int
) -> Claims | None:
    """The claim of the residuals and those of so many randomisations of each way.

    None where ability leaves nothing of the errors.
    """
    length = np.sqrt(rest.errors @ rest.errors)
    if length <= 1e-9 * np.sqrt(rest.errors.size):
        return None
    observed = selected_means(_scores(rest, rest.errors[np.newaxis]), tau)[0]
    step = max(1, min(randomisations, _SCORE_ENTRIES // rest.texts.shape[1]))
    found = (np.empty(randomisations), np.empty(randomisations))
    total = len(found) * randomisations
    with Progress("dependence test", total=total, unit="randomisations") as progress:
        for apart in (0, 1):
            rng = np.random.default_rng([seed, _STREAM, apart])
            for start in range(0, randomisations, step):
                count = min(step, randomisations - start)
                drawn = randomised(rest.errors, groups, count, rng, apart=bool(apart))
                drawn -= (drawn @ rest.basis) @ rest.basis.T
                claims = selected_means(_scores(rest, drawn), tau)
                found[apart][start : start + count] = claims
                progress.update(count)
    return Claims(float(observed), found)


def randomised(
    errors: Floats, groups: Groups, count: int, rng: np.random.Generator, *, apart: bool
) -> Floats:
    """(count, N) residual errors (N,) with random signs of whole groups.

    With `apart` the deviations from the mean of their group have signs of their own, one
    for each group.
    """
    labels = groups.labels
    of_group = rng.choice((-1.0, 1.0), size=(count, len(groups)))[:, labels]
    if not apart:
        return of_group * errors
    sizes = np.bincount(labels)
    means = (np.bincount(labels, weights=errors) / sizes)[labels]
    within = rng.choice((-1.0, 1.0), size=(count, len(groups)))[:, labels]
    return of_group * means + within * (errors - means)


def selected_means(scores: np.ndarray, tau: Floats) -> Floats:
    """(B,) for each row of scores (B, D): the mean that the caps select, less that of all.

    The mean is weighted as `projection.linear` weighs: up to the caps (D,) in descending
    order until the weights sum to 1.
    """
    overall = scores.mean(axis=1, dtype=np.float64)
    caps = np.minimum(tau, 1.0)
    if (caps == caps[0]).all():
        return _equal_caps(scores, float(caps[0])) - overall
    order = np.argsort(-scores, axis=1)
    filled = caps[order]
    before = np.cumsum(filled, axis=1) - filled
    weights = np.clip(1 - before, 0, filled)
    ordered = np.take_along_axis(scores, order, axis=1)
    return np.einsum("bd,bd->b", weights, ordered) - overall


def _equal_caps(scores: np.ndarray, cap: float) -> Floats:
    """The weighted mean of the highest scores where all caps are one number."""
    full = min(int(1 / cap * (1 + 1e-12)), scores.shape[1])
    rest = max(0.0, 1 - full * cap)
    taken = min(full + (rest > 1e-12), scores.shape[1])
    highest = np.partition(scores, scores.shape[1] - taken, axis=1)[:, scores.shape[1] - taken :]
    means = cap * highest.sum(axis=1, dtype=np.float64)
    if taken > full:
        means += (rest - cap) * highest[:, 0].astype(np.float64)
    return means


def _scores(rest: Residuals, errors: Floats) -> np.ndarray:
    """(B, D) partial correlations, less their mean, of rows of residual errors (B, N)."""
    lengths = np.sqrt(np.einsum("bn,bn->b", errors, errors))
    lengths[lengths == 0] = 1
    return (errors / lengths[:, np.newaxis]).astype(np.float32) @ rest.texts
