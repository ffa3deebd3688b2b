"""Small tokenizers of every family, built on the spot, and samples read from YAML."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from pcorr_assets.config import load_settings
from pcorr_assets.config.texts import Sample

TRAINING_TEXT = [
    "The quick brown fox jumps over the lazy dog; it was not amused, and said so loudly.",
    "Water boils at 100 °C, freezes at 0 °C. Cafés in Zürich serve naïve tourists.",
    "def add(first, second):\n    return first + second\n\n\nprint(add(1, 2))",
    "The rain in Spain stays mainly in the plain. In Hertford and Hereford it hardly rains.",
] * 3

SampleMaker = Callable[..., Sample]


def byte_level_bpe(*, add_prefix_space: bool, normalizer: Any = None) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(TRAINING_TEXT, trainer)
    return tokenizer


def lower_casing_word_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=["[UNK]", "[CLS]"], show_progress=False
    )
    tokenizer.train_from_iterator(TRAINING_TEXT, trainer)
    return tokenizer


def byte_fallback_bpe() -> Tokenizer:
    """As Llama 2's: spaces become a visible mark, unknown characters their bytes."""
    marked = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    plain = Tokenizer(models.BPE(unk_token="<unk>"))
    plain.normalizer = marked
    plain.pre_tokenizer = pre_tokenizers.Split(Regex("▁"), "merged_with_next")
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False
    )
    plain.train_from_iterator(TRAINING_TEXT, trainer)
    model = json.loads(plain.to_str())["model"]
    vocab = model["vocab"]
    for value in range(256):
        vocab.setdefault(f"<0x{value:02X}>", len(vocab))
    tokenizer = Tokenizer(
        models.BPE(
            vocab, [tuple(pair) for pair in model["merges"]], unk_token="<unk>", byte_fallback=True
        )
    )
    tokenizer.normalizer = marked
    return tokenizer


def nfkc_unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TRAINING_TEXT, trainer)
    return tokenizer


FAMILIES: dict[str, Callable[[], Tokenizer]] = {
    "byte-level": lambda: byte_level_bpe(add_prefix_space=False),
    "word-piece": lower_casing_word_piece,
    "byte-fallback": byte_fallback_bpe,
    "unigram": nfkc_unigram,
    "prefix-space": lambda: byte_level_bpe(add_prefix_space=True, normalizer=normalizers.NFC()),
}


@pytest.fixture(scope="session")
def tokenizers() -> dict[str, PreTrainedTokenizerFast]:
    """One tokenizer of each family, wrapped as transformers does."""
    return {
        family: PreTrainedTokenizerFast(tokenizer_object=build())
        for family, build in FAMILIES.items()
    }


@pytest.fixture(scope="session")
def tokenizer_folder(
    tokenizers: dict[str, PreTrainedTokenizerFast], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A saved byte-level tokenizer: one token for a byte or a frequent word."""
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizers["byte-level"].save_pretrained(folder)
    return folder


@pytest.fixture
def make_sample(tmp_path: Path, tokenizer_folder: Path) -> SampleMaker:
    """A sample as the config reads it; relative paths start at tmp_path."""

    def make(**options: object) -> Sample:
        section = {"reference_tokenizer": str(tokenizer_folder), "chunk_tokens": 8, **options}
        path = tmp_path / "pcorr.yaml"
        path.write_text(yaml.safe_dump({"home": "data", "samples": {"s": section}}))
        return load_settings(path).samples["s"]

    return make


@pytest.fixture(autouse=True)
def dataset_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` keeps its cache in tmp_path, and neither it nor transformers asks the hub."""
    import datasets.config
    import huggingface_hub.constants

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets-cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
