from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast
from transformers.tokenization_python import PreTrainedTokenizer

from pcorr_assets.errors import PcorrError
from pcorr_assets.text.chunking import chunk_text
from pcorr_assets.text.tokenizers import load_tokenizer


class LetterTokenizer(PreTrainedTokenizer):
    """A tokenizer in Python, without offsets: one token a letter."""

    @property
    def vocab_size(self) -> int:
        return 256

    def get_vocab(self) -> dict[str, int]:
        return {chr(code): code for code in range(256)}

    def _tokenize(self, text: str, **kwargs: object) -> list[str]:
        return list(text)

    def _convert_token_to_id(self, token: str) -> int:
        return ord(token) % 256

    def _convert_id_to_token(self, index: int) -> str:
        return chr(index)


def test_local_folder_without_length_warnings(
    tokenizer_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings_path = tokenizer_folder / "tokenizer_config.json"
    settings = json.loads(settings_path.read_text())
    settings_path.write_text(json.dumps({**settings, "model_max_length": 4}))
    tokenizer = load_tokenizer(tokenizer_folder)
    assert len(tokenizer("a longer text than four tokens")["input_ids"]) > 4
    assert not caplog.records
    settings_path.write_text(json.dumps(settings))


@pytest.mark.parametrize("name", ["/no/such/folder", "./gone"])
def test_missing_folder(name: str) -> None:
    with pytest.raises(PcorrError, match="no such folder"):
        load_tokenizer(name)


def test_folder_without_a_tokenizer_and_a_damaged_one(
    tmp_path: Path, tokenizers: dict[str, PreTrainedTokenizerFast]
) -> None:
    with pytest.raises(PcorrError, match=r"cannot be loaded .*save_pretrained"):
        load_tokenizer(tmp_path)
    tokenizers["word-piece"].save_pretrained(tmp_path)
    content = (tmp_path / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(content[: len(content) // 2])
    with pytest.raises(PcorrError, match=r"cannot be loaded .*save_pretrained"):
        load_tokenizer(tmp_path)


def test_hub_name_that_is_not_in_the_cache_offline() -> None:
    with pytest.raises(PcorrError, match=r"'nobody/nothing@abc': cannot be loaded .*offline"):
        load_tokenizer("nobody/nothing@abc")


def test_tokenizer_without_offsets_is_refused_for_chunking() -> None:
    with pytest.raises(PcorrError, match=r"LetterTokenizer.*fast"):
        chunk_text("text", LetterTokenizer(), 4)
