from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict

import pytest

from pcorr_assets.config.texts import Sample
from pcorr_assets.errors import PcorrError
from pcorr_assets.text.sampling import Page, SamplingCounts, sample_pages
from pcorr_assets.text.sources import SourceRow

SampleMaker = Callable[..., Sample]


def sample_all(rows: list[SourceRow], sample: Sample) -> tuple[list[Page], SamplingCounts]:
    counts = SamplingCounts()
    pages = list(sample_pages(lambda: iter(rows), sample, counts))
    row_counts = asdict(counts)
    for beside in ("unreadable_metadata", "invalid_unicode", "text_of_another_type"):
        del row_counts[f"rows_with_{beside}"]
    del row_counts["places_of_another_type"]
    # Every row is counted exactly once.
    assert row_counts.pop("rows") == len(rows) == sum(row_counts.values())
    assert counts.pages == len(pages)
    return pages, counts


def web(pages_by_domain: dict[str, int]) -> list[SourceRow]:
    return [
        SourceRow(f"text {domain} {i}", f"{domain}/{i}", domain)
        for domain, count in pages_by_domain.items()
        for i in range(count)
    ]


def test_each_row_is_counted_at_the_first_step_that_drops_it(make_sample: SampleMaker) -> None:
    rows = [
        SourceRow("kept", "a", "d"),
        SourceRow(None, "b", "d"),
        SourceRow(None, None, None, other_type="x.jsonl, line 3 (int)"),
        SourceRow("no id", None, "d", True),
        SourceRow("no domain", "c", None),
        SourceRow("another text", "a", "d"),
        SourceRow("kept", "e", "d"),
        SourceRow("the duplicate's id is still free", "e", "d"),
        SourceRow("bad \udcff\ud800", "\udc80", "d\udcff"),
    ]
    sample = make_sample(files=["x.jsonl"], domain_column="site")
    pages, counts = sample_all(rows, sample)
    assert pages == [
        Page("a", "d", "kept"),
        Page("e", "d", "the duplicate's id is still free"),
        Page("\ufffd", "d\ufffd", "bad \ufffd\ufffd"),
    ]
    assert counts == SamplingCounts(
        rows=9,
        without_text=2,
        without_id=1,
        without_domain=1,
        duplicate_ids=1,
        duplicate_pages=1,
        pages=3,
        rows_with_unreadable_metadata=1,
        rows_with_invalid_unicode=1,
        rows_with_text_of_another_type=1,
        places_of_another_type=["x.jsonl, line 3 (int)"],
    )
    assert "the first: x.jsonl, line 3 (int)" in counts.explain()
    assert "9 rows read; dropped: 2 without text, 1 without id, 1 without domain" in (
        counts.explain()
    )


def test_duplicates_and_domains_may_be_kept(make_sample: SampleMaker) -> None:
    rows = [SourceRow("same", "a", None), SourceRow("same", "b", None)]
    sample = make_sample(files=["x.jsonl"], drop_duplicates=False)
    assert len(sample_all(rows, sample)[0]) == 2


def test_exactly_pages_per_domain(make_sample: SampleMaker) -> None:
    rows = web({"one": 1, "two": 4, "exact": 5, "six": 6, "many": 300})
    random.Random(1).shuffle(rows)
    sample = make_sample(files=["x.jsonl"], domain_column="site", pages_per_domain=5)
    pages, counts = sample_all(rows, sample)
    assert Counter(page.domain for page in pages) == {"exact": 5, "six": 5, "many": 5}
    assert (counts.in_small_domains, counts.above_pages_per_domain) == (5, 1 + 295)
    source_order = [row.page_id for row in rows]
    positions = [source_order.index(page.page_id) for page in pages]
    assert positions == sorted(positions)


@pytest.mark.parametrize(
    "options", [{"subsample_ratio": 0.3}, {"pages_per_domain": 7}, {"seed": 3}, {}]
)
def test_the_sample_does_not_depend_on_row_order(
    make_sample: SampleMaker, options: dict[str, object]
) -> None:
    rows = web({"a": 40, "b": 60, "c": 6})
    sample = make_sample(files=["x.jsonl"], domain_column="site", **options)
    expected = set(sample_all(rows, sample)[0])
    for seed in range(5):
        shuffled = random.Random(seed).sample(rows, len(rows))
        assert set(sample_all(shuffled, sample)[0]) == expected


def test_seed_changes_the_sample_and_nothing_else_does(make_sample: SampleMaker) -> None:
    rows = web({"a": 200})
    for options in ({"subsample_ratio": 0.2}, {"pages_per_domain": 20}):
        chosen = [
            frozenset(
                page.page_id
                for page in sample_all(
                    rows, make_sample(files=["x.jsonl"], domain_column="s", seed=seed, **options)
                )[0]
            )
            for seed in (1, 1, 2)
        ]
        assert chosen[0] == chosen[1] != chosen[2]


def test_subsample_keeps_about_its_share_and_grows_with_it(make_sample: SampleMaker) -> None:
    rows = web({"a": 20_000})
    smaller: set[str] = set()
    for ratio in (0.01, 0.1, 0.5):
        sample = make_sample(files=["x.jsonl"], subsample_ratio=ratio)
        chosen = {page.page_id for page in sample_all(rows, sample)[0]}
        # Five standard deviations of a binomial.
        assert abs(len(chosen) - 20_000 * ratio) < 5 * (20_000 * ratio * (1 - ratio)) ** 0.5
        assert smaller <= chosen
        smaller = chosen


def test_every_page_of_a_domain_is_equally_likely(make_sample: SampleMaker) -> None:
    rows = web({"a": 10})
    sample = make_sample(files=["x.jsonl"], domain_column="site", pages_per_domain=3)
    times = Counter[str]()
    for seed in range(600):
        pages, _ = sample_all(rows, sample.model_copy(update={"seed": seed}))
        times.update(page.page_id for page in pages)
    # 600 draws at probability 0.3: mean 180, standard deviation 11.2; within 4.5 of them.
    assert min(times.values()) > 130
    assert max(times.values()) < 230


def test_a_source_that_changes_between_the_readings_is_refused(make_sample: SampleMaker) -> None:
    readings = iter([web({"a": 9}), web({"b": 9}), web({"a": 9}), web({"a": 2})])
    sample = make_sample(files=["x.jsonl"], domain_column="site", pages_per_domain=5)
    for _ in range(2):
        with pytest.raises(PcorrError, match="changed while it was read"):
            list(sample_pages(lambda: next(readings), sample, SamplingCounts()))
