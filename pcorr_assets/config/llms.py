"""Section `llms`: families of LLMs, and the flat list that the rest of the platform uses.

Belongs here: which LLMs there are, under which keys, and how each is loaded, as settings.
Does not belong here: loading LLMs (`lm`) and registering partitions (`defs`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from pcorr_assets.config.compute import SlurmResources
from pcorr_assets.config.fields import (
    AbsolutePath,
    AttentionField,
    DtypeField,
    LLMKey,
    NameKey,
    OverlongField,
    Text,
    YesNo,
    list_of,
)
from pcorr_assets.config.keys import hub_llm_key, llm_key_problem, split_hub_key
from pcorr_assets.config.section import Location, Mistake, Section, expected, said
from pcorr_assets.errors import PcorrError

_MODEL_FORMS = (
    "org/name, org/name@revision, {name: org/name, revisions: [...]} or, for a local folder, "
    "{key: ..., path: ...}"
)


_COMMIT = re.compile(r"[0-9a-f]{40}")
_GGUF_NAME = re.compile(r"[^./\\\0][^/\\\0]*\.gguf")
_GGUF_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$")


@dataclass(frozen=True, slots=True)
class LLMSpec:
    """One LLM: a hub name at a revision, or a local folder, and how to load it.

    `name` is None for a local folder, `path` is None for a hub LLM. `dtype` is `auto`,
    `float32`, `float16` or `bfloat16`; `overlong` is `error`, `nan` or `window`; `slurm`
    holds what its jobs ask for beyond the general settings. `subfolder` of a hub repository
    and `gguf_file` say which of its files are the LLM; `code_revision` pins code that its
    configuration takes from another repository.
    """

    key: str
    family: str
    name: str | None = None
    revision: str = "main"
    path: Path | None = None
    dtype: str = "auto"
    trust_remote_code: bool = False
    allow_pickle: bool = False
    overlong: str = "error"
    slurm: SlurmResources | None = None
    attn_implementation: str | None = None
    subfolder: str | None = None
    gguf_file: str | None = None
    code_revision: str | None = None

    @property
    def full_name(self) -> str:
        """Name on the hub or folder, and which part of it is the LLM where that is said."""
        parts = (self.name or str(self.path), self.subfolder, self.gguf_file)
        return "/".join(part for part in parts if part)


def _hub_name(value: object) -> str:
    if not isinstance(value, str) or "@" in value or split_hub_key(value) is None:
        raise expected(value, "a hub name, org/name (a revision stands under `revisions`)")
    problem = llm_key_problem(value)
    if problem:
        raise said(f"got {value!r}; {problem}")
    return value


def _revision(value: object) -> str:
    if not isinstance(value, str):
        raise expected(value, "the name of a branch, tag or commit, in quotes")
    problem = llm_key_problem(f"org/name@{value}") if value != "main" else None
    if problem:
        raise said(f"got {value!r}; {problem}")
    return value


def _subfolder(value: object) -> str:
    parts = value.split("/") if isinstance(value, str) else []
    if not parts or any(part in ("", ".", "..") or "\\" in part for part in parts):
        raise expected(value, "a folder of the repository, such as checkpoints/step-1000")
    return "/".join(parts)


def _gguf_file(value: object) -> str:
    if not isinstance(value, str) or not _GGUF_NAME.fullmatch(value):
        raise expected(value, "the name of a .gguf file, without a folder")
    if _GGUF_PART.search(value):
        raise said(
            f"got {value!r}, one part of several, which transformers does not read; merge them "
            "(`llama-gguf-split --merge`) into a local folder"
        )
    return value


def _code_revision(value: object) -> str:
    if not isinstance(value, str) or not _COMMIT.fullmatch(value):
        raise expected(value, "a commit of 40 hexadecimal digits, in quotes: a branch pins nothing")
    return value


class LoadOptions(Section):
    """How LLMs are loaded: set for a family, and again for one model where it differs."""

    dtype: DtypeField | None = None
    trust_remote_code: YesNo | None = None
    allow_pickle: YesNo | None = None
    overlong: OverlongField | None = None
    attn_implementation: AttentionField | None = None
    code_revision: Annotated[str, BeforeValidator(_code_revision)] | None = None
    slurm: SlurmResources | None = None


class Model(LoadOptions):
    """One entry of a family's `models`: a hub LLM at some revisions, or a local folder."""

    expected_form = _MODEL_FORMS

    key: LLMKey | None = None
    path: AbsolutePath | None = None
    name: Annotated[str, BeforeValidator(_hub_name)] | None = None
    revisions: Annotated[list[Annotated[str, BeforeValidator(_revision)]], list_of("revision")] = (
        Field(default_factory=lambda: ["main"])
    )
    subfolder: Annotated[str, BeforeValidator(_subfolder)] | None = None
    gguf_file: Annotated[str, BeforeValidator(_gguf_file)] | None = None

    @classmethod
    def prepare(cls, data: object) -> object:
        """`org/name@revision` in full."""
        if not isinstance(data, str):
            return data
        parts = split_hub_key(data)
        if parts is None:
            raise expected(data, _MODEL_FORMS)
        problem = llm_key_problem(hub_llm_key(*parts))
        if problem:
            raise said(f"got {data!r}; {problem}")
        return {"name": parts[0], "revisions": [parts[1]]}

    @classmethod
    def rules(cls, data: Mapping[str, Any]) -> Iterator[Mistake]:
        """Either from the hub or from a folder, whose key must be given."""
        if ("name" in data) == ("path" in data):
            found = "both" if "name" in data else "neither"
            yield (), f"found {found} of name and path; expected {_MODEL_FORMS}"
        elif "path" in data:
            if "key" not in data:
                yield ("key",), "missing; a local folder needs a key of your choice"
            for name in ("revisions", "subfolder"):
                if name in data:
                    yield (name,), f"a local folder has no {name}; remove this key"
        elif "subfolder" in data or "gguf_file" in data:
            # A repository may hold several LLMs: its name alone is the key of none of them.
            if "key" not in data:
                yield ("key",), "missing; one of several LLMs of a repository needs a key"
            if len(data.get("revisions") or ["main"]) > 1:
                yield ("revisions",), "one key has one revision; list the others as models"
        elif "key" in data:
            yield ("key",), "the key of a hub LLM is its name; remove this key"

    def identities(self) -> Iterator[tuple[str, str]]:
        """`(key, revision)` of every LLM of this entry."""
        if self.key is not None:
            yield self.key, self.revisions[0]
            return
        assert self.name is not None
        for revision in self.revisions:
            yield hub_llm_key(self.name, revision), revision


