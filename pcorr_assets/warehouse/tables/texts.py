"""Tables of texts and what is cut from them.

Belongs here: their columns. Does not belong here: reading, writing or computing anything.
"""

from __future__ import annotations

import pyarrow as pa

from pcorr_assets.warehouse.tables.columns import (
    BYTE_COUNT,
    CHUNK_ID,
    SAMPLE,
    TEXT,
    Column,
    Table,
    count,
)

TEXT_TABLES = (
    Table(
        "chunks",
        "The texts: pages cut into chunks that joined give the page again.",
        ("sample",),
        ("sample", "chunk_id"),
        (
            SAMPLE,
            CHUNK_ID,
            Column("page_id", TEXT, "Id of the page in its source, such as its URL"),
            Column(
                "chunk_index", pa.int32(), "Position of the chunk in its page, from 0", minimum=0
            ),
            Column("domain", TEXT, "Domain of the page", nullable=True),
            Column("text", TEXT, "The text itself"),
            BYTE_COUNT,
            count("reference_token_count", "Tokens of the reference tokenizer", "tokens"),
        ),
    ),
    Table(
        "page_units",
        "Which unit each page belongs to, at the levels of `unit_columns` (topic, format, ...).",
        ("sample",),
        ("sample", "page_id", "level"),
        (
            SAMPLE,
            Column("page_id", TEXT, "Id of the page in its source, such as its URL"),
            Column("level", TEXT, "Name of the level in `unit_columns`"),
            Column("unit", TEXT, "Value of the column, or of several joined by ' | '"),
        ),
    ),
)
