"""Pieces of a scoring that were finished, so that a killed run loses almost nothing.

Belongs here: shard files, what they belong to, and which of them a resumed run may use.
Does not belong here: how losses are computed (`forward`) or combined (`scoring`).

A shard is one Parquet file of whole batches: written under a temporary name and moved
into place, so that it is there whole or not at all, with a hash over its rows. It is
used again only if everything that its numbers depend on is the same.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from pcorr_assets.errors import DamagedFileError
from pcorr_assets.lm.batching import BatchPlan
from pcorr_assets.warehouse.files import (
    atomic_path,
    clear_folder,
    remove_dead_scratch,
    remove_stale,
)
from pcorr_assets.warehouse.parquet_files import read_parquet, write_parquet

logger = logging.getLogger(__name__)

# Folders beside the shards, by which processes that score together share a plan.
SCRATCH_PREFIX = ".crew."
ROWS_HASH = "rows_sha256"
EFFECTIVE_BUDGET = "effective_batch_tokens"

SCHEMA = pa.schema(
    [
        pa.field("batch", pa.int64(), nullable=False),
        pa.field("unit", pa.int64(), nullable=False),
        pa.field("nll", pa.float64(), nullable=False),
    ]
)


@dataclass
class Finished:
    """What usable shards hold.

    `nll` (float64, one entry a unit; undefined where `done` is False for its batch),
    `done` (bool, one entry a batch), `refused` (file name and reason of every shard that
    belongs to something else), `effective_batch_tokens` (the smallest budget that an
    out-of-memory left behind, or None).
    """

    nll: np.ndarray
    done: np.ndarray
    refused: list[str] = field(default_factory=list)
    effective_batch_tokens: int | None = None


class ShardFolder:
    """The shards of one LLM on one sample.

    `identity` is everything that the numbers depend on; it is stored in every shard.
    """

    def __init__(self, folder: Path, identity: dict[str, str], plan: BatchPlan) -> None:
        self.folder = folder
        self.identity = identity
        self.plan = plan
        self._known: set[str] = set()

    def read(self) -> Finished:
        """Take over what is finished, refusing shards of anything else by name."""
        finished = Finished(
            np.full(len(self.plan.length), np.nan), np.zeros(self.plan.batch_count, dtype=bool)
        )
        remove_stale(self.folder)
        self._known = set()
        self.take_new(finished)
        return finished

    def take_new(self, finished: Finished) -> None:
        """Take over what others have finished since the last look, as `read` does."""
        for path in sorted(self.folder.glob("*.parquet")):
            if path.name in self._known:
                continue
            self._known.add(path.name)
            try:
                reason = self._take(path, finished)
            except FileNotFoundError:
                continue  # another job has written the table, and removes them
            if reason:
                finished.refused.append(f"{path.name} ({reason})")
                logger.warning("shard %s is not used: %s", path, reason)

    def write(self, batches: list[int], nll: np.ndarray, effective_batch_tokens: int) -> Path:
        """Store the losses of whole batches; `nll` has one entry for each unit of the plan."""
        units = [np.arange(len(nll))[self.plan.units(batch)] for batch in batches]
        rows = np.concatenate(units)
        numbers = np.repeat(batches, [len(part) for part in units])
        table = pa.table([numbers, rows, nll[rows]], schema=SCHEMA)
        metadata = {
            **self.identity,
            EFFECTIVE_BUDGET: str(effective_batch_tokens),
            ROWS_HASH: _rows_sha256(table),
        }
        # Two jobs may both have scored some: neither may write over what else the other has.
        ours = hashlib.sha256(numbers.tobytes()).hexdigest()[:8]
        path = self.folder / f"batches-{batches[0]:08d}-{batches[-1]:08d}-{ours}.parquet"
        self._known.add(path.name)
        with atomic_path(path) as temporary:
            write_parquet(temporary, table, metadata)
        return path

    def clear(self) -> None:
        """Remove all shards: their numbers are in the table now, or belong to nothing."""
        remove_dead_scratch(self.folder, SCRATCH_PREFIX)
        clear_folder(self.folder, "*.parquet")

    def _take(self, path: Path, finished: Finished) -> str | None:
        """Add a shard to `finished`; or say why it cannot be used."""
        try:
            table, metadata = read_parquet(path)
        except DamagedFileError as error:
            return f"it is damaged: {error.reason}"
        foreign = [
            f"{name} is {_short(metadata.get(name))}, not {_short(value)}"
            for name, value in self.identity.items()
            if metadata.get(name) != value
        ]
        if foreign:
            return "it belongs to something else: " + "; ".join(foreign)
        if metadata.get(ROWS_HASH) != _rows_sha256(table):
            return "its rows do not have the hash they were written with"
        units = table["unit"].to_numpy()
        finished.nll[units] = table["nll"].to_numpy()
        finished.done[np.unique(table["batch"].to_numpy())] = True
        budget = int(metadata[EFFECTIVE_BUDGET])
        finished.effective_batch_tokens = min(budget, finished.effective_batch_tokens or budget)
        return None


def _rows_sha256(table: pa.Table) -> str:
    digest = hashlib.sha256()
    for name in table.column_names:
        digest.update(np.ascontiguousarray(table[name].to_numpy()).tobytes())
    return digest.hexdigest()


def _short(value: str | None) -> str:
    if value is None:
        return "missing"
    return value if len(value) <= 24 else value[:12]
