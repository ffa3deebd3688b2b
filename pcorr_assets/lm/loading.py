"""Loading a causal language model and its tokenizer, exactly and safely.

Belongs here: files to model and tokenizer, device and dtype, the row of the table
`llms`. Does not belong here: which commit to load (`identity`), getting files from the
hub (`hub`), and using the model (`scoring`, `evaluation`).
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.causes import errors_belong_to_llm
from pcorr_assets.lm.checkpoints import (
    dtype_name,
    load_options,
    model_class,
    quantisation,
    text_parameter_count,
)
from pcorr_assets.lm.hub import download, fetch_code
from pcorr_assets.lm.identity import ResolvedLLM, resolve
from pcorr_assets.lm.json_files import check_json_files
from pcorr_assets.lm.placement import budgets, free_bytes, refuse_offloaded, weight_bytes
from pcorr_assets.lm.weights import SAFE_WEIGHTS, own_memory, refuse_wrong_weights, weight_files

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "ResolvedLLM",
    "choose_device",
    "choose_dtype",
    "context_length",
    "describe",
    "devices_of_workers",
    "folder_of",
    "is_spread",
    "load_model",
    "load_skeleton",
    "load_tokenizer",
    "quantisation_of",
    "resolve",
]

logger = logging.getLogger(__name__)

ANY_TEXT = "The harbour master wrote down every ship that came in with the morning tide."

# Names that configurations of transformers give to the longest input, in order of trust.
CONTEXT_ATTRIBUTES = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "n_ctx",
    "seq_length",
    "context_length",
)
# These read any length: a recurrent state has no positions to run out of.
UNLIMITED_TYPES = frozenset({"mamba", "mamba2", "falcon_mamba", "rwkv", "xlstm"})


def choose_device(device: str = "auto") -> str:
    """The device to compute on: cuda, else mps, else cpu; or the one that was asked for.

    Raises:
        PcorrError: the device that was asked for is not there.
    """
    import torch

    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if device == "auto":
        return "cuda" if cuda else "mps" if mps else "cpu"
    kind = device.split(":", maxsplit=1)[0]
    if kind not in ("cuda", "mps", "cpu"):
        raise PcorrError(f"Unknown device {device!r}; expected auto, cuda, mps or cpu.")
    if (kind == "cuda" and not cuda) or (kind == "mps" and not mps):
        raise PcorrError(f"The device {device} is not available here; use auto or cpu.")
    return device


def devices_of_workers(device: str, workers: int | None) -> list[str]:
    """Devices of the processes that score together, the first of them `device`.

    `workers` None: one process a GPU, one without GPUs. More processes than GPUs share them.
    """
    import torch

    if device != "cuda":
        return [device] * (workers or 1)
    count = torch.cuda.device_count()
    return [f"cuda:{place % count}" for place in range(workers or count)]


def choose_dtype(dtype: str, device: str) -> str:
    """The floating-point type to compute in.

    `auto` is bfloat16 on a CUDA GPU that supports it in hardware, else float32: on CPUs
    its speed depends on the processor, and results should not.
    """
    import torch

    if dtype != "auto":
        return dtype
    if device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False):
        return "bfloat16"
    return "float32"


def load_tokenizer(resolved: ResolvedLLM) -> PreTrainedTokenizerBase:
    """The LLM's own tokenizer, as its authors configured it.

    Raises:
        PcorrError: it cannot be had or read, or makes no tokens of a text.
    """
    from transformers import AutoTokenizer

    folder = folder_of(resolved)
    _check_files(resolved, folder)
    with errors_belong_to_llm(resolved.label, "tokenizer", folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, **load_options(resolved.spec))
        # Without its files transformers makes one that knows nothing but special tokens.
        tokens = tokenizer(ANY_TEXT, add_special_tokens=False)["input_ids"]
        special_tokens(tokenizer)  # what is put around a text may fail on its own
    if not tokens:
        raise PcorrError(
            f"The tokenizer of {resolved.label} makes no tokens of a text: files of its vocabulary "
            "are missing (tokenizer.json, or the older vocab and merges files). Put them into its "
            "folder, as tokenizer.save_pretrained writes them."
        )
    resolved.refuse_changes()
    return tokenizer


def load_model(resolved: ResolvedLLM, device: str, dtype: str) -> PreTrainedModel:
    """The model in evaluation mode on `device`, in `dtype` (both may be `auto`).

    `cuda` means all GPUs of the process: an LLM that fits the first lies there, a larger
    one is spread over them. Weights come from safetensors of the LLM's own folder; pickled
    ones are refused unless the LLM's `allow_pickle` says otherwise, remote code unless its
    `trust_remote_code` does.

    Raises:
        PcorrError: it cannot be had, does not fit into memory, is not a causal language
            model, its weights are not those that its configuration describes, or they
            changed while they were loaded.
    """
    import torch

    spec = resolved.spec
    folder = folder_of(resolved)
    device = choose_device(device)
    dtype = choose_dtype(dtype, device)
    config = _load_config(resolved, folder)
    files = weight_files(
        folder, resolved.label, allow_pickle=spec.allow_pickle, gguf_file=spec.gguf_file
    )
    head, *_ = files
    quantised = quantisation_of(resolved, config)
    shares = _budgets(resolved, config, device, dtype, [folder / name for name in files])
    with errors_belong_to_llm(resolved.label, "weights", folder):
        loaded: Any = model_class(config).from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            attn_implementation=spec.attn_implementation,
            # Libraries of quantised weights put them onto the device themselves.
            **(_spread(shares) or ({"device_map": {"": device}} if quantised else {})),
            use_safetensors=head in SAFE_WEIGHTS,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused by name below
            **load_options(spec),
        )
        model, info = loaded
        refuse_wrong_weights(model, info, resolved.label)
        for part in {id(c): c for c in (model.config, model.config.get_text_config())}.values():
            part.use_cache = False  # scoring reads each text once; a cache would only cost memory
        if resolved.spec.path is not None:
            own_memory(model)
        model = (model if shares or quantised else model.to(device)).eval()
        refuse_offloaded(model, resolved.label)
    resolved.refuse_changes()
    return model


def load_skeleton(resolved: ResolvedLLM) -> PreTrainedModel:
    """The model without its weights: its shape, from the configuration alone.

    Raises:
        PcorrError: as `load_model`, but for the weights.
    """
    folder = folder_of(resolved)
    return _skeleton(resolved, _load_config(resolved, folder), folder)


def quantisation_of(resolved: ResolvedLLM, config: Any) -> str | None:
    """How the LLM's weights are quantised; None if they are not. Raises as `quantisation`."""
    gguf_file = resolved.spec.gguf_file
    path = folder_of(resolved) / gguf_file if gguf_file else None
    return quantisation(config, path, resolved.label)


