"""Adding an LLM in three ways that end the same, and removing one while it runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pcorr_assets.config import LLMSpec
from pcorr_assets.config.editing import NewLLM, add_llm, write_edit
from pcorr_assets.defs import compute, llms
from pcorr_assets.defs.backfills import submit
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.defs.costs import measured_llms
from pcorr_assets.defs.instance import open_instance
from pcorr_assets.defs.membership import runs_in_flight, unregister_llm
from pcorr_assets.defs.partition_status import PartitionState
from pcorr_assets.defs.partitions import LLM
from pcorr_assets.defs.plans import Plan, part_of
from pcorr_assets.defs.registration import register_llms
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.defs.command_world import CONFIG, CommandWorld
from pcorr_assets_tests.lm.hub_server import Repository, serve

PCORR = Path(sys.executable).with_name("pcorr")
COMMIT = "d" * 40
TWO = CONFIG.replace(
    "      - {key: tiny/a, path: zoo/a}\n",
    "      - {key: tiny/a, path: zoo/a}\n      - {key: tiny/b, path: zoo/b}\n",
)


@pytest.fixture
def world(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandWorld:
    shutil.copytree(whole, tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")
    return CommandWorld(tmp_path / "w")


def partitions(world: CommandWorld) -> list[str]:
    with open_instance(world.settings()) as instance:
        return sorted(instance.get_dynamic_partitions(LLM))


def run_job(world: CommandWorld, asset: str, key: str | dg.MultiPartitionKey) -> bool:
    with open_instance(world.settings()) as instance:
        job = build_definitions(world.settings()).resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            partition_key=key,
            asset_selection=[dg.AssetKey(asset)],
            instance=instance,
            raise_on_error=False,
        ).success


def llm_sample(llm: str) -> dg.MultiPartitionKey:
    return dg.MultiPartitionKey({"llm": llm, "sample": "web"})


def test_a_local_llm_is_checked_listed_and_registered(world: CommandWorld) -> None:
    said = world.run("add-llm", "--path", "zoo/b", "--key", "tiny/b", "--family", "tiny", "--yes")
    assert "3 chunks" in said
    assert "It loads; loss of a few tokens" in said
    assert "+      - {key: tiny/b, path: zoo/b}" in said
    assert world.config.read_text() == TWO
    assert partitions(world) == ["tiny/a", "tiny/b"]
    again = world.run("add-llm", "--path", "zoo/b", "--key", "tiny/b", "--yes")
    assert "on the list already" in again
    assert world.config.read_text() == TWO


def test_nothing_changes_without_consent(world: CommandWorld) -> None:
    local = ("add-llm", "--path", "zoo/b", "--key", "tiny/b")
    assert "Nothing was changed" in world.run(*local, "--dry-run")
    assert "nobody to ask" in world.run(*local, status=2)
    assert world.config.read_text() == CONFIG
    assert world.run(*local, "--no-load", "--yes").count("not loaded") == 1
    assert "tiny/b" in world.settings().llm_specs


@pytest.mark.parametrize(
    ("arguments", "words", "status"),
    [
        (["--path", "zoo/none", "--key", "x"], "not there", 1),
        (["--path", "zoo", "--key", "x"], "no config.json", 1),
        (["--path", "zoo/b", "--key", "TINY/a"], "in case only", 1),
        (["--path", "zoo/b", "--key", "a b"], "cannot be the key", 1),
        (["--path", "zoo/b"], "give org/name", 2),
        (["org/name", "--key", "x"], "give org/name", 2),
        (["name-only"], "not the name of a hub LLM", 1),
        (["org/name@a@b"], "cannot be the key", 1),
    ],
)
def test_refusals_change_nothing(
    world: CommandWorld, arguments: list[str], words: str, status: int
) -> None:
    assert words in world.run("add-llm", *arguments, "--yes", status=status)
    assert world.config.read_text() == CONFIG


def pcorr(world: CommandWorld, hub_url: str, *arguments: str) -> str:
    """The installed command, in a process that knows this hub only."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub_url,
        "HF_HOME": str(world.folder / "cache"),
        "PCORR_CONFIG": str(world.config),
    }
    done = subprocess.run(
        [PCORR, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


FAMILY = "  - family: org\n    dtype: float32\n    models: [org/other]\n"
BY_HAND = "      - {key: tiny/a, path: zoo/a}\n"


def ends_as(world: CommandWorld, instance: dg.DagsterInstance) -> tuple[LLMSpec, list[str]]:
    """What an LLM means, and which partitions there are after a tick of the sensor."""
    register_llms(instance, world.settings())
    return world.settings().llm_spec("org/llm"), sorted(instance.get_dynamic_partitions(LLM))


def ends_as_command(world: CommandWorld) -> tuple[LLMSpec, list[str]]:
    """The whole way, with a hub and the installed command."""
    repositories = {"org/llm": Repository({COMMIT: world.folder / "zoo" / "b"}, {"main": COMMIT})}
    with serve(repositories) as hub:
        said = pcorr(world, hub.url, "add-llm", "org/llm@main", "--yes")
    assert COMMIT in said
    assert "It loads" in said
    with open_instance(world.settings()) as instance:
        assert "org/llm" in instance.get_dynamic_partitions(LLM)
        return ends_as(world, instance)


@pytest.mark.parametrize("entry", ["", FAMILY], ids=["no such family", "family in the file"])
def test_three_ways_of_adding_an_llm_end_the_same(world: CommandWorld, entry: str) -> None:
    text = CONFIG.replace("benchmarks:\n", f"{entry}benchmarks:\n")
    with dg.DagsterInstance.ephemeral() as instance:
        if entry:
            world.config.write_text(text.replace("[org/other]", "[org/other, org/llm]"))
        else:
            lines = BY_HAND + "  - family: org\n    models: [org/llm]\n"
            world.config.write_text(text.replace(BY_HAND, lines))
        by_hand = ends_as(world, instance)
    with dg.DagsterInstance.ephemeral() as instance:
        world.config.write_text(text)
        instance.add_dynamic_partitions(LLM, ["org/llm"])
        in_the_ui = ends_as(world, instance)
    if entry:
        by_command = ends_as_command(world)
    else:  # the same but for looking at the LLM
        write_edit(add_llm(world.config, NewLLM("org/llm", "org")))
        with dg.DagsterInstance.ephemeral() as instance:
            by_command = ends_as(world, instance)
    assert by_hand == in_the_ui == by_command
    assert by_hand[0].dtype == ("float32" if entry else "auto")
    assert "org/llm" in by_hand[1]


def test_an_llm_is_removed_from_file_and_instance(world: CommandWorld) -> None:
    world.config.write_text(TWO)
    world.run("register")
    assert "Nothing was changed" in world.run("remove-llm", "tiny/b", "--dry-run")
    assert "nobody to ask" in world.run("remove-llm", "tiny/b", status=2)
    assert world.config.read_text() == TWO
    assert "Removed tiny/b" in world.run("remove-llm", "tiny/b", "--yes")
    assert world.config.read_text() == CONFIG
    assert partitions(world) == ["tiny/a"]
    assert "neither in" in world.run("remove-llm", "tiny/b", "--yes", status=1)
    with open_instance(world.settings()) as instance:
        instance.add_dynamic_partitions(LLM, ["org/from-ui"])
    assert "not in the file" in world.run("remove-llm", "org/from-ui", "--yes")
    assert partitions(world) == ["tiny/a"]


def test_what_a_run_writes_of_an_llm_that_was_removed_meanwhile_stays_out(
    world: CommandWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.config.write_text(TWO)
    world.run("register")
    assert run_job(world, "chunk_bpb", llm_sample("tiny/a"))
    wh = Warehouse(world.home)
    scored = wh.path("chunk_bpb", "tiny/b", "web")
    at_work, removed = threading.Event(), threading.Event()

    def score_after_the_removal(*arguments: Any) -> dict[str, Any]:
        at_work.set()
        assert removed.wait(300)
        return compute.run_job(*arguments)

    monkeypatch.setattr(llms, "run_job", score_after_the_removal)
    with ThreadPoolExecutor() as pool, open_instance(world.settings()) as instance:
        run = pool.submit(run_job, world, "chunk_bpb", llm_sample("tiny/b"))
        assert at_work.wait(300)
        in_flight = runs_in_flight(instance, "tiny/b")
        assert unregister_llm(instance, "tiny/b")
        assert not scored.exists()
        removed.set()
    assert len(in_flight) == 1
    # Dagster has no partition left to note a materialisation of; the work is done all the same.
    assert not run.result()
    assert scored.is_file()
    world.config.write_text(CONFIG)
    assert partitions(world) == ["tiny/a"]
    with open_instance(world.settings()) as instance:
        assert runs_in_flight(instance, "tiny/b") == []
    measured = next(one for one in measured_llms(wh) if one.llm == "tiny/a")
    parameter_count = wh.read("llms", "tiny/a", columns=["parameter_count"])[0][0].as_py()
    assert measured.parameters == parameter_count
    assert measured.seconds_per_token > 0
    assert run_job(world, "bpb_matrix", "web")
    coverage = {row["llm"]: row for row in wh.read("matrix_coverage", "web").to_pylist()}
    assert coverage["tiny/b"]["reason"] == "removed"
    assert not coverage["tiny/b"]["included"]
    assert set(wh.read("bpb_matrix", "web")["llm"].to_pylist()) == {"tiny/a"}
    # Adding it again brings back what was scored.
    world.run(
        "add-llm", "--path", "zoo/b", "--key", "tiny/b", "--family", "tiny", "-y", "--no-load"
    )
    assert run_job(world, "bpb_matrix", "web")
    assert set(wh.read("bpb_matrix", "web")["llm"].to_pylist()) == {"tiny/a", "tiny/b"}


def test_runs_that_wait_count_as_in_flight(world: CommandWorld) -> None:
    with open_instance(world.settings()) as instance:

        def queue(status: dg.DagsterRunStatus, **tags: Any) -> str:
            run = dg.DagsterRun(job_name="j", status=status, tags=tags)
            return instance.add_run(run).run_id

        queued = queue(dg.DagsterRunStatus.NOT_STARTED, **{"dagster/partition": "tiny/a"})
        started = queue(dg.DagsterRunStatus.STARTED, **{"dagster/partition/llm": "tiny/a"})
        queue(dg.DagsterRunStatus.SUCCESS, **{"dagster/partition": "tiny/a"})
        queue(dg.DagsterRunStatus.STARTED, **{"dagster/partition": "tiny/aa"})
        assert sorted(runs_in_flight(instance, "tiny/a")) == sorted([queued, started])
        register_llms(instance, world.settings())
    said = world.run("remove-llm", "tiny/a", "--yes")
    assert f"run {queued} of it goes on" in said
    assert f"run {started} of it goes on" in said
    assert partitions(world) == []


@pytest.mark.parametrize("asset", ["chunk_bpb", "benchmark_errors"])
def test_a_backfill_in_progress_keeps_its_partitions(world: CommandWorld, asset: str) -> None:
    world.config.write_text(TWO)
    world.run("register")
    key = llm_sample("tiny/b") if asset == "chunk_bpb" else "tiny/b"
    with open_instance(world.settings()) as instance:
        graph = build_definitions(world.settings()).resolve_asset_graph()
        missing = PartitionState(asset, str(key), "missing", "", None, False)
        plan = Plan({part_of(missing): missing})
        backfill = submit(instance, graph, plan, title="t", description="", tags={})
    assert f"Backfill {backfill} is in progress" in world.run(
        "remove-llm", "tiny/b", "--yes", status=1
    )
    assert world.config.read_text() == TWO
    assert partitions(world) == ["tiny/a", "tiny/b"]
    assert "Removed tiny/a" in world.run("remove-llm", "tiny/a", "--yes")
    assert f"warning: Backfill {backfill}" in world.run("remove-llm", "tiny/b", "--yes", "--force")
    assert partitions(world) == []
