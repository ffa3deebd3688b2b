"""Rows of `estimates`: all five estimators, and how firmly units are selected.

Belongs here: estimating the targets of one sample together and laying out the rows.
Does not belong here: the estimators and the bootstrap (`stats`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from pcorr_assets.config import Settings
from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.estimation import estimate_all
from pcorr_assets.stats.inclusion import Inclusion, inclusion_probability
from pcorr_assets.stats.low_cells import (
    LowCells,
    LowErrors,
    estimate_without,
    find_low_cells,
    find_low_errors,
)
from pcorr_assets.stats.projection import linear
from pcorr_assets.stats.selection_frequency import SelectionFrequency, selection_frequency
from pcorr_assets.stats.stability import stability
from pcorr_assets.steps.caps import unit_caps
from pcorr_assets.steps.combined import Combination
from pcorr_assets.steps.inputs import AlignedInputs, read_inputs
from pcorr_assets.steps.pilots import PilotReader, PilotStatement
from pcorr_assets.warehouse import TABLES, Warehouse

FREQUENCY_NOTE = "selection_frequency"
INCLUSION_NOTE = "inclusion_probability"
PILOT_NOTE = "pilot"
CHOSEN_NOTE = "chosen_estimator"


@dataclass(frozen=True)
class TargetEstimates:
    """The estimates of one sample and target.

    `table` holds the rows by estimator, then unit in the order of the matrix. `estimate`
    (D,) and `included` (D,) are those of the selected estimator and its linear
    projection under the caps `tau` (D,); `low_cell_count` is how many cells of the matrix
    are unexpectedly low (None: it cannot be said), `low_errors` which of `llms` (N) have
    unexpectedly low errors; `chosen` is the selected estimator, the one that was chosen if that
    is `auto`; `left_out` names LLMs that have only BPB or only
    errors; `made_from` holds the hashes of the matrix and the error vector. Of a target that
    combines others there is the `combination`, and what the selection `gives` each of them; of a
    sample that is a pilot, what the `pilot` leaves open.
    """

    target: str
    table: pa.Table
    units: pa.Array
    estimate: np.ndarray
    included: np.ndarray
    tau: np.ndarray
    frequency: SelectionFrequency
    inclusion: Inclusion
    low_cell_count: int | None
    low_errors: LowErrors
    chosen: str
    llms: list[str]
    left_out: list[str]
    made_from: dict[str, str]
    combination: Combination | None = None
    gives: dict[str, float] = field(default_factory=dict)
    pilot: PilotStatement | None = None

    @property
    def notes(self) -> dict[str, str]:
        """What stands beside the rows: `made_from`, and how firm the selection is, as JSON."""
        found = self.frequency
        firmness = {
            "selected_mean": found.selected_mean,
            "chance_mean": found.chance_mean,
            "redrawn": found.redrawn,
            "reason": found.reason,
        }
        return {
            **self.made_from,
            FREQUENCY_NOTE: json.dumps(firmness),
            CHOSEN_NOTE: self.chosen,
            INCLUSION_NOTE: json.dumps({"reason": self.inclusion.reason}),
            **({} if self.pilot is None else {PILOT_NOTE: self.pilot.sentence}),
        }


def estimate_targets(
    wh: Warehouse,
    settings: Settings,
    sample: str,
    targets: Iterable[str],
    failures: dict[str, PcorrError],
) -> Iterator[TargetEstimates]:
    """Estimate some targets of one sample; its matrix is read and ranked once for all of them.

    A target that cannot be estimated gets its reason in `failures` and costs the others
    nothing. Raises PcorrError for a missing matrix.
    """
    for inputs in read_inputs(wh, settings, sample, targets, failures):
        estimates = estimate_all(inputs.X, inputs.errors, target_names=inputs.targets)
        cells = find_low_cells(inputs.X)
        pilot = PilotReader(wh, settings, inputs)
        for position, target in enumerate(inputs.targets):
            own = {name: values[:, position] for name, values in estimates.items()}
            try:
                yield _of_target(wh, settings, inputs, target, own, cells, pilot)
            except PcorrError as error:
                failures[target] = error


def _of_target(
    wh: Warehouse,
    settings: Settings,
    inputs: AlignedInputs,
    target: str,
    estimates: dict[str, np.ndarray],
    cells: LowCells,
    pilot: PilotReader,
) -> TargetEstimates:
    selection, validation = settings.selection_for(target), settings.validation
    units = inputs.units.to_pylist()
    caps = unit_caps(wh, settings, inputs.sample, selection, inputs.level, units)
    panel = inputs.panel(target, caps.tau, selection.estimator)
    fixed = panel.settled()
    chosen = fixed.estimator
    estimates = {**estimates, selection.estimator: estimates[chosen]}
    # Resamples ask how firm this selection is; what is concluded of `auto` rests on halves that
    # choose for themselves.
    frequency = selection_frequency(fixed, resamples=validation.bootstrap, seed=validation.seed)
    steadiness = stability(panel, halvings=validation.halvings, seed=validation.seed)
    inclusion = inclusion_probability(
        panel, steadiness, draws=validation.bootstrap, seed=validation.seed
    )
    estimate = estimates[selection.estimator]
    combination = inputs.combined.get(target)
    without = None
    if cells.reason is None:
        without = estimate_without(panel.X, panel.errors, cells, chosen)
    return TargetEstimates(
        target=target,
        table=pa.concat_tables(
            _rows(
                inputs,
                target,
                name,
                estimates[name],
                *(
                    (frequency.frequency, inclusion.probability, without)
                    if name == selection.estimator
                    else (None, None, None)
                ),
            )
            for name in estimates
        ),
        units=inputs.units,
        estimate=estimate,
        included=linear(estimate, caps.tau) > 0,
        tau=caps.tau,
        frequency=frequency,
        inclusion=inclusion,
        low_cell_count=None if cells.reason else cells.rows.size,
        chosen=chosen,
        low_errors=find_low_errors(panel.X.mean(axis=1), panel.errors),
        llms=inputs.llms,
        left_out=inputs.left_out[target],
        made_from=inputs.made_from[target],
        combination=combination,
        pilot=pilot.statement(target, fixed),
        gives={} if combination is None else combination.gives(inputs.X, estimate, caps.tau),
    )


def _rows(
    inputs: AlignedInputs,
    target: str,
    estimator: str,
    estimate: np.ndarray,
    frequency: np.ndarray | None,
    probability: np.ndarray | None,
    without: np.ndarray | None,
) -> pa.Table:
    size = len(estimate)
    columns = {
        "sample": pa.repeat(inputs.sample, size),
        "target": pa.repeat(target, size),
        "level": pa.repeat(inputs.level, size),
        "unit": inputs.units,
        "estimator": pa.repeat(estimator, size),
        "estimate": pa.array(estimate),
        "llm_count": pa.repeat(pa.scalar(len(inputs.llms), pa.int64()), size),
        "selection_frequency": _or_nulls(frequency, size),
        "inclusion_probability": _or_nulls(probability, size),
        "estimate_without_low_cells": _or_nulls(without, size),
    }
    schema = TABLES["estimates"].schema
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _or_nulls(values: np.ndarray | None, size: int) -> pa.Array:
    return pa.nulls(size, pa.float64()) if values is None else pa.array(values, from_pandas=True)
