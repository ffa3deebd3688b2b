"""Weight files: which are loaded, and whether what came of them is the whole model.

Belongs here: choosing weight files by their names, what an index may name, and the checks
of loaded weights against the configuration. Does not belong here: loading (`loading`),
and getting files from the hub (`hub`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.json_files import read_object

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

# The only names that weights are loaded from: repositories often hold the same weights again
# under others (consolidated.safetensors, onnx/, original/).
SAFE_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
INDEX = ".index.json"
PICKLE_WEIGHTS = ("pytorch_model.bin", "pytorch_model.bin.index.json")
ADAPTER_CONFIG = "adapter_config.json"
# A file of the folder itself: no path, not hidden (what is hidden is not part of the identity).
PLAIN_NAME = re.compile(r"[^./\\\0][^/\\\0]*")


def weights_file(name: str, files: Collection[str], *, allow_pickle: bool) -> str:
    """The file that weights are loaded from: safetensors, else pickled ones if they may be.

    It is the index where the weights are in several files.

    Raises:
        PcorrError: no weights that transformers can load, pickled ones that may not be, or
            an adapter, which would be applied to the weights or not as peft is installed.
    """
    refuse_adapter(name, files)
    for file in SAFE_WEIGHTS:
        if file in files:
            return file
    pickles = [file for file in PICKLE_WEIGHTS if file in files]
    if not pickles:
        raise PcorrError(
            f"{name} has neither model.safetensors nor pytorch_model.bin, so there are no weights "
            "to load; other formats must be converted first (save_pretrained)."
        )
    if not allow_pickle:
        raise PcorrError(
            f"{name} has pickled weights only ({pickles[0]}), and unpickling can run code. If you "
            "trust it, set `allow_pickle: true` for it in pcorr.yaml (`pcorr add-llm "
            "--allow-pickle`); or convert it to safetensors."
        )
    return pickles[0]


def refuse_missing_gguf(gguf_file: str, files: Collection[str], label: str) -> None:
    """PcorrError, with those that there are, if the GGUF file of an LLM is not there."""
    if gguf_file in files:
        return
    others = sorted(file for file in files if file.endswith(".gguf"))
    there = f"it has {', '.join(others[:5])}" if others else "it has no GGUF file at all"
    raise PcorrError(f"{label} has no {gguf_file}: {there}. Correct `gguf_file` in pcorr.yaml.")


def refuse_adapter(name: str, files: Collection[str]) -> None:
    """PcorrError if there is an adapter, alone or beside full weights."""
    if ADAPTER_CONFIG in files:
        raise PcorrError(
            f"{name} holds an adapter ({ADAPTER_CONFIG}), and adapters are not applied here: which "
            "LLM was scored would not be clear. Merge it into its base (merge_and_unload of peft, "
            "then save_pretrained), or keep the full weights in a local folder without the adapter."
        )


def files_of_index(index: Path, label: str) -> list[str]:
    """The weight files that an index names, each beside it and of the index's own kind.

    Raises:
        PcorrError: it is damaged, or names anything else: a path, a hidden file, a pickle
            in an index of safetensors.
    """
    ending = ".safetensors" if index.name in SAFE_WEIGHTS else ".bin"
    content = read_object(index, label)
    weight_map = content.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise PcorrError(f"{index.name} of {label} has no weight_map; {_DOWNLOAD_AGAIN}")
    names: set[str] = set()
    for name in weight_map.values():
        if not isinstance(name, str) or not PLAIN_NAME.fullmatch(name) or not name.endswith(ending):
            raise PcorrError(
                f"{index.name} of {label} names {str(name)!r}, which is no *{ending} file beside "
                "it; only such files are loaded. Save the model anew with save_pretrained."
            )
        names.add(name)
    return sorted(names)


def weight_files(
    folder: Path, label: str, *, allow_pickle: bool, gguf_file: str | None = None
) -> list[str]:
    """The names of all files that weights are loaded from; an index comes first.

    Raises:
        PcorrError: as `weights_file` and `files_of_index`, or a file is not there.
    """
    present = {path.name for path in folder.iterdir() if path.is_file()}
    if gguf_file is not None:
        refuse_missing_gguf(gguf_file, present, label)
        return [gguf_file]
    head = weights_file(label, present, allow_pickle=allow_pickle)
    if not head.endswith(INDEX):
        return [head]
    names = files_of_index(folder / head, label)
    absent = [name for name in names if name not in present]
    if absent:
        raise PcorrError(
            f"{label} lacks {', '.join(absent[:3])}{' and others' if len(absent) > 3 else ''}, "
            f"which {head} names; {_DOWNLOAD_AGAIN}"
        )
    return [head, *names]


def refuse_wrong_weights(model: PreTrainedModel, info: dict[str, Any], label: str) -> None:
    """PcorrError unless the weights are those of the model that the configuration describes.

    `info` is the loading info of transformers. Refused are: weights that are missing (they
    would be random) or of another shape, layers that the configuration does not count, and
    numbers that are not finite. Other weights that the model has no place for are logged.
    """
    mismatched: list[Any] = sorted(info.get("mismatched_keys") or ())
    if mismatched:
        name, in_file, expected = mismatched[0]
        raise PcorrError(
            f"{len(mismatched)} weights of {label} have another shape than its config.json says "
            f"(such as {name}: {list(in_file)} in the file, {list(expected)} expected): the two do "
            f"not belong together. Restore the config.json that goes with the weights."
        )
    missing = sorted(info.get("missing_keys") or ())
    if missing:
        raise PcorrError(
            f"{label} lacks {len(missing)} weights of a causal language model (such as "
            f"{missing[0]}), which would be random: it was not trained as one, or its files are "
            "incomplete."
        )
    problems = sorted(info.get("error_msgs") or ())
    if problems:
        raise PcorrError(f"Weights of {label} could not be read: {problems[0]}; {_DOWNLOAD_AGAIN}")
    _refuse_uncounted(model, sorted(info.get("unexpected_keys") or ()), label)
    _refuse_not_finite(model, label)


def own_memory(model: PreTrainedModel) -> None:
    """Copy what is mapped from files, so that later changes of them cannot change the model."""
    import itertools

    for tensor in itertools.chain(model.parameters(), model.buffers()):
        if tensor.device.type == "cpu":
            tensor.data = tensor.data.clone()


def _refuse_uncounted(model: PreTrainedModel, unexpected: list[str], label: str) -> None:
    """Refuse layers beyond the last one: a model without them would be another one."""
    if not unexpected:
        return
    used = {_pattern(name) for name in model.state_dict() if _pattern(name) != name}
    # Without any numbered weight it has no layer: then those of the files are all too many.
    uncounted = [
        name for name in unexpected if (_pattern(name) in used if used else _pattern(name) != name)
    ]
    if uncounted:
        raise PcorrError(
            f"The files of {label} hold {len(uncounted)} weights more than its config.json counts "
            f"layers for (such as {uncounted[0]}): the two do not belong together. Restore the "
            "config.json that goes with the weights."
        )
    logger.warning(
        "%s: %d weights in its files are not used, such as %s; harmless if they belong to other "
        "heads or tasks",
        label,
        len(unexpected),
        unexpected[0],
    )


def _pattern(name: str) -> str:
    return re.sub(r"(?<=\.)\d+(?=\.)", "#", name)


def _refuse_not_finite(model: PreTrainedModel, label: str) -> None:
    bad = [name for name, weights in model.named_parameters() if not _is_finite(weights)]
    if bad:
        dtype = str(model.dtype).removeprefix("torch.")
        raise PcorrError(
            f"{len(bad)} weights of {label} are not finite in {dtype} (such as {bad[0]}), so its "
            "losses would not be numbers. If they overflow in float16, set another `dtype`; else "
            "the files are damaged: restore or download them again."
        )


def _is_finite(weights: torch.Tensor) -> bool:
    import torch

    if not weights.is_floating_point() or weights.element_size() < 2 or weights.is_meta:
        return True  # integers and float8 of quantised weights
    # The extremes of a tensor are NaN where any number is: no mask as large as the tensor.
    low, high = torch.aminmax(weights.detach()) if weights.numel() else (weights, weights)
    return bool(torch.isfinite(low).all()) and bool(torch.isfinite(high).all())


_DOWNLOAD_AGAIN = "restore its files, or download them again."
