"""What the documents of a pool are taken in descending order of, as SQL.

Belongs here: the score itself, and drawing documents with the filter's odds. Does not belong
here: how many are taken, and which of them do not count (`choosing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pcorr_assets.config import Pool

# fastText's probabilities are of single precision: nearer to 0 or 1 they say nothing.
SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)
PURPOSE = "resampled"


@dataclass(frozen=True)
class Order:
    """An order of documents, the largest `value` first.

    `value` is SQL over `score` and `content_sha256` of a row of `pool_scores`; `spread` is SQL
    over the values, of whose numbers those of documents are spread evenly enough for bins.
    `is_of_scores` tells whether a document comes before all that have a lower score.
    """

    value: str
    spread: str
    is_of_scores: bool


BY_SCORE = Order(
    "score", "ln(greatest(score, 1e-12) / greatest(1 - score, 1e-12))", is_of_scores=True
)


def order_of(pool: Pool) -> Order:
    """The order in which the documents of a pool are taken."""
    return BY_SCORE if pool.draw is None else _drawn(pool.draw.seed)


def _drawn(seed: int) -> Order:
    """Log-odds of the score with Gumbel noise: `methods.classifying.drawn_with_odds`, in SQL.

    The noise comes of the content only (`methods.material.seeded_uniform`), so that copies have
    the same, and a document keeps its own when others come.
    """
    inside = f"least(greatest(score, {SMALLEST_PROBABILITY}), 1 - {SMALLEST_PROBABILITY})"
    hashed = f"sha256('{seed:d}' || chr(0) || '{PURPOSE}' || chr(0) || content_sha256)"
    uniform = f"(((('0x' || left({hashed}, 16))::UBIGINT >> 12) + 0.5::DOUBLE) / {2**52})"
    value = f"(ln({inside}) - ln(1 - {inside}) - ln(-ln({uniform})))"
    return Order(value, "score", is_of_scores=False)
