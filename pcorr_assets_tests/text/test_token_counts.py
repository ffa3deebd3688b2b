from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import PreTrainedTokenizerFast

from pcorr_assets.errors import PcorrError
from pcorr_assets.text.token_counts import count_unit_tokens, read_unit_tokens

Tokenizers = dict[str, PreTrainedTokenizerFast]

ROWS = [
    {
        "chunk_id": f"c{i}",
        "page_id": f"p{i // 3}",
        "domain": f"d{i // 9}",
        "text": f"Chunk number {i} é 😀 <|endoftext|> " * (i % 5),
    }
    for i in range(700)
]


@pytest.mark.parametrize("family", ["byte-level", "unigram"])
@pytest.mark.parametrize(
    ("level", "column"), [("chunk", "chunk_id"), ("page", "page_id"), ("domain", "domain")]
)
def test_counts_are_sums_over_chunks(
    tmp_path: Path, tokenizers: Tokenizers, family: str, level: str, column: str
) -> None:
    tokenizer = tokenizers[family]
    expected: Counter[str] = Counter({row[column]: 0 for row in ROWS})
    for row in ROWS:
        expected[row[column]] += len(tokenizer.encode(row["text"], add_special_tokens=False))
    table = pa.Table.from_pylist(ROWS)
    pq.write_table(table, tmp_path / "chunks.parquet")
    assert count_unit_tokens(tmp_path / "chunks.parquet", level, tokenizer) == dict(expected)
    counts = count_unit_tokens(table, level, tokenizer)
    assert list(counts.items()) == list(expected.items())


def test_only_surviving_chunks_count(tokenizers: Tokenizers) -> None:
    table = pa.Table.from_pylist(ROWS)
    tokenizer = tokenizers["byte-level"]
    by_chunk = count_unit_tokens(table, "chunk", tokenizer)
    surviving = {"c1", "c4", "c600"}
    assert count_unit_tokens(table, "page", tokenizer, surviving=surviving) == {
        "p0": by_chunk["c1"],
        "p1": by_chunk["c4"],
        "p200": by_chunk["c600"],
    }


def test_no_domains_and_unknown_level(tokenizers: Tokenizers) -> None:
    table = pa.Table.from_pylist([{**ROWS[1], "domain": None}])
    with pytest.raises(PcorrError, match="c1 has no domain"):
        count_unit_tokens(table, "domain", tokenizers["byte-level"])
    with pytest.raises(PcorrError, match="expected one of chunk, page, domain"):
        count_unit_tokens(table, "site", tokenizers["byte-level"])


def write(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "caps.csv"
    path.write_text("\n".join(["unit,token_count", *lines]) + "\n")
    return path


def test_unit_tokens_in_the_order_of_the_units(tmp_path: Path) -> None:
    path = write(tmp_path, '"b,1",0', "a,30000000000000001", "c,5e3")
    assert list(read_unit_tokens(path, ["a", "c", "b,1"]).items()) == [
        ("a", 30000000000000001),
        ("c", 5000),
        ("b,1", 0),
    ]


def test_units_that_left_the_matrix_may_be_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "a,1", "left,2", "b,3")
    assert read_unit_tokens(path, ["b", "a"], known=["a", "left", "b"]) == {"b": 3, "a": 1}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a,1", "b,2", "a,1"], r"caps\.csv, row 3 \(unit 'a'\): .*listed twice"),
        (["a,1"], r"no token count for units of the sample: 'b'"),
        (["a,1", "b,2", "x,3"], r"units that the sample does not have: 'x'"),
        (["a,-1", "b,2"], r"row 1 \(unit 'a'\): token_count '-1' is negative"),
        (["a,1.5", "b,2"], "'1.5' is not a whole number"),
        (["a,nan", "b,2"], "'nan' is not a whole number"),
        (["a,inf", "b,2"], "'inf' is not a whole number"),
        ([f"a,{'9' * 5000}", "b,2"], "'9+' is larger than any text"),
        ([f"a,-{'9' * 5000}", "b,2"], "'-9+' is negative"),
        (["a,", "b,2"], "'' is not a whole number"),
        (["a,many", "b,2"], "'many' is not a whole number"),
        (["a,1_0", "b,2"], "'1_0' is not a whole number"),
        (["a", "b,2"], "line 2: 1 fields"),
    ],
)
def test_bad_unit_tokens(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(PcorrError, match=message):
        read_unit_tokens(write(tmp_path, *lines), ["a", "b"])


def test_unit_tokens_with_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "caps.csv"
    path.write_text("domain,tokens\na,1\n")
    with pytest.raises(PcorrError, match=r"no column 'unit', 'token_count'; it has 'domain'"):
        read_unit_tokens(path, ["a"])
