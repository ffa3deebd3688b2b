"""Documents that hold text of a benchmark: found in the pass, counted, left out or marked."""

from __future__ import annotations

import json
import logging
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from pcorr_assets.clean.ngrams import Item
from pcorr_assets.config import NearDuplicates, Settings, settings_from
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.contamination import contaminated
from pcorr_assets.filters.groups import groups_of, read_group, refresh_groups
from pcorr_assets.filters.model import FilterFile
from pcorr_assets.filters.ngram_files import NgramFile, find_ngrams
from pcorr_assets.filters.pools import list_shards
from pcorr_assets.filters.scoring import ScoredGroup, score_group
from pcorr_assets.filters.training import build_filter
from pcorr_assets.filters.writing import write_selected
from pcorr_assets.steps.benchmark_ngrams import write_ngrams
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import sha256_file

SAMPLE, TARGET = "texts", "sailing_quiz"
LONG = (
    "The rudder of a ship turns it because water that flows past the blade is pushed to one "
    "side, and the hull answers by swinging to the other."
)
SHORT = "Which sail of a sloop stands before the mast? Jib"
WORDS = LONG.split(" ")
# Edited once in every 13 words, and once in the middle of 27.
EDITED = " ".join(word if i % 12 != 6 else "indeed" for i, word in enumerate(WORDS))
HALF = " ".join(word if i != 13 else "indeed" for i, word in enumerate(WORDS))
DOCUMENTS = {
    "verbatim": f"Some page says: {LONG} And so on.",
    "upper": LONG.upper().replace(",", " --"),
    "half": f"a mast {HALF}",
    "edited": f"a keel {EDITED}",
    "short": f"quiz!\n{SHORT.lower()}",
    "other": "mast keel jib tack harbour rudder gale anchor hull tide " * 3,
    "plain": "rook pawn gambit castle bishop endgame check knight queen fork " * 3,
    "empty": "",
}
HELD = {"verbatim": "one", "upper": "one", "half": "one", "short": "two"}


def items_of(name: str, benchmark: object) -> list[Item]:
    texts = {"one": [LONG, "too short"], "two": [SHORT]}[name]
    return [Item(f"{name}/{number}", (text,)) for number, text in enumerate(texts)]


def settings_of(tmp_path: Path, **selection: Any) -> Settings:
    written = {
        "home": str(tmp_path / "home"),
        "samples": {
            SAMPLE: {"files": ["/t/*.jsonl"], "reference_tokenizer": "a/b"},
            "published": {"matrix_csv": {"bpb": "/b.csv", "errors": "/e.csv"}},
        },
        "benchmarks": {"one": {"metric": "acc"}, "two": {"metric": "acc"}},
        "targets": {
            TARGET: {"benchmarks": ["one", "two", "published_only"]},
            "one_alone": {"benchmarks": ["one"]},
            "nothing": {"benchmarks": ["published_only"]},
            "all": {"combine_targets": [TARGET, "one_alone"]},
        },
        "pools": {
            "crawl": {
                "sample": SAMPLE,
                "files": [str(tmp_path / "pool" / "*.jsonl")],
                "token_count_column": "tokens",
                "keep_ratio": 1.0,
                "format": "jsonl",
            }
        },
        "selection": selection,
    }
    return settings_from(written, folder=tmp_path)


