"""Kills of real runs: `dagster asset materialize` in processes of its own.

Belongs here: launching, killing, relaunching, and the comparison with the undisturbed world.
Does not belong here: faults inside of a run's process (`kinds`).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import dagster as dg

from pcorr_assets.config import load_settings
from pcorr_assets.defs.instance import prepare_home
from pcorr_assets.defs.registration import register_llms, register_pool_groups
from pcorr_assets_tests.faults.bench import Bench
from pcorr_assets_tests.faults.outcomes import HANG, LOST, RAW, Outcome
from pcorr_assets_tests.faults.process import in_child
from pcorr_assets_tests.faults.world import CONFIG, Stage
from pcorr_assets_tests.waiting import wait_for

KIND = "kill -9 through `dagster asset materialize`"
DAGSTER_HOME = "dagster_home"
SECONDS = 300
# Characters of a run's output that are told.
TOLD = 1500


def trials(bench: Bench, folder: Path, count: int) -> Iterator[Callable[[], list[Outcome]]]:
    """So many kills, of one stage after the other, on one Dagster instance."""
    stages = [stage for stage in bench.stages if stage.faults]
    if count:
        in_child(_register, bench, folder)
    for seed in range(count):
        yield partial(_kill, bench, folder, stages[(1 + 4 * seed) % len(stages)], seed)


def _kill(bench: Bench, folder: Path, stage: Stage, seed: int) -> list[Outcome]:
    """Kill a run, all of it or its first process alone, once it has begun with its partition."""
    rng = random.Random(f"dagster {seed}")
    alone = rng.random() < 0.5
    outcome = Outcome(KIND, stage.name, seed, "its first process" if alone else "all of it")
    state = bench.before(stage)
    bench.restore(state)
    run = _launch(bench, folder, stage)
    # The lock is the first thing that a run writes under the home.
    locks = _locks(bench)
    wait_for("the run to begin", lambda: run.poll() is not None or _locks(bench) != locks)
    with contextlib.suppress(subprocess.TimeoutExpired):
        run.wait(rng.random() * bench.seconds[stage.name])
    if alone:
        run.kill()
    else:
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    try:
        succeeded, output = _relaunched(bench, folder, stage)
        if not succeeded:
            # A step that outlives its run still holds the partition, and is named.
            outcome.named = "is being materialised by" in output
            if not outcome.named:
                column = LOST if "PcorrError" in output else RAW
                outcome.bad.append((column, output[-TOLD:]))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
            succeeded, output = _relaunched(bench, folder, stage)
            if not succeeded:
                outcome.bad.append((LOST, output[-TOLD:]))
    except TimeoutError as error:
        outcome.bad.append((HANG, str(error)))
    bench.compare(outcome, bench.trees[state + 1])
    return [outcome]


def _relaunched(bench: Bench, folder: Path, stage: Stage) -> tuple[bool, str]:
    """Whether a run to the end succeeds, and what it printed."""
    run = _launch(bench, folder, stage)
    try:
        status = run.wait(SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        said = _output(folder).read_text()[-TOLD:]
        raise TimeoutError(f"the relaunch took more than {SECONDS} s: {said}") from None
    return status == 0, _output(folder).read_text()


def _output(folder: Path) -> Path:
    return folder / "dagster.out"


def _register(bench: Bench, folder: Path) -> None:
    """Make the Dagster home and its partitions, as `pcorr register` does."""
    settings = load_settings(bench.project / CONFIG)
    with dg.DagsterInstance.from_config(str(prepare_home(folder / DAGSTER_HOME))) as instance:
        register_llms(instance, settings)
        register_pool_groups(instance, settings)


def _locks(bench: Bench) -> set[tuple[Path, int]]:
    found = (bench.home / "locks").rglob("*.lock")
    return {(path, path.stat().st_mtime_ns) for path in found}


def _launch(bench: Bench, folder: Path, stage: Stage) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "PCORR_CONFIG": str(bench.project / CONFIG),
        "DAGSTER_HOME": str(folder / DAGSTER_HOME),
    }
    command = [sys.executable, "-m", "dagster", "asset", "materialize"]
    command += ["-m", "pcorr_assets.definitions", "--select", stage.asset]
    key = stage.partition
    if isinstance(key, dict):
        # Dagster orders dimensions by name.
        key = "|".join(key[name] for name in sorted(key))
    if key is not None:
        command += ["--partition", key]
    with _output(folder).open("w") as output:
        return subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
