"""Rows of `sensitivity`: the same analysis without some LLMs or benchmarks, or set otherwise.

Belongs here: which changes are tried for the targets of one sample, and laying out the
rows. Does not belong here: the analysis (`stats.sensitivity`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pcorr_assets.config import Settings
from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.combined import Parts
from pcorr_assets.progress import Progress
from pcorr_assets.stats.estimation import ESTIMATOR_NAMES
from pcorr_assets.stats.ordered import OrderedTexts, order_texts
from pcorr_assets.stats.panel import Panel, make_panel
from pcorr_assets.stats.sensitivity import Analysis, analyse, overlap, part_of, rows_without
from pcorr_assets.stats.sensitivity_words import Change, hangs_on
from pcorr_assets.stats.threads import in_threads
from pcorr_assets.stats.verdict import ValidationSettings
from pcorr_assets.steps.caps import unit_caps
from pcorr_assets.steps.combined import reweighted
from pcorr_assets.steps.error_vectors import target_error_vector, with_benchmarks
from pcorr_assets.steps.inputs import AlignedInputs, read_inputs, source_of
from pcorr_assets.steps.levels import at_coarser_level, comparable_levels, has_level, read_level
from pcorr_assets.warehouse import TABLES, Warehouse

HANGS_ON_NOTE = "hangs_on"
# Half and twice the keep ratio.
BUDGETS = (0.5, 2.0)


@dataclass(frozen=True)
class TargetSensitivity:
    """The rows of one sample and target, and in words what the verdict hangs on.

    `made_from` holds the hashes of the matrix and the error vector.
    """

    target: str
    table: pa.Table
    hangs_on: list[str]
    made_from: dict[str, str]

    @property
    def notes(self) -> dict[str, str]:
        """What stands beside the rows: `made_from`, and the words as JSON."""
        return {**self.made_from, HANGS_ON_NOTE: json.dumps(self.hangs_on)}


def sensitivity_of_targets(
    wh: Warehouse,
    settings: Settings,
    sample: str,
    targets: Iterable[str],
    failures: dict[str, PcorrError],
) -> Iterator[TargetSensitivity]:
    """Analyse some targets of one sample; its matrix is read and sorted once for all of them.

    A target that has no errors gets its reason in `failures` and costs the others nothing; an
    analysis that cannot be is a row that says why. Raises PcorrError for a missing matrix.
    """
    for inputs in read_inputs(wh, settings, sample, targets, failures):
        ordered = order_texts(inputs.X)
        for target in inputs.targets:
            try:
                yield _Target(wh, settings, inputs, target, ordered).sensitivity()
            except PcorrError as error:
                failures[target] = error


@dataclass(frozen=True)
class _Task:
    """A change that is to be analysed: on which panel, and how its selection is compared.

    `reason` says why it cannot be, once that has been found.
    """

    kind: str
    changed: str
    panel: Panel
    ordered: OrderedTexts | None
    level: str
    units: list[str]
    budget: float
    reason: str | None = None


class _Same(NamedTuple):
    """Without an LLM that is alone in its family: the analysis without the family."""

    kind: str
    changed: str
    family: str


class _Target:
    """One target: its panel as it is, and every change of it."""

    def __init__(
        self,
        wh: Warehouse,
        settings: Settings,
        inputs: AlignedInputs,
        target: str,
        ordered: OrderedTexts,
    ) -> None:
        self._wh, self._settings, self._inputs, self._target = wh, settings, inputs, target
        self._ordered = ordered
        self._selection = settings.selection_for(target)
        self._validation = ValidationSettings(**settings.validation.model_dump())
        self._units = inputs.units.to_pylist()
        tau = self._caps(inputs.level, self._units)
        # A choice in each half of each of so many analyses would take hours.
        self._panel = inputs.panel(target, tau, self._selection.estimator).settled()

    def sensitivity(self) -> TargetSensitivity:
        """All rows; one that says why where there is no analysis to compare with."""
        try:
            base = analyse(self._panel, self._validation, self._ordered, thorough=True)
        except PcorrError as error:
            row = {"kind": "none", "changed": "nothing", "level": self._inputs.level}
            said = f"There is no analysis to compare with: {error}. Add LLM families."
            return self._found([{**row, "reason": str(error)}], [said])
        start = _row(Change("none", "nothing"), base, base, self._inputs.level, 1.0)
        rows = [start]
        total = len(set(self._inputs.families)) + len(self._inputs.llms)
        with Progress(f"sensitivity of {self._target}", total=total, unit="changes") as progress:
            entries = self._inputs.X.size
            for change, found in in_threads(self._analysed, self._changes(), entries=entries):
                if isinstance(change, _Same):
                    (same,) = (row for row in rows if _names(row) == ("family", change.family))
                    rows.append({**same, "kind": change.kind, "changed": change.changed})
                else:
                    rows.append(self._compared(change, found, base))
                progress.update()
        return self._found(rows, hangs_on([_change(row) for row in rows]))

    def _found(self, rows: list[dict], words: list[str]) -> TargetSensitivity:
        shared = {"sample": self._inputs.sample, "target": self._target}
        schema = TABLES["sensitivity"].schema
        return TargetSensitivity(
            target=self._target,
            table=pa.Table.from_pylist([{**shared, **row} for row in rows], schema=schema),
            hangs_on=words,
            made_from=self._inputs.made_from[self._target],
        )

    def _analysed(
        self, change: _Task | Change | _Same
    ) -> tuple[_Task | Change | _Same, Analysis | None]:
        """A change and its analysis; where there is none, `reason` says why."""
        if not isinstance(change, _Task):
            return change, None
        try:
            return change, analyse(change.panel, self._validation, change.ordered)
        except PcorrError as error:
            return replace(change, reason=str(error)), None

    def _compared(self, change: _Task | Change, analysis: Analysis | None, base: Analysis) -> dict:
        level = self._inputs.level if isinstance(change, Change) else change.level
        found = Change(change.kind, change.changed, reason=change.reason)
        if analysis is None or isinstance(change, Change):
            return _row(found, None, base, level, None)
        own, other = base.weights, analysis.weights
        if level != self._inputs.level:
            own, other = at_coarser_level(
                self._wh,
                self._inputs.sample,
                (self._inputs.level, self._units, own),
                (level, change.units, other),
            )
        share = overlap(own, other, self._selection.keep_ratio, change.budget)
        return _row(found, analysis, base, level, share)

    def _changes(self) -> Iterator[_Task | Change | _Same]:
        """Everything that is tried; a `Change` where it cannot be."""
        family_of = dict(zip(self._inputs.llms, self._inputs.families, strict=True))
        for family in sorted(set(self._inputs.families)):
            yield self._without("family", family)
        yield from self._other_errors()
        for llm, family in sorted(family_of.items()):
            alone = self._inputs.families.count(family) == 1
            yield _Same("llm", llm, family) if alone else self._without("llm", llm)
        yield from self._other_budgets()
        yield from self._other_levels()
        for name in ESTIMATOR_NAMES:
            if name != self._panel.estimator:
                yield self._task("estimator", name, replace(self._panel, estimator=name))

    def _task(self, kind: str, changed: str, panel: Panel) -> _Task:
        """A change that keeps the matrix as it is."""
        level, budget = self._inputs.level, self._selection.keep_ratio
        return _Task(kind, changed, panel, self._ordered, level, self._units, budget)

    def _without(self, kind: str, name: str) -> _Task | Change:
        rows = rows_without(self._panel, **{kind: name})
        try:
            task = self._task(kind, name, part_of(self._panel, rows))
        except PcorrError as error:
            return Change(kind, name, reason=str(error))
        return replace(task, ordered=self._ordered.part(rows))

    def _other_errors(self) -> Iterator[_Task | Change]:
        """Without each of the benchmarks of the target, where it has several."""
        benchmarks = self._settings.benchmarks_of(self._target)
        for benchmark in benchmarks if len(benchmarks) > 1 else ():
            rest = [name for name in benchmarks if name != benchmark]
            try:
                panel = self._made(self._inputs.X, self._errors(rest), self._panel.tau)
            except PcorrError as error:
                yield Change("benchmark", benchmark, reason=str(error))
            else:
                yield self._task("benchmark", benchmark, panel)

    def _errors(self, benchmarks: list[str]) -> np.ndarray:
        """(N,) errors of the LLMs on fewer benchmarks of the target."""
        settings = with_benchmarks(self._settings, self._target, benchmarks)
        found = target_error_vector(self._wh, settings, self._target, self._inputs.llms)
        source = source_of(self._settings, self._inputs.sample)
        combination = self._inputs.combined.get(self._target)
        parts = Parts.noted(found.notes)
        if parts is not None and combination is not None:
            return reweighted(parts, source, self._inputs.llms, combination).errors
        rows = found.table.to_pylist()
        by_llm = {row["llm"]: row["error"] for row in rows if row["source"] == source}
        missing = [llm for llm in self._inputs.llms if llm not in by_llm]
        if missing:
            raise PcorrError(
                f"{len(missing)} LLM(s) have no errors on the other benchmarks now (the first is "
                f"{missing[0]}); materialise error_vector again"
            )
        return np.array([by_llm[llm] for llm in self._inputs.llms])

    def _other_budgets(self) -> Iterator[_Task]:
        for factor in BUDGETS:
            keep_ratio = self._selection.keep_ratio * factor
            if keep_ratio < 1:
                panel = replace(self._panel, tau=self._panel.tau / factor)
                task = self._task("keep_ratio", f"{keep_ratio:g}", panel)
                yield replace(task, budget=keep_ratio)

    def _other_levels(self) -> Iterator[_Task | Change]:
        """At each other level that the matrix has; a published one has no other."""
        is_text = self._settings.samples[self._inputs.sample].is_text
        for level in comparable_levels(self._inputs.level) if is_text else ():
            if level == self._inputs.level or not has_level(self._wh, self._inputs, level):
                continue
            try:
                view = read_level(self._wh, self._inputs, level)
                panel = self._made(view.X, self._panel.errors, self._caps(level, view.units))
            except PcorrError as error:
                yield Change("level", level, reason=str(error))
            else:
                task = self._task("level", level, panel)
                yield replace(task, level=level, units=view.units, ordered=None)

    def _made(self, X: np.ndarray, errors: np.ndarray, tau: np.ndarray) -> Panel:
        """The LLMs as they are, on another matrix or with other errors."""
        inputs = self._inputs
        return make_panel(
            X,
            errors,
            tau,
            llms=inputs.llms,
            families=inputs.families,
            identities=inputs.identities,
            estimator=self._panel.estimator,
        )

    def _caps(self, level: str, units: list[str]) -> np.ndarray:
        sample = self._inputs.sample
        return unit_caps(self._wh, self._settings, sample, self._selection, level, units).tau


def _row(
    change: Change, analysis: Analysis | None, base: Analysis, level: str, share: float | None
) -> dict:
    row = {"kind": change.kind, "changed": change.changed, "level": level, "overlap": share}
    if analysis is None:
        return {**row, "reason": change.reason}
    numbers = asdict(analysis)
    del numbers["weights"]
    return {**row, **numbers, "gain_change": analysis.gain - base.gain}


def _change(row: dict) -> Change:
    names = ("kind", "changed", "verdict", "overlap", "gain", "p_value", "reason")
    return Change(**{name: row[name] for name in names if name in row})


def _names(row: dict) -> tuple[str, str]:
    return row["kind"], row["changed"]
