"""Markdown of strings that come from data.

Belongs here: escaping, tables and code. Does not belong here: what a card says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")


def words(text: object) -> str:
    """Text that stands as it is, on one line, whatever it holds."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def code(text: object) -> str:
    """A name as code, which stands in a table as well."""
    plain = " ".join(str(text).split()).replace("`", "'")
    return f"`{plain}`" if "|" not in plain else words(plain)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells are Markdown already; "none" if there are no rows."""
    lines = [" | ".join(row) for row in rows]
    if not lines:
        return "none"
    head = [" | ".join(header), " | ".join("---" for _ in header)]
    return "\n".join(f"| {line} |" for line in (*head, *lines))


def sections(parts: Iterable[tuple[str, str]]) -> str:
    """Headings of the second level with what stands below them."""
    return "\n\n".join(f"## {heading}\n\n{text.strip()}" for heading, text in parts)
