"""Units by columns of the source: topics and formats as levels, from the rows to the report."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
import scipy.stats
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from pcorr_assets.config import Settings
from pcorr_assets.config.loading import settings_from
from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.layout import read_matrix
from pcorr_assets.matrix.units import with_units
from pcorr_assets.steps.levels import at_coarser_level
from pcorr_assets.warehouse import TABLES, Warehouse, connect
from pcorr_assets_tests.defs.conftest import Materialise, sample_target
from pcorr_assets_tests.matrix.conftest import llm_rows
from pcorr_assets_tests.text.conftest import byte_level_bpe

TOPICS = ("science", "sports", "food & wine", "law")
FORMATS = ("faq", "news")
# Tokens of the formats in the real pool; of topics those of the sample count.
POOL = {"faq": 3000, "news": 1000}
LLMS = tuple(f"fam{family}-{number}" for family in range(7) for number in range(2))
PAGES = 48
LEVEL_OF = {"by_topic": "topic", "by_format": "format", "by_both": "topic_format"}
SAMPLE = "web"


def row(number: int) -> dict[str, object]:
    topic = TOPICS[number % 4] if number % 12 != 11 else None
    text = f"Page {number}: " + " ".join(f"word{(number * step) % 17}" for step in range(1, 60))
    # The format stands in the metadata, as in corpora with attributes.
    return {
        "id": f"page-{number}",
        "site": f"site-{number % 6}",
        "topic": topic,
        "text": text,
        "metadata": {"format": FORMATS[number // 4 % 2]},
    }


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    tokenizer: Any = byte_level_bpe(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(tmp_path / "tokenizer")
    rows = "".join(f"{json.dumps(row(number))}\n" for number in range(PAGES))
    (tmp_path / "texts.jsonl").write_text(rows)
    pool = "".join(f"{name},{tokens}\n" for name, tokens in POOL.items())
    (tmp_path / "pool.csv").write_text(f"unit,token_count\n{pool}")
    return settings_from(
        {
            "home": "home",
            "samples": {
                SAMPLE: {
                    "files": "texts.jsonl",
                    "domain_column": "site",
                    "metadata_column": "metadata",
                    "unit_columns": {
                        "topic": "topic",
                        "format": "format",
                        "topic_format": ["topic", "format"],
                    },
                    "unit_tokens": {"format": "pool.csv"},
                    "reference_tokenizer": "./tokenizer",
                    "chunk_tokens": 32,
                }
            },
            "benchmarks": {"arc_easy": {"metric": "acc"}},
            "targets": {
                name: {"benchmarks": ["arc_easy"], "level": level}
                for name, level in LEVEL_OF.items()
            },
            "selection": {
                "tokenizer": "./tokenizer",
                "keep_ratio": 0.5,
                "fasttext": {"dim": 4, "bucket": 100, "test_fraction": 0.3},
            },
            "validation": {"bootstrap": 5, "halvings": 4, "permutations": 10},
        },
        folder=tmp_path,
    )


def score(wh: Warehouse, instance: dg.DagsterInstance) -> dict[str, np.ndarray]:
    """Losses of all LLMs on the chunks, and errors that go with science; returns the losses."""
    instance.add_dynamic_partitions("llm", list(LLMS))
    chunks = wh.read("chunks", SAMPLE)
    rng, size = np.random.default_rng(0), chunks.num_rows
    science = np.array([int(page.split("-")[1]) % 4 == 0 for page in chunks["page_id"].to_pylist()])
    losses = {}
    for place, llm in enumerate(LLMS):
        losses[llm] = 2 + rng.random(size) + 0.1 * place * science
        tokens, byte_count = chunks["reference_token_count"].to_numpy(), chunks["byte_count"]
        rows = pa.table(
            {
                "sample": [SAMPLE] * size,
                "llm": [llm] * size,
                "chunk_id": chunks["chunk_id"],
                "loss": losses[llm],
                "token_count": tokens,
                "byte_count": byte_count,
                "bpb": losses[llm] * tokens / byte_count.to_numpy() / np.log(2),
                "unk_count": [0] * size,
            }
        )
        noted = {"commit_sha": "c1", "dtype": "float32"}
        noted["chunks_sha256"] = wh.metadata("chunks", SAMPLE)["chunks_sha256"]
        wh.write("chunk_bpb", (llm, SAMPLE), rows, noted)
        wh.write("llms", (llm,), llm_rows([llm]))
    for target in LEVEL_OF:
        errors = pa.table(
            {
                "target": [target] * len(LLMS),
                "source": ["lm_eval"] * len(LLMS),
                "llm": LLMS,
                "family": [llm.split("-")[0] for llm in LLMS],
                "error": [0.2 + 0.01 * place for place in range(len(LLMS))],
            }
        )
        wh.write("error_vectors", (target,), errors.cast(TABLES["error_vectors"].schema))
    return losses


def units_of(level: str, page: str) -> str | None:
    stated: Any = row(int(page.split("-")[1]))
    names = [stated["topic"], stated["metadata"]["format"]]
    if level != "topic_format":
        return names[0] if level == "topic" else names[1]
    return None if None in names else " | ".join(names)


def by_hand(
    wh: Warehouse, losses: Mapping[str, np.ndarray], level: str, tokenizer: Any
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """BPB of each unit by LLM, and its tokens: chunk by chunk."""
    nats: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(len(LLMS)))
    sizes: dict[str, int] = defaultdict(int)
    counts: dict[str, int] = defaultdict(int)
    for place, chunk in enumerate(wh.read("chunks", SAMPLE).to_pylist()):
        unit = units_of(level, chunk["page_id"])
        if unit is None:
            continue
        own = np.array([losses[llm][place] for llm in LLMS])
        nats[unit] += chunk["reference_token_count"] * own
        sizes[unit] += chunk["byte_count"]
        counts[unit] += len(tokenizer(chunk["text"], add_special_tokens=False)["input_ids"])
    bpb = {unit: list(total / sizes[unit] / np.log(2)) for unit, total in nats.items()}
    return bpb, counts


def filled(estimates: Mapping[str, float], tau: Mapping[str, float]) -> dict[str, float]:
    """The linear projection: the best units up to their caps until the budget is spent."""
    left, weights = 1.0, {}
    for unit in sorted(estimates, key=lambda unit: -estimates[unit]):
        weights[unit] = min(left, tau[unit])
        left -= weights[unit]
    return weights


def test_estimates_and_caps_of_every_level_are_those_by_hand(
    settings: Settings, materialise: Materialise, instance: dg.DagsterInstance
) -> None:
    wh = Warehouse(settings.home)
    assert materialise(settings, ["chunked_dataset"], SAMPLE).success
    losses = score(wh, instance)
    assert materialise(settings, ["bpb_matrix"], SAMPLE).success
    tokenizer = AutoTokenizer.from_pretrained(settings.selection.tokenizer)
    for target, level in LEVEL_OF.items():
        bpb, counts = by_hand(wh, losses, level, tokenizer)
        counts = POOL if level == "format" else counts
        view = read_matrix(wh, SAMPLE, level)
        assert view.units.to_pylist() == sorted(bpb)
        assert view.llms == sorted(LLMS)
        by_llm = np.array([bpb[unit] for unit in sorted(bpb)]).T
        np.testing.assert_allclose(view.X, by_llm, rtol=1e-12)
        for asset in ("estimate", "rank_prediction", "sampling_distribution"):
            assert materialise(settings, [asset], sample_target(SAMPLE, target)).success, asset
        rows = wh.read("estimates", SAMPLE, target).to_pylist()
        found = {one["unit"]: one["estimate"] for one in rows if one["estimator"] == "spearmanr"}
        errors = wh.read("error_vectors", target)["error"].to_pylist()
        expected: dict[str, float] = {}
        for unit, values in bpb.items():
            result: Any = scipy.stats.spearmanr(values, errors)
            expected[unit] = result.statistic
        # The estimator is the rank correlation up to its scale, which ranks do not change.
        order = sorted(expected, key=lambda unit: expected[unit])
        assert sorted(found, key=lambda unit: found[unit]) == order
        scale = found[order[-1]] / expected[order[-1]]
        assert found == pytest.approx({u: value * scale for u, value in expected.items()})
        mixture = wh.read("sampling_distributions", SAMPLE, target).to_pylist()
        assert {one["level"] for one in mixture} == {level}
        assert {one["unit"]: one["token_count"] for one in mixture} == counts
        tau = {unit: count / sum(counts.values()) / 0.5 for unit, count in counts.items()}
        assert {one["unit"]: one["tau"] for one in mixture} == pytest.approx(tau)
        assert {one["unit"]: one["weight"] for one in mixture} == pytest.approx(filled(found, tau))


def test_what_follows_from_topics(
    settings: Settings, materialise: Materialise, instance: dg.DagsterInstance
) -> None:
    wh, pair = Warehouse(settings.home), sample_target(SAMPLE, "by_topic")
    assert materialise(settings, ["chunked_dataset"], SAMPLE).success
    score(wh, instance)
    assert materialise(settings, ["bpb_matrix"], SAMPLE).success
    for asset in (
        "estimate",
        "rank_prediction",
        "sensitivity",
        "sampling_distribution",
        "fasttext_filter",
        "report",
    ):
        assert materialise(settings, [asset], pair).success, asset
    levels = {
        one["changed"]: one["reason"]
        for one in wh.read("sensitivity", SAMPLE, "by_topic").to_pylist()
        if one["kind"] == "level"
    }
    # Domains cut across topics, so that selections of the two cannot be laid side by side.
    assert set(levels) == {"chunk", "page"}
    included = {
        one["unit"]
        for one in wh.read("sampling_distributions", SAMPLE, "by_topic").to_pylist()
        if one["included"]
    }
    assert "science" in included
    (filtered,) = wh.read("fasttext_filters", SAMPLE, "by_topic").to_pylist()
    labelled = [units_of("topic", f"page-{number}") for number in range(PAGES)]
    for label, wanted in (("include", True), ("exclude", False)):
        pages = sum(unit is not None and (unit in included) is wanted for unit in labelled)
        both = (filtered[f"{split}_{label}_pages"] for split in ("train", "test"))
        assert sum(both) == pages
    page = (settings.home / "reports" / SAMPLE / "by_topic.html").read_text()
    assert "science" in page
    with connect(settings.home) as connection:
        query = (
            "SELECT count(*) FROM page_units JOIN chunks USING (sample, page_id) WHERE level = ?"
        )
        (counted,) = connection.execute(query, ["topic"]).fetchall()
    _, units = with_units(wh, SAMPLE, "topic")
    assert counted == (len(units) - units.null_count,)
    pages_in = {f"page-{number}": 1.0 for number in range(PAGES)}
    first, second = at_coarser_level(
        wh,
        SAMPLE,
        ("page", list(pages_in), np.array(list(pages_in.values()))),
        ("topic", sorted(TOPICS), np.ones(4)),
    )
    assert first.tolist() == [labelled.count(topic) for topic in sorted(TOPICS)]
    assert second.tolist() == [1, 1, 1, 1]


def test_a_level_that_the_chunks_do_not_have_yet(
    settings: Settings, materialise: Materialise, instance: dg.DagsterInstance
) -> None:
    wh = Warehouse(settings.home)
    stated = settings.model_dump(mode="json", exclude_unset=True)
    without = dict(stated["samples"][SAMPLE])
    del without["unit_columns"], without["unit_tokens"], stated["targets"]
    plain = settings_from({**stated, "samples": {SAMPLE: without}}, folder=settings.home.parent)
    assert materialise(plain, ["chunked_dataset"], SAMPLE).success
    version = wh.written("chunks", SAMPLE).sha256
    assert not wh.exists("page_units", SAMPLE)
    with pytest.raises(PcorrError, match=r"have no level 'topic', only chunk, page, domain\. Name"):
        with_units(wh, SAMPLE, "topic")
    assert materialise(settings, ["chunked_dataset"], SAMPLE).success
    assert wh.written("chunks", SAMPLE).sha256 == version, "chunks do not depend on other units"
    with_units(wh, SAMPLE, "topic")
    assert materialise(plain, ["chunked_dataset"], SAMPLE).success
    assert wh.row_count("page_units", SAMPLE) == 0


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"unit_columns": []}, "expected a column, a list of columns, or a mapping"),
        ({"unit_columns": ["topic", "topic"]}, "a column stands twice in the list"),
        ({"unit_columns": {"page": "topic"}}, "the level page is there already"),
        ({"unit_columns": ["the topic"]}, "'the topic' cannot name a level"),
        ({"unit_columns": {"topic": 3}}, "expected a column, or a list of columns, for the level"),
        ({"unit_columns": ["format"]}, "'topic' is no level, nor in unit_columns of a sample"),
        ({"unit_column": "topic"}, "unknown key; did you mean unit_columns?"),
        ({"unit_tokens": {"topics": "a.csv"}, "unit_columns": "topic"}, "did you mean topic?"),
    ],
)
def test_mistakes_in_the_configuration(edit: dict[str, Any], message: str, tmp_path: Path) -> None:
    sample = {"files": ["a.jsonl"], "reference_tokenizer": "org/t", "unit_columns": "topic"}
    config = {"samples": {"web": sample}, "selection": {"level": "topic"}}
    assert settings_from(config, folder=tmp_path).samples["web"].levels[-1] == "topic"
    config["samples"]["web"].pop("unit_columns")
    config["samples"]["web"] |= edit
    with pytest.raises(PcorrError) as raised:
        settings_from(config, folder=tmp_path)
    assert message in str(raised.value)
