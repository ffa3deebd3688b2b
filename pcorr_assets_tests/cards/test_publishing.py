"""Cards and what goes to the hub, against a hub on the loopback interface.

huggingface_hub reads its endpoint when it is imported, so every look at the hub happens in a
process of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
import yaml

import pcorr_assets
from pcorr_assets.cards.filter_card import write_filter_card
from pcorr_assets.cards.header import NO_LICENCE, TO_FILL_IN, write_card
from pcorr_assets.cards.hub import Repository
from pcorr_assets.cards.publications import selection_publication
from pcorr_assets.cards.selection_card import selection_card, selection_folder
from pcorr_assets.cards.wording import NOT_SEARCHED
from pcorr_assets.config import MatrixCsv, Settings, load_settings
from pcorr_assets.defs.instance import open_instance
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.groups import groups_of, read_group, refresh_groups
from pcorr_assets.filters.pools import list_shards
from pcorr_assets.filters.scoring import score_group
from pcorr_assets.filters.training import build_filter, find_filter
from pcorr_assets.filters.writing import write_selected
from pcorr_assets.matrix.candidates import MATRIX_HASH
from pcorr_assets.matrix.imports import import_published
from pcorr_assets.matrix.layout import read_matrix
from pcorr_assets.steps.clean_estimates import COMPARED, Compared
from pcorr_assets.steps.matrices import build_matrix
from pcorr_assets.steps.sharing import share_published
from pcorr_assets.warehouse import TABLES, Warehouse
from pcorr_assets.warehouse.json_files import read_json, write_json
from pcorr_assets.warehouse.verification import verify_home
from pcorr_assets_tests.filters.conftest import page_text
from pcorr_assets_tests.report.worlds import write_matrix_world, write_text_world
from pcorr_assets_tests.storage.publishing_hub import TOKEN, Hub, serve

SAMPLE, TARGET, POOL = "texts", "good", "crawl"
COMMANDS = """
import contextlib, io, json, sys
from pcorr_assets.defs.command import main
for arguments in json.loads(sys.argv[1]):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        status = main(["publish", *arguments])
    print(json.dumps([status, out.getvalue()]))
