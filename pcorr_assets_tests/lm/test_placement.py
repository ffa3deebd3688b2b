"""Whether an LLM fits is known before it is loaded; a spread one gives the same losses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm import loading, placement
from pcorr_assets.lm.forward import prepare
from pcorr_assets.lm.identity import resolve
from pcorr_assets.lm.placement import budgets, weight_bytes
from pcorr_assets_tests.lm import tiny

GB = 10**9


def test_the_first_device_takes_what_fits_it() -> None:
    assert budgets(14 * GB, "cuda", [80 * GB, 80 * GB], "llm", "bfloat16") == []
    assert budgets(14 * GB, "cpu", [16 * GB], "llm", "bfloat16") == []


def test_a_larger_one_is_spread_with_room_for_activations() -> None:
    shares = budgets(100 * GB, "cuda", [80 * GB, 40 * GB], "llm", "bfloat16")
    assert shares == [68 * GB, 34 * GB]
    assert sum(shares) >= 100 * GB
    # It fits the first, but would leave it no room.
    assert budgets(75 * GB, "cuda", [80 * GB, 40 * GB], "llm", "bfloat16") == shares
    assert budgets(75 * GB, "cuda", [80 * GB], "llm", "bfloat16") == []


@pytest.mark.parametrize(
    ("device", "free", "said"),
    [
        ("cuda", [80 * GB], "Ask for 5 such GPUs"),
        ("cuda", [80 * GB, 80 * GB], "Ask for 5 such GPUs"),
        ("cuda:1", [80 * GB], "Ask for 5 such GPUs"),
        ("cpu", [100 * GB], "Ask for 307G"),
    ],
)
def test_what_does_not_fit_says_what_to_ask_for(device: str, free: list[int], said: str) -> None:
    with pytest.raises(PcorrError, match=r"weights of llm-70b need 280\.0 GB in float32") as caught:
        budgets(280 * GB, device, free, "llm-70b", "float32")
    assert said in str(caught.value)
    assert "smaller `dtype`" in str(caught.value)


def test_it_is_refused_before_its_weights_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.save_llm(tmp_path / "llm", "llama")
    needed = sum(weights.numel() for weights in tiny.tiny_model("llama").parameters()) * 4
    resolved = resolve(tiny.local_spec("tiny/llm", folder))
    monkeypatch.setattr(loading, "free_bytes", lambda _: [needed])
    loading.load_model(resolved, "cpu", "float32")
    monkeypatch.setattr(loading, "free_bytes", lambda _: [needed - 1])
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", lambda *_, **__: 1 / 0)
    with pytest.raises(PcorrError, match="weights of tiny/llm need"):
        loading.load_model(resolved, "cpu", "float32")


def test_a_quantised_one_needs_what_its_files_have() -> None:
    skeleton = tiny.tiny_model("llama", quantization_config={"quant_method": "fp8"})
    assert weight_bytes(skeleton, "bfloat16", 1000) == 1000
    plain = tiny.tiny_model("llama")
    count = sum(weights.numel() for weights in plain.parameters())
    assert weight_bytes(plain, "bfloat16", 1000) == 2 * count


def test_layers_in_two_places_give_the_same_losses(tmp_path: Path) -> None:
    """The disk stands for a second device: accelerate moves states between the layers too."""
    folder = tiny.save_llm(tmp_path / "llm", "llama")
    whole = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    parts = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk"}
    parts |= {"model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"}
    spread = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, device_map=parts, offload_folder=tmp_path / "offload"
    ).eval()
    assert loading.is_spread(spread)
    assert not loading.is_spread(whole)
    unit = np.random.default_rng(0).integers(5, tiny.VOCABULARY, 40).astype(np.int32)
    units = [unit, unit[:17], unit[:3]]
    ours, theirs = (prepare(model, unit, "llm") for model in (spread, whole))
    assert (ours.sliced, ours.masked) == (theirs.sliced, theirs.masked)
    np.testing.assert_array_equal(ours.nll(units), theirs.nll(units))
    with pytest.raises(PcorrError, match="would lie on the cpu and disk"):
        placement.refuse_offloaded(spread, "llm")
