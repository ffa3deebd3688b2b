"""Every table of the warehouse: its columns, their types, units and limits.

Belongs here: the one list of the tables, from which schema files, DuckDB views, the column
metadata in Dagster, the checks and the reference in the docs are made. Does not belong here:
the columns of a table (`tables`), and reading, writing or computing anything.
"""

from __future__ import annotations

from pcorr_assets.warehouse.tables.columns import LEVELS, Column, Table
from pcorr_assets.warehouse.tables.correlation import CORRELATION_TABLES
from pcorr_assets.warehouse.tables.llms import LLM_TABLES
from pcorr_assets.warehouse.tables.selection import SELECTION_TABLES
from pcorr_assets.warehouse.tables.texts import TEXT_TABLES

__all__ = ["LEVELS", "TABLES", "Column", "Table"]

TABLES: dict[str, Table] = {
    table.name: table
    for table in (*TEXT_TABLES, *LLM_TABLES, *CORRELATION_TABLES, *SELECTION_TABLES)
}
