"""The study on real text, in small: its texts, its benchmarks, its statistics, and all of it."""

from __future__ import annotations

import gzip
import json
import math
import os
import subprocess
import sys
import sysconfig
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from scipy import stats

from pcorr_assets.config.texts import NearDuplicates
from pcorr_assets.demo import train
from pcorr_assets.demo.train import Schedule, Shape
from pcorr_assets.errors import PcorrError
from pcorr_assets_tests.waiting import wait_for
from scripts.studies.real.__main__ import run
from scripts.studies.real.composition import compositions, is_english, near_duplicates
from scripts.studies.real.deal import PARTS, deal, read_part
from scripts.studies.real.findings import findings, leads
from scripts.studies.real.items import CONTEXT_WORDS, order_items, word_items
from scripts.studies.real.packages import PACKAGES
from scripts.studies.real.proxies import bits_per_byte, train_proxies
from scripts.studies.real.selections import read_selection
from scripts.studies.real.settings import FULL, SMALL
from scripts.studies.real.texts import Document, read_documents
from scripts.studies.real.zoo import members, mixtures

TINY = replace(
    SMALL,
    families=SMALL.families[:3],
    zoo_widths=(16,),
    zoo_schedule=Schedule(step_count=4, batch_size=4, sequence_length=64),
    item_count=8,
    training_item_count=8,
    token_budget=3000,
    held_out_documents=3,
    proxy_seeds=(1, 2),
)


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return read_documents(SMALL, None, Path(sysconfig.get_path("purelib")))


def test_the_full_study_is_as_large_as_it_says() -> None:
    everyone = members(FULL)
    assert len(everyone) >= 24
    assert len({one.key for one in everyone}) == len(everyone)
    assert len(FULL.families) >= 10
    assert len({family.architecture for family in FULL.families}) >= 6
    assert len(FULL.targets) >= 3
    assert len(FULL.proxy_seeds) == 5
    assert len(FULL.proxy_shapes) == 2
    assert len(set(PACKAGES)) == len(PACKAGES)


def test_no_text_and_no_domain_is_in_two_parts(documents: list[Document]) -> None:
    parts = deal(documents)
    assert sorted(one.id for own in parts.values() for one in own) == sorted(
        {one.id for one in documents}
    )
    assert len({one.text for one in documents}) == len(documents)
    parts_of = defaultdict(set)
    strata_of = defaultdict(set)
    for part, own in parts.items():
        for one in own:
            parts_of[one.domain].add(part)
            strata_of[one.language, one.kind].add(part)
    assert all(len(found) == 1 for found in parts_of.values())
    assert all(found == set(PARTS) for found in strata_of.values())


def test_documents_are_of_packages_as_stated(tmp_path: Path) -> None:
    """Languages are read off paths, markup is taken out, and short texts are left out."""
    root, python = tmp_path / "root", tmp_path / "python"
    for number in range(8):
        for name, text in {
            f"usr/share/man/de/man{number + 1}/a{number}.1": f".TH A\n\\fBSeite\\fR {number}\n",
            f"usr/share/doc/faq-{number}/fr/x{number}.html": f"<p>Texte&nbsp;{number}</p>\n",
        }.items():
            path = root / name
            path.parent.mkdir(parents=True)
            data = (text + f"Wort {number} und noch eines. " * 20).encode()
            if path.suffix != ".html":
                path, data = path.with_name(f"{path.name}.gz"), gzip.compress(data)
            path.write_bytes(data)
    found = read_documents(replace(SMALL, least_documents=1), root, python)
    kinds = {(one.language, one.kind) for one in found if not one.id.startswith("doc/")}
    assert kinds == {("de", "manual"), ("fr", "documentation")}
    first = {one.id: one.text for one in found}
    assert first["usr/share/man/de/man1/a0.1.gz#0"].startswith("Seite 0\nWort 0")
    assert first["usr/share/doc/faq-0/fr/x0.html#0"].startswith("Texte 0\nWort 0")


@pytest.mark.parametrize("make", [word_items, order_items])
def test_items_are_text_as_it_stands(make, documents: list[Document]) -> None:
    items = make(documents, 30, Random(1))
    assert len(items) == 30
    assert make(documents, 30, Random(1)) == items
    texts = [" ".join(one.text.split()) for one in documents]
    for item in items:
        assert len(item.context.split()) == CONTEXT_WORDS
        assert any(f"{item.context} {item.word}" in text for text in texts)
        assert len({item.word, *item.others}) == 4
        if make is order_items:
            assert len({tuple(sorted(one.split())) for one in (item.word, *item.others)}) == 1


def test_each_llm_reads_a_mixture_of_its_own() -> None:
    strata = [("de", "manual"), ("en", "manual"), ("python", "code")]
    found = mixtures(FULL, strata)
    assert all(sum(own.values()) == pytest.approx(1) for own in found.values())
    for stratum in strata:
        shares = sorted(own[stratum] for own in found.values())
        assert shares[0] < 0.15
        assert shares[-1] > 0.6


def test_bits_per_byte_counts_each_byte_once() -> None:
    """Padding, windows and ends of text neither add nor take bits: an LLM that gives all
    tokens the same probability needs log2(vocabulary) bits for each token."""
    import torch

    texts = ["ein Wort", "a b c " * 200, "def f(): pass"]
    tokenizer = train.train_tokenizer(texts, 300)
    model = train.make_model(Shape("llama", 16, 1, 1), len(tokenizer), 0)
    with torch.no_grad():
        model.get_parameter("model.embed_tokens.weight").zero_()  # tied to the head: logits are 0
    tokens = sum(len(tokenizer.backend_tokenizer.encode(text).ids) for text in texts)
    expected = tokens * math.log2(len(tokenizer)) / sum(len(text.encode()) for text in texts)
    assert bits_per_byte(model, tokenizer, texts) == pytest.approx(expected, rel=1e-5)


