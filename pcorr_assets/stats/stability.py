"""Does a selection made on half of the LLM groups hold on the other half?

Belongs here: stability over random halvings, and what the halves' selections gain on
themselves and on each other. Does not belong here: thresholds (see `verdict`), and the
gain of the whole selection (see `gain`).

For halves A and B, `e_B(w)` is the mean, weighted by w, of the ranks that the estimate
on B gives to the texts, and `m_B` the mean of those ranks over all texts. The ratio
`(e_B(w_A) - m_B) / (e_B(w_B) - m_B)` is 1 where A's choice is as good for B as B's own
and 0 where it is no better than random texts. It asks whether the choice is good, not
whether it is the same: texts of one kind are interchangeable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pcorr_assets.progress import Progress
from pcorr_assets.stats.checks import Floats
from pcorr_assets.stats.groups import Rows, draw_halving
from pcorr_assets.stats.ordered import OrderedTexts, order_texts
from pcorr_assets.stats.panel import Panel
from pcorr_assets.stats.projection import linear

_STREAM = 2


@dataclass(frozen=True)
class Stability:
    """Stability, or the reason why there is none.

    Attributes:
        value: mean over halvings and both ways; None if no halving was possible.
        redrawn: halvings drawn again because a half could not carry an estimate.
        reason: None, or why there is no value.
        gain_held_out: mean rank correlation, on the other half, of what a half selects,
            less that of all texts; None if no halving was possible.
        gain_own: the same on the half itself.
    """

    value: float | None
    redrawn: int
    reason: str | None
    gain_held_out: float | None = None
    gain_own: float | None = None


def stability(
    panel: Panel, *, halvings: int = 50, seed: int = 0, ordered: OrderedTexts | None = None
) -> Stability:
    """Mean ratio over `halvings` random halvings of the groups, both ways.

    A half on which B's own choice is no better than random texts (all estimates equal,
    or caps that leave no choice) has no scale to measure on, and counts as 0.
    `ordered` is of the panel's matrix, if it is there already.
    """
    rng = np.random.default_rng([seed, _STREAM])
    drawn: list[Rows] = []
    redrawn = 0
    for _ in range(halvings):
        halves = draw_halving(panel.groups, panel.errors, rng)
        if halves is None:
            return Stability(
                None,
                redrawn,
                f"the {len(panel.groups)} groups cannot be halved so that both halves have "
                "3 different LLMs with different errors",
            )
        redrawn += halves[2]
        drawn += halves[:2]
    ratios: list[float] = []
    gains: list[tuple[float, float]] = []
    ordered = ordered or order_texts(panel.X)
    correlations = ordered.one_by_one(panel.errors, drawn)
    halves = (_half(panel, rows, own) for rows, own in zip(drawn, correlations, strict=True))
    with Progress("stability", total=halvings, unit="halvings") as progress:
        for first, second in zip(halves, halves, strict=True):
            for half, other in ((first, second), (second, first)):
                ratios.append(transfer(other.weights, half.weights, half.estimate))
                gains.append((half.gain(other.weights), half.gain(half.weights)))
            progress.update()
    held_out, own = np.mean(gains, axis=0)
    return Stability(float(np.mean(ratios)), redrawn, None, float(held_out), float(own))


class _Half(NamedTuple):
    """What one half of the LLMs says of the D texts, and what it selects of them."""

    estimate: Floats
    correlation: Floats
    weights: Floats

    def gain(self, weights: Floats) -> float:
        """Mean rank correlation on this half of what the weights select, less that of all."""
        return float(weights @ self.correlation - self.correlation.mean())


def _half(panel: Panel, rows: Rows, correlation: Floats) -> _Half:
    own = correlation
    if panel.estimator != "spearmanr":
        own = panel.estimate(rows)
    return _Half(own, correlation, linear(own, panel.tau))


def transfer(other_weights: Floats, own_weights: Floats, own_estimate: Floats) -> float:
    """How good the other half's weights are for this half, by its own estimate (D,).

    Returns:
        1 as good as this half's own, 0 no better than random texts, negative worse.
    """
    ordered = np.sort(own_estimate)
    own = _mean_rank(own_weights, own_estimate, ordered)
    # Ranks are halves of integers: below this, `own` is rounding.
    if own <= 1e-9 * own_estimate.size:
        return 0.0
    return _mean_rank(other_weights, own_estimate, ordered) / own


def _mean_rank(weights: Floats, estimate: Floats, ordered: Floats) -> float:
    """Mean (average) rank of the estimates that the weights select, less that of all."""
    chosen = np.flatnonzero(weights)
    # A search for sorted values stays in the cache.
    chosen = chosen[np.argsort(estimate[chosen], kind="stable")]
    values = estimate[chosen]
    below = np.searchsorted(ordered, values, "left")
    through = np.searchsorted(ordered, values, "right")
    return float(weights[chosen] @ ((below + through - ordered.size) / 2))
