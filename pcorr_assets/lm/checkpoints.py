"""Kinds of checkpoints: quantised, GGUF, multimodal, with code of another repository.

Belongs here: telling them apart, how each is loaded and named, and how large it is. Does not
belong here: loading (`loading`), and which weight files there are (`weights`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.causes import errors_belong_to_llm

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pcorr_assets.config import LLMSpec

# What stands between a floating-point type and the quantisation in the `dtype` of an LLM.
AND = "+"


def load_options(spec: LLMSpec) -> dict[str, Any]:
    """What transformers is told of an LLM whatever it loads: configuration, tokenizer, model."""
    named = {"gguf_file": spec.gguf_file, "code_revision": spec.code_revision}
    return {
        "trust_remote_code": spec.trust_remote_code,
        "local_files_only": True,
        **{name: value for name, value in named.items() if value is not None},
    }


def model_class(config: Any) -> Any:
    """The class that loads an LLM of this configuration.

    A multimodal LLM without a class for text alone is loaded whole, and used by its text part.
    """
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    )

    has_own = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    multimodal = type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    if multimodal and not has_own and type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        return AutoModelForImageTextToText
    return AutoModelForCausalLM


def text_parameter_count(model: PreTrainedModel) -> int:
    """Parameters that texts go through: tied ones once, towers for images or sound left out."""
    from transformers import PreTrainedModel

    own = {type(model.config), type(model.config.get_text_config())}
    others = [
        module
        for module in model.modules()
        if isinstance(module, PreTrainedModel) and type(module.config) not in own
    ]
    left_out = {id(weights) for module in others for weights in module.parameters()}
    return sum(w.numel() for w in model.parameters() if id(w) not in left_out)


def quantisation(config: Any, gguf_path: Path | None, label: str) -> str | None:
    """How the weights of a checkpoint are quantised, such as `gptq-4bit`; None if they are not.

    Raises:
        PcorrError: in a way that this version of transformers does not know: it would take
            the quantised numbers for weights.
    """
    if gguf_path is not None:
        return f"gguf-{_gguf_type(gguf_path, label)}"
    found = getattr(config, "quantization_config", None)
    if found is None and hasattr(config, "get_text_config"):
        found = getattr(config.get_text_config(), "quantization_config", None)
    if found is None:
        return None
    stated: Mapping[str, Any] = found if isinstance(found, Mapping) else found.to_dict()
    return "-".join(_words(stated, label))


def _words(stated: Mapping[str, Any], label: str) -> Iterator[str]:
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    method = getattr(stated.get("quant_method"), "value", stated.get("quant_method"))
    # Files that bitsandbytes wrote long ago name no method.
    loads = [bits for bits in (4, 8) if stated.get(f"load_in_{bits}bit")]
    if method is None and loads:
        method = "bitsandbytes"
    known = {name.partition("_")[0] for name in AUTO_QUANTIZATION_CONFIG_MAPPING}
    if method != "bitsandbytes" and method not in {*AUTO_QUANTIZATION_CONFIG_MAPPING, *known}:
        import transformers

        raise PcorrError(
            f"config.json of {label} says that its weights are quantised by {str(method)[:50]!r}, "
            f"which transformers {transformers.__version__} does not know: it would take them for "
            "plain numbers. Update transformers, or take the LLM that was quantised."
        )
    yield str(method)
    if loads == [4]:
        yield str(stated.get("bnb_4bit_quant_type") or "4bit")
    elif loads == [8]:
        yield "int8"
    elif isinstance(bits := stated.get("bits"), int):
        yield f"{bits}bit"


def _gguf_type(path: Path, label: str) -> str:
    """The type that most weights of the layers of a GGUF file have, such as Q4_K."""
    from collections import Counter

    from gguf import GGUFReader

    with errors_belong_to_llm(label, f"GGUF file {path.name}"):
        counts: Counter[str] = Counter()
        layers = [tensor for tensor in GGUFReader(path).tensors if tensor.name.startswith("blk.")]
        for tensor in layers:
            counts[tensor.tensor_type.name] += int(tensor.n_elements)
    if not counts:
        raise PcorrError(f"{path.name} of {label} holds no layers; download it again.")
    return min(counts, key=lambda name: (-counts[name], name))


def dtype_name(dtype: str, quantised: str | None) -> str:
    """What the table `llms` calls the numbers of an LLM: `bfloat16`, `bfloat16+gptq-4bit`."""
    return dtype if quantised is None else f"{dtype}{AND}{quantised}"


def plain_dtype(name: str) -> str:
    """The floating-point type in what `dtype_name` made."""
    return name.partition(AND)[0]
