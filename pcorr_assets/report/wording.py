"""Strings from data as they may stand in a page: shortened, harmless, linked if safe.

Belongs here: which identifiers become links, and how texts are cut. Does not belong here:
escaping, which the templates do to every string.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import urlsplit

MAX_LINK = 400
MAX_NAME = 90
MAX_SNIPPET = 200

_HOSTNAME = re.compile(
    r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]", re.IGNORECASE
)
_URL = re.compile(r"https?://[A-Za-z0-9._~:/?#\[\]@!$&()*+,;=%-]+", re.IGNORECASE)
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
# Marks that reorder the text around them: in a page of others' strings they can only mislead.
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def page_link(page_id: str) -> str | None:
    """The id as a link if it is a plain http(s) URL with a host, else None.

    Anything with another scheme, a user name (`https://bank.example@evil.example`), or
    characters that a URL has no use for is shown as text only.
    """
    if len(page_id) > MAX_LINK or not _URL.fullmatch(page_id):
        return None
    try:
        parts = urlsplit(page_id)
        _ = parts.port
    except ValueError:
        return None
    if not parts.hostname or parts.username is not None or parts.password is not None:
        return None
    return page_id


def domain_link(domain: str) -> str | None:
    """`https://domain` if the domain looks like a hostname, else None."""
    return f"https://{domain}" if _HOSTNAME.fullmatch(domain) else None


def llm_link(name: str | None, commit: str | None) -> str | None:
    """The LLM's page on the hub at its commit; None for local folders and imports."""
    if name is None or commit is None:
        return None
    if not _HUB_NAME.fullmatch(name) or not _COMMIT.fullmatch(commit):
        return None
    return f"https://huggingface.co/{name}/tree/{commit}"


def shown(text: str, limit: int = MAX_NAME) -> str:
    """A text on one line, cut to `limit` characters, without control and reordering marks."""
    head = " ".join(text[: 4 * limit].split())
    clean = "".join(
        "\ufffd" if unicodedata.category(c) in ("Cc", "Cs") or c in _REORDERING else c for c in head
    )
    return clean if len(clean) <= limit else f"{clean[: limit - 1]}…"
