"""GGUF files of tiny Llamas, written by the package `gguf`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from transformers import PreTrainedModel

from pcorr_assets_tests.lm import tiny

NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
OUTER = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}


def save_gguf(
    path: Path,
    model: PreTrainedModel,
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
) -> Path:
    """A Llama and the byte tokenizer in one file; matrices of its layers are of this kind."""
    config: Any = model.config
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, config.vocab_size)
    for name, tensor in model.state_dict().items():
        _add_tensor(writer, name.removesuffix(".weight"), tensor.numpy(), config, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: gguf.GGUFWriter, size: int) -> None:
    """The byte tokenizer; a GGUF file has as many tokens as embeddings."""
    model = json.loads(tiny.byte_tokenizer().backend_tokenizer.to_str())["model"]
    vocabulary = sorted(model["vocab"], key=model["vocab"].__getitem__)
    vocabulary += [f"<unused {number}>" for number in range(size - len(vocabulary))]
    special = {"<s>", "</s>", "<unk>"}
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if token in special else 1 for token in vocabulary])
    merges = model["merges"]
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(False)


def _add_tensor(
    writer: gguf.GGUFWriter, name: str, values: np.ndarray, config: Any, kind: Any
) -> None:
    if name in OUTER:
        writer.add_tensor(f"{OUTER[name]}.weight", values)
        return
    _, _, layer, inner = name.split(".", 3)
    heads = {
        "self_attn.q_proj": config.num_attention_heads,
        "self_attn.k_proj": config.num_key_value_heads,
    }.get(inner)
    if heads is not None:
        # llama.cpp has the two halves of a rotation beside each other.
        halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
        values = halves.swapaxes(1, 2).reshape(values.shape)
    target = f"blk.{layer}.{NAMES[inner]}.weight"
    if values.ndim < 2 or kind == gguf.GGMLQuantizationType.F32:
        writer.add_tensor(target, np.ascontiguousarray(values))
        return
    writer.add_tensor(target, gguf.quants.quantize(values, kind), raw_dtype=kind)
