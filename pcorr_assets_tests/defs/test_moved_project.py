"""A project is the same wherever it lies, and another one when what it names changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import duckdb
import pytest
import yaml
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from pcorr_assets.config import Settings, load_settings
from pcorr_assets.config.loading import settings_from
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.defs.instance import open_instance
from pcorr_assets.defs.made_from import MOST_NAMED, MadeFrom, changes
from pcorr_assets.defs.partition_status import partition_states
from pcorr_assets.defs.registration import register_llms, register_pool_groups
from pcorr_assets.filters.training import load_filter
from pcorr_assets.warehouse import Warehouse, connect
from pcorr_assets.warehouse.views import follow_home
from pcorr_assets_tests.defs.conftest import PAGES
from pcorr_assets_tests.faults import world

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
PAIR = f"{world.SAMPLE}|{world.TARGET}"
IMPORTED = f"{world.IMPORTED}|{world.IMPORTED_TARGET}"
OF_CAPS = {
    (asset, PAIR)
    for asset in ("estimate", "rank_prediction", "clean_estimate", "sampling_distribution")
}
GROUPS = ("crawl/0000", "crawl/0001")
OF_SETTINGS = "the code or the settings it depends on changed"
OF_POOL_FILES = {
    ("pool_scores", GROUPS[1]): f"1 partition of pool_files changed: {GROUPS[1]}",
    ("exported_database", None): f"1 partition of pool_files changed: {GROUPS[1]}",
}
Stale = dict[tuple[str, str | None], str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole project with all that it names in its own folder, every stage of it made."""
    project = tmp_path_factory.mktemp("moved") / "project"
    world.write_inputs(project)
    world.write_project(project, project)
    config = yaml.safe_load((project / world.CONFIG).read_text().replace(f"{project}/", "./"))
    config["samples"][world.IMPORTED]["unit_tokens"] = "counts.csv"
    (project / world.CONFIG).write_text(yaml.safe_dump(config, sort_keys=False))
    for task in (project / "tasks").glob("*.yaml"):
        task.write_text(task.read_text().replace(f"{project}/tasks/", ""))
    rows = "".join(f"page-{number:02},7\n" for number in range(PAGES))
    (project / "counts.csv").write_text(f"unit,token_count\n{rows}")
    settings = load_settings(project / world.CONFIG)
    with open_instance(settings) as instance:
        register_llms(instance, settings)
        register_pool_groups(instance, settings)
        job = build_definitions(settings).resolve_implicit_global_asset_job_def()
        for stage in world.STAGES:
            key = stage.partition
            result = job.execute_in_process(
                partition_key=dg.MultiPartitionKey(key) if isinstance(key, dict) else key,
                asset_selection=[dg.AssetKey(stage.asset)],
                instance=instance,
                run_config=QUIET,
            )
            assert result.success, stage.name
    return project


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    """The project at another path, with other times and inodes."""
    return Path(shutil.copytree(made, tmp_path / "cop'y", copy_function=shutil.copyfile))


def stale(project: Path) -> tuple[Stale, set[tuple[str, str | None]]]:
    """What is stale with the reason, and what Dagster itself says is stale."""
    settings = load_settings(project / world.CONFIG)
    with open_instance(settings) as instance:
        register_pool_groups(instance, settings)
        graph = build_definitions(settings).resolve_asset_graph()
        states = partition_states(instance, graph, settings=settings)
        resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
        with dg.partition_loading_context(dynamic_partitions_store=instance):
            by_dagster = {
                (one.asset, one.partition)
                for one in states
                if resolver.get_status(dg.AssetKey(one.asset), one.partition) == StaleStatus.STALE
            }
    assert sum(one.state != "missing" for one in states) >= len(world.STAGES)
    found = {(one.asset, one.partition): one.reason for one in states if one.state == "stale"}
    return found, by_dagster


def touch(project: Path) -> None:
    for path in project.rglob("*"):
        if path.is_file() and "dagster_home" not in path.parts and "home" not in path.parts:
            os.utime(path, ns=(1_600_000_000 * 10**9, 1_600_000_000 * 10**9))


def test_wherever_the_project_lies_nothing_is_stale_and_its_tables_can_be_asked(
    made: Path, tmp_path: Path
) -> None:
    places = [tmp_path / "copied", tmp_path / "linked", tmp_path / "with times"]
    shutil.copytree(made, places[0], copy_function=shutil.copyfile)
    places[1].symlink_to(places[0])
    shutil.copytree(made, places[2])
    hidden = made.rename(made.with_name("hidden"))
    try:
        for place in places:
            assert stale(place) == ({}, set()), place
            home = place / "home"
            follow_home(home)
            with duckdb.connect(str(home / "pcorr.duckdb"), read_only=True) as views:
                rows = views.sql("SELECT model_path FROM fasttext_filters").fetchall()
                counts = views.sql("SELECT count(*) FROM chunk_bpb").fetchall()
            with connect(home) as connection:
                assert connection.sql("SELECT model_path FROM fasttext_filters").fetchall() == rows
                assert connection.sql("SELECT count(*) FROM chunk_bpb").fetchall() == counts
            assert counts[0][0] > 0
            (model,) = (Path(path) for (path,) in rows)
            assert model.is_relative_to(home)
            assert model.is_file()
            load_filter(Warehouse(home), world.SAMPLE, world.TARGET)
        touch(places[0])
        assert stale(places[0]) == ({}, set())
    finally:
        hidden.rename(made)


def append(*names: str) -> Callable[[Path], None]:
    """A space more at the end, which no reader of these files minds."""

    def edit(project: Path) -> None:
        for name in names:
            with (project / name).open("a") as file:
                file.write(" ")

    return edit


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    """Another text of the same length, at the same time."""

    def edit(project: Path) -> None:
        path = project / name
        times = path.stat()
        path.write_text(path.read_text().replace(old, new, 1))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
        assert path.stat().st_size == times.st_size

    return edit


