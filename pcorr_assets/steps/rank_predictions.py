"""Rows of `rank_predictions` and `verdicts`: is the estimate to be trusted?

Belongs here: validating the targets of one sample and laying out the rows. Does not
belong here: the validation itself (`stats`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import pyarrow as pa

from pcorr_assets.config import Settings
from pcorr_assets.stats.rank_prediction import RankPredictions, predict_ranks
from pcorr_assets.stats.verdict import ValidationSettings, Verdict, judge
from pcorr_assets.steps.caps import unit_caps
from pcorr_assets.steps.inputs import read_inputs
from pcorr_assets.warehouse import TABLES, Warehouse


@dataclass(frozen=True)
class TargetValidation:
    """The held-out check of one sample and target, as rows and as objects."""

    target: str
    estimator: str
    rank_predictions: pa.Table
    verdicts: pa.Table
    predictions: RankPredictions
    verdict: Verdict


def validate_targets(
    wh: Warehouse, settings: Settings, sample: str, targets: Iterable[str]
) -> Iterator[TargetValidation]:
    """Validate some targets of one sample; its matrix is read once for all of them.

    Raises PcorrError for missing inputs, or a target whose errors are all the same.
    """
    validation = ValidationSettings(**settings.validation.model_dump())
    for inputs in read_inputs(wh, settings, sample, targets):
        units = inputs.units.to_pylist()
        for target in inputs.targets:
            selection = settings.selection_for(target)
            caps = unit_caps(wh, settings, sample, selection, inputs.level, units)
            panel = inputs.panel(target, caps.tau, selection.estimator)
            predictions = predict_ranks(panel, seed=validation.seed)
            verdict = judge(panel, predictions, validation)
            shared = {"sample": sample, "target": target}
            rows = [
                {
                    **shared,
                    "level": inputs.level,
                    "estimator": selection.estimator,
                    **row._asdict(),
                }
                for row in predictions.rows()
            ]
            yield TargetValidation(
                target=target,
                estimator=selection.estimator,
                rank_predictions=_table("rank_predictions", rows),
                verdicts=_table("verdicts", [{**shared, **asdict(verdict)}]),
                predictions=predictions,
                verdict=verdict,
            )


def _table(name: str, rows: list[dict]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=TABLES[name].schema)
