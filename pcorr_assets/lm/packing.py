"""What a batch is before and after the model: tensors that go in, losses that come out.

Belongs here: padding, which positions predict what, and the ways between host and device, so that
a device need not wait for either. Does not belong here: the forward pass (`forward`), and which
batch comes when (`ahead`, `work`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Packed:
    """Texts as a model takes them, padded on the right.

    `ids` (int64, texts x longest), `mask` (the same shape, 1 at real tokens; None: without one),
    and of each predicted token, in the order of the texts: `positions` of the state that predicts
    it (in the flattened states), `targets` (its id) and `rows` (its text), all int64. `lengths`
    has the tokens of each text. `rows` and `lengths` stay on the host.
    """

    ids: torch.Tensor
    mask: torch.Tensor | None
    positions: torch.Tensor
    targets: torch.Tensor
    rows: torch.Tensor
    lengths: torch.Tensor


def pack(units: Sequence[np.ndarray], *, masked: bool, device: Any) -> Packed:
    """`units` (token ids, int32, in any order) for `device`; needs no model, so any thread may.

    For CUDA all is on its way to the device when this returns, from pinned memory.
    """
    import torch

    lengths = torch.tensor([len(unit) for unit in units])
    ids = torch.zeros(len(units), int(lengths.max()), dtype=torch.long)
    for row, unit in enumerate(units):
        ids[row, : len(unit)] = torch.from_numpy(unit.astype(np.int64))
    real = torch.arange(ids.shape[1])[None, :] < lengths[:, None]
    predicted = real[:, 1:].reshape(-1).nonzero()[:, 0]
    rows = predicted // (ids.shape[1] - 1)
    targets = ids[:, 1:].reshape(-1)[predicted]
    # Position t predicts token t + 1: the last column of the states predicts nothing.
    positions = rows * ids.shape[1] + predicted % (ids.shape[1] - 1)
    mask = real.long() if masked else None
    return Packed(
        _sent(ids, device),
        None if mask is None else _sent(mask, device),
        _sent(positions, device),
        _sent(targets, device),
        rows,
        lengths,
    )


def _sent(tensor: torch.Tensor, device: Any) -> torch.Tensor:
    # On the device's one stream, so what is computed later finds it there without an event. Other
    # kinds of devices promise nothing to a second thread: `forward` sends it there.
    if device.type != "cuda":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


class LateLosses:
    """Losses of predicted tokens that the device may still be computing.

    `rows` are those of `Packed`, of `count` texts.
    """

    def __init__(self, losses: torch.Tensor, rows: torch.Tensor, count: int) -> None:
        import torch

        self.rows = rows
        self.count = count
        self._done: Any = None
        if not losses.is_cuda:
            self._losses = losses.cpu()
            return
        # Copied behind the batch: a plain `cpu()` a batch later would wait for that batch too.
        self._losses = torch.empty(losses.shape, dtype=losses.dtype, pin_memory=True)
        self._losses.copy_(losses, non_blocking=True)
        self._done = torch.cuda.current_stream(losses.device).record_event()

    def losses(self) -> torch.Tensor:
        """The loss of each predicted token (float64, nats), once it is there."""
        if self._done is not None:
            self._done.synchronize()
        return self._losses.double()

    def sums(self) -> np.ndarray:
        """The sum of the losses of each text (float64, nats)."""
        import torch

        sums = torch.zeros(self.count, dtype=torch.float64)
        return sums.index_add_(0, self.rows, self.losses()).numpy()
