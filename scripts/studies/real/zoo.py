"""The LLMs of the study: families that read mixtures of languages and kinds of their own.

Belongs here: who they are, what each reads, and training them side by side into folders that
are kept. Does not belong here: how one is trained (`pcorr_assets.demo.train`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from scipy.stats import norm

from pcorr_assets.demo import train
from pcorr_assets.demo.train import Shape
from pcorr_assets.progress import Progress
from scripts.studies.real.deal import read_part
from scripts.studies.real.parallel import side_by_side
from scripts.studies.real.settings import Family, StudySettings

Stratum = tuple[str, str]
HEAD_WIDTH = 16
LAYERS = 2
# In standard normal units: how far families lean, and how far LLMs differ from their family.
FAMILY_SPREAD = 1.0
LLM_SPREAD = 0.8
TOKENIZER_DOCUMENTS = 500
RECORD = "training.json"


@dataclass(frozen=True)
class Member:
    """One LLM: its name, family and shape."""

    name: str
    family: Family
    shape: Shape

    @property
    def key(self) -> str:
        """Its key in `pcorr.yaml`."""
        return f"real/{self.name}"


def members(settings: StudySettings) -> list[Member]:
    """All LLMs, family by family: one of each width."""
    return [
        Member(
            f"{family.name}-{width}",
            family,
            Shape(family.architecture, width, LAYERS, max(1, width // HEAD_WIDTH)),
        )
        for family in settings.families
        for width in settings.zoo_widths
    ]


def mixtures(settings: StudySettings, strata: Sequence[Stratum]) -> dict[str, dict[Stratum, float]]:
    """What share of its reading each LLM (by name) gives to each stratum.

    Shares are a softmax of leanings to languages and to kinds: the family's and the LLM's own.
    Leanings to one language (or kind) are normal quantiles in a random order over families,
    and over LLMs, so that each is read much by some and hardly by others.
    """
    rng = np.random.default_rng(settings.seed)
    everyone = members(settings)
    families = [family.name for family in settings.families]
    leaning: dict[str, dict[str, float]] = {one.name: {} for one in everyone}
    for mark in sorted({mark for stratum in strata for mark in stratum}):
        of_family = dict(zip(families, _quantiles(len(families), rng), strict=True))
        for one, own in zip(everyone, _quantiles(len(everyone), rng), strict=True):
            family = of_family[one.family.name]
            leaning[one.name][mark] = FAMILY_SPREAD * family + LLM_SPREAD * own
    found = {}
    for name, of_mark in leaning.items():
        weights = np.exp([of_mark[language] + of_mark[kind] for language, kind in strata])
        found[name] = dict(zip(strata, (weights / weights.sum()).tolist(), strict=True))
    return found


def train_zoo(folder: Path, settings: StudySettings) -> None:
    """Train what is missing; each LLM is there whole or not at all."""
    home = folder / "zoo"
    home.mkdir(parents=True, exist_ok=True)
    missing = [one for one in members(settings) if not (home / one.name / RECORD).is_file()]
    if not missing:
        return
    with Progress("train the LLMs", total=len(missing), unit="LLMs", every=60) as progress:
        for _ in side_by_side(
            settings.processes, train_member, [(folder, settings, one.name) for one in missing]
        ):
            progress.update()


def train_member(folder: Path, settings: StudySettings, name: str) -> str:
    """Train one LLM into `folder/zoo/<name>`, in one move; its name."""
    (member,) = [one for one in members(settings) if one.name == name]
    texts: dict[Stratum, list[str]] = defaultdict(list)
    for document in read_part(folder, "zoo"):
        texts[(document.language, document.kind)].append(document.text)
    of_all = mixtures(settings, sorted(texts))
    family = [one.name for one in members(settings) if one.family == member.family]
    profile = {
        stratum: sum(of_all[one][stratum] for one in family) / len(family) for stratum in texts
    }
    seed = f"{settings.seed}/{member.family.name}"
    tokenizer = train.train_tokenizer(
        _drawn(texts, profile, seed, TOKENIZER_DOCUMENTS), member.family.vocab_size
    )
    tokenizer.model_max_length = train.CONTEXT_LENGTH
    # The shortest document has some 70 tokens: the stream is as long as the schedule.
    count = settings.zoo_schedule.token_count // 70 + 1
    stream = train.token_stream(tokenizer, _drawn(texts, of_all[name], f"{seed}/{name}", count))
    digest = hashlib.sha256(f"{settings.seed}/{name}".encode()).digest()
    weight_seed = int.from_bytes(digest[:4], "big")
    model = train.make_model(member.shape, len(tokenizer), weight_seed)
    stream = stream[: settings.zoo_schedule.token_count]
    loss = train.train(model, stream, settings.zoo_schedule, weight_seed)
    mixture = {"/".join(stratum): share for stratum, share in of_all[name].items()}
    home = folder / "zoo"
    working = Path(tempfile.mkdtemp(prefix=".training-", dir=home))
    try:
        model.save_pretrained(working / name)
        tokenizer.save_pretrained(working / name)
        record = {"mixture": mixture, "tokens": settings.zoo_schedule.token_count, "loss": loss}
        (working / name / RECORD).write_text(json.dumps(record, indent=1))
        (working / name).rename(home / name)
    finally:
        shutil.rmtree(working)
    return name


def _drawn(
    texts: dict[Stratum, list[str]], mixture: dict[Stratum, float], seed: str, count: int
) -> list[str]:
    rng = Random(seed)
    drawn = rng.choices(list(mixture), list(mixture.values()), k=count)
    return [rng.choice(texts[stratum]) for stratum in drawn]


def _quantiles(count: int, rng: np.random.Generator) -> list[float]:
    return norm.ppf((rng.permutation(count) + 0.5) / count).tolist()