_CANDIDATE_FORMS = (
    "org/name with its parameters in the name (EleutherAI/pythia-1.4b), or "
    "{name: ..., family: ..., parameters: ...}"
)
_SIZE_IN_NAME = re.compile(r"(?<![0-9A-Za-z.])([0-9]+(?:\.[0-9]+)?)([mMbB])(?![0-9A-Za-z])")
_SIZES = {"m": 1_000_000, "b": 1_000_000_000}


def _parameters(value: object) -> int:
    """A whole number, or a text such as 160m or 1.4b."""
    if isinstance(value, str) and (found := _SIZE_IN_NAME.fullmatch(value)):
        value = round(float(found[1]) * _SIZES[found[2].lower()])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise expected(value, "a number of parameters, such as 160000000, 160m or 1.4b")
    return value


class Candidate(Section):
    """An LLM that is not there, of which `next_llms` says whether adding it would help most.

    Nothing is downloaded. `family` unset: the org of the name; `parameters` unset: what the
    name says.
    """

    expected_form = _CANDIDATE_FORMS

    name: Text = Field(description="a name, such as org/name")
    family: Text = Field(description="the name of its family")
    parameters: Annotated[int, BeforeValidator(_parameters)] = Field(
        description="how many parameters it has"
    )

    @classmethod
    def prepare(cls, data: object) -> object:
        """Family and parameters as the name says, where they are not given."""
        found = {"name": data} if isinstance(data, str) else data
        if not isinstance(found, Mapping) or not isinstance(found.get("name"), str):
            return found
        org, slash, model = found["name"].partition("/")
        said_by_name: dict[str, Any] = {"family": org} if slash else {}
        if size := _SIZE_IN_NAME.search(model or org):
            said_by_name["parameters"] = size[0]
        given = {key: value for key, value in found.items() if value is not None}
        return {**said_by_name, **given}


