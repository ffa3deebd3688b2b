"""Broken folders of LLMs and tokenizers: success, or a message that names the LLM."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pcorr_assets_tests.inputs.amount import SHIFT, amount
from pcorr_assets_tests.inputs.model_folders import MUTATIONS, Case, cases, make, outcome
from pcorr_assets_tests.lm import tiny


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = tiny.byte_tokenizer("<s> $A")
    return tiny.save_llm(tmp_path_factory.mktemp("good") / "llm", "llama", tokenizer=tokenizer)


def test_broken_folders_are_refused_by_name(good: Path, tmp_path: Path) -> None:
    assert outcome(good) == "ok"
    refused = 0
    for number, case in enumerate(cases(seed=1 + SHIFT, count=amount(3, 60) * len(MUTATIONS))):
        folder = make(case, good, tmp_path / str(number))
        try:
            refused += outcome(folder) != "ok"
        except Exception as error:
            raise AssertionError(f"{case}: {type(error).__name__}: {error}") from error
        shutil.rmtree(folder)
    assert refused > len(MUTATIONS)


def test_a_case_can_be_made_again(good: Path, tmp_path: Path) -> None:
    case = Case("flipped bits", 3)
    first, second = (make(case, good, tmp_path / name) for name in ("first", "second"))
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()
