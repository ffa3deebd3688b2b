"""People who query while the platform writes: an open DuckDB and notebooks in loops.

Belongs here: these processes, and what the notebooks saw. Does not belong here: the writing.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pcorr_assets_tests.dagster_ui import PROJECT

NOTEBOOKS = 3

# Each says on a line that it is there, and ends when its input is closed.
_HOLDER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM chunks").fetchall()
print("open", flush=True)
sys.stdin.read()
"""
_NOTEBOOK = """
import select, sys
from pathlib import Path
import duckdb
from pcorr_assets.warehouse import connect
sql = "SELECT count(DISTINCT llm), avg(bpb) FROM chunk_bpb JOIN chunks USING (chunk_id)"
print("open", flush=True)
answers = refused = 0
ended = False
while not ended:
    ended = bool(select.select([sys.stdin], [], [], 0.1)[0])
    try:
        with connect(Path(sys.argv[1])) as connection:
            llms, _ = connection.execute(sql).fetchall()[0]
    except duckdb.Error:
        refused += 1
    else:
        answers += 1
print(answers, refused, llms, flush=True)
"""


@dataclass
class Seen:
    """What the notebooks saw, once they have ended: one entry for each of them.

    `refused` queries met a file at the very moment it was replaced; `llms` is the number of
    LLMs that the last query found.
    """

    answers: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    llms: list[int] = field(default_factory=list)


@contextmanager
def people_querying(home: Path) -> Iterator[Seen]:
    """One process holds `pcorr.duckdb` open read-write, three query through `connect`."""
    seen = Seen()
    with ExitStack() as stack:
        stack.enter_context(_process(_HOLDER, home / "pcorr.duckdb"))
        notebooks = [stack.enter_context(_process(_NOTEBOOK, home)) for _ in range(NOTEBOOKS)]
        yield seen
        for notebook in notebooks:
            said, _ = notebook.communicate("")
            answers, refused, llms = (int(number) for number in said.split())
            seen.answers.append(answers)
            seen.refused.append(refused)
            seen.llms.append(llms)


@contextmanager
def _process(code: str, argument: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", code, str(argument)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "open\n"
        yield started
