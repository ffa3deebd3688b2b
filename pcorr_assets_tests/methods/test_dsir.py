"""DSIR against the authors' own code (`data-selection` 1.0.3), and the noise against theory."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from data_selection import HashedNgramDSIR

from pcorr_assets.config import FastText
from pcorr_assets.methods.dsir import dsir
from pcorr_assets.methods.material import Documents, LacksMaterialError, Material, seeded_uniform
from pcorr_assets_tests.filters.conftest import page_text

ODD = "Don't stop -- “caf\u00e9” na\u00efve, it's 3.14 %...\u4f60\u597d _x_ \U0001f600!! "


def texts_of(topic: str, count: int, length: int) -> list[str]:
    return [ODD * (n % 3) + page_text(topic, n, length).upper() for n in range(count)]


def write(path: Path, texts: list[str]) -> str:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return str(path)


def luck(seed: int, text: str) -> float:
    return -math.log(-math.log(seeded_uniform(seed, "dsir", text.encode())))


def test_weights_are_those_of_the_authors_code(tmp_path: Path) -> None:
    target = [*texts_of("sailing", 10, 30), "one"]
    pool = [
        *texts_of("chess", 20, 120), *texts_of("sailing", 20, 120), *texts_of("baking", 9, 60), "",
    ]  # fmt: skip
    published = HashedNgramDSIR(
        [write(tmp_path / "pool.jsonl", pool)],
        [write(tmp_path / "target.jsonl", target)],
        str(tmp_path / "cache"),
        num_proc=1,
    )
    published.fit_importance_estimator()
    published.compute_importance_weights()
    weights = np.load(tmp_path / "cache" / "log_importance_weights" / "0.npy")
    words = np.load(tmp_path / "cache" / "perexample_metadata" / "0.npy")
    considered = published.perexample_metadata_filter(words)
    assert 0 < considered.sum() < len(pool)

    material = Material(FastText(), tmp_path, 3, target)
    found = dsir(material, Documents.of(pool))

    assert (np.isfinite(found) == considered).all()
    own = found - np.array([luck(3, text) for text in pool])
    # Sums in another order: of about 250 terms below 20.
    np.testing.assert_allclose(own[considered], weights[considered], rtol=0, atol=1e-9)


def test_noise_makes_the_better_of_two_come_first_as_often_as_its_weight_says() -> None:
    """Gumbel top-1 of weights 3 and 1 takes the first with probability 3/4 (4 standard errors)."""
    draws = 4000
    won = sum(math.log(3) + luck(seed, "a") > luck(seed, "b") for seed in range(draws))
    assert abs(won / draws - 0.75) < 4 * math.sqrt(0.75 * 0.25 / draws)


def test_a_pool_of_short_documents_is_refused(tmp_path: Path) -> None:
    material = Material(FastText(), tmp_path, 3, ["some text"])
    with pytest.raises(LacksMaterialError, match="no document of the pool has 100 words"):
        dsir(material, Documents.of(["too short"]))
