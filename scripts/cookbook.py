"""Run the queries of `docs/cookbook.md` and write their output below each of them.

    python scripts/cookbook.py [HOME]        (default: the home of `make demo`)

Belongs here: running and laying out. Does not belong here: the queries, which stand in the
page itself.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import duckdb

from pcorr_assets.warehouse import connect

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "cookbook.md"
# A query, and below it the table of an earlier run.
QUERY = re.compile(r"```sql\n(.*?)```\n(?:\n(?:\|[^\n]*\n)+|\nNo rows\.\n)?", flags=re.DOTALL)


def queries(page: str) -> list[str]:
    """The queries of a page, in order."""
    return QUERY.findall(page)


def with_outputs(page: str, connection: duckdb.DuckDBPyConnection) -> str:
    """The page with each query's present output in place of that of an earlier run."""

    def run(match: re.Match[str]) -> str:
        result = connection.execute(match[1])
        assert result.description is not None
        names = [column[0] for column in result.description]
        return f"```sql\n{match[1]}```\n\n{_table(names, result.fetchall())}"

    return QUERY.sub(run, page)


def _table(names: Sequence[str], rows: Sequence[tuple[object, ...]]) -> str:
    if not rows:
        return "No rows.\n"
    lines = [names, ["---"] * len(names), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else " ".join(str(value).replace("|", r"\|").split())


def main() -> None:
    home = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "demo_world" / "data"
    with connect(home) as connection:
        PAGE.write_text(with_outputs(PAGE.read_text(encoding="utf-8"), connection))


if __name__ == "__main__":
    main()
