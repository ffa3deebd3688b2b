"""Rows of `low_cells`: cells of the matrix that LLM and unit do not explain.

Belongs here: laying the cells out as rows. Does not belong here: which cells those are
(`stats.low_cells`), and what to say of them (`plausibility.matrices`).
"""

from __future__ import annotations

import pyarrow as pa

from pcorr_assets.matrix.layout import MatrixView
from pcorr_assets.stats.low_cells import LowCells
from pcorr_assets.warehouse import TABLES


def low_cell_rows(sample: str, level: str, view: MatrixView, cells: LowCells) -> pa.Table:
    """The cells (rows and columns of `view`) as rows of `low_cells`, lowest first."""
    size = cells.rows.size
    columns = {
        "sample": pa.repeat(pa.scalar(sample), size),
        "level": pa.repeat(pa.scalar(level), size),
        "unit": view.units.take(pa.array(cells.columns)),
        "llm": pa.array([view.llms[row] for row in cells.rows], pa.string()),
        "bpb": pa.array(view.X[cells.rows, cells.columns]),
        "expected_bpb": pa.array(cells.expected),
        "deviation": pa.array(cells.deviation),
    }
    schema = TABLES["low_cells"].schema
    return pa.table([columns[name] for name in schema.names], schema=schema)
