"""What goes to the hub: the files of a filter, a selection or a matrix, whole and with a card.

Belongs here: which files, under which names, and what speaks against giving them away. Does
not belong here: pushing them (`hub`), and whether they are stale, which only Dagster knows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pcorr_assets.cards.facts import read_card_facts
from pcorr_assets.cards.filter_card import filter_card, model_name, thresholds
from pcorr_assets.cards.matrix_card import matrix_card
from pcorr_assets.cards.selection_card import selection_card, selection_folder, without_folder
from pcorr_assets.config import Settings
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.training import find_filter, load_filter
from pcorr_assets.matrix.exports import PublishedFiles
from pcorr_assets.steps.verdicts import verdict_of
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import sha256_file
from pcorr_assets.warehouse.json_files import read_json
from pcorr_assets.warehouse.verification import CARD, MANIFEST

# What is pushed names itself here, so that it can be told from what somebody else put there.
NOTE = "pcorr.json"

RepoType = Literal["model", "dataset"]


@dataclass(frozen=True)
class Publication:
    """What would be pushed: `files` by their names in the repository, without the card.

    `about` says what it is (kind and keys) and goes with it. `objections` are sentences on why
    it should stay at home.
    """

    repo_type: RepoType
    about: Mapping[str, Any]
    files: Mapping[str, Path | bytes]
    objections: tuple[str, ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file."""
        return {
            name: len(one) if isinstance(one, bytes) else one.stat().st_size
            for name, one in self.files.items()
        }

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        keys = (str(self.about[key]) for key in ("sample", "pool", "target") if key in self.about)
        return f"{self.about['kind']} {'|'.join(keys)}"


def filter_publication(
    wh: Warehouse,
    settings: Settings,
    sample: str,
    target: str,
    repo: str,
    earlier: Sequence[str] = (),
) -> Publication:
    """The filter of a sample and target, its card, and what it is in JSON.

    Raises:
        PcorrError: there is none, or its file is not as it was written.
    """
    if not settings.samples[sample].is_text:
        raise PcorrError(f"Sample {sample!r} is an imported matrix, which has no filter")
    if not wh.exists("fasttext_filters", sample, target):
        raise PcorrError(f"There is no filter of {sample}|{target}: materialise fasttext_filter")
    load_filter(wh, sample, target)
    facts = read_card_facts(wh, settings, sample, target)
    assert facts.filter is not None
    row = facts.filter.row
    objections = [*_objections(wh, sample, target)]
    if facts.filter.beats_random is False:
        objections.append("at the budget the filter is no better than random filters are")
    about = {
        "kind": "filter",
        "sample": sample,
        "target": target,
        "filter_sha256": row["sha256"],
        "verdict": facts.verdict.state,
        "labels": {"keep": "__label__include", "other": "__label__exclude"},
        "thresholds": thresholds(wh, settings, facts),
    }
    card = filter_card(wh, settings, sample, target, repo=repo, earlier=earlier)
    path = find_filter(wh, sample, target).path
    return _publication("model", about, {model_name(row): path}, card, objections)


def selection_publication(
    wh: Warehouse,
    settings: Settings,
    pool: str,
    target: str,
    earlier: Sequence[str] = (),
) -> Publication:
    """The documents that were selected from a pool for a target, their manifest and card.

    Raises:
        PcorrError: there are none, or a file is not as it was written.
    """
    folder = selection_folder(wh.home, pool, target)
    if not (folder / MANIFEST).is_file():
        raise PcorrError(f"Nothing is selected for {pool}|{target}: materialise selected_data")
    manifest = read_json(folder / MANIFEST)
    files: dict[str, Path | bytes] = {MANIFEST: _given_away(manifest)}
    for part in manifest["files"]:
        path = folder / part["file"]
        if not path.is_file() or sha256_file(path) != part["sha256"]:
            raise PcorrError(
                f"{path} is gone, or not as it was written: materialise selected_data again"
            )
        files[part["file"]] = path
    sample = str(manifest["sample"])
    about = {
        "kind": "selection",
        "pool": pool,
        "sample": sample,
        "target": target,
        "filter_sha256": manifest["filter_sha256"],
        "verdict": verdict_of(wh, sample, target),
    }
    card = selection_card(wh, settings, pool, target, manifest, earlier=earlier)
    return _publication("dataset", about, files, card, [*_objections(wh, sample, target)])


def matrix_publication(
    wh: Warehouse,
    settings: Settings,
    sample: str,
    levels: Sequence[PublishedFiles],
    earlier: Sequence[str] = (),
) -> Publication:
    """The files that the matrix of a sample was exported to, and their card."""
    files: dict[str, Path | bytes] = {path.name: path for one in levels for path in one.paths}
    about = {"kind": "matrix", "sample": sample, "levels": [one.level for one in levels]}
    card = matrix_card(wh, settings, sample, levels, earlier=earlier)
    return _publication("dataset", about, files, card, [])


def _publication(
    repo_type: RepoType,
    about: Mapping[str, Any],
    files: Mapping[str, Path | bytes],
    card: str,
    objections: Sequence[str],
) -> Publication:
    stated = [
        {"file": name, "sha256": sha256_file(one)}
        for name, one in files.items()
        if isinstance(one, Path)
    ]
    note = json.dumps({**about, "files": stated}, indent=2, ensure_ascii=False) + "\n"
    whole = {CARD: card.encode(), NOTE: note.encode(), **files}
    return Publication(repo_type, about, whole, tuple(objections))


_AT_HOME = ("config", "run_id", "contaminated_examples")


def _given_away(manifest: Mapping[str, Any]) -> bytes:
    """A manifest without what is of this house: paths, settings of the pool, the run; and without
    the words of benchmarks in documents that were left out."""
    kept = {key: value for key, value in manifest.items() if key not in _AT_HOME}
    kept["token_source"] = without_folder(str(manifest["token_source"]))
    kept["files"] = [
        {key: value for key, value in part.items() if key != "source"} for part in manifest["files"]
    ]
    return (json.dumps(kept, indent=2, ensure_ascii=False) + "\n").encode()


def _objections(wh: Warehouse, sample: str, target: str) -> Sequence[str]:
    verdict = verdict_of(wh, sample, target)
    if verdict is None:
        return [f"the estimate of {sample}|{target} was not validated (rank_prediction)"]
    return [f"the verdict on {sample}|{target} is {verdict}"] if verdict == "no-go" else []
