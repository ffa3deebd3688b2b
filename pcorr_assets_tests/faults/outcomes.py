"""What faults came to, and the table of it.

Belongs here: outcomes, and counting them. Does not belong here: how they are found out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

RECOVERED, NAMED = "recovered", "named error, then recovered"
LOST, WRONG, SILENT, STRAY, RAW, HANG = "lost", "wrong", "silent", "stray file", "raw error", "hang"
GOOD = (RECOVERED, NAMED)
BAD = (LOST, WRONG, SILENT, STRAY, RAW, HANG)


@dataclass
class Outcome:
    """What one fault came to: `bad` has an entry `(column of BAD, what)` for each defect.

    `named`: whether the platform said in words what was wrong. `moment`: when the fault came.
    """

    kind: str
    stage: str
    seed: int
    moment: str = ""
    named: bool = False
    bad: list[tuple[str, str]] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """The columns of the table in which it counts."""
        if self.bad:
            return sorted({column for column, _ in self.bad})
        return [NAMED if self.named else RECOVERED]

    def __str__(self) -> str:
        said = "; ".join(f"{column.upper()} {what}" for column, what in self.bad)
        return f"{self.kind}, {self.stage}, seed {self.seed}, {self.moment}: {said or 'fine'}"


def table(outcomes: Sequence[Outcome]) -> str:
    """A row for each kind of fault, in Markdown."""
    columns = ("faults", *GOOD, *BAD)
    counts = Counter((one.kind, column) for one in outcomes for column in one.columns)
    totals = Counter(one.kind for one in outcomes)
    rows = [
        [kind, str(totals[kind]), *(str(counts[kind, column]) for column in (*GOOD, *BAD))]
        for kind in totals
    ]
    sums = [str(sum(int(row[n]) for row in rows)) for n in range(1, len(columns) + 1)]
    lines = [["fault", *columns], ["---", *(["---:"] * len(columns))], *rows, ["**all**", *sums]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def stage_table(outcomes: Sequence[Outcome]) -> str:
    """A row for each stage, a column for each kind of fault: how many it had, how many failed."""
    kinds = list(dict.fromkeys(one.kind for one in outcomes))
    stages = list(dict.fromkeys(one.stage for one in outcomes))
    count = Counter((one.stage, one.kind) for one in outcomes)
    failed = Counter((one.stage, one.kind) for one in outcomes if one.bad)
    lines = [["stage", *kinds], ["---", *(["---:"] * len(kinds))]]
    for stage in stages:
        cells = []
        for kind in kinds:
            bad = f" ({failed[stage, kind]} failed)" if failed[stage, kind] else ""
            cells.append(f"{count[stage, kind]}{bad}" if count[stage, kind] else "")
        lines.append([stage, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
