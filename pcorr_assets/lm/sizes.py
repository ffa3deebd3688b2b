"""How much goes through an LLM at once: tokens of a batch, positions of its output layer.

Belongs here: finding out what fits, and agreeing on one answer among all that score the same
table, now or later. Does not belong here: making batches of it (`batching`), and what becomes of
a batch that does not fit after all (`work`).

Both change roundings, so what was found on one machine is kept: in a file beside the shards while
a table is made, and in the notes of the table afterwards.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pcorr_assets.lm.forward import SLICE_POSITIONS, free_memory, is_out_of_memory, prepare
from pcorr_assets.lm.loading import is_spread
from pcorr_assets.lm.tokens import embedding_count
from pcorr_assets.warehouse.files import atomic_path
from pcorr_assets.warehouse.locks import waiting_lock

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

AUTO = "auto"
PLAN_FILE = "plan.json"
SECONDS_FOR_A_TRIAL = 600.0
# Names in the notes of a table. Slices of SLICE_POSITIONS are not stated: there were no others.
FOUND_BUDGET, SLICE = "found_batch_tokens", "slice_positions"
# Where memory cannot be asked for.
DEFAULT_BATCH_TOKENS = 8192
TRIAL_TOKENS = 4096
LARGEST_BATCH_TOKENS = 131_072
LARGEST_SLICE = 8192
# Of a model that does not say how many tokens it knows.
LARGEST_VOCABULARY = 262_144
# The rest is for allocations that do not fall into place, and for other processes.
SHARE_FOR_BATCHES = 0.7
SHARE_FOR_SLICES = 1 / 16
# Of one logit: in the model's dtype, as float32, and the float32 that the cross-entropy makes.
BYTES_OF_LOGIT = 12


@dataclass(frozen=True)
class Sizes:
    """Padded tokens of a batch, and positions of a slice of the output layer."""

    batch_tokens: int
    slice_positions: int = SLICE_POSITIONS


@dataclass(frozen=True)
class Agreement:
    """Where all who score one table agree on sizes, one after the other under `lock`.

    `tables` gives the notes of finished tables whose sizes count, the first that is of the same
    LLM before the others: the table itself, and that of its pilot.
    """

    lock: Path
    tables: Callable[[], Iterable[Mapping[str, str]]]

    def sizes(
        self,
        folder: Path,
        of: Mapping[str, str | None],
        batch_tokens: int | None,
        measure: Callable[[], Sizes],
    ) -> Sizes:
        """Those that a finished table notes, else those in `folder`, which has the shards.

        Where neither has any, what `measure` finds, which is written into `folder`.
        `batch_tokens` None: whatever fits. `of` is what they hold for: the LLM, its dtype, the
        kind of device.

        Raises:
            PcorrError: another process measures for ten minutes, or the file cannot be written.
        """
        path = folder / PLAN_FILE
        with waiting_lock(self.lock, "the batch size of an LLM", seconds=SECONDS_FOR_A_TRIAL):
            noted = (_noted(notes, of, batch_tokens) for notes in self.tables())
            stored = next((sizes for sizes in noted if sizes), None)
            stored = stored or _read(path, of, batch_tokens)
            if stored is None and batch_tokens is not None and any(folder.glob("*.parquet")):
                stored = Sizes(batch_tokens)  # shards from before slices had other sizes
            if stored is None:
                stored = measure()
                content = {"of": _asked(of, batch_tokens), **asdict(stored)}
                with atomic_path(path) as temporary:
                    temporary.write_text(json.dumps(content, indent=1), "utf-8")
        return stored


def notes_of(sizes: Sizes, batch_tokens: int | None) -> dict[str, str]:
    """What a table notes of them, beside its identity."""
    found = {FOUND_BUDGET: str(sizes.batch_tokens)} if batch_tokens is None else {}
    return {**found, **identity_of(sizes)}


def identity_of(sizes: Sizes) -> dict[str, str]:
    """What numbers depend on beside the plan of batches."""
    usual = sizes.slice_positions == SLICE_POSITIONS
    return {} if usual else {SLICE: str(sizes.slice_positions)}


def measured(
    model: PreTrainedModel,
    unit: np.ndarray,
    label: str,
    batch_tokens: int | None,
    helpers: Iterable[str] = (),
) -> Sizes:
    """What fits beside a model, from free memory and one trial on copies of `unit`, the longest.

    Without CUDA, and where an LLM is spread over devices, the constants of this module. `helpers`
    are the devices of further processes, some of which may have to fit the same GPU.

    Raises:
        PcorrError: see `forward.prepare`.
    """
    device = model.device
    if device.type != "cuda" or is_spread(model):
        return Sizes(DEFAULT_BATCH_TOKENS if batch_tokens is None else batch_tokens)
    import torch

    others = sum(helper == str(device) for helper in helpers)
    weights = sum(part.numel() * part.element_size() for part in model.parameters())
    free = (torch.cuda.mem_get_info(device)[0] - others * weights) // (1 + others)
    positions = slice_that_fits(free, embedding_count(model) or LARGEST_VOCABULARY)
    if batch_tokens is not None:
        return Sizes(batch_tokens, positions)
    prepared = replace(prepare(model, unit, label), slice_positions=positions)
    rows = max(1, TRIAL_TOKENS // len(unit))
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    try:
        prepared.nll([unit] * rows)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        free_memory(str(device))
        return Sizes(max(len(unit), rows * len(unit) // 2), positions)
    taken = torch.cuda.max_memory_allocated(device) - before
    return Sizes(budget_that_fits(free, taken, rows * len(unit), len(unit)), positions)


def slice_that_fits(free: int, vocabulary: int) -> int:
    """Positions of the output layer at once, a power of two, for so many free bytes."""
    positions = SLICE_POSITIONS
    while (
        positions < LARGEST_SLICE
        and 2 * positions * vocabulary * BYTES_OF_LOGIT <= free * SHARE_FOR_SLICES
    ):
        positions *= 2
    return positions


def budget_that_fits(free: int, taken: int, tokens: int, longest: int) -> int:
    """Padded tokens a batch, for so many free bytes, where `tokens` of them took `taken` bytes.

    Memory grows with the tokens of a batch, since its texts are no longer than the `longest`.
    """
    fitting = int(free * SHARE_FOR_BATCHES * tokens / max(taken, 1))
    return max(longest, 1024, min(LARGEST_BATCH_TOKENS, fitting) // 1024 * 1024)


def _noted(
    notes: Mapping[str, str], of: Mapping[str, str | None], batch_tokens: int | None
) -> Sizes | None:
    if any(notes.get(name) != value for name, value in of.items()):
        return None
    positions = int(notes.get(SLICE, SLICE_POSITIONS))
    if batch_tokens is not None:
        return Sizes(batch_tokens, positions)
    return Sizes(int(notes[FOUND_BUDGET]), positions) if FOUND_BUDGET in notes else None


def _read(path: Path, of: Mapping[str, str | None], batch_tokens: int | None) -> Sizes | None:
    try:
        stored: Any = json.loads(path.read_text("utf-8"))
        if stored["of"] != _asked(of, batch_tokens):
            return None
        return Sizes(int(stored["batch_tokens"]), int(stored["slice_positions"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("%s cannot be read (%s) and is made anew", path, error)
        return None


def _asked(of: Mapping[str, str | None], batch_tokens: int | None) -> dict[str, str | None]:
    return {**of, "asked": AUTO if batch_tokens is None else str(batch_tokens)}