def at(place: str, parts: set[tuple[str, str]]) -> Stale:
    return dict.fromkeys(parts, f"what it is made from: {place} changed")


def of_llm(number: int) -> set[tuple[str, str]]:
    llm = f"tiny-{number}"
    return {("chunk_bpb", f"{llm}|{world.SAMPLE}"), ("benchmark_errors", llm)}


def of_benchmark() -> set[tuple[str, str]]:
    return {("benchmark_errors", llm) for llm in world.LLMS} | {("benchmark_ngrams", world.TARGET)}


# Edits of one case touch partitions that differ; each case looks at the whole project once.
@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        (
            [
                replaced("texts.jsonl", "site-0", "site-x"),
                append("zoo/tiny-1/generation_config.json"),
                append("bpb.csv"),
                replaced("counts.csv", "page-00,7", "page-00,8"),
                append("pool/b.jsonl"),
                append("zoo/tiny-0/.hidden", "tasks/unused.jsonl", "README"),
            ],
            at("samples.web.files texts.jsonl", {("chunked_dataset", "web")})
            | at("llms tiny-1 path", of_llm(1))
            | at("samples.published.matrix_csv.bpb", {("bpb_matrix", "published")})
            | at("samples.published.unit_tokens", {("rank_prediction", IMPORTED)})
            | OF_POOL_FILES,
        ),
        (
            [append("zoo/tiny-0/tokenizer.json")],
            at("llms tiny-0 path", of_llm(0))
            | at("samples.web.reference_tokenizer", {("chunked_dataset", "web")})
            | at("selection.tokenizer", {*OF_CAPS, *(("pool_scores", one) for one in GROUPS)}),
        ),
        (
            [append("tasks/shades.jsonl"), append("errors.csv")],
            at("benchmarks.shades.task_path", of_benchmark())
            | at("samples.published.matrix_csv.errors", {("bpb_matrix", "published")}),
        ),
        ([append("tasks/colours.yaml")], at("benchmarks.colours.task_path", of_benchmark())),
        (
            [replaced(world.CONFIG, "dtype: float32", "dtype: float16")],
            at("llms tiny-0 dtype", of_llm(0)) | {("exported_database", None): OF_SETTINGS},
        ),
    ],
)  # fmt: skip
def test_what_changed_makes_stale_what_was_made_from_it(
    copied: Path, edits: list[Callable[[Path], None]], expected: Stale
) -> None:
    for edit in edits:
        edit(copied)
    found, by_dagster = stale(copied)
    assert found == expected
    # Dagster itself sees settings, and what an asset lists; of other files it knows nothing.
    named = {part for part, reason in found.items() if reason.startswith("what it is made from")}
    assert by_dagster == set(found) - named


def test_a_file_that_comes_or_goes_is_named(copied: Path) -> None:
    (copied / "counts.csv").unlink()
    shutil.rmtree(copied / "zoo" / "tiny-2")
    (copied / "zoo" / "tiny-2").mkdir()
    found, _ = stale(copied)
    assert found == at("llms tiny-2 path", of_llm(2)) | at(
        "samples.published.unit_tokens", {("rank_prediction", IMPORTED)}
    )


def of(settings: Settings, asset: str, **keys: str) -> dict[str, str]:
    return MadeFrom(settings).of(asset, keys)


def test_what_else_can_be_named_counts_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    for number in range(MOST_NAMED):
        (tmp_path / "texts" / f"{number}.jsonl").write_text(f"{number}")
    for folder in ("saved", "local"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "data.arrow").write_text("1")
    (tmp_path / "lid.ftz").write_text("1")
    text = {"reference_tokenizer": "org/tokenizer@main"}
    settings = settings_from(
        {
            "samples": {
                "files": {**text, "files": ["texts/*.jsonl", "s3://bucket/*.jsonl"]},
                "saved": {**text, "saved": "saved"},
                "local": {**text, "dataset": "./local"},
                "hub": {**text, "dataset": "org/data"},
            },
            "benchmarks": {"arc_easy": {"metric": "acc"}},
            "targets": {"arc": {"benchmarks": ["arc_easy"], "language_model": "lid.ftz"}},
        },
        folder=tmp_path,
    )
    before = {key: of(settings, "chunked_dataset", sample=key) for key in settings.samples}
    model = of(settings, "fasttext_filter", sample="files", target="arc")
    assert before["hub"] == {}
    assert list(before["saved"]) == ["samples.saved.saved"]
    assert len(before["files"]) == MOST_NAMED
    # Of more files one id stands for all; a URL is no concern of this machine.
    (tmp_path / "texts" / "more.jsonl").write_text("more")
    every = of(settings, "chunked_dataset", sample="files")
    assert list(every) == ["samples.files.files"]
    for path in ("saved/data.arrow", "local/data.arrow", "lid.ftz", "texts/7.jsonl"):
        (tmp_path / path).write_text("x")
    assert of(settings, "chunked_dataset", sample="files") != every
    for key in ("saved", "local"):
        now = of(settings, "chunked_dataset", sample=key)
        assert changes(before[key], now) == f"what it is made from: {next(iter(now))} changed"
    assert of(settings, "fasttext_filter", sample="files", target="arc") != model
    shutil.rmtree(tmp_path / "texts")
    assert set(of(settings, "chunked_dataset", sample="files").values()) == {"not there"}


def test_changes_in_words() -> None:
    assert changes({"a": "1", "b": "1"}, {"b": "2", "c": "1"}) == (
        "what it is made from: a is gone, c is new, b changed"
    )
    assert changes({"a": "1"}, {"a": "1"}) == ""
