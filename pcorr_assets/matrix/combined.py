"""The error vector of a target that combines other targets.

Belongs here: putting the errors of several targets on one scale and weighing them. Does not
belong here: errors of one target (`errors`), and which weights a worst case has
(`stats.worst_case`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.errors import ErrorVector
from pcorr_assets.matrix.wording import name_some
from pcorr_assets.stats.ranks import centred_ranks
from pcorr_assets.warehouse import TABLES

if TYPE_CHECKING:
    from pcorr_assets.config import Target

PARTS_NOTE = "combined_targets"
# Sums that are equal but for rounding are ties.
_DECIMALS = 12


@dataclass(frozen=True)
class Parts:
    """The targets that one target combines, and the errors of LLMs on each of them.

    `weights` (T) sum to 1; under `worst_case` they are where the search for others starts.
    `errors[source][llm]` are the T errors of an LLM, in the order of `weights`.
    """

    weights: dict[str, float]
    worst_case: bool
    errors: dict[str, dict[str, list[float]]]

    def note(self) -> str:
        """The parts as JSON, to stand beside the rows of `error_vectors`."""
        return json.dumps(
            {"weights": self.weights, "worst_case": self.worst_case, "errors": self.errors}
        )

    @staticmethod
    def noted(notes: Mapping[str, str]) -> Parts | None:
        """What `note` wrote; None for a target that combines no others."""
        return Parts(**json.loads(notes[PARTS_NOTE])) if PARTS_NOTE in notes else None

    def of(self, source: str, llms: Sequence[str]) -> np.ndarray:
        """(N, T) errors of some LLMs; PcorrError for one without."""
        own = self.errors.get(source, {})
        if missing := [llm for llm in llms if llm not in own]:
            raise PcorrError(
                f"{name_some(missing)} ({source}) has no errors on {name_some(self.weights)} now; "
                "materialise error_vector again"
            )
        return np.array([own[llm] for llm in llms])


def standardised_ranks(errors: np.ndarray) -> np.ndarray:
    """Average ranks within each column of `errors` (N, T), with mean 0 and variance 1.

    The Pearson correlation of anything with a weighted mean of such columns is, up to one
    positive factor, the weighted mean of its correlations with each. A constant column is 0.
    """
    ranks = centred_ranks(errors.T).T.astype(np.float64)
    spread = np.sqrt(np.mean(ranks**2, axis=0))
    return ranks / np.where(spread > 0, spread, 1)


def weighted_errors(errors: np.ndarray, weights: Sequence[float] | np.ndarray) -> np.ndarray:
    """(N,) weighted mean of the standardised ranks of `errors` (N, T); `weights` (T,)."""
    return np.round(standardised_ranks(errors) @ np.asarray(weights), _DECIMALS)


def combine_vectors(
    target_key: str, target: Target, vectors: Mapping[str, ErrorVector]
) -> ErrorVector:
    """The error vector of a target from those (`vectors`) of the targets it combines.

    The error of an LLM is the weighted mean of its ranks on each target, standardised among
    the LLMs of its source that have errors on all of them. The notes hold the parts (`Parts`).

    Raises PcorrError if no LLM has an error on each of the targets.
    """
    weights = target.target_weights
    rows: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for part in weights:
        for row in vectors[part].table.to_pylist():
            rows.setdefault((row["source"], row["llm"]), {})[part] = row
    left_out: dict[str, dict[str, str]] = {}
    for part in weights:
        for source, reasons in vectors[part].left_out.items():
            left_out.setdefault(source, {}).update(
                {llm: f"{part}: {reason}" for llm, reason in reasons.items()}
            )
    for (source, llm), found in rows.items():
        if missing := [part for part in weights if part not in found]:
            left_out.setdefault(source, {}).setdefault(
                llm, f"it has no error on target {name_some(missing)}"
            )
    complete = {place: found for place, found in sorted(rows.items()) if len(found) == len(weights)}
    report = [
        f"{llm} ({source}) is left out of target {target_key}: {reason}."
        for source, reasons in sorted(left_out.items())
        for llm, reason in sorted(reasons.items())
    ]
    report += [
        f"{part}: {line}"
        for part in weights
        for line in vectors[part].report
        if " is left out of target " not in line
    ]
    if not complete:
        why = "\n".join(f"- {line}" for line in report)
        raise PcorrError(
            f"Target {target_key!r}: no LLM has an error on each of {name_some(weights)}:\n{why}"
        )
    errors: dict[str, dict[str, list[float]]] = {}
    for (source, llm), found in complete.items():
        errors.setdefault(source, {})[llm] = [found[part]["error"] for part in weights]
    table = [
        {
            "target": target_key, "source": source, "llm": llm, "error": float(error),
            "family": complete[source, llm][next(iter(weights))]["family"],
        }
        for source, own in errors.items()
        for llm, error in zip(
            own, weighted_errors(np.array(list(own.values())), list(weights.values())), strict=True
        )
    ]  # fmt: skip
    return ErrorVector(
        pa.Table.from_pylist(table, schema=TABLES["error_vectors"].schema),
        left_out,
        report,
        {PARTS_NOTE: Parts(weights, target.worst_case, errors).note()},
    )
