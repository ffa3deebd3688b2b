"""Overlaps and mixes against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.stats import rankdata

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.mixtures import SHARES, SparseWeights, mixes, overlaps
from pcorr_assets.stats.projection import linear


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 6))
def test_overlaps_are_sums_of_smaller_weights(seed: int, units: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(units), rows) * (rng.random((rows, units)) < 0.7)
    found = overlaps([SparseWeights.of(row) for row in weights], units)
    for a in range(rows):
        for b in range(rows):
            expected = sum(min(x, y) for x, y in zip(weights[a], weights[b], strict=True))
            assert found[a, b] == pytest.approx(expected, abs=1e-12)
    # 1 - overlap is half the L1 distance where both sum to 1: an independent definition.
    whole = rng.dirichlet(np.ones(units), 2)
    distance = np.abs(whole[0] - whole[1]).sum() / 2
    pair = overlaps([SparseWeights.of(row) for row in whole], units)
    assert pair[0, 1] == pytest.approx(1 - distance, abs=1e-12)


@settings(max_examples=12)
@given(st.integers(0, 2**32 - 1), st.integers(5, 12))
def test_mixes_are_the_best_weights_of_a_linear_programme(seed: int, units: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, units))
    tau = rng.dirichlet(np.ones(units)) * 2 + 0.01
    found = mixes(a, b, tau)
    assert found.shares.tolist() == list(SHARES)
    for place, share in enumerate(SHARES):
        score = share * rankdata(a) + (1 - share) * rankdata(b)
        best = linprog(-score, A_eq=np.ones((1, units)), b_eq=[1], bounds=[(0, t) for t in tau])
        mine = linear(score, tau)
        assert score @ mine == pytest.approx(-best.fun, abs=1e-9)
        assert found.first[place] == pytest.approx(a @ mine, abs=1e-12)
        assert found.second[place] == pytest.approx(b @ mine, abs=1e-12)
    # The ends are the single selections: no weights within the caps are better for a target.
    for values, end in ((a, found.first[-1]), (b, found.second[0])):
        best = linprog(-values, A_eq=np.ones((1, units)), b_eq=[1], bounds=[(0, t) for t in tau])
        assert end == pytest.approx(-best.fun, abs=1e-9)
    share = tau / tau.sum()
    assert found.random == pytest.approx((a @ share, b @ share), abs=1e-12)


def test_what_is_no_mix_is_refused() -> None:
    tau = np.full(3, 0.5)
    with pytest.raises(PcorrError, match="3 and 2 texts"):
        mixes([1, 2, 3], [1, 2], tau)
    with pytest.raises(PcorrError, match="between 0 and 1"):
        mixes([1, 2, 3], [1, 2, 3], tau, shares=[1.5])
    with pytest.raises(PcorrError, match="sum to"):
        mixes([1, 2, 3], [1, 2, 3], tau / 3)
