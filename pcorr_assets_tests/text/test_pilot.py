"""Which pages are the pilot's: so many of each domain, whole, nested, whatever the order."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pcorr_assets.config import Pilot, Settings, load_settings, settings_from
from pcorr_assets.config.texts import Sample
from pcorr_assets.errors import PcorrError
from pcorr_assets.steps.sharing import configuration_text
from pcorr_assets.text.pilot import pilot_chunks
from pcorr_assets.text.sampling import SamplingCounts, sample_pages
from pcorr_assets.text.sources import SourceRow


def chunks_of(pages: list[tuple[str, str | None, int]]) -> pa.Table:
    rows = [(page, domain) for page, domain, count in pages for _ in range(count)]
    return pa.table(
        {
            "page_id": pa.array([page for page, _ in rows], pa.string()),
            "domain": pa.array([domain for _, domain in rows], pa.string()),
        }
    )


def chosen_pages(chunks: pa.Table, pilot: Pilot, seed: int = 42) -> set[str]:
    """The pages of the pilot; none of them in part."""
    chosen = pilot_chunks(chunks, pilot, seed).tolist()
    pages = chunks["page_id"].to_pylist()
    inside = {page for page, is_in in zip(pages, chosen, strict=True) if is_in}
    assert chosen == [page in inside for page in pages]
    return inside


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    count=st.integers(1, 6),
    share=st.floats(0.01, 1),
    seed=st.integers(0, 9),
)
def test_so_many_pages_of_each_domain(
    sizes: list[int], count: int, share: float, seed: int
) -> None:
    pages: list[tuple[str, str | None, int]] = [
        (f"{d}/{p}", f"d{d}" if d else None, 1 + p % 3)
        for d, size in enumerate(sizes)
        for p in range(size)
    ]
    table = chunks_of(pages)
    domain_of = {page: domain for page, domain, _ in pages}
    size_of = Counter(domain_of.values())
    by_count = chosen_pages(table, Pilot(pages_per_domain=count), seed)
    found = Counter(domain_of[page] for page in by_count)
    assert found == {domain: min(size, count) for domain, size in size_of.items()}
    by_share = chosen_pages(table, Pilot(share=share), seed)
    found = Counter(domain_of[page] for page in by_share)
    assert found == {domain: math.ceil(size * share) for domain, size in size_of.items()}
    # Nested, and the same in another order.
    assert by_count <= chosen_pages(table, Pilot(pages_per_domain=count + 1), seed)
    random.Random(seed).shuffle(pages)
    assert chosen_pages(chunks_of(pages), Pilot(pages_per_domain=count), seed) == by_count


def test_it_holds_the_pages_of_a_smaller_sample(make_sample: Callable[..., Sample]) -> None:
    rows = [SourceRow(f"text {d} {p}", f"{d}/{p}", f"d{d}") for d in range(4) for p in range(9)]
    small = make_sample(files=["x.jsonl"], domain_column="site", pages_per_domain=2)
    pages = {page.page_id for page in sample_pages(lambda: iter(rows), small, SamplingCounts())}
    table = chunks_of([(str(row.page_id), row.domain, 2) for row in rows])
    assert chosen_pages(table, Pilot(pages_per_domain=2)) == pages


def settings_of(pilot: Any, folder: Path, **sample: Any) -> Settings:
    stated = {"files": ["x.jsonl"], "reference_tokenizer": "org/name", "domain_column": "site"}
    text = {
        "samples": {"web": {**stated, **sample, "pilot": pilot}, "other": stated},
        "pools": {"crawl": {"sample": "web@pilot", "files": ["*.parquet"], "keep_ratio": 0.5}},
    }
    return settings_from(text, folder=folder)


def test_the_pilot_is_a_sample_that_the_file_does_not_have(tmp_path: Path) -> None:
    settings = settings_of({"share": 0.2}, tmp_path)
    assert list(settings.samples) == ["web", "other", "web@pilot"]
    assert settings.text_samples == list(settings.samples)
    assert list(settings.written_samples) == ["web", "other"]
    assert settings.samples["web@pilot"].pilot_of == "web"
    assert settings.pilot_of("web") == "web@pilot"
    assert settings.pilot_of("web@pilot") is None
    assert settings.pilot_of("other") is None
    # What is written out is read again, and has no pilot twice.
    assert list(settings.model_dump()["samples"]) == ["web", "other"]
    path = tmp_path / "again.yaml"
    path.write_text(configuration_text(settings))
    assert list(yaml.safe_load(path.read_text())["samples"]) == ["web", "other"]
    assert list(load_settings(path).samples) == list(settings.samples)


@pytest.mark.parametrize(
    ("pilot", "without", "sentence"),
    [
        ({}, "", r"samples\.web\.pilot: found none of them; expected exactly one of"),
        ({"share": 0.1, "pages_per_domain": 3}, "", "found pages_per_domain and share; expected"),
        ({"share": 0}, "", r"samples\.web\.pilot\.share: got 0 .*above 0, at most 1"),
        ({"pages_per_domain": 3}, "domain_column", "needs domain_column.*or state a share"),
        (3, "", r"samples\.web\.pilot: got 3 .*expected a mapping"),
    ],
)
def test_mistakes_in_the_file(pilot: Any, without: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(PcorrError, match=sentence):
        settings_of(pilot, tmp_path, **({without: None} if without else {}))
