"""From kept results to the reliability of a target, its check and its table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import rankdata

from pcorr_assets.config import Settings
from pcorr_assets.config.loading import settings_from
from pcorr_assets.lm.benchmark_settings import evaluation_sha256
from pcorr_assets.lm.results import KeptResults, Result, make_row, rows_to_table
from pcorr_assets.stats.reliability import combined_reliability, rank_weights, reliability
from pcorr_assets.warehouse import TABLES, Warehouse

Materialise = Callable[..., dg.ExecuteInProcessResult]
COMMIT = "0" * 40
LLMS = [f"fam{n // 2}/llm-{n}" for n in range(14)]


def settings_of(folder: Path, combine: str = "mean", **metrics: str) -> Settings:
    return settings_from(
        {
            "home": "home",
            "llms": [{"family": f"fam{n}", "models": LLMS[2 * n : 2 * n + 2]} for n in range(7)],
            "benchmarks": {name: {"metric": metric} for name, metric in metrics.items()},
            "targets": {"both": {"benchmarks": list(metrics), "combine": combine}},
        },
        folder=folder,
    )


def items_of(seed: int) -> dict[str, np.ndarray]:
    """Scores (N, K) by metric: right or wrong is noisier than the answer's bits-per-byte."""
    rng = np.random.default_rng(seed)
    skill = np.random.default_rng(9).normal(size=(len(LLMS), 1))
    bpb = 2 - 0.2 * skill + 0.3 * rng.normal(size=(len(LLMS), 40))
    right = (rng.normal(size=bpb.shape) < 0.3 * skill).astype(float)
    return {"acc,none": right, "gold_bpb,none": np.maximum(bpb, 0.01)}


def write_llms(settings: Settings, llms: list[str], *, with_items: bool = True) -> None:
    """Kept results, `benchmark_errors` and `llms` of these, as evaluations leave them."""
    wh = Warehouse(settings.home)
    for llm in llms:
        kept, rows = KeptResults.of(settings.home, llm), []
        for seed, (name, benchmark) in enumerate(settings.benchmarks.items()):
            items = {metric: scores[LLMS.index(llm)] for metric, scores in items_of(seed).items()}
            result = Result(
                llm=llm, benchmark=name, commit_sha=COMMIT, dtype="float32",
                evaluation_sha256=evaluation_sha256(name, benchmark), lm_eval_version="0",
                task_version=None, num_fewshot=0, limit=None, seed=0, sample_count=40,
                values={metric: float(scores.mean()) for metric, scores in items.items()},
                higher_is_better={}, leaked_prompts=0, items=items if with_items else None,
            )  # fmt: skip
            row, _ = make_row(result, benchmark)
            kept.keep(result, row)
            rows.append(row)
        table = rows_to_table(rows, TABLES["benchmark_errors"].schema)
        wh.write("benchmark_errors", (llm,), table)
        record = {
            **dict.fromkeys(TABLES["llms"].schema.names), "llm": llm, "source": "lm_eval",
            "family": llm.partition("/")[0], "name": llm, "revision": "main",
            "commit_sha": COMMIT, "dtype": "float32",
        }  # fmt: skip
        wh.write("llms", (llm,), pa.Table.from_pylist([record], schema=TABLES["llms"].schema))


def run(
    materialise: Materialise, instance: dg.DagsterInstance, settings: Settings
) -> tuple[dg.AssetCheckEvaluation, dict[str, Any], list[dict[str, Any]]]:
    instance.add_dynamic_partitions("llm", LLMS)
    result = materialise(settings, ["error_vector"], "both")
    assert result.success
    (event,) = result.get_asset_materialization_events()
    check = next(
        found
        for found in result.get_asset_check_evaluations()
        if found.check_name == "errors_are_reliable"
    )
    rows = Warehouse(settings.home).read("reliabilities", "both").to_pylist()
    return check, dict(event.materialization.metadata), rows


