"""Rows of `pilots`: how much a pilot's selection would change if all of its sample were scored.

Belongs here: the pages of a pilot, aligned with a target's matrix, and laying out the rows.
Does not belong here: the prediction (`stats.pilot`), and the pilot's chunks (`pilot_chunks`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

from pcorr_assets.config import Settings
from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.layout import read_matrix
from pcorr_assets.matrix.units import with_units
from pcorr_assets.stats.panel import Panel
from pcorr_assets.stats.pilot import (
    PilotPages,
    PredictedOverlap,
    page_variance,
    predict_overlaps,
)
from pcorr_assets.steps.inputs import AlignedInputs
from pcorr_assets.warehouse import TABLES, Warehouse

# The pilot suffices from this overlap on.
ENOUGH = 0.95
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PAGES_OF_PAGES = ("page", "chunk")


@dataclass(frozen=True)
class PilotStatement:
    """What a pilot leaves open for one target: the rows of `pilots`, and a sentence.

    `table` has no rows where nothing can be said, and the sentence says why.
    """

    table: pa.Table
    sentence: str


class PilotReader:
    """Pages of a pilot, read once for all targets of one matrix."""

    def __init__(self, wh: Warehouse, settings: Settings, inputs: AlignedInputs) -> None:
        """`inputs` are those of the pilot; other samples have no statement."""
        self._wh, self._inputs = wh, inputs
        self._validation = settings.validation
        self._of = settings.samples[inputs.sample].pilot_of
        self._pages: PilotPages | None = None

    def statement(self, target: str, panel: Panel) -> PilotStatement | None:
        """The statement on a target whose estimator is settled; None for no pilot."""
        if self._of is None:
            return None
        try:
            found = self._predicted(panel)
        except PcorrError as error:
            return PilotStatement(TABLES["pilots"].schema.empty_table(), f"Not said: {error}.")
        own, others = found[0], found[1:]
        shared = {"sample": self._inputs.sample, "target": target, "level": self._inputs.level}
        rows = [
            {**shared, **asdict(one), "is_pilot": one is own, "suffices": one.overlap >= ENOUGH}
            for one in sorted(found, key=lambda one: (one.share, one is not own))
        ]
        for row in rows:
            row["page_share"] = row.pop("share")
        table = pa.Table.from_pylist(rows, schema=TABLES["pilots"].schema)
        return PilotStatement(table, self._sentence(own, others))

    def _predicted(self, panel: Panel) -> list[PredictedOverlap]:
        level = self._inputs.level
        if level in PAGES_OF_PAGES:
            raise PcorrError(
                f"at level {level} the sample has other units than its pilot, not more of the same"
            )
        if self._pages is None:
            self._pages = self._read()
        validation = self._validation
        drawn = {"seed": validation.seed}
        variance = page_variance(
            self._pages, panel.errors, panel.estimator, resamples=validation.bootstrap, **drawn
        )
        estimate = panel.estimate(panel.all_rows)
        return predict_overlaps(
            self._pages, estimate, variance, panel.tau, SHARES, draws=validation.bootstrap, **drawn
        )

    def _read(self) -> PilotPages:
        sample, level = self._inputs.sample, self._inputs.level
        assert self._of is not None
        counts = _page_counts(self._wh, self._of, level)
        unit_of = _units_of_pages(self._wh, sample, level)
        matrix = read_matrix(self._wh, sample, "page")
        assert matrix.byte_count is not None
        places = {unit: place for place, unit in enumerate(self._inputs.units.to_pylist())}
        unit = np.array(
            [places.get(unit_of.get(page, ""), -1) for page in matrix.units.to_pylist()]
        )
        order = np.argsort(unit, kind="stable")
        order = order[unit[order] >= 0]
        rows = [matrix.llms.index(llm) for llm in self._inputs.llms]
        unit = unit[order]
        scored = np.bincount(unit, minlength=len(places))
        of_sample = np.array([counts.get(name, 0) for name in places])
        return PilotPages(
            X=matrix.X[rows][:, order],
            byte_count=matrix.byte_count[order],
            unit=unit,
            page_count=np.maximum(of_sample, scored),
        )

    def _sentence(self, own: PredictedOverlap, others: list[PredictedOverlap]) -> str:
        assert self._pages is not None
        pages, total = len(self._pages.unit), int(self._pages.page_count.sum())
        text = (
            f"Of the selection made from {pages:,} of {total:,} pages ({own.share:.0%}), "
            f"{own.overlap:.0%} is expected to stay if all pages were scored "
            f"({own.overlap_low:.0%} to {own.overlap_high:.0%} in 9 of 10 draws), and "
            f"{own.changed_share:.0%} of the units would be others"
        )
        if own.overlap >= ENOUGH:
            return f"{text}: the pilot suffices ({ENOUGH:.0%} or more)."
        text += f": the pilot does not suffice ({ENOUGH:.0%})."
        enough = [one for one in others if one.overlap >= ENOUGH and one.share > own.share]
        if enough:
            return f"{text} Some {enough[0].share:.0%} of the pages of each unit would."
        return f"{text} Nor would {SHARES[-1]:.0%} of the pages: score the whole sample."


def _units_of_pages(wh: Warehouse, sample: str, level: str) -> dict[str, str]:
    chunks, units = with_units(wh, sample, level, ["page_id"])
    named = zip(chunks["page_id"].to_pylist(), units.to_pylist(), strict=True)
    return {page: unit for page, unit in named if unit is not None}


def _page_counts(wh: Warehouse, sample: str, level: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for unit in _units_of_pages(wh, sample, level).values():
        counts[unit] = counts.get(unit, 0) + 1
    return counts
