"""Targets that combine others, from a published matrix to a selection and its report."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from numpy.typing import ArrayLike
from scipy.optimize import linprog
from scipy.stats import rankdata

from pcorr_assets.config import Settings, Target, Validation
from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.combined import weighted_errors
from pcorr_assets.report.reading import read_facts
from pcorr_assets.steps.inputs import AlignedInputs, read_inputs
from pcorr_assets.steps.sensitivity import sensitivity_of_targets
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.defs.conftest import PAGES, sample_target

COMBINED = {
    "both": {"combine_targets": {"good": 0.7, "bad": 0.3}},
    "worst": {"combine_targets": ["good", "bad"], "worst_case": True},
}
SELECTION = ["estimate", "sampling_distribution"]


@pytest.fixture
def settings(matrix_settings: Settings) -> Settings:
    """Target `good` goes with one half of the pages, `bad` with the other."""
    files = matrix_settings.samples["published"].matrix_csv
    assert files is not None
    with open(str(files.bpb), encoding="utf-8") as source:
        rows = list(csv.reader(source))[PAGES // 2 + 1 :]
    write_other_errors(
        matrix_settings, np.array([row[1:] for row in rows], dtype=float).mean(axis=0)
    )
    targets = {name: Target.model_validate(keys) for name, keys in COMBINED.items()}
    validation = Validation(bootstrap=20, halvings=10, permutations=50)
    return matrix_settings.model_copy(
        update={"targets": matrix_settings.targets | targets, "validation": validation}
    )


def write_other_errors(settings: Settings, errors: np.ndarray) -> None:
    """The errors on benchmark `noise`, that of target `bad`."""
    files = settings.samples["published"].matrix_csv
    assert files is not None
    path = Path(str(files.errors))
    *others, _ = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*others, ",".join(["noise", *map(str, errors)])]) + "\n")


def inputs_of(settings: Settings, target: str) -> AlignedInputs:
    failures: dict[str, PcorrError] = {}
    (found,) = read_inputs(Warehouse(settings.home), settings, "published", [target], failures)
    assert not failures
    return found


def estimated(wh: Warehouse, target: str) -> np.ndarray:
    rows = wh.read("estimates", "published", target).to_pylist()
    return np.array([row["estimate"] for row in rows if row["estimator"] == "spearmanr"])


def weights(wh: Warehouse, target: str) -> np.ndarray:
    return wh.read("sampling_distributions", "published", target)["weight"].to_numpy()


def rank_correlation(a: ArrayLike, b: ArrayLike) -> float:
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in event.metadata.items()}


def test_combined_targets_go_all_the_way(settings: Settings, materialise: Any) -> None:
    assert materialise(settings, ["bpb_matrix"], "published").success
    # Neither needs the error vectors of its parts.
    for target in COMBINED:
        assert materialise(settings, ["error_vector"], target).success
    shown = {}
    for target, assets in (("both", SELECTION), ("worst", [*SELECTION, "rank_prediction"])):
        result = materialise(settings, assets, sample_target("published", target))
        assert result.success
        shown[target] = metadata(result, "estimate")
    wh = Warehouse(settings.home)

    both = inputs_of(settings, "both")
    parts = both.combined["both"].part_errors
    of_parts = np.array([[rank_correlation(x, y) for x in both.X.T] for y in parts.T])
    errors = weighted_errors(parts, [0.7, 0.3])
    expected = [rank_correlation(x, errors) for x in both.X.T]
    assert estimated(wh, "both") == pytest.approx(expected, abs=1e-12)
    mean = np.array([0.7, 0.3]) @ of_parts
    assert rank_correlation(mean, expected) > 0.95
    gives = of_parts @ weights(wh, "both")
    assert [
        shown["both"][f"mean rank correlation of the selection with {part}"]
        for part in ("good", "bad")
    ] == pytest.approx(gives)
    assert shown["both"]["weight of good"] == pytest.approx(0.7)

    optimum = linprog(
        np.append(np.zeros(40), -1.0),
        A_ub=np.column_stack([-of_parts, np.ones(2)]),
        b_ub=np.zeros(2),
        A_eq=np.append(np.ones(40), 0.0)[np.newaxis],
        b_eq=[1.0],
        bounds=[*[(0, 0.1)] * 40, (None, None)],
    )
    least = shown["worst"]["largest minimum of these that the caps allow"]
    assert least == pytest.approx(-optimum.fun, abs=2e-8)
    reached = (of_parts @ weights(wh, "worst")).min()
    # One of ten units at the threshold, and the errors are ranked anew.
    assert least - 0.1 * np.ptp(of_parts) <= reached <= least + 1e-8
    assert reached > gives.min()
    assert 0 < shown["worst"]["weight of good"] < 1

    facts = read_facts(wh, settings, "published", "worst")
    assert facts.verdict is not None


def test_sensitivity_leaves_out_benchmarks_of_the_parts(
    settings: Settings, materialise: Any
) -> None:
    assert materialise(settings, ["bpb_matrix"], "published").success
    assert materialise(settings, ["error_vector"], "both").success
    failures: dict[str, PcorrError] = {}
    (found,) = sensitivity_of_targets(
        Warehouse(settings.home), settings, "published", ["both"], failures
    )
    rows = {row["changed"]: row for row in found.table.to_pylist() if row["kind"] == "benchmark"}
    assert set(rows) == {"signal", "noise"}
    assert not failures
    assert rows["signal"]["overlap"] < rows["noise"]["overlap"]


def test_the_errors_of_a_part_must_differ(settings: Settings, materialise: Any) -> None:
    write_other_errors(settings, np.full(16, 0.5))
    assert materialise(settings, ["bpb_matrix"], "published").success
    assert materialise(settings, ["error_vector"], "both").success
    failures: dict[str, PcorrError] = {}
    wh = Warehouse(settings.home)
    assert not list(read_inputs(wh, settings, "published", ["both"], failures))
    assert "Target 'bad': all 16 LLMs have the error 0.5" in str(failures["both"])
