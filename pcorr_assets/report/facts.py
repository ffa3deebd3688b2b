"""What a report says, as plain data: the facts of one sample and target.

Belongs here: the dataclasses between reading and drawing. Does not belong here: reading
tables (`reading`), pictures (`charts`, `heat_map`) and words around them (the template).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pcorr_assets.report.clean_facts import CleanFacts
from pcorr_assets.report.method_facts import ComparedFacts

CANNOT_BE_VALIDATED = "cannot be validated"
NOT_VALIDATED = "not validated yet"


@dataclass(frozen=True)
class VerdictFacts:
    """The row of `verdicts`, with `state` in words.

    `state` is go, caution, no-go, "cannot be validated" (the held-out check is impossible)
    or "not validated yet" (there is no row). `largest_p` and
    `groups_needed` are the thresholds that it was held against, `go_stability` the mark for
    stability, which does not decide.
    """

    state: str
    reason: str
    delta: float | None
    delta_low: float | None
    delta_high: float | None
    stability: float | None
    permutation_p: float | None
    rank_correlation: float | None
    rank_r2: float | None
    mean_bpb_correlation: float | None
    llm_count: int
    group_count: int | None
    p_value: float | None
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    gain_needed: float | None
    gain_mean_bpb: float | None
    gain_strongest_llm: float | None
    random_texts: float | None
    go_stability: float
    largest_p: float
    groups_needed: int


@dataclass(frozen=True)
class UnitFacts:
    """One unit, `position` 1 being the highest estimate. `link` is safe to follow, or None."""

    position: int
    unit: str
    page: str | None
    link: str | None
    estimate: float
    frequency: float | None
    probability: float | None
    token_count: int | None
    tau: float | None
    weight: float | None
    included: bool | None
    snippets: tuple[str, ...] = ()


@dataclass(frozen=True)
class EstimateFacts:
    """All estimates of a level, in descending order.

    `values` (D,), `included` (D,) or None without a distribution, `frequency` (D,) or None,
    `permuted` (P, D') by chance. `shown` are the units of the table, a part of D.
    `top` and `bottom` are those with snippets. `pilot` says of a pilot what it leaves open.
    """

    values: np.ndarray
    included: np.ndarray | None
    frequency: np.ndarray | None
    frequency_mean: float | None
    frequency_chance: float | None
    frequency_reason: str | None
    permuted: np.ndarray
    shown: tuple[UnitFacts, ...]
    top: tuple[UnitFacts, ...]
    bottom: tuple[UnitFacts, ...]
    pilot: str | None = None

    @property
    def count(self) -> int:
        """How many units there are."""
        return len(self.values)

    @property
    def selected_count(self) -> int | None:
        """How many units the linear projection selects."""
        return None if self.included is None else int(self.included.sum())


@dataclass(frozen=True)
class DistributionFacts:
    """The head of the sampling distribution: its heaviest units, heaviest first."""

    projection: str
    keep_ratio: float
    counted: str
    heaviest: tuple[UnitFacts, ...]
    positive_count: int
    head_weight: float
    boundary: str | None


@dataclass(frozen=True)
class RankPoint:
    """One LLM in a held-out check; ranks from 1, the best."""

    llm: str
    family: str
    fold: str
    error: float
    predicted: float
    actual: float


@dataclass(frozen=True)
class RankPanel:
    """The held-out ranks of one scheme and predictor."""

    scheme: str
    predictor: str
    correlation: float
    points: tuple[RankPoint, ...]


@dataclass(frozen=True)
class LLMFacts:
    """One LLM: is it in the matrix, has it an error, which commit was it."""

    llm: str
    link: str | None
    family: str | None
    included: bool
    used: bool
    note: str | None
    chunk_count: int | None
    nan_count: int | None
    error: float | None
    name: str | None
    revision: str | None
    commit: str | None
    dtype: str | None
    parameter_count: int | None


@dataclass(frozen=True)
class ScoringFacts:
    """What scoring one LLM on the sample took: its row of `scoring_runs`.

    `operations_per_second` and `utilisation` are of one device; seconds are of the clock.
    """

    llm: str
    device: str
    processes: int
    devices: int
    token_count: int
    seconds: float
    tokens_per_second: float
    operations_per_second: float
    utilisation: float | None
    padding_share: float
    seconds_waiting_for_data: float | None

    @property
    def device_hours(self) -> float:
        """Hours of all devices together."""
        return self.devices * self.seconds / 3600

    @property
    def waiting_share(self) -> float | None:
        """Share of the time of all processes in which they waited for data."""
        if self.seconds_waiting_for_data is None or not self.seconds:
            return None
        return self.seconds_waiting_for_data / (self.processes * self.seconds)


@dataclass(frozen=True)
class MatrixFacts:
    """The matrix that the estimates rest on, columns in descending order of estimate.

    `bpb` (N, C) holds the C units at `columns` of the D; rows are `llms`, of `families`.
    """

    bpb: np.ndarray
    columns: np.ndarray
    llms: tuple[str, ...]
    families: tuple[str, ...]
    errors: np.ndarray
    unit_count: int


@dataclass(frozen=True)
class Term:
    """A word of the filter and the pages (of its sample) it stands in."""

    text: str
    page_count: int


@dataclass(frozen=True)
class FilterFacts:
    """The row of `fasttext_filters` and what its writer noted beside it."""

    row: dict[str, float | int | str | None]
    beats_random: bool | None
    grouped_by: str
    terms: dict[str, tuple[Term, ...]]
    languages: dict[str, dict[str, float]] | None
    notes: tuple[str, ...]

    def number(self, name: str) -> float | None:
        """A metric or count of the row; None where it is undefined."""
        value = self.row[name]
        return None if value is None else float(value)


@dataclass(frozen=True)
class TableFile:
    """One Parquet file that the report was made from; `date` is the day it was written (UTC)."""

    table: str
    partition: str
    rows: int
    bytes: int
    date: str
    sha256: str


@dataclass(frozen=True)
class BenchmarkFacts:
    """How one benchmark of the target was evaluated, over the LLMs used.

    `reliability` is that of the metric over items, `reliability_of_others` that of the other
    metrics of the same evaluations, in words.
    """

    benchmark: str
    metric: str
    llm_count: int
    num_fewshot: str
    items: str
    lm_eval: str
    lowest: float
    highest: float
    reliability: float | None = None
    reliability_of_others: str = ""
    task_version: str = ""


@dataclass(frozen=True)
class Provenance:
    """Where everything comes from: `settings` by heading, `versions` by package.

    `reliability` is that of the target's error; None where it is not known.
    """

    settings: dict[str, dict[str, str]]
    versions: dict[str, str]
    tables: tuple[TableFile, ...]
    benchmarks: tuple[BenchmarkFacts, ...]
    reliability: float | None = None

    @property
    def date(self) -> str:
        """The day the newest of the tables was written."""
        return max(table.date for table in self.tables)


@dataclass(frozen=True)
class ChangeFacts:
    """The analysis without something, or set otherwise; numbers are None where there is none.

    `matters`: another verdict, or less than half of the selection left. `change` is the
    beginning of a sentence.
    """

    kind: str
    changed: str
    change: str
    matters: bool
    verdict: str | None
    overlap: float | None
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    p_value: float | None
    reason: str | None


@dataclass(frozen=True)
class SensitivityFacts:
    """What the verdict hangs on: in sentences, and every change, that of nothing first."""

    hangs_on: tuple[str, ...]
    changes: tuple[ChangeFacts, ...]


@dataclass(frozen=True)
class CurvePointFacts:
    """The evidence on subsets of so many groups and units."""

    unit_count: int
    group_count: int
    llm_count: float
    gain: float | None
    power: float | None
    strength: float | None


@dataclass(frozen=True)
class CandidateFacts:
    """An LLM that might be added, at its place of the order."""

    position: int
    llm: str
    family: str
    is_new_family: bool
    parameter_count: int
    cost: float | None
    width: float
    width_in_order: float


@dataclass(frozen=True)
class NextFacts:
    """What more LLMs would bring: in a sentence, as a curve, and which to add first."""

    advice: str
    curve: tuple[CurvePointFacts, ...]
    candidates: tuple[CandidateFacts, ...]


@dataclass(frozen=True)
class Facts:
    """All that the report of one sample and target says.

    `filter_absence` says why there is no filter, `sensitivity_absence` and `next_absence` why
    there is nothing on what would change the verdict and on what to do next. `distribution`
    is None where there is none yet, `left_out` names LLMs with only BPB or only errors.
    """

    sample: str
    target: str
    level: str
    estimator: str
    seed: int
    imported: bool
    verdict: VerdictFacts
    estimates: EstimateFacts
    distribution: DistributionFacts | None
    ranks: tuple[RankPanel, ...]
    ranks_absence: tuple[str, ...]
    llms: tuple[LLMFacts, ...]
    scoring: tuple[ScoringFacts, ...]
    left_out: tuple[str, ...]
    matrix: MatrixFacts
    filter: FilterFacts | None
    filter_absence: str | None
    sensitivity: SensitivityFacts | None
    sensitivity_absence: str | None
    next: NextFacts | None
    next_absence: str | None
    clean: CleanFacts
    provenance: Provenance
    compared: tuple[ComparedFacts, ...] = ()
