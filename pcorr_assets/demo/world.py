"""A whole world in one folder: texts, pool, tasks, LLMs, and the `pcorr.yaml` for them.

Belongs here: what makes up a world, where it lies, and how a selection is compared with
the truth. Does not belong here: how its parts are made, and running the platform on it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from pcorr_assets.demo import corpus, tasks, train, zoo
from pcorr_assets.demo.corpus import CorpusTruth
from pcorr_assets.demo.topics import TOPICS
from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse.files import write_text

logger = logging.getLogger(__name__)

MARKER = "demo_world.json"
CONFIG = "pcorr.yaml"
HOME = "data"
SAMPLE = "demo"
POOL = "crawl"
TARGETS = ("astronomy", "sailing")
CHUNK_TOKENS = 96
REFERENCE_VOCAB_SIZE = 2400
REFERENCE_DOCUMENTS = 600
# A topic has about an eighth of the sample's tokens and a tenth of the pool's: the share
# chosen stays below the first, the budget below half of the second.
KEEP_RATIO = 0.1
TOKEN_BUDGET = 35_000

_HEAD = """\
# The embedded demo world, written by `python -m pcorr_assets.demo` (seed {seed}).
# Edit it as you would your own: as soon as you change it, the demo leaves it as it is.
"""


@dataclass(frozen=True)
class World:
    """A world on disk, and the truth about it.

    `targets` gives each target's topic. `domain_shares` and `pool_shares` give, for a
    domain of the sample and for a document of the pool, the share of its bytes that each
    topic holds: nothing of the platform reads them.
    """

    folder: Path
    seed: int
    targets: dict[str, str]
    domain_shares: dict[str, dict[str, float]]
    pool_shares: dict[str, dict[str, float]]

    @property
    def config_path(self) -> Path:
        """Its `pcorr.yaml`."""
        return self.folder / CONFIG

    @property
    def home(self) -> Path:
        """The home folder that its `pcorr.yaml` names."""
        return self.folder / HOME


def build_world(folder: Path, seed: int) -> World:
    """Make the world of `seed` in `folder`, or finish one that was interrupted.

    What is there and up to date is kept: only missing LLMs are trained, and a `pcorr.yaml`
    that was edited by hand is left as it is.

    Raises PcorrError if the folder holds something that this function did not make, the
    world of another seed, or results about LLMs that today's code would train differently.
    """
    folder = folder.absolute()
    _claim(folder, seed)
    _refuse_to_retrain(folder, seed)
    truth = corpus.write_corpus(folder, seed)
    tasks.write_tasks(folder / "tasks", TARGETS, seed)
    _write_reference_tokenizer(folder / "tokenizer", seed)
    zoo.train_zoo(folder / "zoo", seed, zoo.ZOO)
    _write_config(folder, seed)
    return _world(folder, seed, truth)


def read_world(folder: Path) -> World:
    """The world that `build_world` made in `folder`; PcorrError if there is none."""
    folder = folder.absolute()
    if not (folder / MARKER).is_file() or not (folder / CONFIG).is_file():
        raise PcorrError(f"{folder} holds no finished demo world; build one there first")
    return _world(folder, _read_marker(folder)["seed"], corpus.read_truth(folder))


def topic_weight(world: World, target: str, weights: Mapping[str, float]) -> float:
    """The share of `weights` (by domain) that lies on the target's topic, 0 to 1.

    A domain of several topics counts by its share of the topic. Raises PcorrError for a
    target or domain that the world does not have, and for weights that sum to 0.
    """
    return _share_of_topic(world, target, weights, world.domain_shares, "domain")


def pool_topic_weight(world: World, target: str, weights: Mapping[str, float]) -> float:
    """As `topic_weight`, for weights by document id of the pool (such as token counts)."""
    return _share_of_topic(world, target, weights, world.pool_shares, "document of the pool")


def _share_of_topic(
    world: World,
    target: str,
    weights: Mapping[str, float],
    shares: Mapping[str, Mapping[str, float]],
    kind: str,
) -> float:
    if target not in world.targets:
        raise PcorrError(f"{target!r} is not a target of the demo world: {', '.join(TARGETS)}")
    unknown = [unit for unit in weights if unit not in shares]
    if unknown:
        raise PcorrError(f"{unknown[0]!r} is no {kind} of the demo world in {world.folder}")
    total = sum(weights.values())
    if not total > 0:
        raise PcorrError(f"the weights sum to {total}; expected more than 0")
    topic = world.targets[target]
    return sum(weight * shares[unit].get(topic, 0.0) for unit, weight in weights.items()) / total


def _world(folder: Path, seed: int, truth: CorpusTruth) -> World:
    return World(
        folder=folder,
        seed=seed,
        targets={topic: topic for topic in TARGETS},
        domain_shares=truth.domains,
        pool_shares=truth.pool_documents,
    )


def _claim(folder: Path, seed: int) -> None:
    """Mark an empty folder as this world's; refuse one that belongs to anything else."""
    if not (folder / MARKER).is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise PcorrError(
                f"{folder} exists, is not empty and is no demo world, so the demo will not "
                "write into it; name an empty or a new folder"
            )
        _write_marker(folder, {"seed": seed})
    found = _read_marker(folder)["seed"]
    if found != seed:
        raise PcorrError(
            f"{folder} holds the demo world of seed {found}, not {seed}; name another folder, "
            "or remove this one if nothing in it is worth keeping"
        )


