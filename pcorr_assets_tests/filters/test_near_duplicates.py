"""Near-duplicates: n-grams and signatures against plain Python, selections against brute force."""

from __future__ import annotations

import hashlib
import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pcorr_assets.config import NearDuplicates, Pool
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters import shingles
from pcorr_assets.filters.groups import groups_of, read_group, refresh_groups
from pcorr_assets.filters.near_duplicates import EACH_WAY
from pcorr_assets.filters.scoring import score_group
from pcorr_assets.filters.selection import SelectionSummary, select_documents
from pcorr_assets.filters.shingles import ngram_hashes
from pcorr_assets.filters.signatures import (
    SIGNATURE_BYTES,
    bytes_of_band,
    jaccard_of,
    least_equal,
    signature_kind,
    signatures,
)
from pcorr_assets.filters.training import build_filter, find_filter
from pcorr_assets.filters.writing import write_selected
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.filters.test_selection import METADATA, TARGET, pool_of, scores_of, sha

NEAR = NearDuplicates()
ALONE = ((0x0E00, 0x0EFF), (0x1000, 0x10BF), (0x1780, 0x17FF), (0x3040, 0x9FFF), (0xF900, 0xFAFF),
         (0x20000, 0x32FFF))  # fmt: skip
SEPARATES = ((0x2000, 0x203F), (0x3000, 0x303F), (0xFF00, 0xFF0F))


def among(letter: str, ranges: Sequence[tuple[int, int]]) -> bool:
    return any(first <= ord(letter) <= last for first, last in ranges)


def words_of(text: str) -> list[str]:
    """What a word is, in plain Python, letter by letter."""
    words, word = [], ""
    for letter in text:
        separates = letter.isascii() and not letter.isalnum()
        if separates or among(letter, SEPARATES) or among(letter, ALONE):
            words += [word] * bool(word) + [letter] * among(letter, ALONE)
            word = ""
        else:
            word += letter.lower() if letter.isascii() else letter
    return words + [word] * bool(word)


def ngrams_of(text: str, length: int) -> list[tuple[str, ...]]:
    words = words_of(text)
    found = [tuple(words[n : n + length]) for n in range(len(words) - length + 1)]
    return found or [tuple(words)] * bool(words)


SOME = "aaBz19 .-\n\0é\u201c\u201d\u2026한글日本語\u3002ไทยកខမ\uff0c\u3001\uf900𠀀𠀁🙂"
letters = st.sampled_from(list(SOME)) | st.characters(exclude_categories=["Cs"])


@settings(max_examples=100)
@given(st.lists(st.text(letters, max_size=40), min_size=1, max_size=6), st.integers(1, 5))
@example(["", "a", "", "a b c d e f", "", "\n"], 5)
@example(["日本"], 3)
def test_ngrams_are_those_of_plain_python(texts: list[str], length: int) -> None:
    hashes, offsets = ngram_hashes([text.encode() for text in texts], length)
    assert (offsets[0], offsets[-1], len(offsets)) == (0, len(hashes), len(texts) + 1)
    known: dict[tuple[str, ...], int] = {}
    for number, text in enumerate(texts):
        expected = ngrams_of(text, length)
        found = hashes[offsets[number] : offsets[number + 1]].tolist()
        assert len(found) == len(expected)
        for ngram, value in zip(expected, found, strict=True):
            assert known.setdefault(ngram, value) == value
    assert len(set(known.values())) == len(known)


