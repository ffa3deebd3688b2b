"""Groups of a pool: which files are read together, as one partition.

Belongs here: which group a file is in, and keeping that in the table `pool_files`. Does
not belong here: which files there are (`pools`), and reading them (`passes`).

A pool has up to a million files, and an orchestrator carries some hundred partitions. So
files are put together by bytes, in the order in which the pool lists them. A file stays in
its group for good: files that come later make new groups, or fill up the last one while
nothing of that was scored. What a group is called never changes, so what was finished stays
finished; a file that vanished or changed shows in its group's rows, and there only.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pcorr_assets.config.keys import to_slug
from pcorr_assets.config.storage import Storage
from pcorr_assets.config.urls import is_url
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.pools import Shard, file_version, list_shards
from pcorr_assets.filters.same_files import SameFiles
from pcorr_assets.storage.remote import RemoteFile
from pcorr_assets.warehouse import TABLES, Warehouse, WrittenPartition
from pcorr_assets.warehouse.locks import waiting_lock
from pcorr_assets.warehouse.store import content_hash

if TYPE_CHECKING:
    from pcorr_assets.config import Pool

# Some minutes of work, so that the start of a run does not count.
SMALLEST_GROUP_BYTES = 1 << 30
MOST_GROUPS = 200
# What opening a file costs, in bytes that are read meanwhile.
FILE_COST_BYTES = 1 << 16


@dataclass(frozen=True)
class PoolGroup:
    """Files of a pool that are read together. `key` is `pool/0007`.

    `versions` are those that the shards were listed with, if they hold what they held then.
    """

    key: str
    pool: str
    shards: tuple[Shard, ...]
    versions: tuple[str, ...] = ()

    @property
    def identities(self) -> list[str]:
        """Of each shard its key, and what is another when its content may be."""
        versions = self.versions or tuple(shard.version for shard in self.shards)
        return [f"{one.key} {version}" for one, version in zip(self.shards, versions, strict=True)]

    @property
    def byte_count(self) -> int:
        """Bytes of its files."""
        return sum(shard.byte_count for shard in self.shards)


@dataclass
class Grouped:
    """The groups of a pool after it was listed.

    `keys` are those with files, `changed` what was written of them now, by key, `gone` keys
    of groups all of whose files vanished.
    """

    keys: list[str] = field(default_factory=list)
    changed: dict[str, WrittenPartition] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)


def pool_of(group: str) -> str:
    """The key of the pool of a group."""
    return group.partition("/")[0]


def refresh_groups(warehouse: Warehouse, name: str, pool: Pool) -> Grouped:
    """List a pool, and put files that are new into groups; `pool_files` follows.

    Only rows of groups that changed are written: by files that came, vanished, lie elsewhere or
    are others than when the pool was listed last: of another size, or changed at another time
    and with other content (`same_files`).

    Raises:
        PcorrError: as `list_shards`; or somebody else lists the pool and does not end.
    """
    lock = warehouse.home / "locks" / "pool_files" / f"{to_slug(name)}.lock"
    with waiting_lock(lock, f"the list of pool {name}"):
        return _refresh(warehouse, name, list_shards(name, pool), pool.group_bytes)


def _refresh(
    warehouse: Warehouse, name: str, shards: Sequence[Shard], group_bytes: int | None
) -> Grouped:
    before = {key: _rows(warehouse, key) for key in _known_groups(warehouse, name)}
    listed = {row["shard"]: row["version"] for rows in before.values() for row in rows}
    files = SameFiles(warehouse.home, name)
    shards = files.recognise(shards, listed)
    files.note(shards)
    there = {shard.key: shard for shard in shards}
    after = {key: [_row_now(row, there, warehouse.home) for row in before[key]] for key in before}
    placed = {row["shard"] for rows in before.values() for row in rows}
    new = [shard for shard in shards if shard.key not in placed]
    limit = group_bytes or _default_bytes(shards)
    for key, members in _place(warehouse, name, after, new, limit):
        added = [_row(shard, key, warehouse.home) for shard in members]
        after[key] = [*after.get(key, []), *added]
    found = Grouped()
    for key, rows in after.items():
        if rows != before.get(key):
            table = pa.Table.from_pylist(rows, schema=TABLES["pool_files"].schema)
            found.changed[key] = warehouse.write("pool_files", (key,), table)
        (found.keys if any(row["present"] for row in rows) else found.gone).append(key)
    return found


def _place(
    warehouse: Warehouse,
    name: str,
    groups: dict[str, list[dict[str, Any]]],
    new: Sequence[Shard],
    limit: int,
) -> Iterator[tuple[str, list[Shard]]]:
    """New shards, in their order, by the group that they go into."""
    used = {int(key.rpartition("/")[2]) for key in groups}
    last = max(used, default=-1)
    # A number is missing only if its file was removed, as one that is damaged has to be: what
    # stood in it goes back there, and not to a group that nobody asked for.
    numbers = itertools.chain(sorted(set(range(last)) - used), itertools.count(last + 1))
    key, size, members = f"{name}/{last:04d}", limit, []
    is_whole = len(used) == last + 1
    if groups and is_whole and not warehouse.exists("pool_documents", key):
        size = sum(max(row["byte_count"], FILE_COST_BYTES) for row in groups[key])
    for shard in new:
        cost = max(shard.byte_count, FILE_COST_BYTES)
        if size + cost > limit and (size or members):
            if members:
                yield key, members
            key, size, members = f"{name}/{next(numbers):04d}", 0, []
        members.append(shard)
        size += cost
    if members:
        yield key, members


def _default_bytes(shards: Sequence[Shard]) -> int:
    total = sum(max(shard.byte_count, FILE_COST_BYTES) for shard in shards)
    return max(SMALLEST_GROUP_BYTES, math.ceil(total / MOST_GROUPS))


def _known_groups(warehouse: Warehouse, name: str) -> list[str]:
    keys = [key for (key,) in warehouse.partitions("pool_files") if pool_of(key) == name]
    return sorted(keys, key=lambda key: int(key.rpartition("/")[2]))


def groups_of(warehouse: Warehouse, name: str) -> list[str]:
    """Keys of the groups of a pool that have files, as the pool was listed last, in order."""
    keys = _known_groups(warehouse, name)
    return [key for key in keys if any(row["present"] for row in _rows(warehouse, key))]


def groups_with(warehouse: Warehouse, name: str, shards: Collection[str] | None) -> list[str]:
    """Keys of the groups of a pool that one of these shards is in (None: all of its groups)."""
    keys = _known_groups(warehouse, name)
    if shards is None:
        return keys
    return [key for key in keys if any(row["shard"] in shards for row in _rows(warehouse, key))]


def read_group(warehouse: Warehouse, key: str, storage: Storage | None = None) -> PoolGroup:
    """The group of that key, with the files that it has now and their versions.

    `storage` is the pool's: how the store of files that are URLs is reached.

    Raises:
        PcorrError: there is no such group, it has no files any more, or one that it had when
            the pool was listed last is not there.
    """
    pool = pool_of(key)
    if not warehouse.exists("pool_files", key):
        known = ", ".join(_known_groups(warehouse, pool)[:5]) or "none"
        raise PcorrError(
            f"pool {pool} has no group {key!r}; it has {known}. The sensor register_pool_groups, "
            "or `pcorr register`, makes them."
        )
    storage = storage or Storage()
    rows = [row for row in _rows(warehouse, key) if row["present"]]
    shards = tuple(_shard(row, warehouse.home, storage) for row in rows)
    if not shards:
        raise PcorrError(f"group {key} has no file any more: `pcorr clean` takes it away")
    files = SameFiles(warehouse.home, pool)
    versions = [
        files.version_of(shard.path, shard.key, row["version"])
        if isinstance(shard.path, Path) and shard.version != row["version"]
        else shard.version
        for shard, row in zip(shards, rows, strict=True)
    ]
    return PoolGroup(key, pool, shards, tuple(versions))


def files_version(warehouse: Warehouse, key: str) -> str:
    """Of the files of a group: what is another when one came, vanished or changed.

    Where they lie does not count, so that a pool that was moved is not scored anew.
    """
    rows = [{**row, "path": None} for row in _rows(warehouse, key)]
    return content_hash(json.dumps(rows, sort_keys=True))


def _rows(warehouse: Warehouse, key: str) -> list[dict[str, Any]]:
    return warehouse.read("pool_files", key).to_pylist()


def _row(shard: Shard, group: str, home: Path) -> dict[str, Any]:
    path = None
    if shard.path is not None:
        # A cluster may see the home, and what lies under it, elsewhere.
        path = str(shard.path)
        if isinstance(shard.path, Path) and shard.path.is_relative_to(home):
            path = str(shard.path.relative_to(home))
    return {
        "pool": shard.pool,
        "pool_group": group,
        "shard": shard.key,
        "path": path,
        "first_row": shard.first_row,
        "row_count": shard.row_count,
        "byte_count": shard.byte_count,
        "version": shard.version,
        "present": True,
    }


def _row_now(row: dict[str, Any], there: dict[str, Shard], home: Path) -> dict[str, Any]:
    shard = there.get(row["shard"])
    return {**row, "present": False} if shard is None else _row(shard, row["pool_group"], home)


def _shard(row: dict[str, Any], home: Path, storage: Storage) -> Shard:
    size, version, path = row["byte_count"], row["version"], None
    if row["path"] is not None:
        path = RemoteFile(row["path"], storage) if is_url(row["path"]) else home / row["path"]
        try:
            size, version = file_version(path)
        except FileNotFoundError:
            raise PcorrError(
                f"{path} of group {row['pool_group']} is not there any more. Put it back; or let "
                "`pcorr register` (or the sensor register_pool_groups) take note, and launch this "
                "again."
            ) from None
    return Shard(row["shard"], row["pool"], path, row["first_row"], row["row_count"], size, version)
