"""The same LLMs at another level of the matrix, and selections of two levels side by side.

Belongs here: reading another level for an analysis, and bringing weights to the coarser of
two levels. Does not belong here: which levels are tried (`sensitivity`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.layout import read_matrix, read_units
from pcorr_assets.matrix.units import with_units
from pcorr_assets.steps.inputs import AlignedInputs
from pcorr_assets.warehouse import Warehouse

COARSENESS = ("chunk", "page", "domain")
# A level of more units would take longer than all other changes together.
MOST_UNITS = 100_000


@dataclass(frozen=True)
class LevelView:
    """`X` (N, D) and the `units` (D) of a level, LLMs in the order of the inputs."""

    X: np.ndarray
    units: list[str]


def has_level(wh: Warehouse, inputs: AlignedInputs, level: str) -> bool:
    """Whether the matrix that the inputs are of has a level."""
    return len(read_units(wh, inputs.sample, level)) > 0


def read_level(wh: Warehouse, inputs: AlignedInputs, level: str) -> LevelView:
    """Another level of the matrix that the inputs are of.

    Raises:
        PcorrError: the matrix has no such level, or more than 100,000 units of it.
    """
    count = len(read_units(wh, inputs.sample, level))
    if count > MOST_UNITS:
        raise PcorrError(f"{count:,} units are more than the {MOST_UNITS:,} that are analysed")
    view = read_matrix(wh, inputs.sample, level)
    rows = [view.llms.index(llm) for llm in inputs.llms]
    return LevelView(view.X[rows], view.units.to_pylist())


def comparable_levels(level: str) -> tuple[str, ...]:
    """Levels whose units lie within those of `level`, or the other way round.

    Domains are not within units of `unit_columns` (topics), nor these within domains.
    """
    return COARSENESS if level in COARSENESS else ("chunk", "page")


def _coarseness(level: str) -> int:
    return COARSENESS.index(level) if level in COARSENESS else len(COARSENESS)


def at_coarser_level(
    wh: Warehouse,
    sample: str,
    first: tuple[str, list[str], np.ndarray],
    second: tuple[str, list[str], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Two selections `(level, units, weights)` of one text sample as weights of the same units.

    Those of the finer level are summed over what they belong to. A unit without a place at
    the coarser level (a page without a domain) is in nobody's selection there.
    """
    fine, coarse = sorted((first, second), key=lambda found: _coarseness(found[0]))
    _, fine_units = with_units(wh, sample, fine[0])
    _, coarse_units = with_units(wh, sample, coarse[0])
    belongs = dict(zip(fine_units.to_pylist(), coarse_units.to_pylist(), strict=True))
    place = {unit: number for number, unit in enumerate(coarse[1])}
    summed = np.zeros(len(coarse[1]))
    for unit, weight in zip(fine[1], fine[2], strict=True):
        at = place.get(belongs.get(unit) or "")
        if at is not None:
            summed[at] += weight
    return (summed, second[2]) if fine is first else (first[2], summed)
