"""The base of every section of the file, which collects mistakes instead of stopping.

Belongs here: turning whatever a section finds wrong into sentences that name the key.
Does not belong here: the keys of any one section, and reading files (`loading`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

Location = tuple[int | str, ...]
Mistake = tuple[Location, str]

_SAID = "said"
_SHOWN_LENGTH = 60
_WORDS_SHOWN = 20
_WORDS_COMPARED = 200


def said(text: str) -> PydanticCustomError:
    """An error whose whole sentence is `text`; raise it in a validator of a field."""
    return PydanticCustomError(_SAID, "{text}", {"text": text})


def expected(value: object, what: str) -> PydanticCustomError:
    """The error for a value that is not `what` (a phrase such as "a whole number above 0")."""
    return said(f"got {shown(value)}; expected {what}")


def without_secrets(text: str) -> str:
    """A text without the users, passwords and queries of URLs in it."""
    text = re.sub(r"(://)[^\s/@]*@", r"\1***@", text)
    return re.sub(r"(://[^\s?'\"]*\?)[^\s'\"]+", r"\1***", text)


def shown(value: object) -> str:
    """A value as the reader of the file knows it, with the name of its type, and no secret."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"{str(value).lower()} (true or false)"
    if isinstance(value, Mapping):
        return "a mapping with " + (", ".join(map(str, value)) or "no keys")[:_SHOWN_LENGTH]
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    kind = {str: "text", int: "whole number", float: "number"}.get(type(value))
    text = without_secrets(repr(value))
    if len(text) > _SHOWN_LENGTH:
        text = text[: _SHOWN_LENGTH - 3] + "..."
    return f"{text} ({kind or type(value).__name__})"


def did_you_mean(word: object, known: list[str], what: str) -> str:
    """The end of a sentence about an unknown word: the nearest known one, or all of them."""
    compared = known if len(known) <= _WORDS_COMPARED and len(str(word)) <= _WORDS_COMPARED else []
    near = get_close_matches(str(word).lower().replace("-", "_"), compared, n=1, cutoff=0.6)
    near = near or get_close_matches(str(word), compared, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    more = len(known) - _WORDS_SHOWN
    ending = f" and {more:,} more" if more > 0 else ""
    listed = ", ".join(known[:_WORDS_SHOWN]) + ending
    return f"{what}: {listed}" if known else f"there are no {what}"


class Section(BaseModel):
    """A mapping of the file with fixed keys: frozen, and without unknown keys.

    A key without a value counts as not written. A subclass states what no single field
    can see in `rules`, and other ways to write the section in `prepare`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    expected_form: ClassVar[str] = "a mapping (lines of `key: value`)"

    @classmethod
    def prepare(cls, data: object) -> object:
        """The mapping that `data` is short for; may raise `expected(...)`."""
        return data

    @classmethod
    def rules(cls, data: Mapping[str, Any]) -> Iterator[Mistake]:
        """Mistakes between keys, from the values as written (which may be of wrong types)."""
        yield from ()

    @classmethod
    def unknown_key(cls, key: object) -> str:
        """The sentence about a key that this section does not have."""
        if "passw" in str(key).lower():
            return "secrets never stand in this file; use the ssh agent or a key file"
        return f"unknown key; {did_you_mean(key, list(cls.model_fields), 'allowed keys')}"

    @model_validator(mode="wrap")
    @classmethod
    def _collect(
        cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        if isinstance(data, cls):
            return data
        data = cls.prepare(data)
        if not isinstance(data, Mapping):
            raise expected(data, cls.expected_form)
        data = {key: value for key, value in data.items() if value is not None}
        mistakes: list[Mistake] = []
        result: Self | None = None
        try:
            result = handler({key: value for key, value in data.items() if isinstance(key, str)})
        except ValidationError as error:
            mistakes += [(detail["loc"], cls._sentence(detail)) for detail in error.errors()]
        odd_keys = [key for key in data if not isinstance(key, str)]
        mistakes += [((str(key),), cls.unknown_key(key)) for key in odd_keys]
        mistakes += cls.rules(data)
        if mistakes or result is None:
            raise ValidationError.from_exception_data(
                cls.__name__,
                [
                    InitErrorDetails(type=said(text), loc=location, input=None)
                    for location, text in mistakes
                ],
            )
        return result

    @classmethod
    def _sentence(cls, detail: Any) -> str:
        """The sentence for one error of pydantic's, most of which were made by `said`."""
        location, kind = detail["loc"], detail["type"]
        if kind == "extra_forbidden" and len(location) == 1:
            return cls.unknown_key(location[0])
        if kind == "missing" and len(location) == 1:
            what = cls.model_fields[str(location[0])].description
            return f"missing; expected {what}" if what else "missing; it has no default"
        return detail["msg"]


def mistakes_of(error: ValidationError) -> list[Mistake]:
    """The mistakes of a failed `Section.model_validate`, each with its place."""
    return [(detail["loc"], detail["msg"]) for detail in error.errors(include_url=False)]


def path_text(location: Location) -> str:
    """A place in the file as a reader writes it: `llms[0].models[2].dtype`."""
    text = ""
    for part in location:
        if part == "[key]":
            continue
        if isinstance(part, int):
            text += f"[{part}]"
        elif part and all(c.isalnum() or c in "._-" for c in part[:_SHOWN_LENGTH]):
            shown_part = part if len(part) <= _SHOWN_LENGTH else part[:_SHOWN_LENGTH] + "..."
            text += f".{shown_part}" if text else shown_part
        else:
            text += f"[{part[:_SHOWN_LENGTH]!r}]"
    return text