def _models(value: object) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise expected(value, "a list of at least one model")
    return value


class Family(LoadOptions):
    """LLMs of one origin, which stand on one side of every split of the validation."""

    family: NameKey = Field(description="the name of the family")
    models: Annotated[list[Model], BeforeValidator(_models)] = Field(
        description="a list of at least one model"
    )

    def specs(self, overlong: str) -> Iterator[LLMSpec]:
        """The LLMs of this family; `overlong` is what `compute` says."""
        for model in self.models:
            for key, revision in model.identities():
                yield LLMSpec(
                    key=key,
                    family=self.family,
                    name=model.name,
                    revision=revision,
                    path=model.path,
                    dtype=model.dtype or self.dtype or "auto",
                    trust_remote_code=_first(model.trust_remote_code, self.trust_remote_code),
                    allow_pickle=_first(model.allow_pickle, self.allow_pickle),
                    overlong=model.overlong or self.overlong or overlong,
                    slurm=self.slurm.override(model.slurm) if self.slurm else model.slurm,
                    attn_implementation=model.attn_implementation or self.attn_implementation,
                    subfolder=model.subfolder,
                    gguf_file=model.gguf_file,
                    code_revision=model.code_revision or self.code_revision,
                )


def fitting_entry(
    families: Sequence[Family],
    family: str,
    *,
    dtype: str | None = None,
    overlong: str | None = None,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
) -> int | None:
    """The entry that one more LLM of a family belongs under; None if none fits.

    It is the first of that name whose settings are those given (None: any). Trust in
    code and pickles was put into the LLMs that are listed there, never into others: an
    entry fits only where it says the same.
    """
    for i, entry in enumerate(families):
        trusts = bool(entry.trust_remote_code), bool(entry.allow_pickle)
        if (
            entry.family == family
            and trusts == (trust_remote_code, allow_pickle)
            and dtype in (None, entry.dtype or "auto")
            and overlong in (None, entry.overlong)
        ):
            return i
    return None


def unlisted_spec(key: str, overlong: str, families: Sequence[Family] = ()) -> LLMSpec:
    """The LLM of a key that the file does not list: `org/name[@revision]`, family `org`.

    It is loaded as the fitting entry of that family says, if there is one.
    Raises PcorrError for a key that is malformed or has another form.
    """
    problem = llm_key_problem(key)
    parts = None if problem else split_hub_key(key)
    if problem or parts is None:
        why = problem or "it is not listed in the configuration"
        raise PcorrError(
            f"LLM key {key!r} cannot be used: {why}. Use org/name or org/name@revision for an LLM "
            "of the hub, or list a local folder under `llms` with {key: ..., path: ...}"
        )
    name, revision = parts
    family = name.partition("/")[0]
    spec = LLMSpec(key=key, family=family, name=name, revision=revision, overlong=overlong)
    entry = fitting_entry(families, family)
    if entry is None:
        return spec
    found = families[entry]
    return replace(
        spec,
        dtype=found.dtype or "auto",
        overlong=found.overlong or overlong,
        slurm=found.slurm,
    )


def written_keys(families: object) -> Iterator[tuple[Location, str]]:
    """Place and key of every LLM of a `llms` section as written, skipping what is misshapen."""
    for i, family in enumerate(families if isinstance(families, list) else []):
        models = family.get("models") if isinstance(family, Mapping) else None
        for j, model in enumerate(models if isinstance(models, list) else []):
            place = (i, "models", j)
            if isinstance(model, str) and (parts := split_hub_key(model)):
                yield place, hub_llm_key(*parts)
            elif isinstance(model, Mapping) and isinstance(model.get("key"), str):
                yield place, model["key"]
            elif isinstance(model, Mapping) and isinstance(model.get("name"), str):
                revisions = model.get("revisions") or ["main"]
                written = [revisions] if isinstance(revisions, str) else revisions
                listed = written if isinstance(written, list) else []
                for revision in dict.fromkeys(r for r in listed if isinstance(r, str)):
                    yield place, hub_llm_key(model["name"], revision)


def _first(*values: bool | None) -> bool:
    return next((value for value in values if value is not None), False)
