"""What an estimator gives where errors and texts have nothing to do with each other.

Belongs here: estimates under permuted errors. Does not belong here: whether an estimate
is good enough (see `verdict`, whose permutation test looks at one number of each world).
"""

from __future__ import annotations

import numpy as np

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.checks import Floats
from pcorr_assets.stats.estimation import estimate_all

_STREAM = 7


def permuted_estimates(
    X: np.ndarray,
    errors: Floats,
    estimator: str,
    *,
    permutations: int = 200,
    max_texts: int = 5000,
    seed: int = 0,
) -> Floats:
    """Estimates of worlds in which the errors (N,) are shuffled over the LLMs.

    The cost is bounded: of more than `max_texts` texts a seeded sample is used. LLMs of a
    family count as independent, so true chance is somewhat wider.

    Args:
        X: (N, D) finite BPB.
        errors: (N,) of one target.
        estimator: a name out of `ESTIMATOR_NAMES`.

    Returns:
        (permutations, min(D, max_texts)) float64, one row for each world.

    Raises:
        PcorrError: what `estimate_all` refuses, or fewer than one permutation.
    """
    if permutations < 1:
        raise PcorrError(f"permutations must be at least 1, not {permutations}")
    rng = np.random.default_rng([seed, _STREAM])
    if X.shape[1] > max_texts:
        X = X[:, np.sort(rng.choice(X.shape[1], size=max_texts, replace=False))]
    worlds = np.column_stack([rng.permutation(errors) for _ in range(permutations)])
    return np.ascontiguousarray(estimate_all(X, worlds, (estimator,))[estimator].T)
