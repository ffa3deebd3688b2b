"""Ways of scoring that ours is measured against, on CPUs (`lm.py`) and on GPUs (`bench_gpu.py`).

Belongs here: running them. Does not belong here: models, texts, and measuring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

Units = Sequence[np.ndarray]


def batched(loss_model: Any, units: Units, batch_tokens: int) -> float:
    """Our batches one after the other, nothing made ready meanwhile: the sum of losses (nats)."""
    from pcorr_assets.lm.batching import plan_batches

    lengths = np.array([len(unit) for unit in units])
    plan = plan_batches(lengths, np.ones(len(units), dtype=bool), batch_tokens)
    batches = (plan.chunk[plan.units(batch)] for batch in range(plan.batch_count))
    return sum(float(loss_model.nll([units[c] for c in batch]).sum()) for batch in batches)


def former(loss_model: Any, units: Units, batch_tokens: int) -> float:
    """`batched` with a mask: scoring as it was before masks were left out and batches prepared."""
    return batched(replace(loss_model, masked=True), units, batch_tokens)


def plain(model: Any, units: Units) -> float:
    """Padded batches of two, the mask, and the model's full logits as float32."""
    import torch

    total = 0.0
    for start in range(0, len(units), 2):
        rows = units[start : start + 2]
        width = max(map(len, rows))
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.from_numpy(row.astype(np.int64))
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        ids, mask = ids.to(model.device), mask.to(model.device)
        labels = ids.masked_fill(mask == 0, -100)
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=mask).logits.float()
            loss = torch.nn.functional.cross_entropy(
                logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum"
            )
        total += float(loss)
    return total
