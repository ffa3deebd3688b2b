"""One forward pass: losses of padded batches against the plain formula of transformers."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertLMHeadModel, GPT2LMHeadModel

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.forward import SLICE_POSITIONS, is_out_of_memory, prepare
from pcorr_assets.lm.tokens import tokenise
from pcorr_assets_tests.lm import tiny

# Models whose logits are not the bare output layer, so that slicing it would be wrong.
OWN_LOGITS = {"gemma2_softcap", "cohere_scale", "granite_scale", "recurrent_gemma_hybrid"}


@pytest.mark.parametrize("architecture", tiny.CONFIGS)
def test_losses_equal_the_plain_formula(architecture: str) -> None:
    model, tokenizer = tiny.tiny_model(architecture), tiny.byte_tokenizer("<s> $A")
    tokens = tokenise(tokenizer, tiny.TEXTS, architecture)
    plain = np.asarray(tiny.plain_losses(model, tokenizer, tiny.TEXTS))
    scored = np.flatnonzero(np.isfinite(plain))
    units = [tokens.ids[tokens.offsets[i] : tokens.offsets[i + 1]] for i in scored]

    loss_model = prepare(model, units[0], architecture)
    losses = loss_model.nll(units) / [len(unit) - 1 for unit in units]

    assert loss_model.sliced is (architecture not in OWN_LOGITS)
    np.testing.assert_allclose(losses, plain[scored], rtol=0, atol=1e-5)


@pytest.mark.parametrize("architecture", tiny.CONFIGS)
def test_texts_padded_without_a_mask_have_the_losses_they_have_alone(architecture: str) -> None:
    model = tiny.tiny_model(architecture)
    unit = np.random.default_rng(0).integers(5, tiny.VOCABULARY, 40).astype(np.int32)
    units = [unit[-count:] for count in range(2, 41)]  # every number of pad tokens

    bare = prepare(model, unit, architecture)
    masked = dataclasses.replace(bare, masked=True)
    alone = np.concatenate([masked.losses([unit])[0].numpy() for unit in units])
    without = np.abs(bare.losses(units)[0].numpy() - alone).max()
    beside = np.abs(masked.losses(units)[0].numpy() - alone).max()

    sys.stdout.write(f"{architecture}: without a mask {without:.1e} nats, with it {beside:.1e}\n")
    assert not bare.masked
    assert without < 1e-5
    half = prepare(tiny.tiny_model(architecture).bfloat16(), unit, architecture)
    assert not half.masked


class CountsFromTheEnd(GPT2LMHeadModel):
    """Positions are those of the mask, counted from the last token of a text."""

    def forward(self, input_ids: Any = None, attention_mask: Any = None, **kwargs: Any) -> Any:  # pyright: ignore
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        positions = (mask.sum(-1, keepdim=True) - mask.cumsum(-1)).clamp(min=0)
        options = {**kwargs, "position_ids": positions, "attention_mask": attention_mask}
        return super().forward(input_ids, **options)


class NeedsAMask(GPT2LMHeadModel):
    """Somebody's own code, which knows no call without a mask."""

    def forward(self, input_ids: Any = None, attention_mask: Any = None, **kwargs: Any) -> Any:  # pyright: ignore
        if attention_mask is None:
            raise KeyError("attention_mask")
        return super().forward(input_ids, attention_mask=attention_mask, **kwargs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [CountsFromTheEnd, NeedsAMask])
def test_the_mask_is_kept_where_losses_depend_on_it(kind: Any, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = kind(tiny.CONFIGS["gpt2"]()).eval().to(dtype)
    model.config.logit_scale = 2.0  # a name for which the class's own logits are asked
    unit = np.random.default_rng(0).integers(5, tiny.VOCABULARY, 40).astype(np.int32)
    assert prepare(model, unit, "odd").masked


def test_more_positions_than_a_slice() -> None:
    model = tiny.tiny_model("llama", max_position_embeddings=2048)
    unit = np.random.default_rng(0).integers(0, tiny.VOCABULARY, 3 * SLICE_POSITIONS + 7)
    ids = torch.from_numpy(unit)[None]
    with torch.inference_mode():
        plain = float(model(input_ids=ids, labels=ids).loss)

    nll = prepare(model, unit, "llama").nll([unit.astype(np.int32)])

    assert nll[0] / (len(unit) - 1) == pytest.approx(plain, abs=1e-5)


def test_an_encoder_is_refused() -> None:
    config = BertConfig(**tiny.SHAPE)
    model = BertLMHeadModel(config).eval()
    with pytest.raises(PcorrError, match="bert-tiny is not a causal language model"):
        prepare(model, np.arange(3, 19), "bert-tiny")


def test_a_cap_is_noticed_in_bfloat16_as_well() -> None:
    model = tiny.tiny_model("gemma2_softcap", initializer_range=0.001).bfloat16()
    assert prepare(model, np.arange(16), "gemma2").sliced is False


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("MPS backend out of memory"),
    ],
)
def test_out_of_memory_is_told_from_other_errors(error: RuntimeError) -> None:
    assert is_out_of_memory(error)
    assert not is_out_of_memory(RuntimeError("size mismatch"))
