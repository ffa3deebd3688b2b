"""Where the job of a run is done: in its own process, or on a Slurm cluster.

Belongs here: choosing between the two, a job description as the cluster needs it, and
accepting what came back. Does not belong here: the jobs (`jobs`), the conversation with
the cluster (`slurm`).
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import dagster as dg
import pyarrow.compute as pc
from dagster_pipes import DagsterPipesError

from pcorr_assets.config import LLMSpec, Settings
from pcorr_assets.config.compute import Slurm, SlurmResources
from pcorr_assets.defs.platform import Platform
from pcorr_assets.errors import PcorrError
from pcorr_assets.jobs import dispatch, node
from pcorr_assets.warehouse import TABLES, Warehouse
from pcorr_assets.warehouse.files import sha256_file
from pcorr_assets.warehouse.views import ensure_layout

JobAsset = Literal["chunk_bpb", "benchmark_errors", "pool_scores"]
Partition = tuple[str, tuple[str, ...]]

# Shared file systems show a file of another machine only after their caches expire.
SECONDS_UNTIL_VISIBLE = 30.0


def run_job(
    context: dg.AssetExecutionContext,
    platform: Platform,
    asset: JobAsset,
    keys: tuple[str, ...],
    job: dict[str, Any],
    llm: LLMSpec | None = None,
    *,
    partitions: Sequence[Partition] = (),
) -> dict[str, Any]:
    """Do `job` where `compute.mode` says; returns the job's result (see the job).

    The caller holds the lock of the partition `keys` of the table `asset`. A job that writes
    several partitions names them in `partitions`, and reports those after the first under
    `others`. In mode slurm
    the result's metadata has, in addition, the job's id, node, state, elapsed time and
    peak memory, and the partition files were checked against the request.

    Raises:
        PcorrError: the job failed, or its output is not what was asked for.
    """
    # Jobs write tables, but no DuckDB file: this side does.
    ensure_layout(platform.warehouse.home)
    compute = platform.settings.compute
    if compute.mode == "local":
        return dispatch.run(job)
    resources = compute.slurm.resources_for(asset, llm.slurm if llm is not None else None)
    request = on_cluster(job, platform.settings)
    if "threads" in request:  # not every job has threads of its own
        processes = request.get("scoring_workers") or max(1, resources.gpus or 1)
        shared = processes if "scoring_workers" in request else 1
        request["threads"] = request["threads"] or max(1, (resources.cpus or 1) // shared)
    if "workers" in request:
        request["workers"] = request["workers"] or resources.cpus or 1
    expected = list(partitions) or [(asset, keys)]
    wh = platform.warehouse
    before = [_hash_of(wh.path(table, *where)) for table, where in expected]
    result, accounting = _run_on_slurm(context, compute.slurm, resources, asset, request)
    parts = [result, *result.get("others", ())]
    if len(parts) != len(expected):
        raise PcorrError(
            f"The node was asked for {len(expected)} partitions of {asset} {'|'.join(keys)}, but "
            f"reports {len(parts)}. Launch it again."
        )
    first, *others = [
        accept(wh, table, where, part, known)
        for (table, where), part, known in zip(expected, parts, before, strict=True)
    ]
    metadata = {**result["metadata"], **accounting}
    return {**first, **({"others": others} if others else {}), "metadata": metadata}


def _run_on_slurm(
    context: dg.AssetExecutionContext,
    slurm: Slurm,
    resources: SlurmResources,
    asset: JobAsset,
    job: dict[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    # Imported here: local mode needs no ssh and no Slurm client.
    from dagster._core.errors import DagsterPipesExecutionError

    from pcorr_assets.defs.slurm import SlurmClient, SlurmRequest, job_options, slurm_resource
    from pcorr_assets.defs.slurm_failures import explain
    from pcorr_assets.defs.slurm_parts import PartJobs

    source = node.source_sha256(job)
    described = json.dumps([job, source], sort_keys=True).encode()
    request = SlurmRequest(asset, context.partition_key, hashlib.sha256(described).hexdigest())
    client = SlurmClient(slurm_resource(slurm, resources), str(slurm.environment), request)
    signal = (slurm.signal_before_timeout or "").partition("@")[0]
    threads = str(resources.cpus or 1)
    environment = {"OMP_NUM_THREADS": threads, "RAYON_NUM_THREADS": threads}
    together = PartJobs(client, resources, job, environment).running()
    try:
        with together if job.get("parts", 1) > 1 else nullcontext():
            client.run(
                context=context,
                payload_path=node.__file__,
                extras={"job": job, "source_sha256": source, "signal": signal},
                extra_env=environment,
                extra_slurm_opts=job_options(resources),
                poll_timeout=slurm.poll_timeout,
            )
    except (RuntimeError, DagsterPipesError, DagsterPipesExecutionError) as error:
        raise PcorrError(explain(request, resources, client.report, error)) from error
    result = client.report.last("result")
    if result is None:
        raise PcorrError(
            f"Slurm job {client.report.job_id} of {request.identity} completed, but reported no "
            f"result (its files are in {client.report.folder}). Launch it again."
        )
    return result, client.report.accounting


def on_cluster(job: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The description with paths under the data home as the cluster sees them.

    Other paths (LLMs and task folders outside the home) stay as they are.
    """
    seen = settings.compute.slurm.home
    if seen is None:
        return dict(job)
    here, there = settings.home, PurePosixPath(seen)

    def translate(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: translate(item) for key, item in value.items()}
        if isinstance(value, list):
            return [translate(item) for item in value]
        if (
            isinstance(value, str)
            and Path(value).is_absolute()
            and Path(value).is_relative_to(here)
        ):
            return str(there / Path(value).relative_to(here))
        return value

    return translate(job)


