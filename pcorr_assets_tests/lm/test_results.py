"""Kept results: what is stored is what is found again, and any reader of JSON can read it."""

from __future__ import annotations

import json
import math
from pathlib import Path

from pcorr_assets.lm.results import KeptResults, Result

EVALUATION = ("quiz", "a" * 40, "float32", "e" * 64)
VALUES = {"acc,none": 0.625, "perplexity,none": math.inf, "low,none": -math.inf, "f1,none": None}


def result() -> Result:
    benchmark, commit, dtype, evaluation = EVALUATION
    return Result(
        "org/llm", benchmark, commit, dtype, evaluation, "0.4", "1", 0, None, 1, 40, VALUES, {}
    )  # fmt: skip


def refuse(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def test_infinite_values_are_kept_as_valid_json(tmp_path: Path) -> None:
    kept = KeptResults(tmp_path)
    kept.keep(result(), None)
    json.loads((tmp_path / "quiz.json").read_text(), parse_constant=refuse)
    assert kept.find(*EVALUATION) == result()


def test_infinite_values_of_earlier_versions_are_read(tmp_path: Path) -> None:
    kept = KeptResults(tmp_path)
    stored = {"result": {**vars(result())}, "row": None}
    (tmp_path / "quiz.json").write_text(json.dumps(stored))
    assert kept.find(*EVALUATION) == result()
    assert kept.damaged() == []


def test_values_that_are_no_numbers_are_damage(tmp_path: Path) -> None:
    kept = KeptResults(tmp_path)
    for values in ({"acc,none": "much"}, [0.5], None):
        stored = {"result": {**vars(result()), "values": values}, "row": None}
        (tmp_path / "quiz.json").write_text(json.dumps(stored))
        assert kept.find(*EVALUATION) is None
        (warning,) = kept.damaged()
        assert "quiz.json is not a kept result" in warning
