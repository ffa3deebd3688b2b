"""The texts of the world: pages of domains, a pool from other domains, and the truth.

Belongs here: which domains there are, what each of them writes about, and the files
that hold their pages. Does not belong here: sentences (`prose`), benchmark items
(`tasks`), and the texts that the LLMs are trained on (`zoo`), which are never written.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

from pcorr_assets.demo import prose
from pcorr_assets.demo.topics import TOPICS
from pcorr_assets.warehouse.files import atomic_path

PURE_DOMAINS_PER_TOPIC = 5
MIXED_DOMAIN_COUNT = 10
PAGES_PER_DOMAIN = 10
PARAGRAPHS_PER_PAGE = 3
MIXED_SHARES = (0.7, 0.5)
POOL_DOMAINS_PER_TOPIC = 12
POOL_MIXED_DOMAIN_COUNT = 16
POOL_DOCUMENTS_PER_DOMAIN = 40
POOL_PARAGRAPHS = 4
POOL_SHARDS = (
    "shard-00.jsonl.gz",
    "shard-01.jsonl.gz",
    "shard-02.jsonl.zst",
    "shard-03.jsonl.zst",
    "shard-04.parquet",
    "shard-05.parquet",
)
_SITE_KINDS = ("journal", "notes", "club", "weekly", "forum", "almanac", "letters", "diary", "post")
_SECTIONS = ("guide", "story", "question", "review", "lesson", "report")


@dataclass(frozen=True)
class Domain:
    """A web domain and the share of its paragraphs that each of its topics gets."""

    name: str
    shares: dict[str, float]


@dataclass(frozen=True)
class Page:
    """One page and the share of its bytes that each topic holds."""

    id: str
    domain: str
    text: str
    shares: dict[str, float]


@dataclass(frozen=True)
class CorpusTruth:
    """What only the demo's summary and the tests may read.

    `domains` and `pool_documents` give, for a domain of the sample and for a document
    of the pool, the share of its bytes that each topic holds.
    """

    domains: dict[str, dict[str, float]]
    pool_documents: dict[str, dict[str, float]]


def write_corpus(folder: Path, seed: int) -> CorpusTruth:
    """Write `corpus/*.jsonl.gz`, `pool/*` and `truth.json` into `folder`.

    The same seed gives the same bytes. The sample has 50 domains of 10 pages, ten of
    them mixed out of two topics; the pool comes from domains that the sample lacks.
    """
    rng = Random(f"{seed}/domains")
    names = _site_names(rng)
    sample = _draw_domains(rng, names, PURE_DOMAINS_PER_TOPIC, MIXED_DOMAIN_COUNT)
    unseen = _draw_domains(rng, names, POOL_DOMAINS_PER_TOPIC, POOL_MIXED_DOMAIN_COUNT)
    pages = _write_pages(sample, PAGES_PER_DOMAIN, PARAGRAPHS_PER_PAGE, f"{seed}/sample")
    documents = _write_pages(unseen, POOL_DOCUMENTS_PER_DOMAIN, POOL_PARAGRAPHS, f"{seed}/pool")
    Random(f"{seed}/shuffle").shuffle(documents)

    half = len(pages) // 2
    for name, part in (("pages-0.jsonl.gz", pages[:half]), ("pages-1.jsonl.gz", pages[half:])):
        rows = [{"url": page.id, "domain": page.domain, "text": page.text} for page in part]
        write_rows(folder / "corpus" / name, rows)
    for number, name in enumerate(POOL_SHARDS):
        rows = [
            {"id": page.id, "source": page.domain, "text": page.text}
            for page in documents[number :: len(POOL_SHARDS)]
        ]
        write_rows(folder / "pool" / name, rows)

    truth = CorpusTruth(
        domains=_shares_of_domains(pages),
        pool_documents={page.id: page.shares for page in documents},
    )
    with atomic_path(folder / "truth.json") as temporary:
        temporary.write_text(json.dumps(asdict(truth), indent=1, sort_keys=True))
    return truth


def read_truth(folder: Path) -> CorpusTruth:
    """The truth that `write_corpus` wrote into `folder`."""
    return CorpusTruth(**json.loads((folder / "truth.json").read_text()))


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    """Write rows as JSON lines (plain, .gz or .zst) or Parquet, by the name's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), temporary, compression="zstd")
            return
        data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        if path.suffix == ".gz":
            # Without a fixed time in its header the same text would give other bytes.
            data = gzip.compress(data, mtime=0)
        elif path.suffix == ".zst":
            data = pa.Codec("zstd").compress(data, asbytes=True)
        temporary.write_bytes(data)


def _site_names(rng: Random) -> dict[str, list[str]]:
    """All names a topic's sites can have, shuffled; drawn from the end, so never twice."""
    names = {
        topic.name: [f"{word}-{kind}.example" for word in topic.site_words for kind in _SITE_KINDS]
        for topic in TOPICS.values()
    }
    for candidates in names.values():
        rng.shuffle(candidates)
    return names


def _draw_domains(
    rng: Random, names: dict[str, list[str]], pure_per_topic: int, mixed_count: int
) -> list[Domain]:
    domains = [
        Domain(names[topic].pop(), {topic: 1.0}) for topic in TOPICS for _ in range(pure_per_topic)
    ]
    # In turn, so that no world has a topic without mixed domains.
    order = rng.sample(list(TOPICS), len(TOPICS))
    for number in range(mixed_count):
        first = order[number % len(order)]
        second = rng.choice([topic for topic in TOPICS if topic != first])
        share = MIXED_SHARES[number % len(MIXED_SHARES)]
        domains.append(Domain(names[first].pop(), {first: share, second: round(1 - share, 6)}))
    return domains


def _write_pages(
    domains: list[Domain], page_count: int, paragraph_count: int, seed: str
) -> list[Page]:
    pages = []
    for domain in domains:
        rng = Random(f"{seed}/{domain.name}")
        voices = {topic: prose.site_voice(TOPICS[topic], rng) for topic in domain.shares}
        for number in range(page_count):
            topics = rng.choices(
                list(domain.shares), list(domain.shares.values()), k=paragraph_count
            )
            paragraphs = [prose.page([topic], voices, rng) for topic in topics]
            size: Counter[str] = Counter()
            for topic, paragraph in zip(topics, paragraphs, strict=True):
                size[topic] += len(paragraph.encode())
            total = sum(size.values())
            pages.append(
                Page(
                    id=f"https://{domain.name}/{rng.choice(_SECTIONS)}-{number + 1}",
                    domain=domain.name,
                    text="\n\n".join(paragraphs),
                    shares={topic: count / total for topic, count in size.items()},
                )
            )
    return pages


def _shares_of_domains(pages: list[Page]) -> dict[str, dict[str, float]]:
    size: dict[str, dict[str, float]] = {}
    for page in pages:
        byte_count = len(page.text.encode())
        of_domain = size.setdefault(page.domain, {})
        for topic, share in page.shares.items():
            of_domain[topic] = of_domain.get(topic, 0.0) + share * byte_count
    return {
        domain: {topic: count / sum(of_domain.values()) for topic, count in of_domain.items()}
        for domain, of_domain in size.items()
    }
