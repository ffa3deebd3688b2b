"""Run the study on real text and write docs/evidence.md.

    python -m scripts.studies.real FOLDER [--small] [--seeds 5] [--processes 2]

Every stage keeps what it makes in FOLDER and continues there: packages, texts, LLMs, the tables of
the platform, selections, trained LLMs. `--small` runs the whole chain in seconds on what installed
packages ship; it finds nothing, and its page stays in FOLDER.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import replace
from pathlib import Path

from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import write_text
from scripts.studies.real.chain import run_chain
from scripts.studies.real.packages import fetch
from scripts.studies.real.page import write_page
from scripts.studies.real.proxies import train_proxies
from scripts.studies.real.selections import select
from scripts.studies.real.settings import FULL, SMALL, StudySettings
from scripts.studies.real.world import build_world

FACTS = "facts.json"
PAGE = Path(__file__).parents[3] / "docs" / "evidence.md"


def run(folder: Path, settings: StudySettings, debian: Path | None, page: Path) -> None:
    """All stages after fetching; `facts.json` has what the platform said of each target."""
    folder = folder.absolute()
    stated = build_world(folder, settings, debian)
    wh = Warehouse(stated.home)
    facts = run_chain(folder, stated, settings.processes)
    write_text(folder / FACTS, json.dumps(facts, indent=1) + "\n")
    for target in settings.targets:
        select(folder, wh, stated, target, settings.proxy_seeds)
    train_proxies(folder, settings)
    write_page(page, folder, settings, facts)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.small:
        run(options.folder, SMALL, None, options.folder / PAGE.name)
        return
    settings = replace(
        FULL, proxy_seeds=tuple(range(1, options.seeds + 1)), processes=options.processes
    )
    run(options.folder, settings, fetch(options.folder), PAGE)


if __name__ == "__main__":
    main()
