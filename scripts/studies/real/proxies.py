"""Small LLMs trained on each selection: equal tokens, one pass, paired seeds, several sizes.

Belongs here: training and measuring them, one file for each, so that what is there is not done
again. Does not belong here: how one is trained (`pcorr_assets.demo.comparison`), and what comes of
the numbers (`findings`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from pcorr_assets.demo import train
from pcorr_assets.demo.comparison import Trial, evaluate, train_on
from pcorr_assets.progress import Progress
from pcorr_assets.warehouse.files import write_text
from scripts.studies.real.deal import read_part
from scripts.studies.real.items import of_target, task_names
from scripts.studies.real.parallel import side_by_side
from scripts.studies.real.selections import methods_of, read_selection
from scripts.studies.real.settings import StudySettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

BATCH = 16


@dataclass(frozen=True)
class Arm:
    """One training: on what a method selects for a target, of one size and seed."""

    target: str
    size: str
    method: str
    seed: int

    def path(self, folder: Path) -> Path:
        """Where its outcome lies."""
        return folder / "proxies" / self.target / self.size / f"{self.method}-{self.seed}.json"


def arms(folder: Path, settings: StudySettings) -> list[Arm]:
    """All trainings, seed by seed, so that those of one seed are finished together."""
    return [
        Arm(target.name, size, method, seed)
        for seed in settings.proxy_seeds
        for size in settings.proxy_shapes
        for target in settings.targets
        for method in methods_of(folder, target.name)
    ]


def trial_tokens(settings: StudySettings) -> int:
    """What each LLM reads: a budget is filled by whole documents, so a little less than it."""
    return int(0.95 * settings.token_budget)


def train_proxies(folder: Path, settings: StudySettings) -> None:
    """Train and measure what is missing."""
    missing = [arm for arm in arms(folder, settings) if not arm.path(folder).is_file()]
    if not missing:
        return
    with Progress("train on selections", total=len(missing), unit="LLMs", every=60) as progress:
        given = [(folder, settings, arm) for arm in missing]
        for _ in side_by_side(settings.processes, train_arm, given):
            progress.update()


def train_arm(folder: Path, settings: StudySettings, arm: Arm) -> None:
    """Train one LLM; write its errors by benchmark and its BPB on held-out text."""
    trial = _trial(folder, settings, arm)
    wanted = set(read_selection(folder, arm.target, arm.method, arm.seed))
    pool = {one.id: one.text for one in read_part(folder, "pool") if one.id in wanted}
    model = train_on([pool[key] for key in sorted(wanted)], arm.seed, trial)
    (target,) = [one for one in settings.targets if one.name == arm.target]
    held_out = [one.text for one in of_target(read_part(folder, "held_out"), target)]
    rng = Random(f"{settings.seed}/held-out/{target.name}")
    texts = rng.sample(held_out, min(settings.held_out_documents, len(held_out)))
    found = {
        **asdict(arm),
        "errors": {name: 1 - score for name, score in evaluate(model, trial).items()},
        "bpb": bits_per_byte(model, trial.tokenizer, texts),
    }
    path = arm.path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(found, indent=1) + "\n")


def bits_per_byte(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]
) -> float:
    """Bits by byte of the texts, each cut into windows that know nothing of those before.

    The first token of a window follows an end of text, so that every byte counts once.
    """
    import torch
    from torch.nn.functional import cross_entropy

    size = train.CONTEXT_LENGTH - 1
    windows: list[list[int]] = []
    for encoding in tokenizer.backend_tokenizer.encode_batch(list(texts)):
        starts = range(0, len(encoding.ids), size)
        windows += [[0, *encoding.ids[start : start + size]] for start in starts]
    windows.sort(key=len)
    nats = 0.0
    with torch.no_grad():
        for start in range(0, len(windows), BATCH):
            batch = windows[start : start + BATCH]
            longest = len(batch[-1])
            ids = torch.tensor([one + [0] * (longest - len(one)) for one in batch])
            # What stands right of a text is not seen by it, and its losses are not counted.
            labels = [one[1:] + [-100] * (longest - len(one)) for one in batch]
            logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
            flat = torch.tensor(labels).flatten()
            nats += cross_entropy(logits.flatten(0, 1), flat, reduction="sum").item()
    return nats / math.log(2) / sum(len(text.encode()) for text in texts)


def _trial(folder: Path, settings: StudySettings, arm: Arm) -> Trial:
    from transformers import AutoTokenizer

    return Trial(
        tokenizer=AutoTokenizer.from_pretrained(folder / "tokenizer"),
        task_folder=folder / "tasks",
        benchmarks=task_names(arm.target),
        token_count=trial_tokens(settings),
        passes=1,
        shape=settings.proxy_shapes[arm.size],
    )
