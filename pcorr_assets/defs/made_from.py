"""What the configuration only names, and a partition is made from: files, and how an LLM is loaded.

Belongs here: which of it counts for which partition, as ids of contents, noted when it is made
and compared when states are asked for. Does not belong here: reading files for their ids
(`storage.contents`), and the states (`partition_status`).

Dagster has one code version for all partitions of an asset, and one at the time when the
definitions were loaded; what lies in a file changes at any time and concerns some partitions.
So a run notes what its partitions are made from in the metadata of each.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg

from pcorr_assets.config import Sample, Settings
from pcorr_assets.config.texts import TextSource
from pcorr_assets.config.urls import is_url
from pcorr_assets.defs.check_events import Outcome
from pcorr_assets.defs.partitions import LLM, POOL_GROUP, SAMPLE, TARGET, dimensions_of
from pcorr_assets.defs.platform import Platform
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.groups import pool_of
from pcorr_assets.lm.task_files import task_files_sha256
from pcorr_assets.matrix.wording import name_some
from pcorr_assets.steps.inputs import level_of
from pcorr_assets.storage.contents import NOT_THERE, Contents, together
from pcorr_assets.text.files import expand_globs

METADATA = "made from"
CACHE = Path("cache", "contents.json")
# Assets whose caps are tokens of units.
WITH_CAPS = (
    "estimate",
    "rank_prediction",
    "sensitivity",
    "next_llms",
    "clean_estimate",
    "sampling_distribution",
)
# Of a folder that a tokenizer is loaded from, the weights of an LLM beside it do not count.
WEIGHTS = frozenset({".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx"})
# So many files of a sample are named one by one.
MOST_NAMED = 50

Named = Mapping[str, str]


class MadeFrom:
    """Ids of what partitions are made from, each file looked at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._contents = Contents(settings.home / CACHE)
        self._found: dict[tuple[str, ...], dict[str, str]] = {}

    def save(self) -> None:
        """Keep the ids of files for the next time."""
        self._contents.save()

    def of(self, asset: str, keys: Mapping[str, str]) -> dict[str, str]:
        """`{place in the configuration: id}` for one partition, `{dimension: key}`.

        What is gone from the configuration, and what a URL names, is not among them.
        """
        sample, target = keys.get(SAMPLE, ""), keys.get(TARGET, "")
        stated = self._settings.samples.get(sample)
        match asset:
            case "chunked_dataset" if stated is not None:
                return self._of_texts(sample, stated)
            case "bpb_matrix" if stated is not None and stated.matrix_csv is not None:
                place = f"samples.{sample}.matrix_csv"
                files = stated.matrix_csv
                return self._one(f"{place}.bpb", files.bpb) | self._one(
                    f"{place}.errors", files.errors
                )
            case "chunk_bpb":
                return self._of_llm(keys[LLM], scored=True)
            case "benchmark_errors":
                return self._of_llm(keys[LLM], scored=False) | self._tasks
            case "benchmark_ngrams" | "compared_selections":
                return self._tasks
            case name if name in WITH_CAPS and stated is not None:
                return self._of_caps(sample, stated, target)
            case "fasttext_filter" if target in self._settings.targets:
                model = self._settings.selection_for(target).language_model
                return self._one("selection.language_model", model)
            case "pool_scores":
                return self._of_tokens(keys[POOL_GROUP])
        return {}

    def _of_texts(self, key: str, sample: Sample) -> dict[str, str]:
        place = f"samples.{key}"
        return self._of_source(place, sample) | self._one(
            f"{place}.reference_tokenizer", sample.reference_tokenizer, without=WEIGHTS
        )

    def _of_source(self, place: str, source: TextSource) -> dict[str, str]:
        for name in ("dataset", "saved"):
            if (folder := getattr(source, name)) is not None:
                return self._one(f"{place}.{name}", folder)
        patterns = getattr(source, "files", None) or []
        local = [pattern for pattern in patterns if not is_url(pattern)]
        files = dict(self._files(f"{place}.files", tuple(local)))
        if len(files) > MOST_NAMED:
            return {f"{place}.files": together(files)}
        return files

    def _files(self, place: str, patterns: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        names: dict[str, Path] = {}
        for pattern in patterns:
            try:
                found = expand_globs([pattern])
            except PcorrError:
                yield f"{place} {os.path.basename(pattern)}", NOT_THERE
                continue
            paths = [path for path in found if isinstance(path, Path)]
            fixed = os.path.commonpath([path.parent for path in paths])
            for path in paths:
                inside = os.fsencode(path.relative_to(fixed)).decode("utf-8", "replace")
                name = f"{place} {inside}"
                while names.setdefault(name, path) != path:
                    name += "'"
        yield from self._contents.of_files(names.items()).items()

    def _of_llm(self, key: str, *, scored: bool) -> dict[str, str]:
        try:
            spec = self._settings.llm_spec(key)
        except PcorrError:  # it was removed from the file
            return {}
        place = f"llms {key}"
        stated = {f"{place} dtype": spec.dtype}
        if scored:
            stated[f"{place} overlong"] = spec.overlong
        # Only where they are set: what was made before they existed is not stale for them.
        for name in ("attn_implementation", "subfolder", "gguf_file", "code_revision"):
            if (value := getattr(spec, name)) is not None:
                stated[f"{place} {name}"] = value
        return stated | self._one(f"{place} path", spec.path)

    @cached_property
    def _tasks(self) -> dict[str, str]:
        """The files of each benchmark of local tasks."""
        found = {}
        for name, benchmark in self._settings.benchmarks.items():
            folder = benchmark.task_path
            if not isinstance(folder, Path):  # of a URL the string counts, which is a setting
                continue
            place = f"benchmarks.{name}.task_path"
            try:
                found[place] = task_files_sha256(name, folder)[:32]
            except (OSError, PcorrError):
                found[place] = NOT_THERE
        return found

    def _of_caps(self, key: str, sample: Sample, target: str) -> dict[str, str]:
        if target not in self._settings.targets:
            return {}
        level = level_of(self._settings, key, target)
        if (file := sample.unit_tokens_of(level)) is not None:
            place = f"samples.{key}.unit_tokens"
            return self._one(place if "" in sample.unit_token_files else f"{place}.{level}", file)
        if not sample.is_text:
            return {}
        tokenizer = self._settings.selection_for(target).tokenizer
        return self._one("selection.tokenizer", tokenizer, without=WEIGHTS)

    def _of_tokens(self, group: str) -> dict[str, str]:
        pool = self._settings.pools.get(pool_of(group))
        if pool is None or pool.token_count_column is not None:
            return {}
        # A target that counts as all others do is no other input.
        named = {"selection.tokenizer": self._settings.selection.tokenizer}
        for key, target in self._settings.targets.items():
            named[f"targets.{key}.tokenizer"] = target.tokenizer
        found: dict[str, str] = {}
        for place, tokenizer in named.items():
            found |= self._one(place, tokenizer, without=WEIGHTS)
        return found

    def _one(
        self, place: str, named: Path | str | None, without: frozenset[str] = frozenset()
    ) -> dict[str, str]:
        """What one key names: a file, a folder, or a name of the hub, which has no place here."""
        if named is None or not os.path.isabs(named):
            return {}
        question = (str(named), *sorted(without))
        if question not in self._found:
            self._found[question] = {"": self._contents.of_folder(Path(named), without)}
        return {place: self._found[question][""]}


def changes(noted: Named, now: Named) -> str:
    """What is another than noted, in words; an empty text if nothing is."""
    found = [
        *(f"{place} is gone" for place in noted if place not in now),
        *(f"{place} is new" for place in now if place not in noted),
        *(f"{place} changed" for place in noted if noted[place] != now.get(place, noted[place])),
    ]
    return f"what it is made from: {name_some(found, 3)}" if found else ""


def noting(
    platform: Platform,
    function: Callable[[dg.AssetExecutionContext], dg.MaterializeResult | Outcome],
) -> Callable[[dg.AssetExecutionContext], dg.MaterializeResult | Outcome]:
    """The function of an asset, from one that does not note what it read.

    The ids are those before anything is read: what changes meanwhile shows as changed.
    """

    def compute(context: dg.AssetExecutionContext) -> dg.MaterializeResult | Outcome:
        asset, made = context.asset_key.to_user_string(), MadeFrom(platform.settings)
        is_partitioned = context.has_partition_key or context.has_partition_key_range
        found = {
            partition: metadata_of(
                made.of(asset, dimensions_of(context.assets_def.partitions_def, partition))
            )
            for partition in (context.partition_keys if is_partitioned else ())
        }
        made.save()
        ended = function(context)
        if isinstance(ended, dg.MaterializeResult):
            (only,) = found.values() if found else ({},)
            return ended._replace(metadata={**(ended.metadata or {}), **only})
        if ended.result is not None:
            for partition, metadata in found.items():
                context.add_asset_metadata(metadata, partition_key=partition)
        finished = [
            one.with_metadata({**one.metadata, **found.get(one.partition or "", {})})
            for one in ended.finished
        ]
        return replace(ended, finished=finished)

    return compute


def metadata_of(found: Named) -> dict[str, Any]:
    """What is noted of a partition; nothing where it is made from nothing that is named."""
    return {METADATA: dg.MetadataValue.json(dict(found))} if found else {}


def noted_in(metadata: Mapping[str, Any]) -> Named | None:
    """What a run noted; None: it was of a version that noted nothing, or there was nothing."""
    value = metadata.get(METADATA)
    data = getattr(value, "data", None)
    return data if isinstance(data, Mapping) else None
