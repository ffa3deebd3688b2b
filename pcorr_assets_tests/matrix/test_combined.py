"""The error vector of a target that combines others."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import rankdata, zscore

from pcorr_assets.config import Target
from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.combined import (
    Parts,
    combine_vectors,
    standardised_ranks,
    weighted_errors,
)
from pcorr_assets.matrix.errors import ErrorVector
from pcorr_assets.warehouse import TABLES


def vector(target: str, errors: dict[str, float], left_out: dict[str, str]) -> ErrorVector:
    rows = [
        {"target": target, "source": "lm_eval", "llm": llm, "family": llm[0], "error": error}
        for llm, error in errors.items()
    ]
    table = pa.Table.from_pylist(rows, schema=TABLES["error_vectors"].schema)
    return ErrorVector(table, {"lm_eval": left_out}, [f"careful with {target}"])


def test_errors_are_weighted_means_of_standardised_ranks() -> None:
    errors = np.array([[0.1, 9.0], [0.4, 9.0], [0.2, 1.0], [0.9, 5.0]])
    expected = 0.7 * zscore(rankdata(errors[:, 0])) + 0.3 * zscore(rankdata(errors[:, 1]))
    assert weighted_errors(errors, [0.7, 0.3]) == pytest.approx(expected, abs=1e-12)
    assert (standardised_ranks(np.full((4, 1), 3.0)) == 0).all()


def test_correlation_with_them_is_the_weighted_mean_of_rank_correlations() -> None:
    rng = np.random.default_rng(2)
    errors, losses = rng.normal(size=(30, 3)).round(1), rng.normal(size=(30, 12)).round(1)
    weights = np.array([0.2, 0.5, 0.3])
    combined = weighted_errors(errors, weights)
    of_parts = np.array(
        [[np.corrcoef(rankdata(x), rankdata(y))[0, 1] for y in errors.T] for x in losses.T]
    )
    whole = [np.corrcoef(rankdata(x), combined)[0, 1] for x in losses.T]
    assert np.asarray(whole) * combined.std() == pytest.approx(of_parts @ weights, abs=1e-12)


def test_llms_need_errors_on_all_targets() -> None:
    target = Target.model_validate({"combine_targets": {"science": 3, "german": 1}})
    found = combine_vectors(
        "both",
        target,
        {
            "science": vector("science", {"a-1": 0.1, "a-2": 0.2, "b-1": 0.3, "b-2": 0.4}, {}),
            "german": vector("german", {"b-1": 7, "a-2": 8, "a-1": 9}, {"b-2": "it failed"}),
        },
    )
    rows = found.table.to_pylist()
    assert [(row["llm"], row["family"]) for row in rows] == [
        ("a-1", "a"), ("a-2", "a"), ("b-1", "b"),
    ]  # fmt: skip
    # Ranks (1, 2, 3) and (3, 2, 1) with weights 3/4 and 1/4, in standard deviations.
    unit = np.sqrt(3 / 2)
    assert [row["error"] for row in rows] == pytest.approx([-unit / 2, 0, unit / 2])
    assert found.left_out == {"lm_eval": {"b-2": "german: it failed"}}
    assert "german: careful with german" in found.report
    parts = Parts.noted(found.notes)
    assert parts is not None
    assert parts.weights == {"science": 0.75, "german": 0.25}
    assert parts.of("lm_eval", ["b-1", "a-1"]).tolist() == [[0.3, 7], [0.1, 9]]
    with pytest.raises(PcorrError, match=r"b-2 .* no errors on science"):
        parts.of("lm_eval", ["b-2"])


def test_without_a_common_llm_it_is_said_why() -> None:
    target = Target.model_validate({"combine_targets": ["science", "german"]})
    vectors = {
        "science": vector("science", {"a-1": 0.1}, {}),
        "german": vector("german", {"b-1": 0.1}, {}),
    }
    with pytest.raises(PcorrError) as caught:
        combine_vectors("both", target, vectors)
    assert "no LLM has an error on each of science, german" in str(caught.value)
    assert "a-1 (lm_eval) is left out of target both: it has no error on target german" in str(
        caught.value
    )
