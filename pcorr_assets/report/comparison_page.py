"""The facts of the comparison as one self-contained HTML file.

Belongs here: what the template is given. Does not belong here: reading tables, geometry
(`comparison_charts`), and where the file ends up (`files`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from itertools import combinations

import numpy as np

from pcorr_assets.report import comparison_charts
from pcorr_assets.report.comparison_facts import ComparisonFacts, OverlapFacts
from pcorr_assets.report.page import VERDICTS, render_template

MAX_OVERLAP_ROWS = 400
TITLE = "Targets side by side"


@dataclass(frozen=True)
class OverlapRow:
    """Two selections and what they have in common."""

    names: tuple[str, str]
    levels: tuple[str, str]
    share: float


def render_comparison(facts: ComparisonFacts) -> str:
    """The page. Equal facts give equal bytes; every string of theirs is escaped."""
    rows = [] if facts.overlap is None else _overlap_rows(facts.overlap)
    return render_template(
        "comparison.html",
        title=TITLE,
        summary=None,
        facts=facts,
        heading_text=TITLE,
        in_words=in_words(facts),
        verdicts=VERDICTS,
        gains=comparison_charts.gain_lines(facts.pairs),
        overlap_map=None if facts.overlap is None else comparison_charts.overlap_map(facts.overlap),
        overlap_rows=rows[:MAX_OVERLAP_ROWS],
        overlap_row_count=len(rows),
        trades=[comparison_charts.trade_chart(trade) for trade in facts.trades],
        version=version("pcorr_assets"),
        sections=(
            ("verdicts", "Verdicts and gains"),
            ("overlap", "Overlap"),
            ("wanted", "Wanted by many"),
            ("trades", "Two targets at once"),
        ),
    )


def in_words(facts: ComparisonFacts) -> str:
    """How many there are of each verdict: 2 go, 1 no-go."""
    counts = Counter(pair.verdict.state for pair in facts.pairs)
    return ", ".join(f"{counts[state]} {state}" for state in VERDICTS if state in counts)


def _overlap_rows(facts: OverlapFacts) -> list[OverlapRow]:
    """All pairs that can be compared, those that have most in common first."""
    found = [
        OverlapRow(
            (facts.names[a], facts.names[b]), (facts.levels[a], facts.levels[b]),
            float(facts.shares[a, b]),
        )
        for a, b in combinations(range(len(facts.names)), 2)
        if not np.isnan(facts.shares[a, b])
    ]  # fmt: skip
    return sorted(found, key=lambda row: -round(row.share, 9))
