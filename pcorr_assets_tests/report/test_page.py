"""The page itself: nothing of the data can run, nothing is loaded, equal facts equal bytes."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from pcorr_assets.config import Pool
from pcorr_assets.report.facts import Facts, RankPanel, RankPoint, UnitFacts
from pcorr_assets.report.page import render_report
from pcorr_assets.report.reading import read_facts
from pcorr_assets_tests.report import worlds
from pcorr_assets_tests.report.conftest import World

VOID = {"meta", "input", "br", "rect", "path", "image", "circle", "link"}


class Page(HTMLParser):
    """Tags, attributes and texts of a page, and whether its tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.mismatches: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.mismatches.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(text_facts: Facts) -> Page:
    return Page(render_report(text_facts))


def test_strings_of_the_data_are_text_and_nothing_else(page: Page) -> None:
    assert len(page.of("script")) == 1
    assert {src for attributes in page.of("img") for src in attributes} == set()
    handlers = [name for _, attributes in page.tags for name in attributes if name[:2] == "on"]
    assert handlers == []
    texts = " ".join(page.texts)
    for string in (worlds.SCRIPT, worlds.HOSTILE_DOMAIN, worlds.HOSTILE_LLM):
        assert string in texts
    assert f"Note {worlds.SCRIPT}" in texts
    tips = {attributes.get("data-tip") or "" for attributes in page.of("path")}
    assert any(worlds.HOSTILE_LLM in tip for tip in tips)


def test_the_page_is_well_formed(page: Page) -> None:
    assert page.mismatches == []
    assert page.open == []
    identifiers = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    linked = {(a["href"] or "")[1:] for a in page.of("a") if (a["href"] or "").startswith("#")}
    assert linked <= set(identifiers)


def test_links_are_http_and_keep_no_hold_of_the_page(page: Page) -> None:
    outside = [a for a in page.of("a") if not (a["href"] or "").startswith("#")]
    assert len(outside) > 20
    for link in outside:
        assert (link["href"] or "").startswith("https://")
        assert link["rel"] == "noopener noreferrer"


def test_only_two_blocks_may_style_or_run_and_nothing_is_loaded(text_facts: Facts) -> None:
    text = render_report(text_facts)
    page = Page(text)
    (policy,) = (
        a["content"] or ""
        for a in page.of("meta")
        if a.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"
    assert not any("style" in attributes for _, attributes in page.tags)
    for tag in ("link", "iframe", "object", "embed", "img", "base", "form"):
        assert page.of(tag) == []
    (picture,) = page.of("image")
    assert (picture["href"] or "").startswith("data:image/png;base64,")


def test_equal_facts_give_equal_bytes(text_world: World, text_facts: Facts) -> None:
    wh, settings = text_world
    again = read_facts(wh, settings, "texts", "good")
    assert render_report(again) == render_report(text_facts)


def test_charts_say_in_words_what_they_show(page: Page) -> None:
    charts = [a for a in page.of("svg") if a.get("aria-hidden") != "true"]
    assert len(charts) >= 8
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)


def test_tables_have_buttons_that_say_how_they_are_sorted(page: Page) -> None:
    headings = [a for a in page.of("th") if "aria-sort" in a]
    assert {a["aria-sort"] for a in headings} == {"none", "ascending", "descending"}
    buttons = [a for a in page.of("button") if a["type"] == "button"]
    assert len(buttons) == len(headings) + 7  # and one for each family


def test_what_scoring_took_stands_by_llm(text_facts: Facts, matrix_facts: Facts) -> None:
    page = render_report(text_facts)
    table = page[page.index('id="t-scoring"') :].partition("</table>")[0]
    assert table.count("<tr>") == 1 + len(text_facts.matrix.llms)
    # 2 devices for half an hour each; they waited a tenth of their hour.
    (run, *_) = text_facts.scoring
    assert (run.device_hours, run.waiting_share) == (1.0, 0.1)
    assert all(f">{cell}<" in table for cell in ("40", "60 M", "12.5 %", "10.0 %"))
    assert f"{len(text_facts.scoring):.1f} device-hours for" in page
    without = render_report(
        replace(
            text_facts, scoring=(replace(run, utilisation=None, seconds_waiting_for_data=None),)
        )
    )
    assert ">waiting for data" not in without
    assert ">utilisation" not in without
    assert "What scoring took" not in render_report(matrix_facts)


def test_an_imported_matrix_has_a_report_without_texts(matrix_facts: Facts) -> None:
    page = Page(render_report(matrix_facts))
    assert page.mismatches == []
    assert page.of("blockquote") == []
    assert "it has no texts to train a filter on" in " ".join(page.texts)


