"""The job that brings one group of a pool up to date, for all targets at once.

Belongs here: its description, making one from the settings, how many processes it takes, and
its result. Does not belong here: reading documents and scoring them (`filters`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pcorr_assets.errors import PcorrError
from pcorr_assets.machine import cpu_count, free_memory_bytes
from pcorr_assets.warehouse import Warehouse, WrittenPartition

if TYPE_CHECKING:
    from pcorr_assets.config import Settings

SCORE_POOL_GROUP = "score_pool_group"
# A worker with some filters of two million buckets, while it loads them.
WORKER_BYTES = 3 << 29


class ScorePoolGroupJob(BaseModel):
    """Score one group of a pool with the filters of `targets`.

    `pool_settings` is the pool's section of the configuration as it was written; `tokenizer`
    counts tokens where the pool has no token-count column, and `targets` names that of each
    target. `reading_code`, `scoring_code` and `searching_code` are versions of the code, so that
    what another version made is made again. `workers` are processes (None: as many as the
    machine carries).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    job: Literal["score_pool_group"] = SCORE_POOL_GROUP
    home: Path
    pool: str
    pool_settings: dict[str, Any]
    group: str
    targets: dict[str, str | None]
    tokenizer: str | None = None
    reading_code: str = ""
    scoring_code: str = ""
    searching_code: str = ""
    workers: int | None = None
    seconds_per_part: float = 30.0


def score_pool_group_job(
    settings: Settings, group: str, targets: list[str], **changes: Any
) -> dict[str, Any]:
    """The description of scoring a group, named by its key `pool/0007`, for some targets.

    Raises:
        PcorrError: the pool is not in the settings, or no target was given.
    """
    pool = group.split("/", 1)[0]
    if pool not in settings.pools:
        raise PcorrError(
            f"group {group!r} is of no pool of the configuration; there are: "
            f"{', '.join(settings.pools) or 'none'}"
        )
    if not targets:
        raise PcorrError(
            f"no target has a filter for sample {settings.pools[pool].sample} yet, so that pool "
            f"{pool} cannot be scored: materialise fasttext_filter first"
        )
    fields = {
        "home": settings.home,
        "pool": pool,
        # Only what was written: whether an id column was named makes a difference.
        "pool_settings": settings.pools[pool].model_dump(mode="json", exclude_unset=True),
        "group": group,
        "targets": {target: settings.selection_for(target).tokenizer for target in targets},
        "tokenizer": settings.selection.tokenizer,
        "workers": settings.compute.workers,
    }
    return _read_job({**fields, **changes}).model_dump(mode="json")


def partitions_of(job: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
    """The partitions that a job leaves, as table and keys: first that of the documents."""
    group = job["group"]
    scores = [("pool_scores", (group, target)) for target in job["targets"]]
    return [("pool_documents", (group,)), *scores]


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Bring the tables of the group up to date.

    They appear whole. What was finished is kept in parts: a job that was killed goes on from
    there. What is there and would come out the same is left as it is.

    Returns `table`, `partition`, `path`, `row_count`, `byte_count` and `sha256` (of the file) of
    the group's `pool_documents`, the same of each target's `pool_scores` under `others`, and
    `metadata` (documents, what counted and scored them now, seconds, rates).

    Raises:
        PcorrError: there is no filter or it was changed, the pool has no such group, or its
            files cannot be read.
    """
    from pcorr_assets.config import Pool
    from pcorr_assets.filters.groups import pool_of, read_group, refresh_groups
    from pcorr_assets.filters.ngram_files import find_ngrams
    from pcorr_assets.filters.scoring import Code, Options, score_group
    from pcorr_assets.filters.training import find_filter

    description = _read_job(job)
    try:
        pool = Pool.model_validate(description.pool_settings)
    except ValidationError as error:
        raise _refused(error) from error
    warehouse = Warehouse(description.home, with_database=False)
    started = time.monotonic()
    if not warehouse.exists("pool_files", description.group):
        # Its list was removed, as one that is damaged has to be.
        refresh_groups(warehouse, pool_of(description.group), pool)
    group = read_group(warehouse, description.group, pool.storage)
    workers = description.workers or _workers()
    scored = score_group(
        warehouse,
        group,
        pool,
        {t: find_filter(warehouse, pool.sample, t) for t in description.targets},
        tokenizer=description.tokenizer,
        tokenizers=description.targets,
        ngrams={
            target: found
            for target in description.targets
            if (found := find_ngrams(warehouse, target)) is not None
        },
        code=Code(description.reading_code, description.scoring_code, description.searching_code),
        options=Options(workers, description.seconds_per_part),
    )
    seconds = time.monotonic() - started
    first, *others = [
        _described(table, keys, scored.partitions[table, keys])
        for table, keys in partitions_of(job)
    ]
    return {
        **first,
        "others": others,
        "metadata": {
            **scored.notes_shown,
            "files": len(group.shards),
            "bytes of files": group.byte_count,
            "documents": scored.document_count,
            "documents read now": scored.passed,
            "tokens counted now by": ", ".join(scored.counted) or "nothing",
            "signatures made now": "yes" if scored.signed else "no",
            "scored now for": ", ".join(scored.scored) or "no target",
            "searched now for benchmarks of": ", ".join(scored.searched) or "no target",
            "workers": workers,
            "seconds": seconds,
            "documents_per_second": scored.passed / seconds,
        },
    }


def _workers() -> int:
    """One a core, as far as the memory reaches."""
    return max(1, min(cpu_count(), free_memory_bytes() // WORKER_BYTES))


def _described(table: str, keys: tuple[str, ...], written: WrittenPartition) -> dict[str, Any]:
    return {
        "table": table,
        "partition": list(keys),
        "path": str(written.path),
        "row_count": written.row_count,
        "byte_count": written.byte_count,
        "sha256": written.sha256,
    }


def _read_job(job: Mapping[str, Any]) -> ScorePoolGroupJob:
    try:
        return ScorePoolGroupJob.model_validate(job)
    except ValidationError as error:
        raise _refused(error) from error


def _refused(error: ValidationError) -> PcorrError:
    problems = "; ".join(
        f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
        for problem in error.errors(include_url=False)
    )
    return PcorrError(f"This is no description of a {SCORE_POOL_GROUP} job: {problems}")
