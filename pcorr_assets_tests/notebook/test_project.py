"""What a notebook gets is what stands in the tables; what is not there is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import pcorr_assets
from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.layout import read_matrix
from pcorr_assets.notebook import Project
from pcorr_assets.report.plots import png
from pcorr_assets.stats import rank_prediction, verdict
from pcorr_assets_tests.report import worlds

SAMPLE, TARGET = "texts", "good"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notebook")
    worlds.write_text_world(folder)
    return folder


@pytest.fixture
def project(folder: Path) -> Project:
    return pcorr_assets.open(folder / "pcorr.yaml")


def test_estimates_are_those_of_the_matrix_and_the_errors(project: Project) -> None:
    matrix, errors = project.matrix(SAMPLE), project.errors(TARGET)
    estimate = project.estimate(SAMPLE, TARGET)
    assert matrix.columns.name == "domain"
    for unit in matrix.columns[:5]:
        expected, _ = stats.spearmanr(matrix[unit], errors[matrix.index])
        assert estimate.loc[unit, "estimate"] == pytest.approx(expected, abs=1e-12)
    values, weight, tau = (estimate[name].to_numpy() for name in ("estimate", "weight", "tau"))
    assert np.all(np.diff(values) <= 0)
    assert weight.sum() == pytest.approx(1, abs=1e-9)
    assert np.all(weight <= tau + 1e-12)


def test_each_level_can_be_had(project: Project) -> None:
    view = read_matrix(project.warehouse, SAMPLE, "chunk")
    chunks = project.matrix(SAMPLE, "chunk")
    assert list(chunks.index) == view.llms
    assert np.array_equal(chunks.to_numpy(), view.X)


def test_the_verdict_is_what_the_statistics_say_of_the_panel(project: Project) -> None:
    panel = project.panel(SAMPLE, TARGET)
    settings = project.settings.validation
    judged = verdict.judge(
        panel,
        rank_prediction.predict_ranks(panel, seed=settings.seed),
        verdict.ValidationSettings(
            bootstrap=settings.bootstrap,
            halvings=settings.halvings,
            permutations=settings.permutations,
            seed=settings.seed,
        ),
    )
    row = project.verdict(SAMPLE, TARGET)
    assert (row["verdict"], row["gain"]) == (judged.verdict, judged.gain)


def test_tables_and_queries(project: Project) -> None:
    rows = project.table("estimates", SAMPLE, TARGET)
    counted = project.sql("SELECT count(*) AS n FROM estimates WHERE target = ?", [TARGET])
    assert counted["n"][0] == rows.num_rows == project.table("estimates").num_rows
    assert SAMPLE in repr(project)


def test_plots_are_figures(project: Project) -> None:
    for plot in (project.plot_estimates, project.plot_gain, project.plot_ranks):
        assert png(plot(SAMPLE, TARGET)).startswith(b"\x89PNG")
    shown = np.asarray(project.plot_gain(SAMPLE, TARGET).axes[0].collections[0].get_offsets())
    assert shown[0, 0] == project.verdict(SAMPLE, TARGET)["gain"]


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda p: p.matrix("text"), "'text' is none of the samples; did you mean texts?"),
        (lambda p: p.errors("bad"), "'bad' is none of the targets"),
        (lambda p: p.table("estimate"), "did you mean estimates?"),
        (lambda p: p.estimate(SAMPLE, TARGET, "pearson"), "by 'pearson', only by product, "),
        (lambda p: p.plot_ranks(SAMPLE, TARGET, "folds"), "'folds', only family, random"),
        (lambda p: p.matrix(SAMPLE, "word"), "no level 'word'"),
        (lambda p: p.table("low_cells", "web"), "is not there"),
    ],
)
def test_what_is_not_there_is_said(project: Project, ask, words: str) -> None:
    with pytest.raises(PcorrError, match=words.replace("?", "[?]").replace("|", "[|]")):
        ask(project)


def test_a_project_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(PcorrError, match=r"nowhere\.yaml"):
        pcorr_assets.open(tmp_path / "nowhere.yaml")
