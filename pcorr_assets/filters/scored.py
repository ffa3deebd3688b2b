"""Where the scores of a pool's shards lie: in which files, and in which rows of them.

Belongs here: finding them, and refusing a pool that is not scored as it is. Does not belong
here: choosing documents (`selection`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.assembly import SHARDS
from pcorr_assets.warehouse import Warehouse


@dataclass(frozen=True)
class Place:
    """Rows of a shard: the number of its file, and where in it they stand.

    `ordinal` is the place of the shard in the order of the pool.
    """

    file: int
    first_row: int
    row_count: int
    ordinal: int


@dataclass(frozen=True)
class ScoredShards:
    """The files of a pool's groups, and the place of each shard."""

    paths: list[Path]
    places: dict[str, Place]

    @cached_property
    def in_order(self) -> bool:
        """Do the shards stand in the files in the order of the pool?"""
        placed = sorted(self.places.values(), key=lambda place: (place.file, place.first_row))
        ordinals = [place.ordinal for place in placed if place.row_count]
        return ordinals == sorted(ordinals)

    def table(self) -> pa.Table:
        """`file`, `first_row` and `ordinal` of the shards that have rows."""
        found = [place for place in self.places.values() if place.row_count]
        return pa.table(
            {
                "file": pa.array([place.file for place in found], pa.int64()),
                "first_row": pa.array([place.first_row for place in found], pa.int64()),
                "ordinal": pa.array([place.ordinal for place in found], pa.int64()),
            }
        )


def find_scored(
    warehouse: Warehouse, pool: str, target: str, shards: Sequence[str], groups: Sequence[str]
) -> ScoredShards:
    """Where the scores of a target stand, for all shards of a pool.

    Raises:
        PcorrError: a shard has no scores, or there are scores of a shard that is gone.
    """
    ordinals = {key: number for number, key in enumerate(shards)}
    paths, places, gone = [], {}, []
    for group in groups:
        if not warehouse.exists("pool_scores", group, target):
            continue
        row = 0
        for key, count in json.loads(warehouse.metadata("pool_scores", group, target)[SHARDS]):
            if key in ordinals:
                places[key] = Place(len(paths), row, count, ordinals[key])
            else:
                gone.append(f"{key} (group {group})")
            row += count
        paths.append(warehouse.path("pool_scores", group, target))
    missing = [key for key in shards if key not in places]
    if missing or not shards:
        raise PcorrError(
            f"pool {pool}, target {target}: {len(missing)} of {len(shards)} shards have no "
            f"scores ({', '.join(missing[:5])}): materialise pool_scores for all groups of the "
            "pool first"
        )
    if gone:
        raise PcorrError(
            f"pool {pool}, target {target}: {len(gone)} shards have scores, but their files are "
            f"gone ({', '.join(gone[:5])}): put them back, or materialise pool_scores of their "
            "groups again"
        )
    return ScoredShards(paths, places)


def common_note(
    warehouse: Warehouse, groups: Sequence[str], target: str, name: str, what: str
) -> str:
    """What is noted under `name` beside the scores of all groups.

    Raises:
        PcorrError: it is not the same everywhere; it is called `what`.
    """
    found: dict[str, str] = {}
    for group in groups:
        found.setdefault(warehouse.metadata("pool_scores", group, target)[name], group)
    if len(found) > 1:
        listed = "; ".join(f"{group}: {value[:60]}" for value, group in list(found.items())[:3])
        raise PcorrError(
            f"pool_scores of target {target} come from different {what} ({listed}): their order "
            "means nothing together; materialise pool_scores for all groups of the pool again"
        )
    return next(iter(found))
