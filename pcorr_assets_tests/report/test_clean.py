"""What a report says of text of benchmarks, in chunks and in pools."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pcorr_assets.config import Settings, settings_from
from pcorr_assets.report.clean_facts import SharedFacts
from pcorr_assets.report.facts import Facts
from pcorr_assets.report.page import render_report
from pcorr_assets.report.reading_clean import read_clean
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.report.test_page import Page
from pcorr_assets_tests.report.worlds import SCRIPT, table

KEYS = ("web", "good")
INPUTS: Any = SimpleNamespace(
    sample="web", made_from={"good": {"bpb_matrix_sha256": "m", "error_vector_sha256": "e"}}
)


def settings_of(folder: Path, **pool: Any) -> Settings:
    written: dict[str, Any] = {
        "home": str(folder),
        "samples": {"web": {"files": ["/t/*.jsonl"], "reference_tokenizer": "a/b"}},
        "benchmarks": {"quiz": {"metric": "acc"}},
        "targets": {"good": {"benchmarks": ["quiz"]}},
    }
    if pool:
        written["pools"] = {
            "crawl": {"sample": "web", "files": ["/p/*.jsonl"], "keep_ratio": 0.5, **pool}
        }
    return settings_from(written, folder=folder)


def write_chunks(wh: Warehouse, matrix: str = "m") -> None:
    compared = {
        "chunk_count": 9, "contaminated_chunk_count": 3, "unit_count": 3,
        "contaminated_unit_count": 2, "rank_correlation": 0.5, "overlap": 0.75,
        "sentence": "3 of 9 chunks hold text of the target's benchmarks.",
    }  # fmt: skip
    shared = {"sample": "web", "target": "good"}
    estimates = [
        {**shared, "level": "domain", "unit": unit, "chunk_count": 3,
         "contaminated_chunk_count": held, "estimate": 0.25, "clean_estimate": clean,
         "included": True, "clean_included": False}
        for unit, held, clean in (("a", 0, 0.25), ("b", 1, 0.125), (SCRIPT, 2, None))
    ]  # fmt: skip
    chunks = [
        {**shared, "chunk_id": "c1", "benchmark": "quiz", "item": "quiz/0", "words": f"w {SCRIPT}"}
    ]
    notes = {"bpb_matrix_sha256": matrix, "compared": json.dumps(compared)}
    wh.write("clean_estimates", KEYS, table("clean_estimates", estimates), notes)
    wh.write("contaminated_chunks", KEYS, table("contaminated_chunks", chunks), notes)


def write_selection(wh: Warehouse, decontaminate: str = "drop") -> None:
    summary = {
        "document_count": 40, "decontaminate": decontaminate,
        "duplicate_document_count": 2, "duplicate_token_count": 20,
        "near_duplicate_document_count": 1_234, "near_duplicate_token_count": 5_678,
        "contaminated_document_count": 3, "contaminated_token_count": 30,
        "contaminated_by": {"quiz": {"documents": 3, "tokens": 30, "score_enough": 1}},
        "contaminated_examples": [
            {"shard": "s", "document_id": "d1", "contaminated_by": "quiz", "shared_words": "a b c"}
        ],
    }  # fmt: skip
    rows = table("selections", [])
    wh.write("selections", ("crawl", "good"), rows, {"summary": json.dumps(summary)})


def rendered(facts: Facts, wh: Warehouse, settings: Settings) -> str:
    page = Page(render_report(replace(facts, clean=read_clean(wh, settings, INPUTS, "good"))))
    assert page.mismatches == []
    assert page.open == []
    assert len(page.of("script")) == 1
    return " ".join(" ".join(page.texts).split())


def test_chunks_and_documents_stand_in_the_report(tmp_path: Path, text_facts: Facts) -> None:
    wh = Warehouse(tmp_path)
    write_chunks(wh)
    write_selection(wh)
    settings = settings_of(tmp_path, near_duplicates={})
    found = read_clean(wh, settings, INPUTS, "good")
    assert [unit.unit for unit in found.units] == [SCRIPT, "b"], (
        "none left, then the largest change"
    )
    assert found.chunks == (SharedFacts("c1", "quiz", f"w {SCRIPT}"),)
    (pool,) = found.pools
    assert pool.by_benchmark == (("quiz", 3, 30, 1),)
    assert pool.examples == (SharedFacts("d1", "quiz", "a b c"),)
    said = rendered(text_facts, wh, settings)
    assert "3 of 9 chunks hold text of the target's benchmarks." in said
    assert "3 documents (30 tokens) of the pool hold text" in said
    assert "as near-duplicates: 1,234 documents (5,678 tokens)" in said
    assert f"w {SCRIPT}" in said


@pytest.mark.parametrize(
    ("pool", "written", "said"),
    [
        ({}, False, "materialise clean_estimate, then report"),
        ({"format": "jsonl"}, False, "materialise clean_estimate, then report"),
        ({"format": "jsonl"}, True, "searched for an earlier matrix"),
    ],
)
def test_what_is_not_there_is_said(
    tmp_path: Path, text_facts: Facts, pool: dict[str, Any], written: bool, said: str
) -> None:
    wh = Warehouse(tmp_path)
    if written:
        write_chunks(wh, matrix="of before")
        write_selection(wh, "off")
    page = rendered(text_facts, wh, settings_of(tmp_path, **pool))
    assert said in page
    if written:
        assert "Documents with text of the benchmarks were not left out: off." in page
        assert "near-duplicates were not looked for" in page
    else:
        assert "Nothing had been selected from a pool" in page
