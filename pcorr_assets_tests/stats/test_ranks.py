"""Integer ranks and pieced products against SciPy and plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.products import times
from pcorr_assets.stats.ranks import average_ranks, centred_ranks, rank_correlation


@pytest.mark.parametrize("count", [1, 2, 127, 128, 300, 40_000])
@pytest.mark.parametrize("values", [1, 3, 50, 10**9])
def test_ranks_are_scipys_average_ranks(count: int, values: int) -> None:
    block = np.random.default_rng(count).integers(0, values, size=(5, count)).astype(np.float32)
    expected = scipy.stats.rankdata(block, axis=1)
    np.testing.assert_array_equal(centred_ranks(block), 2 * expected - (count + 1))
    np.testing.assert_array_equal(average_ranks(block[0]), expected[0])


def test_rank_correlation_is_scipys_and_zero_for_a_constant() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 40), rng.random(40)
    assert rank_correlation(a, b) == pytest.approx(scipy.stats.spearmanr(a, b)[0], abs=1e-14)
    assert rank_correlation(a, np.ones(40)) == 0


def test_ranks_of_nan_are_refused() -> None:
    with pytest.raises(PcorrError, match="1 NaN"):
        average_ranks([1.0, np.nan])


@pytest.mark.parametrize("shape", [(1, 90, 3000), (8, 256, 1000), (8, 90, 1), (300, 90, 50)])
def test_products_in_pieces_are_whole_products(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(1)
    target_count, inner, width = shape
    weights = rng.integers(-9, 9, size=(target_count, inner)).astype(np.float32)
    columns = rng.integers(-9, 9, size=(width, inner)).astype(np.float32)
    np.testing.assert_array_equal(times(weights, columns.T), weights @ columns.T)
