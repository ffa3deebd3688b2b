"""What a person sees of a materialisation in the UI.

Belongs here: turning tables, pictures and reports into Dagster metadata. Does not
belong here: choosing what is worth showing of one asset (see the assets themselves).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa

from pcorr_assets.report.overviews import Overview
from pcorr_assets.report.plots import png
from pcorr_assets.warehouse import TABLES, Table, WrittenPartition

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A megabyte of metadata freezes the UI; this leaves room for several pictures.
MAX_PICTURE_BYTES = 150_000
MAX_LINES = 40


def column_schema(table: Table) -> dg.TableSchema:
    """The table's columns with descriptions, units and constraints, from the registry."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=str(column.type),
                description=f"{column.description} [{column.unit}]"
                if column.unit
                else column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in table.columns
        ],
        constraints=dg.TableConstraints(other=[f"unique: {', '.join(table.unique_key)}"]),
    )


def definition_metadata(tables: Sequence[str]) -> dict[str, Any]:
    """Metadata of an asset itself: the schema of its (first) table, and the names of all.

    An asset that writes no table has none.
    """
    if not tables:
        return {}
    return {
        "dagster/column_schema": column_schema(TABLES[tables[0]]),
        "dagster/table_name": tables[0],
        "tables": ", ".join(tables),
    }


def written_metadata(written: Sequence[tuple[str, Any, WrittenPartition]]) -> dict[str, Any]:
    """Rows, bytes, hash and place of what a run wrote, as `(table, keys, partition)`.

    The first is the asset's own table, of which everything is said; of the others the rows.
    """
    (_, _, first), *others = written
    also = {f"rows of {table}": other.row_count for table, _, other in others}
    return {
        "dagster/row_count": first.row_count,
        "bytes": first.byte_count,
        "sha256": first.sha256,
        "path": dg.MetadataValue.path(str(first.path)),
        **also,
    }


def rows_table(rows: pa.Table, columns: Sequence[str]) -> dg.TableMetadataValue:
    """A few rows as a table; only for small tables."""
    records = [
        dg.TableRecord({name: _shown(row[name]) for name in columns})
        for row in rows.select(columns).to_pylist()
    ]
    return dg.MetadataValue.table(
        records, schema=dg.TableSchema([dg.TableColumn(name) for name in columns])
    )


def _shown(value: Any) -> str | float | int | bool:
    if value is None:
        return ""
    return round(value, 6) if isinstance(value, float) else value


def picture(figure: Figure, alt: str) -> dg.MarkdownMetadataValue:
    """A picture inline, or a sentence in its place if it is too large for the UI."""
    content = png(figure)
    if len(content) > MAX_PICTURE_BYTES:
        return dg.MetadataValue.md(
            f"{alt}: the picture has {len(content):,} bytes, too many to show."
        )
    encoded = base64.b64encode(content).decode()
    return dg.MetadataValue.md(f"![{alt}](data:image/png;base64,{encoded})")


def overview(found: Overview) -> dict[str, Any]:
    """The small tables and pictures of a partition."""
    tables = {title: rows_table(table, table.schema.names) for title, table in found.tables.items()}
    return {**tables, **{title: picture(figure, title) for title, figure in found.pictures.items()}}


def sentences(lines: Sequence[str]) -> dg.MarkdownMetadataValue:
    """A report as a list; a long one is cut, and says by how much."""
    shown = [f"- {line}" for line in lines[:MAX_LINES]]
    if len(lines) > MAX_LINES:
        shown.append(f"- ... and {len(lines) - MAX_LINES:,} more (see the log of the run)")
    return dg.MetadataValue.md("\n".join(shown) or "Nothing to report.")


def numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata without the entries that are None."""
    return {name: value for name, value in values.items() if value is not None}
