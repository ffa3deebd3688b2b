"""Rows of a source with the place where each stands, and what their values mean.

Belongs here: the one rule for what is a text and what is a key (an id or a domain), for
samples and pools alike. Does not belong here: reading files (`files`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pcorr_assets.errors import PcorrError
from pcorr_assets.text.cleaning import decode_lossless

Row = dict[str, Any]

PLACES_SHOWN = 5


class Rows(list[Row]):
    """A batch of rows; `place` says where each of them stands.

    Args:
        where: how messages name the source.
        numbers: of the rows, as `unit` (`line` or `row`) counts them, from 1.
    """

    def __init__(
        self, rows: Iterable[Row], where: str, numbers: Sequence[int], unit: str = "row"
    ) -> None:
        super().__init__(rows)
        self.where = where
        self.numbers = numbers
        self.unit = unit

    def place(self, index: int) -> str:
        """File and line of the row at that index, for messages."""
        return f"{self.where}, {self.unit} {self.numbers[index]:,}"

    def replaced(self, rows: Iterable[Row]) -> Rows:
        """Other rows at the same places."""
        return Rows(rows, self.where, self.numbers, self.unit)


@dataclass
class TextColumn:
    """The text column of one source: what its values are, and whether it is the right one.

    A text is a string, or bytes, which are UTF-8. NULL and NaN are no text. A value of any
    other type is no text either: it is counted in `other_types`.
    """

    name: str
    texts: int = 0
    other_types: int = 0
    first_other: str = ""

    def text(self, rows: Rows, index: int) -> tuple[str | None, str | None]:
        """The text of a row, which may hold lone surrogates, or None where there is none;
        and place and type of a value that is of another type."""
        value = rows[index].get(self.name)
        text = text_of(value)
        if text is not None:
            self.texts += 1
            return text, None
        if is_missing(value):
            return None, None
        other = f"{rows.place(index)} ({type(value).__name__})"
        self.other_types += 1
        self.first_other = self.first_other or other
        return None, other

    def refuse_if_no_text(self, where: str) -> None:
        """PcorrError if the source has values in the column, and none of them is a text."""
        if self.other_types and not self.texts:
            raise PcorrError(
                f"{where}: column {self.name!r} holds no text: none of its {self.other_types:,} "
                f"values is a string; the first: {self.first_other}. Name the column that holds "
                "the text (text_column), or leave this file out"
            )


def note_place(places: list[str], place: str) -> None:
    """Keep the place if it is among the first few."""
    if len(places) < PLACES_SHOWN:
        places.append(place)


def text_of(value: object) -> str | None:
    """A string, or bytes as UTF-8 (invalid ones become lone surrogates); else None."""
    if isinstance(value, bytes):
        return decode_lossless(value)
    return value if isinstance(value, str) else None


def key_of(value: object) -> str | None:
    """An id or a domain as a string; None where there is none: missing, NaN or blank."""
    if is_missing(value):
        return None
    key = text_of(value)
    if key is None:
        key = str(value)
    return key if key.strip() else None


def is_missing(value: object) -> bool:
    """NULL or NaN, which is how pandas writes a missing string."""
    return value is None or (isinstance(value, float) and math.isnan(value))