def test_differences_are_paired_by_seed(tmp_path: Path) -> None:
    """The interval is that of a paired t-test; a seed without all methods does not count."""
    values = {"filter": [0.50, 0.48, 0.55], "random": [0.60, 0.61, 0.58, 0.1]}
    for method, errors in values.items():
        for seed, error in enumerate(errors):
            path = tmp_path / "proxies" / "code" / "small" / f"{method}-{seed}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            arm = {"target": "code", "size": "small", "method": method, "seed": seed}
            path.write_text(json.dumps({**arm, "errors": {"a": error, "b": error}, "bpb": 1.0}))
    found = {(one.method, one.measure): one for one in findings(tmp_path)}
    test = stats.ttest_rel(values["random"][:3], values["filter"])
    interval = test.confidence_interval(0.95)
    own = found["filter", "error"]
    assert (own.seeds, own.mean) == (3, pytest.approx(0.51))
    assert (own.low, own.high) == pytest.approx((interval.low, interval.high))
    assert found["random", "error"].lower is None
    assert found["filter", "bpb"].lower == found["filter", "bpb"].high == 0
    # The filter against random documents is the same pair, from its side.
    (lead,) = [one for one in leads(tmp_path, "filter") if one.measure == "error"]
    assert (lead.other, lead.seeds) == ("random", 3)
    assert (lead.lower, lead.low, lead.high) == (own.lower, own.low, own.high)
    (behind,) = [one for one in leads(tmp_path, "random") if one.measure == "error"]
    assert behind.lower == pytest.approx(-lead.lower)
    assert leads(tmp_path, "resampled") == []


def test_workers_of_a_killed_study_end_with_it(tmp_path: Path) -> None:
    """They would go on making what the next one makes."""
    script = tmp_path / "study.py"
    script.write_text("""
import os, sys, time
from pathlib import Path
from scripts.studies.real.parallel import side_by_side

def wait(folder):
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)

if __name__ == "__main__":
    list(side_by_side(2, wait, [(sys.argv[1],)] * 2))
""")
    started = tmp_path / "started"
    started.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    study = subprocess.Popen([sys.executable, str(script), str(started)], env=environment)
    try:
        wait_for("both workers to start", lambda: len(list(started.iterdir())) == 2)
    finally:
        study.kill()
        study.wait()
    workers = [Path("/proc", one.name) for one in started.iterdir()]
    wait_for("the workers to end", lambda: not any(one.exists() for one in workers), 60)


def test_near_duplicates_are_counted_once_each() -> None:
    words = [f"w{number}" for number in range(60)]
    text, edited = " ".join(words), " ".join([*words[:-1], "other"])
    other = " ".join(reversed(words))
    half = " ".join([*words[:30], *(f"x{number}" for number in range(30))])
    near = NearDuplicates()
    assert near_duplicates([text, edited, other, half], near) == 1
    assert near_duplicates([text, text, edited], near) == 2
    assert near_duplicates([text], near) == near_duplicates(["", ""], near) == 0


def test_english_is_told_by_its_words() -> None:
    assert is_english("Set the size of the window, and press the button that is next to it.")
    assert not is_english("Legen Sie die Größe des Fensters fest und drücken Sie den Knopf.")
    assert not is_english("")


def test_the_whole_study_in_small(tmp_path: Path) -> None:
    folder, page = tmp_path / "study", tmp_path / "docs" / "evidence.md"
    page.parent.mkdir()
    run(folder, TINY, None, page)
    text = page.read_text()
    assert "| small | filter | 2 |" in text
    assert "| small | random | 2 |" in text
    assert "| small | classifier | 2 |" in text
    assert "| small | mean_bpb | 2 |" in text
    assert "is left out" not in text
    assert "| code | small | mean_bpb |" in text
    (target,) = TINY.targets
    by_method = {one.method: one for one in compositions(folder, target, 1)}
    chosen = read_selection(folder, "code", "filter", 1)
    own = [one for one in read_part(folder, "pool") if one.id in set(chosen)]
    sizes = {True: 0, False: 0}
    for one in own:
        sizes[one.kind == "code"] += len(one.text.encode())
    assert by_method["filter"].documents == len(own)
    assert by_method["filter"].of_target == pytest.approx(sizes[True] / sum(sizes.values()))
    kept = read_selection(folder, "code", "filter_not_deduplicated", 1)
    assert len(kept) > 0
    assert by_method["filter_not_deduplicated"].alike >= by_method["filter"].alike
    # By hand nothing is selected but the target's own text, of which the pool has enough.
    assert by_method["by_hand"].of_target == 1
    draws = [read_selection(folder, "code", "by_hand", seed) for seed in TINY.proxy_seeds]
    assert "| small | by_hand | 2 |" in text
    assert set(draws[0]) != set(draws[1])
    assert (page.parent / "images" / "evidence.png").read_bytes().startswith(b"\x89PNG")
    pool = {one.id for one in read_part(folder, "pool")}
    assert set(read_selection(folder, "code", "filter", 1)) < pool
    assert set(read_selection(folder, "code", "random", 1)) < pool
    # What is there is kept: only the outcome that is missing is made again, and comes out the same.
    lost, *_ = sorted(folder.glob("proxies/*/*/*.json"))
    before = lost.read_bytes()
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("*/*/*/*.json") if path != lost}
    lost.unlink()
    train_proxies(folder, TINY)
    assert lost.read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    with pytest.raises(PcorrError, match="other settings"):
        run(folder, replace(TINY, token_budget=2000), None, page)
