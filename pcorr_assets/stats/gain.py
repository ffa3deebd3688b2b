"""How much better for the target is what is selected than random texts?

Belongs here: the expected gain of a selection with its interval, and those of selections
that need no correlation. Does not belong here: whether there is anything to gain
(`dependence`), and what is concluded (`verdict`).

The gain of weights w is `<w, rho> - mean(rho)`: the mean true rank correlation of BPB and
error of the texts that w selects, less that of all texts. Measured on the LLMs that made
the selection it is too good, because they chose what looks best among them; measured on
held-out groups it is fair, but for a selection that half of the LLMs made. The estimate
lies between: `held_out + r (own - held_out)`, where r is the reliability of the whole,
by Spearman and Brown's formula from that of the halves, `held_out / own of the halves`.

The interval rests on a jackknife over the groups of LLMs: the gain of the same selection
without each of them. Ranks of what is left are made anew, so that it knows that a
correlation near 1, as where model size dominates, varies far less than one near 0. How far
to shrink is uncertain, too: the ends are shrunk by r to the power of 1.5 and by its root, the
root being the correlation with the truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from pcorr_assets.stats.checks import Floats
from pcorr_assets.stats.groups import Rows, usable
from pcorr_assets.stats.ordered import OrderedTexts, order_texts
from pcorr_assets.stats.panel import Panel
from pcorr_assets.stats.projection import linear
from pcorr_assets.stats.stability import Stability

COVERAGE = 0.9

_BLOCK_ENTRIES = 2**20


@dataclass(frozen=True)
class Gain:
    """The expected gain of a selection over random texts, in rank correlation.

    Attributes:
        value: cross-fitted and shrunk; `low` and `high` are its 90 % interval.
        random_texts: mean estimate (Spearman's) of all texts: what random texts have.
        mean_bpb: gain of the texts of lowest mean BPB, filled under the same caps.
        strongest_llm: the same of the texts of lowest BPB under the LLM (or LLMs) of the
            lowest error. Neither was selected by the errors of many LLMs, so neither is
            shrunk.
    """

    value: float
    low: float
    high: float
    random_texts: float
    mean_bpb: float
    strongest_llm: float


def selection_gain(
    panel: Panel,
    steadiness: Stability,
    ordered: OrderedTexts | None = None,
    weights: Floats | None = None,
) -> Gain:
    """The gain of the panel's selection.

    Args:
        panel: the matrix, errors, caps and groups; any estimator may select, the gain is
            measured in Spearman's.
        steadiness: of the same panel. Without halvings (`gain_held_out` None) nothing is
            known beyond the LLMs that selected: the gain is shrunk to 0, and the interval
            reaches from the lower end around 0 to the upper end around their own.
        ordered: of the panel's matrix, if it is there already.
        weights: (D,) of its selection by all LLMs, if they are there already.
    """
    ordered = ordered or order_texts(panel.X)
    rows = panel.all_rows
    own_weights = panel.weights(rows, ordered) if weights is None else weights
    simpler = (linear(-text_means(panel, llms), panel.tau) for llms in (rows, _lowest(panel)))
    parts = [rows, *leave_outs(panel)]
    gains, random_texts = gains_on(panel, ordered, np.column_stack([own_weights, *simpler]), parts)
    own, mean_bpb, strongest = gains[0].tolist()
    quantile = float(stdtrit(len(panel.groups) - 1, 0.5 + COVERAGE / 2))
    spread = quantile * jackknife_error(panel, gains[:, 0])
    held_out, whole = shrunk(own, steadiness)
    least, most = 0.0, own
    if held_out is not None:
        r = reliability(steadiness)
        least, most = (held_out + part * (own - held_out) for part in (r**1.5, r**0.5))
    return Gain(
        value=whole,
        low=least - spread,
        high=most + spread,
        random_texts=random_texts,
        mean_bpb=mean_bpb,
        strongest_llm=strongest,
    )


def shrunk(own: float, steadiness: Stability) -> tuple[float | None, float]:
    """The gain on held-out halves, and that of the whole given its gain on its own LLMs."""
    held_out = steadiness.gain_held_out
    if held_out is None:
        return None, 0.0
    return held_out, held_out + reliability(steadiness) * (own - held_out)


def reliability(steadiness: Stability) -> float:
    """From 0 (noise) to 1: how much of the whole's selection is more than chance.

    `2 h / (1 + h)`, where h is what halves gain on each other, by what they gain on
    themselves. 0 without halvings.
    """
    held_out, own = steadiness.gain_held_out, steadiness.gain_own
    if held_out is None or own is None or own <= 0:
        return 0.0
    half = min(max(held_out / own, 0.0), 1.0)
    return 2 * half / (1 + half)


def gains_on(
    panel: Panel, ordered: OrderedTexts, weights: Floats, parts: Sequence[Rows]
) -> tuple[Floats, float]:
    """Gains (B, K) of weights (D, K) as each of B parts of the LLMs sees them.

    0 on a part that carries no estimate. With them the mean estimate of all texts on the
    first part.
    """
    found = np.zeros((len(parts), weights.shape[1] + 1))
    carry = [n for n, rows in enumerate(parts) if usable(panel.groups, panel.errors, rows)]
    even = np.full((panel.text_count, 1), 1 / panel.text_count)
    contrasts = np.column_stack([weights - even, even])
    some = [parts[number] for number in carry]
    found[carry] = ordered.weighted_sums(panel.errors, some, contrasts)
    return found[:, :-1], float(found[0, -1])


def leave_outs(panel: Panel) -> list[Rows]:
    """The rows without each of the groups, in their order."""
    rows, labels = panel.all_rows, panel.groups.labels
    return [rows[labels[rows] != number] for number in range(len(panel.groups))]


def jackknife_error(panel: Panel, gains: Floats) -> float:
    """Standard error of a gain by jackknife over the groups.

    Args:
        panel: whose groups they are.
        gains: (1 + G,) on all LLMs, and on those of each of `leave_outs`.
    """
    whole, without = gains[0], gains[1:]
    carry = [usable(panel.groups, panel.errors, rows) for rows in leave_outs(panel)]
    # A group without which nothing can be said is as far off as may be.
    off = np.where(carry, without - without[carry].mean() if any(carry) else 0.0, whole)
    return float(np.sqrt((without.size - 1) / without.size * np.sum(off**2)))


def text_means(panel: Panel, rows: Rows) -> Floats:
    """(D,) mean BPB of each text over these LLMs."""
    means = np.empty(panel.text_count)
    for texts in _blocks(panel):
        means[texts] = panel.X[rows, texts].mean(axis=0, dtype=np.float64)
    return means


def _blocks(panel: Panel) -> Iterator[slice]:
    step = max(1, _BLOCK_ENTRIES // len(panel.llms))
    for start in range(0, panel.text_count, step):
        yield slice(start, start + step)


def _lowest(panel: Panel) -> Rows:
    rows = panel.all_rows
    return rows[panel.errors[rows] == panel.errors.min()]