def test_large_texts_in_pieces_have_the_same_ngrams(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = random.Random(0)
    vocabulary = [f"word{n}" for n in range(999)]
    texts = [" ".join(generator.choices(vocabulary, k=k)).encode() for k in (3, 0, 4000, 1, 900)]
    hashes, offsets = ngram_hashes(texts, 5)
    with monkeypatch.context() as patch:
        patch.setattr(shingles, "BATCH_BYTES", 256)
        again, places = ngram_hashes(texts, 5)
    assert (again == hashes).all()
    assert (places == offsets).all()


def test_signatures_are_what_homes_hold() -> None:
    """They are stored: other values need another FORM, so that they are made again."""
    texts = [
        "The mast, the keel and the rudder of a ship.",
        "one",
        "",
        "日本語のテキスト",
        "é " * 9,
    ]
    found = signatures([text.encode() for text in texts], 5)
    assert found[2] is None
    held = [(one or b"").hex() for one in found]
    assert hashlib.sha256("\n".join(held).encode()).hexdigest()[:16] == "7d3217098a175ec0"
    assert signature_kind(NEAR) == "5-grams, 512 slots, form 1, rensa's version 2"
    same = signatures([b"the MAST the keel -- and the rudder of a\nship"], 5)
    assert same == found[:1]
    # However many come at once.
    many = [text.encode() for text in texts * 300]
    assert signatures(many, 5) == found * 300


def test_bands_find_nearly_all_pairs_at_the_threshold() -> None:
    assert (bytes_of_band(0.8), least_equal(0.8)) == (5, 416)
    for jaccard in (0.7, 0.8, 0.9, 0.95, 1.0):
        size = bytes_of_band(jaccard)
        assert 1 - (1 - jaccard ** (2 * size)) ** (SIGNATURE_BYTES // size) >= 0.99
        assert jaccard_of(least_equal(jaccard)) == pytest.approx(jaccard, abs=1 / 256)


def planted(count: int, seed: int) -> tuple[list[str], list[tuple[int, int, float]]]:
    """Texts and edited copies of them, from untouched to half another text: the pairs, with the
    exact Jaccard similarity of each."""
    generator = random.Random(seed)
    vocabulary = [f"w{n}" for n in range(3000)]
    texts: list[str] = []
    pairs = []
    for _ in range(count):
        words = generator.choices(vocabulary, k=generator.randint(60, 700))
        edited = list(words)
        for _ in range(round(len(words) * generator.uniform(0, 0.06))):
            edited[generator.randrange(len(edited))] = generator.choice(vocabulary)
        one, other = (
            {*zip(*(text[n:] for n in range(5)), strict=False)} for text in (words, edited)
        )
        pairs.append((len(texts), len(texts) + 1, len(one & other) / len(one | other)))
        texts += [" ".join(words), " ".join(edited)]
    return texts, pairs


def test_recall_and_precision_against_exact_similarity(tmp_path: Path) -> None:
    """Similarities spread evenly over 0.5 to 1, most of them hard: near the threshold."""
    texts, pairs = planted(3000, seed=7)
    held = signatures([text.encode() for text in texts], NEAR.ngram)
    warehouse = Warehouse(tmp_path)
    # The second of a pair comes after the first.
    rows = [(text, 1 - n / (2 * len(texts)), 10) for n, text in enumerate(texts)]
    keys = write_signed(warehouse, [rows], [held])
    pool = pool_of(token_budget=10**9, near_duplicates={})
    summary, found = select(warehouse, pool, keys)
    taken = {row["row"] for row in found[keys[0]]}
    told = {(one, other) for one, other, _ in pairs if other not in taken}
    alike = {(one, other) for one, other, jaccard in pairs if jaccard >= NEAR.jaccard}
    recall, precision = len(told & alike) / len(alike), len(told & alike) / len(told)
    assert 0.3 < len(alike) / len(pairs) < 0.7
    assert min(recall, precision) >= 0.95, (recall, precision)
    assert len(told) == len(texts) - len(taken)
    exact = summary.duplicate_document_count  # of pairs without an edit
    assert summary.near_duplicate_document_count == len(told) - exact


Signed = tuple[str, float, int]


def write_signed(
    warehouse: Warehouse,
    shards: list[list[Signed]],
    held: Sequence[Sequence[bytes | None]],
    kind: str | None = None,
) -> list[str]:
    """A group for each shard, with scores and signatures."""
    keys = [f"crawl/{number}.jsonl" for number in range(len(shards))]
    for number, (key, rows, signed) in enumerate(zip(keys, shards, held, strict=True)):
        group, noted = f"crawl/{number:04d}", {"shards": json.dumps([[key, len(rows)]])}
        scores = scores_of(key, rows)
        warehouse.write("pool_scores", (group, TARGET), scores, {**METADATA, **noted})
        documents = scores.drop_columns(["target", "score", "contaminated_by", "shared_words"])
        documents = documents.append_column("pool_group", pa.repeat(group, len(rows)))
        documents = documents.append_column("signature", pa.array(signed, pa.binary()))
        noted["signatures"] = kind or signature_kind(NEAR)
        warehouse.write("pool_documents", (group,), documents, noted)
    return keys


def select(
    warehouse: Warehouse, pool: Pool, keys: list[str]
) -> tuple[SelectionSummary, dict[str, list[dict[str, Any]]]]:
    groups = sorted({group for group, _ in warehouse.partitions("pool_scores")})
    with select_documents(warehouse, "crawl", pool, TARGET, keys, groups) as selection:
        return selection.summary, {k: selection.documents(k).to_pylist() for k in keys}


def bands(signature: bytes, size: int) -> set[tuple[int, bytes]]:
    return {(n, signature[n * size : (n + 1) * size]) for n in range(SIGNATURE_BYTES // size)}


def brute_force(
    shards: list[list[Signed]], held: list[list[bytes]], budget: int, jaccard: float
) -> tuple[list[tuple[int, int]], int]:
    """(shard, row) of what is taken, and how many near-duplicates come before the end."""
    size, least = bytes_of_band(jaccard), least_equal(jaccard)
    order = sorted(
        (-score, sha(content), number, row, tokens, held[number][row], content)
        for number, documents in enumerate(shards)
        for row, (content, score, tokens) in enumerate(documents)
        if tokens
    )
    firsts = {}
    for one in sorted(order, key=lambda one: (one[0], one[2], one[3])):
        firsts.setdefault(one[-1], one)
    taken, reached, near = [], 0, 0
    before: list[bytes] = []
    for one in order:
        if reached >= budget:
            break
        number, row, tokens, signature, content = one[2:]
        if firsts[content] is not one:
            continue
        is_near = any(
            bands(signature, size) & bands(other, size)
            and sum(a == b for a, b in zip(signature.hex(), other.hex(), strict=True)) >= least
            for other in before
        )
        before.append(signature)
        if is_near:
            near += 1
            continue
        taken.append((number, row))
        reached += tokens
    return sorted(taken), near


def altered(base: int, changes: int) -> bytes:
    """A signature of one of a few families, with some of its slots changed."""
    slots = np.random.default_rng(base).integers(0, 256, SIGNATURE_BYTES, dtype=np.uint8)
    places = np.random.default_rng([base, changes]).permutation(SIGNATURE_BYTES)[: changes * 6]
    slots[places] += np.uint8(changes)
    return slots.tobytes()


scores = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]) | st.floats(0, 1)
some = st.tuples(st.integers(0, 3), st.integers(0, 9), scores, st.integers(0, 9))


@settings(max_examples=12)
@given(
    st.lists(st.lists(some, max_size=14), min_size=1, max_size=3),
    st.integers(1, 120),
    st.sampled_from([0.7, 0.8, 0.9, 1.0]),
)
def test_selection_equals_brute_force(
    shards: list[list[tuple[int, int, float, int]]], budget: int, jaccard: float
) -> None:
    """Chains, copies and ties, whatever the budget: as if all pairs of all documents were seen."""
    if not sum(one[-1] for rows in shards for one in rows):
        return
    rows = [[(f"{base} {n}", score, tokens) for base, n, score, tokens in one] for one in shards]
    held = [[altered(base, n) for base, n, *_ in one] for one in shards]
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder))
        keys = write_signed(warehouse, rows, held)
        pool = pool_of(token_budget=budget, near_duplicates={"jaccard": jaccard})
        summary, found = select(warehouse, pool, keys)
    taken, near = brute_force(rows, held, budget, jaccard)
    assert [(n, row["row"]) for n, key in enumerate(keys) for row in found[key]] == taken
    assert summary.document_count == len(taken)
    assert summary.token_count == sum(rows[n][row][2] for n, row in taken)
    assert summary.near_duplicate_document_count == near


