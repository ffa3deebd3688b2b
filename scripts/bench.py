"""Print the benchmarks: our time, that of a named alternative in the same run, the ratio.

    python scripts/bench.py [--quick] [ROOM ...]

Belongs here: running the benchmarks of `scripts/benchmarks` and printing their rows.
Does not belong here: what is measured.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "benchmarks"
ROOMS = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))


def line(row: dict) -> str:
    """One row of the report, as Markdown."""

    def seconds(value: float | None) -> str:
        return "" if value is None else f"{value:,.2f}"

    ratio = f"{row['ratio']:,.1f} x" if row.get("ratio") else ""
    cells = [
        row["name"],
        seconds(row.get("ours_seconds")),
        row.get("other") or "",
        seconds(row.get("other_seconds")),
        ratio,
        row.get("note") or "",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"out of {', '.join(ROOMS)}")
    options = parser.parse_args()
    unknown = sorted(set(options.rooms) - set(ROOMS))
    if unknown:
        parser.error(f"unknown rooms {', '.join(unknown)}; there are {', '.join(ROOMS)}")
    sys.path.insert(0, str(FOLDER))
    print(f"{platform.machine()}, Python {platform.python_version()}\n")
    print("| what | seconds | alternative | its seconds | times faster | notes |")
    print("|---|---:|---|---:|---:|---|", flush=True)
    for room in options.rooms or ROOMS:
        for row in importlib.import_module(room).run(quick=options.quick):
            print(line(row), flush=True)


if __name__ == "__main__":
    main()
