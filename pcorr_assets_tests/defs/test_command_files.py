"""Cleaning and exporting, by the command and by the job: what is gone, and what stays."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from pcorr_assets.defs.backfills import submit
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.defs.instance import open_instance
from pcorr_assets.defs.partition_status import PartitionState
from pcorr_assets.defs.partitions import LLM, POOL_GROUP
from pcorr_assets.defs.plans import Plan, part_of
from pcorr_assets.matrix.exports import PublishedFiles
from pcorr_assets.steps.sharing import SharedMatrix
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.defs.command_world import CommandWorld

POOL = """\
pools:
  crawl: {sample: web, files: ["pool/*.jsonl"], token_budget: 10, group_bytes: 1}
"""


@pytest.fixture
def world(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandWorld:
    """Two LLMs were evaluated that the file does not list, one has a partition; and a pool."""
    shutil.copytree(whole, tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")
    world = CommandWorld(tmp_path / "w")
    world.config.write_text(world.config.read_text().replace("pools: {}\n", POOL))
    for name in ("a", "b"):
        (world.folder / "pool").mkdir(exist_ok=True)
        (world.folder / "pool" / f"{name}.jsonl").write_text('{"id": "1", "text": "x"}\n')
    world.run("register")
    for llm in ("tiny/a", "org/from-ui", "org/gone"):
        folder = world.home / "evaluations" / llm.replace("/", "%2F")
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(llm)
    with open_instance(world.settings()) as instance:
        instance.add_dynamic_partitions(LLM, ["org/from-ui"])
    return world


def kept(world: CommandWorld) -> list[str]:
    return sorted(path.name for path in (world.home / "evaluations").iterdir())


def groups(world: CommandWorld) -> list[str]:
    with open_instance(world.settings()) as instance:
        return sorted(instance.get_dynamic_partitions(POOL_GROUP))


def test_cleaning_lists_then_moves_and_spares_llms_of_the_ui(world: CommandWorld) -> None:
    said = world.run("clean")
    assert "evaluations/org%2Fgone  (llm org/gone is gone" in said
    assert "org/from-ui stays" in said
    assert len(kept(world)) == 3
    said = world.run("clean", "--yes")
    assert kept(world) == ["org%2Ffrom-ui", "tiny%2Fa"]
    (folder,) = (world.home / "removed").iterdir()
    assert f"cp -a {folder}/. {world.home}/" in said
    assert (folder / "evaluations" / "org%2Fgone" / "result.json").read_text() == "org/gone"
    assert "0 files or folders" in world.run("clean")
    shutil.copytree(folder, world.home, dirs_exist_ok=True)
    assert len(kept(world)) == 3


def test_the_command_that_restores_survives_spaces(world: CommandWorld) -> None:
    world.home.rename(world.folder / "my data")
    world.config.write_text(world.config.read_text().replace("home: data", "home: my data"))
    said = world.run("clean", "--yes")
    gone = world.folder / "my data" / "evaluations" / "org%2Fgone"
    assert not gone.exists()
    subprocess.run(shlex.split(said.splitlines()[-1]), check=True)
    assert (gone / "result.json").read_text() == "org/gone"


def test_an_instance_without_llms_is_not_believed(world: CommandWorld) -> None:
    shutil.rmtree(world.folder / "dagster_home")
    assert "evaluations/org%2Ffrom-ui" in world.run("clean")
    assert "Is DAGSTER_HOME the right one?" in world.run("clean", "--yes", status=1)
    assert len(kept(world)) == 3


def test_what_a_run_holds_is_left_and_said(world: CommandWorld) -> None:
    with Warehouse(world.home).lock("benchmark_errors", "org/gone", holder="run 77"):
        assert "run 77" in world.run("clean", "--yes")
    assert len(kept(world)) == 3


def test_groups_of_files_and_pools_that_are_gone_lose_their_partitions(
    world: CommandWorld,
) -> None:
    assert groups(world) == ["crawl/0000", "crawl/0001"]
    (world.folder / "pool" / "b.jsonl").unlink()
    with open_instance(world.settings()) as instance:
        graph = build_definitions(world.settings()).resolve_asset_graph()
        missing = PartitionState("chunked_dataset", "web", "missing", "", None, False)
        plan = Plan({part_of(missing): missing})
        backfill = submit(instance, graph, plan, title="t", description="", tags={})
        assert "stay while a backfill is in progress" in world.run("clean")
        done = instance.get_backfill(backfill)
        assert done is not None
        instance.update_backfill(done.with_status(BulkActionStatus.COMPLETED_SUCCESS))
    said = world.run("clean")
    assert "partition crawl/0001" in said
    assert "1 partitions; `pcorr clean --yes` takes them away" in said
    world.run("clean", "--yes")
    assert groups(world) == ["crawl/0000"]
    (world.folder / "pool" / "a.jsonl").rename(world.folder / "a.jsonl")
    said = world.run("clean", "--yes")
    assert "the groups of pool crawl are left alone" in said
    assert groups(world) == ["crawl/0000"]
    world.config.write_text(world.config.read_text().replace(POOL, ""))
    world.run("clean", "--yes")
    assert groups(world) == []


@pytest.mark.parametrize("move", [False, True])
def test_the_job_does_what_the_command_does(world: CommandWorld, move: bool) -> None:
    config: dict[str, Any] = {"ops": {"list_or_move": {"config": {"move": move}}}}
    with open_instance(world.settings()) as instance:
        job = build_definitions(world.settings()).resolve_job_def("clean")
        run = job.execute_in_process(instance=instance, run_config=config if move else None)
        (event,) = (e for e in run.all_events if e.event_type_value == "STEP_OUTPUT")
        metadata = event.step_output_data.metadata
    assert run.success
    assert metadata["files"].value == 1
    assert len(kept(world)) == (2 if move else 3)
    if move:
        assert isinstance(metadata["to"], dg.PathMetadataValue)
        assert (Path(str(metadata["to"].path)) / "evaluations" / "org%2Fgone").is_dir()


def test_exports_go_where_they_are_asked_for(world: CommandWorld, tmp_path: Path) -> None:
    said = world.run("export")
    default = world.home / "exports" / "pcorr_export.duckdb"
    assert str(default) in said
    path = tmp_path / "mine.duckdb"
    world.run("export", str(path), "--include-text")
    for file, texts in ((default, 0), (path, 3)):
        with duckdb.connect(str(file), read_only=True) as connection:
            columns = [row[0] for row in connection.execute("DESCRIBE chunks").fetchall()]
            found = 0
            if "text" in columns:
                row = connection.execute("SELECT count(text) FROM chunks").fetchone()
                assert row is not None
                (found,) = row
        assert found == texts
    assert "not there" in world.run("export", "--sample", "web", status=1)
    assert "not a sample" in world.run("export", "--sample", "webb", status=1)
    assert "belong to --sample" in world.run("export", "--level", "page", status=2)
    assert "belong to --sample" in world.run("export", "--format", "parquet", status=2)


def test_all_files_of_a_published_export_are_named(
    world: CommandWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = PublishedFiles(Path("b.csv"), Path("e.csv"), "page", 2, 1, 1, [], Path("t.csv"))
    shared = SharedMatrix([three], "s3://bucket/x")
    monkeypatch.setattr("pcorr_assets.steps.sharing.share_published", lambda *_, **__: shared)
    said = world.run("export", "--sample", "web").split()
    assert said[:3] == ["b.csv", "e.csv", "t.csv"]
    assert said[3:] == [f"s3://bucket/x/{name}" for name in said[:3]]


def test_verify_names_what_is_damaged_as_the_job_does(world: CommandWorld) -> None:
    for path in world.home.glob("evaluations/*/result.json"):
        path.unlink()
    whole = world.run("verify")
    assert "files are as they were written" in whole
    path = Warehouse(world.home).path("chunks", "web")
    content = bytearray(path.read_bytes())
    content[50] ^= 1
    path.write_bytes(content)
    damaged = world.run("verify", status=1)
    assert f"{path} is damaged" in damaged
    assert "1 files are damaged" in damaged
    with open_instance(world.settings()) as instance:
        job = build_definitions(world.settings()).resolve_job_def("verify")
        result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    assert "1 files are damaged" in str(result.failure_data_for_node("read_every_file"))
