"""Which URLs may stand in the file.

Belongs here: telling a URL from a path, and refusing those that hold a secret or name nothing
that can be read. Does not belong here: opening one (the room `storage`).
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

from pcorr_assets.config.section import said, shown

LONGEST_URL = 4000
SCHEMES = ("s3", "gs", "az", "hf", "https", "http")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_SECRET = re.compile(
    r"sig|signature|token|key|secret|password|passwd|pwd|credential|auth|code", flags=re.IGNORECASE
)
NO_SECRETS = (
    "expected one without: secrets come from the environment (AWS_SECRET_ACCESS_KEY, HF_TOKEN, "
    "...) or from the provider's login"
)


def is_url(text: object) -> bool:
    """Is it written as a URL, of whatever kind?"""
    return isinstance(text, str) and _URL.match(text) is not None


def scheme_of(url: str) -> str:
    """`s3`, `gs`, `az`, `hf`, `https` or `http`."""
    return url.partition("://")[0].lower()


def checked_url(text: str) -> str:
    """The URL if it is one that can be read and holds no secret; raises a mistake otherwise.

    The mistake never repeats what may be a secret.
    """
    scheme = scheme_of(text)
    if scheme not in SCHEMES:
        raise said(
            f"got a URL that begins with {scheme + '://'!r}; expected one of "
            f"{', '.join(f'{name}://' for name in SCHEMES)}"
        )
    host, _, rest = text.partition("://")[2].partition("/")
    if "@" in host and scheme != "hf":
        raise said(f"got a URL with a user or a password in it; {NO_SECRETS}")
    if scheme in ("https", "http"):
        names = [name for name, _ in parse_qsl(urlsplit(text).query, keep_blank_values=True)]
        if any(_SECRET.search(name) for name in names):
            raise said(f"got a URL that is signed, or has a key in it; {NO_SECRETS}")
        if re.search(r"[*\[\]]", text):
            raise said(
                "got a pattern on a web server, which has no list of its files; expected the URL "
                "of each"
            )
    if not host or not rest.strip("/") or not text.isprintable() or len(text) > LONGEST_URL:
        raise said(
            f"got {shown(text)}; expected a bucket (or host) in the URL, and behind a slash what "
            "to read in it"
        )
    return text


def path_of(url: str) -> str:
    """The URL without its query, which only a web server's has: `?` is no end elsewhere."""
    return url.partition("?")[0] if url.startswith(("https://", "http://")) else url
