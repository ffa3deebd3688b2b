"""People who query, and one who forgot to close DuckDB, do not get in the way of runs.

The same with a backfill by the daemon takes minutes: `scripts/open_database.py`.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import dagster as dg
import pytest

from pcorr_assets_tests.dagster_ui import PROJECT
from pcorr_assets_tests.operation.open_database import NOTEBOOKS, people_querying
from pcorr_assets_tests.operation.small_world import SmallWorld, score

ARCHITECTURES = ("gpt2", "llama", "gpt_neox", "opt")
LLMS, WORKERS = 16, 2


@pytest.mark.long
def test_sixteen_llms_beside_an_open_database_and_three_notebooks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    architectures = [ARCHITECTURES[number % len(ARCHITECTURES)] for number in range(LLMS)]
    world = SmallWorld(tmp_path, architectures, listed=LLMS)
    home = tmp_path / "dagster_home"
    home.mkdir()
    shutil.copy(PROJECT / "dagster.yaml", home / "dagster.yaml")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("PCORR_CONFIG", str(world.config))
    with dg.DagsterInstance.get() as instance:
        world.materialise(instance, ["chunked_dataset"])
        with (
            people_querying(world.home) as seen,
            ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as workers,
        ):
            runs = [workers.submit(score, llm) for llm in world.llms]
            assert all(run.result() for run in runs)
        failed = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
        assert list(failed) == []
    assert seen.llms == [LLMS] * NOTEBOOKS
    assert all(answers > 1 for answers in seen.answers)
    assert sum(seen.refused) <= 0.05 * sum(seen.answers)
