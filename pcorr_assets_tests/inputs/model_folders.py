"""Broken folders of LLMs and tokenizers: seeded mutations of a small good one.

`cases(seed, count)` names them, `make(case, good, folder)` writes one, and `outcome(folder)`
tries it through everything that reads such folders. What must come of it is success or a
PcorrError.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.forward import prepare
from pcorr_assets.lm.loading import (
    describe,
    load_model,
    load_skeleton,
    load_tokenizer,
    resolve,
)
from pcorr_assets.lm.tokens import check_vocabulary, embedding_count, tokenise
from pcorr_assets.text.tokenizers import load_tokenizer as load_reference_tokenizer
from pcorr_assets_tests.lm import tiny

Mutation = Callable[[Path, random.Random], None]

ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 3, 10**9, 10**30, 0.5, float("nan"), float("inf"), "", "none", "\0",
    10**7, "../x", [], [1], {}, {"a": 1}, [[[]]],
)  # fmt: skip
JSON_FILES = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One broken folder: which mutation, drawn with which seed."""

    mutation: str
    seed: int


def cases(seed: int, count: int) -> Iterator[Case]:
    """`count` cases; every kind of mutation comes in turn."""
    kinds = sorted(MUTATIONS)
    for number in range(count):
        yield Case(kinds[number % len(kinds)], seed * 1_000_003 + number)


def make(case: Case, good: Path, folder: Path) -> Path:
    """Write the case into `folder`, which must not exist, from the good folder."""
    shutil.copytree(good, folder)
    MUTATIONS[case.mutation](folder, random.Random(case.seed))
    return folder


def outcome(folder: Path) -> str:
    """`ok` or the message of the first PcorrError; anything else that is raised is a defect."""
    with contextlib.suppress(PcorrError):
        load_reference_tokenizer(folder)
    try:
        resolved = resolve(tiny.local_spec("tiny/broken", folder, overlong="nan"))
        tokenizer = load_tokenizer(resolved)
        load_skeleton(resolved)
        model = load_model(resolved, "cpu", "float32")
        describe(resolved, model, tokenizer)
        tokens = tokenise(tokenizer, [text for text in tiny.TEXTS if text], resolved.label)
        check_vocabulary(tokens, embedding_count(model), resolved.label)
        found = prepare(model, tokens.ids, resolved.label).nll([tokens.ids[:8]])
        assert np.isfinite(found).all(), "a silent NaN"
    except PcorrError as error:
        if "tiny/broken" not in str(error):
            raise AssertionError(f"does not name the LLM: {error}") from error
        return str(error)
    return "ok"


def _any_json(random: random.Random) -> str:
    return random.choice(JSON_FILES)


def _edit(folder: Path, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / name
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _entries(content: Any) -> list[tuple[Any, Any]]:
    """Every place of a JSON value: container and key."""
    found: list[tuple[Any, Any]] = []
    keys = content if isinstance(content, dict) else range(len(content))
    for key in keys:
        found.append((content, key))
        if isinstance(content[key], dict | list):
            found += _entries(content[key])[:200]
    return found


def _odd_value(folder: Path, random: random.Random) -> None:
    def change(content: dict[str, Any]) -> None:
        holder, key = random.choice(_entries(content))
        holder[key] = random.choice(ODD_VALUES)

    _edit(folder, _any_json(random), change)


def _drop_entry(folder: Path, random: random.Random) -> None:
    def change(content: dict[str, Any]) -> None:
        holder, key = random.choice(_entries(content))
        del holder[key]

    _edit(folder, _any_json(random), change)


def _odd_config(folder: Path, random: random.Random) -> None:
    """An odd value of a setting that models are built by."""
    names = [
        "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "model_type",
        "architectures", "pad_token_id", "torch_dtype", "dtype", "hidden_act", "auto_map",
        "rope_parameters", "tie_word_embeddings", "quantization_config", "is_encoder_decoder",
        "max_position_embeddings", "layer_types", "attn_implementation", "text_config",
    ]  # fmt: skip
    name, value = random.choice(names), random.choice(ODD_VALUES)
    _edit(folder, "config.json", lambda content: content.update({name: value}))


def _odd_tokenizer_setting(folder: Path, random: random.Random) -> None:
    names = [
        "tokenizer_class", "auto_map", "added_tokens_decoder", "extra_special_tokens",
        "bos_token", "eos_token", "pad_token", "model_max_length", "chat_template",
        "fast_tokenizer_files", "tokenizer_file", "clean_up_tokenization_spaces",
        "additional_special_tokens", "padding_side",
    ]  # fmt: skip
    name, value = random.choice(names), random.choice(ODD_VALUES)
    _edit(folder, "tokenizer_config.json", lambda content: content.update({name: value}))


def _cut(folder: Path, random: random.Random) -> None:
    path = _any_file(folder, random)
    content = path.read_bytes()
    path.write_bytes(content[: random.randrange(len(content))])


def _flip(folder: Path, random: random.Random) -> None:
    path = _any_file(folder, random)
    content = bytearray(path.read_bytes())
    for _ in range(random.choice((1, 1, 10))):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)


def _flip_header(folder: Path, random: random.Random) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[random.randrange(400)] = random.randrange(256)
    path.write_bytes(content)


def _remove(folder: Path, random: random.Random) -> None:
    _any_file(folder, random).unlink()


def _other_content(folder: Path, random: random.Random) -> None:
    contents = (
        b"", b"[]", b"null", b"{}", b"7", b'"text"', b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}",
        b"[" * 100_000, b'{"a":' * 3000 + b"1" + b"}" * 3000, b'{"a": ' + b"9" * 5000 + b"}",
        b"\0" * 64, b"version https://git-lfs.github.com/spec/v1\n",
    )  # fmt: skip
    _any_file(folder, random).write_bytes(random.choice(contents))


def _folder_in_place(folder: Path, random: random.Random) -> None:
    path = _any_file(folder, random)
    path.unlink()
    path.mkdir()


def _odd_index(folder: Path, random: random.Random) -> None:
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    content: Any = {"metadata": {}, "weight_map": {"model.norm.weight": "part.safetensors"}}
    holder, key = random.choice([(content, "weight_map"), (content["weight_map"], "x")])
    holder[key] = random.choice(ODD_VALUES)
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))


def _any_file(folder: Path, random: random.Random) -> Path:
    return random.choice(sorted(folder.iterdir()))


MUTATIONS: dict[str, Mutation] = {
    "an odd value": _odd_value,
    "an entry less": _drop_entry,
    "an odd setting": _odd_config,
    "an odd setting of the tokenizer": _odd_tokenizer_setting,
    "a file cut short": _cut,
    "flipped bits": _flip,
    "another header of the weights": _flip_header,
    "a file less": _remove,
    "other content": _other_content,
    "a folder in place of a file": _folder_in_place,
    "an odd index": _odd_index,
}
