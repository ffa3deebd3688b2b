"""Grammar of the keys that name partitions, and the file names made of them.

Belongs here: what a key may look like and its path-safe slug. Does not belong here:
what a key stands for (`settings`), or where files lie (`warehouse`).

Dagster checks none of this when a partition is added through its API, so every
entrance (the YAML file, the sensor, a run that was launched) calls these checks.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from pcorr_assets.errors import PcorrError

LLM_KEY_GRAMMAR = "[A-Za-z0-9][A-Za-z0-9._/@+-]*"
NAME_KEY_GRAMMAR = "[A-Za-z0-9][A-Za-z0-9._-]*"
MAX_NAME_LENGTH = 100
MAX_SLUG_BYTES = 199

_LLM_KEY = re.compile(LLM_KEY_GRAMMAR)
_NAME_KEY = re.compile(NAME_KEY_GRAMMAR)
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_HUB_ID = re.compile(rf"(?!.*(?:--|\.\.))(?:({_PART})/)?{_PART}")


def check_llm_key(key: str) -> str:
    """Return `key` if it may name an LLM (`org/name`, `org/name@revision` or a local key).

    Raises PcorrError for anything else: characters outside `[A-Za-z0-9._/@+-]`, a first
    character that is no letter or digit, `..`, an empty part between two slashes, more
    than one `@` or nothing before or after it, the revision `main` (it is left out of a
    key, so that one LLM has one key), or a slug of 200 bytes or more.
    """
    problem = llm_key_problem(key)
    if problem:
        raise PcorrError(f"{key!r} cannot be the key of an LLM: {problem}")
    return key


def check_name_key(key: str, what: str = "key") -> str:
    """Return `key` if it may name a sample, target, pool, benchmark or family.

    `what` is the word for it in the message. Raises PcorrError otherwise.
    """
    problem = name_key_problem(key)
    if problem:
        raise PcorrError(f"{key!r} cannot be a {what}: {problem}")
    return key


def llm_key_problem(key: object) -> str | None:
    """What is wrong with an LLM key, as the end of a sentence, or None if nothing is."""
    if not isinstance(key, str) or not _LLM_KEY.fullmatch(key):
        return (
            "expected a letter or digit, then letters, digits and . _ / @ + - only "
            f"({LLM_KEY_GRAMMAR})"
        )
    if ".." in key:
        return "two dots in a row are refused (Dagster reads '...' as a range of partitions)"
    if any(part in ("", ".") for part in key.split("/")):
        return "every part between slashes needs a name (no '//', no './', no '/' at the end)"
    name, at, revision = key.partition("@")
    if "@" in revision:
        return "at most one '@' is allowed, before the revision"
    if at and not revision[:1].isalnum():
        return "a revision starts with a letter or digit and stands after '@'"
    if revision == "main":
        return f"the revision main is left out of a key; write {name!r}"
    if name.endswith("/"):
        return "a name is missing before '@'"
    if len(_encode(key)) > MAX_SLUG_BYTES:
        return (
            f"it is too long: its file name would have {len(_encode(key))} bytes, at most "
            f"{MAX_SLUG_BYTES} are allowed ('/', '@' and '+' take three each)"
        )
    return None


def name_key_problem(key: object) -> str | None:
    """What is wrong with a sample, target, pool... key, or None if nothing is."""
    if not isinstance(key, str) or not _NAME_KEY.fullmatch(key):
        return (
            "expected a letter or digit, then letters, digits and . _ - only "
            f"({NAME_KEY_GRAMMAR}), at most {MAX_NAME_LENGTH} characters"
        )
    if "..." in key:
        return "'...' is refused (Dagster reads it as a range of partitions)"
    if len(key) > MAX_NAME_LENGTH:
        return f"it has {len(key)} characters, at most {MAX_NAME_LENGTH} are allowed"
    return None


def pilot_key(sample: str) -> str:
    """The key of the pilot of a sample: no sample of the file can have it, for its mark."""
    return f"{sample}@pilot"


def hub_llm_key(name: str, revision: str = "main") -> str:
    """The key of a hub LLM: its name, and `@revision` unless that is `main`."""
    return name if revision == "main" else f"{name}@{revision}"


def is_hub_id(text: str) -> bool:
    """Whether `text` may name a repository of the Hugging Face hub, `name` or `org/name`."""
    return _HUB_ID.fullmatch(text) is not None


def split_hub_key(key: str) -> tuple[str, str] | None:
    """`(org/name, revision)` of a hub LLM's key; None if the key has no such form."""
    name, at, revision = key.partition("@")
    if "/" not in name or not is_hub_id(name):
        return None
    return name, revision if at else "main"


def to_slug(key: str) -> str:
    """One file name for one key: percent-encoded, so that `from_slug` gives the key back.

    Letters, digits and `. _ - ~` stay; every other byte of the UTF-8 form, and a dot at
    the start, becomes `%XX`. A slug therefore holds no separator, is never hidden, `.` or
    `..`, and two keys never share one. (They may still meet on a file system that ignores
    case, if they differ in nothing but case; the configuration refuses such pairs.)

    Raises PcorrError if `key` is empty, is not valid Unicode, or would need 200 bytes or more.
    """
    if not key:
        raise PcorrError("an empty key has no file name; give every partition a name")
    try:
        slug = _encode(key)
    except UnicodeEncodeError as error:
        raise PcorrError(f"{key!r} is not valid Unicode, so it has no file name") from error
    if len(slug) > MAX_SLUG_BYTES:
        raise PcorrError(
            f"{key!r} is too long: its file name would have {len(slug)} bytes, at most "
            f"{MAX_SLUG_BYTES} are allowed; shorten it"
        )
    return slug


def from_slug(slug: str) -> str:
    """The key that `to_slug` made `slug` of; PcorrError if `to_slug` can not have made it."""
    try:
        key = unquote(slug, errors="strict")
        if key and to_slug(key) == slug:
            return key
    except (UnicodeDecodeError, PcorrError):
        pass
    raise PcorrError(f"{slug!r} is not a file name made of a key; was the file renamed?")


def _encode(key: str) -> str:
    slug = quote(key, safe="")
    return "%2E" + slug[1:] if slug.startswith(".") else slug
