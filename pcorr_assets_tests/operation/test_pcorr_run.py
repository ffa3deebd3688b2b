"""`pcorr run` as a process: killed at random, with a broken LLM, beside others, in a pipe."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import dagster as dg
import pytest

from pcorr_assets.config import load_settings
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.defs.instance import open_instance
from pcorr_assets.defs.partition_status import PartitionState, partition_states
from pcorr_assets.defs.running.launch import LOCK
from pcorr_assets.defs.running.request import ONLY_BY_NAME
from pcorr_assets.defs.running.worker import LAUNCHED_BY
from pcorr_assets.warehouse.locks import partition_lock
from pcorr_assets.warehouse.verification import verify_home
from pcorr_assets_tests.operation.small_world import PAIRS, SAMPLE, SmallWorld
from pcorr_assets_tests.waiting import wait_for

PCORR = Path(sys.executable).with_name("pcorr")
# Other numbers, and seeds, by hand: the whole with 16 LLMs takes some minutes.
LLMS = int(os.environ.get("PCORR_RUN_LLMS", "4"))
SEED = int(os.environ.get("PCORR_RUN_SEED", "1"))
ARCHITECTURES = ("gpt2", "llama", "gpt_neox", "opt", "qwen2")
BROKEN = "tiny-2"


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    every = [ARCHITECTURES[number % len(ARCHITECTURES)] for number in range(LLMS)]
    return SmallWorld(tmp_path, every, listed=LLMS)


def start(world: SmallWorld, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PCORR, "run", *arguments],
        cwd=world.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: os.environ[name] for name in os.environ.keys() - {"DAGSTER_HOME"}},
    )


def run(world: SmallWorld, *arguments: str, status: int = 0) -> tuple[list[str], list[str]]:
    """Lines on standard output and on standard error."""
    process = start(world, *arguments)
    out, err = process.communicate()
    assert process.returncode == status, (out, err)
    return out.splitlines(), err.splitlines()


def states(world: SmallWorld) -> dict[str, PartitionState]:
    """All that a run without `--to` makes, by name."""
    settings = load_settings(world.config)
    with open_instance(settings) as instance:
        found = partition_states(instance, build_definitions(settings))
    return {f"{one.asset} {one.partition}": one for one in found if one.asset not in ONLY_BY_NAME}


def runs(world: SmallWorld) -> list[dg.DagsterRun]:
    with open_instance(load_settings(world.config)) as instance:
        return list(instance.get_runs())


def has_begun(world: SmallWorld, count: int) -> bool:
    return sum(run.status is not dg.DagsterRunStatus.NOT_STARTED for run in runs(world)) >= count


@pytest.mark.long
def test_killed_three_times_with_a_broken_llm(world: SmallWorld) -> None:
    rng = random.Random(SEED)
    config = world.folder / "zoo" / BROKEN / "config.json"
    whole = config.read_text()
    config.write_text("{")
    numbers = [signal.SIGKILL, signal.SIGINT, rng.choice([signal.SIGKILL, signal.SIGTERM])]
    rng.shuffle(numbers)
    for number in numbers:
        begun = len(runs(world)) + 1
        process = start(world)
        wait_for("a run", partial(has_begun, world, begun))
        time.sleep(rng.uniform(0, 2 + LLMS))
        process.send_signal(number)
        out, err = process.communicate()
        assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number), (out, err)
        if number != signal.SIGKILL:
            assert "Stopped after" in out
            assert not [run for run in runs(world) if not run.is_finished]

    out, err = run(world, status=1)
    assert [line for line in err if BROKEN in line] == [
        line
        for line in err
        if line.startswith(f"  benchmark_errors {BROKEN}, chunk_bpb {BROKEN}|{SAMPLE}: config.json")
    ]
    assert "2 failed" in out[-1]
    found = states(world)
    bad = {name for name, one in found.items() if one.state != "materialised"}
    assert bad == {f"benchmark_errors {BROKEN}", f"chunk_bpb {BROKEN}|{SAMPLE}"}
    assert f"report {PAIRS[0]}" in found

    # Nothing partial, no run left behind, and nothing that was finished was made again.
    ended = runs(world)
    assert all(run.is_finished for run in ended)
    assert {run.tags["pcorr/launched_by"] for run in ended} == set(LAUNCHED_BY.values())
    assert not verify_home(world.home).damaged
    finished = Counter(
        (sorted(key.to_user_string() for key in run.asset_selection or ())[0], partition)
        for run in ended
        if (partition := run.tags.get("dagster/partition"))
        and run.status is dg.DagsterRunStatus.SUCCESS
    )
    assert set(finished.values()) == {1}

    # Mended, the LLM alone is made, then what follows from it; then nothing is left to do.
    config.write_text(whole)
    out, err = run(world)
    assert err == []
    assert next(line for line in out if line.startswith("  chunk_bpb   ")).split()[1] == "1"
    assert {one.state for one in states(world).values()} == {"materialised"}
    out, _ = run(world)
    assert out == ["Nothing to do: everything that was asked for is up to date."]


def test_what_libraries_say_is_in_the_logs_of_the_runs(world: SmallWorld) -> None:
    out, err = run(world, "--to", "benchmark_errors", "--llm", "tiny-0")
    assert err == [f"Made the Dagster home {world.folder / 'dagster_home'}"]
    *lines, last = out
    assert last.startswith("1 partition made, in ")
    assert [line for line in lines if not line.startswith("  benchmark_errors")] == []
    assert lines[-1].split()[1:3] == ["1", "made"]
    home = world.folder / "dagster_home"
    logs = "".join(path.read_text() for path in home.rglob("compute_logs/*.err"))
    assert "an already-initialized model" in logs  # of lm-eval
    assert not list((home / "pcorr_run").iterdir())


def test_a_second_one_is_refused_while_the_first_is_at_work(world: SmallWorld) -> None:
    with open_instance(load_settings(world.config)):
        lock = world.folder / "dagster_home" / LOCK
    with partition_lock(lock, "this", "somebody"):
        _, err = run(world, status=1)
    assert "is being materialised by" in err[0]
    assert "somebody" in err[0]
