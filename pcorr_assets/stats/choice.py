"""Which of the estimators selects best, as other LLMs see it.

Belongs here: choosing an estimator from given rows of a matrix alone, so that whoever holds
LLMs out holds them out of the choice as well. Does not belong here: the estimators
(`estimation`), and what is done with the one chosen (`panel`).
"""

from __future__ import annotations

import numpy as np

from pcorr_assets.stats.checks import Floats
from pcorr_assets.stats.estimation import ESTIMATOR_NAMES, estimate_all
from pcorr_assets.stats.groups import Groups, Rows, usable
from pcorr_assets.stats.projection import linear

AUTO = "auto"
# What is taken where nothing speaks for another.
PLAIN = "spearmanr"
HALVINGS = 4

_STREAM = 11


def choose_estimator(
    X: np.ndarray,
    errors: Floats,
    tau: Floats,
    groups: Groups,
    rows: Rows,
    *,
    halvings: int = HALVINGS,
) -> str:
    """The estimator whose selection on one half of the groups gains most on the other.

    The groups of `rows` are halved at random, always in the same way. Each estimator selects
    on a half under the caps `tau` (D,), and the other half measures what is selected in
    Spearman's correlation; means over halvings, both ways.

    Args:
        X: (N, D) BPB.
        errors: (N,) errors of the target.
        tau: (D,) caps.
        groups: of all N LLMs.
        rows: which LLMs may be looked at; a repeated row counts repeatedly.
        halvings: how many.

    Returns:
        A name out of `ESTIMATOR_NAMES`. `spearmanr` where another gains no more, and where
        no halving leaves halves that can carry an estimate.
    """
    labels = groups.labels[rows]
    present = np.unique(labels)
    rng = np.random.default_rng(_STREAM)
    gains = np.zeros(len(ESTIMATOR_NAMES))
    for _ in range(halvings):
        first = np.isin(labels, rng.permutation(present)[: present.size // 2])
        halves = rows[first], rows[~first]
        if not all(half.size and usable(groups, errors, half) for half in halves):
            continue
        found = [estimate_all(X, errors, rows=half) for half in halves]
        for one, other in (found, found[::-1]):
            gains += [linear(one[name], tau) @ other[PLAIN] for name in ESTIMATOR_NAMES]
    plain = ESTIMATOR_NAMES.index(PLAIN)
    # Estimators that order texts alike differ by rounding.
    if gains.max() <= gains[plain] + 1e-9 * halvings:
        return PLAIN
    return ESTIMATOR_NAMES[int(gains.argmax())]