def _refuse_to_retrain(folder: Path, seed: int) -> None:
    """Results in the home belong to the LLMs as they are; others must not take their place."""
    outdated = [
        llm.key
        for llm in zoo.ZOO
        if (folder / "zoo" / llm.folder_name).exists()
        and not zoo.is_trained(folder / "zoo", llm, seed)
    ]
    if outdated and (folder / HOME).exists():
        raise PcorrError(
            f"{folder} holds results about LLMs ({', '.join(outdated)}) that this version of the "
            "demo would train differently; name another folder, or remove this one if nothing in "
            "it is worth keeping"
        )


def _read_marker(folder: Path) -> dict:
    return json.loads((folder / MARKER).read_text())


def _write_marker(folder: Path, content: dict) -> None:
    write_text(folder / MARKER, json.dumps(content, indent=1) + "\n")


def _write_reference_tokenizer(folder: Path, seed: int) -> None:
    """A tokenizer of all topics alike, to measure chunks and count tokens; no LLM uses it."""
    if folder.is_dir():
        return
    even = dict.fromkeys(TOPICS, 1.0)
    texts = zoo.documents(even, f"{seed}/tokenizer/reference", REFERENCE_DOCUMENTS)
    with tempfile.TemporaryDirectory(prefix=".tokenizer-", dir=folder.parent) as working:
        whole = Path(working) / folder.name
        train.train_tokenizer(texts, REFERENCE_VOCAB_SIZE).save_pretrained(whole)
        whole.rename(folder)


def _write_config(folder: Path, seed: int) -> None:
    text = _HEAD.format(seed=seed) + yaml.safe_dump(_config(), sort_keys=False, width=100)
    path = folder / CONFIG
    marker = _read_marker(folder)
    if path.is_file() and _sha256(path.read_text()) != marker.get("config_sha256"):
        logger.info("%s was edited by hand and is left as it is", path)
        return
    # First what will be written, then the file: killed in between, it is still our own.
    _write_marker(folder, {**marker, "config_sha256": _sha256(text)})
    write_text(path, text)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _config() -> dict[str, object]:
    """What `pcorr.yaml` says, paths relative to the folder of the world."""
    families = dict.fromkeys(llm.family for llm in zoo.ZOO)
    return {
        "home": HOME,
        "samples": {
            SAMPLE: {
                "files": ["corpus/*.jsonl.gz"],
                "text_column": "text",
                "id_column": "url",
                "domain_column": "domain",
                "pages_per_domain": corpus.PAGES_PER_DOMAIN,
                "reference_tokenizer": "./tokenizer",
                "chunk_tokens": CHUNK_TOKENS,
            }
        },
        "llms": [
            {
                "family": family,
                "dtype": "float32",
                "models": [
                    {"key": llm.key, "path": f"zoo/{llm.folder_name}"}
                    for llm in zoo.ZOO
                    if llm.family == family
                ],
            }
            for family in families
        ],
        "benchmarks": {
            task: {"metric": "acc", "lower_is_better": False, "task_path": "tasks"}
            for topic in TARGETS
            for task in tasks.task_names(topic)
        },
        "targets": {topic: {"benchmarks": list(tasks.task_names(topic))} for topic in TARGETS},
        "selection": {
            "level": "domain",
            "estimator": "spearmanr",
            "projection": "linear",
            "keep_ratio": KEEP_RATIO,
            # One grammar writes pool and items, so that half of a topic's documents have 13 words
            # in a row in common with some item: dropped, the topic would be gone.
            "decontaminate": "mark",
            "tokenizer": "./tokenizer",
            # A small world needs a small model, and more passes over its few pages.
            "fasttext": {"dim": 16, "bucket": 50_000, "epoch": 25, "lr": 0.5},
        },
        "validation": {"bootstrap": 200, "halvings": 50, "permutations": 1000, "seed": 0},
        "pools": {
            POOL: {
                "sample": SAMPLE,
                "files": ["pool/*.jsonl.gz", "pool/*.jsonl.zst", "pool/*.parquet"],
                "text_column": "text",
                "id_column": "id",
                "token_budget": TOKEN_BUDGET,
                "format": "jsonl.zst",
            }
        },
        "compute": {"mode": "local", "max_parallel_llms": 2, "threads": 1},
    }
