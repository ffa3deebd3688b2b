"""A backfill of sixteen LLMs while people have the database open: does any step fail?

Starts `dagster dev` on a small world of tiny random LLMs, holds `pcorr.duckdb` open read-write
in one process as a forgotten DuckDB command line would, queries through `connect(home)` in three
others, and launches the backfill. Some minutes on two cores:

    .venv/bin/python scripts/open_database.py
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import dagster as dg

from pcorr_assets_tests.dagster_ui import PROJECT, DagsterUI
from pcorr_assets_tests.operation.open_database import people_querying
from pcorr_assets_tests.operation.small_world import SAMPLE, SmallWorld
from pcorr_assets_tests.waiting import wait_for

ARCHITECTURES = ("gpt2", "llama", "gpt_neox", "opt")
LLMS = 16


def backfill(folder: Path) -> int:
    """Exit status 0 if every run of the backfill succeeded."""
    architectures = [ARCHITECTURES[number % len(ARCHITECTURES)] for number in range(LLMS)]
    world = SmallWorld(folder, architectures, listed=LLMS, max_parallel_llms=4)
    home = folder / "dagster_home"
    home.mkdir()
    shutil.copy(PROJECT / "dagster.yaml", home / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(home)
    with dg.DagsterInstance.get() as instance:
        world.materialise(instance, ["chunked_dataset"])
    ui = DagsterUI(home, world.config)
    ui.start()
    started = time.monotonic()
    try:
        with people_querying(world.home) as seen:
            launched = ui.backfill("chunk_bpb", [f"{llm}|{SAMPLE}" for llm in world.llms])
            wait_for("its end", lambda: ui.ended(LLMS, launched), seconds=3600)
        states = Counter(run["status"] for run in ui.runs(launched))
    finally:
        ui.stop()
    print(f"runs: {dict(states)} in {time.monotonic() - started:.0f} s")
    print(f"queries answered: {seen.answers}, refused: {seen.refused}, LLMs at last: {seen.llms}")
    return 0 if states == {"SUCCESS": LLMS} else 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(backfill(Path(folder)))
