"""Where things stand in the pictures of the comparison.

Belongs here: facts in, coordinates and words out. Does not belong here: SVG itself (the
template), and charts of one report (`charts`, `gauges`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pcorr_assets.report.charts import Axis, Frame
from pcorr_assets.report.comparison_facts import OverlapFacts, PairFacts, TradeFacts
from pcorr_assets.report.formats import number, percent, signed
from pcorr_assets.report.heat_map import cluster_by, short_name, tree_path
from pcorr_assets.report.page import VERDICTS
from pcorr_assets.report.wording import shown

MAX_PICTURED = 60
# Beyond so many selections the cells are too small for a number.
MAX_NUMBERED = 18


@dataclass(frozen=True)
class GainLine:
    """One sample and target; `strongest` and `mean_bpb` are what costs nothing to find."""

    label: str
    y: float
    value: float
    low: float
    high: float
    needed: float
    mean_bpb: float | None
    strongest: float | None
    badge: str
    css_class: str
    tip: str


@dataclass(frozen=True)
class GainLines:
    """All gains on one axis; `absent` counts those without a gain, `cut` those beyond the limit."""

    frame: Frame
    alt: str
    ticks: tuple[tuple[float, str], ...]
    zero: float
    badge_at: float
    lines: tuple[GainLine, ...]
    absent: int
    cut: int


def gain_lines(pairs: Sequence[PairFacts]) -> GainLines | None:
    """The gain of each selection with its interval, beside the least that is worth having."""
    known = [(pair, gain) for pair in pairs if (gain := _gains(pair)) is not None]
    if not known:
        return None
    pictured = known[:MAX_PICTURED]
    values = [value for _, gains in pictured for value in gains if value is not None]
    smallest, largest = min(0.0, *values), max(0.0, *values)
    margin = 0.05 * max(largest - smallest, 0.01)
    bottom = 16.0 + 26 * len(pictured)
    frame = Frame(900, bottom + 44, 232, 780, 8, bottom)
    axis = Axis(smallest - margin, largest + margin, frame.left, frame.right)
    lines = []
    for place, (pair, (gain, low, high, needed, mean_bpb, strongest)) in enumerate(pictured):
        css_class, title, _ = VERDICTS[pair.verdict.state]
        tip = (
            f"{shown(pair.name)}: {title}, gain {signed(gain)}, 90 % interval {signed(low)} to "
            f"{signed(high)}, {signed(needed)} is worth having; lowest mean BPB "
            f"{signed(mean_bpb)}, easiest for the best LLM {signed(strongest)}"
        )
        lines.append(
            GainLine(
                short_name(shown(pair.name)), 24.0 + 26 * place, axis.at(gain), axis.at(low),
                axis.at(high), axis.at(needed),
                None if mean_bpb is None else axis.at(mean_bpb),
                None if strongest is None else axis.at(strongest),
                title, css_class, tip,
            )
        )  # fmt: skip
    return GainLines(
        frame,
        f"Gains of {len(lines)} selections over random texts, each with its 90 % interval.",
        axis.ticks(7),
        axis.at(0),
        frame.right + 14,
        tuple(lines),
        absent=len(pairs) - len(known),
        cut=len(known) - len(pictured),
    )


_Gains = tuple[float, float, float, float, float | None, float | None]


def _gains(pair: PairFacts) -> _Gains | None:
    found = pair.verdict
    gain, low, high, needed = found.gain, found.gain_low, found.gain_high, found.gain_needed
    if gain is None or low is None or high is None or needed is None:
        return None
    return gain, low, high, needed, found.gain_mean_bpb, found.gain_strongest_llm


@dataclass(frozen=True)
class Cell:
    """One overlap; `text` is empty where cells are small, `opacity` None without a value."""

    x: float
    y: float
    opacity: float | None
    text: str
    tip: str


@dataclass(frozen=True)
class OverlapMap:
    """A square of cells with its labels and tree; `order` (R) are the rows of the facts."""

    width: float
    height: float
    left: float
    top: float
    size: float
    names: tuple[tuple[int, str, str], ...]
    cells: tuple[Cell, ...]
    tree: str
    order: tuple[int, ...]
    alt: str


_LEFT, _TOP, _FULL = 112.0, 34.0, 0.55


def overlap_map(facts: OverlapFacts) -> OverlapMap:
    """Selections that have much in common stand together; blank pairs count as nothing common."""
    distance = 1 - np.nan_to_num(np.round(facts.shares, 9), nan=0.0)
    links, order = cluster_by(distance)
    count = len(order)
    size = round(min(34.0, max(11.0, 520 / count)), 1)
    cells = []
    for row, one in enumerate(order):
        for column, other in enumerate(order):
            share = float(facts.shares[one, other])
            known = not np.isnan(share)
            said = (
                number(share, 2)
                if known
                else "no unit in common, or levels that cannot be compared"
            )
            both = f"{_named(facts, one)} and {_named(facts, other)}"
            cells.append(
                Cell(
                    round(_LEFT + size * column, 1),
                    round(_TOP + size * row, 1),
                    round(0.02 + (_FULL - 0.02) * share, 3) if known else None,
                    number(share, 2) if known and count <= MAX_NUMBERED else "",
                    f"{row + 1}, {column + 1}: {both}: {said}",
                )
            )
    return OverlapMap(
        width=max(900.0, _LEFT + size * count + 320),
        height=_TOP + size * count + 8,
        left=_LEFT,
        top=_TOP,
        size=size,
        names=tuple(
            (place + 1, short_name(_named(facts, row)), facts.levels[row])
            for place, row in enumerate(order)
        ),
        cells=tuple(cells),
        tree=tree_path(links, order, _TOP, size),
        order=tuple(order.tolist()),
        alt=f"Overlaps of {count} selections; those that have much in common stand together.",
    )


def _named(facts: OverlapFacts, row: int) -> str:
    return shown(facts.names[row], 60)


@dataclass(frozen=True)
class Mark:
    """A point with its words; `kind` is its CSS class."""

    x: float
    y: float
    kind: str
    tip: str


@dataclass(frozen=True)
class TradeChart:
    """Mean estimates for two targets: the curve of mixes, both selections and random texts."""

    facts: TradeFacts
    frame: Frame
    alt: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    x_label: str
    y_label: str
    curve: str
    marks: tuple[Mark, ...]
    sentence: str


_TRADE = Frame(460, 330, 64, 446, 12, 280)


def trade_chart(facts: TradeFacts) -> TradeChart:
    """How much a selection for one target gives up for the other."""
    mixed, frame = facts.mixes, _TRADE
    one, other = (shown(target, 40) for target in facts.targets)
    points = [*zip(mixed.first.tolist(), mixed.second.tolist(), strict=True)]
    x = _axis([*(p[0] for p in points), *(own[0] for own in facts.own), mixed.random[0]],
              frame.left, frame.right)  # fmt: skip
    y = _axis([*(p[1] for p in points), *(own[1] for own in facts.own), mixed.random[1]],
              frame.bottom, frame.top)  # fmt: skip

    def mark(point: tuple[float, float], kind: str, what: str) -> Mark:
        tip = f"{what}: {number(point[0])} for {one}, {number(point[1])} for {other}"
        return Mark(x.at(point[0]), y.at(point[1]), kind, tip)

    marks = [
        mark(point, "mix", f"{percent(share, 0)} {one}, {percent(1 - share, 0)} {other}")
        for share, point in zip(mixed.shares.tolist(), points, strict=True)
    ]
    singles = [
        mark(own, kind, f"selection for {name}")
        for own, kind, name in zip(facts.own, ("first", "second"), (one, other), strict=True)
    ]
    random = mark(mixed.random, "random", "random texts")
    path = "L".join(f"{point.x} {point.y}" for point in marks)
    return TradeChart(
        facts,
        frame,
        f"Mean estimates for {one} and {other} of {len(points)} mixes of both, of the two "
        "selections and of random texts.",
        x.ticks(5),
        y.ticks(5),
        f"mean estimate for {short_name(one)}",
        f"mean estimate for {short_name(other)}",
        f"M{path}",
        (*marks, random, *singles),
        _sentence(facts, one, other),
    )


def _axis(values: list[float], start: float, end: float) -> Axis:
    low, high = min(values), max(values)
    margin = 0.07 * (high - low) or 0.05
    return Axis(low - margin, high + margin, start, end)


def _sentence(facts: TradeFacts, one: str, other: str) -> str:
    """What the mix that is best for the worse off keeps of what each gains over random texts."""
    mixed = facts.mixes
    gained = [
        float(values[end]) - chance
        for values, end, chance in zip(
            (mixed.first, mixed.second),
            (int(mixed.shares.argmax()), int(mixed.shares.argmin())),
            mixed.random,
            strict=True,
        )
    ]
    if min(gained) <= 0:
        return "One of the selections is no better for its own target than random texts."
    kept = np.minimum(
        (mixed.first - mixed.random[0]) / gained[0], (mixed.second - mixed.random[1]) / gained[1]
    )
    best = int(np.round(kept, 9).argmax())
    if kept[best] <= 0:
        return "No mix is better than random texts for both."
    shares = (
        (float(mixed.first[best]) - mixed.random[0]) / gained[0],
        (float(mixed.second[best]) - mixed.random[1]) / gained[1],
    )
    return (
        f"The fairest mix ({percent(float(mixed.shares[best]), 0)} {one}) keeps "
        f"{percent(shares[0], 0)} of what a selection for {one} alone gains over random texts, and "
        f"{percent(shares[1], 0)} for {other}."
    )
