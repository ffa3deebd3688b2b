"""Rows of `sampling_distributions`: an estimate projected under the caps.

Belongs here: one target's distribution and labels. Does not belong here: the
projections (`stats`) and the caps (`caps`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.config import Settings
from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.candidates import MATRIX_HASH
from pcorr_assets.stats.projection import PROJECTIONS, linear
from pcorr_assets.steps.caps import unit_caps
from pcorr_assets.steps.inputs import level_of
from pcorr_assets.warehouse import TABLES, Warehouse


@dataclass(frozen=True)
class SamplingDistribution:
    """The rows of one sample and target, in the order of the estimates, and what to know of them.

    `boundary_unit` is the selected unit whose linear weight the budget cut below its cap,
    None if all selected units reach theirs. `probability` (D,) is the inclusion probability of
    each row; NULL where the estimates have none.
    """

    table: pa.Table
    included_count: int
    boundary_unit: str | None
    origin: str
    probability: pa.ChunkedArray


def sampling_distribution(
    wh: Warehouse, settings: Settings, sample: str, target: str
) -> SamplingDistribution:
    """Project the selected estimator's estimates of one target under its caps.

    The weights are those of the configured projection; `included` always says which units
    the linear projection selects. Raises PcorrError for missing or outdated estimates.
    """
    selection = settings.selection_for(target)
    level = level_of(settings, sample, target)
    rows = wh.read("estimates", sample, target)
    chosen = rows.filter(pc.field("estimator") == selection.estimator)
    if chosen.num_rows == 0 or chosen["level"][0].as_py() != level:
        raise PcorrError(
            f"estimates of {sample}|{target} are not at level {level} with estimator "
            f"{selection.estimator}, as the configuration now says. Materialise estimate again."
        )
    units = chosen["unit"].to_pylist()
    noted = wh.metadata("estimates", sample, target).get(MATRIX_HASH)
    if noted != wh.metadata("matrix_coverage", sample).get(MATRIX_HASH):
        raise PcorrError(
            f"estimates of {sample}|{target} were made from another matrix than the present one. "
            "Materialise estimate again."
        )
    estimate = chosen["estimate"].to_numpy()
    caps = unit_caps(wh, settings, sample, selection, level, units)
    labels = linear(estimate, caps.tau)
    weight = PROJECTIONS[selection.projection](estimate, caps.tau)
    cut = np.flatnonzero((labels > 0) & (labels < caps.tau))
    size = len(units)
    columns = {
        "sample": pa.repeat(sample, size),
        "target": pa.repeat(target, size),
        "level": pa.repeat(level, size),
        "unit": chosen["unit"],
        "token_count": pa.nulls(size, pa.int64())
        if caps.token_count is None
        else pa.array(caps.token_count),
        "tau": pa.array(caps.tau),
        "weight": pa.array(weight),
        "included": pa.array(labels > 0),
    }
    schema = TABLES["sampling_distributions"].schema
    return SamplingDistribution(
        table=pa.table([columns[name] for name in schema.names], schema=schema),
        included_count=int((labels > 0).sum()),
        boundary_unit=units[cut[0]] if len(cut) else None,
        origin=caps.origin,
        probability=chosen["inclusion_probability"],
    )
