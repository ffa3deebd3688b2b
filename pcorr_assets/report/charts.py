"""The geometry of the charts: where things stand in an SVG, and what hovering says.

Belongs here: facts in, coordinates and words out. Does not belong here: SVG itself (a
template draws it, so that every string is escaped), and the heat map (`heat_map`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pcorr_assets.report.facts import EstimateFacts, RankPanel
from pcorr_assets.report.formats import count, number, percent
from pcorr_assets.report.wording import shown

COLOURS, SHAPES = 8, 5
MAX_BARS = 100
# Estimates within so small a part of the axis are drawn a second time, closer.
CLOSE = 0.2


@dataclass(frozen=True)
class Frame:
    """The drawing area: pixels of the picture, and of the axes within it."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float


@dataclass(frozen=True)
class Axis:
    """A linear axis between two pixels."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The pixel of a value, rounded so that files stay small."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, wanted: int = 5) -> tuple[tuple[float, str], ...]:
        """Pixels and labels of round values."""
        step = nice_step((self.high - self.low) / wanted)
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        values = (n * step for n in range(first, last + 1))
        return tuple((self.at(value), number(value, digits)) for value in values)


def nice_step(rough: float) -> float:
    """The nearest of 1, 2, 5 times a power of ten, in ratio."""
    power = 10.0 ** math.floor(math.log10(rough))
    return min((m * power for m in (1, 2, 5, 10)), key=lambda step: abs(math.log(step / rough)))


@dataclass(frozen=True)
class Bar:
    """A rectangle; `kind` is its CSS class."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    tip: str


@dataclass(frozen=True)
class Chart:
    """Bars, a curve and vertical or horizontal lines between two axes; `alt` says it in words."""

    frame: Frame
    alt: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    x_label: str
    y_label: str
    bars: tuple[Bar, ...]
    curve: str = ""
    lines: tuple[tuple[str, float], ...] = ()


_WIDE = Frame(460, 280, 60, 452, 12, 232)


@dataclass(frozen=True)
class Chance:
    """Largest estimates: the real one, and by chance the mean and the 95 % limit."""

    largest: float
    largest_mean: float
    largest_limit: float
    above_limit: int
    worlds: int
    texts: int


def chance_of(estimates: EstimateFacts) -> Chance:
    """What permuted errors would give for the largest estimate."""
    tops = estimates.permuted.max(axis=1)
    limit = float(np.quantile(tops, 0.95))
    return Chance(
        largest=float(estimates.values[0]),
        largest_mean=float(tops.mean()),
        largest_limit=limit,
        above_limit=int((estimates.values > limit).sum()),
        worlds=estimates.permuted.shape[0],
        texts=estimates.permuted.shape[1],
    )


def estimate_charts(estimates: EstimateFacts, estimator: str) -> tuple[Chart, ...]:
    """Histogram of all estimates and of the selected ones; the curve is what chance gives.

    Where all estimates lie close together, far from chance, a second chart shows them alone.
    """
    values, permuted = estimates.values, estimates.permuted
    own = float(values.min()), float(values.max())
    whole = min(own[0], float(permuted.min())), max(own[1], float(permuted.max()))
    charts = [_histogram(estimates, estimator, *whole)]
    if 0 < own[1] - own[0] < CLOSE * (whole[1] - whole[0]):
        charts.append(_histogram(estimates, estimator, *own))
    return tuple(charts)


def _histogram(estimates: EstimateFacts, estimator: str, low: float, high: float) -> Chart:
    values, permuted = estimates.values, estimates.permuted
    if low == high:
        low, high = low - 0.5, high + 0.5
    bins = min(48, max(12, int(2 * math.sqrt(len(values)))))
    edges = np.linspace(low, high, bins + 1)
    every = np.histogram(values, edges)[0]
    chosen = np.zeros_like(every)
    if estimates.included is not None:
        chosen = np.histogram(values[estimates.included], edges)[0]
    by_chance = np.histogram(permuted, edges)[0] * (len(values) / permuted.size)
    frame = _WIDE
    x = Axis(low, high, frame.left, frame.right)
    highest = max(1.0, float(every.max()), float(by_chance.max()))
    y = Axis(0, 1.06 * highest, frame.bottom, frame.top)
    digits = 2 if high - low > 0.3 else 3
    bars = []
    for index in range(bins):
        span = f"{number(edges[index], digits)} to {number(edges[index + 1], digits)}"
        tip = f"{span}: {count(every[index])} units, {number(by_chance[index], 1)} by chance"
        if chosen[index]:
            tip += f", {count(chosen[index])} selected"
        bars.append(_column(x, y, edges, index, every[index], "all", tip))
        if chosen[index]:
            bars.append(_column(x, y, edges, index, chosen[index], "chosen", tip))
    return Chart(
        frame,
        f"Histogram of {len(values):,} estimates ({estimator}) from {number(values[-1], 2)} to "
        f"{number(values[0], 2)}, with the number expected under shuffled errors.",
        x.ticks(6),
        y.ticks(4),
        f"estimate ({estimator})",
        "units",
        tuple(bars),
        _steps(x, y, edges, by_chance) if by_chance.any() else "",
        (("zero", x.at(0)),) if low < 0 < high else (),
    )


