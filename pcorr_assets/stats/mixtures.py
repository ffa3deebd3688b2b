"""One selection for two targets: how much of each a mix of their estimates gives.

Belongs here: overlaps of sampling distributions, and the curve of mixes between two
estimates. Does not belong here: which targets are worth comparing, and pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.checks import Floats, as_vector
from pcorr_assets.stats.projection import linear
from pcorr_assets.stats.ranks import average_ranks

SHARES = tuple(step / 10 for step in range(11))


@dataclass(frozen=True)
class SparseWeights:
    """The weights above 0 of a sampling distribution, at their places among all units."""

    places: NDArray[np.intp]
    weights: Floats

    @classmethod
    def of(cls, weights: ArrayLike) -> SparseWeights:
        """The same as a vector of all units (D,)."""
        values = as_vector(weights, "the weights")
        places = np.flatnonzero(values > 0)
        return cls(places, values[places])


def overlaps(rows: Sequence[SparseWeights], unit_count: int) -> Floats:
    """Overlap of each pair of sampling distributions: `sum_i min(a_i, b_i)`.

    1 where both sample the same, 0 where they have no unit in common: the share of tokens that
    one has from the other's units at the other's weights.

    Args:
        rows: R distributions over the same `unit_count` units.

    Returns:
        (R, R) float64, symmetric; the diagonal has the sums of the weights.
    """
    found = np.zeros((len(rows), len(rows)))
    dense = np.zeros(unit_count)
    for index, row in enumerate(rows):
        dense[row.places] = row.weights
        for other in range(index, len(rows)):
            there = rows[other]
            shared = float(np.minimum(dense[there.places], there.weights).sum())
            found[index, other] = found[other, index] = shared
        dense[row.places] = 0
    return found


@dataclass(frozen=True)
class Mixes:
    """Mean estimates (S,) of the mixes for both targets, and of random texts for each.

    `shares` (S,) is the weight of the first target's ranks in the mix.
    """

    shares: Floats
    first: Floats
    second: Floats
    random: tuple[float, float]


def mixes(
    first: ArrayLike, second: ArrayLike, tau: ArrayLike, shares: Sequence[float] = SHARES
) -> Mixes:
    """What selections by `share * ranks(first) + (1 - share) * ranks(second)` are for both.

    Ranks, since estimates of two targets have no common scale. Each mix is projected linearly
    under the caps; its value for a target is the mean of the target's estimates by weight.
    Random texts have their tokens' share, which the caps are proportional to.

    Args:
        first: (D,) estimates of one target.
        second: (D,) those of the other.
        tau: (D,) largest weight of each text, finite.
        shares: numbers from 0 to 1.

    Raises:
        PcorrError: shapes differ, a share beyond 0 to 1, or as `linear` does.
    """
    a, b = as_vector(first, "the first estimate"), as_vector(second, "the second estimate")
    if a.shape != b.shape:
        raise PcorrError(f"the two estimates are of {a.size} and {b.size} texts")
    caps = as_vector(tau, "tau")
    share = as_vector(shares, "the shares")
    if ((share < 0) | (share > 1)).any():
        raise PcorrError(f"shares of a mix lie between 0 and 1, not at {share.tolist()}")
    of_a, of_b = average_ranks(a), average_ranks(b)
    weights = [linear(part * of_a + (1 - part) * of_b, caps) for part in share]
    by_chance = caps / caps.sum()
    return Mixes(
        shares=share,
        first=np.array([weight @ a for weight in weights]),
        second=np.array([weight @ b for weight in weights]),
        random=(float(by_chance @ a), float(by_chance @ b)),
    )
