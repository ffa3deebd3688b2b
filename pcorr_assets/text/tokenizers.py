"""Loading tokenizers for chunking and token counts.

Belongs here: from a name or folder to a tokenizer, with errors that help. Does not belong
here: the tokenizers of LLMs that are scored, which load together with their weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcorr_assets.errors import PcorrError
from pcorr_assets.libraries import errors_belong_to, reason

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# transformers warns for every longer text, though nothing here feeds a model.
UNLIMITED_TOKENS = 10**30


def load_tokenizer(name: str | Path) -> PreTrainedTokenizerBase:
    """Load a tokenizer from a local folder or from the hub (`org/name` or `org/name@revision`).

    Code from the hub is never run. Raises PcorrError if there is no such tokenizer, it is
    gated, the hub cannot be reached, or the files are damaged.
    """
    from transformers import AutoTokenizer

    text = str(name)
    folder = Path(name).expanduser()
    is_folder = folder.is_dir()
    if not is_folder and (folder.is_absolute() or text.startswith((".", "~"))):
        raise PcorrError(
            f"tokenizer {text!r}: no such folder; save one there with "
            "tokenizer.save_pretrained(folder), or name a tokenizer on the hub"
        )
    source, revision = (str(folder), "") if is_folder else text.partition("@")[::2]
    options: dict[str, Any] = {"revision": revision} if revision else {}
    ways_out = (
        "the folder needs the files that tokenizer.save_pretrained writes, and the version of "
        "tokenizers that is installed has to understand them"
        if is_folder
        else "check the name; if it is gated, accept its terms on the hub and log in "
        "(`hf auth login` or HF_TOKEN); offline, it has to be in the local cache already, "
        "or give a local folder"
    )
    with errors_belong_to(
        lambda error: f"tokenizer {text!r}: cannot be loaded ({reason(error)}); {ways_out}"
    ):
        tokenizer = AutoTokenizer.from_pretrained(
            source, trust_remote_code=False, local_files_only=is_folder, **options
        )
        tokenizer.model_max_length = UNLIMITED_TOKENS
        tokens = tokenizer("any text", add_special_tokens=False)["input_ids"]
    if not tokens:
        raise PcorrError(
            f"tokenizer {text!r}: makes no tokens of a text, since files of its vocabulary are "
            f"missing; {ways_out}"
        )
    return tokenizer


def rust_tokenizer(tokenizer: PreTrainedTokenizerBase) -> Any:
    """The `tokenizers.Tokenizer` inside, with truncation and padding switched off.

    Used directly because it skips Python lists that nobody reads: a third more tokens a
    second. Raises PcorrError for a tokenizer written in Python, which has no offsets.
    """
    inner = getattr(tokenizer, "backend_tokenizer", None)
    if not tokenizer.is_fast or inner is None:
        name = tokenizer.name_or_path or type(tokenizer).__name__
        raise PcorrError(
            f"tokenizer {name!r} ({type(tokenizer).__name__}) does not say where in the text its "
            "tokens stand, which exact chunking needs: choose a reference_tokenizer with a "
            "tokenizer.json (a 'fast' tokenizer)"
        )
    if inner.truncation is not None:
        inner.no_truncation()
    if inner.padding is not None:
        inner.no_padding()
    return inner
