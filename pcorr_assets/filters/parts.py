"""What a pass over a group of a pool has finished, in parts, so that a kill loses little.

Belongs here: files of finished rows, and how far they reach. Does not belong here: working
out the rows (`passes`) and the tables that are made of them (`assembly`).

A part holds rows of one shard, or of several that follow each other in the group. It is
written whole or not at all, carries a seal, and names the pass that it belongs to. Where
parts begin and end depends on the clock; the tables that are made of them do not.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa

from pcorr_assets.errors import DamagedFileError
from pcorr_assets.warehouse.files import atomic_path, clear_folder, remove_stale
from pcorr_assets.warehouse.parquet_files import (
    naming_damage,
    open_parquet,
    stored_metadata,
    write_parquet,
)

logger = logging.getLogger(__name__)

IDENTITY = "pass"
SEGMENTS = "segments"
SECONDS = "seconds"


@dataclass
class Segment:
    """Rows of one shard, by its place in the group, from `first_row` on.

    `is_last`: the shard ends with them. `texts` counts rows with a text, the others what was
    odd; `places` are the first few of the texts of another type. What was skipped of the whole
    shard stands where it ends: it is no row.
    """

    shard: int
    first_row: int = 0
    row_count: int = 0
    is_last: bool = False
    texts: int = 0
    text_bytes: int = 0
    empty: int = 0
    repeated_ids: int = 0
    other_types: int = 0
    invalid_unicode: int = 0
    places: list[str] = field(default_factory=list)
    skipped: int = 0
    skipped_places: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """A part file: its segments follow each other, without a gap, as its rows do."""

    path: Path
    segments: tuple[Segment, ...]

    @property
    def order(self) -> tuple[int, int]:
        """Where in the group its rows begin."""
        return self.segments[0].shard, self.segments[0].first_row


@dataclass
class Reached:
    """How far a shard is: rows that are finished, whether it is, and whether it had a text."""

    row_count: int = 0
    is_finished: bool = False
    had_text: bool = False


class PartFolder:
    """The parts of one group; `identity` is everything that their rows depend on."""

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder = folder
        self.identity = identity

    def read(self) -> list[Part]:
        """The parts that can be used, in the order of the group; the others are removed."""
        remove_stale(self.folder)
        found = []
        for path in sorted(self.folder.glob("*.parquet")):
            part = self._read(path)
            if part is None:
                path.unlink()
            else:
                found.append(part)
        return self._without_gaps(sorted(found, key=lambda part: part.order))

    def write(self, rows: pa.Table, segments: list[Segment], seconds: float = 0.0) -> Path:
        """Store rows, which are those of the segments and took so long."""
        first = segments[0]
        path = self.folder / f"part-{first.shard:08d}-{first.first_row:012d}.parquet"
        metadata = {
            IDENTITY: self.identity,
            SEGMENTS: json.dumps([asdict(segment) for segment in segments]),
            SECONDS: str(seconds),
        }
        with atomic_path(path) as temporary:
            write_parquet(temporary, rows, metadata)
        return path

    def clear(self) -> None:
        """Remove all parts, once their rows stand in tables."""
        clear_folder(self.folder, "*.parquet")

    def _read(self, path: Path) -> Part | None:
        try:
            with open_parquet(path) as file:
                metadata = stored_metadata(file)
        except DamagedFileError as error:
            logger.warning("%s is damaged (%s): its rows are worked out again", path, error.reason)
            return None
        if metadata.get(IDENTITY) != self.identity:
            return None  # of other files, filters or settings
        return Part(path, tuple(Segment(**one) for one in json.loads(metadata[SEGMENTS])))

    def _without_gaps(self, parts: Iterable[Part]) -> list[Part]:
        """Those that go on where the ones before them ended, shard by shard."""
        reached: dict[int, Reached] = {}
        found = []
        for part in parts:
            fits = all(
                (known := reached.get(segment.shard, Reached())).row_count == segment.first_row
                and not known.is_finished
                for segment in part.segments
            )
            if fits:
                found.append(part)
                note_reached(reached, part.segments)
            else:
                part.path.unlink()
        return found


def note_reached(reached: dict[int, Reached], segments: Iterable[Segment]) -> None:
    """Add segments to how far each shard is."""
    for segment in segments:
        known = reached.setdefault(segment.shard, Reached())
        known.row_count += segment.row_count
        known.is_finished |= segment.is_last
        known.had_text |= segment.texts > 0


def reached_by(parts: Iterable[Part]) -> dict[int, Reached]:
    """How far the shards are, by their place in the group."""
    reached: dict[int, Reached] = {}
    for part in parts:
        note_reached(reached, part.segments)
    return reached


def rows_of(part: Part) -> pa.Table:
    """The rows of a part; raises DamagedFileError."""
    with open_parquet(part.path) as file, naming_damage(part.path):
        return file.read()


def column_of_shard(parts: Iterable[Part], shard: int, name: str) -> Iterator[pa.ChunkedArray]:
    """A column of the finished rows of one shard, in their order."""
    for part in parts:
        start = 0
        for segment in part.segments:
            if segment.shard == shard and segment.row_count:
                with open_parquet(part.path) as file, naming_damage(part.path):
                    column = file.read(columns=[name])[name]
                yield column.slice(start, segment.row_count)
            start += segment.row_count
