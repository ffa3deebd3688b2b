"""Settings, versions and hashes: what one needs to get the same numbers again.

Belongs here: what stands in the last section of a report. Does not belong here: anything
of today, such as the time: equal inputs give an equal file.
"""

from __future__ import annotations

import glob
import platform
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pcorr_assets.config import Settings
from pcorr_assets.report.facts import BenchmarkFacts, Provenance, TableFile
from pcorr_assets.warehouse import Warehouse

PACKAGES = (
    "pcorr_assets", "dagster", "numpy", "scipy", "pyarrow", "torch", "transformers", "lm_eval",
    "fasttext-numpy2",
)  # fmt: skip
_SAMPLE_TABLES = ("chunks", "bpb_matrix", "matrix_coverage")
_TARGET_TABLES = (
    "estimates", "rank_predictions", "verdicts", "sensitivity", "next_llms",
    "learning_curves", "clean_estimates", "contaminated_chunks", "pilots",
    "sampling_distributions", "fasttext_filters",
)  # fmt: skip


def read_provenance(
    wh: Warehouse,
    settings: Settings,
    sample: str,
    target: str,
    benchmarks: tuple[BenchmarkFacts, ...],
    reliability: float | None,
) -> Provenance:
    """Settings of this sample and target, versions, and the tables that are there."""
    keys = [
        *((table, (sample,)) for table in _SAMPLE_TABLES),
        *((table, (target,)) for table in ("error_vectors", "reliabilities")),
        *((table, (sample, target)) for table in _TARGET_TABLES),
    ]
    return Provenance(
        settings=_settings(settings, sample, target),
        versions={
            "python": platform.python_version(),
            **{package: version(package) for package in PACKAGES},
        },
        tables=tuple(_file(wh, table, key) for table, key in keys if wh.exists(table, *key)),
        benchmarks=benchmarks,
        reliability=reliability,
    )


def _file(wh: Warehouse, table: str, keys: tuple[str, ...]) -> TableFile:
    written = wh.written(table, *keys)
    day = datetime.fromtimestamp(written.path.stat().st_mtime, UTC).date().isoformat()
    return TableFile(
        table, "|".join(keys), written.row_count, written.byte_count, day, written.sha256
    )


# What says nothing of an imported matrix, which has a level of its own and no texts.
_OF_TEXTS = ("level", "tokenizer", "language_model", "fasttext.")


def settings_of_sample(settings: Settings, sample: str) -> dict[str, str]:
    """Settings of a sample as they stand in a page, by name; paths are relative."""
    folder = settings.path.parent if settings.path is not None else settings.home
    imported = not settings.samples[sample].is_text
    return {
        name: _in_words(value, folder)
        for name, value in _flat(settings.samples[sample].model_dump(mode="json"))
        if value is not None and not (imported and _only_of_texts(f"samples.{sample}", name))
    }


def _settings(settings: Settings, sample: str, target: str) -> dict[str, dict[str, str]]:
    imported = not settings.samples[sample].is_text
    folder = settings.path.parent if settings.path is not None else settings.home
    stated = {
        f"samples.{sample}": settings.samples[sample],
        f"targets.{target}": settings.targets[target],
        "selection of this target": settings.selection_for(target),
        "validation": settings.validation,
        **{
            f"benchmarks.{name}": settings.benchmarks[name]
            for name in settings.benchmarks_of(target)
            if name in settings.benchmarks
        },
    }
    return {
        heading: {
            name: _in_words(value, folder)
            for name, value in _flat(section.model_dump(mode="json"))
            if value is not None and not (imported and _only_of_texts(heading, name))
        }
        for heading, section in stated.items()
    }


def _only_of_texts(heading: str, name: str) -> bool:
    if heading.startswith("samples."):
        return not name.startswith(("matrix_csv.", "unit_tokens"))
    return heading.startswith("selection") and name.startswith(_OF_TEXTS)


def _flat(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _in_words(value: Any, folder: Path) -> str:
    """A value as YAML would have it; paths are relative, since readers have other folders."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(_in_words(item, folder) for item in value)
    if isinstance(value, str) and Path(value).is_absolute():
        path = Path(value)
        # Patterns of files have the folder with its own `*`, `?` and `[` escaped.
        for here in (folder, Path(glob.escape(str(folder)))):
            if path.is_relative_to(here):
                return str(path.relative_to(here))
        return f"…/{path.name}"
    return str(value)
