"""A filter is trained, judged on unseen domains, stored and loaded with care."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pcorr_assets.config import FastText
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.corpus import write_lines, write_training_file
from pcorr_assets.filters.fitting import train_model
from pcorr_assets.filters.model import PIECE_BYTES, FilterModel
from pcorr_assets.filters.normalise import normalise
from pcorr_assets.filters.training import DISTRIBUTION_HASH, build_filter, load_filter
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import sha256_file

SAMPLE, TARGET = "texts", "sailing_quiz"
SAILING = {
    "mast", "keel", "jib", "tack", "harbour", "rudder", "gale", "anchor", "hull", "tide"
}  # fmt: skip


def stock_scores(path: Path, texts: list[str]) -> np.ndarray:
    """Probability of include from fastText itself, without the 1e-5 it adds."""
    import fasttext

    labels, probabilities = fasttext.load_model(str(path)).predict(texts, k=2)
    found = [dict(zip(a, b, strict=True)) for a, b in zip(labels, probabilities, strict=True)]
    return np.array([entry["__label__include"] for entry in found]) - 1e-5


def test_filter_finds_the_topic_on_unseen_domains(make_world: Callable[..., Any]) -> None:
    world = make_world()
    built = build_filter(world.warehouse, SAMPLE, TARGET, world.selection)
    row = world.warehouse.read("fasttext_filters", SAMPLE, TARGET).to_pylist()[0]
    assert row == dict(built.row)
    assert built.split.grouped_by == "domain"
    assert row["test_include_pages"] == 15  # 3 of 8 domains, 5 pages each
    assert row["train_include_pages"] == 25
    assert row["test_exclude_pages"] + row["train_exclude_pages"] == 80
    # Every third word names the topic: the classes do not overlap.
    assert row["roc_auc"] > 0.99
    assert row["budget_precision"] > 0.99
    assert built.beats_random
    assert row["random_budget_precision"] == pytest.approx(15 / 40, abs=0.05)
    assert row["shuffled_roc_auc"] < 0.9
    assert row["boundary_unit"] == "sailing21.example"
    top = {term.text for term in built.terms["include"][:10]}
    assert top == SAILING
    assert all(term.weight > 0 for term in built.terms["include"])
    assert any(" " in term.text for term in built.terms["include"])
    stored = world.warehouse.metadata("fasttext_filters", SAMPLE, TARGET)
    assert {term["text"] for term in json.loads(stored["top_terms"])["include"][:10]} == SAILING
    assert json.loads(stored["beats_random"])
    assert stored[DISTRIBUTION_HASH] == sha256_file(
        world.warehouse.path("sampling_distributions", SAMPLE, TARGET)
    )
    assert built.languages is None


def test_training_does_not_depend_on_what_was_in_memory(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("__label__include mast keel jib\n__label__exclude flour rook pawn\n" * 20)
    generator = np.random.default_rng(0)
    for dim, bucket in ((2, 100), (16, 2_000)):
        hashes = set()
        for _ in range(3):
            # Memory that was used and given back: fastText may get it for its matrix.
            used = [generator.integers(1, 255, size, np.uint8) for size in (9_000, 150_000, 9**7)]
            del used
            settings = FastText(dim=dim, bucket=bucket, epoch=3)
            train_model(corpus, settings, tmp_path / "model.bin")
            hashes.add(sha256_file(tmp_path / "model.bin"))
        assert len(hashes) == 1


def test_same_bytes_again_and_nothing_left_behind(make_world: Callable[..., Any]) -> None:
    first, second = (make_world(home) for home in ("one", "two"))
    built = build_filter(first.warehouse, SAMPLE, TARGET, first.selection)
    elsewhere = build_filter(second.warehouse, SAMPLE, TARGET, second.selection)
    again = build_filter(first.warehouse, SAMPLE, TARGET, first.selection)
    assert built.sha256 == elsewhere.sha256 == again.sha256 == sha256_file(built.path)
    changed = first.selection.model_copy(
        update={"fasttext": first.selection.fasttext.model_copy(update={"seed": 8})}
    )
    other = build_filter(first.warehouse, SAMPLE, TARGET, changed)
    assert other.sha256 != built.sha256
    assert list(other.path.parent.iterdir()) == [other.path]
    assert load_filter(first.warehouse, SAMPLE, TARGET).sha256 == other.sha256


@pytest.mark.parametrize("quantize", [False, True])
def test_scores_are_those_of_stock_fasttext(make_world: Callable[..., Any], quantize: bool) -> None:
    world = make_world(quantize=quantize, bucket=2_000)
    built = build_filter(world.warehouse, SAMPLE, TARGET, world.selection)
    assert built.path.suffix == (".ftz" if quantize else ".bin")
    model = load_filter(world.warehouse, SAMPLE, TARGET)
    chunks = world.warehouse.read("chunks", SAMPLE, columns=["text"])["text"].to_pylist()
    texts = [normalise(text) for text in chunks] + ["mast", "of pawn", "unheard-of words é 日本"]
    texts = [text for text in texts if text]
    found = model.score(text.encode() for text in texts)
    np.testing.assert_allclose(found, stock_scores(built.path, texts), rtol=0, atol=2e-6)
    assert found.min() >= 0
    assert found.max() <= 1


def test_term_weights_add_up_to_the_log_odds(make_world: Callable[..., Any]) -> None:
    world = make_world()
    model = FilterModel.load(build_filter(world.warehouse, SAMPLE, TARGET, world.selection).path)
    words = ["mast", "the", "rook", "Überraschung", "keel"]  # the fourth is unknown
    known = [(w,) for w in [*words, "</s>"] if w != "Überraschung"]
    pairs = list(zip(words, [*words[1:], "</s>"], strict=True))
    weights = model.term_weights([*known, *pairs])
    expected = model.log_odds(" ".join(words).encode()) * (len(known) + len(pairs))
    assert weights.sum() == pytest.approx(expected, rel=1e-5)


def test_a_huge_document_is_scored_in_pieces(make_world: Callable[..., Any]) -> None:
    world = make_world()
    model = FilterModel.load(build_filter(world.warehouse, SAMPLE, TARGET, world.selection).path)
    line = b"mast keel of the " * (PIECE_BYTES // 17 + 1000)
    assert len(line) > PIECE_BYTES
    short = b"mast keel of the " * 1000
    assert model.log_odds(line.strip()) == pytest.approx(model.log_odds(short.strip()), rel=1e-3)
    unbroken = b"x" * (PIECE_BYTES + 5)
    assert 0 <= model.score([unbroken])[0] <= 1


def test_empty_lines_score_zero(make_world: Callable[..., Any]) -> None:
    world = make_world()
    model = FilterModel.load(build_filter(world.warehouse, SAMPLE, TARGET, world.selection).path)
    assert model.score([b"", b"mast"])[0] == 0


def test_changed_or_missing_filter_is_refused(make_world: Callable[..., Any]) -> None:
    world = make_world()
    path = build_filter(world.warehouse, SAMPLE, TARGET, world.selection).path
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    with pytest.raises(PcorrError, match="was changed since it was trained"):
        load_filter(world.warehouse, SAMPLE, TARGET)
    path.unlink()
    with pytest.raises(PcorrError, match="is not there"):
        load_filter(world.warehouse, SAMPLE, TARGET)


def test_a_filter_is_found_where_the_home_is_now(make_world: Callable[..., Any]) -> None:
    """The home was moved; or a cluster sees it under another path."""
    world = make_world()
    built = build_filter(world.warehouse, SAMPLE, TARGET, world.selection)
    moved = world.warehouse.home.rename(world.warehouse.home.with_name("elsewhere"))
    assert load_filter(Warehouse(moved), SAMPLE, TARGET).sha256 == built.sha256


def test_foreign_models_are_refused(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("__label__yes a b\n__label__no c d\n" * 5)
    settings = FastText(dim=2, bucket=10, epoch=1)
    train_model(corpus, settings, tmp_path / "model.bin")
    with pytest.raises(PcorrError, match="has the labels"):
        FilterModel.load(tmp_path / "model.bin")
    with pytest.raises(PcorrError, match="is not a fastText model"):
        FilterModel.load(corpus)


def test_a_filter_that_learnt_nothing_says_so(make_world: Callable[..., Any]) -> None:
    world = make_world(epoch=1, lr=1e-6)
    rows = world.warehouse.read("chunks", SAMPLE)
    same = pa.array(["the of and "] * rows.num_rows)
    rows = rows.set_column(rows.schema.get_field_index("text"), rows.schema.field("text"), same)
    world.warehouse.write("chunks", (SAMPLE,), rows)
    built = build_filter(world.warehouse, SAMPLE, TARGET, world.selection, verdict="no-go")
    assert not built.beats_random
    assert "verdict" in built.notes[0]
    assert "random filters reach too" in built.notes[1]
    stored = world.warehouse.metadata("fasttext_filters", SAMPLE, TARGET)
    assert json.loads(stored["notes"]) == list(built.notes)


def test_language_mix_uses_the_model_of_the_config(
    make_world: Callable[..., Any], tmp_path: Path
) -> None:
    world = make_world()
    corpus = tmp_path / "languages.txt"
    corpus.write_text("__label__nautical mast keel jib\n__label__other flour rook pawn\n" * 20)
    train_model(corpus, FastText(dim=4, bucket=10, epoch=20, lr=1.0), tmp_path / "lid.bin")
    selection = world.selection.model_copy(update={"language_model": tmp_path / "lid.bin"})
    built = build_filter(world.warehouse, SAMPLE, TARGET, selection)
    assert built.languages is not None
    assert list(built.languages) == ["before", "label", "filter"]
    for shares in built.languages.values():
        assert sum(shares.values()) == pytest.approx(1)
    assert built.languages["filter"]["nautical"] > built.languages["before"]["nautical"]
    missing = world.selection.model_copy(update={"language_model": tmp_path / "none.bin"})
    with pytest.raises(PcorrError, match=r"selection\.language_model"):
        build_filter(world.warehouse, SAMPLE, TARGET, missing)


def test_a_failed_training_keeps_the_old_filter(
    make_world: Callable[..., Any], tmp_path: Path
) -> None:
    world = make_world()
    built = build_filter(world.warehouse, SAMPLE, TARGET, world.selection)
    broken = world.selection.model_copy(update={"language_model": tmp_path / "none.bin"})
    with pytest.raises(PcorrError):
        build_filter(world.warehouse, SAMPLE, TARGET, broken)
    assert load_filter(world.warehouse, SAMPLE, TARGET).sha256 == built.sha256


def batches(rows: list[tuple[str, str]]) -> list[pa.RecordBatch]:
    table = pa.table({"page_id": [r[0] for r in rows], "text": [r[1] for r in rows]})
    return table.to_batches(max_chunksize=2)


def test_one_line_a_page_in_an_order_of_its_own(tmp_path: Path) -> None:
    rows = [("p1", "a\nb"), ("p1", "c  d"), ("p2", "\u00a0"), ("p3", "__label__include e")]
    lines = write_lines(batches(rows), ["p3", "p1", "p2"], tmp_path / "lines.txt")
    assert list(lines.read([0, 1, 2])) == [b"e", b"a bc d", b""]
    written = []
    for name, order in (("x", [0, 1, 2]), ("y", [2, 1, 0])):
        write_training_file(
            lines, ["p3", "p1", "p2"], np.array(order), np.array([True, False, True]), 5,
            tmp_path / name,
        )  # fmt: skip
        written.append((tmp_path / name).read_text())
    assert written[0] == written[1]
    assert sorted(written[0].splitlines()) == ["__label__exclude a bc d", "__label__include e"]


def test_scattered_or_missing_pages_are_refused(tmp_path: Path) -> None:
    scattered = [("p1", "a"), ("p2", "b"), ("p1", "c")]
    with pytest.raises(PcorrError, match="'p1' do not follow one another"):
        write_lines(batches(scattered), ["p1", "p2"], tmp_path / "lines.txt")
    with pytest.raises(PcorrError, match="the first is 'p9'"):
        write_lines(batches([("p1", "a")]), ["p1", "p9"], tmp_path / "lines.txt")


def test_pages_without_a_word_cannot_be_learnt_from(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(PcorrError, match="has a word"):
        train_model(tmp_path / "empty.txt", FastText(), tmp_path / "model")
