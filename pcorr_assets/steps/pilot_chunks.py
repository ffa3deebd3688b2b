"""Rows of `chunks` and `page_units` of a pilot: those of some pages of its sample.

Belongs here: reading the sample's tables and writing the pilot's. Does not belong here: which
pages those are (`text.pilot`).
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.config import Settings
from pcorr_assets.errors import PcorrError
from pcorr_assets.text.chunked_dataset import chunk_ids_sha256
from pcorr_assets.text.pilot import pilot_chunks
from pcorr_assets.warehouse import Warehouse, WrittenPartition

CHUNKS_HASH = "chunks_sha256"


@dataclass(frozen=True)
class PilotChunks:
    """What was written (`units` where the sample has page units), and how much of the sample."""

    written: WrittenPartition
    units: WrittenPartition | None
    pages: int
    pages_of_sample: int
    chunks: int
    chunks_of_sample: int
    domains: int
    byte_count: int
    token_count: int
    chunks_sha256: str


def write_pilot(wh: Warehouse, settings: Settings, key: str) -> PilotChunks:
    """Write the chunks of the pilot `key`, in the order that they have in its sample.

    Raises PcorrError if the chunks of the sample are not there.
    """
    pilot = settings.samples[key]
    of = pilot.pilot_of
    assert of is not None
    assert pilot.pilot is not None
    if not wh.exists("chunks", of):
        raise PcorrError(
            f"The pilot {key!r} is a part of the sample {of!r}, which has no chunks yet. "
            f"Materialise chunked_dataset for {of}, then for {key}."
        )
    pages = wh.read("chunks", of, columns=["page_id", "domain"])
    chosen = pilot_chunks(pages, pilot.pilot, pilot.seed)
    ids: list[str] = []
    byte_count = token_count = start = 0
    with ExitStack() as stack:
        # What is entered last is written first: no chunks appear before their units.
        writer = stack.enter_context(wh.writer("chunks", (key,)))
        units = None
        if wh.exists("page_units", of) or wh.exists("page_units", key):
            units = stack.enter_context(wh.writer("page_units", (key,)))
        with wh.open("chunks", of) as file:
            if file.metadata.num_rows != len(chosen):
                raise PcorrError(
                    f"The sample {of!r} was chunked anew while its pilot was cut out of it. "
                    "Launch this again."
                )
            for batch in file.iter_batches():
                rows = pa.table(batch)
                own = rows.filter(pa.array(chosen[start : start + len(rows)]))
                start += len(rows)
                if not own.num_rows:
                    continue
                writer.write(_renamed(own, key))
                ids += own["chunk_id"].to_pylist()
                byte_count += int(own["byte_count"].to_numpy().sum())
                token_count += int(own["reference_token_count"].to_numpy().sum())
        sha256 = writer.metadata[CHUNKS_HASH] = chunk_ids_sha256(ids)
        own_pages = pages.filter(pa.array(chosen))
        if units is not None:
            if wh.exists("page_units", of):
                listed = wh.read("page_units", of)
                ids_of_pages = pc.SetLookupOptions(value_set=own_pages["page_id"].unique())
                of_pilot = pc.call_function("is_in", [listed["page_id"]], ids_of_pages)
                units.write(_renamed(listed.filter(of_pilot), key))
            units.metadata[CHUNKS_HASH] = sha256
    return PilotChunks(
        written=writer.written,
        units=None if units is None else units.written,
        pages=len(own_pages["page_id"].unique()),
        pages_of_sample=len(pages["page_id"].unique()),
        chunks=len(ids),
        chunks_of_sample=len(chosen),
        domains=len(own_pages["domain"].drop_null().unique()),
        byte_count=byte_count,
        token_count=token_count,
        chunks_sha256=sha256,
    )


def _renamed(rows: pa.Table, key: str) -> pa.Table:
    column = rows.schema.get_field_index("sample")
    return rows.set_column(column, "sample", pa.repeat(pa.scalar(key), len(rows)))