def _skeleton(resolved: ResolvedLLM, config: Any, folder: Path) -> PreTrainedModel:
    import torch

    with errors_belong_to_llm(resolved.label, "configuration", folder), torch.device("meta"):
        return model_class(config).from_config(
            config, trust_remote_code=resolved.spec.trust_remote_code
        )


def _budgets(
    resolved: ResolvedLLM, config: Any, device: str, dtype: str, files: list[Path]
) -> list[int]:
    """Bytes for each GPU if the LLM has to be spread, else none; PcorrError if it does not fit."""
    try:
        skeleton = _skeleton(resolved, config, files[0].parent)
    except PcorrError as error:
        # Some code of others needs real memory to say its shape: loading will tell.
        logger.info("what %s needs is not known before it is loaded: %s", resolved.label, error)
        return []
    needed = weight_bytes(skeleton, dtype, sum(path.stat().st_size for path in files))
    shares = budgets(needed, device, free_bytes(device), resolved.label, dtype)
    if shares:
        logger.info("%s is spread over %d GPUs", resolved.label, len(shares))
    return shares


def _spread(shares: list[int]) -> dict[str, Any]:
    return {"device_map": "auto", "max_memory": dict(enumerate(shares))} if shares else {}


def is_spread(model: PreTrainedModel) -> bool:
    """Does the model lie on several devices?"""
    return len(set((getattr(model, "hf_device_map", None) or {}).values())) > 1


def _load_config(resolved: ResolvedLLM, folder: Path) -> Any:
    from transformers import AutoConfig

    _check_files(resolved, folder)
    with errors_belong_to_llm(resolved.label, "configuration", folder):
        config = AutoConfig.from_pretrained(folder, **load_options(resolved.spec))
        _refuse_kernels(config, resolved.label)
    if getattr(config, "is_encoder_decoder", False):
        raise PcorrError(
            f"{resolved.label} is not a causal language model but an encoder-decoder "
            f"({config.model_type}); its loss on a text is not defined. Remove it from pcorr.yaml."
        )
    return config


