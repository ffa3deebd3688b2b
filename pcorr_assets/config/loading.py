"""Finding and reading `pcorr.yaml`, and reporting all of its mistakes at once.

Belongs here: the way from a file to `Settings`. Does not belong here: what is allowed
in it (the sections) and anything that uses the settings.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pcorr_assets.config.section import Location, Mistake, mistakes_of, path_text, shown
from pcorr_assets.config.settings import Settings
from pcorr_assets.config.yaml_reader import Document, Lines, read_yaml
from pcorr_assets.errors import PcorrError

CONFIG_VARIABLE = "PCORR_CONFIG"
DEFAULT_CONFIG = "pcorr.yaml"
# The paper's configuration has 12 kB.
MAX_BYTES = 1_000_000
MISTAKES_SHOWN = 100


def find_config() -> Path | None:
    """The file `$PCORR_CONFIG` names, else `pcorr.yaml` in the working directory, else None.

    Raises PcorrError if the variable names something that is not a file, and if
    `pcorr.yaml` is a folder or a pipe.
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
    if default.is_file():
        return default
    if os.path.lexists(default):
        raise PcorrError(f"{default} is not a file (or a link to one); move it away, or mend it")
    return None


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
    """The text of a configuration file; PcorrError if it is not there, no text or too large."""
    content = _read_bytes(path)
    if len(content) > MAX_BYTES:
        raise PcorrError(
            f"{path}: larger than {MAX_BYTES:,} bytes, so probably not the configuration; name the "
            "right file, or use globs instead of long lists of files"
        )
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise PcorrError(f"{path}: UTF-16, not UTF-8; save the file with that encoding")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PcorrError(
            f"{path}, line {line}: not UTF-8 (byte {error.start}); save the file with that encoding"
        ) from None


def _read_bytes(path: Path) -> bytes:
    """The content of a file, of which a byte more than allowed at most."""
    if path.exists() and not path.is_file():
        # Opening a pipe would wait for its other end.
        raise PcorrError(f"{path}: cannot be read (it is not a file); name the file itself")
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
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
    raise PcorrError(mistakes_text(found, source, lines))


def mistakes_text(found: Iterable[Mistake], source: str, lines: Lines) -> str:
    """All mistakes of a file in one text, in the order of their lines."""
    in_order = sorted(found, key=lambda mistake: _line(mistake[0], lines) or 0)
    texts = list(dict.fromkeys(_sentence(place, text, lines) for place, text in in_order))
    count = "1 mistake" if len(texts) == 1 else f"{len(texts):,} mistakes"
    more = len(texts) - MISTAKES_SHOWN
    ending = [f"and {more:,} more"] if more > 0 else []
    return "\n  ".join([f"{source}: {count}", *texts[:MISTAKES_SHOWN], *ending])


def _sentence(place: Location, text: str, lines: Lines) -> str:
    line = _line(place, lines)
    where = f"{path_text(place)}: " if place else ""
    return f"{where}{text}" + (f" (line {line})" if line else "")


def _line(place: Location, lines: Lines) -> int | None:
    """The line of a place, or of the nearest place around it that the file has."""
    keys = tuple(str(part) for part in place if part != "[key]")
    while keys:
        if keys in lines:
            return lines[keys]
        keys = keys[:-1]
    return None
