"""The whole file as one object, with the checks between its sections.

Belongs here: `Settings` and what other rooms ask of it. Does not belong here: the keys
of single sections (`texts`, `llms`, `correlation`, `compute`, `automation`) and reading
(`loading`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    field_serializer,
    model_validator,
)

from pcorr_assets.config.automation import Automation
from pcorr_assets.config.compute import Compute
from pcorr_assets.config.correlation import Benchmark, Selection, Target, Validation
from pcorr_assets.config.fields import BASE_LEVELS, AbsolutePath, NameKey, absolute, by_key
from pcorr_assets.config.keys import pilot_key
from pcorr_assets.config.llms import Candidate, Family, LLMSpec, unlisted_spec, written_keys
from pcorr_assets.config.planning import Plan
from pcorr_assets.config.section import (
    Location,
    Mistake,
    Section,
    did_you_mean,
    expected,
    path_text,
)
from pcorr_assets.config.storage import Exports
from pcorr_assets.config.texts import Pool, Sample
from pcorr_assets.errors import PcorrError

RESERVED_SAMPLES = ("lm_eval", "imported")


def _families(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise expected(value, "a list of families (`- family: ...`)")
    return value


def _candidates(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise expected(value, "a list of LLMs that might be added (`- org/name`)")
    return value


class Settings(Section):
    """Everything that `pcorr.yaml` says; without a file, the defaults.

    All paths are absolute. Text samples can be chunked and scored; imported samples are
    published matrices. A sample with a `pilot` has another after it, of the key `pilot_key`.
    """

    home: AbsolutePath = Field(default_factory=lambda: absolute("data", Path.cwd()))
    samples: Annotated[dict[NameKey, Sample], by_key("sample")] = Field(default_factory=dict)
    llms: Annotated[list[Family], BeforeValidator(_families)] = Field(default_factory=list)
    candidates: Annotated[list[Candidate], BeforeValidator(_candidates)] = Field(
        default_factory=list
    )
    benchmarks: Annotated[dict[NameKey, Benchmark], by_key("benchmark")] = Field(
        default_factory=dict
    )
    targets: Annotated[dict[NameKey, Target], by_key("target")] = Field(default_factory=dict)
    selection: Selection = Selection()
    validation: Validation = Validation()
    pools: Annotated[dict[NameKey, Pool], by_key("pool")] = Field(default_factory=dict)
    exports: Exports = Exports()
    compute: Compute = Compute()
    automation: Automation = Automation()
    plan: Plan = Plan()

    _path: Path | None = PrivateAttr(default=None)

    @property
    def path(self) -> Path | None:
        """The YAML file these settings were read from, if any."""
        return self._path

    @model_validator(mode="after")
    def _add_pilots(self) -> Self:
        for key, sample in list(self.samples.items()):
            if sample.pilot is not None and sample.pilot_of is None:
                self.samples[pilot_key(key)] = sample.as_pilot_of(key)
        return self

    @field_serializer("samples", mode="wrap")
    def _as_written(
        self, samples: dict[str, Sample], handler: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        """Pilots are not in the file; they follow from the samples that have them."""
        return handler({key: one for key, one in samples.items() if one.pilot_of is None})

    @property
    def written_samples(self) -> dict[str, Sample]:
        """The samples that stand in the file: all but the pilots."""
        return {key: one for key, one in self.samples.items() if one.pilot_of is None}

    def pilot_of(self, sample: str) -> str | None:
        """The key of the pilot of a sample; None if it has none (a pilot has none)."""
        return pilot_key(sample) if pilot_key(sample) in self.samples else None

    @property
    def text_samples(self) -> list[str]:
        """Keys of the samples that have texts, in the order of the file."""
        return [key for key, sample in self.samples.items() if sample.is_text]

    @property
    def imported_samples(self) -> list[str]:
        """Keys of the samples that are published matrices, in the order of the file."""
        return [key for key, sample in self.samples.items() if not sample.is_text]

    @property
    def llm_specs(self) -> dict[str, LLMSpec]:
        """Every LLM of the file by its key, in the order of the file."""
        specs = (spec for family in self.llms for spec in family.specs(self.compute.overlong))
        return {spec.key: spec for spec in specs}

    def llm_spec(self, key: str) -> LLMSpec:
        """The LLM of `key`; one the file does not list is read as `org/name[@revision]`.

        Raises PcorrError for a key that is malformed, or unlisted and without an org.
        """
        listed = self.llm_specs.get(key)
        if listed is not None:
            return listed
        return unlisted_spec(key, self.compute.overlong, self.llms)

    def selection_for(self, target: str | Target) -> Selection:
        """The selection settings of a target (its key, or itself); PcorrError if unknown."""
        if isinstance(target, Target):
            return target.override(self.selection)
        if target not in self.targets:
            hint = did_you_mean(target, list(self.targets), "targets of the configuration")
            raise PcorrError(f"{target!r} is not a target of the configuration; {hint}")
        return self.targets[target].override(self.selection)

    def benchmarks_of(self, target: str) -> list[str]:
        """The benchmarks of a target; of one that combines targets, those of all of them."""
        stated = self.targets[target]
        parts = [self.targets[part] for part in stated.combine_targets] or [stated]
        return list(dict.fromkeys(name for part in parts for name in part.benchmarks))

    @classmethod
    def rules(cls, data: Mapping[str, Any]) -> Iterator[Mistake]:
        """References must lead somewhere; keys must stay apart."""
        yield from _benchmark_references(data)
        yield from _combined_targets(data)
        yield from _sample_references(data)
        yield from _level_references(data)
        yield from _equal_keys(data)
        yield from _equal_candidates(data)
        yield from _looser_masks(data)
        yield from _reserved_samples(data)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _benchmark_references(data: Mapping[str, Any]) -> Iterator[Mistake]:
    """Benchmarks of targets; not checked where an imported matrix may bring others."""
    samples = _mapping(data.get("samples")).values()
    if any(_mapping(sample).get("matrix_csv") is not None for sample in samples):
        return
    known = {str(key): None for key in _mapping(data.get("benchmarks"))}
    for key, target in _mapping(data.get("targets")).items():
        names = _mapping(target).get("benchmarks")
        listed = [names] if isinstance(names, str) else names
        for i, name in enumerate(listed if isinstance(listed, list) else []):
            if isinstance(name, str) and name.strip() and name not in known:
                hint = did_you_mean(name, list(known), "benchmarks")
                place = ("targets", str(key), "benchmarks", i)
                yield place, f"{name!r} is not listed under benchmarks; {hint}"


def _combined_targets(data: Mapping[str, Any]) -> Iterator[Mistake]:
    """Targets that a target combines must be others, with benchmarks of their own."""
    targets = {str(key): _mapping(body) for key, body in _mapping(data.get("targets")).items()}
    combined = {key for key, body in targets.items() if body.get("combine_targets") is not None}
    for key in (name for name in targets if name in combined):
        listed = targets[key]["combine_targets"]
        names = list(listed) if isinstance(listed, list | Mapping) else []
        for i, name in enumerate(names):
            if not isinstance(name, str):
                continue
            place = ("targets", key, "combine_targets", i if isinstance(listed, list) else name)
            if name not in targets:
                known = [other for other in targets if other not in combined]
                hint = did_you_mean(name, known, "targets")
                yield place, f"{name!r} is not listed under targets; {hint}"
            elif name == key:
                yield place, f"{name!r} cannot combine itself; remove it"
            elif name in combined:
                yield (
                    place,
                    f"{name!r} combines targets itself; name its targets here, with their weights",
                )


def _equal_candidates(data: Mapping[str, Any]) -> Iterator[Mistake]:
    listed = data.get("candidates")
    first: dict[str, str] = {}
    for i, candidate in enumerate(listed if isinstance(listed, list) else []):
        name = candidate.get("name") if isinstance(candidate, Mapping) else candidate
        place = ("candidates", i)
        if isinstance(name, str) and first.setdefault(name, path_text(place)) != path_text(place):
            yield place, f"{name!r} stands already at {first[name]}; remove one"


def _looser_masks(data: Mapping[str, Any]) -> Iterator[Mistake]:
    """A matrix is built once for all targets; what its mask removed, no target gets back."""
    field = "max_nan_fraction"
    limit = _mapping(data.get("selection")).get(field, Selection().max_nan_fraction)
    for key, target in _mapping(data.get("targets")).items():
        own = _mapping(target).get(field)
        if isinstance(own, int | float) and isinstance(limit, int | float) and own > limit:
            yield (
                ("targets", key, field),
                f"got {own}; expected at most that of selection ({limit}), which the matrix "
                "of a sample is built with",
            )


def _reserved_samples(data: Mapping[str, Any]) -> Iterator[Mistake]:
    """An imported sample's key is the source of its errors, beside that of own evaluations."""
    for key in _mapping(data.get("samples")):
        if key in RESERVED_SAMPLES:
            yield ("samples", key), f"the key {key!r} is taken by the platform; choose another"


