"""What a column and a table are, and the columns that several tables share.

Belongs here: the types, and every column that means the same in several tables. Does not
belong here: a table (the other modules of this folder), or anything that reads one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

TEXT = pa.string()
COUNT = pa.int64()
NUMBER = pa.float64()
FLAG = pa.bool_()
BINARY = pa.binary()

LEVELS = ("chunk", "page", "domain")


@dataclass(frozen=True)
class Column:
    """One column: what it means, and which values it may hold.

    `unit` is empty for names and flags. `minimum` and `maximum` are inclusive and
    do not concern NULL and NaN, which `nullable` and `nan_allowed` rule.
    """

    name: str
    type: pa.DataType
    description: str
    unit: str = ""
    nullable: bool = False
    nan_allowed: bool = False
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class Table:
    """One table: one Parquet file for each partition, rows unique by `unique_key`.

    `partition_keys` name what a partition is found by, in the order of its path (that of the
    dimension names in Dagster): columns, but for `pool_group`, which `pool_scores` has not.
    `when_damaged` says what to do about a damaged file, where that is not to make it again.
    """

    name: str
    description: str
    partition_keys: tuple[str, ...]
    unique_key: tuple[str, ...]
    columns: tuple[Column, ...]
    when_damaged: str = ""

    @cached_property
    def schema(self) -> pa.Schema:
        """Arrow schema with the nullability of each column."""
        return pa.schema([pa.field(c.name, c.type, nullable=c.nullable) for c in self.columns])

    def column(self, name: str) -> Column:
        """The column of that name; KeyError if there is none."""
        return {column.name: column for column in self.columns}[name]


# Columns that stand in several tables mean the same in each of them.
SAMPLE = Column("sample", TEXT, "Key of the text sample, or of the imported matrix")
LLM = Column("llm", TEXT, "Key of the LLM: org/name, org/name@revision, or a local key")
TARGET = Column("target", TEXT, "Key of the target: one benchmark or several taken together")
POOL = Column("pool", TEXT, "Key of the pool of documents to select from")
LEVEL = Column("level", TEXT, "What a unit is: chunk, page, domain or a level of unit_columns")
UNIT = Column("unit", TEXT, "The chunk_id, page_id, domain or other unit that the row is about")
CHUNK_ID = Column(
    "chunk_id", TEXT, "Identity of the chunk: a hash of its page id, its index and its text"
)
SOURCE = Column(
    "source", TEXT, "Where the numbers come from: lm_eval, or the sample that imported them"
)
FAMILY = Column("family", TEXT, "Family of the LLM; LLMs of one family are not independent")
BPB = Column("bpb", NUMBER, "Loss of the LLM on the text", "bits per UTF-8 byte", minimum=0)
BYTE_COUNT = Column("byte_count", COUNT, "Length of the text in UTF-8", "bytes", minimum=0)
COMMIT = Column(
    "commit_sha",
    TEXT,
    "Commit of the LLM on the hub, or the content hash of its local folder",
    nullable=True,
)
DTYPE = Column("dtype", TEXT, "Floating-point type the LLM ran in", nullable=True)
RHO = "rank correlation"


def share(name: str, description: str, *, nullable: bool = True) -> Column:
    return Column(name, NUMBER, description, "share", nullable=nullable, minimum=0, maximum=1)


def optional(name: str, description: str, unit: str = "") -> Column:
    return Column(name, NUMBER, description, unit, nullable=True)


def count(name: str, description: str, unit: str = "", *, nullable: bool = False) -> Column:
    return Column(name, COUNT, description, unit, nullable=nullable, minimum=0)
