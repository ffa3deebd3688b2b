"""The NaN mask: its order, its borders, and what it never lets through."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.mask import lost_too_much, nan_mask


def test_llms_leave_before_their_nan_cost_any_chunk() -> None:
    is_nan = np.zeros((3, 10), dtype=bool)
    is_nan[0, :5] = True
    is_nan[1, 7] = True
    mask = nan_mask(is_nan, ["bad", "good", "best"], 0.2)
    assert mask.keeps_llm.tolist() == [False, True, True]
    # Chunks 0 to 4 survive: only the LLM that left had NaN there.
    assert np.flatnonzero(~mask.keeps_chunk).tolist() == [7]
    assert mask.nan_counts.tolist() == [5, 1, 0]
    assert list(mask.reasons) == ["bad"]
    assert "5 of 10 chunks are NaN" in mask.reasons["bad"]


@pytest.mark.parametrize(
    ("nans", "size", "limit"), [(29, 100, 0.29), (1, 20, 0.05), (7, 100, 0.07)]
)
def test_a_share_that_equals_the_limit_stays(nans: int, size: int, limit: float) -> None:
    row = np.arange(size) < nans
    other = np.zeros(size, dtype=bool)
    assert nan_mask([row, other], ["a", "b"], limit).keeps_llm.all()
    row = np.arange(size) < nans + 1
    assert not nan_mask([row, other], ["a", "b"], limit).keeps_llm[0]


def test_shares_are_taken_over_all_chunks_not_over_the_surviving_ones() -> None:
    # One after the other: without the chunks that a loses, b would have 2 of 8.
    is_nan = np.zeros((2, 10), dtype=bool)
    is_nan[0, :2] = True
    is_nan[1, 8:] = True
    mask = nan_mask(is_nan, ["a", "b"], 0.2)
    assert mask.keeps_llm.all()
    assert mask.keeps_chunk.sum() == 6


def test_nothing_left_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(PcorrError, match=r"No LLM is left.*a, b.*max_nan_fraction"):
        nan_mask(np.ones((2, 4), dtype=bool), ["a", "b"], 0.5)
    halves = np.array([[True, True, False, False], [False, False, True, True]])
    with pytest.raises(PcorrError, match=r"No page is left.*Lower"):
        nan_mask(halves, ["a", "b"], 0.5, thing="page")


def test_units_are_flagged_above_a_fifth_of_their_bytes() -> None:
    assert lost_too_much(np.array([80, 79, 100, 0]), np.full(4, 100)).tolist() == [
        False,
        True,
        False,
        True,
    ]


@given(
    arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)),
    st.floats(0, 1, allow_nan=False),
)
def test_what_survives_has_no_nan_and_nothing_left_without_cause(
    is_nan: np.ndarray, limit: float
) -> None:
    llms = [f"m{k}" for k in range(len(is_nan))]
    too_many = is_nan.mean(axis=1) > limit
    if too_many.all() or is_nan[~too_many].any(axis=0).all():
        with pytest.raises(PcorrError, match="is left"):
            nan_mask(is_nan, llms, limit)
        return
    mask = nan_mask(iter(is_nan), llms, limit)
    assert (mask.keeps_llm == ~too_many).all()
    assert not is_nan[mask.keeps_llm][:, mask.keeps_chunk].any()
    assert is_nan[mask.keeps_llm][:, ~mask.keeps_chunk].any(axis=0).all()
    order = np.arange(len(llms))[::-1]
    again = nan_mask(is_nan[order], [llms[k] for k in order], limit)
    assert (again.keeps_chunk == mask.keeps_chunk).all()
