"""Findings on the errors of a target."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from pcorr_assets.plausibility.finding import Finding
from pcorr_assets.plausibility.targets import (
    benchmarks_agree,
    enough_llms,
    errors_are_reliable,
    errors_by_benchmark,
    errors_differ,
    rank_correlations,
)
from pcorr_assets.warehouse import TABLES


def vectors(errors: np.ndarray, families: int = 8, source: str = "lm_eval") -> pa.Table:
    rows = [
        {
            "target": "t",
            "source": source,
            "llm": f"llm-{index:02}",
            "family": f"family-{index % families}",
            "error": float(error),
        }
        for index, error in enumerate(errors)
    ]
    return pa.Table.from_pylist(rows, schema=TABLES["error_vectors"].schema)


def test_enough_llms_of_enough_families() -> None:
    errors = np.linspace(0.2, 0.8, 16)
    assert enough_llms(vectors(errors)).passed
    assert "lm_eval: 9 LLMs of 8 families are few" in enough_llms(vectors(errors[:9])).text
    assert "16 LLMs of 3 families are few" in enough_llms(vectors(errors, families=3)).text


def test_each_source_needs_enough() -> None:
    both = pa.concat_tables(
        [vectors(np.linspace(0, 1, 16)), vectors(np.linspace(0, 1, 4), source="published")]
    )
    found = enough_llms(both)
    assert len(found.problems) == 1
    assert found.text.startswith("published: 4 LLMs")
    assert found.numbers["LLMs from lm_eval"] == 16


def test_errors_that_differ_pass() -> None:
    rng = np.random.default_rng(0)
    assert errors_differ(vectors(rng.uniform(0.3, 0.7, 20))).passed
    assert errors_differ(vectors(rng.uniform(20, 600_000, 20))).passed


def test_errors_that_are_nearly_the_same_are_noticed() -> None:
    rng = np.random.default_rng(0)
    nearly = errors_differ(vectors(0.75 + rng.uniform(-0.001, 0.001, 20)))
    assert "eight of ten LLMs have errors between" in nearly.text
    tied = np.full(20, 0.75)
    tied[:6] = rng.uniform(0.2, 0.7, 6)
    assert "70% of 20 LLMs have the same error" in errors_differ(vectors(tied)).text
    assert not errors_differ(vectors(np.zeros(20))).passed


NAMES = ["arc", "lambada", "piqa"]


def skilled(noise: float, llms: int = 16, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(llms, 1)) + noise * rng.normal(size=(llms, 3))


def test_benchmarks_of_one_skill_agree() -> None:
    found = benchmarks_agree({"lm_eval": (NAMES, skilled(0.3))})
    assert found.passed
    lowest = found.numbers["lowest rank correlation, lm_eval"]
    assert isinstance(lowest, float)
    assert lowest > 0.5


def test_a_benchmark_that_goes_the_other_way_is_named() -> None:
    errors = skilled(0.3)
    errors[:, 1] *= -1
    found = benchmarks_agree({"lm_eval": (NAMES, errors)})
    assert "2 pairs of 3 below 0.3" in found.text
    assert "lambada" in found.text.partition("put the LLMs")[0]


def test_what_cannot_be_compared_passes_with_a_note() -> None:
    assert "one benchmark" in benchmarks_agree({"lm_eval": (["arc"], skilled(1)[:, :1])}).note
    few = benchmarks_agree({"lm_eval": (NAMES, -skilled(1, llms=4))})
    assert few.passed
    assert "4 LLMs are too few" in few.note


def test_unreliable_errors_say_what_would_help() -> None:
    def row(metric: str, value: float, used: bool) -> dict[str, object]:
        return {
            "target": "t", "benchmark": "arc", "metric": metric, "is_used": used, "llm_count": 9,
            "item_count": 20, "reliability": value, "target_reliability": None,
        }  # fmt: skip

    def found(*rows: dict[str, object], value: float | None) -> Finding:
        table = pa.Table.from_pylist(list(rows), schema=TABLES["reliabilities"].schema)
        return errors_are_reliable("t", table, value, "Imported errors have no items.")

    used = row("acc,none", 0.64, True)
    problem = found(used, row("acc_norm,none", 0.66, False), value=0.64).text
    assert "36% of their variance is chance" in problem
    assert "correlations are at most 0.80 of their size. Evaluate more items" in problem
    problem = found(used, row("gold_bpb,none", 0.9, False), value=0.64).text
    assert problem.endswith("Use gold_bpb of arc (0.90) (`metric` of the benchmark; nothing is "
                            "evaluated again).")  # fmt: skip
    assert "at most 0.00" in found(row("acc,none", -0.2, True), value=-0.2).text
    assert found(row("acc,none", 0.7, True), value=0.7).passed
    unknown = found(value=None)
    assert unknown.passed
    assert unknown.text.endswith("is not known. Imported errors have no items.")


def test_errors_are_found_by_source_llm_and_benchmark() -> None:
    both = pa.concat_tables([vectors(np.zeros(2)), vectors(np.zeros(1), source="published")])
    rows = [
        {"source": source, "llm": llm, "benchmark": benchmark, "error": error}
        for source, llm, benchmark, error in [
            ("lm_eval", "llm-01", "b", 0.4),
            ("lm_eval", "llm-00", "a", 0.1),
            ("lm_eval", "llm-00", "b", 0.2),
            ("lm_eval", "llm-01", "a", 0.3),
            ("lm_eval", "llm-07", "a", 0.9),
            ("published", "llm-00", "a", 0.5),
            ("published", "llm-00", "b", 0.6),
        ]
    ]
    found = errors_by_benchmark(both, pa.Table.from_pylist(rows), ["a", "b"])
    assert {source: (names, values.tolist()) for source, (names, values) in found.items()} == {
        "lm_eval": (["a", "b"], [[0.1, 0.2], [0.3, 0.4]]),
        "published": (["a", "b"], [[0.5, 0.6]]),
    }


def test_llms_whose_rows_were_replaced_meanwhile_are_left_out() -> None:
    rows = [
        {"source": "lm_eval", "llm": llm, "benchmark": benchmark, "error": 0.5}
        for llm, benchmark in [("llm-00", "a"), ("llm-00", "b"), ("llm-01", "a")]
    ]
    found = errors_by_benchmark(
        vectors(np.array([0.1, 0.2])), pa.Table.from_pylist(rows), ["a", "b"]
    )
    assert found["lm_eval"][1].tolist() == [[0.5, 0.5]]
    none = errors_by_benchmark(vectors(np.array([0.1])), pa.Table.from_pylist(rows), ["a", "c"])
    assert benchmarks_agree(none).passed


@given(st.integers(3, 30), st.integers(0, 1000), st.integers(2, 50))
@settings(max_examples=50)
def test_rank_correlations_are_those_of_scipy(llms: int, seed: int, distinct: int) -> None:
    errors = np.random.default_rng(seed).integers(0, distinct, (llms, 3)).astype(float)
    for (first, second), value in rank_correlations(errors).items():
        a, b = errors[:, first], errors[:, second]
        constant = np.ptp(a) == 0 or np.ptp(b) == 0
        theirs = 0.0 if constant else float(np.asarray(spearmanr(a, b))[0])
        np.testing.assert_allclose(value, theirs, atol=1e-12)


def test_the_published_benchmarks_agree(published_data: Path) -> None:
    frame = pd.read_csv(published_data / "benchmark_errors.csv", index_col=0)
    assert benchmarks_agree({"published": (list(frame.index), frame.to_numpy().T)}).passed
    for errors in frame.to_numpy():
        assert errors_differ(vectors(errors)).passed
