"""The job that scores one LLM on the chunks of one sample.

Belongs here: reading `chunks`, writing `chunk_bpb`, and the result of the job. Does not
belong here: the scoring (`lm.scoring`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pcorr_assets.config import Pilot
from pcorr_assets.config.keys import to_slug
from pcorr_assets.errors import DamagedFileError, PcorrError
from pcorr_assets.jobs.description import PilotDescription, ScoreJob, read_job
from pcorr_assets.jobs.known_scores import known_scores
from pcorr_assets.jobs.scoring_runs import record_run
from pcorr_assets.text.chunked_dataset import check_chunk_ids
from pcorr_assets.text.pilot import pilot_chunks
from pcorr_assets.warehouse import TABLES, Warehouse, WrittenPartition
from pcorr_assets.warehouse.files import sha256_file
from pcorr_assets.warehouse.parquet_files import stored_metadata

logger = logging.getLogger(__name__)

# How often a job looks whether another has finished the table.
SECONDS_BETWEEN_LOOKS = 10.0


def run(job: dict[str, Any], stop: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Score the LLM of the description and write its partition of `chunk_bpb`.

    A partition that is complete and made of the same things is left as it is, unless
    `force` is set. What a job that died had finished is taken over from its shards.
    `stop` is asked between batches: a yes ends the job, keeping what is finished. A job for
    another part than 0 leaves its share in shards and returns no more than `part` and `metadata`.

    Returns `table`, `partition` (its keys), `path`, `row_count`, `byte_count`, `sha256`
    (of the file) and `metadata` (rates, counts, device, warnings), all fit for JSON.

    Raises:
        PcorrError: whatever the user can mend; the message says how.
    """
    from pcorr_assets.jobs.record import JobLLM
    from pcorr_assets.lm.loading import peak_memory_bytes
    from pcorr_assets.lm.scoring import Scoring, ScoringSettings
    from pcorr_assets.lm.sizes import AUTO, DEFAULT_BATCH_TOKENS, Agreement

    description = read_job(job, ScoreJob)
    wh = Warehouse(description.home, with_database=False)
    chunks = _read_chunks(wh, description.sample, description.pilot)
    llm = JobLLM(description, wh)
    model, tokenizer = llm.load()
    finds = description.batch_tokens == AUTO
    settings = ScoringSettings(
        DEFAULT_BATCH_TOKENS if finds else int(description.batch_tokens),
        description.llm.overlong,
        description.seconds_per_shard,
        llm.helpers(model, description.scoring_workers),
        description.part,
        description.parts,
        finds,
    )
    folder = shard_folder(description.home, description.llm.key, chunks.sample)
    agreement = Agreement(_sizes_lock(description), partial(_notes_with_sizes, wh, description))
    scoring = Scoring(llm.resolved, model, tokenizer, chunks, settings, folder, agreement)
    keys = _partition(description)
    if not description.force and _is_up_to_date(wh, keys, scoring.identity):
        logger.info("chunk_bpb of %s is complete and up to date", "|".join(keys))
        return _result(keys, _present(wh, keys), {"reused": True, **scoring.identity})
    if description.takes_from is not None and not description.force:
        _take_over(scoring, wh, description, chunks.chunk_ids)
    if description.part:
        work = scoring.work(_stop_once_written(wh, keys, scoring.identity, stop))
        return {"part": description.part, "metadata": work.report}
    scores = scoring.run(stop)
    metadata = dict(scoring.notes)
    if scores.report["out_of_memory"]:
        metadata["effective_batch_tokens"] = str(scores.report["effective_batch_tokens"])
    metadata["attention_mask"] = scores.report["attention_mask"]
    table = scores.to_table(chunks, description.llm.key)
    (record,) = wh.read("llms", description.llm.key).to_pylist()
    report = {
        **scoring.identity,
        **scores.report,
        **_utilisation(llm.device, model, record["parameter_count"], scores.report),
        "reused": False,
        "threads": _threads(),
        "peak_memory_bytes": peak_memory_bytes(llm.device),
    }
    # First, since a run that finds the table there does nothing more.
    record_run(wh, description.llm.key, chunks.sample, report)
    written = wh.write("chunk_bpb", keys, table, metadata)
    scoring.finish()
    return _result(keys, written, report)


def shard_folder(home: Path, llm: str, sample: str) -> Path:
    """Where finished batches of an LLM on a sample are kept until the table is written."""
    return home / "shards" / to_slug(llm) / to_slug(sample)


def _stop_once_written(
    wh: Warehouse, keys: tuple[str, ...], identity: dict[str, str], stop: Callable[[], bool]
) -> Callable[[], bool]:
    """`stop`, or the job for part 0 has written the table: nothing is left to do then."""
    looked = time.monotonic()

    def asked() -> bool:
        nonlocal looked
        if stop():
            return True
        if time.monotonic() - looked < SECONDS_BETWEEN_LOOKS:
            return False
        looked = time.monotonic()
        return _is_up_to_date(wh, keys, identity)

    return asked


