"""Scoring all chunks of a sample: formula, odd tokenizers, contexts, memory, resuming."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.identity import ResolvedLLM
from pcorr_assets.lm.scoring import ChunkScores, Scoring, ScoringSettings, StoppedError
from pcorr_assets_tests.lm import tiny

Make = Callable[..., Scoring]


@pytest.fixture
def scoring(tmp_path: Path) -> Make:
    """Make a scoring of a tiny LLM on texts, with shards under the test's folder."""

    def make(
        texts: list[str] = tiny.TEXTS,
        architecture: str = "llama",
        tokenizer: PreTrainedTokenizerFast | None = None,
        model: PreTrainedModel | None = None,
        **settings: Any,
    ) -> Scoring:
        spec = tiny.local_spec("tiny/llm", tmp_path)
        settings = {"batch_tokens": 128, "seconds_per_shard": 0.0, **settings}
        return Scoring(
            ResolvedLLM(spec, "0" * 64),
            model or tiny.tiny_model(architecture),
            tokenizer or tiny.byte_tokenizer("<s> $A"),
            tiny.chunk_texts(texts),
            ScoringSettings(**settings),
            tmp_path / "shards",
        )

    return make


TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "no pad token, no specials": tiny.byte_tokenizer,
    "adds BOS": lambda: tiny.byte_tokenizer("<s> $A"),
    "adds BOS and EOS": lambda: tiny.byte_tokenizer("<s> $A </s>"),
    "returns token_type_ids": lambda: tiny.byte_tokenizer(
        model_input_names=["input_ids", "token_type_ids", "attention_mask"]
    ),
    "pads on the left": lambda: tiny.byte_tokenizer(padding_side="left", pad_token="</s>"),
    "truncates": lambda: tiny.byte_tokenizer(model_max_length=4),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_scores_follow_the_definition(scoring: Make, name: str) -> None:
    tokenizer, model = TOKENIZERS[name](), tiny.tiny_model("gpt2")
    scores = scoring(model=model, tokenizer=tokenizer).run()

    plain = np.asarray(tiny.plain_losses(model, tokenizer, tiny.TEXTS))
    counts = np.asarray([len(tokenizer(text)["input_ids"]) for text in tiny.TEXTS])
    byte_count = np.asarray([len(text.encode()) for text in tiny.TEXTS])
    np.testing.assert_allclose(scores.loss, plain, rtol=0, atol=1e-5, equal_nan=True)
    np.testing.assert_array_equal(scores.token_count, counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = counts / byte_count * plain / np.log(2)
    np.testing.assert_allclose(scores.bpb, expected, rtol=1e-5)
    assert np.isnan(scores.loss[2])  # the empty text
    assert scores.report["nan_count"] == int(np.isnan(plain).sum())


def test_order_and_columns_of_the_table(scoring: Make) -> None:
    work = scoring()
    table = work.run().to_table(work.chunks, "tiny/llm")
    assert table["chunk_id"].to_pylist() == list(work.chunks.chunk_ids)
    assert table.column_names == [
        "sample", "llm", "chunk_id", "loss", "token_count", "byte_count", "bpb", "unk_count",
    ]  # fmt: skip


def test_unknown_tokens_and_appended_eos_are_reported(scoring: Make) -> None:
    scores = scoring(["the rain", "the and The"], tokenizer=tiny.word_tokenizer()).run()
    assert scores.unk_count.tolist() == [1, 0]
    assert any("20.0% of the tokens" in warning for warning in scores.report["warnings"])

    scores = scoring(tokenizer=tiny.byte_tokenizer("$A </s>")).run()
    assert any("end-of-text" in warning for warning in scores.report["warnings"])
    assert scoring().run().report["warnings"] == []


def test_one_id_for_unknown_and_end_of_text_is_not_unknown(scoring: Make) -> None:
    tokenizer = tiny.byte_tokenizer("<s> $A </s>", unk_token="</s>")
    assert scoring(tokenizer=tokenizer).run().unk_count.sum() == 0


def test_losses_that_are_not_finite_are_nan_counted_and_reported(scoring: Make) -> None:
    model = tiny.tiny_model("llama")
    tokenizer = tiny.byte_tokenizer()
    texts = ["plain text", "x marks it", "more text"]
    (broken,) = set(tokenizer("x")["input_ids"])
    with torch.no_grad():
        model.get_parameter("model.embed_tokens.weight")[broken] = float("inf")
    scores = scoring(texts, model=model, tokenizer=tokenizer, batch_tokens=256).run()
    hit = ["x" in text for text in texts]
    assert np.isnan(scores.loss).tolist() == hit
    assert np.isnan(scores.bpb).tolist() == hit
    assert scores.report["not_finite_count"] == sum(hit)
    assert "not finite" in scores.report["warnings"][0]


def test_a_tokenizer_of_another_model_is_refused(scoring: Make) -> None:
    with pytest.raises(PcorrError, match="only 200 embeddings"):
        scoring(model=tiny.tiny_model("llama", vocab_size=200))


def test_the_longest_chunk_is_checked_before_any_forward_pass(scoring: Make) -> None:
    model = tiny.tiny_model("gpt2", n_positions=50)
    model.register_forward_pre_hook(lambda *_: pytest.fail("a forward pass was made"))
    with pytest.raises(PcorrError) as caught:
        scoring(model=model)
    tokenizer = tiny.byte_tokenizer("<s> $A")
    length = max(len(tokenizer(text)["input_ids"]) for text in tiny.TEXTS)
    for part in ("tiny/llm", "chunk-00", f"{length} tokens", "has 50", "chunk_tokens", "overlong"):
        assert part in str(caught.value)


def test_overlong_nan_and_window(scoring: Make) -> None:
    context, texts = 20, ["short text", "rain falls on the tide. " * 6]
    tokenizer = tiny.byte_tokenizer("<s> $A")
    model = tiny.tiny_model("gpt2", n_positions=context)
    left_out = scoring(texts, model=model, tokenizer=tokenizer, overlong="nan").run()
    windows = scoring(texts, model=model, tokenizer=tokenizer, overlong="window").run()

    assert np.isnan(left_out.loss).tolist() == [False, True]
    assert left_out.report["overlong_count"] == 1
    ids = tokenizer(texts[1])["input_ids"]
    pieces = [torch.tensor([ids[i : i + context]]) for i in range(0, len(ids), context)]
    pieces = [piece for piece in pieces if piece.shape[1] > 1]
    with torch.inference_mode():
        sums = [float(model(piece, labels=piece).loss) * (piece.shape[1] - 1) for piece in pieces]
    predicted = sum(piece.shape[1] - 1 for piece in pieces)
    assert windows.loss[1] == pytest.approx(sum(sums) / predicted, abs=1e-5)
    assert windows.loss[0] == pytest.approx(left_out.loss[0], rel=1e-6)
    assert windows.token_count[1] == len(ids)


def fails_above(model: PreTrainedModel, tokens: int) -> None:
    """Make the model run out of memory for batches of more than so many padded tokens."""

    def hook(_module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        if kwargs["input_ids"].numel() > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory (made up for a test)")

    model.register_forward_pre_hook(hook, with_kwargs=True)
    model.base_model.register_forward_pre_hook(hook, with_kwargs=True)


def test_out_of_memory_halves_the_budget_and_goes_on(scoring: Make, tmp_path: Path) -> None:
    texts = tiny.words(60, 8)
    undisturbed = scoring(texts, batch_tokens=512).run()
    scoring(texts, batch_tokens=512).finish()
    model = tiny.tiny_model("llama")
    fails_above(model, 200)
    scores = scoring(texts, model=model, batch_tokens=512).run()
    np.testing.assert_allclose(scores.loss, undisturbed.loss, rtol=1e-6)
    assert scores.report["out_of_memory"]
    assert scores.report["effective_batch_tokens"] <= 256
    assert not undisturbed.report["out_of_memory"]

    # A resumed run knows it from the shards and does not try the large batches again.
    sorted((tmp_path / "shards").glob("*.parquet"))[-1].unlink()
    again = scoring(texts, model=model, batch_tokens=512).run()
    assert again.report["out_of_memory"]
    np.testing.assert_array_equal(again.loss, scores.loss)


def test_not_even_one_text_fits(scoring: Make) -> None:
    model = tiny.tiny_model("llama")
    fails_above(model, 30)
    with pytest.raises(PcorrError, match="Not even one text of"):
        scoring(["a short one", "rain and wind " * 20], model=model).run()


def test_a_stopped_run_resumes_where_it_was(scoring: Make) -> None:
    texts = tiny.words(40, 10)
    undisturbed = scoring(texts).run()
    scoring(texts).finish()
    answers = iter([False] * 5)
    with pytest.raises(StoppedError, match="resumes from its shards"):
        scoring(texts).run(stop=lambda: next(answers, True))
    resumed = scoring(texts).run()
    assert resumed.report["resumed_batches"] == 5
    assert resumed.report["scored_token_count"] < undisturbed.report["scored_token_count"]
    _assert_identical(resumed, undisturbed)


def test_a_failed_forward_pass_keeps_what_was_finished(scoring: Make) -> None:
    texts = tiny.words(40, 10)
    model = tiny.tiny_model("llama")
    calls: list[int] = []

    def fail_late(*_: Any) -> None:
        calls.append(1)
        if len(calls) > 11:  # finding out how the model may be driven takes eight
            raise RuntimeError("device lost (made up for a test)")

    handle = model.base_model.register_forward_pre_hook(fail_late)
    with pytest.raises(RuntimeError, match="device lost"):
        scoring(texts, model=model, seconds_per_shard=1e9).run()
    handle.remove()
    assert scoring(texts).run().report["resumed_batches"] >= 2


CHANGES: dict[str, dict[str, Any]] = {
    "chunks_sha256": {"texts": [*tiny.words(39, 10), "another text"]},
    "dtype": {"model": lambda: tiny.tiny_model("llama").bfloat16()},
    "batch_plan_sha256": {"batch_tokens": 96},
    "overlong": {"overlong": "nan"},
    "tokenizer_sha256": {"tokenizer": lambda: tiny.byte_tokenizer("<s> $A </s>")},
}


@pytest.mark.parametrize("field", CHANGES)
def test_shards_of_something_else_are_refused_by_name(scoring: Make, field: str) -> None:
    texts = tiny.words(40, 10)
    scoring(texts).run()
    changes = {k: v() if callable(v) else v for k, v in CHANGES[field].items()}
    other = scoring(**{"texts": texts, **changes})
    scores = other.run()
    assert scores.report["resumed_batches"] == 0
    refused = scores.report["refused_shards"]
    assert refused
    assert all("batches-0000" in line and field in line for line in refused)


def test_a_damaged_shard_is_scored_again(scoring: Make, tmp_path: Path) -> None:
    texts = tiny.words(40, 10)
    undisturbed = scoring(texts).run()
    first, second, *_ = sorted((tmp_path / "shards").glob("*.parquet"))
    first.write_bytes(first.read_bytes()[:100])
    second.rename(second.with_name("batches-copy.parquet.tmp"))
    scores = scoring(texts).run()
    assert [line.split()[0] for line in scores.report["refused_shards"]] == [first.name]
    assert scores.report["resumed_batches"] == scores.report["batch_count"] - 2
    _assert_identical(scores, undisturbed)


def test_nothing_is_left_after_finishing(scoring: Make, tmp_path: Path) -> None:
    work = scoring()
    work.run()
    work.finish()
    assert not (tmp_path / "shards").exists()


def test_no_chunks(scoring: Make) -> None:
    scores = scoring([]).run()
    assert len(scores.loss) == 0


def _assert_identical(ours: ChunkScores, theirs: ChunkScores) -> None:
    for name in ("loss", "bpb", "token_count", "unk_count"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    assert dataclasses.asdict(ours)["identity"] == theirs.identity
