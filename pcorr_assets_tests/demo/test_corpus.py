"""The files of a world's texts: counts, truth, and the same bytes for the same seed."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import zstandard

from pcorr_assets.demo import corpus
from pcorr_assets.demo.corpus import CorpusTruth
from pcorr_assets.demo.topics import TOPICS


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    if path.suffix == ".parquet":
        yield from pq.read_table(path).to_pylist()
        return
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    elif path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
    for line in data.splitlines():
        yield json.loads(line)


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CorpusTruth]:
    folder = tmp_path_factory.mktemp("corpus")
    return folder, corpus.write_corpus(folder, seed=3)


@pytest.fixture(scope="module")
def pages(written: tuple[Path, CorpusTruth]) -> list[dict[str, str]]:
    return [row for path in (written[0] / "corpus").iterdir() for row in read_rows(path)]


@pytest.fixture(scope="module")
def documents(written: tuple[Path, CorpusTruth]) -> list[dict[str, str]]:
    return [row for path in (written[0] / "pool").iterdir() for row in read_rows(path)]


def test_at_least_48_domains_of_ten_pages(pages: list[dict[str, str]]) -> None:
    counts = Counter(page["domain"] for page in pages)
    assert len(counts) >= 48
    assert set(counts.values()) == {10}
    assert len({page["url"] for page in pages}) == len(pages)
    assert len({page["text"] for page in pages}) == len(pages)
    assert all(page["url"].startswith(f"https://{page['domain']}/") for page in pages)


def test_the_truth_names_every_domain_and_document(
    written: tuple[Path, CorpusTruth],
    pages: list[dict[str, str]],
    documents: list[dict[str, str]],
) -> None:
    folder, truth = written
    assert corpus.read_truth(folder) == truth
    assert set(truth.domains) == {page["domain"] for page in pages}
    assert set(truth.pool_documents) == {document["id"] for document in documents}
    for shares in (*truth.domains.values(), *truth.pool_documents.values()):
        assert set(shares) <= set(TOPICS)
        assert sum(shares.values()) == pytest.approx(1, abs=1e-9)
    mixed = [shares for shares in truth.domains.values() if len(shares) == 2]
    assert len(mixed) >= 8
    assert Counter(next(iter(s)) for s in truth.domains.values() if len(s) == 1) == dict.fromkeys(
        TOPICS, corpus.PURE_DOMAINS_PER_TOPIC
    )


def test_the_truth_fits_the_words(
    written: tuple[Path, CorpusTruth], pages: list[dict[str, str]]
) -> None:
    """A domain's sentences open as its own topics do, and as no other."""
    for domain, shares in written[1].domains.items():
        text = " ".join(page["text"] for page in pages if page["domain"] == domain)
        present = {
            name
            for name, topic in TOPICS.items()
            if any(f"{one}," in text for one in topic.openers)
        }
        assert present == set(shares)


def test_the_pool_comes_from_unseen_domains_in_several_formats(
    written: tuple[Path, CorpusTruth],
    pages: list[dict[str, str]],
    documents: list[dict[str, str]],
) -> None:
    seen = {page["domain"] for page in pages}
    assert not seen & {document["source"] for document in documents}
    assert not {page["text"] for page in pages} & {document["text"] for document in documents}
    endings = {"".join(path.suffixes) for path in (written[0] / "pool").iterdir()}
    assert endings == {".jsonl.gz", ".jsonl.zst", ".parquet"}


@pytest.mark.parametrize("topic", TOPICS)
def test_no_topic_holds_more_than_a_quarter_of_the_pool(
    written: tuple[Path, CorpusTruth], documents: list[dict[str, str]], topic: str
) -> None:
    size = {document["id"]: len(document["text"].encode()) for document in documents}
    truth = written[1].pool_documents
    share = sum(size[key] * truth[key].get(topic, 0) for key in size) / sum(size.values())
    assert 0.05 < share <= 0.25


def test_a_seed_decides_every_byte(written: tuple[Path, CorpusTruth], tmp_path: Path) -> None:
    corpus.write_corpus(tmp_path / "same", seed=3)
    corpus.write_corpus(tmp_path / "other", seed=4)
    assert hashes(tmp_path / "same") == hashes(written[0])
    other = hashes(tmp_path / "other")
    assert not set(other.values()) & set(hashes(written[0]).values())