class Case:
    """A pool with planted items, and what is done with it."""

    def __init__(self, tmp_path: Path, warehouse: Warehouse, trained: FilterFile) -> None:
        self.tmp_path, self.warehouse, self.trained = tmp_path, warehouse, trained
        path = tmp_path / "pool" / "a.jsonl"
        path.parent.mkdir()
        rows = [
            {"id": name, "text": text, "tokens": len(text.split())}
            for name, text in DOCUMENTS.items()
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.pool = settings_of(tmp_path).pools["crawl"]

    def ngrams(self, **selection: Any) -> dict[str, NgramFile]:
        write_ngrams(self.warehouse, settings_of(self.tmp_path, **selection), TARGET, items_of)
        found = find_ngrams(self.warehouse, TARGET)
        return {} if found is None else {TARGET: found}

    def score(self, ngrams: dict[str, NgramFile]) -> ScoredGroup:
        (key,) = refresh_groups(self.warehouse, "crawl", self.pool).keys
        group = read_group(self.warehouse, key)
        filters = {TARGET: self.trained}
        return score_group(self.warehouse, group, self.pool, filters, ngrams=ngrams)

    def held(self) -> dict[str, str | None]:
        (key,) = groups_of(self.warehouse, "crawl")
        rows = self.warehouse.read("pool_scores", key, TARGET)
        return dict(
            zip(rows["document_id"].to_pylist(), rows["contaminated_by"].to_pylist(), strict=True)
        )

    def select(self, decontaminate: str) -> dict[str, Any]:
        shards = list_shards("crawl", self.pool)
        groups = groups_of(self.warehouse, "crawl")
        written = write_selected(
            self.warehouse, "crawl", self.pool, TARGET, shards, groups, decontaminate=decontaminate
        )
        return dict(written.manifest)

    def shared(self) -> dict[str, str | None]:
        (key,) = groups_of(self.warehouse, "crawl")
        rows = self.warehouse.read("pool_scores", key, TARGET).to_pylist()
        return {row["document_id"]: row["shared_words"] for row in rows}

    def files(self) -> dict[str, dict[str, Any]]:
        """The documents as the files of the selection have them."""
        folder = self.warehouse.home / "selected" / "crawl" / TARGET
        (path,) = folder.glob("*.jsonl")
        return {row["id"]: row for row in map(json.loads, path.read_text().splitlines())}

    def selected(self) -> dict[str, str | None]:
        rows = self.warehouse.read("selections", "crawl", TARGET)
        return dict(
            zip(rows["document_id"].to_pylist(), rows["contaminated_by"].to_pylist(), strict=True)
        )


@pytest.fixture
def case(tmp_path: Path, make_world: Callable[..., Any]) -> Case:
    world = make_world()
    path = build_filter(world.warehouse, SAMPLE, TARGET, world.selection).path
    return Case(tmp_path, world.warehouse, FilterFile(path, sha256_file(path)))


def test_planted_items_are_found_counted_and_left_out(case: Case) -> None:
    case.score(case.ngrams())
    assert case.held() == {name: HELD.get(name, "") for name in DOCUMENTS}
    assert {name for name, words in case.shared().items() if words} == set(HELD)
    assert case.shared()["verbatim"] == " ".join(WORDS[:13]).lower()
    assert case.shared()["short"] == SHORT.lower()
    manifest = case.select("drop")
    assert set(case.selected()) == set(case.files()) == {"edited", "other", "plain"}
    assert all("contaminated_by" not in row for row in case.files().values())
    assert manifest["decontaminate"] == "drop"
    assert manifest["contaminated_document_count"] == 4
    by_benchmark = manifest["contaminated_by"]
    assert {name: one["documents"] for name, one in by_benchmark.items()} == {"one": 3, "two": 1}
    assert by_benchmark["two"]["tokens"] == len(DOCUMENTS["short"].split())
    assert manifest["empty_document_count"] == 1
    # The budget is a share of the whole pool, so what is left is too little.
    assert manifest["is_short"]


def test_marked_documents_are_selected_and_named(case: Case) -> None:
    case.score(case.ngrams())
    manifest = case.select("mark")
    assert case.selected() == {name: HELD.get(name, "") for name in DOCUMENTS if name != "empty"}
    assert manifest["contaminated_document_count"] == 4
    marks = {name: row["contaminated_by"] for name, row in case.files().items()}
    assert marks == case.selected()
    assert case.select("off")["contaminated_document_count"] == 0
    assert set(case.selected().values()) == {None}


def test_documents_scored_before_words_were_kept_are_counted_without_them() -> None:
    with duckdb.connect() as connection:
        connection.execute(
            """CREATE VIEW scanned AS SELECT 'a' AS shard, 'one' AS document_id, 3 AS token_count,
            'quiz' AS contaminated_by, 0.5 AS score, 'x' AS content_sha256"""
        )
        found = contaminated(connection, "drop", 0.4)
    assert found["contaminated_document_count"] == 1
    assert found["contaminated_examples"] == [
        {"shard": "a", "document_id": "one", "contaminated_by": "quiz", "shared_words": None}
    ]


def test_items_copies_and_near_duplicates_are_left_out_and_twice_the_same(case: Case) -> None:
    generator = random.Random(5)
    alike = " ".join(generator.choices([f"mast{n}" for n in range(99)], k=90))
    planted = {
        **DOCUMENTS,
        "alike": alike,
        "nearly alike": alike.replace("mast7", "keel", 1),
        "with an end": f"{alike} end",
        "copy": DOCUMENTS["other"],
        "item and alike": f"{alike} {LONG}",
    }
    rows = [{"id": name, "text": text, "tokens": 10} for name, text in planted.items()]
    path = case.tmp_path / "pool" / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    case.pool = case.pool.model_copy(update={"near_duplicates": NearDuplicates()})
    home = case.warehouse.home
    made: list[dict[str, bytes]] = []
    manifest: dict[str, Any] = {}
    for _ in range(2):
        for folder in ("selected", "warehouse/pool_scores", "warehouse/pool_documents"):
            shutil.rmtree(home / folder, ignore_errors=True)
        case.score(case.ngrams())
        manifest = case.select("drop")
        made.append({
            str(file.relative_to(home)): file.read_bytes()
            for folder in ("selected", "warehouse")
            for file in (home / folder).rglob("*")
            if file.is_file()
        })  # fmt: skip
    assert made[0] == made[1]
    taken = set(case.selected())
    assert taken == set(case.files())
    # Which of those that are alike stays is for the score to say.
    families = [{"alike", "nearly alike", "with an end"}, {"other", "copy"}]
    assert [len(taken & family) for family in families] == [1, 1]
    assert taken - set.union(*families) == {"edited", "plain"}
    assert manifest["contaminated_document_count"] == 5
    assert manifest["duplicate_document_count"] == 1
    assert manifest["near_duplicate_document_count"] == 2
    assert manifest["contaminated_by"]["one"]["documents"] == 4


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_marks_stand_beside_a_column_of_that_name(case: Case, kind: str) -> None:
    path = case.tmp_path / "pool" / "a.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[-2]["Contaminated_By"] = "me"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    case.pool = case.pool.model_copy(update={"format": kind})
    case.score(case.ngrams())
    (entry,) = case.select("mark")["files"]
    assert entry["contaminated_by_column"] == "pcorr_contaminated_by"
    assert entry["score_column"] == "score"
    written = case.warehouse.home / "selected" / "crawl" / TARGET / entry["file"]
    if kind == "jsonl":
        found = list(map(json.loads, written.read_text().splitlines()))
    else:
        found = pq.read_table(written).to_pylist()
    assert {row["id"]: row["pcorr_contaminated_by"] for row in found} == case.selected()
    assert [row["id"] for row in found if row.get("Contaminated_By")] == [rows[-2]["id"]]


def test_the_same_is_searched_once_and_other_ngrams_for_themselves(case: Case) -> None:
    first = case.score(case.ngrams())
    assert (first.scored, first.searched) == ([TARGET], [TARGET])
    path = case.warehouse.path("pool_scores", groups_of(case.warehouse, "crawl")[0], TARGET)
    before = path.read_bytes()
    again = case.score(case.ngrams())
    assert (again.passed, path.read_bytes()) == (0, before)
    other = case.score(case.ngrams(ngram_words=20))
    assert (other.scored, other.counted, other.searched) == ([], [], [TARGET])
    assert case.held()["half"] == ""
    back = case.score(case.ngrams())
    assert back.searched == [TARGET]
    assert path.read_bytes() == before


def test_ngrams_that_were_made_with_off_are_not_taken_for_nothing_to_find(case: Case) -> None:
    assert case.ngrams(decontaminate="off") == {}
    case.score({})
    manifest = case.select("drop")
    assert manifest["decontaminate"] == "not searched"
    assert any("with `decontaminate: off`" in warning for warning in manifest["warnings"])


def test_scores_that_were_not_searched_are_refused_or_said_to_be(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    case.score({})
    assert set(case.held().values()) == {None}
    with caplog.at_level(logging.WARNING):
        manifest = case.select("drop")
    assert manifest["decontaminate"] == "not searched"
    assert "benchmark_ngrams was never made" in caplog.text
    assert any("not searched" in warning for warning in manifest["warnings"])
    ngrams = case.ngrams()
    with pytest.raises(PcorrError, match="materialise pool_scores for all groups"):
        case.select("drop")
    case.score(ngrams)
    assert case.select("drop")["contaminated_document_count"] == 4


def test_nothing_is_searched_where_there_is_nothing_to_search_for(case: Case) -> None:
    write_ngrams(case.warehouse, settings_of(case.tmp_path), TARGET, lambda *_: [])
    assert find_ngrams(case.warehouse, TARGET) is None
    case.score({})
    assert case.select("drop")["decontaminate"] == "nothing to search for"


def test_a_pool_of_nothing_else_is_refused(case: Case) -> None:
    path = case.tmp_path / "pool" / "a.jsonl"
    path.write_text(json.dumps({"id": "a", "text": LONG, "tokens": 9}) + "\n")
    case.score(case.ngrams())
    with pytest.raises(PcorrError, match="all 1 documents with a token hold text"):
        case.select("drop")


def test_ngrams_are_those_of_the_targets_benchmarks(tmp_path: Path) -> None:
    wh, settings = Warehouse(tmp_path / "home"), settings_of(tmp_path)
    found = write_ngrams(wh, settings, TARGET, items_of)
    assert found.without_task == ["published_only"]
    assert found.counts["one"]["items"] == 2
    assert found.counts["one"]["too short"] == 1
    own = wh.path("benchmark_ngrams", TARGET).read_bytes()
    write_ngrams(wh, settings, TARGET, items_of)
    assert wh.path("benchmark_ngrams", TARGET).read_bytes() == own
    combined = write_ngrams(wh, settings, "all", items_of)
    assert set(combined.counts) == {"one", "two"}
    assert write_ngrams(wh, settings, "nothing", items_of).counts == {}
    assert find_ngrams(wh, "nothing") is None
