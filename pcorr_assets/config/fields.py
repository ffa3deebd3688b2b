"""Types of single values in the file, each with one phrase for what it accepts.

Belongs here: checks that look at one value alone. Does not belong here: checks between
keys (the `rules` of a section) and whether a file is there, which its reader finds out.

Every check runs before pydantic's own, so that its messages never reach the user.
"""

from __future__ import annotations

import glob
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ValidationInfo

from pcorr_assets.config.keys import is_hub_id, llm_key_problem, name_key_problem
from pcorr_assets.config.section import expected, said, shown
from pcorr_assets.config.urls import checked_url, is_url, path_of

LARGEST_SEED = 2**31 - 1
LONGEST_TEXT = 1000
LONGEST_PATH = 4095
LONGEST_FILE_NAME = 255
_LARGEST_WHOLE = 2**63 - 1
_YES_NO = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}

# Of every sample; others are named by `unit_columns`.
BASE_LEVELS = ("chunk", "page", "domain")
COMBINED = " | "
Estimator = Literal["product", "sign", "sign_cdf", "sign_sign", "spearmanr", "auto"]
Projection = Literal["linear", "l2"]
Dtype = Literal["auto", "float32", "float16", "bfloat16"]
Overlong = Literal["error", "nan", "window"]
# Those of transformers that are no code from the hub.
Attention = Literal["eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"]


def whole_number(low: int, high: int = _LARGEST_WHOLE) -> BeforeValidator:
    """A whole number from `low` to `high`; 3e9 is one, true and "512" are not."""
    if high < _LARGEST_WHOLE:
        what = f"a whole number from {low} to {high}"
    else:
        what = f"a whole number above {low - 1}" if low > 0 else f"a whole number, {low} or more"

    def check(value: object) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise expected(value, what)
        return value

    return BeforeValidator(check)


def number(what: str, accepts: Callable[[float], bool]) -> BeforeValidator:
    """A finite number that `accepts` takes; `what` is the phrase for it."""

    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise expected(value, what)
        try:
            checked = float(value)
        except OverflowError:
            raise expected(value, what) from None
        if not math.isfinite(checked) or not accepts(checked):
            raise expected(value, what)
        return checked

    return BeforeValidator(check)


def _batch_tokens(value: object) -> object:
    if value == "auto":
        return value
    try:
        return whole_number(1).func(value)  # pyright: ignore[reportCallIssue]
    except ValueError:
        raise expected(value, "a whole number above 0, or auto") from None


