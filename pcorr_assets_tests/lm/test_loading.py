"""Local LLMs: what is loaded, how it is described, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    Gemma3Config,
    GPT2Model,
    LlamaConfig,
)

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.loading import (
    choose_device,
    choose_dtype,
    context_length,
    describe,
    load_model,
    load_tokenizer,
    resolve,
    special_tokens,
    tokenizer_sha256,
)
from pcorr_assets_tests.lm import tiny


def load(folder: Path, **options: Any) -> Any:
    return load_model(resolve(tiny.local_spec("tiny/llm", folder, **options)), "cpu", "float32")


def test_loaded_weights_and_description(tmp_path: Path) -> None:
    folder = tiny.save_llm(tmp_path, "llama_tied", tokenizer=tiny.byte_tokenizer("<s> $A </s>"))
    resolved = resolve(tiny.local_spec("tiny/llm", folder, dtype="bfloat16"))
    tokenizer = load_tokenizer(resolved)
    model = load_model(resolved, "cpu", "bfloat16")
    assert not model.training
    expected = tiny.tiny_model("llama_tied").bfloat16().state_dict()
    for name, weights in model.state_dict().items():
        assert torch.equal(weights, expected[name])

    row = describe(resolved, model, tokenizer)
    assert row["llm"] == "tiny/llm"
    assert row["family"] == "tiny"
    assert row["source"] == "lm_eval"
    assert row["commit_sha"] == resolved.commit_sha
    assert row["dtype"] == "bfloat16"
    assert row["parameter_count"] == sum(p.numel() for p in model.parameters())
    assert (row["vocab_size"], row["context_length"]) == (len(tokenizer), 256)
    assert (row["adds_bos"], row["adds_eos"]) == (True, True)


@pytest.mark.parametrize(
    ("template", "added"),
    [("$A", ([], [])), ("<s> $A", ([0], [])), ("<s> $A </s>", ([0], [1])), ("$A </s>", ([], [1]))],
)
def test_specials_that_a_tokenizer_adds(template: str, added: tuple[list[int], list[int]]) -> None:
    assert special_tokens(tiny.byte_tokenizer(template)) == added


def test_the_hash_of_a_tokenizer_is_that_of_what_it_does() -> None:
    tokenizer = tiny.byte_tokenizer(pad_token="</s>")
    before = tokenizer_sha256(tokenizer)
    tokenizer(["a", "a longer text"], padding=True, truncation=True, max_length=4)
    assert tokenizer_sha256(tokenizer) == before
    assert tokenizer_sha256(tiny.byte_tokenizer("<s> $A", pad_token="</s>")) != before


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [("gpt2", 256), ("opt", 256), ("gemma2_softcap", 256), ("mamba", None), ("bloom", None)],
)
def test_context_lengths(architecture: str, expected: int | None) -> None:
    assert context_length(tiny.CONFIGS[architecture]()) == expected


def test_dtype_and_device() -> None:
    assert choose_dtype("auto", "cpu") == "float32"
    assert choose_dtype("float16", "cpu") == "float16"
    assert choose_device("cpu") == "cpu"
    with pytest.raises(PcorrError, match="Unknown device 'gpu'"):
        choose_device("gpu")


def test_a_local_folder_is_known_by_its_content(tmp_path: Path) -> None:
    first = tiny.save_llm(tmp_path / "first", "gpt2")
    second = tiny.save_llm(tmp_path / "second", "gpt2")
    commit = resolve(tiny.local_spec("a", first)).commit_sha
    assert resolve(tiny.local_spec("b", second)).commit_sha == commit
    (first / ".cache").mkdir()
    (first / ".cache" / "anything").write_text("x")
    assert resolve(tiny.local_spec("a", first), commit).commit_sha == commit
    tiny.edit_config(first, n_ctx=7)
    with pytest.raises(PcorrError, match=r"The folder of a, .*first, changed since"):
        resolve(tiny.local_spec("a", first), commit)


def test_a_folder_that_is_missing_or_something_else(tmp_path: Path) -> None:
    with pytest.raises(PcorrError, match="folder of a is not there"):
        resolve(tiny.local_spec("a", tmp_path / "nothing"))
    with pytest.raises(PcorrError, match=r"has no config\.json"):
        resolve(tiny.local_spec("a", tmp_path))


def test_pickled_weights_only_with_permission(tmp_path: Path) -> None:
    folder = tiny.save_llm(tmp_path, "gpt2")
    torch.save(load(folder).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(PcorrError, match="allow_pickle: true"):
        load(folder)
    loaded = load(folder, allow_pickle=True)
    weights = loaded.state_dict()["lm_head.weight"]
    assert torch.equal(weights, tiny.tiny_model("gpt2").state_dict()["lm_head.weight"])


def test_weights_are_missing(tmp_path: Path) -> None:
    folder = tiny.save_llm(tmp_path, "gpt2")
    (folder / "model.safetensors").unlink()
    with pytest.raises(PcorrError, match="no weights"):
        load(folder)
    (folder / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(PcorrError, match=r"weight file of .* is damaged or incomplete"):
        load(folder)


def test_what_is_no_causal_language_model(tmp_path: Path) -> None:
    shape: dict[str, Any] = {
        "vocab_size": tiny.VOCABULARY, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 16,
        "decoder_ffn_dim": 16,
    }  # fmt: skip
    bart = BartForConditionalGeneration(BartConfig(**shape))
    bart.save_pretrained(tmp_path / "bart")
    with pytest.raises(PcorrError, match="encoder-decoder"):
        load(tmp_path / "bart")

    headless = GPT2Model(tiny.CONFIGS["gpt2"]())
    headless.config.tie_word_embeddings = False
    headless.save_pretrained(tmp_path / "headless")
    with pytest.raises(PcorrError, match=r"lacks 1 weights .*lm_head\.weight"):
        load(tmp_path / "headless")

    tiny.save_llm(tmp_path / "vision", "gpt2")
    tiny.edit_config(tmp_path / "vision", model_type="vit", architectures=["ViTModel"])
    with pytest.raises(PcorrError, match="not a causal language model"):
        load(tmp_path / "vision")


def test_an_architecture_that_transformers_does_not_know(tmp_path: Path) -> None:
    tiny.edit_config(tiny.save_llm(tmp_path, "gpt2"), model_type="of-next-year")
    with pytest.raises(PcorrError, match="of-next-year"):
        load(tmp_path)


def homemade(folder: Path, code: str) -> Path:
    """An LLM whose architecture is known by the code that comes with it only."""
    tiny.save_llm(folder, "gpt2")
    tiny.edit_config(
        folder,
        model_type="homemade",
        transformers_version="4.31.0",
        auto_map={"AutoConfig": "homemade.Config", "AutoModelForCausalLM": "homemade.Model"},
    )
    (folder / "homemade.py").write_text(code)
    return folder


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where transformers puts code that is trusted, for one test."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", tmp_path / "modules")
    monkeypatch.setattr("sys.path", [*sys.path])


CODE = (
    "from transformers import GPT2Config, GPT2LMHeadModel\n"
    "class Config(GPT2Config):\n    model_type = 'homemade'\n"
    "class Model(GPT2LMHeadModel):\n    config_class = Config\n"
)


@pytest.mark.usefixtures("modules")
def test_remote_code_only_with_permission(tmp_path: Path) -> None:
    folder = homemade(tmp_path / "trusted", CODE)
    with pytest.raises(PcorrError, match="trust_remote_code: true"):
        load(folder)
    assert type(load(folder, trust_remote_code=True)).__name__ == "Model"


@pytest.mark.usefixtures("modules")
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("name", f"from transformers.utils import gone_since_then\n{CODE}"),
        ("module", f"import transformers.gone_since_then\n{CODE}"),
        ("attribute", f"{CODE}    def __init__(self, config):\n        config.gone.since_then\n"),
        ("plain", f"{CODE}    def __init__(self, config):\n        raise Exception('no')\n"),
    ],
)
def test_code_for_another_transformers(tmp_path: Path, name: str, code: str) -> None:
    folder = homemade(tmp_path / f"old_{name}", code)
    with pytest.raises(
        PcorrError, match=r"tiny/llm, its .*: the Python code .* was written for 4\.31\.0"
    ):
        load(folder, trust_remote_code=True)


@pytest.mark.usefixtures("modules")
def test_code_that_needs_a_package(tmp_path: Path) -> None:
    folder = homemade(tmp_path / "needs", f"import no_such_package_at_all\n{CODE}")
    with pytest.raises(PcorrError, match=r"needs a package .*no_such_package_at_all"):
        load(folder, trust_remote_code=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"attn_implementation": "other/kernel"},
        {"attn_implementation": {"": "other/kernel@main:function"}},
        {"attribute_map": {"a": "_attn_implementation_internal"}, "a": "other/kernel"},
    ],
)
def test_attention_that_is_code_on_the_hub(tmp_path: Path, changes: dict[str, Any]) -> None:
    tiny.edit_config(tiny.save_llm(tmp_path, "llama"), **changes)
    with pytest.raises(PcorrError, match=r"tiny/llm names code .* attention \(other/kernel"):
        load(tmp_path)
    tiny.edit_config(tmp_path, attribute_map={}, attn_implementation="eager")
    load(tmp_path)


def test_attention_of_a_part_that_is_code_on_the_hub(tmp_path: Path) -> None:
    Gemma3Config().save_pretrained(tmp_path)
    tiny.edit_config(tmp_path, attn_implementation={"text_config": "other/kernel"})
    with pytest.raises(PcorrError, match=r"tiny/llm names code .* attention \(other/kernel"):
        load(tmp_path)


def test_an_encoder_loads_but_is_not_described_as_unlimited() -> None:
    assert context_length(BertConfig(max_position_embeddings=33)) == 33
    assert context_length(LlamaConfig(max_position_embeddings=77)) == 77