"""
DATATROVE = """
import json, sys
from datatrove.data import Document
from datatrove.pipeline.filters import FastTextClassifierFilter
FastTextClassifierFilter._requires_dependencies = ["fasteners"]
snippet, texts = json.loads(sys.argv[1])
names = {}
exec(snippet, names)
print(json.dumps([names["keep"].filter(Document(text=t, id="")) is True for t in texts]))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world with a filter, and documents that it selected."""
    folder = tmp_path_factory.mktemp("cards")
    wh, _ = write_text_world(folder)
    config = yaml.safe_load((folder / "pcorr.yaml").read_text())
    config["selection"]["fasttext"] = {
        "dim": 8, "bucket": 1000, "epoch": 20, "lr": 0.5, "test_fraction": 0.3,
    }  # fmt: skip
    distribution = wh.read("sampling_distributions", SAMPLE, TARGET).to_pylist()
    included = {row["unit"] for row in distribution if row["included"]}
    table = wh.read("chunks", SAMPLE)
    chunks = [
        {**chunk, "text": page_text("sailing" if chunk["domain"] in included else "chess", number)}
        for number, chunk in enumerate(table.to_pylist())
    ]
    wh.write("chunks", (SAMPLE,), pa.Table.from_pylist(chunks, schema=table.schema), {})
    rows = [
        {"id": str(n), "text": chunk["text"].replace("\u00a0", " "), "tokens": 10}
        for n, chunk in enumerate(chunks)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "pool.jsonl").write_text(text)
    config["pools"] = {
        POOL: {"sample": SAMPLE, "files": ["pool.jsonl"], "token_count_column": "tokens",
               "token_budget": 200}
    }  # fmt: skip
    (folder / "pcorr.yaml").write_text(yaml.safe_dump(config))
    settings = load_settings(folder / "pcorr.yaml")
    build_filter(wh, SAMPLE, TARGET, settings.selection_for(TARGET), verdict="go")
    select(wh, settings)
    with open_instance(settings) as instance:
        for asset, keys in (
            ("fasttext_filter", {"sample": SAMPLE, "target": TARGET}),
            ("rank_prediction", {"sample": SAMPLE, "target": TARGET}),
            ("sampling_distribution", {"sample": SAMPLE, "target": TARGET}),
            ("estimate", {"sample": SAMPLE, "target": TARGET}),
            ("selected_data", {"pool": POOL, "target": TARGET}),
        ):
            instance.report_runless_asset_event(
                dg.AssetMaterialization(asset, partition=str(dg.MultiPartitionKey(keys)))
            )
        for asset, key in (("bpb_matrix", SAMPLE), ("error_vector", TARGET)):
            instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=key))
    return folder


def select(wh: Warehouse, settings: Settings) -> None:
    pool = settings.pools[POOL]
    for key in refresh_groups(wh, POOL, pool).keys:
        score_group(wh, read_group(wh, key), pool, {TARGET: find_filter(wh, SAMPLE, TARGET)})
    write_filter_card(wh, settings, SAMPLE, TARGET)
    write_selected(
        wh, POOL, pool, TARGET, list_shards(POOL, pool), groups_of(wh, POOL),
        card=lambda manifest: selection_card(wh, settings, POOL, TARGET, manifest),
    )  # fmt: skip


@pytest.fixture
def world(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "w"))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with serve(tmp_path / "hub") as served:
        yield served


def ask(hub: Hub, folder: Path, script: str, request: Any, **environment: str) -> list[Any]:
    """What a script prints, line by line, in a process that knows this hub only."""
    found = subprocess.run(
        [sys.executable, "-c", script, json.dumps(request)],
        cwd=folder,
        env={
            **os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(hub.folder / "cache"), "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "PYTHONPATH": str(Path(pcorr_assets.__file__).parents[1]), **environment,
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert TOKEN not in found.stdout + found.stderr
    return [json.loads(line) for line in found.stdout.splitlines() if line.startswith("[")]


def header(text: str) -> dict[str, Any]:
    return yaml.safe_load(text.split("---\n")[1])


def test_cards_lie_beside_what_they_speak_of(world: Path) -> None:
    from huggingface_hub import DatasetCard, ModelCard, ModelCardData

    settings = load_settings(world / "pcorr.yaml")
    wh = Warehouse(settings.home)
    path = find_filter(wh, SAMPLE, TARGET).path.with_name("README.md")
    card = ModelCard.load(path)
    (row,) = wh.read("fasttext_filters", SAMPLE, TARGET).to_pylist()
    results = ModelCardData(**card.data.to_dict()).eval_results
    measured = {one.metric_type: one.metric_value for one in results or ()}
    assert measured["roc_auc"] == row["roc_auc"]
    assert "**Go.**" in card.text
    assert "| test items of the benchmarks in it | not searched |" in card.text
    assert "`lab6/llm-b`" in card.text
    assert str(world) not in card.content
    data = DatasetCard.load(selection_folder(wh.home, POOL, TARGET) / "README.md")
    assert data.data.to_dict()["configs"] == [{"config_name": "default", "data_files": "*.parquet"}]
    assert row["sha256"] in data.text
    assert verify_home(wh.home).damaged == []
    # The same once more, byte for byte.
    select(wh, settings)
    first = path.read_bytes()
    select(wh, settings)
    assert path.read_bytes() == first


def test_cards_of_a_pool_that_draws_name_no_threshold(world: Path) -> None:
    config = yaml.safe_load((world / "pcorr.yaml").read_text())
    config["pools"][POOL]["draw"] = {}
    (world / "pcorr.yaml").write_text(yaml.safe_dump(config))
    settings = load_settings(world / "pcorr.yaml")
    wh = Warehouse(settings.home)
    card = selection_folder(wh.home, POOL, TARGET) / "README.md"
    assert "the best of them fill the budget" in card.read_text()
    assert "lowest score" in card.read_text()
    select(wh, settings)
    assert "documents drawn with its odds fill the budget" in card.read_text()
    assert "lowest score" not in card.read_text()
    write_filter_card(wh, settings, SAMPLE, TARGET)
    text = find_filter(wh, SAMPLE, TARGET).path.with_name("README.md").read_text()
    assert "A threshold belongs to a pool and a budget" in text
    assert "Thresholds that filled a budget" not in text


def test_the_card_of_a_filter_says_what_a_search_of_the_sample_found(world: Path) -> None:
    settings = load_settings(world / "pcorr.yaml")
    wh = Warehouse(settings.home)
    path = find_filter(wh, SAMPLE, TARGET).path.with_name("README.md")
    found = Compared(9, 3, 4, 2, 0.9, 0.8, "3 of 9 chunks hold text of the target's benchmarks.")
    matrix = wh.metadata("estimates", SAMPLE, TARGET)[MATRIX_HASH]
    empty = TABLES["clean_estimates"].schema.empty_table()
    for of_matrix, said in ((matrix, found.sentence), ("another", NOT_SEARCHED)):
        notes = {MATRIX_HASH: of_matrix, COMPARED: json.dumps(vars(found))}
        wh.write("clean_estimates", (SAMPLE, TARGET), empty, notes)
        write_filter_card(wh, settings, SAMPLE, TARGET)
        assert f"| test items of the benchmarks in it | {said} |" in path.read_text()


def test_what_was_filled_in_stays(world: Path) -> None:
    settings = load_settings(world / "pcorr.yaml")
    wh = Warehouse(settings.home)
    for path in (
        find_filter(wh, SAMPLE, TARGET).path.with_name("README.md"),
        selection_folder(wh.home, POOL, TARGET) / "README.md",
    ):
        text = path.read_text()
        assert header(text)["license"] == NO_LICENCE
        text = text.replace(f"license: {NO_LICENCE}", "license: cc-by-4.0\nlanguage: de")
        path.write_text(text.replace(TO_FILL_IN, "Ask **us**."))
    select(wh, settings)
    for path in (
        find_filter(wh, SAMPLE, TARGET).path.with_name("README.md"),
        selection_folder(wh.home, POOL, TARGET) / "README.md",
    ):
        text = path.read_text()
        assert (header(text)["license"], header(text)["language"]) == ("cc-by-4.0", "de")
        assert "\nAsk **us**.\n" in text
        assert TO_FILL_IN not in text


def test_a_readme_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    assert not write_card(tmp_path / "README.md", "a card")
    _, settings = write_matrix_world(tmp_path / "m")
    shared = share_published(settings, "published", tmp_path)
    assert shared.card is None
    assert (tmp_path / "README.md").read_text() == "mine"
    shared = share_published(settings, "published")
    assert shared.card is not None
    files = [one["data_files"] for one in header(shared.card.read_text())["configs"]]
    assert {*files, "README.md"} == {path.name for path in shared.card.parent.iterdir()}


def test_what_is_pushed_arrives_and_works(world: Path, hub: Hub) -> None:
    settings = load_settings(world / "pcorr.yaml")
    wh = Warehouse(settings.home)
    said = ask(
        hub, world, COMMANDS,
        [["filter", "org/f", "--dry-run"], ["filter", "org/f", "--private"],
         ["selection", "org/s"]],
    )  # fmt: skip
    assert [status for status, _ in said] == [0, 0, 0], said
    assert "3 files" in said[0][1]
    assert f"{hub.url}/org/f: 3 files" in said[1][1]
    assert hub.private == {"models/org/f": True, "datasets/org/s": False}
    arrived = hub.files("models/org/f")
    assert set(arrived) == {".gitattributes", "README.md", "filter.bin", "pcorr.json"}
    assert arrived["filter.bin"] == find_filter(wh, SAMPLE, TARGET).path.read_bytes()
    folder = selection_folder(wh.home, POOL, TARGET)
    documents = hub.files("datasets/org/s")
    assert documents["pool.jsonl.parquet"] == (folder / "pool.jsonl.parquet").read_bytes()
    assert all(str(world).encode() not in content for content in documents.values())

    # The snippet of the card, from the hub, keeps what the platform selected.
    (snippet,) = re.findall(r"```python\n(.*?)```", arrived["README.md"].decode(), re.DOTALL)
    rows = [json.loads(line) for line in (world / "pool.jsonl").read_text().splitlines()]
    (kept,) = ask(hub, world, DATATROVE, [snippet, [row["text"] for row in rows]])
    selected = set(wh.read("selections", POOL, TARGET)["document_id"].to_pylist())
    scores = wh.read("pool_scores", f"{POOL}/0000", TARGET).to_pylist()
    lowest = min(row["score"] for row in scores if row["document_id"] in selected)
    # fastText reports in float32: the document at the threshold itself may fall on either side.
    clear = [abs(row["score"] - lowest) > 2e-6 for row in scores]
    ours = [row["score"] >= lowest for row in scores]
    assert [one for one, is_clear in zip(kept, clear, strict=True) if is_clear] == [
        one for one, is_clear in zip(ours, clear, strict=True) if is_clear
    ]
    assert 0 < sum(kept) < len(rows)


def test_a_matrix_that_is_pushed_is_a_sample_for_whoever_fetches_it(
    tmp_path: Path, hub: Hub
) -> None:
    folder = tmp_path / "m"
    wh, settings = write_matrix_world(folder, families=3, pages=12, steps=False)
    build_matrix(wh, settings, "published", [])
    push = [["matrix", "org/m", "--sample", "published"]]
    ((status, said),) = ask(hub, folder, COMMANDS, push)
    assert status == 1
    assert "bpb_matrix published is missing" in said
    with open_instance(settings) as instance:
        made = dg.AssetMaterialization("bpb_matrix", partition="published")
        instance.report_runless_asset_event(made)
    ((status, said),) = ask(hub, folder, COMMANDS, push)
    assert status == 0, said
    arrived = hub.files("datasets/org/m")
    card = arrived["README.md"].decode()
    listed = [one["data_files"] for one in header(card)["configs"]]
    (bpb,) = [name for name in listed if name.startswith("bpb")]
    (errors,) = [name for name in listed if "errors" in name]
    assert str(tmp_path).encode() not in b"".join(arrived.values())

    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in (bpb, errors):
        (theirs / name).write_bytes(arrived[name])
    matrix = MatrixCsv.model_validate(
        {"bpb": theirs / bpb, "errors": theirs / errors, "level": "page"}
    )
    fetched = import_published("theirs", matrix, 0.1)
    fetched.write(Warehouse(theirs / "home"))
    ours, found = (
        read_matrix(one, name, "page")
        for one, name in ((wh, "published"), (Warehouse(theirs / "home"), "theirs"))
    )
    assert (found.llms, found.units) == (ours.llms, ours.units)
    assert np.array_equal(found.X, ours.X)
    assert not list((folder / "home").rglob(".publish-*")), "what was made for it is gone"


def test_nothing_of_somebody_else_is_replaced(world: Path) -> None:
    settings = load_settings(world / "pcorr.yaml")
    found = selection_publication(Warehouse(settings.home), settings, POOL, TARGET)
    files = frozenset({".gitattributes", "README.md", "data.csv"})

    def said(note: dict[str, str] | None) -> str:
        return "; ".join(
            Repository("org/s", "dataset", True, "0" * 40, files, "", note).objections(found)
        )

    assert "not pushed from here (data.csv)" in said(None)
    assert "holds something else (kind matrix sample x)" in said({"kind": "matrix", "sample": "x"})
    assert said({key: str(value) for key, value in found.about.items()}) == ""

    def said_of(card: str) -> str:
        there = Repository("org/s", "dataset", True, "0" * 40, frozenset({"README.md"}), card, None)
        return "; ".join(there.objections(found))

    assert "has a README.md that was not written here" in said_of("---\nlicense: mit\n---\n# Mine")
    assert said_of("---\nlicense: mit\n---\n") == ""
    card = found.files["README.md"]
    assert isinstance(card, bytes)
    assert said_of(card.decode()) == ""
    (selection_folder(settings.home, POOL, TARGET) / "pool.jsonl.parquet").write_bytes(b"cut")
    with pytest.raises(PcorrError, match="not as it was written"):
        selection_publication(Warehouse(settings.home), settings, POOL, TARGET)


def test_words_of_benchmarks_do_not_go_along(world: Path) -> None:
    settings = load_settings(world / "pcorr.yaml")
    path = selection_folder(settings.home, POOL, TARGET) / "manifest.json"
    shared = {"shard": "pool.jsonl", "document_id": "7", "shared_words": "which sail is a jib"}
    write_json(path, {**read_json(path), "contaminated_examples": [shared]})
    found = selection_publication(Warehouse(settings.home), settings, POOL, TARGET)
    contents = [one if isinstance(one, bytes) else one.read_bytes() for one in found.files.values()]
    assert not any(b"which sail is a jib" in content for content in contents)


def test_what_should_stay_at_home_stays(world: Path, hub: Hub) -> None:
    settings = load_settings(world / "pcorr.yaml")
    wh = Warehouse(settings.home)
    verdict = wh.read("verdicts", SAMPLE, TARGET).to_pylist()
    schema = wh.read("verdicts", SAMPLE, TARGET).schema
    bad = pa.Table.from_pylist([{**verdict[0], "verdict": "no-go"}], schema=schema)
    wh.write("verdicts", (SAMPLE, TARGET), bad, {})
    with open_instance(settings) as instance:
        instance.wipe_assets([dg.AssetKey("estimate")])
    said = ask(hub, world, COMMANDS, [["filter", "org/f"], ["filter", "org/f", "--even-so"]])
    assert said[0][0] == 1
    assert "the verdict on texts|good is no-go" in said[0][1]
    assert "estimate texts|good is missing" in said[0][1]
    assert said[1][0] == 0, said
    assert "**No-go.**" in hub.files("models/org/f")["README.md"].decode()

    # Of another push: what it named goes, what somebody else put there stays.
    folder = hub.repository("models/org/f")
    note = json.loads((folder / "pcorr.json").read_text())
    note["files"].append({"file": "filter.ftz", "sha256": ""})
    (folder / "pcorr.json").write_text(json.dumps(note))
    for name in ("filter.ftz", "theirs.txt"):
        (folder / name).write_text("x")
    uploads = len(hub.uploads)
    again = ["filter", "org/f", "--even-so"]
    ((status, said_again),) = ask(hub, world, COMMANDS, [again])
    assert status == 0, said_again
    assert "removed there: filter.ftz" in said_again
    assert "theirs.txt" in hub.files("models/org/f")
    assert len(hub.uploads) == uploads, "what is there is not uploaded again"
    ((status, refused),) = ask(
        hub, world, COMMANDS, [["filter", "org/new", "--even-so"]], HF_TOKEN="hf_wrong"
    )
    assert status == 1
    assert "hf auth login" in refused
