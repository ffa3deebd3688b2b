"""Comparing selections: equal budgets, paired seeds, an error that lm-eval measures."""

from __future__ import annotations

from pathlib import Path

import datasets.config
import numpy as np
import pytest
from scipy import stats

from pcorr_assets.demo import comparison, corpus, tasks, zoo
from pcorr_assets.demo.comparison import draw_arms, lower_by, take_tokens
from pcorr_assets.demo.topics import TOPICS
from pcorr_assets.demo.world import World
from pcorr_assets.errors import PcorrError

SCORES = {f"d{number}": number / 10 for number in range(10)}
TOKENS = dict.fromkeys(SCORES, 10)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """lm-eval reads items through datasets, which would leave them in the user's cache."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_a_budget_is_filled_with_the_document_that_crosses_it() -> None:
    assert take_tokens(["d1", "d2", "d3"], TOKENS, 20) == ["d1", "d2"]
    assert take_tokens(["d1", "d2", "d3"], TOKENS, 21) == ["d1", "d2", "d3"]
    assert take_tokens(["d1"], TOKENS, 0) == []


def test_arms_are_of_one_size_and_do_what_they_say() -> None:
    permuted = {key: -score for key, score in SCORES.items()}
    arms = draw_arms(SCORES, TOKENS, 30, seed=1, permuted_scores=permuted)
    assert arms["selected"] == ["d9", "d8", "d7"]
    assert arms["reverse"] == arms["permuted"] == ["d0", "d1", "d2"]
    assert len(set(arms["random"])) == 3
    assert arms["random"] == draw_arms(SCORES, TOKENS, 30, seed=1)["random"]
    assert len({tuple(draw_arms(SCORES, TOKENS, 30, seed)["random"]) for seed in range(9)}) > 3
    assert "permuted" not in draw_arms(SCORES, TOKENS, 30, seed=1)


def test_ties_do_not_depend_on_the_order_of_the_table() -> None:
    level = dict.fromkeys(SCORES, 0.5)
    backwards = dict(reversed(level.items()))
    assert draw_arms(level, TOKENS, 40, 1) == draw_arms(backwards, TOKENS, 40, 1)


def test_the_difference_is_that_of_a_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    errors = {"selected": rng.random(5).tolist(), "random": rng.random(5).tolist()}
    found = lower_by(errors, "selected")
    expected = stats.ttest_rel(errors["random"], errors["selected"])
    assert found.in_standard_errors == pytest.approx(float(expected.statistic), rel=1e-12)
    with pytest.raises(PcorrError, match="two seeds"):
        lower_by({"selected": [0.1], "random": [0.2]}, "selected")
    assert lower_by({"a": [0.1, 0.1], "random": [0.1, 0.1]}, "a").in_standard_errors == 0


@pytest.fixture(scope="module")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A pool of two topics and the tasks of one, without LLMs."""
    folder = tmp_path_factory.mktemp("comparison")
    texts = zoo.documents({"sailing": 0.5, "chess": 0.5}, "pool", 600)
    rows = [{"id": f"d{number}", "text": text} for number, text in enumerate(texts)]
    corpus.write_rows(folder / "pool" / "a.jsonl.zst", rows)
    tasks.write_tasks(folder / "tasks", ("sailing",), seed=1)
    return World(folder, 1, {"sailing": "sailing"}, {}, {})


@pytest.mark.long
def test_reading_about_the_topic_lowers_the_error(small_world: World) -> None:
    trial = comparison.make_trial(small_world, "sailing", token_count=15_000, passes=6)
    texts = comparison.pool_texts(small_world)
    openers = [f"{opener}," for opener in TOPICS["sailing"].openers]
    sea = {key: float(any(one in text for one in openers)) for key, text in texts.items()}
    counts = {key: len(trial.tokenizer(text)["input_ids"]) + 1 for key, text in texts.items()}
    arms = draw_arms(sea, counts, trial.token_count, seed=1)
    chosen = {name: arms[name] for name in ("selected", "reverse")}
    errors = comparison.compare(texts, {1: chosen}, trial)
    assert errors["selected"][0] < errors["reverse"][0] - 0.1


def test_one_seed_gives_one_error_and_short_arms_are_refused(small_world: World) -> None:
    trial = comparison.make_trial(small_world, "sailing", token_count=3000, passes=1)
    documents = list(comparison.pool_texts(small_world).values())[:60]
    found = [comparison.train_and_evaluate(documents, 4, trial) for _ in range(2)]
    assert found[0] == found[1]
    assert 0 < found[0] < 1
    with pytest.raises(PcorrError, match="the trial needs 3000 of every arm"):
        comparison.train_and_evaluate(documents[:3], 4, trial)


def test_the_pool_is_read_whole(small_world: World, tmp_path: Path) -> None:
    rows = [{"id": f"p{number}", "text": "word " * number} for number in range(1, 4)]
    for name in ("a.parquet", "b.jsonl.gz", "c.jsonl.zst"):
        corpus.write_rows(
            tmp_path / "pool" / name, [{**row, "id": name + row["id"]} for row in rows]
        )
    read = comparison.pool_texts(World(tmp_path, 0, {}, {}, {}))
    assert len(read) == 9
    assert len(comparison.pool_texts(small_world)) == 600
