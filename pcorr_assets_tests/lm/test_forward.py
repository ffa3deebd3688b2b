"""One forward pass: losses of padded batches against the plain formula of transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertLMHeadModel

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.forward import SLICE_POSITIONS, is_out_of_memory, prepare
from pcorr_assets.lm.tokens import tokenise
from pcorr_assets_tests.lm import tiny

# Models whose logits are not the bare output layer, so that slicing it would be wrong.
OWN_LOGITS = {"gemma2_softcap", "cohere_scale", "granite_scale"}


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
