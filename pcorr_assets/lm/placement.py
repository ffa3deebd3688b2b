"""Whether an LLM fits into memory, asked before it is loaded.

Belongs here: what its weights need, what the devices have free, and what to ask for where that
is too little. Does not belong here: loading it (`loading`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pcorr_assets.errors import PcorrError
from pcorr_assets.machine import free_memory_bytes

BYTES_OF_DTYPE = {"float32": 4, "float16": 2, "bfloat16": 2}
# The share of a device's free memory that weights may take where an LLM is spread: the rest is
# for activations, logits and what the library needs.
SHARE_FOR_WEIGHTS = 0.85


def weight_bytes(skeleton: Any, dtype: str, file_bytes: int | None) -> int:
    """Memory of the weights of a model in `dtype`; of a quantised one what its files have."""
    quantised = getattr(skeleton.config, "quantization_config", None) is not None
    if quantised and file_bytes is not None:
        return file_bytes
    return sum(weights.numel() for weights in skeleton.parameters()) * BYTES_OF_DTYPE[dtype]


def free_bytes(device: str) -> list[int]:
    """Free memory of each device that `device` stands for: all GPUs for `cuda`."""
    import torch

    if not device.startswith("cuda"):
        return [free_memory_bytes()]
    if device != "cuda":
        return [torch.cuda.mem_get_info(device)[0]]
    return [torch.cuda.mem_get_info(number)[0] for number in range(torch.cuda.device_count())]


def budgets(needed: int, device: str, free: Sequence[int], label: str, dtype: str) -> list[int]:
    """How many bytes of weights go onto each device; empty if the first takes all of them.

    Where there are several, an LLM that would leave the first no room to work is spread too.

    Raises:
        PcorrError: they do not fit, with what to ask for.
    """
    shares = [int(SHARE_FOR_WEIGHTS * bytes_) for bytes_ in free]
    if len(free) > 1 and shares[0] < needed <= sum(shares):
        return shares
    if needed <= free[0]:
        return []
    size = f"{needed / 1e9:.1f} GB in {dtype}"
    smaller = "" if dtype in ("float16", "bfloat16") else ", or a smaller `dtype`"
    if device.startswith("cuda"):
        count = math.ceil(needed / max(min(shares), 1))
        raise PcorrError(
            f"The weights of {label} need {size}; there is {_gigabytes(free)} free on "
            f"{len(free)} GPU{'s' if len(free) > 1 else ''} here. Ask for {max(count, 2)} such "
            f"GPUs for this LLM (`gpus` under its `slurm`), or larger ones{smaller}."
        )
    raise PcorrError(
        f"The weights of {label} need {size}; there is {_gigabytes(free)} of memory free here. Ask "
        f"for {math.ceil(needed / SHARE_FOR_WEIGHTS / 2**30)}G (`memory` under its `slurm`), use a "
        f"larger machine, fewer `scoring_workers`{smaller}."
    )


def refuse_offloaded(model: Any, label: str) -> None:
    """PcorrError if parts of a spread model came to lie outside the devices: hopelessly slow."""
    places = set((getattr(model, "hf_device_map", None) or {}).values())
    if outside := places & {"cpu", "disk"}:
        raise PcorrError(
            f"Parts of {label} do not fit onto the GPUs here and would lie on the "
            f"{' and '.join(sorted(outside))}. Ask for one GPU more for this LLM (`gpus` under its "
            "`slurm`)."
        )


def _gigabytes(free: Sequence[int]) -> str:
    return " + ".join(f"{bytes_ / 1e9:.1f}" for bytes_ in free) + " GB"
