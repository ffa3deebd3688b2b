"""The warehouse: one registry of tables, atomic partition files, DuckDB views.

Belongs here: what the tables are, how a partition is written whole or not at all,
who may write it, and how DuckDB sees it. Does not belong here: computing any value.
"""

from pcorr_assets.warehouse.registry import TABLES, Column, Table
from pcorr_assets.warehouse.store import PartitionWriter, Warehouse, WrittenPartition
from pcorr_assets.warehouse.views import connect

__all__ = [
    "TABLES",
    "Column",
    "PartitionWriter",
    "Table",
    "Warehouse",
    "WrittenPartition",
    "connect",
]
