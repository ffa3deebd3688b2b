"""Why an LLM could not be loaded, in sentences that say what to do.

Belongs here: the table of known causes, and the guard around every call of a library on an
LLM's files. Does not belong here: the calls (`loading`), and the hub's errors (`hub`).
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from pcorr_assets.libraries import errors_belong_to, reason

# Where transformers puts the code of repositories, as modules.
REMOTE_CODE = "transformers_modules"
UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


class Cause(NamedTuple):
    """A known cause: how to tell it (by the error and its text), and what to say.

    `message` may use `label`, `part`, `reason`, `transformers`, `tokenizers` (installed
    versions) and `written` (by which version of transformers its config.json says it was).
    """

    matches: Callable[[BaseException, str], bool]
    message: str


def errors_belong_to_llm(
    label: str, part: str, folder: Path | None = None
) -> AbstractContextManager[None]:
    """Whatever a library raises in the block becomes a PcorrError about this LLM.

    `part` is what was being loaded or tried; `folder` is where its config.json lies.
    """
    return errors_belong_to(lambda error: _message(error, label, part, folder))


def _message(error: BaseException, label: str, part: str, folder: Path | None) -> str:
    import tokenizers
    import transformers

    text = " ".join(str(error).split())
    fields = {
        "label": label,
        "part": part,
        "reason": reason(error),
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "written": _written_by(folder),
    }
    message = next((cause.message for cause in CAUSES if cause.matches(error, text)), UNKNOWN)
    return message.format(**fields)


def _written_by(folder: Path | None) -> str:
    """The version of transformers that wrote config.json, as far as that can be told."""
    try:
        content = json.loads(((folder or Path()) / "config.json").read_bytes()) if folder else {}
        version = content.get("transformers_version")
    except (OSError, ValueError, AttributeError, RecursionError):
        version = None
    return str(version)[:20] if version else "another version"


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _is_in_remote_code(error: BaseException, text: str) -> bool:
    """Was it raised in, or below, code that came with the LLM?"""
    del text
    for link in _chain(error):
        frame = link.__traceback__
        while frame is not None:
            name = frame.tb_frame.f_globals.get("__name__", "")
            if str(name).partition(".")[0] == REMOTE_CODE:
                return True
            frame = frame.tb_next
    return False


def _needs_package(error: BaseException, text: str) -> bool:
    if not isinstance(error, ImportError):
        return False
    missing = (error.name or "").partition(".")[0]
    return missing != "transformers" and "cannot import name" not in text


def _is_unwritable(error: BaseException, text: str) -> bool:
    del text
    return any(isinstance(e, OSError) and e.errno in UNWRITABLE for e in _chain(error))


def _is_out_of_memory(error: BaseException, text: str) -> bool:
    lower = text.lower()
    return (
        isinstance(error, MemoryError)
        or "out of memory" in lower
        or "can't allocate memory" in lower
    )


def _says(*words: str) -> Callable[[BaseException, str], bool]:
    return lambda error, text: any(word in text for word in words)


def _is_of(*packages: str) -> Callable[[BaseException, str], bool]:
    """Is it an error of a type that one of these packages defines, or of plain `Exception`?"""
    return lambda error, text: type(error).__module__.partition(".")[0] in packages


def _is_of_tokenizers(error: BaseException, text: str) -> bool:
    # The library raises plain `Exception` for files that it cannot read, and Rust's panics.
    return type(error) is Exception or type(error).__name__ == "PanicException"


UNKNOWN = (
    "{label}: its {part} cannot be used with transformers {transformers} ({reason}). If its files "
    "are damaged, download them again; if it is newer than transformers, update that."
)

# The first that matches counts.
CAUSES = (
    Cause(
        _says("trust_remote_code"),
        "{label} comes with its own Python code. If you trust it, set `trust_remote_code: true` "
        "for it in pcorr.yaml (`pcorr add-llm --trust-remote-code`).",
    ),
    Cause(
        _is_out_of_memory,
        "{label} does not fit into the memory of the device: use a larger one, or a smaller "
        "`dtype` ({reason})",
    ),
    Cause(
        _needs_package,
        "{label}: its {part} needs a package that is not installed ({reason}). Install it where "
        "the jobs run.",
    ),
    Cause(
        _is_in_remote_code,
        "{label}, its {part}: the Python code that comes with it fails with transformers "
        "{transformers} ({reason}); it was written for {written}. Give a revision whose code "
        "fits, or set `trust_remote_code: false` if transformers knows its architecture by now, "
        "or remove it from pcorr.yaml.",
    ),
    Cause(
        _is_unwritable,
        "{label}: its {part} could not be loaded, since a file could not be read or written "
        "({reason}). Free space, or correct the permissions there; HF_HOME says where files of "
        "the hub are kept.",
    ),
    Cause(
        _says("Unrecognized configuration class"),
        "{label} is not a causal language model: transformers has no AutoModelForCausalLM for its "
        "configuration. Remove it from pcorr.yaml.",
    ),
    Cause(
        _says("Padding_idx must be within", "padding_idx must be within"),
        "{label}: pad_token_id in its config.json lies outside its vocabulary (`vocab_size`), "
        "so the embedding cannot be made ({reason}). Set it to null, or to an id below "
        "`vocab_size`, in a local copy of the LLM.",
    ),
    Cause(
        _is_of("safetensors_rust", "safetensors", "_safetensors_rust"),
        "A weight file of {label} is damaged or incomplete ({reason}). Restore the file, or "
        "download it again.",
    ),
    Cause(
        _is_of_tokenizers,
        "{label}: its {part} is refused by tokenizers {tokenizers} ({reason}): "
        "tokenizer.json is damaged, or was written by a newer version. Download it again, or "
        "update tokenizers; or save it anew with tokenizer.save_pretrained of the version that "
        "wrote it.",
    ),
)
