"""A few texts of a few units, out of a table of chunks of any size.

Belongs here: choosing and reading example chunks with bounded memory. Does not belong
here: which units are worth an example.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.matrix.units import at_level, units_of_pages
from pcorr_assets.report.wording import MAX_SNIPPET, shown
from pcorr_assets.text.token_counts import UNIT_COLUMNS
from pcorr_assets.warehouse import Warehouse

PER_UNIT = 2


def read_snippets(
    wh: Warehouse, sample: str, level: str, units: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """For each unit the beginnings of up to two of its pages (of a chunk: itself), shortened.

    Of many pages those whose chunk id, a hash, sorts first: the same ones each time, and no
    kind of page is preferred. Texts are read only from row groups that hold a chosen chunk.
    """
    chosen: dict[str, list[tuple[str, int, int]]] = {}
    column = UNIT_COLUMNS.get(level, "page_id")
    pages = {} if level in UNIT_COLUMNS else units_of_pages(wh, sample, level)
    with wh.open("chunks", sample) as file:
        wanted = pa.array(sorted(units), pa.string())
        for group in range(file.metadata.num_row_groups):
            names = list(dict.fromkeys(["chunk_id", "chunk_index", column]))
            rows = file.read_row_group(group, columns=names)
            own = rows[column] if level in UNIT_COLUMNS else at_level(rows[column], pages)
            mask = pc.call_function("is_in", [own], pc.SetLookupOptions(wanted))
            found = np.asarray(mask.combine_chunks().to_numpy(zero_copy_only=False), dtype=bool)
            if level != "chunk":
                found &= rows["chunk_index"].to_numpy() == 0
            for row in np.flatnonzero(found):
                unit = own[row].as_py()
                candidate = (rows["chunk_id"][row].as_py(), group, int(row))
                kept = chosen.setdefault(unit, [])
                kept.append(candidate)
                kept.sort()
                del kept[PER_UNIT:]
        by_group: dict[int, list[int]] = {}
        for _, group, row in (place for places in chosen.values() for place in places):
            by_group.setdefault(group, []).append(row)
        texts: dict[tuple[int, int], str] = {}
        for group, places in sorted(by_group.items()):
            column_of_texts = file.read_row_group(group, columns=["text"])["text"]
            texts |= {
                (group, row): shown(column_of_texts[row].as_py(), MAX_SNIPPET) for row in places
            }
    return {
        unit: tuple(texts[group, row] for _, group, row in places)
        for unit, places in chosen.items()
    }


def pages_of_chunks(wh: Warehouse, sample: str, chunk_ids: Collection[str]) -> dict[str, str]:
    """The page id of each of these chunks."""
    rows = wh.read("chunks", sample, columns=["chunk_id", "page_id"])
    wanted = pc.SetLookupOptions(pa.array(sorted(chunk_ids), pa.string()))
    kept = rows.filter(pc.call_function("is_in", [rows["chunk_id"]], wanted))
    return dict(zip(kept["chunk_id"].to_pylist(), kept["page_id"].to_pylist(), strict=True))