def one_of(*words: str) -> BeforeValidator:
    """One of the given words."""
    listed = " | ".join(words)

    def check(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        raise expected(value, f"one of {listed}")

    return BeforeValidator(check)


def matching(pattern: str, what: str) -> BeforeValidator:
    """A text that matches the regular expression as a whole."""
    grammar = re.compile(pattern)

    def check(value: object) -> str:
        fits = isinstance(value, str) and len(value) <= LONGEST_TEXT
        if not isinstance(value, str) or not fits or not grammar.fullmatch(value):
            raise expected(value, what)
        return value

    return BeforeValidator(check)


def _text(value: object) -> str:
    if isinstance(value, str) and value.strip() and value.isprintable():
        return value
    quotes = isinstance(value, int | float) and not isinstance(value, bool)
    raise expected(value, "a text" + (" (write it in quotes)" if quotes else " on one line"))


def _yes_or_no(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _YES_NO:
        return _YES_NO[value.lower()]
    raise expected(value, "true or false")


def folder_of(info: ValidationInfo) -> Path:
    """The folder that relative paths start from: the file's, else the working directory."""
    folder = info.context.get("folder") if isinstance(info.context, Mapping) else None
    return Path(folder) if folder else Path.cwd()


def absolute(text: str, folder: Path) -> Path:
    """`text` below `folder` unless it is absolute; `~` is the user's home."""
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise said(f"got {shown(text)}; there is no such home folder ({error})") from None
    whole = os.path.normpath(folder / path)
    encoded = whole.encode("utf-8", "surrogatepass")
    if len(encoded) > LONGEST_PATH or max(map(len, encoded.split(b"/"))) > LONGEST_FILE_NAME:
        raise said(
            f"got {shown(text)}; a path has at most {LONGEST_PATH} bytes, and {LONGEST_FILE_NAME} "
            "between two slashes"
        )
    return Path(whole)


def _path(value: object, info: ValidationInfo) -> Path:
    what = "a path on this machine"
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str) or not value.strip() or "\0" in value or is_url(value):
        raise expected(value, what)
    return absolute(value, folder_of(info))


def _hub_or_folder(value: object, info: ValidationInfo) -> str:
    """A local folder if it is written as a path or is there, else a name on the hub."""
    what = "a name on the Hugging Face hub (org/name) or the path of a local folder"
    if not isinstance(value, str) or not value.strip() or "\0" in value or is_url(value):
        raise expected(value, what)
    path = absolute(value, folder_of(info))
    if value[0] in "./~" or os.path.isdir(path):
        return str(path)
    if not is_hub_id(value):
        raise expected(value, f"{what}; {path} is no folder")
    return value


def _tokenizer(value: object, info: ValidationInfo) -> str:
    """As `_hub_or_folder`; a hub name may be pinned as `org/name@revision`."""
    if isinstance(value, str) and value[:1] not in "./~":
        name, at, revision = value.partition("@")
        if at and is_hub_id(name) and not os.path.isdir(absolute(value, folder_of(info))):
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]*", revision):
                raise expected(value, "a branch, tag or commit after '@'")
            return value
    return _hub_or_folder(value, info)


def globs(formats: Collection[str], endings: str) -> BeforeValidator:
    """Files named by patterns (`*`, `**`, `?`, `[..]`), at least one, that end in a format's
    name (anyhow where the section has a `file_format`); `endings` is the phrase for them.

    The value is a list of absolute patterns for `glob.glob(..., recursive=True)`, in which
    characters of the configuration's own folder are escaped, and of URLs with patterns.
    """
    what = f"a path or a list of paths or globs, ending in one of {endings}"
    accepted = (*(f".{name}" for name in formats), "*")

    def check(value: object, info: ValidationInfo) -> list[str]:
        patterns = [value] if isinstance(value, str) else value
        if not isinstance(patterns, list) or not patterns:
            raise expected(value, what)
        any_ending = info.data.get("file_format") is not None
        checked: list[str] = []
        for pattern in patterns:
            if not isinstance(pattern, str) or not pattern.strip():
                raise expected(pattern, what)
            url = checked_url(pattern) if is_url(pattern) else None
            named = pattern if url is None else path_of(url)
            if "\0" in pattern or not (any_ending or named.endswith(accepted)):
                raise expected(pattern, what)
            if url is not None:
                checked.append(url)
                continue
            path = str(absolute(pattern, Path("/")))
            if not pattern.startswith(("/", "~")):
                folder = Path(glob.escape(str(folder_of(info))))
                path = str(absolute(pattern, folder))
            checked.append(path)
        return checked

    return BeforeValidator(check)


def list_of(what: str) -> BeforeValidator:
    """A list with at least one element and none twice; a single text is a list of one."""

    def check(value: object) -> list[Any]:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list) or not items:
            raise expected(value, f"a list of at least one {what}")
        times = Counter(item for item in items if isinstance(item, str))
        twice = [item for item, count in times.items() if count > 1]
        if twice:
            raise said(f"{twice[0]!r} stands twice in the list; remove one")
        return items

    return BeforeValidator(check)


def _level(value: object) -> str:
    problem = name_key_problem(value)
    if problem or not isinstance(value, str):
        raise expected(value, "chunk, page, domain or a name of unit_columns")
    return value


