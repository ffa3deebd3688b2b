"""The geometry of single numbers on a line: gain, delta, stability, tokens at the budget.

Belongs here: facts in, coordinates and words out. Does not belong here: charts with two
axes (`charts`), and SVG itself (a template).
"""

from __future__ import annotations

from dataclasses import dataclass

from pcorr_assets.report.charts import Axis, Bar, Frame
from pcorr_assets.report.facts import FilterFacts, VerdictFacts
from pcorr_assets.report.formats import count, number, signed


@dataclass(frozen=True)
class Gauge:
    """A value on a line, with an interval around it and the limit it must pass."""

    frame: Frame
    alt: str
    ticks: tuple[tuple[float, str], ...]
    value: float
    low: float | None
    high: float | None
    limit: float
    passed: bool


_GAUGE = Frame(300, 58, 14, 286, 8, 30)
_GAIN = Frame(720, 188, 190, 706, 8, 140)
_ROWS = (28, 62, 88, 114)


@dataclass(frozen=True)
class GainRow:
    """One selection in the picture of gains; only the first has an interval."""

    label: str
    y: float
    value: float
    low: float | None
    high: float | None
    tip: str


@dataclass(frozen=True)
class GainGauge:
    """The gain, its interval and the alternatives on one axis."""

    frame: Frame
    alt: str
    ticks: tuple[tuple[float, str], ...]
    zero: float
    limit: float
    rows: tuple[GainRow, ...]


def gain_gauge(verdict: VerdictFacts) -> GainGauge | None:
    """What the selection gains over random texts, beside what costs nothing to find."""
    low, high, needed = verdict.gain_low, verdict.gain_high, verdict.gain_needed
    if verdict.gain is None or low is None or high is None or needed is None:
        return None
    gains = [
        ("this selection", verdict.gain),
        ("lowest mean BPB", verdict.gain_mean_bpb),
        ("easiest for the best LLM", verdict.gain_strongest_llm),
        ("random texts", 0.0),
    ]
    shown = [(label, value) for label, value in gains if value is not None]
    values = [value for _, value in shown]
    smallest, largest = min(low, *values), max(high, needed, *values)
    margin = 0.05 * max(largest - smallest, 0.01)
    axis = Axis(smallest - margin, largest + margin, _GAIN.left, _GAIN.right)
    rows = tuple(
        GainRow(
            label,
            y,
            axis.at(value),
            axis.at(low) if place == 0 else None,
            axis.at(high) if place == 0 else None,
            f"{label}: {signed(value)}"
            + (f", 90 % interval {signed(low)} to {signed(high)}" if place == 0 else ""),
        )
        for place, ((label, value), y) in enumerate(zip(shown, _ROWS, strict=False))
    )
    alt = "; ".join(row.tip for row in rows) + f"; at least {signed(needed)} is worth having"
    return GainGauge(_GAIN, alt, axis.ticks(6), axis.at(0), axis.at(needed), rows)


def delta_gauge(verdict: VerdictFacts) -> Gauge | None:
    """delta and its interval, which must lie above 0."""
    if verdict.delta is None or verdict.delta_low is None or verdict.delta_high is None:
        return None
    low, high = verdict.delta_low, verdict.delta_high
    margin = 0.08 * max(high - low, 0.1)
    axis = Axis(min(low, 0) - margin, max(high, 0) + margin, _GAUGE.left, _GAUGE.right)
    return Gauge(
        _GAUGE,
        f"delta {signed(verdict.delta)}, 90 % interval {signed(low)} to {signed(high)}; "
        "above 0 the selection ranks LLMs better than mean BPB",
        axis.ticks(4),
        axis.at(verdict.delta),
        axis.at(low),
        axis.at(high),
        axis.at(0),
        low > 0,
    )


def stability_gauge(verdict: VerdictFacts) -> Gauge | None:
    """Stability beside the mark of the configuration."""
    if verdict.stability is None:
        return None
    value, limit = verdict.stability, verdict.go_stability
    axis = Axis(min(value, 0) - 0.05, max(value, 1) + 0.05, _GAUGE.left, _GAUGE.right)
    return Gauge(
        _GAUGE,
        f"stability {number(value, 2)}; the mark is {number(limit, 2)}",
        axis.ticks(4),
        axis.at(value),
        None,
        None,
        axis.at(limit),
        value >= limit,
    )


@dataclass(frozen=True)
class Budget:
    """Test tokens at the budget; the four counts sum to `total`."""

    kept_included: float
    kept_excluded: float
    lost_included: float
    left_excluded: float
    bars: tuple[Bar, ...]
    alt: str

    @property
    def kept(self) -> float:
        """All tokens that the filter takes at the budget."""
        return self.kept_included + self.kept_excluded


def budget_of(facts: FilterFacts) -> Budget | None:
    """What the filter keeps and loses; None where its precision at the budget is undefined."""
    included, excluded = facts.number("test_include_tokens"), facts.number("test_exclude_tokens")
    precision, recall = facts.number("budget_precision"), facts.number("budget_recall")
    if not included or excluded is None or recall is None or precision is None:
        return None
    kept = recall * included
    wrong = kept * (1 / precision - 1) if precision else 0.0
    parts = {
        "kept-included": (kept, "kept, labelled include"),
        "kept-excluded": (wrong, "kept, labelled exclude"),
        "lost-included": (included - kept, "lost, labelled include"),
        "left-excluded": (excluded - wrong, "left out, labelled exclude"),
    }
    total, x, bars = included + excluded, 0.0, []
    for kind, (tokens, name) in parts.items():
        width = 1000 * tokens / total
        bars.append(
            Bar(round(x, 1), 0, round(width, 1), 36, kind, f"{name}: {count(tokens)} tokens")
        )
        x += width
    alt = "; ".join(bar.tip for bar in bars)
    return Budget(kept, wrong, included - kept, excluded - wrong, tuple(bars), alt)
