"""Groups of a pool scored as Slurm jobs: the same files as in local mode, and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pcorr_assets.config import load_settings
from pcorr_assets.defs import compute as compute_room
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import sha256_file
from pcorr_assets_tests.slurm import demo_world, worlds
from pcorr_assets_tests.slurm.demo_world import TARGET
from pcorr_assets_tests.slurm.worlds import failure, metadata, slurm

pytestmark = pytest.mark.slurm


@pytest.fixture
def configs(demo: Path, folder: Path, cluster: dict[str, Any]) -> dict[str, Path]:
    """The same world in both modes; the cluster sees the home under another path."""
    seen = folder / "seen-by-the-cluster"
    seen.symlink_to(folder / "slurm")
    settings = {
        **cluster["slurm"],
        "home": str(seen),
        "overrides": {"pool_scores": {"memory": "700M", "time_limit": "00:05:00"}},
    }
    return {
        "slurm": demo_world.write_world(demo, folder, {**cluster, "slurm": settings}, "slurm"),
        "local": demo_world.write_world(demo, folder, {"mode": "local"}, "local"),
    }


def score(config: Path, group: str, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return worlds.materialise(config, "pool_scores", group, instance)


def paths(config: Path, group: str) -> dict[str, Path]:
    wh = Warehouse(load_settings(config).home)
    return {
        "pool_documents": wh.path("pool_documents", group),
        "pool_scores": wh.path("pool_scores", group, TARGET),
    }


def test_groups_are_scored_as_in_local_mode(
    configs: dict[str, Path], instance: dg.DagsterInstance
) -> None:
    groups = {mode: demo_world.groups(config) for mode, config in configs.items()}
    assert groups["slurm"] == groups["local"]
    jobs = []
    for group in (groups["slurm"][0], groups["slurm"][-1]):  # JSON lines, Parquet
        hashes = {}
        for mode, config in configs.items():
            result = score(config, group, instance)
            assert result.success, failure(result)
            hashes[mode] = {t: sha256_file(path) for t, path in paths(config, group).items()}
            found = metadata(result, "pool_scores")
            assert found["documents_per_second"] > 0
            if mode == "slurm":
                assert found["slurm_state"] == "COMPLETED"
                assert found["slurm_node"]
                assert found["elapsed_seconds"] > 0
                assert found["max_memory_mb"] > 0
                jobs.append(str(found["slurm_job_id"]))
        assert hashes["slurm"] == hashes["local"]
    assert len(set(jobs)) == 2
    home = load_settings(configs["slurm"]).home
    assert "seen-by-the-cluster" not in (home / "warehouse" / "views.sql").read_text(), (
        "pcorr.duckdb is this side's, with the paths of this side"
    )
    asked = slurm("sacct", "-X", "-n", "-P", "-o", "ReqMem,Timelimit", "-j", ",".join(jobs))
    assert asked.splitlines() == ["700M|00:05:00"] * 2


def test_a_file_that_is_not_what_the_node_reported_is_refused(
    configs: dict[str, Path], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's file takes the place of the job's, between its end and its acceptance."""
    first, second, *_ = demo_world.groups(configs["local"])
    demo_world.groups(configs["slurm"])
    assert score(configs["local"], second, instance).success
    foreign = paths(configs["local"], second)["pool_documents"]
    wh = Warehouse(load_settings(configs["slurm"]).home)
    path = wh.path("pool_documents", first)
    accept = compute_room.accept

    def swapped(*arguments: Any) -> dict[str, Any]:
        path.write_bytes(foreign.read_bytes())
        return accept(*arguments)

    monkeypatch.setattr(compute_room, "accept", swapped)
    monkeypatch.setattr(compute_room, "SECONDS_UNTIL_VISIBLE", 0.0)
    result = score(configs["slurm"], first, instance)
    assert not result.success
    said = failure(result)
    assert "is not accepted: the file has the hash" in said
    assert f"it has rows of pool_group ['{second}']" in said
    assert not wh.exists("pool_documents", first)
    assert list((wh.home / "refused").rglob("*.parquet"))
