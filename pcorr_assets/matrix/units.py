"""Which unit each chunk of a sample belongs to, at any level.

Belongs here: reading that from the tables `chunks` and `page_units`. Does not belong here:
what is computed of units, and where units come from (`text.sources`).
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.candidates import CHUNKS_HASH
from pcorr_assets.text.token_counts import UNIT_COLUMNS
from pcorr_assets.warehouse import Warehouse

TABLE = "page_units"


def column_levels(wh: Warehouse, sample: str) -> list[str]:
    """Levels of `unit_columns` that the chunked sample has, sorted."""
    if not wh.exists(TABLE, sample):
        return []
    return sorted(wh.read(TABLE, sample, columns=["level"])["level"].unique().to_pylist())


def units_of_pages(wh: Warehouse, sample: str, level: str) -> dict[str, str]:
    """`{page id: unit}` at a level of `unit_columns`.

    Raises:
        PcorrError: the sample as it was chunked has no such level, or it was chunked anew
            and its units are not written yet.
    """
    levels = column_levels(wh, sample)
    if level not in levels:
        known = ", ".join((*UNIT_COLUMNS, *levels))
        raise PcorrError(
            f"The chunks of sample {sample!r} have no level {level!r}, only {known}. Name it under "
            "`unit_columns` of the sample, and materialise chunked_dataset and what follows again."
        )
    noted, now = (wh.metadata(table, sample).get(CHUNKS_HASH) for table in (TABLE, "chunks"))
    if noted != now:
        raise PcorrError(
            f"The units of sample {sample!r} are of another chunking of it: a run was cut off. "
            "Materialise chunked_dataset again."
        )
    rows = wh.read(TABLE, sample, columns=["page_id", "level", "unit"])
    rows = rows.filter(pc.field("level") == level)
    return dict(zip(rows["page_id"].to_pylist(), rows["unit"].to_pylist(), strict=True))


def with_units(
    wh: Warehouse, sample: str, level: str, columns: Sequence[str] = ()
) -> tuple[pa.Table, pa.ChunkedArray]:
    """Columns of `chunks`, and the unit of each chunk at a level (null where it has none).

    Raises:
        PcorrError: as `units_of_pages`.
    """
    own = UNIT_COLUMNS.get(level)
    wanted = list(dict.fromkeys([*columns, own or "page_id"]))
    chunks = wh.read("chunks", sample, columns=wanted)
    if own is not None:
        return chunks, chunks[own]
    return chunks, at_level(chunks["page_id"], units_of_pages(wh, sample, level))


def at_level(page_ids: pa.ChunkedArray, units: dict[str, str]) -> pa.ChunkedArray:
    """The unit of each page id, null where it has none."""
    pages = pa.array(list(units), pa.string())
    places = pc.call_function("index_in", [page_ids], pc.SetLookupOptions(pages))
    found = pa.array(list(units.values()), pa.string()).take(places.combine_chunks())
    return pa.chunked_array([found], pa.string())