def test_a_chain_falls_to_its_first_and_a_document_is_not_led_by_what_comes_after_it(
    tmp_path: Path,
) -> None:
    a = bytes(SIGNATURE_BYTES)
    b = bytes([17] * 40 + [0] * (SIGNATURE_BYTES - 40))
    c = bytes([17] * 80 + [0] * (SIGNATURE_BYTES - 80))
    warehouse = Warehouse(tmp_path)
    pool = pool_of(token_budget=100, near_duplicates={})
    keys = write_signed(warehouse, [[("a", 0.9, 1), ("b", 0.8, 1), ("c", 0.7, 1)]], [[a, b, c]])
    summary, found = select(warehouse, pool, keys)
    assert [row["row"] for row in found[keys[0]]] == [0]
    assert summary.near_duplicate_token_count == 2
    # c is like b alone, which comes later now: both a and c stay.
    keys = write_signed(warehouse, [[("a", 0.9, 1), ("b", 0.7, 1), ("c", 0.8, 1)]], [[a, b, c]])
    _, found = select(warehouse, pool, keys)
    assert [row["row"] for row in found[keys[0]]] == [0, 2]


def test_the_budget_is_filled_with_distinct_text(tmp_path: Path) -> None:
    """So many near-duplicates lie at the top that the search has to go further down."""
    count = 3000
    rows = [(f"d{n}", 0.9 - n / 1e5, 10) for n in range(count)]
    rows += [(f"t{n}", 0.5 - n / 1e5, 10) for n in range(300)]
    held = [altered(1, n % 5) for n in range(count)]
    held += [altered(100 + n, 0) for n in range(300)]
    warehouse = Warehouse(tmp_path)
    keys = write_signed(warehouse, [rows], [held])
    summary, found = select(warehouse, pool_of(token_budget=500, near_duplicates={}), keys)
    assert [row["row"] for row in found[keys[0]]] == [0, *range(count, count + 49)]
    assert summary.near_duplicate_document_count == count - 1
    assert not summary.is_short