def accept(
    wh: Warehouse,
    table: str,
    keys: tuple[str, ...],
    result: Mapping[str, Any],
    before: str | None = None,
) -> dict[str, Any]:
    """The result, if the file of the partition is exactly what the node says it wrote.

    Checked are the table, the partition (as named by the node, and in the rows), the
    number of rows and the hash of the file; for `chunk_bpb` that there is one row a
    chunk, of the chunks as they are now. A file that fails is moved to `refused` under
    the home, where nothing reads it, unless it was there before the job (`before`, its
    hash) and the job did not touch it.

    Raises:
        PcorrError: what differs, and where the file is now.
    """
    path = wh.path(table, *keys)
    name = f"{table} {'|'.join(keys)}"
    if (result.get("table"), tuple(result.get("partition", ()))) != (table, keys):
        said = f"{result.get('table')} {'|'.join(result.get('partition', ()))}"
        raise PcorrError(
            f"The node was asked for {name}, but reports that it made {said}. Nothing of it is "
            "accepted as the former; launch it again."
        )
    if not _appears(path, str(result.get("sha256"))):
        raise PcorrError(
            f"The node wrote {result.get('path')} for {name}, but {path} is not there. The data "
            "home must be one folder for both sides: see `compute.slurm.home`."
        )
    problems = _differences(wh, table, keys, result)
    if problems:
        touched = _hash_of(path) != before
        where = f"was moved to {_set_aside(wh, path)}" if touched else "is the one from before"
        raise PcorrError(
            f"The output of the cluster for {name} is not accepted: {'; '.join(problems)}. The "
            f"file {where}. Launch it again."
        )
    return {**result, "path": str(path)}


def _differences(
    wh: Warehouse, table: str, keys: tuple[str, ...], result: Mapping[str, Any]
) -> list[str]:
    found = []
    path = wh.path(table, *keys)
    sha256 = sha256_file(path)
    if sha256 != result.get("sha256"):
        found.append(f"the file has the hash {sha256[:12]}, not {str(result.get('sha256'))[:12]}")
    rows = wh.row_count(table, *keys)
    if rows != result.get("row_count"):
        found.append(f"it has {rows} rows, not {result.get('row_count')}")
    for column, key in zip(TABLES[table].partition_keys, keys, strict=True):
        if column not in TABLES[table].schema.names:
            continue
        values = pc.call_function("unique", [wh.read(table, *keys, columns=[column])[column]])
        foreign = [value for value in values.to_pylist() if value != key]
        if foreign:
            found.append(f"it has rows of {column} {foreign[:3]}")
    if table == "chunk_bpb":
        found += _differences_from_chunks(wh, keys, rows)
    return found


def _differences_from_chunks(wh: Warehouse, keys: tuple[str, ...], rows: int) -> list[str]:
    sample = keys[TABLES["chunk_bpb"].partition_keys.index("sample")]
    chunks = wh.row_count("chunks", sample)
    found = [f"it has {rows} rows for {chunks} chunks"] if rows != chunks else []
    now = wh.metadata("chunks", sample).get("chunks_sha256")
    scored = wh.metadata("chunk_bpb", *keys).get("chunks_sha256")
    if scored != now:
        found.append(f"it scores the chunks {str(scored)[:12]}, which are {str(now)[:12]} now")
    return found


def _hash_of(path: Path) -> str | None:
    return sha256_file(path) if path.is_file() else None


def _appears(path: Path, sha256: str) -> bool:
    """Wait for the file that the node wrote: True once one is there, whatever is in it."""
    deadline = time.monotonic() + SECONDS_UNTIL_VISIBLE
    while True:
        there = path.is_file()
        if there and sha256_file(path) == sha256:
            return True
        if time.monotonic() > deadline:
            return there
        # Listing a folder makes network file systems look again.
        if path.parent.is_dir():
            os.listdir(path.parent)
        time.sleep(1.0)


def _set_aside(wh: Warehouse, path: Path) -> Path:
    relative = path.relative_to(wh.root)
    target = wh.home / "refused" / relative.with_suffix(f".{time.time_ns()}.parquet")
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(path, target)
    return target
