"""What would change a verdict, and what to do next, as facts.

Belongs here: the tables `sensitivity`, `next_llms` and `learning_curves` of one sample and
target, where they belong to its matrix and errors. Does not belong here: everything else
that a report reads (`reading`).
"""

from __future__ import annotations

import json

from pcorr_assets.report import facts as f
from pcorr_assets.stats.sensitivity_words import KINDS, Change, matters
from pcorr_assets.steps.inputs import AlignedInputs
from pcorr_assets.steps.sensitivity import HANGS_ON_NOTE
from pcorr_assets.warehouse import Warehouse


def read_sensitivity(
    wh: Warehouse, inputs: AlignedInputs, target: str
) -> tuple[f.SensitivityFacts | None, str | None]:
    """Every change and what it comes to; or None and why there is nothing."""
    if absence := _absence(wh, inputs, target, "sensitivity", "sensitivity"):
        return None, absence
    rows = wh.read("sensitivity", inputs.sample, target).to_pylist()
    rows.sort(key=lambda row: KINDS.index(row["kind"]))
    names = ("kind", "changed", "verdict", "overlap", "gain", "p_value", "reason")
    changes = [Change(**{name: row[name] for name in names}) for row in rows]
    found = tuple(
        f.ChangeFacts(
            kind=change.kind,
            changed=change.changed,
            change=change.words,
            matters=matters(change, changes[0]),
            verdict=change.verdict,
            overlap=change.overlap,
            gain=change.gain,
            gain_low=row["gain_low"],
            gain_high=row["gain_high"],
            p_value=change.p_value,
            reason=change.reason,
        )
        for row, change in zip(rows, changes, strict=True)
    )
    noted = wh.metadata("sensitivity", inputs.sample, target).get(HANGS_ON_NOTE, "[]")
    return f.SensitivityFacts(tuple(json.loads(noted)), found), None


def read_next(
    wh: Warehouse, inputs: AlignedInputs, target: str
) -> tuple[f.NextFacts | None, str | None]:
    """The learning curve and the candidates; or None and why there is nothing."""
    for table in ("next_llms", "learning_curves"):
        if absence := _absence(wh, inputs, target, table, "next_llms"):
            return None, absence
    points = wh.read("learning_curves", inputs.sample, target).to_pylist()
    names = ("unit_count", "group_count", "llm_count", "gain", "power", "strength")
    candidates = wh.read("next_llms", inputs.sample, target).to_pylist()
    shown = (
        "position", "llm", "family", "is_new_family", "parameter_count", "cost", "width",
        "width_in_order",
    )  # fmt: skip
    return f.NextFacts(
        advice=next((point["advice"] for point in points if point["advice"]), ""),
        curve=tuple(f.CurvePointFacts(**{name: p[name] for name in names}) for p in points),
        candidates=tuple(f.CandidateFacts(**{name: c[name] for name in shown}) for c in candidates),
    ), None


def _absence(
    wh: Warehouse, inputs: AlignedInputs, target: str, table: str, asset: str
) -> str | None:
    """Why a table is not shown: it is not there, or of another matrix or error vector."""
    if not wh.exists(table, inputs.sample, target):
        return f"{asset} has not been materialised."
    noted = wh.metadata(table, inputs.sample, target)
    if any(noted.get(key) != value for key, value in inputs.made_from[target].items()):
        return (
            f"{asset} was materialised from another matrix or error vector than the present ones. "
            "Materialise it again, then report."
        )
    return None