def test_many_documents_with_a_band_in_common_are_no_quadratic_work(tmp_path: Path) -> None:
    """Twenty thousand documents share three bands and nothing else, and some have a twin."""
    count = 20_000
    slots = np.random.default_rng(0).integers(0, 256, (count, SIGNATURE_BYTES), dtype=np.uint8)
    slots[:, :15] = 7
    slots[1::100] = slots[0::100]
    rows = [(f"d{n}", 1 - n / (2 * count), 1) for n in range(count)]
    warehouse = Warehouse(tmp_path)
    keys = write_signed(warehouse, [rows], [[one.tobytes() for one in slots]])
    summary, _ = select(warehouse, pool_of(token_budget=10**9, near_duplicates={}), keys)
    assert summary.near_duplicate_document_count == count // 100
    assert EACH_WAY < 100


def test_pools_without_signatures_are_refused(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    keys = write_signed(warehouse, [[("a", 0.5, 1)]], [[altered(0, 0)]], kind="others")
    pool = pool_of(token_budget=1, near_duplicates={})
    with pytest.raises(PcorrError, match=r"group crawl/0000 has others: materialise pool_scores"):
        select(warehouse, pool, keys)
    warehouse.path("pool_documents", "crawl/0000").unlink()
    with pytest.raises(PcorrError, match="group crawl/0000 has none"):
        select(warehouse, pool, keys)
    assert select(warehouse, pool_of(token_budget=1), keys)[0].document_count == 1


def test_from_texts_to_files_without_near_duplicates(make_world: Any, tmp_path: Path) -> None:
    """Edited copies, exact copies, short and empty texts, and a language without spaces."""
    world = make_world()
    build_filter(world.warehouse, "texts", TARGET, world.selection)
    generator = random.Random(3)
    long = [" ".join(generator.choices([f"mast{n}" for n in range(99)], k=90)) for _ in range(3)]
    signs = "".join(chr(0x4E00 + generator.randrange(3000)) for _ in range(200))
    texts = [*long, long[0] + " end", long[0], long[1].replace("mast7", "keel", 1)]
    texts += [signs, f"{signs[:150]}。{signs[150:]}", "mast keel", "Mast, keel!", "mast", "", " - "]
    (tmp_path / "pool").mkdir()
    rows = [{"id": f"t{n}", "text": text, "tokens": 3} for n, text in enumerate(texts)]
    (tmp_path / "pool/a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pool = Pool.model_validate(
        {"sample": "texts", "files": [str(tmp_path / "pool/*.jsonl")], "token_budget": 10**6,
         "token_count_column": "tokens", "near_duplicates": {}, "format": "jsonl"}
    )  # fmt: skip
    wh = world.warehouse
    for key in refresh_groups(wh, "crawl", pool).keys:
        filters = {TARGET: find_filter(wh, "texts", TARGET)}
        score_group(wh, read_group(wh, key), pool, filters)
    shards = [shard for key in groups_of(wh, "crawl") for shard in read_group(wh, key).shards]
    done = write_selected(wh, "crawl", pool, TARGET, list(shards), groups_of(wh, "crawl"))
    files = [done.folder / entry["file"] for entry in done.manifest["files"]]
    taken = {json.loads(line)["id"] for file in files for line in file.read_text().splitlines()}
    families = [{"t0", "t3", "t4"}, {"t1", "t5"}, {"t2"}, {"t6", "t7"}, {"t8", "t9"}, {"t10"}]
    families += [{"t12"}]
    assert [len(taken & family) for family in families] == [1] * 7
    assert len(taken) == 7
    assert done.manifest["near_duplicate_document_count"] == 4
    assert done.manifest["near_duplicate_token_count"] == 12
    assert done.manifest["duplicate_document_count"] == 1