def test_missing_parts_are_said(text_facts: Facts) -> None:
    verdict = replace(
        text_facts.verdict, state="not validated yet", reason="Not validated.", stability=None,
        permutation_p=None, rank_correlation=None, rank_r2=None, mean_bpb_correlation=None,
        delta=None, delta_low=None, delta_high=None, group_count=None, p_value=None, gain=None,
        gain_low=None, gain_high=None, gain_needed=None, gain_mean_bpb=None,
        gain_strongest_llm=None, random_texts=None,
    )  # fmt: skip
    estimates = replace(
        text_facts.estimates, included=None, frequency=None, frequency_reason="too few groups"
    )
    facts = replace(
        text_facts, verdict=verdict, estimates=estimates, ranks=(), distribution=None,
        ranks_absence=("Nothing.",), filter=None, filter_absence="No filter yet.",
    )  # fmt: skip
    texts = " ".join(Page(render_report(facts)).texts)
    for sentence in (
        "Not validated yet", "too few groups", "No filter yet.", "no sampling distribution yet",
    ):  # fmt: skip
        assert sentence in texts


def test_other_methods_stand_under_the_filter(text_world: World) -> None:
    wh, settings = text_world
    pool = Pool.model_validate(
        {"sample": "texts", "files": ["/*.jsonl"], "keep_ratio": 0.1, "methods": ["dsir"]}
    )
    other = pool.model_copy(update={"sample": "elsewhere"})
    keys = ("pool", "target", "method")
    rows = [
        {"document_count": 12, "overlap": 1.0, "gpu_hours": 0.25}
        | dict(zip(keys, ("crawl", "good", "filter"), strict=True)),
        dict(zip(keys, ("crawl", "good", "dsir"), strict=True)) | {"reason": "no <text>"},
    ]
    table = worlds.table("compared_selections", rows)
    pools = settings.model_copy(update={"pools": {"crawl": pool, "other": other}})
    wh.write("compared_selections", ("crawl", "good"), table, {"filter_sha256": "of another"})
    try:
        facts = read_facts(wh, pools, "texts", "good")
    finally:
        wh.path("compared_selections", "crawl", "good").unlink()
    assert [one.pool for one in facts.compared] == ["crawl"]
    texts = " ".join(Page(render_report(facts)).texts)
    for sentence in (
        "Other methods on the pool crawl", "left out: no <text>", "100.0 %", "an earlier filter",
    ):  # fmt: skip
        assert sentence in texts


def test_ninety_llms_and_ten_thousand_units_stay_below_two_megabytes(text_facts: Facts) -> None:
    rng = np.random.default_rng(1)
    llms = tuple(f"organisation-{n // 3}/a-rather-long-name-of-an-llm-{n}" for n in range(90))
    families = tuple(f"family-{n // 3}" for n in range(90))
    name = "https://a-long-hostname.example/" + "path&" * 60
    unit = UnitFacts(
        1, name, name, name, 0.5, 0.5, 0.5, 123_456, 0.01, 0.01, True, ("&" * 200,) * 2
    )
    points = tuple(
        RankPoint(llm, family, family, 0.5, float(n + 1), float(n + 1))
        for n, (llm, family) in enumerate(zip(llms, families, strict=True))
    )
    facts = replace(
        text_facts,
        estimates=replace(
            text_facts.estimates,
            values=np.sort(rng.normal(size=10_000))[::-1],
            included=np.arange(10_000) < 1000,
            frequency=rng.uniform(size=10_000),
            permuted=rng.normal(size=(200, 5000)),
            shown=(unit,) * 800,
            top=(unit,) * 8,
            bottom=(unit,) * 8,
        ),
        ranks=tuple(
            RankPanel(scheme, predictor, 0.9, points)
            for scheme in ("family", "random")
            for predictor in ("estimate", "mean_bpb")
        ),
        matrix=replace(
            text_facts.matrix,
            bpb=rng.normal(size=(90, 400)),
            columns=np.linspace(0, 9999, 400).round().astype(int),
            llms=llms,
            families=families,
            errors=rng.uniform(size=90),
            unit_count=10_000,
        ),
        llms=tuple(replace(text_facts.llms[0], llm=llm, note="n" * 200) for llm in llms),
    )
    report = render_report(facts)
    assert len(report.encode()) < 2_000_000
    assert "on a random 5,000 of the units: the highest of all of them would be" in report
