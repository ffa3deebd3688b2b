"""Rows of `next_llms` and `learning_curves`: what more LLMs would bring, and which.

Belongs here: reading candidates, tokens and reliability, and laying out the rows. Does not
belong here: the learning curve and the order of the candidates (`stats`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import pyarrow as pa

from pcorr_assets.config import Settings
from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.errors import OWN_SOURCE
from pcorr_assets.stats.candidates import Advice, Candidate, advise
from pcorr_assets.stats.learning import CurvePoint, learning_curve, noise_share
from pcorr_assets.stats.learning_words import next_step
from pcorr_assets.stats.ordered import OrderedTexts, order_texts
from pcorr_assets.stats.panel import Panel
from pcorr_assets.stats.sensitivity import analyse
from pcorr_assets.stats.verdict import ValidationSettings
from pcorr_assets.steps.caps import unit_caps
from pcorr_assets.steps.inputs import AlignedInputs, read_inputs, source_of
from pcorr_assets.warehouse import TABLES, Warehouse

ADVICE_NOTE = "advice"


@dataclass(frozen=True)
class TargetNext:
    """The rows of one sample and target, and the advice in words.

    `made_from` holds the hashes of the matrix and the error vector.
    """

    target: str
    next_llms: pa.Table
    learning_curve: pa.Table
    advice: str
    made_from: dict[str, str]

    @property
    def notes(self) -> dict[str, str]:
        """What stands beside the rows: `made_from`, and the advice as JSON."""
        return {**self.made_from, ADVICE_NOTE: json.dumps(self.advice)}


def next_llms_of_targets(
    wh: Warehouse,
    settings: Settings,
    sample: str,
    targets: Iterable[str],
    failures: dict[str, PcorrError],
) -> Iterator[TargetNext]:
    """What more LLMs would bring to some targets of one sample; its matrix is read once.

    A target that has no errors gets its reason in `failures` and costs the others nothing; with
    fewer than 3 groups the advice says so. Raises PcorrError for a missing matrix.
    """
    for inputs in read_inputs(wh, settings, sample, targets, failures):
        ordered = order_texts(inputs.X)
        for target in inputs.targets:
            try:
                yield _of_target(wh, settings, inputs, target, ordered)
            except PcorrError as error:
                failures[target] = error


def _of_target(
    wh: Warehouse,
    settings: Settings,
    inputs: AlignedInputs,
    target: str,
    ordered: OrderedTexts,
) -> TargetNext:
    selection = settings.selection_for(target)
    validation = ValidationSettings(**settings.validation.model_dump())
    units = inputs.units.to_pylist()
    caps = unit_caps(wh, settings, inputs.sample, selection, inputs.level, units)
    panel = inputs.panel(target, caps.tau, selection.estimator).settled()
    tokens = None if caps.token_count is None else int(caps.token_count.sum())
    order: list[Advice] = []
    try:
        now = analyse(panel, validation, ordered, thorough=True)
    except PcorrError as error:
        words = f"Add LLM families, of any kind: {error}."
        curve = [_nothing(panel, words)]
    else:
        points = learning_curve(panel, validation, ordered)
        words = next_step(now, points, _noise(wh, settings, inputs, target, panel))
        curve = list(_curve(points, panel, words))
        order = advise(panel, _candidates(settings, inputs), ordered)
    shared = {"sample": inputs.sample, "target": target}
    return TargetNext(
        target=target,
        next_llms=_table("next_llms", [{**shared, **row} for row in _rows(order, tokens)]),
        learning_curve=_table("learning_curves", [{**shared, **row} for row in curve]),
        advice=words,
        made_from=inputs.made_from[target],
    )


def _candidates(settings: Settings, inputs: AlignedInputs) -> list[Candidate]:
    """The configured candidates that are not in the matrix already."""
    there = {*inputs.llms, *(name for name, _ in inputs.identities)}
    return [
        Candidate(candidate.name, candidate.family, candidate.parameters)
        for candidate in settings.candidates
        if candidate.name not in there
    ]


def _noise(
    wh: Warehouse, settings: Settings, inputs: AlignedInputs, target: str, panel: Panel
) -> float | None:
    """Noise of the errors as far as their items are known: of own evaluations."""
    own = source_of(settings, inputs.sample) == OWN_SOURCE
    if not own or not wh.exists("reliabilities", target):
        return None
    columns = ["target_reliability"]
    known = wh.read("reliabilities", target, columns=columns)[columns[0]].drop_null()
    return noise_share(panel, known[0].as_py()) if len(known) else None


def _rows(order: list[Advice], tokens: int | None) -> Iterator[dict]:
    for position, found in enumerate(order, 1):
        parameters = found.candidate.parameter_count
        yield {
            "position": position,
            "llm": found.candidate.name,
            "family": found.candidate.family,
            "is_new_family": found.new_family,
            "parameter_count": parameters,
            "cost": None if tokens is None else 2.0 * parameters * tokens,
            "width": found.width,
            "width_alone": found.width_alone,
            "width_in_order": found.width_in_order,
        }


def _curve(points: list[CurvePoint], panel: Panel, words: str) -> Iterator[dict]:
    whole = panel.text_count, len(panel.groups)
    for point in points:
        is_whole = (point.unit_count, point.group_count) == whole
        yield {**asdict(point), "advice": words if is_whole else None}


def _nothing(panel: Panel, words: str) -> dict:
    """The row of a panel that carries no analysis."""
    return {
        "unit_count": panel.text_count,
        "group_count": len(panel.groups),
        "llm_count": float(len(panel.llms)),
        "draws": 0,
        "advice": words,
    }


def _table(name: str, rows: list[dict]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=TABLES[name].schema)
