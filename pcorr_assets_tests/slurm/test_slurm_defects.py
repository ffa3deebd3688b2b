"""The two defects of dagster-slurm that give wrong data: each shown, and shown to be cured."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_slurm.helpers.ssh_pool import SSHConnectionPool
from dagster_slurm.pipes_clients.slurm_pipes_client import SlurmPipesClient

from pcorr_assets.config.compute import Slurm
from pcorr_assets.defs import slurm as slurm_room
from pcorr_assets.defs.slurm import SlurmClient, SlurmRequest, slurm_resource
from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.lm import tiny
from pcorr_assets_tests.slurm import worlds
from pcorr_assets_tests.slurm.worlds import SAMPLE, failure, metadata, slurm
from pcorr_assets_tests.waiting import wait_for

pytestmark = pytest.mark.slurm


@pytest.fixture
def no_accounting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """slurmdbd stopped for real, so that sacct does not answer; started again afterwards."""
    pid = int((worlds.ROOT / "run" / "slurmdbd.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    wait_for("slurmdbd's end", lambda: not Path(f"/proc/{pid}").exists())
    monkeypatch.setattr(slurm_room, "UNKNOWN_SECONDS", 2.0)
    yield
    environment = {**os.environ, "SLURM_CONF": str(worlds.ROOT / "etc" / "slurm.conf")}
    subprocess.run(["slurmdbd"], env=environment, check=True)
    wait_for("slurmdbd", _accounting_answers)


def _accounting_answers() -> bool:
    with contextlib.suppress(subprocess.CalledProcessError):
        return bool(slurm("sacctmgr", "-n", "show", "cluster"))
    return False


def _client(cluster: dict[str, Any], partition: str = "p") -> SlurmClient:
    settings = Slurm.model_validate(cluster["slurm"])
    resource = slurm_resource(settings, settings.resources_for("chunk_bpb"))
    request = SlurmRequest("chunk_bpb", partition, "0" * 64)
    return SlurmClient(resource, str(settings.environment), request)


def test_a_failed_job_without_accounting(cluster: dict[str, Any], no_accounting: None) -> None:
    """dagster-slurm lets it pass for a success; ours refuses it, and names accounting."""
    job = slurm("sbatch", "--parsable", "-o", "/dev/null", "--wrap", "exit 3")
    wait_for("the end", lambda: slurm("squeue", "-h", "-t", "F", "-j", job))
    client = _client(cluster)
    with SSHConnectionPool(client.slurm.ssh) as pool:
        plain = SlurmPipesClient(client.slurm, client.launcher)
        outcome = plain._validate_final_slurm_outcome(int(job), pool)
        assert outcome.accounting_available is False  # and nothing was raised: the defect
        with pytest.raises(PcorrError, match="accounting"):
            client._validate_final_slurm_outcome(int(job), pool)


def test_a_job_that_slurm_has_forgotten(cluster: dict[str, Any], no_accounting: None) -> None:
    """dagster-slurm assumes that it completed; ours ends with an explanation."""
    client = _client(cluster)
    with SSHConnectionPool(client.slurm.ssh) as pool:
        plain = SlurmPipesClient(client.slurm, client.launcher)
        assert plain._get_job_state(999_999, pool) == ""
        client._last_answer -= 60.0
        with pytest.raises(PcorrError, match="result is not accepted"):
            client._get_job_state(999_999, pool)


def test_a_run_without_accounting_fails_before_its_job(
    folder: Path,
    zoo: Path,
    cluster: dict[str, Any],
    instance: dg.DagsterInstance,
    no_accounting: None,
) -> None:
    config = worlds.write_world(folder, zoo, cluster, tiny.TEXTS)
    result = worlds.materialise(config, "benchmark_errors", "tiny-gpt2", instance)
    assert not result.success
    assert "Slurm's accounting (sacct) does not answer on 127.0.0.1" in failure(result)
    assert worlds.live_jobs("tiny-gpt2") == []


@pytest.mark.parametrize("cured", [True, False])
def test_the_job_of_another_partition_of_a_killed_run(
    folder: Path,
    zoo: Path,
    cluster: dict[str, Any],
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    cured: bool,
) -> None:
    """Partition A's job was left behind. B runs its own; without the cure it takes A's.

    Even then no wrong data is accepted, because A's job says nothing about B's partition.
    """
    config = worlds.write_world(folder, zoo, cluster, tiny.TEXTS)
    if not cured:
        original = SlurmPipesClient._get_asset_key_string
        monkeypatch.setattr(SlurmClient, "_get_asset_key_string", original)
        by_asset = SlurmPipesClient._find_reattachable_job
        monkeypatch.setattr(SlurmClient, "_find_reattachable_job", by_asset)
    with _left_behind(config, instance, "tiny-gpt2") as orphan:
        result = worlds.materialise(config, "chunk_bpb", f"tiny-bloom|{SAMPLE}", instance)
    wh = Warehouse(folder / "home")
    if cured:
        assert result.success, failure(result)
        found = metadata(result, "chunk_bpb")
        assert str(found["slurm_job_id"]) != orphan
        assert wh.read("chunk_bpb", "tiny-bloom", SAMPLE)["llm"].unique().to_pylist() == [
            "tiny-bloom"
        ]
    else:
        assert not result.success
        said = failure(result)
        assert f"Slurm job {orphan} of chunk_bpb|tiny-bloom|{SAMPLE} completed, but" in said
        assert not wh.exists("chunk_bpb", "tiny-bloom", SAMPLE)


@contextlib.contextmanager
def _left_behind(config: Path, instance: dg.DagsterInstance, llm: str) -> Iterator[str]:
    """A queued job of a run that is gone, as it stands in that run's tags; starts at the end.

    The run failed while its job was held in the queue: the same as a killed run worker,
    without the wait for its death.
    """
    holds: list[str] = []

    def die(client: SlurmPipesClient, job_id: int, *args: Any, **options: Any) -> None:
        holds.append(str(job_id))
        client._current_job_id = None  # so that the dying run cannot cancel it
        raise RuntimeError("the run worker dies here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SlurmPipesClient, "_wait_for_job_with_streaming", die)
        slurm("scontrol", "update", "partition=main", "state=down")
        try:
            result = worlds.materialise(config, "chunk_bpb", f"{llm}|{SAMPLE}", instance)
        finally:
            slurm("scontrol", "update", "partition=main", "state=up")
    assert not result.success
    yield holds[0]
    slurm("scancel", holds[0])
