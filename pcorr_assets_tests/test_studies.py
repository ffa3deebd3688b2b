"""The study's worlds are what its page says, and a small form of it holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from scripts.studies import advice
from scripts.studies.__main__ import quick
from scripts.studies.cells import CELLS
from scripts.studies.worlds import draw, true_correlations


def test_a_small_form_of_the_study(tmp_path: Path) -> None:
    assert quick(tmp_path) == []


@pytest.mark.parametrize("sigma", [0.25, 0.75, 1.5])
def test_model_size_dominates_where_it_should(sigma: float) -> None:
    panel = draw(CELLS[f"size signal {sigma}"], [0], llms=2000, families=1000)
    ranks = [scipy.stats.rankdata(values) for values in (panel.X.mean(axis=1), panel.errors)]
    correlation = np.corrcoef(*ranks)[0, 1]
    assert 0.94 < correlation < 0.97


def test_null_worlds_have_nothing_to_gain_and_signal_worlds_have() -> None:
    null, signal = (true_correlations(CELLS[f"N30 {kind} 0.75"]) for kind in ("null", "signal"))
    assert np.ptp(null) == 0
    assert (signal[:6] > signal[6:].max() + 0.1).all()


def test_unequal_families_are() -> None:
    sizes = [len(rows) for rows in draw(CELLS["unequal families null"], [0]).groups.members]
    assert sum(sizes) == 30
    assert len(sizes) == 12
    assert min(sizes) == 1
    assert max(sizes) > 8


def test_the_advised_llm_narrows_more_for_its_cost_than_a_random_one() -> None:
    assert sum(advice.outcome(0.75, seed)["better"] for seed in range(24)) > 12
