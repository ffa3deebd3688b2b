"""Who an LLM of a published file is: from a column name to a key, and back.

Belongs here: reading column names, giving every (family, name) its own key, and the
column name that gives a key. Does
not belong here: reading the files, and the keys of LLMs that are scored here (those
come from the config).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pcorr_assets.errors import PcorrError

LONGEST_COLUMN = 1000
_KEY_WITH_STEP = re.compile(r"@(step[0-9]+)\Z")
_STEP = re.compile(r"(?P<name>.+)_(?P<revision>step[0-9]+)")


@dataclass(frozen=True)
class Identity:
    """An imported LLM: its key, its family, and the name and revision of its weights."""

    key: str
    family: str
    name: str
    revision: str


def parse_column(column: str) -> tuple[str, str]:
    """(family, published name) of a column named `('family', 'org/name')` or `org/name`.

    The family of a plain name is its `org`, or the name itself where it has none.
    Raises PcorrError for a tuple that is not one of two names, and for blank names.
    """
    text = column.strip()
    if len(text) > LONGEST_COLUMN:
        raise PcorrError(_not_a_name(f"{column[:50]}..."))
    if not text.startswith("("):
        return _checked(column, text.split("/", maxsplit=1)[0], text)
    try:
        parts = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise PcorrError(_not_a_name(column)) from error
    match parts:
        case (str(family), str(name)):
            return _checked(column, family, name)
        case _:
            raise PcorrError(_not_a_name(column))


def identify(columns: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Identity]:
    """One identity for each different (family, published name), in the order given.

    Only a trailing `_step<digits>` is read as a revision. Where a name stands under
    several families, the first keeps the name as its key and the others get
    `+family`: give the columns of the BPB file first, so that the keys follow its
    order. Raises PcorrError where two of them would end in the same key.
    """
    identities: dict[tuple[str, str], Identity] = {}
    taken: dict[str, tuple[str, str]] = {}
    first_family: dict[str, str] = {}
    for family, published in dict.fromkeys(columns):
        name, revision, key = _name_and_revision(published)
        if first_family.setdefault(key, family) != family:
            key = f"{key}+{family}"
        if key in taken:
            raise PcorrError(
                f"The columns {taken[key]} and {(family, published)} both mean the LLM {key!r}; "
                "rename or remove one of them"
            )
        taken[key] = (family, published)
        identities[family, published] = Identity(key, family, name, revision)
    return identities


def published_name(key: str, family: str, is_import: bool) -> str:
    """The published name that `identify` reads as `key`, or as near to it as there is.

    Keys of an import may end in `+family`, which the column says by its family. Keys that end
    in `_step<digits>` have none: `identify` takes that for a revision.
    """
    suffix = f"+{family}"
    if is_import and key.endswith(suffix):
        key = key.removesuffix(suffix)
    return _KEY_WITH_STEP.sub(r"_\1", key)


def column_name(family: str, published: str) -> str:
    """The column of an LLM, as `parse_column` reads it: `('family', 'org/name')`."""
    return repr((family, published))


def _name_and_revision(published: str) -> tuple[str, str, str]:
    step = _STEP.fullmatch(published)
    if step:
        name, revision = step["name"], step["revision"]
        return name, revision, f"{name}@{revision}"
    name, _, revision = published.partition("@")
    return name, revision or "main", published


def _checked(column: str, family: str, name: str) -> tuple[str, str]:
    for part in (family, name):
        if not part.strip() or not part.isprintable():
            raise PcorrError(_not_a_name(column))
    return family, name


def _not_a_name(column: str) -> str:
    return (
        f"The column {column!r} names no LLM; expected ('family', 'org/name'), "
        "with _step<digits> appended for a checkpoint, or a plain org/name"
    )
