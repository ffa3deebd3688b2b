"""The batch plan: every unit once, within the budget, whatever the lengths."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pcorr_assets.lm.batching import plan_batches

lengths = st.lists(st.integers(0, 60), max_size=40).map(lambda x: np.asarray(x, dtype=np.int64))


@given(lengths, st.integers(1, 100), st.sampled_from([None, 1, 7, 16]))
def test_every_token_once_and_no_batch_above_the_budget(
    token_count: np.ndarray, budget: int, context: int | None
) -> None:
    scored = np.arange(len(token_count)) % 5 != 3
    plan = plan_batches(token_count, scored, budget, context)

    covered = [np.zeros(count, dtype=int) for count in token_count]
    for chunk, start, length in zip(plan.chunk, plan.start, plan.length, strict=True):
        covered[chunk][start : start + length] += 1
        assert length > 1
        assert context is None or length <= context
    for chunk, seen in enumerate(covered):
        if not scored[chunk]:
            assert not seen.any()
            continue
        # Only a window of a single token, which predicts nothing, is left out.
        alone = len(seen) == 1 or (context == 1) or (context and len(seen) % context == 1)
        assert (seen[: len(seen) - 1] == 1).all() or context == 1
        assert seen[-1:].sum() == (0 if alone else len(seen[-1:]))

    assert plan.bounds[0] == 0
    assert plan.bounds[-1] == len(plan.length)
    assert (np.diff(plan.bounds) >= 1).all()
    for batch in range(plan.batch_count):
        sizes = plan.length[plan.units(batch)]
        assert len(sizes) == 1 or len(sizes) * sizes.max() <= budget
    assert (np.diff(plan.length) <= 0).all()


def test_the_hash_is_that_of_the_plan() -> None:
    token_count = np.asarray([5, 9, 5, 30], dtype=np.int64)
    every = np.ones(4, dtype=bool)
    plan = plan_batches(token_count, every, 32)
    assert plan.sha256() == plan_batches(token_count.copy(), every, 32).sha256()
    assert plan.sha256() != plan_batches(token_count, every, 18).sha256()
    assert plan.sha256() != plan_batches(token_count, every, 32, context=16).sha256()
    assert plan.predicted_count == 4 + 8 + 4 + 29


def test_nothing_to_score() -> None:
    plan = plan_batches(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool), 32)
    assert plan.batch_count == 0
