"""What the comparison says, as plain data: the facts of all samples and targets together.

Belongs here: the dataclasses between reading and drawing. Does not belong here: reading
tables (`reading_comparison`), pictures (`comparison_charts`) and words (the template).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pcorr_assets.report.facts import VerdictFacts
from pcorr_assets.stats.mixtures import Mixes


@dataclass(frozen=True)
class PairFacts:
    """One sample and target. `estimator` is the one that counts, in words.

    `report` is the relative link to its report, None if there is no such file; `date` the day
    on which its estimates were written.
    """

    sample: str
    target: str
    level: str
    estimator: str
    unit_count: int
    selected_count: int | None
    verdict: VerdictFacts
    report: str | None
    date: str

    @property
    def name(self) -> str:
        """As partitions are named."""
        return f"{self.sample}|{self.target}"


@dataclass(frozen=True)
class OverlapFacts:
    """Overlap of R selections.

    `names` (R) are those of samples and targets, with the estimator where it is another than the
    one that counts; `levels` (R); `shares` (R, R), NaN where two have no units in common that
    could be compared. `left_out` counts selections beyond the limit.
    """

    names: tuple[str, ...]
    levels: tuple[str, ...]
    shares: np.ndarray
    left_out: int


@dataclass(frozen=True)
class WantedUnit:
    """A unit that several targets select; `weight` is the mean over all targets of the group."""

    unit: str
    page: str | None
    link: str | None
    targets: tuple[str, ...]
    weight: float


@dataclass(frozen=True)
class WantedFacts:
    """The units of a sample and level that at least two of its `targets` select.

    `units` are the first of all `count` of them: by number of targets, then by weight.
    """

    sample: str
    level: str
    targets: tuple[str, ...]
    units: tuple[WantedUnit, ...]
    count: int


@dataclass(frozen=True)
class TradeFacts:
    """Two targets of one sample and level, and the mixes between their estimates.

    `overlap` is that of their distributions; `own` the mean estimates `(for the first, for the
    second)` of the selection for the first and of that for the second. `same_caps` is False if the
    caps of the two differ, so that the mixes are made under their mean.
    """

    sample: str
    level: str
    targets: tuple[str, str]
    estimators: tuple[str, str]
    overlap: float
    mixes: Mixes
    own: tuple[tuple[float, float], tuple[float, float]]
    same_caps: bool


@dataclass(frozen=True)
class ComparisonFacts:
    """All of it. `left_out` says which samples and targets are not in it, and why."""

    pairs: tuple[PairFacts, ...]
    overlap: OverlapFacts | None
    wanted: tuple[WantedFacts, ...]
    trades: tuple[TradeFacts, ...]
    left_out: dict[str, str] = field(default_factory=dict)
