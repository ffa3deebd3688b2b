"""Finding and reading `pcorr.yaml`, and reporting all of its mistakes at once.

Belongs here: the way from a file to `Settings`. Does not belong here: what is allowed
in it (the sections) and anything that uses the settings.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pcorr_assets.config.section import Location, mistakes_of, path_text, shown
from pcorr_assets.config.settings import Settings
from pcorr_assets.config.yaml_reader import Document, Lines, read_yaml
from pcorr_assets.errors import PcorrError

CONFIG_VARIABLE = "PCORR_CONFIG"
DEFAULT_CONFIG = "pcorr.yaml"


def find_config() -> Path | None:
    """The file `$PCORR_CONFIG` names, else `pcorr.yaml` in the working directory, else None.

    Raises PcorrError if the variable names something that is not a file.
    """
    named = os.environ.get(CONFIG_VARIABLE, "").strip()
    if named:
        path = Path(os.path.abspath(os.path.expanduser(named)))
        if not path.is_file():
            raise PcorrError(
                f"{CONFIG_VARIABLE} names {path}, which is not a file; correct or unset it"
            )
        return path
    default = Path.cwd() / DEFAULT_CONFIG
    return default if default.is_file() else None


def load_settings(path: Path | None) -> Settings:
    """Read a configuration file; None or a file without content gives the defaults.

    Relative paths in the file start from its folder. Raises PcorrError that lists every
    mistake with its YAML path and line, or says why the file cannot be read.
    """
    if path is None:
        return settings_from({}, folder=Path.cwd())
    path = Path(os.path.abspath(path))
    return parse_settings(read_config(path), path)


def read_config(path: Path) -> str:
    """The text of a configuration file; PcorrError if it is not there or not UTF-8."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PcorrError(
            f"{path}: not UTF-8 (byte {error.start}); save the file with that encoding"
        ) from None
    except OSError as error:
        raise PcorrError(f"{path}: cannot be read ({error.strerror})") from None


def parse_settings(text: str, path: Path) -> Settings:
    """The settings of `text` as if it stood in the file `path`; mistakes as `load_settings`."""
    document = read_yaml(text, str(path))
    data = {} if document.data is None else document.data
    if not isinstance(data, Mapping):
        raise PcorrError(f"{path}: got {shown(data)}; expected a mapping (lines of `key: value`)")
    settings = settings_from(data, folder=path.parent, source=str(path), document=document)
    settings._path = path
    return settings


def settings_from(
    data: Mapping[str, Any],
    *,
    folder: Path,
    source: str = "configuration",
    document: Document | None = None,
) -> Settings:
    """Settings of a mapping as it stands in the file; relative paths start from `folder`.

    Raises PcorrError that lists every mistake; `source` and `document` say where.
    """
    found = list(document.twice) if document else []
    written = {key: value for key, value in data.items() if value is not None}
    try:
        settings = Settings.model_validate({"home": "data", **written}, context={"folder": folder})
        if not found:
            return settings
    except ValidationError as error:
        found += mistakes_of(error)
    lines = document.lines if document else {}
    in_order = sorted(found, key=lambda mistake: _line(mistake[0], lines) or 0)
    texts = dict.fromkeys(_sentence(place, text, lines) for place, text in in_order)
    count = "1 mistake" if len(texts) == 1 else f"{len(texts)} mistakes"
    raise PcorrError("\n  ".join([f"{source}: {count}", *texts]))


def _sentence(place: Location, text: str, lines: Lines) -> str:
    line = _line(place, lines)
    where = path_text(place)
    return f"{where}: {text}" + (f" (line {line})" if line else "")


def _line(place: Location, lines: Lines) -> int | None:
    """The line of a place, or of the nearest place around it that the file has."""
    keys = tuple(str(part) for part in place if part != "[key]")
    while keys:
        if keys in lines:
            return lines[keys]
        keys = keys[:-1]
    return None
