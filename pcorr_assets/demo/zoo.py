"""The LLMs of the world: eight families of two, each reading its own mixture of topics.

Belongs here: who they are, what each of them reads, and training them side by side into
ordinary model folders that are kept from run to run. Does not belong here: how one model
is trained (`train`), or what is done with it afterwards (the room `lm`).

Run as a program (`python -m pcorr_assets.demo.zoo FOLDER SEED KEY...`) it trains the
LLMs named, one thread, one after the other: that is how `train_zoo` uses several cores.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from math import exp
from pathlib import Path
from random import Random
from statistics import NormalDist

from pcorr_assets.demo import prose, topics, train
from pcorr_assets.demo.topics import TOPICS
from pcorr_assets.demo.train import Schedule, Shape
from pcorr_assets.errors import PcorrError
from pcorr_assets.progress import Progress

HEAD_WIDTH = 16
FAMILY_SPREAD = 0.6
LLM_SPREAD = 1.3
PARAGRAPHS_PER_DOCUMENT = 3
TOKENIZER_DOCUMENTS = 600
STEPS_PER_WORD = 10
_RECORD = "training.json"
_WORKING_PREFIX = ".training-"


@dataclass(frozen=True)
class TinyLLM:
    """One LLM of the zoo: its key in `pcorr.yaml`, its family, size and schooling."""

    key: str
    family: str
    shape: Shape
    vocab_size: int
    schedule: Schedule

    @property
    def folder_name(self) -> str:
        """Its folder within the zoo."""
        return self.key.partition("/")[2]


def _family(
    family: str, architecture: str, vocab_size: int, width: int, step_count: int
) -> tuple[TinyLLM, TinyLLM]:
    """Two sizes: the wider one is fed as many steps."""
    schedule = Schedule(step_count=step_count, batch_size=5, sequence_length=112)
    small = TinyLLM(
        key=f"tiny/{family}-s",
        family=family,
        shape=Shape(architecture, width, layer_count=2, head_count=width // HEAD_WIDTH),
        vocab_size=vocab_size,
        schedule=schedule,
    )
    wider = Shape(architecture, width + HEAD_WIDTH, 2, width // HEAD_WIDTH + 1)
    return small, replace(small, key=f"tiny/{family}-m", shape=wider)


ZOO: tuple[TinyLLM, ...] = (
    *_family("gpt2", "gpt2", 2400, 64, 340),
    *_family("llama", "llama", 2600, 64, 260),
    *_family("neox", "gpt_neox", 2200, 64, 260),
    *_family("qwen2", "qwen2", 2800, 64, 260),
    *_family("opt", "opt", 2500, 64, 340),
    *_family("mistral", "mistral", 2300, 64, 280),
    *_family("olmo2", "olmo2", 3000, 64, 260),
    *_family("stablelm", "stablelm", 2700, 64, 280),
)


def mixtures(seed: int) -> dict[str, dict[str, float]]:
    """What share of its reading each LLM (by key) gives to each topic.

    Shares are a softmax of a family's leaning plus the LLM's own. For each topic the
    leanings are the normal quantiles in a random order, so that every topic is read much
    by some LLMs and hardly by others, whatever the seed.
    """
    rng = Random(f"{seed}/mixtures")
    families = list(dict.fromkeys(llm.family for llm in ZOO))
    leaning: dict[str, dict[str, float]] = {llm.key: {} for llm in ZOO}
    for topic in TOPICS:
        of_family = dict(zip(families, _shuffled_quantiles(len(families), rng), strict=True))
        own = _shuffled_quantiles(len(ZOO), rng)
        for llm, value in zip(ZOO, own, strict=True):
            leaning[llm.key][topic] = FAMILY_SPREAD * of_family[llm.family] + LLM_SPREAD * value
    return {key: _softmax(values) for key, values in leaning.items()}


def fingerprint(llm: TinyLLM, seed: int) -> str:
    """Hash of all that decides what an LLM becomes: world seed, itself, and the code.

    The texts it reads are functions of the seed and of the code of `prose` and `topics`.
    """
    digest = hashlib.sha256(json.dumps([seed, asdict(llm)], sort_keys=True).encode())
    modules = (__file__, train.__file__, prose.__file__)
    words = sorted(Path(topics.__file__).parent.glob("*.py"))
    for path in (*map(Path, modules), *words):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def is_trained(folder: Path, llm: TinyLLM, seed: int) -> bool:
    """Whether `folder` (the zoo's) holds this LLM as the present code would train it."""
    record = folder / llm.folder_name / _RECORD
    return record.is_file() and json.loads(record.read_text())["fingerprint"] == fingerprint(
        llm, seed
    )


def train_zoo(
    folder: Path, seed: int, llms: Sequence[TinyLLM] = ZOO, worker_count: int | None = None
) -> list[TinyLLM]:
    """Train what is missing of `llms` (of `ZOO`), one process a core; returns what was trained.

    Each LLM becomes a folder of `folder` (safetensors, configuration, tokenizer) in one
    move, so a killed training leaves no half LLM and the next run trains only the rest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(f"{_WORKING_PREFIX}*"):
        shutil.rmtree(leftover)
    missing = [llm for llm in llms if not is_trained(folder, llm, seed)]
    if not missing:
        return []
    worker_count = min(worker_count or len(os.sched_getaffinity(0)), len(missing))
    step_count = sum(llm.schedule.step_count for llm in missing)
    label = f"train {len(missing)} LLMs"
    with Progress(label, total=step_count, unit="steps", every=60) as progress:
        portions = [missing[number::worker_count] for number in range(worker_count)]
        _run_workers(folder, seed, portions, progress)
    return missing


def train_llm(
    folder: Path, llm: TinyLLM, seed: int, after_step: Callable[[], None] = lambda: None
) -> None:
    """Train one LLM and move it into `folder`, replacing one of the same name."""
    family = [one for one in ZOO if one.family == llm.family]
    mixture = mixtures(seed)[llm.key]
    profile = {
        topic: sum(mixtures(seed)[one.key][topic] for one in family) / len(family)
        for topic in TOPICS
    }
    tokenizer = train.train_tokenizer(
        documents(profile, f"{seed}/tokenizer/{llm.family}", TOKENIZER_DOCUMENTS), llm.vocab_size
    )
    # A document has more than 100 tokens: the stream is as long as the schedule.
    count = llm.schedule.token_count // 100 + 1
    stream = train.token_stream(tokenizer, documents(mixture, f"{seed}/texts/{llm.key}", count))
    weight_seed = int.from_bytes(hashlib.sha256(f"{seed}/{llm.key}".encode()).digest()[:4], "big")
    model = train.make_model(llm.shape, len(tokenizer), weight_seed)
    loss = train.train(model, stream, llm.schedule, weight_seed, after_step)
    record = {
        "fingerprint": fingerprint(llm, seed),
        "mixture": mixture,
        "tokens": llm.schedule.token_count,
        "loss": loss,
    }
    working = Path(tempfile.mkdtemp(prefix=_WORKING_PREFIX, dir=folder))
    try:
        whole = working / llm.folder_name
        model.save_pretrained(whole)
        tokenizer.model_max_length = train.CONTEXT_LENGTH
        tokenizer.save_pretrained(whole)
        (whole / _RECORD).write_text(json.dumps(record, indent=1))
        for path in (whole, *whole.iterdir()):
            # Files of safetensors are private by default; other users may score an LLM too.
            path.chmod(0o755 if path.is_dir() else 0o644)
        home = folder / llm.folder_name
        if home.exists():
            home.rename(working / "replaced")
        whole.rename(home)
    finally:
        shutil.rmtree(working)


def documents(mixture: dict[str, float], seed: str, count: int) -> list[str]:
    """Seeded documents, each of one topic, drawn by the shares of `mixture`."""
    rng = Random(seed)
    voices = {name: prose.plain_voice(topic) for name, topic in TOPICS.items()}
    drawn = rng.choices(list(mixture), list(mixture.values()), k=count)
    return [prose.page([topic] * PARAGRAPHS_PER_DOCUMENT, voices, rng) for topic in drawn]


def _shuffled_quantiles(count: int, rng: Random) -> list[float]:
    values = [NormalDist().inv_cdf((rank + 0.5) / count) for rank in range(count)]
    rng.shuffle(values)
    return values


def _softmax(values: dict[str, float]) -> dict[str, float]:
    weights = {name: exp(value) for name, value in values.items()}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _run_workers(
    folder: Path, seed: int, portions: Sequence[Sequence[TinyLLM]], progress: Progress
) -> None:
    """Train each portion in a process of its own; they say in one pipe how far they are.

    The pipe is also the leash: when this process dies, a worker's next word kills it.
    """
    reading, writing = os.pipe()
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", __name__, str(folder), str(seed), *(llm.key for llm in portion)],
            stdout=writing,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "TOKENIZERS_PARALLELISM": "false",
                "TRANSFORMERS_VERBOSITY": "error",
            },
        )
        for portion in portions
    ]
    os.close(writing)
    try:
        with os.fdopen(reading) as words:
            for word in words:
                progress.update(int(word))
        for worker, portion in zip(workers, portions, strict=True):
            if worker.wait() != 0:
                missing = [llm.key for llm in portion if not is_trained(folder, llm, seed)]
                raise PcorrError(
                    f"training of {', '.join(missing)} ended with status {worker.returncode} "
                    "(its last words are above); finished LLMs are kept: run it again"
                )
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def _main(arguments: Sequence[str]) -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder, seed, *keys = arguments
    done = 0

    def after_step() -> None:
        nonlocal done
        done += 1
        if done % STEPS_PER_WORD == 0:
            sys.stdout.write(f"{STEPS_PER_WORD}\n")
            sys.stdout.flush()

    by_key = {llm.key: llm for llm in ZOO}
    for key in keys:
        train_llm(Path(folder), by_key[key], int(seed), after_step)


if __name__ == "__main__":
    _main(sys.argv[1:])
