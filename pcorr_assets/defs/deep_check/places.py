"""Places that are written to or read: the home, Dagster's home, the language model, outputs.

Belongs here: whether they can be written or read, without making them. Does not belong
here: making them (`warehouse`, `defs.instance`).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pcorr_assets.config import Settings, Storage
from pcorr_assets.config.section import Location
from pcorr_assets.defs.deep_check.findings import Findings
from pcorr_assets.defs.instance import DEFAULT_HOME, HOME_VARIABLE
from pcorr_assets.storage.listing import refuse_unlisted

# Matrices and shards of a small run alone take this much.
BYTES_WANTED = 1_000_000_000


def check_home(settings: Settings, findings: Findings) -> None:
    """The home can be written and has room, or can be made."""
    _check_writable(("home",), settings.home, "home", findings)
    free = shutil.disk_usage(_nearest(settings.home)).free
    said = f"{free / 1e9:,.1f} GB are free where {settings.home} lies"
    if free < BYTES_WANTED:
        findings.add(("home",), f"only {said}; make room, or move home to a larger disk")
    else:
        findings.notes.append(said)


def check_dagster_home(settings: Settings, findings: Findings) -> None:
    """The folder of Dagster's records can be written, or made."""
    named = os.environ.get(HOME_VARIABLE, "").strip()
    if named:
        home = Path(named).expanduser()
        if not home.is_absolute():
            findings.add((), f"{HOME_VARIABLE} is {named!r}; it must be an absolute path")
            return
        _check_writable((), home, HOME_VARIABLE, findings)
    elif settings.path is not None:
        _check_writable((), settings.path.parent / DEFAULT_HOME, "Dagster's home", findings)


def check_language_models(settings: Settings, findings: Findings) -> None:
    """Files that identify languages are fastText models."""
    from pcorr_assets.filters.languages import identify_languages

    places: dict[Location, Path | None] = {
        ("selection", "language_model"): settings.selection.language_model,
        **{
            ("targets", key, "language_model"): target.language_model
            for key, target in settings.targets.items()
        },
    }
    for place, path in places.items():
        if path is not None:
            with findings.at(place):
                identify_languages([b"a few words"], path)


def check_output(place: Location, url: str, storage: Storage, findings: Findings) -> None:
    """The bucket is there and may be listed; nothing is put into it."""
    with findings.at(place):
        refuse_unlisted(url, storage)


def _check_writable(place: Location, folder: Path, what: str, findings: Findings) -> None:
    there = _nearest(folder)
    if not there.is_dir():
        findings.add(place, f"{what} {folder} cannot be made: {there} is no folder; move one")
    elif not os.access(there, os.W_OK | os.X_OK):
        done = "written" if there == folder else f"made, since {there} cannot be written"
        findings.add(
            place, f"{what} {folder} cannot be {done} by this user; change its permissions"
        )


def _nearest(path: Path) -> Path:
    """The path, or the nearest one above it that is there."""
    while not os.path.lexists(path):
        path = path.parent
    return path
