"""What scoring took: a row of `scoring_runs` for each LLM and sample.

Belongs here: which figures of a run are kept, and writing them. Does not belong here: measuring
(`lm.session`), what they predict (`lm.cost`) and showing them (`report`).

They lie beside `chunk_bpb`, not in it: two runs that give the same losses give the same file,
however long they took.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pcorr_assets.warehouse import TABLES, Warehouse

# Columns that are named as the metadata of `chunk_bpb` names them.
FIGURES = (
    "device_name", "dtype", "scoring_workers", "scoring_devices", "parameter_count",
    "scored_token_count", "seconds", "tokens_per_second", "operations_per_second",
    "model_flops_utilisation", "padding_share", "seconds_waiting_for_data", "peak_memory_bytes",
)  # fmt: skip


def record_run(wh: Warehouse, llm: str, sample: str, report: Mapping[str, Any]) -> None:
    """Write the row of a run that scored something; one that found all scored leaves the last."""
    if not report["scored_token_count"]:
        return
    row = {"sample": sample, "llm": llm} | {name: report.get(name) for name in FIGURES}
    table = pa.Table.from_pylist([row], schema=TABLES["scoring_runs"].schema)
    wh.write("scoring_runs", (llm, sample), table)
