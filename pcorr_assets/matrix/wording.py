"""Long lists in short sentences.

Belongs here: how reports and error messages of this room name many things. Does not
belong here: the sentences themselves.
"""

from __future__ import annotations

from collections.abc import Iterable

NAMES_SHOWN = 10


def name_some(names: Iterable[str], shown: int = NAMES_SHOWN) -> str:
    """The names with commas between them; beyond `shown`, how many more there are."""
    every = list(names)
    text = ", ".join(every[:shown])
    return text if len(every) <= shown else f"{text} and {len(every) - shown:,} more"


def count(number: int, thing: str) -> str:
    """`1 chunk`, `1,234 chunks`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