def _column(
    x: Axis, y: Axis, edges: np.ndarray, index: int, value: float, kind: str, tip: str
) -> Bar:
    left, right, top = x.at(edges[index]), x.at(edges[index + 1]), y.at(value)
    return Bar(left, top, round(max(right - left - 1, 0.5), 1), round(y.start - top, 1), kind, tip)


def _steps(x: Axis, y: Axis, edges: np.ndarray, heights: np.ndarray) -> str:
    path = [f"M{x.at(edges[0])} {y.start}"]
    for index, height in enumerate(heights):
        path.append(f"V{y.at(height)}H{x.at(edges[index + 1])}")
    return "".join([*path, f"V{y.start}"])


def frequency_chart(estimates: EstimateFacts) -> Chart | None:
    """Selection frequency by place in the order of the estimates, to beyond the cut."""
    if estimates.frequency is None:
        return None
    selected = estimates.selected_count or 0
    reach = min(estimates.count, max(40, 3 * selected))
    edges = np.unique(np.linspace(0, reach, min(reach, MAX_BARS) + 1).round().astype(int))
    frame = _WIDE
    x, y = Axis(0, reach, frame.left, frame.right), Axis(0, 1, frame.bottom, frame.top)
    bars = []
    for index, (first, after) in enumerate(pairwise(edges.tolist())):
        mean = float(estimates.frequency[first:after].mean())
        places = f"place {first + 1}" if after == first + 1 else f"places {first + 1} to {after}"
        kind = "all"
        if estimates.included is not None and estimates.included[first:after].mean() >= 0.5:
            kind = "chosen"
        bars.append(_column(x, y, edges, index, mean, kind, f"{places}: {percent(mean, 0)}"))
    means = (("mean", estimates.frequency_mean), ("chance", estimates.frequency_chance))
    return Chart(
        frame,
        f"Selection frequency of the {reach:,} highest units, in the order of their estimates.",
        x.ticks(6),
        tuple((pixel, percent(value, 0)) for value in (0, 0.25, 0.5, 0.75, 1)
              for pixel in (y.at(value),)),
        "place in the order of the estimates",
        "selection frequency",
        tuple(bars),
        lines=tuple((kind, y.at(value)) for kind, value in means if value is not None),
    )  # fmt: skip


@dataclass(frozen=True)
class FamilyMark:
    """How a family is drawn: colour and shape, each a number."""

    name: str
    colour: int
    shape: int
    llm_count: int


def family_marks(families: Sequence[str]) -> dict[str, FamilyMark]:
    """A mark for each family, the largest first; marks repeat only beyond forty families."""
    counts = Counter(families)
    ordered = sorted(counts, key=lambda name: (-counts[name], name))
    return {
        name: FamilyMark(name, place % COLOURS, place // COLOURS % SHAPES, counts[name])
        for place, name in enumerate(ordered)
    }


@dataclass(frozen=True)
class RankMark:
    """One LLM in a rank chart; `family` is the place of its family in the legend."""

    x: float
    y: float
    colour: int
    shape: int
    family: int
    tip: str


@dataclass(frozen=True)
class RankChart:
    """Predicted (x) against actual (y) ranks; the diagonal is a right prediction."""

    frame: Frame
    title: str
    alt: str
    ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    marks: tuple[RankMark, ...]


PREDICTORS = {"estimate": "selected texts", "mean_bpb": "mean BPB over all texts"}
SCHEMES = {"family": "family held out", "random": "random fifth held out"}


def rank_charts(panels: Sequence[RankPanel], marks: dict[str, FamilyMark]) -> tuple[RankChart, ...]:
    """A chart for each panel; mean BPB, which needs no folds, only once."""
    charts, places = [], {name: place for place, name in enumerate(marks)}
    baseline_seen = False
    for panel in panels:
        if panel.predictor == "mean_bpb":
            if baseline_seen:
                continue
            baseline_seen = True
            title = "mean BPB (the baseline)"
        else:
            scheme = SCHEMES.get(panel.scheme, panel.scheme)
            title = f"{PREDICTORS.get(panel.predictor, panel.predictor)}, {scheme}"
        charts.append(_rank_chart(panel, title, marks, places))
    return tuple(sorted(charts, key=lambda chart: "baseline" in chart.title))


def _rank_chart(
    panel: RankPanel, title: str, marks: dict[str, FamilyMark], places: dict[str, int]
) -> RankChart:
    frame = Frame(340, 340, 44, 332, 10, 298)
    size = len(panel.points)
    x = Axis(0.5, size + 0.5, frame.left, frame.right)
    y = Axis(0.5, size + 0.5, frame.bottom, frame.top)
    return RankChart(
        frame,
        title,
        f"Predicted against actual ranks of {size} LLMs, {title}: rank correlation "
        f"{number(panel.correlation, 2)}.",
        x.ticks(5),
        y.ticks(5),
        tuple(
            RankMark(
                x.at(point.predicted),
                y.at(point.actual),
                marks[point.family].colour,
                marks[point.family].shape,
                places[point.family],
                f"{shown(point.llm)} ({shown(point.family, 40)}), fold {shown(point.fold, 40)}: "
                f"predicted rank {point.predicted:g}, actual {point.actual:g}",
            )
            for point in panel.points
        ),
    )
