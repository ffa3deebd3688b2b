"""Headers of cards: what the platform sets is made anew, what somebody filled in stays."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from huggingface_hub import EvalResult

from pcorr_assets.cards.header import NO_LICENCE, compose
from pcorr_assets.cards.selection_card import size_category


def fields(f1: float, **more: Any) -> dict[str, Any]:
    """What a filter's card states."""
    result = EvalResult(
        task_type="text-classification",
        dataset_type="pcorr-texts",
        dataset_name="sample texts",
        metric_type="f1",
        metric_value=f1,
    )
    stated = {"library_name": "fasttext", "tags": ["pcorr"], "metrics": ["f1"]}
    return {**stated, "model_name": "filter for good", "eval_results": [result], **more}


def header(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---\n")[1])


def f1_of(card: str) -> float:
    (model,) = header(card)["model-index"]
    return model["results"][0]["metrics"][0]["value"]


def without_list(card: str) -> str:
    """As cards were that did not say which fields are made anew."""
    return "".join(
        line for line in card.splitlines(keepends=True) if "fields of the header" not in line
    )


@pytest.mark.parametrize("earlier", [lambda card: card, without_list])
def test_metrics_are_those_of_the_last_training(earlier: Any) -> None:
    first = compose("model", fields(0.1, datasets=["org/texts"]), "# Filter")
    filled = first.replace(f"license: {NO_LICENCE}", "license: mit\nbase_model: org/base")
    second = compose("model", fields(0.9), "# Filter", [earlier(filled)])
    assert f1_of(second) == 0.9
    assert "datasets" not in header(second), "the sample is of another source now"
    assert (header(second)["license"], header(second)["base_model"]) == ("mit", "org/base")
    # Without metrics there are none, those of before least of all.
    bare = {"library_name": "fasttext", "tags": ["pcorr"]}
    third = compose("model", bare, "# Filter", [second])
    assert not {"model-index", "metrics"} & set(header(third))
    assert header(third)["license"] == "mit"


def test_what_the_platform_did_not_set_is_kept_whatever_it_is_called() -> None:
    first = compose("model", fields(0.1), "# Filter")
    filled = first.replace("library_name:", "datasets: [org/mine]\nlibrary_name:")
    second = compose("model", fields(0.2), "# Filter", [filled])
    assert header(second)["datasets"] == ["org/mine"]
    assert compose("model", fields(0.2), "# Filter", [second]) == second


def test_the_header_of_a_readme_of_the_hub_is_taken_over() -> None:
    made_there = "---\nlicense: cc-by-4.0\ntags: [web]\nlibrary_name: other\n---\n"
    found = header(compose("model", fields(0.1), "# Filter", [made_there]))
    assert (found["license"], found["library_name"]) == ("cc-by-4.0", "fasttext")
    assert found["tags"] == ["pcorr", "web"]


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        (0, "n<1K"),
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (10**9 - 1, "100M<n<1B"),
        (10**9, "1B<n<10B"),
        (10**12, "n>1T"),
    ],
)
def test_sizes_are_those_of_the_hub(documents: int, said: str) -> None:
    assert size_category(documents) == said
