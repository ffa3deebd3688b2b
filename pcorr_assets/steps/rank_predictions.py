"""Rows of `rank_predictions` and `verdicts`: is the estimate to be trusted?

Belongs here: validating the targets of one sample and laying out the rows. Does not
belong here: the validation itself (`stats`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import pyarrow as pa

from pcorr_assets.config import Settings
from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.rank_prediction import RankPredictions, predict_ranks
from pcorr_assets.stats.verdict import ValidationSettings, Verdict, judge
from pcorr_assets.steps.caps import unit_caps
from pcorr_assets.steps.inputs import AlignedInputs, read_inputs
from pcorr_assets.warehouse import TABLES, Warehouse

IMPOSSIBLE_NOTE = "schemes_not_computed"


@dataclass(frozen=True)
class TargetValidation:
    """The held-out check of one sample and target, as rows and as objects.

    `made_from` holds the hashes of the matrix and the error vector.
    """

    target: str
    estimator: str
    rank_predictions: pa.Table
    verdicts: pa.Table
    predictions: RankPredictions
    verdict: Verdict
    made_from: dict[str, str]

    @property
    def notes(self) -> dict[str, str]:
        """What stands beside the rows: `made_from`, and why a scheme is not there, as JSON."""
        return {**self.made_from, IMPOSSIBLE_NOTE: json.dumps(self.predictions.impossible)}


def validate_targets(
    wh: Warehouse,
    settings: Settings,
    sample: str,
    targets: Iterable[str],
    failures: dict[str, PcorrError],
) -> Iterator[TargetValidation]:
    """Validate some targets of one sample; its matrix is read once for all of them.

    A target that cannot be validated gets its reason in `failures` and costs the others
    nothing. Raises PcorrError for a missing matrix.
    """
    for inputs in read_inputs(wh, settings, sample, targets, failures):
        for target in inputs.targets:
            try:
                yield _of_target(wh, settings, inputs, target)
            except PcorrError as error:
                failures[target] = error


def _of_target(
    wh: Warehouse, settings: Settings, inputs: AlignedInputs, target: str
) -> TargetValidation:
    selection = settings.selection_for(target)
    validation = ValidationSettings(**settings.validation.model_dump())
    units = inputs.units.to_pylist()
    caps = unit_caps(wh, settings, inputs.sample, selection, inputs.level, units)
    panel = inputs.panel(target, caps.tau, selection.estimator)
    predictions = predict_ranks(panel, seed=validation.seed)
    verdict = judge(panel, predictions, validation)
    shared = {"sample": inputs.sample, "target": target}
    rows = [
        {**shared, "level": inputs.level, "estimator": selection.estimator, **row._asdict()}
        for row in predictions.rows()
    ]
    return TargetValidation(
        target=target,
        estimator=selection.estimator,
        rank_predictions=_table("rank_predictions", rows),
        verdicts=_table("verdicts", [{**shared, **asdict(verdict)}]),
        predictions=predictions,
        verdict=verdict,
        made_from=inputs.made_from[target],
    )


def _table(name: str, rows: list[dict]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=TABLES[name].schema)