def _check_files(resolved: ResolvedLLM, folder: Path) -> None:
    """Refuse what transformers would misread, and have the pinned code of others at hand."""
    spec = resolved.spec
    pinned = spec.code_revision is not None
    foreign = check_json_files(
        folder, resolved.label, runs_code=spec.trust_remote_code, pinned=pinned
    )
    if foreign and spec.code_revision is not None:
        fetch_code(foreign, spec.code_revision)


def _refuse_kernels(config: Any, label: str) -> None:
    """PcorrError if attention is to be code that transformers would fetch from the hub and run.

    Asked of the configuration as it was read: its file can say so in more than one way.
    """
    from transformers import PreTrainedConfig

    named = config._attn_implementation
    if isinstance(named, str) and "/" in named:
        raise PcorrError(
            f"config.json of {label} names code on the hub for its attention ({named}), which no "
            "commit pins. Remove `attn_implementation` from config.json in a local copy of the LLM."
        )
    for part in vars(config).values():
        if isinstance(part, PreTrainedConfig):
            _refuse_kernels(part, label)


def describe(
    resolved: ResolvedLLM,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> dict[str, Any]:
    """The LLM's row of the table `llms`.

    `vocab_size` counts the tokenizer's entries (a model may have more embeddings),
    `parameter_count` what texts go through, tied weights once and quantised ones as many as
    they stand for, and `dtype` says how they are quantised.
    """
    spec = resolved.spec
    # As it was read: transformers takes the entry away where it undoes the quantisation.
    quantised = quantisation_of(resolved, _load_config(resolved, folder_of(resolved)))
    whole = load_skeleton(resolved) if quantised else model
    prefix, suffix = special_tokens(tokenizer)
    return {
        "llm": spec.key,
        "source": "lm_eval",
        "family": spec.family,
        "name": spec.full_name,
        "revision": spec.revision if spec.path is None else "main",
        "commit_sha": resolved.commit_sha,
        "dtype": dtype_name(str(model.dtype).removeprefix("torch."), quantised),
        "parameter_count": text_parameter_count(whole),
        "vocab_size": len(tokenizer),
        "context_length": context_length(model.config),
        "tokenizer_sha256": tokenizer_sha256(tokenizer),
        "adds_bos": bool(prefix),
        "adds_eos": bool(suffix),
    }


def context_length(config: Any) -> int | None:
    """The longest input in tokens, or None where there is no limit or none is stated."""
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    if getattr(config, "model_type", None) in UNLIMITED_TYPES:
        return None
    for name in CONTEXT_ATTRIBUTES:
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return None


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The ids that the tokenizer puts before and after every text."""
    plain = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    full = list(tokenizer("a")["input_ids"])
    for start in range(len(full) - len(plain) + 1):
        if full[start : start + len(plain)] == plain:
            return full[:start], full[start + len(plain) :]
    # Specials that replace the text's own tokens: only what is special can be told.
    special = set(tokenizer.all_special_ids)
    return [i for i in full[:1] if i in special], [i for i in full[-1:] if i in special]


def tokenizer_sha256(tokenizer: PreTrainedTokenizerBase) -> str:
    """Content hash of everything that decides how a text is tokenised.

    Truncation and padding, which a tokenizer remembers from its last call, stay out.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        content = json.loads(backend.to_str())
        content.pop("truncation", None)
        content.pop("padding", None)
    else:
        content = {"vocabulary": tokenizer.get_vocab(), "class": type(tokenizer).__name__}
    content["specials"] = special_tokens(tokenizer)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def peak_memory_bytes(device: str) -> int:
    """Most memory in use so far: of this process on a GPU, else its resident set."""
    import resource
    import sys

    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def folder_of(resolved: ResolvedLLM) -> Path:
    """Where the files of an LLM lie, downloaded if need be. Raises PcorrError as `download`."""
    if resolved.spec.path is not None:
        return resolved.spec.path
    assert resolved.spec.name is not None
    return download(
        resolved.spec.name,
        resolved.commit_sha,
        allow_pickle=resolved.spec.allow_pickle,
        subfolder=resolved.spec.subfolder,
        gguf_file=resolved.spec.gguf_file,
    )
