"""Kinds of LLMs beside plain safetensors: what is loaded, what it is called, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoConfig, ByT5Tokenizer, LlamaConfig

from pcorr_assets.config import LLMSpec
from pcorr_assets.errors import PcorrError
from pcorr_assets.jobs.description import LLMDescription, LLMJob
from pcorr_assets.jobs.record import JobLLM
from pcorr_assets.lm.checkpoints import plain_dtype, quantisation, text_parameter_count
from pcorr_assets.lm.forward import prepare
from pcorr_assets.lm.loading import describe, load_model, load_tokenizer, resolve
from pcorr_assets.lm.scoring import Scoring, ScoringSettings
from pcorr_assets_tests.lm import tiny
from pcorr_assets_tests.lm.gguf_files import save_gguf

Q8_0 = gguf.GGMLQuantizationType.Q8_0


def losses(spec: LLMSpec, folder: Path, texts: list[str] = tiny.TEXTS) -> np.ndarray:
    """The loss (D,) of an LLM on texts, by the scoring itself."""
    resolved = resolve(spec)
    model, tokenizer = load_model(resolved, "cpu", "float32"), load_tokenizer(resolved)
    scoring = Scoring(
        resolved, model, tokenizer, tiny.chunk_texts(texts), ScoringSettings(), folder / "shards"
    )
    return scoring.run().loss


def row(spec: LLMSpec) -> dict[str, Any]:
    resolved = resolve(spec)
    return describe(resolved, load_model(resolved, "cpu", "float32"), load_tokenizer(resolved))


def test_a_gguf_file_scores_as_the_same_weights_in_safetensors(tmp_path: Path) -> None:
    plain = tiny.local_spec("tiny/plain", tiny.save_llm(tmp_path / "plain", "llama"))
    folder = tmp_path / "gguf"
    folder.mkdir()
    save_gguf(folder / "tiny-f32.gguf", tiny.tiny_model("llama"))
    save_gguf(folder / "tiny-q8.gguf", tiny.tiny_model("llama"), Q8_0)
    whole, eight = (
        tiny.local_spec(f"tiny/{name}", folder, gguf_file=f"tiny-{name}.gguf")
        for name in ("f32", "q8")
    )
    expected = losses(plain, tmp_path / "a")
    np.testing.assert_array_equal(losses(whole, tmp_path / "b"), expected)
    # 8 bits a weight: other losses, but of about the same size.
    quantised = losses(eight, tmp_path / "c")
    assert not np.array_equal(quantised, expected, equal_nan=True)
    np.testing.assert_allclose(quantised, expected, rtol=0.02)

    described, other = row(whole), row(eight)
    assert described["dtype"] == "float32+gguf-F32"
    assert other["dtype"] == "float32+gguf-Q8_0"
    assert described["name"] == f"{folder}/tiny-f32.gguf"
    assert other["parameter_count"] == row(plain)["parameter_count"]


def test_a_gguf_file_that_is_not_there_or_damaged(tmp_path: Path) -> None:
    path = save_gguf(tmp_path / "tiny-f32.gguf", tiny.tiny_model("llama"))
    with pytest.raises(PcorrError, match=r"has no other\.gguf: it has tiny-f32\.gguf"):
        resolve(tiny.local_spec("tiny/llm", tmp_path, gguf_file="other.gguf"))
    path.write_bytes(path.read_bytes()[:500])
    resolved = resolve(tiny.local_spec("tiny/llm", tmp_path, gguf_file=path.name))
    with pytest.raises(PcorrError, match="tiny/llm"):
        load_model(resolved, "cpu", "float32")


def test_one_key_is_one_file(tmp_path: Path) -> None:
    """Files of one repository have one commit, so it does not tell them apart."""
    folder = tmp_path / "llm"
    folder.mkdir()
    for name in ("one", "two"):
        save_gguf(folder / f"{name}.gguf", tiny.tiny_model("llama"))
    wh = tiny.Warehouse(tmp_path / "home")

    def job(gguf_file: str) -> LLMJob:
        llm = LLMDescription(key="tiny/llm", family="tiny", path=folder, gguf_file=gguf_file)
        return LLMJob(home=wh.home, llm=llm, device="cpu")

    JobLLM(job("one.gguf"), wh).load()
    again = JobLLM(job("one.gguf"), wh)
    assert again.dtype == "float32"
    with pytest.raises(PcorrError, match="a key of its own"):
        JobLLM(job("two.gguf"), wh)


@pytest.mark.parametrize("kind", ["llava_multimodal", "gemma3_multimodal"])
def test_a_multimodal_llm_is_its_text_part(kind: str, tmp_path: Path) -> None:
    spec = tiny.local_spec("tiny/seeing", tiny.save_llm(tmp_path / "llm", kind))
    model: Any = tiny.tiny_model(kind)
    expected = tiny.plain_losses(model, tiny.byte_tokenizer(), tiny.TEXTS)
    np.testing.assert_allclose(losses(spec, tmp_path), expected, rtol=1e-5)

    text_only = model.model.language_model
    counted = sum(weights.numel() for weights in text_only.parameters())
    everything = sum(weights.numel() for weights in model.parameters())
    assert counted <= text_parameter_count(model) < everything
    assert row(spec)["parameter_count"] == text_parameter_count(model)


def test_the_text_part_is_the_language_model_alone(tmp_path: Path) -> None:
    """A LLaVA around a Llama says of a text what the Llama says."""
    spec = tiny.local_spec("tiny/seeing", tiny.save_llm(tmp_path / "llm", "llava_multimodal"))
    whole: Any = load_model(resolve(spec), "cpu", "float32")
    alone = tiny.tiny_model("llama")
    alone.model.load_state_dict(whole.model.language_model.state_dict())
    alone.lm_head.load_state_dict(whole.lm_head.state_dict())
    expected = tiny.plain_losses(alone, tiny.byte_tokenizer(), tiny.TEXTS)
    np.testing.assert_allclose(losses(spec, tmp_path), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "gptq-4bit"),
        ({"quant_method": "awq", "bits": 4, "version": "gemm"}, "awq-4bit"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes-int8"),
        (
            {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
            "bitsandbytes-nf4",
        ),
        ({"load_in_4bit": True}, "bitsandbytes-4bit"),
        ({"quant_method": "compressed-tensors", "format": "pack-quantized"}, "compressed-tensors"),
    ],
)
def test_what_quantised_weights_are_called(stated: dict[str, Any], expected: str) -> None:
    options: dict[str, Any] = {"quantization_config": stated}
    config = LlamaConfig(**options)
    assert quantisation(config, None, "tiny/llm") == expected
    assert quantisation(LlamaConfig(), None, "tiny/llm") is None
    assert plain_dtype(f"bfloat16+{expected}") == plain_dtype("bfloat16") == "bfloat16"


def test_quantised_weights_without_their_library(tmp_path: Path) -> None:
    folder = tiny.save_llm(tmp_path / "llm", "llama")
    tiny.edit_config(folder, quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(PcorrError, match=r"needs a package that is not installed .*optimum"):
        load_model(resolve(tiny.local_spec("tiny/llm", folder)), "cpu", "float32")


@pytest.mark.parametrize("method", ["wonder", None, 7])
def test_weights_quantised_in_an_unknown_way_are_refused(method: object, tmp_path: Path) -> None:
    """transformers skips what it does not know and takes the numbers as they are."""
    folder = tiny.save_llm(tmp_path / "llm", "llama")
    tiny.edit_config(folder, quantization_config={"quant_method": method, "bits": 4})
    with pytest.raises(PcorrError, match="tiny/llm"):
        load_model(resolve(tiny.local_spec("tiny/llm", folder)), "cpu", "float32")


def test_fp8_weights_are_named_as_such(tmp_path: Path) -> None:
    """Without a GPU that computes in it, transformers turns them into wider numbers."""
    folder = tiny.save_llm(tmp_path / "llm", "llama")
    stated = {"quant_method": "fp8", "weight_block_size": [32, 32]}
    tiny.edit_config(folder, quantization_config=stated)
    described = row(tiny.local_spec("tiny/llm", folder))
    plain = tiny.tiny_model("llama")
    assert described["dtype"] == "float32+fp8"
    assert described["parameter_count"] == sum(w.numel() for w in plain.parameters())


def test_a_tokenizer_without_offsets(tmp_path: Path) -> None:
    """Scoring needs the tokens of whole texts only, so those written in Python work too."""
    folder = tmp_path / "llm"
    tiny.tiny_model("llama", vocab_size=384).save_pretrained(folder)
    tokenizer = ByT5Tokenizer()
    tokenizer.save_pretrained(folder)
    assert not tokenizer.is_fast
    spec = tiny.local_spec("tiny/bytes", folder)
    model = tiny.tiny_model("llama", vocab_size=384)
    expected = tiny.plain_losses(model, tokenizer, tiny.TEXTS)
    np.testing.assert_allclose(losses(spec, tmp_path), expected, rtol=1e-5)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_attention_that_is_asked_for_is_used(attention: str, tmp_path: Path) -> None:
    folder = tiny.save_llm(tmp_path / "llm", "llama")
    spec = tiny.local_spec("tiny/llm", folder, attn_implementation=attention)
    model = load_model(resolve(spec), "cpu", "float32")
    assert model.config._attn_implementation == attention
    ids = np.arange(3, 40, dtype=np.int32)
    prepared = prepare(model, ids, "tiny/llm")
    with torch.inference_mode():
        labels = torch.from_numpy(ids.astype(np.int64))[None]
        expected = float(tiny.tiny_model("llama")(input_ids=labels, labels=labels).loss)
    assert prepared.nll([ids])[0] / (len(ids) - 1) == pytest.approx(expected, rel=1e-5)


def test_an_attention_that_is_not_installed(tmp_path: Path) -> None:
    folder = tiny.save_llm(tmp_path / "llm", "llama")
    spec = tiny.local_spec("tiny/llm", folder, attn_implementation="flash_attention_2")
    with pytest.raises(PcorrError, match=r"tiny/llm.*[Ff]lash"):
        load_model(resolve(spec), "cpu", "float32")


def test_a_folder_of_a_quantised_llm_is_described_by_its_configuration(tmp_path: Path) -> None:
    folder = tiny.save_llm(tmp_path / "llm", "llama")
    stated = {"quant_method": "awq", "bits": 4}
    tiny.edit_config(folder, quantization_config=stated)
    config = AutoConfig.from_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["quantization_config"] == stated
    assert quantisation(config, None, "tiny/llm") == "awq-4bit"