@pytest.mark.parametrize("combine", ["mean", "mean_rank", "weighted_rank"])
def test_each_metric_and_the_target_have_a_reliability(
    tmp_path: Path, materialise: Materialise, instance: dg.DagsterInstance, combine: str
) -> None:
    settings = settings_of(tmp_path, combine, arc="acc", sciq="gold_bpb")
    write_llms(settings, LLMS)
    check, metadata, rows = run(materialise, instance, settings)
    found = {(row["benchmark"], row["metric"]): row for row in rows}
    assert len(found) == 4
    expected = {
        (name, metric): reliability(scores.astype("<f4"))
        for seed, name in enumerate(settings.benchmarks)
        for metric, scores in items_of(seed).items()
    }
    assert all(expected.values())
    for key, row in found.items():
        assert row["reliability"] == pytest.approx(expected[key])
        assert (row["llm_count"], row["item_count"]) == (14, 40)
        assert row["is_used"] == (key in (("arc", "acc,none"), ("sciq", "gold_bpb,none")))
    errors = np.column_stack(
        [1 - items_of(0)["acc,none"].mean(axis=1), items_of(1)["gold_bpb,none"].mean(axis=1)]
    )
    used = (("arc", "acc,none"), ("sciq", "gold_bpb,none"))
    parts = np.array([expected[key] for key in used], dtype=float)
    if combine == "mean":
        whole = combined_reliability(errors, parts)
        assert rows[0]["target_reliability"] == pytest.approx(whole, rel=1e-5)
    if combine == "weighted_rank":
        weights = rank_weights(parts)
        assert weights[1] > 2 * weights[0]
        ranks = rankdata(errors, axis=0)
        vector = Warehouse(settings.home).read("error_vectors", "both").to_pylist()
        found_errors = {row["llm"]: row["error"] for row in vector}
        assert [found_errors[llm] for llm in LLMS] == pytest.approx((ranks @ weights).tolist())
    value = metadata["reliability"].value
    assert value == rows[0]["target_reliability"]
    assert 0 < value < 1
    assert check.passed == (value >= 0.7)


def test_a_target_that_cannot_carry_a_verdict_names_the_metric_that_can(
    tmp_path: Path, materialise: Materialise, instance: dg.DagsterInstance
) -> None:
    settings = settings_of(tmp_path, arc="acc")
    write_llms(settings, LLMS)
    check, metadata, _ = run(materialise, instance, settings)
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert f"a reliability of {metadata['reliability'].value:.2f}" in (check.description or "")
    assert "Use gold_bpb of arc (0.9" in (check.description or "")
    softer = settings_of(tmp_path, arc="gold_bpb")
    write_llms(softer, LLMS)
    assert run(materialise, instance, softer)[0].passed


def test_llms_that_were_evaluated_before_are_named_and_do_not_count(
    tmp_path: Path, materialise: Materialise, instance: dg.DagsterInstance
) -> None:
    settings = settings_of(tmp_path, arc="gold_bpb")
    write_llms(settings, LLMS[:10])
    write_llms(settings, LLMS[10:], with_items=False)
    check, metadata, rows = run(materialise, instance, settings)
    assert check.passed
    assert {row["llm_count"] for row in rows} == {10}
    assert "arc: fam5/llm-10, fam5/llm-11, fam6/llm-12, fam6/llm-13 have no scores of items" in (
        str(metadata["report"].value)
    )
    # Five are too few to say anything; the error vector is made all the same.
    write_llms(settings, LLMS[5:], with_items=False)
    check, metadata, rows = run(materialise, instance, settings)
    assert check.passed
    assert "The reliability of both is not known" in (check.description or "")
    assert "reliability" not in metadata
    assert {row["reliability"] for row in rows} == {None}
    assert Warehouse(settings.home).row_count("error_vectors", "both") == 14


def test_weights_that_are_not_known_are_refused_by_name(
    tmp_path: Path, materialise: Materialise, instance: dg.DagsterInstance
) -> None:
    settings = settings_of(tmp_path, "weighted_rank", arc="acc", sciq="gold_bpb")
    write_llms(settings, LLMS, with_items=False)
    instance.add_dynamic_partitions("llm", LLMS)
    result = materialise(settings, ["error_vector"], "both")
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    text = str(failure.step_failure_data)
    assert "the reliability of arc is not known, so combine: weighted_rank has no weights" in text
    assert "use combine: mean_rank" in text