def _read_chunks(wh: Warehouse, sample: str, pilot: PilotDescription | None) -> Any:
    from pcorr_assets.lm.scoring import ChunkTexts

    noted = wh.metadata("chunks", sample)
    if "chunks_sha256" not in noted:
        raise PcorrError(
            f"The chunks of sample {sample!r} carry no chunks_sha256, so losses could not be "
            "matched with them; materialise chunked_dataset again."
        )
    columns = ["chunk_id", "text", "byte_count", *(("page_id", "domain") if pilot else ())]
    table = wh.read("chunks", sample, columns=columns)
    chunk_ids = table["chunk_id"].to_pylist()
    check_chunk_ids(sample, chunk_ids, noted["chunks_sha256"])
    return ChunkTexts(
        sample,
        chunk_ids,
        table["text"].to_pylist(),
        table["byte_count"].to_numpy().astype(np.int64),
        noted["chunks_sha256"],
        pilot_chunks(table, _pilot(pilot), pilot.seed) if pilot else None,
    )


def _pilot(pilot: PilotDescription) -> Pilot:
    return Pilot.model_validate(pilot.model_dump(exclude={"seed"}))


def _take_over(scoring: Any, wh: Warehouse, description: ScoreJob, chunk_ids: list[str]) -> None:
    """Let scores of the sample that is named count, of the chunks that this one shares with it."""
    source = description.model_copy(update={"sample": description.takes_from})
    known = known_scores(wh, _partition(source), chunk_ids)
    if known is not None and not scoring.take_over(known):
        logger.warning(
            "scores on %s are of another version of the LLM, and not taken over", source.sample
        )


def _partition(description: ScoreJob) -> tuple[str, ...]:
    values = {"llm": description.llm.key, "sample": description.sample}
    return tuple(values[name] for name in TABLES["chunk_bpb"].partition_keys)


def _is_up_to_date(wh: Warehouse, keys: tuple[str, ...], identity: dict[str, str]) -> bool:
    noted = _notes(wh, keys)
    return noted is not None and all(noted.get(name) == value for name, value in identity.items())


def _notes(
    wh: Warehouse, keys: tuple[str, ...], damaged: str = "and is scored again"
) -> dict[str, str] | None:
    """What a partition notes beside its rows; None if it is not there or damaged."""
    if not wh.exists("chunk_bpb", *keys):
        return None
    try:
        with wh.open("chunk_bpb", *keys) as file:
            return stored_metadata(file)
    except DamagedFileError as error:
        logger.warning("%s is damaged (%s) %s", error.path, error.reason, damaged)
        return None


def _notes_with_sizes(wh: Warehouse, description: ScoreJob) -> list[dict[str, str]]:
    """The notes of the partition as it is, and of the one that scores are taken over from."""
    samples = (description.sample, description.takes_from)
    of = [description.model_copy(update={"sample": sample}) for sample in samples if sample]
    why = "and its batch size is not known"
    return [notes for one in of if (notes := _notes(wh, _partition(one), why))]


def _sizes_lock(description: ScoreJob) -> Path:
    name = f"{to_slug(description.sample)}.lock"
    return description.home / "locks" / "sizes" / to_slug(description.llm.key) / name


def _present(wh: Warehouse, keys: tuple[str, ...]) -> WrittenPartition:
    path = wh.path("chunk_bpb", *keys)
    rows = wh.read("chunk_bpb", *keys, columns=["chunk_id"]).num_rows
    return WrittenPartition(path, rows, path.stat().st_size, sha256_file(path))


def _result(
    keys: tuple[str, ...], written: WrittenPartition, metadata: dict[str, Any]
) -> dict[str, Any]:
    return {
        "table": "chunk_bpb",
        "partition": list(keys),
        "path": str(written.path),
        "row_count": written.row_count,
        "byte_count": written.byte_count,
        "sha256": written.sha256,
        "metadata": metadata,
    }


def _utilisation(
    device: str, model: Any, parameters: int, report: dict[str, Any]
) -> dict[str, Any]:
    """Which device it was, and how much of it was used: 2 operations a parameter and token."""
    import torch

    from pcorr_assets.lm.cost import OPERATIONS, utilisation

    name = f"CPU with {_threads()} thread{'s' if _threads() > 1 else ''}"
    if device.startswith("cuda"):
        name = torch.cuda.get_device_name()
    spread = len(set((getattr(model, "hf_device_map", None) or {"": 0}).values()))
    devices = max(report["scoring_workers"], 1) * spread
    rate = report["tokens_per_second"] / devices
    return {
        "scoring_devices": devices,
        "device_name": name,
        "parameter_count": parameters,
        "operations_per_second": OPERATIONS * parameters * rate,
        "model_flops_utilisation": utilisation(name, parameters, rate),
    }


def _threads() -> int:
    import torch

    return torch.get_num_threads()
