"""The world of the study in one folder: texts, benchmarks, LLMs, and the `pcorr.yaml` for them.

Belongs here: making what is missing of it, stage by stage. Does not belong here: how each part is
made, and running the platform on it (`chain`).
"""

from __future__ import annotations

import json
import logging
import sysconfig
from dataclasses import asdict, replace
from pathlib import Path

import yaml

from pcorr_assets.config import Settings, load_settings
from pcorr_assets.demo import train
from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse.files import write_text
from scripts.studies.real.deal import even_texts, is_dealt, read_part, write_parts
from scripts.studies.real.items import task_names, write_tasks
from scripts.studies.real.settings import StudySettings
from scripts.studies.real.texts import read_documents
from scripts.studies.real.zoo import members, train_zoo

logger = logging.getLogger(__name__)

SAMPLE = "packages"
POOL = "archive"
CONFIG = "pcorr.yaml"
SETTINGS = "settings.json"
PYTHON_PACKAGES = "python_packages.json"


def build_world(folder: Path, settings: StudySettings, debian: Path | None) -> Settings:
    """Make what is missing of the world in `folder`, and read its `pcorr.yaml`.

    `debian` holds unpacked packages; None: only what installed Python packages and this machine's
    own Debian packages ship.

    Raises:
        PcorrError: the folder was made with other settings, or there is too little text.
    """
    folder = folder.absolute()
    _claim(folder, settings)
    if not is_dealt(folder):
        logger.info("reading the files of packages")
        installed = Path(sysconfig.get_path("purelib"))
        write_parts(folder, read_documents(settings, debian, installed))
        # Names and versions stand in the names of folders, which is sooner than asking each.
        versions = sorted(path.stem for path in installed.glob("*.dist-info"))
        write_text(folder / PYTHON_PACKAGES, json.dumps(versions, indent=1) + "\n")
    held_out, zoo = read_part(folder, "held_out"), read_part(folder, "zoo")
    write_tasks(folder / "tasks", settings, held_out, zoo)
    if not (folder / "tokenizer").is_dir():
        texts = even_texts(zoo, settings)
        tokenizer = train.train_tokenizer(texts, settings.vocab_size)
        tokenizer.save_pretrained(folder / ".tokenizer")
        (folder / ".tokenizer").rename(folder / "tokenizer")
    train_zoo(folder, settings)
    write_text(folder / CONFIG, yaml.safe_dump(_config(settings), sort_keys=False, width=100))
    return load_settings(folder / CONFIG)


def _claim(folder: Path, settings: StudySettings) -> None:
    """Refuse a folder of other settings: its parts would not belong together."""
    path = folder / SETTINGS
    # How many trainings there are, and on how many processes, changes nothing that is there.
    stated = replace(settings, processes=1, proxy_seeds=())
    text = json.dumps(asdict(stated), indent=1) + "\n"
    if path.is_file() and path.read_text() != text:
        raise PcorrError(
            f"{folder} holds a study of other settings ({path}); name another folder, or remove "
            "this one if nothing in it is worth keeping"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def _config(settings: StudySettings) -> dict[str, object]:
    return {
        "home": "data",
        "samples": {
            SAMPLE: {
                "files": ["texts/sample.jsonl.gz"],
                "text_column": "text",
                "id_column": "id",
                "domain_column": "domain",
                "pages_per_domain": settings.sample_pages,
                "reference_tokenizer": "./tokenizer",
                "chunk_tokens": settings.chunk_tokens,
            }
        },
        "llms": [
            {
                "family": family.name,
                "dtype": "float32",
                # To a tokenizer that read no Cyrillic a chunk in Russian is several contexts long.
                "overlong": "window",
                "models": [
                    {"key": one.key, "path": f"zoo/{one.name}"}
                    for one in members(settings)
                    if one.family == family
                ],
            }
            for family in settings.families
        ],
        "benchmarks": {
            task: {"metric": "acc", "lower_is_better": False, "task_path": "tasks"}
            for target in settings.targets
            for task in task_names(target.name)
        },
        "targets": {
            target.name: {"benchmarks": list(task_names(target.name))}
            for target in settings.targets
        },
        "selection": {
            "level": "domain",
            "estimator": "spearmanr",
            "projection": "linear",
            "keep_ratio": settings.keep_ratio,
            "tokenizer": "./tokenizer",
            "fasttext": {
                "dim": 32,
                "bucket": settings.fasttext_buckets,
                "epoch": settings.fasttext_epochs,
                "lr": 0.5,
            },
        },
        "validation": {
            "bootstrap": settings.bootstrap,
            "halvings": settings.halvings,
            "permutations": settings.permutations,
            "seed": settings.seed,
        },
        "pools": {
            POOL: {
                "sample": SAMPLE,
                "files": ["pool/*.jsonl.gz"],
                "text_column": "text",
                "id_column": "id",
                "token_budget": settings.token_budget,
                "format": "jsonl.zst",
                # Where unfinished translations score high, so does the same English many times.
                "near_duplicates": {},
                # Random documents are drawn anew for each seed (`selections`).
                "methods": [name for name in settings.methods if name != "random"],
            }
        },
        "compute": {"mode": "local", "max_parallel_llms": settings.processes, "threads": 1},
    }
