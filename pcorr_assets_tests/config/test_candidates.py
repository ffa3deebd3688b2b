"""The section `candidates`: LLMs by their names, with what the names say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pcorr_assets.config.loading import settings_from
from pcorr_assets.errors import PcorrError


def read(folder: Path, *candidates: Any) -> list[tuple[str, str, int]]:
    settings = settings_from({"candidates": list(candidates)}, folder=folder)
    return [(c.name, c.family, c.parameters) for c in settings.candidates]


def test_a_name_says_family_and_parameters(tmp_path: Path) -> None:
    assert read(
        tmp_path,
        "EleutherAI/pythia-1.4b-deduped",
        "facebook/opt-350m",
        {"name": "EleutherAI/pythia-160m", "family": "pythia"},
        {"name": "Qwen/Qwen2-7B", "parameters": 7_615_616_512},
        {"name": "mine", "family": "own", "parameters": "30m"},
        {"name": "other", "family": "own", "parameters": 1e9},
    ) == [
        ("EleutherAI/pythia-1.4b-deduped", "EleutherAI", 1_400_000_000),
        ("facebook/opt-350m", "facebook", 350_000_000),
        ("EleutherAI/pythia-160m", "pythia", 160_000_000),
        ("Qwen/Qwen2-7B", "Qwen", 7_615_616_512),
        ("mine", "own", 30_000_000),
        ("other", "own", 1_000_000_000),
    ]


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        ("bigscience/bloom", "candidates[0].parameters: missing"),
        ("gpt2", "candidates[0].family: missing"),
        ({"name": "a/b", "parameters": "many"}, "expected a number of parameters, such as"),
        ({"name": "a/b", "parameters": 1.5}, "expected a number of parameters, such as"),
        ({"name": "a/b", "parameters": True}, "expected a number of parameters, such as"),
        ({"parameters": 5, "family": "a"}, "candidates[0].name: missing"),
        (["a"], "org/name with its parameters in the name"),
    ],
    ids=["no size", "no org", "words", "fraction", "flag", "no name", "list"],
)
def test_what_is_missing_or_no_number_is_said(tmp_path: Path, candidate: Any, said: str) -> None:
    with pytest.raises(PcorrError) as refusal:
        read(tmp_path, candidate)
    assert said in str(refusal.value)


def test_a_name_stands_once(tmp_path: Path) -> None:
    with pytest.raises(PcorrError, match=r"'a/b-1b' stands already at candidates\[0\]"):
        read(tmp_path, "a/b-1b", "a/c-1b", {"name": "a/b-1b"})
    with pytest.raises(PcorrError, match="a list of LLMs that might be added"):
        settings_from({"candidates": "a/b-1b"}, folder=tmp_path)
