"""The JSON files of an LLM's folder, read strictly before a library reads them.

Belongs here: whether they are JSON objects, and whether they send a library elsewhere.
Does not belong here: what their entries mean to a model (`loading`), and indices of
weights (`weights`).

Libraries leave some of these files out without a word if they cannot read them, and look
for others under any path that they name.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pcorr_assets.errors import PcorrError

# What transformers reads; others (training logs, say) may be anything.
OBJECT_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.json",
)
# Entries that name other files to be read instead, by file.
ALTERNATIVES = {
    "config.json": "configuration_files",
    "tokenizer_config.json": "fast_tokenizer_files",
}
EXPLICIT_WEIGHTS = "transformers_weights"
# A class of code in the folder, as auto_map names it: module.Class.
OWN_CODE = re.compile(r"[\w-]+(/[\w-]+)*\.\w+")
# The same of another repository: org/name--module.Class.
FOREIGN_CODE = re.compile(r"([\w.-]+/[\w.-]+)--[\w-]+(/[\w-]+)*\.\w+")
# Entries that count layers, which are made one after the other, with weights or without.
LAYER_COUNT = re.compile(r"(num|n)_(\w+_)?layers?")
MOST_LAYERS = 2000


def check_json_files(
    folder: Path, label: str, *, runs_code: bool, pinned: bool = False
) -> list[str]:
    """Refuse JSON files that transformers would misread, ignore, or follow out of the folder.

    `runs_code`: the code that comes with the LLM is trusted, so it has to be in the folder,
    or, where its commit is `pinned`, in another repository. A folder of a GGUF file need not
    have a config.json.

    Returns:
        The classes of other repositories that are named as code.

    Raises:
        PcorrError: one is not a JSON object, names a path as another file to read, names a
            weight file of its own, names code that is not in the folder, or counts more layers
            than any LLM has.
    """
    foreign: list[str] = []
    for file in OBJECT_FILES:
        if not (folder / file).is_file():
            continue
        content = read_object(folder / file, label)
        _refuse_paths(content, file, label)
        if runs_code:
            foreign += _foreign_code(content, file, label, pinned=pinned)
    if not (folder / "config.json").exists() and any(folder.glob("*.gguf")):
        return foreign
    config = read_object(folder / "config.json", label)
    _refuse_endless(config, label)
    weights = config.get(EXPLICIT_WEIGHTS)
    if weights is not None:
        raise PcorrError(
            f"config.json of {label} names {str(weights)!r} as its weights ({EXPLICIT_WEIGHTS}); "
            "only model.safetensors or the files of its index are loaded. Remove the entry, or "
            "save the model anew with save_pretrained."
        )
    return foreign


def read_object(path: Path, label: str) -> dict[str, Any]:
    """A JSON file whose content is an object.

    Raises:
        PcorrError: it cannot be read, is not JSON in UTF-8, or something else than an object.
    """
    remedy = "Restore the file, or download it again."
    try:
        content = json.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise PcorrError(
            f"{path.name} of {label} cannot be read ({error.strerror or error}): {path}"
        ) from error
    except UnicodeDecodeError as error:
        raise PcorrError(
            f"{path.name} of {label} is not UTF-8 (byte {error.start}): {path}. {remedy}"
        ) from error
    except json.JSONDecodeError as error:
        raise PcorrError(
            f"{path.name} of {label} is not JSON ({error.msg}, line {error.lineno} column "
            f"{error.colno}): {path}. {remedy}"
        ) from error
    except (RecursionError, ValueError) as error:
        # Nested too deeply, or an integer of thousands of digits.
        raise PcorrError(
            f"{path.name} of {label} is not JSON that can be read ({type(error).__name__}): "
            f"{path}. {remedy}"
        ) from error
    if not isinstance(content, dict):
        raise PcorrError(
            f"{path.name} of {label} holds a {type(content).__name__}, not an object of names and "
            f"values: {path}. {remedy}"
        )
    return content


def _refuse_paths(content: dict[str, Any], file: str, label: str) -> None:
    entry = ALTERNATIVES.get(file)
    if entry is None or entry not in content:
        return
    named = content[entry]
    if isinstance(named, list) and all(isinstance(n, str) and "/" not in n for n in named):
        return
    raise PcorrError(
        f"{file} of {label} names files outside its folder ({entry}: {str(named)[:100]}); nothing "
        "outside is loaded. Put the files into the folder, or remove the entry."
    )


def _foreign_code(content: dict[str, Any], file: str, label: str, *, pinned: bool) -> list[str]:
    named = content.get("auto_map")
    flat = list(named.values()) if isinstance(named, dict) else [named]
    classes = [c for group in flat for c in (group if isinstance(group, list) else [group])]
    foreign: list[str] = []
    for found in classes:
        if found is None:
            continue
        if isinstance(found, str) and FOREIGN_CODE.fullmatch(found) and pinned:
            foreign.append(found)
            continue
        if isinstance(found, str) and "--" in found:
            raise PcorrError(
                f"{file} of {label} takes code from another repository ({found}), which no commit "
                "pins. Say which commit you trust (`code_revision`, 40 digits, in pcorr.yaml); or "
                "put that code into a local folder with the LLM, and name it in auto_map without "
                "the repository."
            )
        if not isinstance(found, str) or not OWN_CODE.fullmatch(found):
            raise PcorrError(
                f"{file} of {label} names {str(found)[:100]!r} as its code (auto_map), which is no "
                "class of a file in its folder; nothing outside is loaded. Expected module.Class, "
                "with module.py beside it."
            )
    return foreign


def _refuse_endless(config: dict[str, Any], label: str) -> None:
    """PcorrError for a count of layers that would keep transformers busy for hours."""
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    for name, value in (entry for part in parts for entry in part.items()):
        if LAYER_COUNT.fullmatch(name) and isinstance(value, int | float) and value > MOST_LAYERS:
            raise PcorrError(
                f"config.json of {label} counts {str(value)[:20]} layers ({name}), more than "
                f"{MOST_LAYERS:,}: it is damaged. Restore the config.json that goes with the "
                "weights."
            )
