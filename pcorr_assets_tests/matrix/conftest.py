"""Small worlds in a warehouse, written as the assets write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pcorr_assets.text.chunked_dataset import chunk_ids_sha256
from pcorr_assets.warehouse import TABLES, Warehouse


@dataclass
class World:
    """Chunks of one sample and the losses of some LLMs on them."""

    wh: Warehouse
    page_ids: list[str]
    domains: list[str | None]
    byte_counts: np.ndarray
    sample: str = "web"
    losses: dict[str, np.ndarray] = field(default_factory=dict)
    token_counts: dict[str, np.ndarray] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)

    @property
    def chunk_ids(self) -> list[str]:
        """Not in sorted order, as hashes are not."""
        return [f"{(7 * i) % 101:03d}-{i}" for i in range(len(self.page_ids))]

    @property
    def chunks_sha256(self) -> str:
        """What `chunked_dataset` would note of these chunks."""
        return chunk_ids_sha256(self.chunk_ids)

    def write_chunks(self) -> None:
        size = len(self.page_ids)
        rows = pa.table(
            {
                "sample": [self.sample] * size,
                "chunk_id": self.chunk_ids,
                "page_id": self.page_ids,
                "chunk_index": list(range(size)),
                "domain": self.domains,
                "text": self.texts or ["x"] * size,
                "byte_count": self.byte_counts,
                "reference_token_count": [1] * size,
            },
            schema=TABLES["chunks"].schema,
        )
        self.wh.write("chunks", (self.sample,), rows, {"chunks_sha256": self.chunks_sha256})

    def score(
        self,
        llm: str,
        loss: Sequence[float] | np.ndarray,
        token_count: Sequence[int] | np.ndarray | None = None,
        **noted: str,
    ) -> None:
        """Write the `chunk_bpb` file of one LLM, and its row in `llms`."""
        loss = np.asarray(loss, dtype=float)
        size = loss.size
        tokens = np.full(size, 10) if token_count is None else np.asarray(token_count)
        self.losses[llm], self.token_counts[llm] = loss, tokens
        byte_count = self.byte_counts[:size]
        rows = pa.table(
            {
                "sample": [self.sample] * size,
                "llm": [llm] * size,
                "chunk_id": self.chunk_ids[:size],
                "loss": pa.array(loss),
                "token_count": tokens,
                "byte_count": byte_count,
                "bpb": pa.array(tokens / byte_count * loss / np.log(2)),
                "unk_count": [0] * size,
            },
            schema=TABLES["chunk_bpb"].schema,
        )
        metadata = {"chunks_sha256": self.chunks_sha256, "commit_sha": "c1", "dtype": "float32"}
        self.wh.write("chunk_bpb", (llm, self.sample), rows, metadata | noted)
        self.wh.write("llms", (llm,), llm_rows([llm]))


def llm_rows(
    llms: Sequence[str],
    source: str = "lm_eval",
    commit: str | None = "c1",
    dtype: str | None = "float32",
) -> pa.Table:
    """Rows of `llms`; the family is what stands before the first dash."""
    return pa.Table.from_pylist(
        [
            {
                "llm": llm,
                "source": source,
                "family": llm.split("-")[0],
                "name": llm,
                "revision": "main",
                "commit_sha": commit,
                "dtype": dtype,
            }
            for llm in llms
        ],
        schema=TABLES["llms"].schema,
    )


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[..., World]:
    """A world of the given pages and domains with its chunks written."""

    def make(
        page_ids: list[str],
        domains: Sequence[str | None] | None = None,
        byte_counts: Sequence[int] | None = None,
        folder: str = "home",
    ) -> World:
        world = World(
            Warehouse(tmp_path / folder),
            page_ids,
            list(domains) if domains else [None] * len(page_ids),
            np.asarray(byte_counts if byte_counts else [40] * len(page_ids)),
        )
        world.write_chunks()
        return world

    return make


@pytest.fixture
def make_llms() -> Callable[..., pa.Table]:
    """Rows of `llms` for some keys."""
    return llm_rows
