"""How far pools are: files and documents that are read, how fast it goes, what is left.

Belongs here: finding that out from tables and parts that lie under the home. Does not belong
here: what is out of date (`defs.partition_status`), and showing it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from pcorr_assets.config.keys import to_slug
from pcorr_assets.errors import DamagedFileError, PcorrError
from pcorr_assets.filters.groups import groups_of
from pcorr_assets.filters.parts import SECONDS, SEGMENTS
from pcorr_assets.filters.scoring import PARTS
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.parquet_files import open_parquet, stored_metadata

# Rates are those of the parts of the last minutes; what wrote none for so long is not at work.
SECONDS_LOOKED_AT = 600.0


@dataclass
class Standing:
    """How far a pool or a group is.

    `documents` and `files` are done, of `file_count`; rates and `seconds_left` are None where
    nothing is at work or nothing is finished yet.
    """

    key: str
    file_count: int = 0
    files: int = 0
    byte_count: int = 0
    bytes_done: int = 0
    documents: int = 0
    documents_finished: int = 0
    documents_per_second: float | None = None
    text_bytes_per_second: float | None = None
    groups: list[Standing] = field(default_factory=list)

    @property
    def seconds_left(self) -> float | None:
        """As many documents a byte as in the files that are finished, at the rate of now."""
        if not self.documents_per_second or not self.bytes_done:
            return None
        expected = self.documents_finished / self.bytes_done * self.byte_count
        return max(expected - self.documents, 0.0) / self.documents_per_second

    def words(self) -> str:
        """All of it in one line."""
        files = f"{self.files:,} of {self.file_count:,} files"
        said = f"{self.key}: {files}, {self.documents:,} documents"
        if self.documents_per_second is not None and self.text_bytes_per_second is not None:
            rate = f"{self.documents_per_second:,.0f} documents/s"
            said += f", {rate}, {self.text_bytes_per_second / 1e9:.3f} GB/s of text"
        if self.seconds_left is not None:
            said += f", {_duration(self.seconds_left)} left"
        return said


def pool_standing(warehouse: Warehouse, pool: str) -> Standing:
    """How far a pool is, with the groups of it that are at work.

    A group counts as done once it has documents, even if they are out of date.
    """
    found = Standing(pool)
    for key in groups_of(warehouse, pool):
        group = _group_standing(warehouse, key)
        for name in ("file_count", "files", "byte_count", "bytes_done", "documents"):
            setattr(found, name, getattr(found, name) + getattr(group, name))
        found.documents_finished += group.documents_finished
        if group.documents_per_second is not None and group.text_bytes_per_second is not None:
            found.groups.append(group)
            so_far = (found.documents_per_second or 0.0, found.text_bytes_per_second or 0.0)
            found.documents_per_second = so_far[0] + group.documents_per_second
            found.text_bytes_per_second = so_far[1] + group.text_bytes_per_second
    return found


def _group_standing(warehouse: Warehouse, key: str) -> Standing:
    rows = warehouse.read("pool_files", key, columns=["byte_count", "present"]).to_pylist()
    sizes = [row["byte_count"] for row in rows if row["present"]]
    found = Standing(key, len(sizes), byte_count=sum(sizes))
    parts = list(_parts(warehouse, key))
    if warehouse.exists("pool_documents", key):
        found.files, found.bytes_done = found.file_count, found.byte_count
        try:
            found.documents = found.documents_finished = warehouse.row_count("pool_documents", key)
        except (PcorrError, DamagedFileError):
            found.files = found.bytes_done = 0
    elif parts:
        segments = [segment for part in parts for segment in part.segments]
        finished = {segment["shard"] for segment in segments if segment["is_last"]}
        found.files = len(finished)
        found.bytes_done = sum(sizes[place] for place in finished if place < len(sizes))
        found.documents = sum(segment["row_count"] for segment in segments)
        found.documents_finished = sum(
            segment["row_count"] for segment in segments if segment["shard"] in finished
        )
    _note_rates(found, parts)
    return found


@dataclass(frozen=True)
class _Part:
    segments: list[dict]
    seconds: float
    written: float


def _parts(warehouse: Warehouse, key: str) -> Iterator[_Part]:
    folder = warehouse.home / PARTS / to_slug(key)
    for path in sorted(folder.glob("*.parquet")):
        try:
            with open_parquet(path, only_footer=True) as file:
                noted = stored_metadata(file)
            written = path.stat().st_mtime
        except (FileNotFoundError, DamagedFileError):
            continue  # a run puts it into tables this moment, or will work it out again
        yield _Part(json.loads(noted[SEGMENTS]), float(noted[SECONDS]), written)


def _note_rates(found: Standing, parts: list[_Part]) -> None:
    now = time.time()
    lately = [part for part in parts if part.written > now - SECONDS_LOOKED_AT]
    if not lately:
        return
    begun = min(part.written - part.seconds for part in lately)
    seconds = max(max(part.written for part in lately) - begun, 1e-3)
    segments = [segment for part in lately for segment in part.segments]
    found.documents_per_second = sum(segment["row_count"] for segment in segments) / seconds
    found.text_bytes_per_second = sum(segment["text_bytes"] for segment in segments) / seconds


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