def _sample_references(data: Mapping[str, Any]) -> Iterator[Mistake]:
    texts = {
        str(key): None
        for key, sample in _mapping(data.get("samples")).items()
        if _mapping(sample).get("matrix_csv") is None
    }
    with_pilot = [
        name for name in texts
        if _mapping(_mapping(data.get("samples")).get(name)).get("pilot") is not None
    ]  # fmt: skip
    texts |= dict.fromkeys(map(pilot_key, with_pilot))
    for key, pool in _mapping(data.get("pools")).items():
        name = _mapping(pool).get("sample")
        if isinstance(name, str) and name not in texts:
            hint = did_you_mean(name, list(texts), "text samples")
            yield ("pools", str(key), "sample"), f"{name!r} is not a text sample; {hint}"


def _level_references(data: Mapping[str, Any]) -> Iterator[Mistake]:
    """Levels of the selection and the targets: one that some text sample has."""
    known = dict.fromkeys(BASE_LEVELS)
    for sample in _mapping(data.get("samples")).values():
        columns = _mapping(sample).get("unit_columns")
        names = [columns] if isinstance(columns, str) else columns or []
        if isinstance(names, list | Mapping):
            known |= dict.fromkeys(map(str, names))
    stated: list[tuple[Location, Any]] = [
        (("selection", "level"), _mapping(data.get("selection")).get("level"))
    ]
    for key, target in _mapping(data.get("targets")).items():
        stated.append((("targets", str(key), "level"), _mapping(target).get("level")))
    for place, level in stated:
        if isinstance(level, str) and level not in known:
            hint = did_you_mean(level, list(known), "levels")
            yield place, f"{level!r} is no level, nor in unit_columns of a sample; {hint}"


def _equal_keys(data: Mapping[str, Any]) -> Iterator[Mistake]:
    """Keys that are equal, or would share a file name where case is ignored."""
    groups: dict[str, list[tuple[Location, str]]] = {
        name: [((name, key), key) for key in _mapping(data.get(name)) if isinstance(key, str)]
        for name in ("samples", "benchmarks", "targets", "pools")
    }
    groups["llms"] = [(("llms", *place), key) for place, key in written_keys(data.get("llms"))]
    for entries in groups.values():
        first: dict[str, tuple[Any, str]] = {}
        for place, key in entries:
            if key.casefold() not in first:
                first[key.casefold()] = (place, key)
                continue
            other_place, other = first[key.casefold()]
            where = path_text(other_place)
            if other == key:
                yield place, f"the key {key!r} stands already at {where}; remove one"
            else:
                yield place, f"{key!r} differs from {other!r} ({where}) in case only; rename one"
