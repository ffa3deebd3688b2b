"""A small world for filters: domains with topics, written as chunks and a distribution."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from pcorr_assets.config import FastText, Selection
from pcorr_assets.warehouse import TABLES, Warehouse

SAMPLE, TARGET = "texts", "sailing_quiz"


def words(text: str) -> list[str]:
    return text.split(" ")


TOPICS = {
    "sailing": words("mast keel jib tack harbour rudder gale anchor hull tide"),
    "baking": words("flour yeast oven dough crust butter whisk knead loaf glaze"),
    "chess": words("rook pawn gambit castle bishop endgame check knight queen fork"),
}
COMMON = words("the a of and to in was is it for on with as at by from that this be are")


@dataclass(frozen=True)
class World:
    """`selected_topic` is the one whose domains the distribution includes."""

    warehouse: Warehouse
    selection: Selection
    selected_topic: str = "sailing"


def page_text(topic: str, number: int, length: int = 40) -> str:
    """Seeded text: a third of its words are of the topic; lines and spaces are untidy."""
    generator = random.Random(f"{topic} {number}")
    chosen = [
        generator.choice(TOPICS[topic] if generator.random() < 0.35 else COMMON)
        for _ in range(length)
    ]
    return " ".join(chosen[:20]) + "\n\n\u00a0" + "  ".join(chosen[20:]) + "\n"


def chunk_rows(domains: int = 24, pages: int = 5) -> list[dict[str, object]]:
    """Chunks of `domains` x `pages` pages, three chunks a page, domains of one topic each."""
    rows: list[dict[str, object]] = []
    names = list(TOPICS)
    for domain in range(domains):
        topic = names[domain % len(names)]
        for page in range(pages):
            text = page_text(topic, domain * 100 + page)
            third = len(text) // 3
            for index, part in enumerate(
                (text[:third], text[third : 2 * third], text[2 * third :])
            ):
                rows.append(
                    {
                        "sample": SAMPLE,
                        "chunk_id": f"{domain}-{page}-{index}",
                        "page_id": f"https://{topic}{domain}.example/{page}",
                        "chunk_index": index,
                        "domain": f"{topic}{domain}.example",
                        "text": part,
                        "byte_count": len(part.encode()),
                        "reference_token_count": len(part.split()),
                    }
                )
    return rows


def distribution_of(units: dict[str, tuple[float, float, bool]], level: str = "domain") -> pa.Table:
    """unit -> (weight, tau, included) as a partition of `sampling_distributions`."""
    rows = [
        {
            "sample": SAMPLE, "target": TARGET, "level": level, "unit": unit, "token_count": 10,
            "tau": tau, "weight": weight, "included": included,
        }
        for unit, (weight, tau, included) in units.items()
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=TABLES["sampling_distributions"].schema)


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[..., World]:
    """A warehouse with chunks and a distribution that includes the domains of one topic."""

    def make(home: str = "home", **fasttext: object) -> World:
        settings = FastText.model_validate(
            {"dim": 16, "bucket": 20_000, "epoch": 20, "lr": 0.5, "test_fraction": 0.3, **fasttext}
        )
        warehouse = Warehouse(tmp_path / home)
        rows = chunk_rows()
        warehouse.write(
            "chunks", (SAMPLE,), pa.Table.from_pylist(rows, schema=TABLES["chunks"].schema)
        )
        domains = list(dict.fromkeys(str(row["domain"]) for row in rows))
        chosen = [domain for domain in domains if domain.startswith("sailing")]
        tau = 1 / (len(chosen) - 0.5)
        units = {
            domain: (
                (0.0, tau, False)
                if domain not in chosen
                else (tau / 2 if domain == chosen[-1] else tau, tau, True)
            )
            for domain in domains
        }
        warehouse.write("sampling_distributions", (SAMPLE, TARGET), distribution_of(units))
        return World(warehouse, Selection(keep_ratio=0.3, fasttext=settings))

    return make
