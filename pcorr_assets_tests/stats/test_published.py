"""The matrix that the paper's code comes with (263 synthetic English documents, 90 LLMs).

Its top tens are known. It is not the paper's matrix, and nothing is claimed of that.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from pcorr_assets.stats.estimation import estimate_all
from pcorr_assets.stats.panel import Panel, make_panel
from pcorr_assets.stats.verdict import ValidationSettings, judge

QUICK = ValidationSettings(permutations=200)
TARGETS = (
    "arc_easy",
    "piqa",
    "sciq",
    "lambada",
    "lambada_de",
    "lambada_es",
    "lambada_it",
    "lambada_fr",
)


def panel_of(published, errors: np.ndarray) -> Panel:
    text_count = len(published.units)
    return make_panel(
        published.X,
        errors,
        np.full(text_count, (1 / text_count) / 0.1),
        llms=published.llms,
        families=published.families,
        identities=published.names,
    )


def test_the_ten_largest_estimates_are_the_published_ones(published, published_data: Path) -> None:
    text = (published_data / "top_ten_spearmanr.yaml").read_text(encoding="utf-8")
    top_tens = yaml.safe_load(text)
    targets = list(top_tens)
    errors = np.stack([published.targets[target] for target in targets], axis=1)
    estimates = estimate_all(published.X, errors, ("spearmanr",))["spearmanr"]
    for column, target in enumerate(targets):
        top = np.argsort(-estimates[:, column])[:10]
        assert {published.units[text] for text in top} == set(top_tens[target]), target


def test_llm_listed_under_two_families_joins_them(published) -> None:
    groups = panel_of(published, published.targets["sciq"]).groups
    joined = [number for number, name in enumerate(groups.names) if "+" in name]
    assert len(joined) == 1
    names = [published.names[row] for row in groups.members[joined[0]]]
    assert names.count("LLM360/Amber") == 2
    assert len(groups) == len(set(published.families)) - 1


@pytest.mark.parametrize("target", TARGETS)
def test_little_is_to_be_gained_where_ability_explains_nearly_all(published, target: str) -> None:
    verdict = judge(panel_of(published, published.targets[target]), settings=QUICK)
    assert verdict.random_texts is not None
    assert verdict.gain is not None
    assert verdict.p_value is not None
    assert 0.8 < verdict.random_texts < 1
    assert -0.01 < verdict.gain < 0.03
    # Beyond ability, the order of the LLMs on arc_easy does not go with which documents.
    assert (verdict.p_value > 0.2) == (target == "arc_easy")
    assert verdict.verdict == "no-go" or target != "arc_easy"


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_errors_are_no_go(published, seed: int) -> None:
    errors = np.random.default_rng(seed).permutation(published.targets["sciq"])
    assert judge(panel_of(published, errors), settings=QUICK).verdict != "go"
