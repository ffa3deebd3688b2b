"""What each method prefers, in worlds where the answer is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import kendalltau

from pcorr_assets.config.texts import METHODS as NAMES
from pcorr_assets.errors import PcorrError
from pcorr_assets.methods.bpb import predictive_strength
from pcorr_assets.methods.classifying import drawn_with_odds
from pcorr_assets.methods.material import Documents, LacksMaterialError, Material, SampleBpb
from pcorr_assets.methods.table import METHODS, OWN
from pcorr_assets.warehouse import TABLES
from pcorr_assets_tests.filters.conftest import TOPICS, chunk_rows
from pcorr_assets_tests.methods.conftest import FASTTEXT, document

LLMS = 5
DOCUMENTS = Documents.of([document(topic, n) for n in range(6) for topic in TOPICS])


def sample_of(favourites: dict[str, str]) -> SampleBpb:
    """LLMs, the first the best. For `predictive` pages BPB rise with the error, for `low` ones
    they are low for all but the best, for `best` ones low for the best alone."""
    chunks = pa.Table.from_pylist(chunk_rows(domains=18, pages=3), schema=TABLES["chunks"].schema)
    pages = sorted(set(chunks["page_id"].to_pylist()))
    topics = [page.removeprefix("https://").rstrip("0123456789./").split(".")[0] for page in pages]
    rng = np.random.default_rng(0)
    bpb = 1 + rng.uniform(0, 0.01, (LLMS, len(pages)))
    for place, topic in enumerate(topics):
        match favourites.get(topic.rstrip("0123456789")):
            case "predictive":
                bpb[:, place] = 2 + 0.1 * np.arange(LLMS)
            case "low":
                bpb[:, place] = [1.2, 0.5, 0.5, 0.5, 0.5]
            case "best":
                bpb[:, place] = [0.5, 2, 2, 2, 2]

    def read(columns: list[str]) -> Iterator[pa.RecordBatch]:
        yield from chunks.select(columns).to_batches()

    tau = np.full(len(pages), 3 / len(pages))
    errors = np.linspace(0.2, 0.6, LLMS)
    return SampleBpb([f"llm-{n}" for n in range(LLMS)], errors, pages, bpb, tau, read)


def favourite(scores: np.ndarray) -> str:
    """The topic with the highest scores, if all of its documents come before all others."""
    of = np.array(list(TOPICS) * 6)
    best = max(TOPICS, key=lambda topic: scores[of == topic].min())
    assert scores[of == best].min() > scores[of != best].max()
    return best


def test_the_configuration_knows_all_methods_but_the_platforms_own() -> None:
    assert set(METHODS) == {OWN, *NAMES}


def test_predictive_strength_is_kendalls_tau_without_ties() -> None:
    rng = np.random.default_rng(1)
    bpb, errors = rng.random((9, 30)), rng.random(9)
    taus = [kendalltau(column, errors)[0] for column in bpb.T]
    np.testing.assert_allclose(
        predictive_strength(bpb, errors), (1 + np.array(taus)) / 2, atol=1e-12
    )


def test_llms_with_equal_errors_are_no_pair() -> None:
    bpb = np.array([[1.0, 2.0], [1.5, 1.5], [2.0, 1.0]])
    found = predictive_strength(bpb, np.array([0.1, 0.1, 0.5]))
    assert found.tolist() == [1.0, 0.0]
    with pytest.raises(LacksMaterialError, match="same benchmark error"):
        predictive_strength(bpb, np.full(3, 0.5))


@pytest.mark.parametrize(
    ("method", "topic"),
    [("preselect", "chess"), ("mean_bpb", "baking"), ("strongest_llm", "sailing")],
)
def test_labels_of_pages_reach_documents(method: str, topic: str, tmp_path: Path) -> None:
    sample = sample_of({"chess": "predictive", "baking": "low", "sailing": "best"})
    if method == "preselect":  # the other topics say nothing, or the opposite
        sample = sample_of({"chess": "predictive"})
    material = Material(FASTTEXT, tmp_path, 1, sample=sample)
    assert favourite(METHODS[method](material, DOCUMENTS)) == topic
    assert len(METHODS[method].llms_of(sample)) == (1 if method == "strongest_llm" else LLMS)
    assert list(tmp_path.iterdir()) == [], "nothing is left in the scratch folder"


def test_the_classifier_prefers_text_like_that_of_the_target(tmp_path: Path) -> None:
    texts = [document("chess", 500 + n) for n in range(8)]
    found = METHODS["classifier"](Material(FASTTEXT, tmp_path, 1, texts), DOCUMENTS)
    assert favourite(found) == "chess"


def test_random_numbers_go_with_seed_and_text(tmp_path: Path) -> None:
    material = Material(FASTTEXT, tmp_path, 1)
    one, again, other = METHODS["random"](material, Documents.of(["a", "b", "a"]))
    assert one == other != again
    turned = METHODS["random"](material, Documents.of(["b", "a"]))
    assert turned.tolist() == [again, one]
    reseeded = METHODS["random"](dataclasses.replace(material, seed=2), Documents.of(["a"]))
    assert reseeded[0] != one
    many = METHODS["random"](material, Documents.of([str(n) for n in range(4000)]))
    # Four standard errors of the mean of 4,000 uniform numbers.
    assert abs(many.mean() - 0.5) < 4 * (1 / 12 / 4000) ** 0.5


def test_documents_are_drawn_with_the_odds_of_their_probabilities() -> None:
    probability = np.array([0.5, 0.5, 0.8, 0.0])
    first = []
    for seed in range(3000):
        found = drawn_with_odds(probability, Documents.of(["a", "b", "c", "d"]), seed)
        # What fastText cannot tell from 0 has the odds of its precision, 1.2e-7.
        assert np.isfinite(found[3])
        first.append(int(found.argmax()))
    share = np.bincount(first, minlength=3) / len(first)
    # Odds 1, 1 and 4; four standard errors.
    np.testing.assert_allclose(share, [1 / 6, 1 / 6, 4 / 6], atol=4 * (2 / 9 / 3000) ** 0.5)
    copies = drawn_with_odds(probability, Documents.of(["c"] * 4), 7)
    assert copies[0] == copies[1] < copies[2], "copies have the same luck"


@pytest.mark.parametrize("method", [name for name in METHODS if name != "random"])
def test_without_material_a_method_says_what_it_lacks(method: str, tmp_path: Path) -> None:
    reasons = {"training_texts": "no train split", "sample": "no matrix"}
    with pytest.raises(LacksMaterialError, match=r"no train split|no matrix|no filter"):
        METHODS[method](Material(FASTTEXT, tmp_path, reasons=reasons), DOCUMENTS)


def test_shapes_and_nan_are_refused() -> None:
    sample = sample_of({})
    with pytest.raises(PcorrError, match="do not fit 5 LLMs"):
        dataclasses.replace(sample, errors=sample.errors[1:])
    with pytest.raises(PcorrError, match="NaN"):
        dataclasses.replace(sample, bpb=np.where(sample.bpb == sample.bpb[0, 0], np.nan, 1.0))
