"""Hostile configurations, keys and CSV files, a few of each: success, or words for a person.

The long form of the same generators runs apart from this suite.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from pcorr_assets_tests.inputs import configs, csv_files
from pcorr_assets_tests.inputs.amount import SHIFT, amount
from pcorr_assets_tests.inputs.outcome import Case, outcome_of

SEED = 1 + SHIFT


@pytest.mark.parametrize(
    ("cases", "read", "file"),
    [
        (configs.cases(SEED, amount(120, 3000)), configs.read, "pcorr.yaml"),
        (csv_files.cases(SEED, amount(120, 2500)), csv_files.read_matrix, ".csv"),
        (csv_files.unit_token_cases(SEED, amount(60, 1500)), csv_files.read_tokens, "tokens.csv"),
    ],
    ids=["configs", "matrices", "unit_tokens"],
)
def test_every_input_is_taken_or_refused_in_words(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cases: Iterable[Case],
    read: Callable[[bytes, Path], object],
    file: str,
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    folder = tmp_path / "inputs"
    folder.mkdir()
    outcomes = [outcome_of(case, lambda content: read(content, folder), file) for case in cases]
    assert [outcome for outcome in outcomes if outcome.problem is not None] == []
    refused = sum(outcome.refusal is not None for outcome in outcomes)
    assert 0 < refused < len(outcomes)
    # Neither code of the input nor its paths left anything behind.
    assert os.listdir(tmp_path / "elsewhere") == []
    assert {path.suffix for path in folder.iterdir()} <= {".yaml", ".csv"}


def test_no_key_leads_out_of_the_home(tmp_path: Path) -> None:
    keys = list(configs.keys(SEED, amount(3000, 100_000)))
    problems = [configs.problem_of_key(key, tmp_path) for key in keys]
    assert [problem for problem in problems if problem is not None] == []
