"""The job that scores one shard of a pool with the filter of a target.

Belongs here: its description, making one from the settings, and its result. Does not
belong here: reading documents and scoring them (`filters`).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse import Warehouse

if TYPE_CHECKING:
    from pcorr_assets.config import Settings

SCORE_POOL_SHARD = "score_pool_shard"


class ScorePoolShardJob(BaseModel):
    """Score one shard of a pool.

    `pool_settings` is the pool's section of the configuration as it was written;
    `tokenizer` counts tokens where the pool has no token-count column.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    job: Literal["score_pool_shard"] = SCORE_POOL_SHARD
    home: Path
    pool: str
    pool_settings: dict[str, Any]
    shard: str
    target: str
    tokenizer: str | None = None


def score_pool_shard_job(settings: Settings, shard: str, target: str) -> dict[str, Any]:
    """The description of scoring a shard, named by its key `pool/slug`.

    Raises:
        PcorrError: the pool or the target is not in the settings.
    """
    pool = shard.split("/", 1)[0]
    if pool not in settings.pools:
        raise PcorrError(
            f"shard {shard!r} is of no pool of the configuration; there are: "
            f"{', '.join(settings.pools) or 'none'}"
        )
    return ScorePoolShardJob(
        home=settings.home,
        pool=pool,
        # Only what was written: whether an id column was named makes a difference.
        pool_settings=settings.pools[pool].model_dump(mode="json", exclude_unset=True),
        shard=shard,
        target=target,
        tokenizer=settings.selection_for(target).tokenizer,
    ).model_dump(mode="json")


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Score the shard and write its partition of `pool_scores`.

    The partition appears whole; a job that was killed leaves nothing and starts again.

    Returns `table`, `partition`, `path`, `row_count`, `byte_count`, `sha256` (of the file)
    and `metadata` (filter, what counted the tokens, seconds, documents a second).

    Raises:
        PcorrError: there is no filter or it was changed, the pool has no such shard, or
            its data cannot be read.
    """
    from pcorr_assets.config import Pool
    from pcorr_assets.filters.pools import find_shard
    from pcorr_assets.filters.scoring import score_shard
    from pcorr_assets.filters.training import load_filter

    try:
        description = ScorePoolShardJob.model_validate(job)
        pool = Pool.model_validate(description.pool_settings)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        )
        raise PcorrError(
            f"This is no description of a {SCORE_POOL_SHARD} job: {problems}"
        ) from error
    warehouse = Warehouse(description.home, with_database=False)
    started = time.monotonic()
    shard = find_shard(description.pool, pool, description.shard)
    model = load_filter(warehouse, pool.sample, description.target)
    written = score_shard(
        warehouse, shard, pool, description.target, model, tokenizer=description.tokenizer
    )
    seconds = time.monotonic() - started
    return {
        "table": "pool_scores",
        "partition": [shard.key, description.target],
        "path": str(written.path),
        "row_count": written.row_count,
        "byte_count": written.byte_count,
        "sha256": written.sha256,
        "metadata": {
            **warehouse.metadata("pool_scores", shard.key, description.target),
            "seconds": seconds,
            "documents_per_second": written.row_count / seconds,
        },
    }
