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
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from pcorr_assets.stats.checks import Floats
from pcorr_assets.stats.groups import Rows
from pcorr_assets.stats.panel import Panel
from pcorr_assets.stats.projection import linear
from pcorr_assets.stats.ranks import centred_ranks
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


def selection_gain(panel: Panel, steadiness: Stability) -> Gain:
    """The gain of the panel's selection.

    Args:
        panel: the matrix, errors, caps and groups; any estimator may select, the gain is
            measured in Spearman's.
        steadiness: of the same panel. Without halvings (`gain_held_out` None) nothing is
            known beyond the LLMs that selected: the gain is shrunk to 0, and the interval
            reaches from the lower end around 0 to the upper end around their own.
    """
    weights = {
        "own": panel.weights(panel.all_rows),
        "mean_bpb": linear(-text_means(panel, panel.all_rows), panel.tau),
        "strongest_llm": linear(-text_means(panel, _lowest(panel)), panel.tau),
    }
    parts, random_texts = gain_by_llm(panel, np.column_stack(list(weights.values())))
    own, mean_bpb, strongest = (math.fsum(part) for part in parts.T)
    quantile = float(stdtrit(len(panel.groups) - 1, 0.5 + COVERAGE / 2))
    spread = quantile * group_error(panel, parts[:, 0])
    held_out, whole = shrunk(own, steadiness)
    # How far to shrink is uncertain, too: in the worlds of docs/studies.md gains were stated too
    # low rather than too high, and the root of a reliability is the correlation with the truth.
    r = reliability(steadiness)
    shrunk_least = own if held_out is None else held_out + r**0.5 * (own - held_out)
    return Gain(
        value=whole,
        low=(whole if held_out is not None else 0.0) - spread,
        high=shrunk_least + spread,
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


def gain_by_llm(panel: Panel, weights: Floats) -> tuple[Floats, float]:
    """What each LLM contributes to the gain of weights (D, K), and the mean estimate.

    Spearman's correlation is a sum over the LLMs, of products of centred ranks.

    Returns:
        (N, K) whose columns sum to the gains on the panel's own LLMs, and the mean of
        Spearman's correlation over all texts.
    """
    count, text_count = panel.X.shape
    # In the order of the keys, so that rounding is the same for any order of the rows.
    rows = panel.all_rows
    contrasts = np.column_stack([weights, np.zeros(text_count)]) - 1 / text_count
    total = np.zeros((count, contrasts.shape[1]))
    for texts in _blocks(panel):
        ranks = centred_ranks(np.ascontiguousarray(panel.X[rows, texts].T)).astype(np.float64)
        norms = np.sqrt(np.einsum("dn,dn->d", ranks, ranks))
        norms[norms == 0] = 1
        total += (ranks / norms[:, np.newaxis]).T @ contrasts[texts]
    errors = centred_ranks(panel.errors[np.newaxis, rows])[0].astype(np.float64)
    parts = np.empty_like(total)
    parts[rows] = total * (errors / np.sqrt(errors @ errors))[:, np.newaxis]
    return parts[:, :-1], -math.fsum(parts[:, -1])


def group_error(panel: Panel, parts: Floats) -> float:
    """Standard error of the sum of parts (N,), whole groups taken as independent."""
    sums = np.array([parts[rows].sum() for rows in panel.groups.members])
    count = sums.size
    return float(np.sqrt(count / (count - 1) * np.sum((sums - sums.mean()) ** 2)))


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
