"""The geometry of what would change a verdict, and of what more LLMs would bring.

Belongs here: facts in, coordinates and words out. Does not belong here: other charts
(`charts`, `gauges`), and SVG itself (a template).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pcorr_assets.report.charts import Axis, Bar, Chart, Frame
from pcorr_assets.report.facts import ChangeFacts, NextFacts, SensitivityFacts
from pcorr_assets.report.formats import count, number, percent, signed
from pcorr_assets.report.wording import shown

# Of each kind so many; what matters first, then what moves the gain most.
MOST_ROWS = {"family": 12, "benchmark": 12, "llm": 6, "keep_ratio": 4, "level": 2, "estimator": 4}
NAMES = {
    "none": "as it is",
    "family": "without family",
    "benchmark": "without benchmark",
    "llm": "without LLM",
    "keep_ratio": "keep ratio",
    "level": "level",
    "estimator": "estimator",
}
_WIDTH, _LEFT, _RIGHT, _TOP, _ROW = 760, 290, 590, 26, 20
_WIDE = Frame(460, 220, 60, 452, 12, 172)


@dataclass(frozen=True)
class ChangeRow:
    """One change: its gain with the interval, what stays of the selection, its verdict."""

    label: str
    y: float
    value: float
    low: float
    high: float
    kept: str
    verdict: str
    matters: bool
    tip: str


@dataclass(frozen=True)
class ChangeChart:
    """Gains with their intervals, one change below the other, on one axis."""

    frame: Frame
    alt: str
    ticks: tuple[tuple[float, str], ...]
    zero: float
    base: float
    kept_at: float
    verdict_at: float
    rows: tuple[ChangeRow, ...]
    left_out: int


def change_chart(facts: SensitivityFacts | None) -> ChangeChart | None:
    """What the gain, the selection and the verdict become; None without an analysis."""
    if facts is None:
        return None
    analysed = [change for change in facts.changes if change.gain is not None]
    if not analysed or analysed[0].kind != "none":
        return None
    chosen = _chosen(analysed)
    numbers = [n for c in chosen for n in (c.gain, c.gain_low, c.gain_high) if n is not None]
    low, high = min(0.0, *numbers), max(0.0, *numbers)
    margin = 0.04 * max(high - low, 0.01)
    axis = Axis(low - margin, high + margin, _LEFT, _RIGHT)
    rows = tuple(_row(change, place, axis) for place, change in enumerate(chosen))
    bottom = _TOP + _ROW * len(rows)
    frame = Frame(_WIDTH, bottom + 42, _LEFT, _RIGHT, _TOP - 14, bottom)
    decisive = [row.label for row in rows if row.matters]
    return ChangeChart(
        frame,
        f"Gain of the selection under {len(rows) - 1} changes. "
        + (f"Decisive: {', '.join(decisive)}." if decisive else "None of them is decisive."),
        axis.ticks(5),
        axis.at(0),
        rows[0].value,
        _RIGHT + 14,
        _RIGHT + 64,
        rows,
        len(analysed) - len(chosen),
    )


def _chosen(changes: Sequence[ChangeFacts]) -> list[ChangeFacts]:
    base = changes[0].gain or 0.0
    found = [changes[0]]
    for kind, most in MOST_ROWS.items():
        own = [change for change in changes if change.kind == kind]
        own.sort(key=lambda c: (not c.matters, -abs((c.gain or 0.0) - base), c.changed))
        found += own[:most]
    return found


def _row(change: ChangeFacts, place: int, axis: Axis) -> ChangeRow:
    gain = change.gain or 0.0
    low = gain if change.gain_low is None else change.gain_low
    high = gain if change.gain_high is None else change.gain_high
    name = NAMES[change.kind]
    label = name if change.kind == "none" else f"{name} {shown(change.changed, 24)}"
    verdict = change.verdict or ""
    return ChangeRow(
        label,
        _TOP + _ROW * place + _ROW / 2,
        axis.at(gain),
        axis.at(low),
        axis.at(high),
        percent(change.overlap, 0),
        verdict,
        change.matters,
        f"{label}: gain {signed(gain)}, 90 % interval {signed(low)} to {signed(high)}, p "
        f"{number(change.p_value)}, {percent(change.overlap, 0)} of the selection stays, {verdict}",
    )


def learning_chart(facts: NextFacts | None) -> Chart | None:
    """How often subsets of the LLM groups find the dependence, by their number."""
    if facts is None:
        return None
    if any(point.power is None for point in facts.curve):
        return None
    units = max(point.unit_count for point in facts.curve)
    points = sorted(
        (point for point in facts.curve if point.unit_count == units),
        key=lambda point: point.group_count,
    )
    frame = _WIDE
    y = Axis(0, 1, frame.bottom, frame.top)
    width = (frame.right - frame.left) / len(points)
    bars, ticks = [], []
    for place, point in enumerate(points):
        left = round(frame.left + place * width, 1)
        top = y.at(point.power or 0.0)
        tip = (
            f"{point.group_count} groups ({number(point.llm_count, 1)} LLMs): p at most .05 in "
            f"{percent(point.power, 0)}, mean gain {signed(point.gain)}, strength "
            f"{number(point.strength, 1)}"
        )
        height = round(y.start - top, 1)
        kind = "chosen" if place == len(points) - 1 else "all"
        bars.append(Bar(left + 2, top, round(width - 4, 1), height, kind, tip))
        ticks.append((round(left + width / 2, 1), count(point.group_count)))
    return Chart(
        frame,
        "Share of random subsets of the LLM groups whose p-value is at most .05, by their number: "
        + "; ".join(f"{p.group_count}: {percent(p.power, 0)}" for p in points),
        tuple(ticks),
        tuple((y.at(share), percent(share, 0)) for share in (0, 0.25, 0.5, 0.75, 1)),
        "independent groups of LLMs",
        "p at most .05",
        tuple(bars),
    )
