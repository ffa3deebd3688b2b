"""Pages and documents of three topics, and a matrix in which LLMs know one of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pcorr_assets.config import FastText, Pool
from pcorr_assets.filters.groups import groups_of, read_group, refresh_groups
from pcorr_assets.filters.pools import list_shards
from pcorr_assets.filters.scoring import score_group
from pcorr_assets.filters.training import build_filter, find_filter
from pcorr_assets.methods.choosing import ScoredPool, scored_pool
from pcorr_assets.methods.material import Material
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.filters.conftest import SAMPLE, TARGET, TOPICS, make_world, page_text

__all__ = ["make_world"]
POOL = "crawl"
FASTTEXT = FastText(dim=8, bucket=5_000, epoch=20, lr=0.5, test_fraction=0.3)


def document(topic: str, number: int) -> str:
    """130 words, a third of them of the topic."""
    return page_text(topic, 10_000 + number, length=130)


@dataclass(frozen=True)
class ScoredWorld:
    """A pool that the filter of a target has scored, and what methods learn from."""

    warehouse: Warehouse
    pool: Pool
    scored: ScoredPool
    material: Material
    texts: list[str]

    def topics(self, rows: pa.Table) -> list[str]:
        """The topic of each document selected, from its id."""
        return [name.split("/")[2].split(".")[0] for name in rows["document_id"].to_pylist()]


@pytest.fixture
def make_scored(make_world: Callable[..., Any], tmp_path: Path) -> Callable[..., ScoredWorld]:
    """Two files of 30 documents, of three topics in turn, scored by the filter of `sailing`."""

    def make(**options: Any) -> ScoredWorld:
        world = make_world(dim=8, bucket=5_000)
        wh, texts = world.warehouse, []
        for file in range(2):
            rows = []
            for number in range(30):
                topic = list(TOPICS)[number % 3]
                # The last three of each file are copies of the first.
                content = document(topic, number % 27 + (100 if file and number < 27 else 0))
                name = f"https://{topic}.example/{file}/{number}"
                rows.append({"id": name, "text": content, "tokens": 130})
            (tmp_path / f"pool-{file}.jsonl").write_text(
                "".join(json.dumps(row) + "\n" for row in rows)
            )
            texts += [row["text"] for row in rows]
        stated = {"files": [str(tmp_path / "pool-*.jsonl")], "token_count_column": "tokens"}
        pool = Pool.model_validate({"sample": SAMPLE, "token_budget": 130 * 9, **stated, **options})
        build_filter(wh, SAMPLE, TARGET, world.selection)
        own = find_filter(wh, SAMPLE, TARGET)
        refresh_groups(wh, POOL, pool)
        for group in groups_of(wh, POOL):
            score_group(wh, read_group(wh, group), pool, {TARGET: own})
        shards, groups = list_shards(POOL, pool), groups_of(wh, POOL)
        scored = scored_pool(wh, POOL, pool, TARGET, shards, groups)
        baking = [document("baking", 500 + number) for number in range(12)]
        material = Material(FASTTEXT, tmp_path, 7, baking, None, own)
        return ScoredWorld(wh, pool, scored, material, texts)

    return make
