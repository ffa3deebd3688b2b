"""Error vectors of targets: which rows count, how they combine, and matching with a matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from scipy.stats import rankdata

from pcorr_assets.config import MatrixCsv, Target
from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix import ErrorVector, align, error_vector, import_published, read_matrix
from pcorr_assets.warehouse import TABLES, Warehouse

SETTINGS = {"arc": "sha-arc", "piqa": "sha-piqa"}
MakeLLMs = Callable[..., pa.Table]


def error_row(llm: str, benchmark: str, error: float | None, **changes: Any) -> dict[str, Any]:
    row = {
        "llm": llm,
        "source": "lm_eval",
        "benchmark": benchmark,
        "metric": "acc",
        "higher_is_better": True,
        "score": None if error is None else 1 - error,
        "error": error,
        "stderr": 0.001,
        "settings_sha256": SETTINGS.get(benchmark),
        "commit_sha": "c1",
        "dtype": "float32",
    }
    return row | changes


def errors_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=TABLES["benchmark_errors"].schema)


ROWS = [
    error_row(llm, benchmark, error)
    for llm, arc, piqa in (("f-a", 0.5, 0.2), ("f-b", 0.7, 0.1), ("g-c", 0.6, 0.3))
    for benchmark, error in (("arc", arc), ("piqa", piqa))
]


def run(
    rows: Sequence[dict[str, Any]],
    llms: pa.Table,
    benchmarks: Sequence[str] = ("arc", "piqa"),
    combine: str = "mean",
    **options: Any,
) -> ErrorVector:
    target = Target.model_validate({"benchmarks": list(benchmarks), "combine": combine})
    options = {"expected_settings": SETTINGS} | options
    return error_vector("science", target, errors_table(rows), llms, **options)


def by_llm(vector: ErrorVector, source: str = "lm_eval") -> dict[str, float]:
    return {row["llm"]: row["error"] for row in vector.table.to_pylist() if row["source"] == source}


def test_the_mean_over_benchmarks_with_families(make_llms: MakeLLMs) -> None:
    vector = run(ROWS[::-1], make_llms(["f-a", "f-b", "g-c"]))
    assert vector.table.schema.equals(TABLES["error_vectors"].schema)
    assert by_llm(vector) == pytest.approx({"f-a": 0.35, "f-b": 0.4, "g-c": 0.45}, abs=1e-15)
    assert vector.table["llm"].to_pylist() == ["f-a", "f-b", "g-c"]
    assert vector.table["family"].to_pylist() == ["f", "f", "g"]
    assert set(vector.table["target"].to_pylist()) == {"science"}
    assert vector.report == []


def test_mean_rank_takes_average_ranks_among_llms_with_all_benchmarks(
    make_llms: MakeLLMs,
) -> None:
    llms = [f"f-{i}" for i in range(6)]
    rng = np.random.default_rng(0)
    values = rng.integers(1, 4, (6, 2)) / 10
    rows = [
        error_row(llm, benchmark, float(values[i, b]))
        for i, llm in enumerate(llms)
        for b, benchmark in enumerate(("arc", "piqa"))
    ]
    # It would be ranked first on arc, but has no other benchmark.
    rows.append(error_row("f-half", "arc", 0.0))
    vector = run(rows, make_llms([*llms, "f-half"]), combine="mean_rank")
    expected = rankdata(values, axis=0).mean(axis=1)
    assert by_llm(vector) == dict(zip(llms, expected, strict=True))
    assert vector.left_out["lm_eval"] == {"f-half": "it has no error on piqa"}


def test_weighted_ranks_and_sources_without_weights(make_llms: MakeLLMs) -> None:
    llms = make_llms(["f-a", "f-b", "g-c"])
    asked: list[list[str]] = []

    def weigh(own: Sequence[str]) -> np.ndarray:
        asked.append(list(own))
        return np.array([0.75, 0.25])

    vector = run(ROWS, llms, combine="weighted_rank", weigh=weigh)
    # Ranks on arc are 1, 3, 2 and on piqa 2, 1, 3.
    assert by_llm(vector) == {"f-a": 1.25, "f-b": 2.5, "g-c": 2.25}
    assert asked == [["f-a", "f-b", "g-c"]]
    with pytest.raises(PcorrError, match="imported errors have no items to weigh"):
        run(ROWS, llms, combine="weighted_rank")


def test_sources_are_kept_apart_and_ranked_apart(make_llms: MakeLLMs) -> None:
    imported = {"source": "paper", "metric": "imported", "settings_sha256": None, "dtype": None}
    rows = [
        *ROWS,
        error_row("f-a", "arc", 900.0, **imported),
        error_row("z", "arc", 7.0, **imported),
    ]
    llms = pa.concat_tables(
        [make_llms(["f-a", "f-b", "g-c"]), make_llms(["f-a", "z"], "paper", None, None)]
    )
    vector = run(rows, llms, ["arc"], "mean_rank")
    assert by_llm(vector) == {"f-a": 1.0, "f-b": 3.0, "g-c": 2.0}
    assert by_llm(vector, "paper") == {"f-a": 2.0, "z": 1.0}
    both = run(rows, llms)
    # The paper has no piqa: its LLMs are named, the own evaluations stand.
    assert set(both.left_out["paper"]) == {"f-a", "z"}
    assert set(by_llm(both)) == {"f-a", "f-b", "g-c"}
    assert not by_llm(both, "paper")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"settings_sha256": "older"}, "its result on piqa is outdated"),
        ({"settings_sha256": None}, "its result on piqa is outdated"),
        ({"commit_sha": "c2"}, "is from commit_sha c2, but table llms has c1"),
        ({"dtype": "bfloat16"}, "is from dtype bfloat16, but table llms has float32"),
        ({"error": math.nan}, "its error on piqa is nan"),
        ({"error": math.inf}, "its error on piqa is inf"),
    ],
)
def test_rows_that_do_not_count_leave_their_llm_out(
    make_llms: MakeLLMs, changes: dict[str, Any], reason: str
) -> None:
    rows = [*ROWS, error_row("bad", "arc", 0.1), error_row("bad", "piqa", 0.1) | changes]
    vector = run(rows, make_llms(["f-a", "f-b", "g-c", "bad"]))
    assert set(by_llm(vector)) == {"f-a", "f-b", "g-c"}
    assert reason in vector.left_out["lm_eval"]["bad"]
    assert vector.report == [
        f"bad (lm_eval) is left out of target science: {vector.left_out['lm_eval']['bad']}."
    ]
    # Where the target does not ask for that benchmark, the LLM is in.
    assert "bad" in by_llm(run(rows, make_llms(["f-a", "f-b", "g-c", "bad"]), ["arc"]))


def test_llms_that_are_removed_or_unknown_are_named(make_llms: MakeLLMs) -> None:
    vector = run(ROWS, make_llms(["f-a", "f-b"]), llm_keys=["f-a", "g-c"])
    assert set(by_llm(vector)) == {"f-a"}
    assert vector.left_out["lm_eval"]["f-b"] == "removed"
    assert "table llms does not know it" in vector.left_out["lm_eval"]["g-c"]


def test_a_benchmark_nobody_has_is_refused_with_similar_names(make_llms: MakeLLMs) -> None:
    llms = make_llms(["f-a", "f-b", "g-c"])
    with pytest.raises(PcorrError, match="no LLM has an error on piqqa; similar names: piqa"):
        run(ROWS, llms, ["arc", "piqqa"])
    with pytest.raises(PcorrError, match="there are errors of arc, piqa"):
        run(ROWS, llms, ["zzz"])
    with pytest.raises(PcorrError, match="there are no errors at all yet"):
        run([], llms)


def test_when_nobody_is_left_everybody_is_named(make_llms: MakeLLMs) -> None:
    rows = [error_row("f-a", "arc", 0.1), error_row("f-b", "piqa", 0.1)]
    with pytest.raises(PcorrError, match=r"(?s)no LLM has a valid error.*f-a.*piqa.*f-b.*arc"):
        run(rows, make_llms(["f-a", "f-b"]))


def test_differences_below_their_standard_error_are_reported(make_llms: MakeLLMs) -> None:
    llms = make_llms([f"f-{i}" for i in range(5)])
    close = [error_row(f"f-{i}", "arc", 0.5 + i / 1000, stderr=0.02) for i in range(5)]
    (warning,) = run(close, llms, ["arc"]).report
    assert warning.startswith("arc (lm_eval): the LLMs' errors differ by 0.0016")
    assert "evaluate more items" in warning
    apart = [row | {"error": 0.5 + i / 10} for i, row in enumerate(close)]
    assert run(apart, llms, ["arc"]).report == []
    unknown = [row | {"stderr": None} for row in close]
    assert run(unknown, llms, ["arc"]).report == []
    (warning,) = run([*close[:3], *unknown[3:]], llms, ["arc"]).report
    assert "standard error of 0.02 (2 of the 5 LLMs have none), so most" in warning


def test_standard_errors_of_scores_are_compared_on_the_scale_of_errors(
    make_llms: MakeLLMs,
) -> None:
    llms = make_llms([f"f-{i}" for i in range(5)])
    # Percent: a standard error of 2 points is one of 0.02 of the error.
    rows = [error_row(f"f-{i}", "arc", 0.5 + i / 10, stderr=2.0) for i in range(5)]
    assert run(rows, llms, ["arc"], scales={"arc": 100.0}).report == []
    close = [row | {"error": 0.5 + i / 1000} for i, row in enumerate(rows)]
    (warning,) = run(close, llms, ["arc"], scales={"arc": 100.0}).report
    assert "standard error of 0.02, so" in warning


@pytest.mark.parametrize(
    ("column", "what"), [("task_version", "the task"), ("lm_eval_version", "lm-eval")]
)
def test_mixed_versions_are_reported(make_llms: MakeLLMs, column: str, what: str) -> None:
    rows = [row | {column: "2.0" if row["llm"] == "g-c" else "1.0"} for row in ROWS]
    llms = make_llms(["f-a", "f-b", "g-c"])
    assert run([row | {column: "1.0"} for row in ROWS], llms).report == []
    vector = run(rows, llms, ["piqa"])
    assert len(by_llm(vector)) == 3
    (sentence,) = vector.report
    assert f"piqa (lm_eval): the errors come from several versions of {what}" in sentence
    assert "(1.0: f-a, f-b; 2.0: g-c)" in sentence


def test_a_benchmark_that_decides_the_mean_alone_is_reported(make_llms: MakeLLMs) -> None:
    rows = [
        error_row(f"f-{i}", benchmark, scale * (1 + i))
        for i in range(4)
        for benchmark, scale in (("arc", 0.1), ("piqa", 1000.0))
    ]
    llms = make_llms([f"f-{i}" for i in range(4)])
    (warning,) = run(rows, llms).report
    assert "piqa (lm_eval) spreads more than 20 times" in warning
    assert run(rows, llms, combine="mean_rank").report == []


def test_alignment_follows_the_matrix() -> None:
    found = align(["a", "b", "c", "d"], ["d", "x", "b", "a"])
    assert found.llms == ["a", "b", "d"]
    assert found.matrix_index.tolist() == [0, 1, 3]
    assert found.error_index.tolist() == [3, 2, 0]
    assert (found.only_in_matrix, found.only_in_errors) == (["c"], ["x"])


def test_too_few_shared_llms_are_refused_with_names() -> None:
    with pytest.raises(PcorrError, match=r"Only 2 LLMs \(a, b\).*matrix: c\. Only with errors: x"):
        align(["a", "b", "c"], ["b", "a", "x"])
    with pytest.raises(PcorrError, match="error vector has a more than once"):
        align(["a", "b", "c"], ["a", "a", "b", "c"])


def test_published_top_tens_come_out_of_the_stored_tables(
    published_data: Path, tmp_path: Path
) -> None:
    files = MatrixCsv(
        bpb=published_data / "bpb_by_page.csv",
        errors=published_data / "benchmark_errors.csv",
        level="page",
    )
    wh = Warehouse(tmp_path)
    import_published("published", files, 0.05).write(wh)
    view = read_matrix(wh, "published", "page")
    errors = wh.read("benchmark_errors", "imported", "published")
    llms = wh.read("llms", "imported", "published")
    published = yaml.safe_load((published_data / "top_ten_spearmanr.yaml").read_text())
    for key, expected in published.items():
        benchmarks = (
            ["lambada_openai", "lambada_standard"]
            if key == "lambada"
            else [f"lambada_openai_mt_{key.removeprefix('lambada_')}"]
        )
        target = Target.model_validate({"benchmarks": benchmarks})
        vector = error_vector(key, target, errors, llms, expected_settings={}).table
        y = vector["error"].to_numpy()
        at = align(view.llms, vector["llm"].to_pylist())
        assert len(at.llms) == 90
        X, y = view.X[at.matrix_index], y[at.error_index]
        ranks = np.column_stack([rankdata(X, axis=0), rankdata(y)])
        estimate = np.corrcoef(ranks, rowvar=False)[-1, :-1]
        top = {view.units[i].as_py() for i in np.argsort(-estimate)[:10].tolist()}
        assert top == set(expected), key