def _matrix_level(value: object) -> str:
    """Any name, for a matrix may be of topics; but no slip of the pen for the usual ones."""
    found = _level(value)
    if found not in BASE_LEVELS and get_close_matches(found.lower(), BASE_LEVELS, 1, 0.85):
        raise expected(value, f"one of {' | '.join(BASE_LEVELS)}")
    return found


def _unit_columns(value: object) -> dict[str, list[str]]:
    """`{level: columns}`; a list, or a single text, names levels like their columns."""
    what = "a column, a list of columns, or a mapping from the name of each level to its columns"
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list):
        if not all(isinstance(name, str) for name in value):
            raise expected(value, what)
        if len(set(value)) < len(value):
            raise said("a column stands twice in the list; remove one")
        value = {name: name for name in value}
    if not isinstance(value, Mapping) or not value:
        raise expected(value, what)
    found: dict[str, list[str]] = {}
    for level, columns in value.items():
        problem = name_key_problem(level)
        if problem:
            raise said(
                f"{level!r} cannot name a level: {problem}; write it as `level_name: column`"
            )
        if level in BASE_LEVELS:
            raise said(f"the level {level} is there already; choose another name (its {level}s)")
        listed = [columns] if isinstance(columns, str) else columns
        if not isinstance(listed, list) or not listed or not all(map(_is_text, listed)):
            raise expected(columns, f"a column, or a list of columns, for the level {level}")
        found[str(level)] = listed
    return found


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()


def by_key(what: str) -> BeforeValidator:
    """A mapping from keys to sections; a key without a body has an empty one."""

    def check(value: object) -> dict[Any, Any]:
        if not isinstance(value, Mapping):
            raise expected(value, f"a mapping from the key of each {what} to its settings")
        return {key: {} if body is None else body for key, body in value.items()}

    return BeforeValidator(check)


def _key(problem_of: Callable[[object], str | None]) -> BeforeValidator:
    def check(value: object) -> str:
        problem = problem_of(value)
        if not isinstance(value, str) and problem:
            problem = f"{value!r} is no text, write it in quotes; {problem}"
        if problem:
            raise said(f"this key is refused: {problem}")
        return str(value)

    return BeforeValidator(check)


Text = Annotated[str, BeforeValidator(_text)]
YesNo = Annotated[bool, BeforeValidator(_yes_or_no)]
AbsolutePath = Annotated[Path, BeforeValidator(_path)]
HubOrFolder = Annotated[str, BeforeValidator(_hub_or_folder)]
TokenizerName = Annotated[str, BeforeValidator(_tokenizer)]
NameKey = Annotated[str, _key(name_key_problem)]
LLMKey = Annotated[str, _key(llm_key_problem)]
Positive = Annotated[int, whole_number(1)]
BatchTokens = Annotated[int | Literal["auto"], BeforeValidator(_batch_tokens)]
NonNegative = Annotated[int, whole_number(0)]
Seed = Annotated[int, whole_number(0, LARGEST_SEED)]
Share = Annotated[float, number("a number above 0, at most 1", lambda x: 0 < x <= 1)]
ZeroToOne = Annotated[float, number("a number from 0 to 1", lambda x: 0 <= x <= 1)]
Number = Annotated[float, number("a number", lambda x: True)]
PositiveNumber = Annotated[float, number("a number above 0", lambda x: x > 0)]
LevelField = Annotated[str, BeforeValidator(_level)]
MatrixLevel = Annotated[str, BeforeValidator(_matrix_level)]
UnitColumns = Annotated[dict[str, list[str]], BeforeValidator(_unit_columns)]
EstimatorField = Annotated[
    Estimator, one_of("product", "sign", "sign_cdf", "sign_sign", "spearmanr", "auto")
]
ProjectionField = Annotated[Projection, one_of("linear", "l2")]
DtypeField = Annotated[Dtype, one_of("auto", "float32", "float16", "bfloat16")]
OverlongField = Annotated[Overlong, one_of("error", "nan", "window")]
AttentionField = Annotated[
    Attention,
    one_of("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"),
]
