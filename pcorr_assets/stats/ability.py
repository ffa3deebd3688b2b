"""What is left of errors and BPB once overall ability is known.

Belongs here: overall ability, and residuals given it. Does not belong here: what is
tested or concluded from them (`dependence`, `verdict`).

LLMs differ in how good they are at everything, and where model size dominates, little
else is seen in a rank correlation. Overall ability is the mean BPB over all texts. The
errors are taken as normal scores, because their link to ability is any monotone one (an
accuracy saturates, a per-token loss does not); BPB is taken as it is, because ranks of
it would bend every text alike and so tie all texts to the errors. Both are regressed
on a curve of ability: a generalised covariance measure (Shah and Peters,
arXiv 1804.07203) asks what is left of one of what is left of the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from pcorr_assets.stats.checks import Floats
from pcorr_assets.stats.ranks import average_ranks

# A curve needs LLMs: one bend for each so many of them, and no more than so many.
LLMS_PER_BEND = 15
LARGEST_BENDS = 3

_BLOCK_ENTRIES = 2**20
_NOTHING_LEFT = 1e-9


@dataclass(frozen=True)
class Residuals:
    """What overall ability leaves of the errors and of each text's BPB.

    Attributes:
        errors: (N,) residual normal scores of the errors.
        texts: (N, D) float32 residual BPB: each column of length 1, then less the mean
            over the texts of its row. A text of which ability leaves nothing is 0.
        basis: (N, P) orthonormal columns that ability was modelled by; both are
            orthogonal to it.
    """

    errors: Floats
    texts: np.ndarray
    basis: Floats


def residuals(X: np.ndarray, errors: Floats) -> Residuals:
    """Residuals of errors (N,) and of X (N, D) given mean BPB.

    Memory beyond X is one float32 array of its shape.
    """
    basis = ability_basis(X.mean(axis=1, dtype=np.float64))
    texts = np.empty(X.shape, dtype=np.float32)
    row_sums = np.zeros(X.shape[0])
    step = max(1, _BLOCK_ENTRIES // X.shape[0])
    for start in range(0, X.shape[1], step):
        block = X[:, start : start + step].astype(np.float64)
        block -= block.mean(axis=0)
        spread = np.sqrt(np.einsum("nd,nd->d", block, block))
        block -= basis @ (basis.T @ block)
        norms = np.sqrt(np.einsum("nd,nd->d", block, block))
        # What rounding leaves of a text that ability explains wholly is no residual.
        block *= np.divide(1, norms, out=np.zeros_like(norms), where=norms > _NOTHING_LEFT * spread)
        row_sums += block.sum(axis=1)
        texts[:, start : start + step] = block
    texts -= (row_sums / X.shape[1]).astype(np.float32)[:, np.newaxis]
    scores = normal_scores(errors)
    return Residuals(scores - basis @ (basis.T @ scores), texts, basis)


def ability_basis(ability: Floats) -> Floats:
    """(N, P) orthonormal basis of a natural cubic spline of ability (N,), constant included.

    A straight line below 30 LLMs, one bend more for each 15, at most three: knots at
    quantiles, linear beyond the outermost. Constant ability leaves the constant alone.
    """
    spread = ability.std()
    count = ability.size
    if spread <= _NOTHING_LEFT * abs(ability.mean()):
        return np.full((count, 1), count**-0.5)
    z = (ability - ability.mean()) / spread
    columns = [np.ones(count), z, *_bends(z, min(LARGEST_BENDS, max(1, count // LLMS_PER_BEND)))]
    design = np.column_stack(columns)
    vectors, sizes, _ = np.linalg.svd(design / np.linalg.norm(design, axis=0), full_matrices=False)
    return vectors[:, sizes > 1e-6 * sizes[0]]


def normal_scores(values: Floats) -> Floats:
    """Standard normal quantiles of (average rank - 1/2) / N."""
    return ndtri((average_ranks(values) - 0.5) / values.size)


def _bends(z: Floats, degrees: int) -> list[Floats]:
    """The nonlinear columns of a natural cubic spline with `degrees + 1` knots."""
    knots = np.unique(np.quantile(z, np.linspace(0, 1, degrees + 1)))
    last = knots.size - 1

    def piece(knot: int) -> Floats:
        cubes = np.maximum(z - knots[knot], 0) ** 3 - np.maximum(z - knots[last], 0) ** 3
        return cubes / (knots[last] - knots[knot])

    return [piece(knot) - piece(last - 1) for knot in range(last - 1)]
