"""Descriptions for the cluster, what is accepted from it, and failures in words."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from dagster_slurm.pipes_clients.slurm_pipes_client import SlurmPipesClient

from pcorr_assets.config import settings_from
from pcorr_assets.config.compute import Slurm, SlurmResources
from pcorr_assets.defs import compute
from pcorr_assets.defs.slurm import NodeReport, SlurmRequest, slurm_resource
from pcorr_assets.defs.slurm_failures import explain
from pcorr_assets.errors import PcorrError
from pcorr_assets.jobs import node
from pcorr_assets.jobs.description import score_job
from pcorr_assets.warehouse import TABLES, Warehouse
from pcorr_assets_tests.dagster_ui import PROJECT
from pcorr_assets_tests.lm import tiny

KEYS = ("tiny-a", "web")
CLUSTER: dict[str, Any] = {
    "ssh": {"host": "login.example", "user": "me"},
    "remote_base": "/scratch/jobs",
    "environment": "/scratch/env",
}
REQUEST = SlurmRequest("chunk_bpb", "tiny-a|web", "0" * 64)


@pytest.fixture
def wh(tmp_path: Path) -> Warehouse:
    tiny.write_chunks(tmp_path, "web", tiny.TEXTS)
    return Warehouse(tmp_path)


def write_scores(wh: Warehouse, count: int = len(tiny.TEXTS), **changes: str) -> dict[str, Any]:
    """A partition of `chunk_bpb` and the result that an honest node reports about it."""
    rows = {
        "sample": ["web"] * count,
        "llm": [KEYS[0]] * count,
        "chunk_id": [f"chunk-{i:04d}" for i in range(count)],
        "loss": [1.0] * count,
        "token_count": [4] * count,
        "byte_count": [8] * count,
        "bpb": [0.5] * count,
        "unk_count": [0] * count,
    }
    noted = {"chunks_sha256": wh.metadata("chunks", "web")["chunks_sha256"], **changes}
    table = pa.table(rows, schema=TABLES["chunk_bpb"].schema)
    written = wh.write("chunk_bpb", KEYS, table, noted)
    return {
        "table": "chunk_bpb",
        "partition": list(KEYS),
        "path": "/as/the/node/sees/it.parquet",
        "row_count": written.row_count,
        "sha256": written.sha256,
        "metadata": {},
    }


def test_an_honest_result_is_accepted(wh: Warehouse) -> None:
    accepted = compute.accept(wh, "chunk_bpb", KEYS, write_scores(wh))
    assert accepted["path"] == str(wh.path("chunk_bpb", *KEYS))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"row_count": 3}, "rows, not 3"),
        ({"sha256": "f" * 64}, "not ffffffffffff"),
    ],
)
def test_what_the_node_says_must_fit(
    wh: Warehouse, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], said: str
) -> None:
    monkeypatch.setattr(compute, "SECONDS_UNTIL_VISIBLE", 0.0)
    result = {**write_scores(wh), **change}
    with pytest.raises(PcorrError, match=said):
        compute.accept(wh, "chunk_bpb", KEYS, result)
    assert not wh.exists("chunk_bpb", *KEYS), "a refused file must not be read by anybody"
    assert len(list((wh.home / "refused").rglob("*.parquet"))) == 1


@pytest.mark.parametrize("change", [{"partition": ["tiny-b", "web"]}, {"table": "llms"}])
def test_the_partition_of_another_request_is_refused(wh: Warehouse, change: dict[str, Any]) -> None:
    result = {**write_scores(wh), **change}
    with pytest.raises(PcorrError, match=r"asked for chunk_bpb tiny-a\|web, but reports"):
        compute.accept(wh, "chunk_bpb", KEYS, result)


def test_too_few_rows_or_other_chunks_are_refused(wh: Warehouse) -> None:
    with pytest.raises(PcorrError, match="it has 4 rows for 10 chunks"):
        compute.accept(wh, "chunk_bpb", KEYS, write_scores(wh, count=4))
    with pytest.raises(PcorrError, match="it scores the chunks 123"):
        compute.accept(wh, "chunk_bpb", KEYS, write_scores(wh, chunks_sha256="123"))


def test_rows_of_another_partition_are_refused(wh: Warehouse) -> None:
    result = write_scores(wh)
    foreign = wh.path("chunk_bpb", "tiny-b", "web")
    foreign.parent.mkdir(parents=True)
    wh.path("chunk_bpb", *KEYS).rename(foreign)
    with pytest.raises(PcorrError, match=r"it has rows of llm \['tiny-a'\]"):
        compute.accept(
            wh, "chunk_bpb", ("tiny-b", "web"), {**result, "partition": ["tiny-b", "web"]}
        )


def test_a_file_from_before_stays_where_it_is(
    wh: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute, "SECONDS_UNTIL_VISIBLE", 0.0)
    before = write_scores(wh)
    lying = {**before, "sha256": "f" * 64}
    with pytest.raises(PcorrError, match="is the one from before"):
        compute.accept(wh, "chunk_bpb", KEYS, lying, before["sha256"])
    assert wh.exists("chunk_bpb", *KEYS)


def test_a_home_that_is_another_folder_there(
    wh: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute, "SECONDS_UNTIL_VISIBLE", 0.0)
    result = write_scores(wh)
    wh.path("chunk_bpb", *KEYS).unlink()
    with pytest.raises(PcorrError, match=r"compute\.slurm\.home"):
        compute.accept(wh, "chunk_bpb", KEYS, result)


def test_paths_under_the_home_as_the_cluster_sees_them(tmp_path: Path) -> None:
    settings = settings_from(
        {"home": "data", "compute": {"slurm": {"home": "/mnt/data"}}}, folder=tmp_path
    )
    job = {
        "home": str(tmp_path / "data"),
        "sample": "web",
        "llm": {"path": str(tmp_path / "data" / "zoo" / "a"), "key": "a"},
        "benchmarks": {"b": {"task_path": str(tmp_path / "tasks")}},
    }
    assert compute.on_cluster(job, settings) == {
        "home": "/mnt/data",
        "sample": "web",
        "llm": {"path": "/mnt/data/zoo/a", "key": "a"},
        "benchmarks": {"b": {"task_path": str(tmp_path / "tasks")}},
    }


def test_resources_of_a_job() -> None:
    slurm = Slurm.model_validate(
        {
            **CLUSTER,
            "memory": "32G",
            "gpus": 1,
            "time_limit": "08:00:00",
            "overrides": {"benchmark_errors": {"time_limit": "04:00:00"}},
        }
    )
    large = SlurmResources(memory="64G", qos="long")
    queue = slurm_resource(slurm, slurm.resources_for("benchmark_errors", large)).queue
    assert (queue.mem, queue.time_limit, queue.gpus_per_node, queue.qos, queue.account) == (
        "64G",
        "04:00:00",
        1,
        "long",
        None,
    )
    connection = slurm_resource(slurm, slurm.resources_for("chunk_bpb")).ssh
    assert connection.host_key_checking == "strict"
    assert connection.uses_inherited_auth


def test_a_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    ssh = {**CLUSTER["ssh"], "key_path": str(tmp_path / "id")}
    slurm = Slurm.model_validate({**CLUSTER, "ssh": ssh})
    with pytest.raises(PcorrError, match="leave it out to use the ssh agent"):
        slurm_resource(slurm, slurm.resources_for("chunk_bpb"))


_ON_A_NODE = """
import json, sys
sys.modules.update(dict.fromkeys(("dagster", "dagster_slurm", "duckdb")))  # not to be imported
import pcorr_assets.jobs.node, pcorr_assets.filters.scoring, pcorr_assets.lm.evaluation
from pcorr_assets.jobs import dispatch
print(dispatch.run(json.loads(sys.argv[1]))["row_count"])
"""


def test_a_node_needs_neither_dagster_nor_duckdb(wh: Warehouse, tmp_path: Path) -> None:
    llm = {"key": KEYS[0], "path": str(tiny.save_llm(tmp_path / "llm"))}
    sample = {"files": ["*.jsonl"], "text_column": "text", "reference_tokenizer": "org/any"}
    settings = settings_from(
        {
            "home": str(wh.home),
            "samples": {"web": {**sample, "id_column": "id"}},
            "llms": [{"family": "tiny", "models": [llm]}],
        },
        folder=tmp_path,
    )
    job = json.dumps(score_job(settings, "web", KEYS[0], threads=1))
    command = [sys.executable, "-c", _ON_A_NODE, job]
    said = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert said.stdout.strip() == str(len(tiny.TEXTS))


Report = Callable[..., str]


@pytest.fixture
def said() -> Report:
    """The explanation of a job that ended in a certain way."""

    def explanation(error: str = "it failed", **facts: Any) -> str:
        report = dataclasses.replace(NodeReport(job_id=7, folder="/scratch/run"), **facts)
        resources = SlurmResources(memory="4G", time_limit="01:00:00")
        return explain(REQUEST, resources, report, RuntimeError(error))

    return explanation


@pytest.mark.parametrize(
    ("facts", "part"),
    [
        ({"state": "TIMEOUT"}, "Raise `time_limit` in pcorr.yaml"),
        ({"state": "OUT_OF_MEMORY"}, "it had asked for 4G). Raise `memory`"),
        ({"state": "FAILED", "log": "slurmstepd: error: oom-kill event"}, "ran out of memory"),
        ({"state": "CANCELLED"}, "cancelled on the cluster"),
        ({"state": "RUNNING", "error": "Job 7 cancelled"}, "because its run was terminated"),
        ({"state": "FAILED", "error": "the pre-timeout signal TERM"}, "time limit of 01:00:00 was"),
        ({"state": "NODE_FAIL"}, "its node failed"),
        ({"state": "PREEMPTED"}, "ended by the cluster (state PREEMPTED)"),
        ({"state": "FAILED", "log": "ImportError: torch"}, "ImportError: torch"),
        ({"error": "Timed out after 60s waiting for job 7"}, "`compute.slurm.poll_timeout`"),
        ({"job_id": None, "error": "ssh: Connection refused"}, "login node cannot be reached"),
    ],
)
def test_each_end_in_words(said: Report, facts: dict[str, Any], part: str) -> None:
    assert part in said(**facts)
    assert REQUEST.identity in said(**facts)


def test_only_messages_of_the_job_itself_count(said: Report) -> None:
    messages = [{"refused": "of another job", "job_id": "6"}]
    assert "of another job" not in said(state="FAILED", messages=messages)
    messages.append({"refused": "The LLM is broken.", "job_id": "7"})
    assert said(state="FAILED", messages=messages).endswith("The LLM is broken.")


def test_what_a_job_said_before_it_was_requeued_is_passed_over(said: Report) -> None:
    before = [
        {"started": "node-1", "job_id": "7"},
        {"stopped": "It was told to stop.", "job_id": "7"},
    ]
    assert "told to stop by a signal" in said(state="FAILED", messages=before)
    assert node.SIGNAL_MARKER == SlurmPipesClient._PRE_TIMEOUT_MARKER, "the node removes it"
    again = [*before, {"started": "node-2", "job_id": "7"}]
    now = said(state="FAILED", messages=again, log="ImportError: torch")
    assert "told to stop" not in now
    assert "ImportError: torch" in now
