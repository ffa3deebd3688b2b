"""One pass of texts through a model, to the sum of their token losses.

Belongs here: the forward pass, the cross-entropy, and finding out how a model may be driven.
Does not belong here: padding and the ways to and from the device (`packing`), which texts go
together (`batching`), what becomes of the sums (`scoring`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.causes import errors_belong_to_llm
from pcorr_assets.lm.packing import LateLosses, Packed, pack
from pcorr_assets.lm.tokens import embedding_count, vocabulary_problem

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

SLICE_POSITIONS = 512
PROBE_TOKENS = 16
# Without a mask losses may differ by so much from those of texts alone, in nats, root mean square
# over tokens, in float32. In half precision roundings are larger: there they may differ by twice
# as much as they do with the mask.
FLOAT32_TOLERANCE = 1e-5
HALF_PRECISION_RATIO = 2.0
# Factors and caps between the output layer and the logits; see `_head_is_all`.
SCALING_ATTRIBUTES = (
    "final_logit_softcapping",
    "logits_soft_cap",
    "logit_scale",
    "logits_scaling",
)


@dataclass(frozen=True)
class LossModel:
    """A model and how its logits are made.

    `sliced`: the output layer is applied to slices of positions, so that the logits of a
    batch (positions x vocabulary) never exist at once. Otherwise the model makes its own
    logits, in its own dtype, and only slices of them become float32.

    `masked`: the model is told which tokens are padding. Texts are padded on the right and a
    causal model does not look there, so most need no mask; without one, attention has faster
    kernels. `difference` is by how much losses without it differed from those of texts alone
    on the trial, in nats, root mean square over tokens (None: not tried).

    `slice_positions` is how many positions a slice has.
    """

    model: PreTrainedModel
    sliced: bool
    masked: bool = True
    difference: float | None = None
    slice_positions: int = SLICE_POSITIONS

    def nll(self, units: Sequence[np.ndarray]) -> np.ndarray:
        """Sum of the negative log-likelihood of each unit's tokens but its first.

        `units` are token ids (int32), in any order. The result has one float64 a unit,
        in nats; it is what `outputs.loss` of transformers is the mean of.
        """
        return self.launch(self.pack(units)).sums()

    def losses(self, units: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss of each predicted token (float64, nats) and the place of its unit (int64)."""
        launched = self.launch(self.pack(units))
        return launched.losses(), launched.rows

    def pack(self, units: Sequence[np.ndarray]) -> Packed:
        """`units` ready for `launch`; another thread may do it."""
        return pack(units, masked=self.masked, device=self.model.device)

    def launch(self, packed: Packed) -> LateLosses:
        """Send texts through the model; where it is on CUDA, without waiting for the end."""
        import torch

        device = self.model.device
        mask = None if packed.mask is None else packed.mask.to(device)
        with torch.inference_mode():
            states = _states(self.model, packed.ids.to(device), mask, self.sliced)
            states = states.reshape(-1, states.shape[-1])
            # A model that is spread over devices ends on another one than it begins on.
            positions, targets = (
                part.to(states.device) for part in (packed.positions, packed.targets)
            )
            losses = [
                self._token_losses(states[positions[piece]], targets[piece])
                for piece in _slices(len(targets), self.slice_positions)
            ]
            return LateLosses(torch.cat(losses), packed.rows, len(packed.lengths))

    def _token_losses(self, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        import torch

        head: Any = self.model.get_output_embeddings() if self.sliced else None
        logits = states if head is None else head(states)
        return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")


def prepare(model: PreTrainedModel, sample_ids: np.ndarray, label: str) -> LossModel:
    """Try a text to find out how the model may be driven.

    The output layer may be applied by slices only if that gives, bit for bit, the
    model's own logits (tried on the first tokens): some models scale or cap them. The
    mask may be left out only if padded texts have the losses that they have alone (tried
    on all of `sample_ids` and on its first third).

    Raises:
        PcorrError: earlier tokens depend on later ones, so this is no causal model; or
            whatever the model raises on them.
    """
    import torch

    largest = int(sample_ids.max()) if len(sample_ids) else 0
    if problem := vocabulary_problem(largest, embedding_count(model), label):
        raise PcorrError(problem)
    ids = torch.from_numpy(sample_ids[:PROBE_TOKENS].astype(np.int64))[None]
    ids = ids.to(model.device)
    with torch.inference_mode(), errors_belong_to_llm(label, "first forward pass"):
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        _refuse_if_not_causal(model, ids, logits, label)
        sliced = _head_is_all(model, ids, logits)
    if not sliced:
        logger.info("%s makes its logits in its own way; scoring keeps them whole", label)
    return _without_mask(LossModel(model, sliced), sample_ids, label)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Did an allocation fail, on a GPU or on the CPU?"""
    import torch

    text = str(error).lower()
    return (
        isinstance(error, torch.OutOfMemoryError)
        or "out of memory" in text
        or "can't allocate memory" in text
    )


def free_memory(device: str) -> None:
    """Give back what a failed forward pass left behind."""
    import gc

    import torch

    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


def _slices(count: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]


def _states(
    model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor | None, sliced: bool
) -> torch.Tensor:
    if sliced:
        return model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state
    return model(input_ids=ids, attention_mask=mask).logits


def _without_mask(masked: LossModel, sample_ids: np.ndarray, label: str) -> LossModel:
    """The same without a mask if that is proved to change no loss, else as it was."""
    length = len(sample_ids)
    if length < 3:
        return masked
    units = [sample_ids, sample_ids[: max(2, length // 3)]]
    half_precision = masked.model.dtype.itemsize < 4
    bare = replace(masked, masked=False)
    try:
        alone = np.concatenate([masked.losses([unit])[0].numpy() for unit in units])
        without = bare.losses(units)[0].numpy() - alone
        # In float32 the limit stands, and a pass is saved.
        beside = masked.losses(units)[0].numpy() - alone if half_precision else np.zeros(1)
    except Exception as error:  # noqa: BLE001  (an LLM's own code may raise anything)
        logger.info("%s keeps its attention mask; trying without it failed: %s", label, error)
        free_memory(str(masked.model.device))
        return masked
    difference, of_masked = _root_mean_square(without), _root_mean_square(beside)
    proved = difference <= (
        HALF_PRECISION_RATIO * of_masked if half_precision else FLOAT32_TOLERANCE
    )
    if not proved:
        logger.info(
            "%s keeps its attention mask: without it losses differ by %.1e nats", label, difference
        )
    return replace(masked, masked=not proved, difference=difference)


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _head_is_all(model: PreTrainedModel, ids: torch.Tensor, logits: torch.Tensor) -> bool:
    import torch

    config: Any = model.config.get_text_config()
    # In a coarse dtype a cap or factor may round away on small logits, so ask the config too.
    if any(getattr(config, name, None) not in (None, 1, 1.0) for name in SCALING_ATTRIBUTES):
        return False
    head = model.get_output_embeddings()
    base: Any = model.base_model
    if head is None or base is model:
        return False
    states = base(input_ids=ids, attention_mask=torch.ones_like(ids))
    hidden = getattr(states, "last_hidden_state", None)
    if hidden is None or hidden.dtype != next(head.parameters()).dtype:
        return False
    ours = head(hidden)
    return ours.shape == logits.shape and torch.equal(ours.float(), logits.float())


def _refuse_if_not_causal(
    model: PreTrainedModel, ids: torch.Tensor, logits: torch.Tensor, label: str
) -> None:
    import torch

    if ids.shape[1] < 2:
        return
    changed = ids.clone()
    changed[0, -1] = 0 if int(ids[0, -1]) else 1
    difference = model(input_ids=changed, attention_mask=torch.ones_like(ids)).logits - logits
    effect = difference.float().abs().amax(dim=-1)[0]
    tolerance = 1e-3 if logits.dtype == torch.float32 and model.dtype == torch.float32 else 5e-2
    if bool(effect[:-1].max() > tolerance * effect[-1]):
        raise PcorrError(
            f"{label} is not a causal language model: what it says about a token depends on later "
            "tokens, so its loss on a text means nothing. Remove it from pcorr.yaml."
        )
