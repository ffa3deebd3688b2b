"""Which further LLM would narrow the gain's interval most for its cost?

Belongs here: how wide the interval would be with more LLMs, and an order to add them in.
Does not belong here: the interval itself (`gain`), and where candidates come from.

The gain is, nearly, a mean over the LLMs. What they contribute differs between families and within
them; analysis of variance says how much of each there is. With sizes n_g of the groups, N
LLMs and G groups, the interval's half width is `t(G - 1) sqrt(sum n_g^2 b + N w) / N`, with
b and w the variances between and within. One more LLM of a family that is there already
adds to its n_g; one of a new family adds a group, whose degree of freedom makes t smaller.
What an LLM costs is its parameters times the tokens that it has to read, and the tokens
are the same for all: narrowing for each parameter orders them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from pcorr_assets.stats.checks import Floats
from pcorr_assets.stats.gain import COVERAGE, gains_on, jackknife_error, leave_outs
from pcorr_assets.stats.ordered import OrderedTexts, order_texts
from pcorr_assets.stats.panel import Panel


@dataclass(frozen=True)
class Candidate:
    """An LLM that might be added: its name, its family, and its number of parameters."""

    name: str
    family: str
    parameter_count: int


@dataclass(frozen=True)
class Advice:
    """A candidate in its place of the order.

    Attributes:
        new_family: whether no LLM of its family is there, nor stands before it in the order.
        width: of the interval of the gain as it is.
        width_alone: expected with this LLM alone added.
        width_in_order: expected with this one and all before it.
    """

    candidate: Candidate
    new_family: bool
    width: float
    width_alone: float
    width_in_order: float


@dataclass(frozen=True)
class Spread:
    """How much the contributions to a gain differ: `between` groups, and `within` them.

    Variances of pseudo-values; `scale` is the true width over the modelled one.
    """

    between: float
    within: float
    scale: float

    def width(self, sizes: Sequence[int]) -> float:
        """Width of the 90 % interval with groups of so many LLMs; at least 2 groups."""
        counts = np.asarray(sizes, dtype=np.float64)
        variance = np.sum(counts**2) * self.between + counts.sum() * self.within
        quantile = float(stdtrit(counts.size - 1, 0.5 + COVERAGE / 2))
        return float(2 * quantile * np.sqrt(variance) / counts.sum() * self.scale)


def spread_of(panel: Panel, ordered: OrderedTexts | None = None) -> Spread:
    """The spread of what the LLMs contribute to the gain of the panel's own selection.

    Contributions are the pseudo-values of a jackknife over the LLMs.
    """
    ordered = ordered or order_texts(panel.X)
    rows = panel.all_rows
    weights = panel.weights(rows, ordered)[:, np.newaxis]
    parts = [rows, *(rows[rows != row] for row in range(rows.size)), *leave_outs(panel)]
    gains = gains_on(panel, ordered, weights, parts)[0][:, 0]
    by_llm, by_group = np.split(gains, [1 + rows.size])
    pseudo_values = rows.size * gains[0] - (rows.size - 1) * by_llm[1:]
    between, within = variances(pseudo_values, panel.groups.labels)
    sizes = [members.size for members in panel.groups.members]
    modelled = Spread(between, within, 1.0).width(sizes)
    quantile = float(stdtrit(len(sizes) - 1, 0.5 + COVERAGE / 2))
    width = 2 * quantile * jackknife_error(panel, np.append(gains[0], by_group))
    return Spread(between, within, width / modelled if modelled > 0 else 1.0)


def variances(values: Floats, labels: np.ndarray) -> tuple[float, float]:
    """Variances between and within groups of values (N,), by analysis of variance.

    Groups of unequal sizes as in Searle, Casella and McCulloch (1992), section 3.6; a
    negative variance is 0. Where each group has one value all variance is between.
    """
    sizes = np.bincount(labels).astype(np.float64)
    count, group_count = values.size, sizes.size
    means = np.bincount(labels, weights=values) / sizes
    squares_between = float(sizes @ (means - values.mean()) ** 2) / (group_count - 1)
    if count == group_count:
        return squares_between, 0.0
    within = float(np.sum((values - means[labels]) ** 2)) / (count - group_count)
    size = (count - float(sizes @ sizes) / count) / (group_count - 1)
    return max(0.0, (squares_between - within) / size), within


def advise(
    panel: Panel, candidates: Sequence[Candidate], ordered: OrderedTexts | None = None
) -> list[Advice]:
    """The candidates in the order in which to add them: each time the one that narrows most
    for its cost, given those before it.

    Equal ones are taken in the order of their names. Those that narrow nothing come last.

    Args:
        panel: the matrix, errors, caps and groups.
        candidates: LLMs that are not in the panel.
        ordered: of the panel's matrix, if it is there already.
    """
    spread = spread_of(panel, ordered)
    sizes, group_of = _sizes(panel)
    width = spread.width(sizes)
    alone = {c.name: spread.width(_with(sizes, group_of, c)) for c in candidates}
    left = sorted(candidates, key=lambda candidate: candidate.name)
    found: list[Advice] = []
    while left:
        now = spread.width(sizes)
        narrowed = [now - spread.width(_with(sizes, group_of, c)) for c in left]
        values = [by / c.parameter_count for by, c in zip(narrowed, left, strict=True)]
        best = left[values.index(max(values))]
        left.remove(best)
        is_new = best.family not in group_of
        sizes = _with(sizes, group_of, best)
        group_of.setdefault(best.family, len(sizes) - 1)
        found.append(Advice(best, is_new, width, alone[best.name], spread.width(sizes)))
    return found


def _sizes(panel: Panel) -> tuple[list[int], dict[str, int]]:
    """LLMs of each group, and the group of each family."""
    labels = panel.groups.labels
    group_of = {family: int(label) for family, label in zip(panel.families, labels, strict=True)}
    return [members.size for members in panel.groups.members], group_of


def _with(sizes: list[int], group_of: dict[str, int], candidate: Candidate) -> list[int]:
    place = group_of.get(candidate.family)
    if place is None:
        return [*sizes, 1]
    return [size + (number == place) for number, size in enumerate(sizes)]
