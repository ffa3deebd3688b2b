"""The errors of a combined target over the LLMs of a sample, and what it gives each part.

Belongs here: which weights the parts have in one sample. Does not belong here: how errors are
weighed (`matrix.combined`), and the search for the weights of a worst case (`stats.worst_case`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.combined import Parts, weighted_errors
from pcorr_assets.stats.estimation import estimate_all
from pcorr_assets.stats.projection import linear
from pcorr_assets.stats.worst_case import worst_case

# The estimates of parts are compared on the scale of rank correlations.
SCALE = "spearmanr"


@dataclass(frozen=True)
class Combination:
    """What a combined target is in one sample.

    `weights` of its targets (T) sum to 1. `errors` (N,) are the combined errors, and
    `part_errors` (N, T) those on each target, of the LLMs that matrix and errors share.
    `largest_minimum`: for a worst case, the mean rank correlation that some selection within the
    caps reaches for every target, and none can exceed.
    """

    weights: dict[str, float]
    errors: np.ndarray
    part_errors: np.ndarray
    largest_minimum: float | None = None

    def gives(self, X: np.ndarray, estimate: np.ndarray, tau: np.ndarray) -> dict[str, float]:
        """The mean rank correlation of what is selected with the errors on each target.

        `X` is (N, D), `estimate` (D,) that of the combined target, `tau` (D,) the caps.
        """
        parts = _estimates(X, self.part_errors, list(self.weights))
        return dict(zip(self.weights, (linear(estimate, tau) @ parts).tolist(), strict=True))


def weighted(part_errors: np.ndarray, weights: dict[str, float]) -> Combination:
    """A combination with given weights of its targets; `part_errors` is (N, T).

    Raises PcorrError where all LLMs have the same error on one of the targets.
    """
    for name, column in zip(weights, part_errors.T, strict=True):
        if (column == column[0]).all():
            raise PcorrError(
                f"Target {name!r}: all {len(column)} LLMs have the error {column[0]:g}, so nothing "
                "can go with it. Evaluate on more items, on other benchmarks, or more LLMs; or "
                "take it out of combine_targets."
            )
    errors = weighted_errors(part_errors, list(weights.values()))
    return Combination(weights, errors, part_errors)


def of_worst_case(start: Combination, X: np.ndarray, tau: np.ndarray) -> Combination:
    """The combination whose selection is best for the target that it serves worst.

    `X` is (N, D), `tau` (D,). Raises PcorrError as `stats.worst_case` does.
    """
    names = list(start.weights)
    found = worst_case(_estimates(X, start.part_errors, names).T, tau)
    return Combination(
        dict(zip(names, found.weights.tolist(), strict=True)),
        weighted_errors(start.part_errors, found.weights),
        start.part_errors,
        found.value,
    )


def over(parts: Parts, source: str, llms: list[str]) -> Combination:
    """The combination of noted parts over some LLMs, with the weights of the note."""
    return weighted(parts.of(source, llms), parts.weights)


def reweighted(parts: Parts, source: str, llms: list[str], combination: Combination) -> Combination:
    """Noted parts over some LLMs, some parts of `combination` with the weights they have there."""
    weights = {name: combination.weights[name] for name in parts.weights}
    total = sum(weights.values())
    if not total:
        raise PcorrError("the targets that are left have no weight in the worst case")
    scaled = {name: weight / total for name, weight in weights.items()}
    return weighted(parts.of(source, llms), scaled)


def _estimates(X: np.ndarray, part_errors: np.ndarray, names: list[str]) -> np.ndarray:
    """(D, T) rank correlations."""
    return estimate_all(X, part_errors, [SCALE], target_names=names)[SCALE]
