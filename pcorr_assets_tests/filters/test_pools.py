"""Shards of pools and their scores: what is read, and what bad data leads to."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pcorr_assets.config import Pool, settings_from
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.groups import read_group, refresh_groups
from pcorr_assets.filters.model import FilterFile, FilterModel
from pcorr_assets.filters.pools import Shard, iter_documents, list_shards
from pcorr_assets.filters.scoring import score_group
from pcorr_assets.filters.tokens import token_counter
from pcorr_assets.filters.training import build_filter
from pcorr_assets.jobs import score_pool_group
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import sha256_file

SAMPLE, TARGET = "texts", "sailing_quiz"

ROWS = [
    {"id": "a", "text": "mast keel\njib", "tokens": 3},
    {"id": "b", "text": "rook pawn", "tokens": 2},
    {"id": "a", "text": "oven\u00a0dough \ud83d", "tokens": 9},
    {"id": None, "text": None, "tokens": 0},
    {"id": 7, "text": " \n ", "tokens": 1},
]


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def pool_of(*files: Path | str, **options: Any) -> Pool:
    options = {"token_budget": 100, "token_count_column": "tokens", **options}
    return Pool.model_validate({"sample": SAMPLE, "files": [str(f) for f in files], **options})


@pytest.fixture
def trained(make_world: Callable[..., Any]) -> FilterFile:
    world = make_world()
    path = build_filter(world.warehouse, SAMPLE, TARGET, world.selection).path
    return FilterFile(path, sha256_file(path))


@pytest.fixture
def model(trained: FilterFile) -> FilterModel:
    return trained.load()


def score(warehouse: Warehouse, pool: Pool, trained: FilterFile, name: str = "crawl") -> str:
    """The key of the one group of a pool, which is scored."""
    (key,) = refresh_groups(warehouse, name, pool).keys
    score_group(warehouse, read_group(warehouse, key), pool, {TARGET: trained})
    return key


def test_one_file_is_one_shard_whose_key_stays(tmp_path: Path) -> None:
    for name in ("one/part 1.jsonl", "two/part 1.jsonl", "two/deep/x.jsonl"):
        write_jsonl(tmp_path / "pool" / name, ROWS[:1])
    pool = pool_of(tmp_path / "pool" / "**" / "*.jsonl")
    keys = [shard.key for shard in list_shards("crawl", pool)]
    assert keys == [
        "crawl/one%2Fpart%201.jsonl", "crawl/two%2Fdeep%2Fx.jsonl", "crawl/two%2Fpart%201.jsonl"
    ]  # fmt: skip
    write_jsonl(tmp_path / "pool" / "new.jsonl", ROWS[:1])
    assert set(keys) < {shard.key for shard in list_shards("crawl", pool)}


@pytest.mark.parametrize("name", ["star*", "what?", "[ab]c", "plain"])
def test_the_folder_of_the_project_is_in_no_key(tmp_path: Path, name: str) -> None:
    write_jsonl(tmp_path / name / "pool" / "one" / "a.jsonl", ROWS[:1])
    settings = settings_from(
        {
            "home": "home",
            "samples": {"texts": {"files": ["x.jsonl"], "reference_tokenizer": "org/none"}},
            "pools": {"crawl": {"sample": "texts", "files": ["pool/*/a.jsonl"], "keep_ratio": 0.5}},
        },
        folder=tmp_path / name,
    )
    keys = [shard.key for shard in list_shards("crawl", settings.pools["crawl"])]
    assert keys == ["crawl/one%2Fa.jsonl"]


def test_files_that_would_share_a_key_are_refused(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_jsonl(tmp_path / folder / "x.jsonl", ROWS[:1])
    pool = pool_of(tmp_path / "one/*.jsonl", tmp_path / "two/*.jsonl")
    with pytest.raises(PcorrError, match="would both be shard"):
        list_shards("crawl", pool)
    with pytest.raises(PcorrError, match="no file matches"):
        list_shards("crawl", pool_of(tmp_path / "three/*.jsonl"))


def test_scores_of_a_group(trained: FilterFile, model: FilterModel, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "pool/x.jsonl.gz", ROWS)
    warehouse = Warehouse(tmp_path / "scores")
    key = score(warehouse, pool_of(path), trained)
    table = warehouse.read("pool_scores", key, TARGET)
    texts = ["mast keel\njib", "rook pawn", "oven\u00a0dough \ufffd", "", " \n "]
    assert table["document_id"].to_pylist() == ["a", "b", "a#2", "x.jsonl.gz:3", "7"]
    assert table["token_count"].to_pylist() == [3, 2, 9, 0, 0]
    assert table["byte_count"].to_pylist() == [len(text.encode()) for text in texts]
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    assert table["content_sha256"].to_pylist() == hashes
    expected = model.score([b"mast keel jib", b"rook pawn", "oven dough \ufffd".encode(), b"", b""])
    assert table["score"].to_pylist() == expected.tolist()
    assert set(table["pool"].to_pylist()) == {"crawl"}
    assert set(table["shard"].to_pylist()) == {"crawl/x.jsonl.gz"}
    documents = warehouse.read("pool_documents", key)
    assert set(documents["pool_group"].to_pylist()) == {key} == {"crawl/0000"}
    shared = ["pool", "shard", "document_id", "token_count", "byte_count", "content_sha256"]
    assert documents.select(shared) == table.select(shared)
    metadata = warehouse.metadata("pool_scores", key, TARGET)
    assert metadata["filter_sha256"] == model.sha256
    assert metadata["token_source"] == "column tokens"
    assert metadata["empty_documents"] == "2"
    assert metadata["repeated_ids"] == "1"


def test_every_kind_of_source_gives_the_same_scores(trained: FilterFile, tmp_path: Path) -> None:
    import datasets

    rows = [{"id": str(i), "text": f"mast {i} rook\n" * (i % 7), "tokens": i} for i in range(3000)]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=700)
    write_jsonl(tmp_path / "x.jsonl.gz", rows)
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "saved"))
    pools = {
        "parquet": pool_of(tmp_path / "x.parquet"),
        "jsonl": pool_of(tmp_path / "x.jsonl.gz"),
        "saved": Pool.model_validate(
            {"sample": SAMPLE, "saved": str(tmp_path / "saved"), "token_budget": 1,
             "token_count_column": "tokens"}
        ),
    }  # fmt: skip
    warehouse = Warehouse(tmp_path / "scores")
    found = []
    for name, pool in pools.items():
        scores = warehouse.read("pool_scores", score(warehouse, pool, trained, name), TARGET)
        found.append(scores.drop_columns(["pool", "shard"]).to_pylist())
    assert found[0] == found[1] == found[2]
    assert [row["document_id"] for row in found[0]] == [row["id"] for row in rows]


def test_a_dataset_is_cut_into_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr("pcorr_assets.filters.pools.ROWS_PER_SHARD", 40)
    rows = [{"id": str(i), "text": f"t{i}"} for i in range(100)]
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "saved"))
    pool = Pool.model_validate(
        {"sample": SAMPLE, "saved": str(tmp_path / "saved"), "token_budget": 1}
    )
    shards = list_shards("crawl", pool)
    assert [s.key for s in shards] == [f"crawl/rows-{n:012d}" for n in (0, 40, 80)]
    ids = [d.id for s in shards for documents in iter_documents(s, pool) for d in documents]
    assert ids == [row["id"] for row in rows]
    missing = Pool.model_validate(
        {"sample": SAMPLE, "saved": str(tmp_path / "gone"), "token_budget": 1}
    )
    with pytest.raises(PcorrError, match="gone"):
        list_shards("crawl", missing)


def documents_of(path: Path, **options: Any) -> list[Any]:
    pool = pool_of(path, **options)
    (shard,) = list_shards("crawl", pool)
    return [document for documents in iter_documents(shard, pool) for document in documents]


def test_missing_columns_are_named(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "x.jsonl", [{"content": "a", "tokens": 1}])
    with pytest.raises(PcorrError, match=r"x\.jsonl: no column 'text'; it has 'content', 'tokens'"):
        documents_of(path)
    assert documents_of(path, text_column="content")[0].id is None
    with pytest.raises(PcorrError, match="no column 'url'"):
        documents_of(path, text_column="content", id_column="url")
    with pytest.raises(PcorrError, match="no column 'n'"):
        documents_of(path, text_column="content", token_count_column="n")
    pq.write_table(pa.table({"content": ["a"], "tokens": [1]}), tmp_path / "x.parquet")
    with pytest.raises(PcorrError, match=r"x\.parquet: no column 'text'"):
        documents_of(tmp_path / "x.parquet")
    assert documents_of(tmp_path / "x.parquet", text_column="content")[0].token_count == 1


@pytest.mark.parametrize("value", [-1, 1.5, "7", None, True, float("nan"), 2**70])
def test_token_counts_that_are_none_are_refused(tmp_path: Path, value: object) -> None:
    path = write_jsonl(tmp_path / "x.jsonl", [ROWS[0], {"text": "x", "tokens": value}])
    with pytest.raises(PcorrError, match="line 2: 'tokens' is"):
        documents_of(path)


@pytest.mark.parametrize("odd", [7, float("nan"), True, ["a"], {"a": 1}])
def test_a_text_of_another_type_is_counted_and_never_selected(
    trained: FilterFile, tmp_path: Path, odd: object
) -> None:
    """As in a sample, where such a row is dropped: the other rows of the file count."""
    path = write_jsonl(tmp_path / "x.jsonl", [*ROWS[:2], {"id": "z", "text": odd, "tokens": 5}])
    warehouse, pool = Warehouse(tmp_path / "scores"), pool_of(path)
    key = score(warehouse, pool, trained)
    assert warehouse.read("pool_scores", key, TARGET)["token_count"].to_pylist() == [3, 2, 0]
    metadata = warehouse.metadata("pool_scores", key, TARGET)
    if odd == odd:
        assert metadata["texts_of_another_type"] == "1"
        kind = type(odd).__name__
        assert metadata["first_texts_of_another_type"] == f"{path}, line 3 ({kind})"
    else:  # NaN is how pandas writes a missing text
        assert metadata["texts_of_another_type"] == "0"
    path.write_text('{"text": null, "tokens": 1}\n{"text": 5, "tokens": 1}\n')
    with pytest.raises(PcorrError, match=r"x\.jsonl: column 'text' holds no text: .* line 2 \(int"):
        score(warehouse, pool, trained)


def test_binary_texts_of_a_pool_are_utf8(trained: FilterFile, tmp_path: Path) -> None:
    texts = [b"mast \xff keel", "rook \u00e9".encode(), None]
    table = pa.table({"text": pa.array(texts, pa.binary()), "tokens": [3, 2, 0]})
    pq.write_table(table, tmp_path / "x.parquet")
    warehouse, pool = Warehouse(tmp_path / "scores"), pool_of(tmp_path / "x.parquet")
    key = score(warehouse, pool, trained)
    hashes = warehouse.read("pool_scores", key, TARGET)["content_sha256"].to_pylist()
    expected = ["mast \ufffd keel", "rook \u00e9", ""]
    assert hashes == [hashlib.sha256(text.encode()).hexdigest() for text in expected]
    metadata = warehouse.metadata("pool_scores", key, TARGET)
    assert metadata["documents_with_invalid_unicode"] == "1"


def test_truncated_and_misnamed_files_keep_the_old_scores(
    trained: FilterFile, tmp_path: Path
) -> None:
    rows = [{"text": f"mast {'keel ' * (i % 90)}{i}", "tokens": 1} for i in range(5000)]
    path = write_jsonl(tmp_path / "pool/x.jsonl.gz", rows)
    pool = pool_of(path)
    warehouse = Warehouse(tmp_path / "scores")
    before = warehouse.written("pool_scores", score(warehouse, pool, trained), TARGET)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"plain text", b""):
        path.write_bytes(damaged)
        with pytest.raises(PcorrError, match=r"x\.jsonl\.gz"):
            score(warehouse, pool, trained)
        assert sha256_file(before.path) == before.sha256
        assert list(before.path.parent.iterdir()) == [before.path]


def test_tokens_need_something_that_counts_them(tmp_path: Path) -> None:
    pool = pool_of(tmp_path / "x.jsonl", token_count_column=None)
    with pytest.raises(PcorrError, match=r"set selection\.tokenizer"):
        token_counter(pool, None)


@pytest.fixture
def tokenizer_folder(tmp_path: Path) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({"[UNK]": 0, "mast": 1}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path / "tokenizer"
    PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]").save_pretrained(folder)
    return folder


def test_tokens_are_counted_by_the_tokenizer(tmp_path: Path, tokenizer_folder: Path) -> None:
    counter = token_counter(
        pool_of(tmp_path / "x.jsonl", token_count_column=None), str(tokenizer_folder)
    )
    assert counter is not None
    long = "mäst " * 500_000  # 3 MB: counted in pieces, cut between words
    assert counter([text.encode() for text in ("mast, keel!", "", long)]) == [4, 0, 500_000]


def test_a_200_mb_document_is_scored(make_world: Callable[..., Any], tmp_path: Path) -> None:
    """In a process of its own, whose peak memory is known."""
    world = make_world()
    built = build_filter(world.warehouse, SAMPLE, TARGET, world.selection)
    path = tmp_path / "pool/big.jsonl"
    path.parent.mkdir()
    with path.open("w") as file:
        file.write('{"id": "big", "text": "')
        for _ in range(200):
            file.write("mast keel of the " * 61_681)
        file.write('", "tokens": 9}\n{"id": "small", "text": "mast keel", "tokens": 2}\n')
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pcorr_assets.config import Pool\n"
        "from pcorr_assets.filters.groups import read_group, refresh_groups\n"
        "from pcorr_assets.filters.model import FilterFile\n"
        "from pcorr_assets.filters.scoring import score_group\n"
        "from pcorr_assets.warehouse import Warehouse\n"
        "home, model, path = map(Path, sys.argv[1:4])\n"
        "pool = Pool.model_validate({'sample': 's', 'files': [str(path)], 'token_budget': 1,\n"
        "                            'token_count_column': 'tokens'})\n"
        "(key,) = refresh_groups(Warehouse(home), 'crawl', pool).keys\n"
        "group = read_group(Warehouse(home), key)\n"
        "score_group(Warehouse(home), group, pool, {'t': FilterFile(model, sys.argv[4])})\n"
        "print(Path('/proc/self/status').read_text())\n"
    )
    arguments = [str(tmp_path / "scores"), str(built.path), str(path), sha256_file(built.path)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True
    )
    # Not ru_maxrss, which a process inherits from the one that started it.
    peak_kib = int(done.stdout.split("VmHWM:")[1].split()[0])
    assert peak_kib < 1536 * 1024
    rows = Warehouse(tmp_path / "scores").read("pool_scores", "crawl/0000", "t").to_pylist()
    assert rows[0]["byte_count"] == 200 * 17 * 61_681
    assert rows[0]["score"] > 0.9
    assert rows[1]["document_id"] == "small"


def job_world(make_world: Callable[..., Any], tmp_path: Path, row_count: int) -> dict[str, Any]:
    world = make_world()
    build_filter(world.warehouse, SAMPLE, TARGET, world.selection)
    rows = [{"text": f"mast {'keel ' * 300}{i}", "tokens": i} for i in range(row_count)]
    write_jsonl(tmp_path / "pool/x.jsonl", rows)
    settings = settings_from(
        {
            "home": str(world.warehouse.home),
            "samples": {SAMPLE: {"files": ["x.jsonl"], "reference_tokenizer": "org/name"}},
            "benchmarks": {"b": {"metric": "acc"}},
            "targets": {TARGET: {"benchmarks": ["b"]}},
            "pools": {
                "crawl": {"sample": SAMPLE, "files": [str(tmp_path / "pool/*.jsonl")],
                          "token_count_column": "tokens", "token_budget": 5}
            },
        },
        folder=tmp_path,
    )  # fmt: skip
    refresh_groups(world.warehouse, "crawl", settings.pools["crawl"])
    return score_pool_group.score_pool_group_job(settings, "crawl/0000", [TARGET])


def test_the_job_goes_through_json(make_world: Callable[..., Any], tmp_path: Path) -> None:
    job = json.loads(json.dumps(job_world(make_world, tmp_path, 10)))
    result = score_pool_group.run(job)
    parts = [result, *result["others"]]
    assert [(part["table"], tuple(part["partition"])) for part in parts] == [
        ("pool_documents", ("crawl/0000",)), ("pool_scores", ("crawl/0000", TARGET))
    ]  # fmt: skip
    for part in parts:
        assert part["row_count"] == 10
        assert sha256_file(Path(part["path"])) == part["sha256"]
    with pytest.raises(PcorrError, match="group: Field required"):
        score_pool_group.run({k: v for k, v in job.items() if k != "group"})


def test_a_group_whose_list_was_removed_lists_its_pool_again(
    make_world: Callable[..., Any], tmp_path: Path
) -> None:
    job = job_world(make_world, tmp_path, 10)
    listed = Path(job["home"]) / "warehouse/pool_files/crawl%2F0000.parquet"
    content = listed.read_bytes()
    listed.unlink()
    assert score_pool_group.run(job)["partition"] == ["crawl/0000"]
    assert listed.read_bytes() == content


def test_scoring_does_not_depend_on_batches(model: FilterModel) -> None:
    lines = [f"mast {'keel ' * n}of".encode() for n in range(50)]
    assert np.array_equal(model.score(lines), [model.score([line])[0] for line in lines])
    assert Shard("crawl/a%2Fb", "crawl").slug == "a%2Fb"
