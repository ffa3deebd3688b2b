"""The benchmark for GPUs, in its small form on a CPU."""

from __future__ import annotations

import numpy as np

from scripts.bench_gpu import CHUNK_TOKENS, measured, texts


def test_all_ways_give_the_same_losses_and_a_row_each() -> None:
    """That the losses agree is checked by the benchmark itself, which ends where they do not."""
    title, _, rule, *rows = measured("cpu", small=True)
    assert title.startswith("cpu, torch ")
    assert set(rule) <= set("|-:")
    assert [row.split("|")[2].strip() for row in rows] == [
        "ours",
        "in turn",
        "masked",
        "plain",
    ]


def test_lengths_are_those_of_chunks() -> None:
    lengths = np.array([len(text) for text in texts(200_000, 100)])
    assert lengths.max() == CHUNK_TOKENS
    assert 0.6 < (lengths == CHUNK_TOKENS).mean() < 0.8
    assert lengths.sum() >= 200_000
