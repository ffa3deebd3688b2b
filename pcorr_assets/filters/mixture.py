"""The sampling distribution as a mixture table that data loaders read.

Belongs here: units and weights as Parquet and YAML. Does not belong here: computing them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import yaml

from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse.files import atomic_path, write_text
from pcorr_assets.warehouse.parquet_files import write_parquet


@dataclass(frozen=True)
class MixtureFiles:
    """The two files, and how many units have a weight above 0."""

    parquet: Path
    yaml: Path
    unit_count: int


def export_mixture(
    distribution: pa.Table, folder: Path, probability: pa.ChunkedArray | None = None
) -> MixtureFiles:
    """Write one partition of `sampling_distributions` as a mixture.

    `mixture.parquet` has the columns `unit`, `weight` (they sum to 1), `tau`, `token_count`
    and `inclusion_probability`; `mixture.yaml` maps unit -> weight. Both hold the units with a
    weight above 0, the largest weight first, ties by unit.

    Args:
        distribution: the rows.
        folder: where the files go.
        probability: of each row, that the unit belongs above the budget line; None: unknown.

    Raises:
        PcorrError: no unit has a weight.
    """
    if probability is None:
        probability = pa.chunked_array([pa.nulls(distribution.num_rows, pa.float64())])
    rows = distribution.select(["unit", "weight", "tau", "token_count"])
    rows = rows.append_column("inclusion_probability", probability)
    kept = rows.to_pylist()
    kept = [row for row in kept if row["weight"] is not None and row["weight"] > 0]
    if not kept:
        raise PcorrError(
            "the sampling distribution has no unit with a weight above 0, so there is no mixture: "
            "materialise sampling_distribution first"
        )
    kept.sort(key=lambda row: (-row["weight"], row["unit"]))
    files = MixtureFiles(folder / "mixture.parquet", folder / "mixture.yaml", len(kept))
    with atomic_path(files.parquet) as temporary:
        write_parquet(temporary, pa.Table.from_pylist(kept, schema=rows.schema))
    weights = {row["unit"]: row["weight"] for row in kept}
    text = yaml.safe_dump(weights, allow_unicode=True, sort_keys=False)
    write_text(files.yaml, text)
    return files
