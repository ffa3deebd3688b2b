"""What a project hands to others: one database, and its matrices in the published format.

Belongs here: which settings, versions and files go with an export, and where it lies.
Does not belong here: writing the files (`warehouse.export`, `matrix.exports`).

Dagster's assets and the command call the same two functions: `share_database` and
`share_published`.
"""

from __future__ import annotations

import csv
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import yaml
from pydantic_core import PydanticCustomError

from pcorr_assets.cards.header import read_card, write_card
from pcorr_assets.cards.matrix_card import matrix_card
from pcorr_assets.config import Settings, Storage
from pcorr_assets.config.storage import output_url
from pcorr_assets.config.urls import is_url
from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.benchmark_settings import benchmark_settings_sha256
from pcorr_assets.lm.task_folders import local_benchmarks
from pcorr_assets.matrix.exports import PublishedFiles, export_published
from pcorr_assets.matrix.layout import read_units
from pcorr_assets.steps.inputs import level_of
from pcorr_assets.storage.copies import local_copy
from pcorr_assets.storage.writing import is_there, put_file, put_files
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.export import ExportedDatabase, export_database
from pcorr_assets.warehouse.export_place import refuse_other_files
from pcorr_assets.warehouse.export_readme import ESTIMATOR_SECTION, NAN_SECTION
from pcorr_assets.warehouse.files import atomic_path, scratch_folder
from pcorr_assets.warehouse.verification import CARD

DATABASE_NAME = "pcorr_export.duckdb"

_PACKAGES = (
    "pcorr-assets",
    "numpy",
    "scipy",
    "pyarrow",
    "duckdb",
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "lm-eval",
    "fasttext-numpy2",
    "dagster",
)


@dataclass(frozen=True)
class SharedDatabase:
    """The export, and the URL that it was put to; its path is gone if that was all."""

    exported: ExportedDatabase
    url: str | None = None

    @property
    def place(self) -> str:
        """Where to look for it: the URL, or the path."""
        return self.url or str(self.exported.path)


@dataclass(frozen=True)
class SharedMatrix:
    """The files of each level, and the URL that they were put below; `is_local`: they are on this
    machine as well. `card` is None where a README.md of somebody else's was in its place."""

    levels: list[PublishedFiles]
    url: str | None = None
    is_local: bool = True
    card: Path | None = None

    @property
    def places(self) -> list[str]:
        """Where to look for the files."""
        paths = dict.fromkeys(path for files in self.levels for path in files.paths)
        if self.card is not None:
            paths[self.card] = None
        local = [str(path) for path in paths if self.is_local]
        return local + [f"{self.url}/{path.name}" for path in paths if self.url is not None]


def exports_folder(settings: Settings) -> Path:
    """Where exports lie unless another place is asked for: `<home>/exports`."""
    return settings.home / "exports"


def share_database(
    settings: Settings,
    path: Path | str | None = None,
    *,
    include_text: bool = False,
    holder: str = "another export",
) -> SharedDatabase:
    """Export the whole warehouse into one DuckDB file, `<home>/exports/pcorr_export.duckdb`.

    `path` is another file to write, or a URL; `holder` is how a second export to it is told who
    is at it. Without a path the file is put below `exports.output` as well, if that is set. At a
    URL, too, nothing but an older export is replaced.

    Raises PcorrError as `warehouse.export.export_database` and `storage.writing.put_file` do.
    """
    noted = provenance(settings)

    def export(target: Path) -> ExportedDatabase:
        return export_database(
            settings.home, target, include_text=include_text, provenance=noted, holder=holder
        )

    if path is not None and is_url(str(path)):
        url = _output(str(path))
        with scratch_folder(exports_folder(settings), ".upload-") as scratch:
            exported = export(scratch / DATABASE_NAME)
            _put_database(exported.path, url, settings.exports.storage)
        return SharedDatabase(exported, url)
    exported = export(Path(path) if path is not None else exports_folder(settings) / DATABASE_NAME)
    below = settings.exports.output
    if path is not None or below is None:
        return SharedDatabase(exported)
    url = f"{below}/{DATABASE_NAME}"
    _put_database(exported.path, url, settings.exports.storage)
    return SharedDatabase(exported, url)


def _put_database(path: Path, url: str, options: Storage) -> None:
    if is_there(url, options):
        with local_copy(url, options) as old:
            refuse_other_files(old)
    put_file(path, url, options)


def share_published(
    settings: Settings,
    sample: str,
    folder: Path | str | None = None,
    levels: Sequence[str] = (),
    *,
    format: str = "csv",
) -> SharedMatrix:
    """Export a sample's matrix in the published wide format, some files for each level.

    `folder` defaults to `<home>/exports/published/<sample>`, `levels` to those that the
    targets are estimated at (all targets of an imported matrix: its own level). Where these
    agree on the tokens of each unit, they are written too, for `unit_tokens` of the sample
    that imports the files: then caps, sampling weights and verdicts are the same as well.
    `folder` may be a URL; without one, the files are put below `exports.output` as well.

    Raises PcorrError for an unknown sample, level or format, where a file to write is one
    that a sample of the configuration is read from, or as `export_published` does.
    """
    if sample not in settings.samples:
        known = ", ".join(settings.samples) or "none"
        raise PcorrError(f"{sample!r} is not a sample of the configuration (samples: {known})")
    wanted = list(levels) or sorted(
        {level_of(settings, sample, target) for target in settings.targets}
    )
    if not wanted:
        raise PcorrError("The configuration has no targets; say which levels to export")
    store, options = settings.exports.output, settings.exports.storage
    if folder and is_url(str(folder)):
        url = _output(str(folder))
        _refuse_inputs(settings, url, wanted, format)
        with scratch_folder(exports_folder(settings), ".upload-") as scratch:
            files = _published(settings, sample, scratch / "files", wanted, format)
            card = _write_card(settings, sample, scratch / "files", files)
            _put_published(files, card, url, options)
            return SharedMatrix(files, url, is_local=False, card=card)
    target = Path(folder) if folder else exports_folder(settings) / "published" / sample
    _refuse_inputs(settings, target, wanted, format)
    url = None if folder or store is None else f"{store}/published/{sample}"
    if url is not None:
        _refuse_inputs(settings, url, wanted, format)
    files = _published(settings, sample, target, wanted, format)
    card = _write_card(settings, sample, target, files)
    if url is not None:
        _put_published(files, card, url, options)
    return SharedMatrix(files, url, card=card)


def _published(
    settings: Settings, sample: str, target: Path, wanted: Sequence[str], format: str
) -> list[PublishedFiles]:
    current = {
        name: benchmark_settings_sha256(name, benchmark)
        for name, benchmark in local_benchmarks(settings).items()
    }
    wh = Warehouse(settings.home)
    found = [
        export_published(wh, sample, target, level, format, expected_settings=current)
        for level in wanted
    ]
    return [
        replace(files, unit_tokens=_share_unit_tokens(wh, sample, target, files)) for files in found
    ]


def _write_card(
    settings: Settings, sample: str, folder: Path, files: Sequence[PublishedFiles]
) -> Path | None:
    """Write the card beside the files; not in the place of a README.md of somebody else's."""
    path = folder / CARD
    text = matrix_card(Warehouse(settings.home), settings, sample, files, earlier=read_card(path))
    return path if write_card(path, text) else None


def _put_published(
    files: Sequence[PublishedFiles], card: Path | None, url: str, options: Storage
) -> None:
    """Put the files below a URL, and take away token counts that the targets no longer agree on."""
    paths = list(dict.fromkeys(path for one in files for path in one.paths))
    if card is not None and _is_ours(f"{url}/{CARD}", options):
        paths.append(card)
    gone = [_unit_tokens_name(one.level) for one in files if one.unit_tokens is None]
    put_files(paths, url, options, gone=gone)


def _is_ours(url: str, options: Storage) -> bool:
    """May a card be put there: is nothing there, or an earlier card?"""
    if not is_there(url, options):
        return True
    with local_copy(url, options) as old:
        return bool(read_card(old))


def _output(text: str) -> str:
    """A URL that a person gave, if something can be put there."""
    try:
        return output_url(text)
    except PydanticCustomError as error:
        raise PcorrError(f"The export cannot be put there: {error.message()}") from None


def _refuse_inputs(
    settings: Settings, folder: Path | str, levels: Sequence[str], format: str
) -> None:
    """Exports have the names of published files, of which a folder may hold the originals."""
    inputs: set[Path | str] = set()
    for sample in settings.samples.values():
        matrix = sample.matrix_csv
        read = (*sample.unit_token_files.values(), *((matrix.bpb, matrix.errors) if matrix else ()))
        inputs |= {path.resolve() if isinstance(path, Path) else path for path in read if path}

    def place(name: str) -> Path | str:
        return (folder / name).resolve() if isinstance(folder, Path) else f"{folder}/{name}"

    names = [
        f"benchmark_errors.{format}",
        *(f"bpb_by_{level}.{format}" for level in levels),
        *(_unit_tokens_name(level) for level in levels),
    ]
    found = [f"{folder}/{name}" for name in names if place(name) in inputs]
    if found:
        raise PcorrError(
            f"The export would replace {', '.join(found)}, which a sample of the configuration "
            "is read from. Choose another folder."
        )


def _unit_tokens_name(level: str) -> str:
    return f"unit_tokens_by_{level}.csv"


def _share_unit_tokens(
    wh: Warehouse, sample: str, folder: Path, files: PublishedFiles
) -> Path | None:
    """Write the tokens of each unit, if the targets of the level agree on them."""
    path = folder / _unit_tokens_name(files.level)
    units = read_units(wh, sample, files.level).to_pylist()
    counted: list[dict[str, int | None]] = []
    for keys in wh.partitions("sampling_distributions"):
        if keys[0] == sample:
            rows = wh.read(
                "sampling_distributions", *keys, columns=["level", "unit", "token_count"]
            )
            own = rows.filter(pc.field("level") == files.level)
            tokens = dict(zip(own["unit"].to_pylist(), own["token_count"].to_pylist(), strict=True))
            counted += [tokens] if tokens else []
    agreed = counted and all(tokens == counted[0] for tokens in counted)
    if not agreed or counted[0].keys() != set(units) or None in counted[0].values():
        path.unlink(missing_ok=True)
        return None
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["unit", "token_count"])
        writer.writerows((unit, counted[0][unit]) for unit in units)
    return path


def provenance(settings: Settings) -> dict[str, dict[str, str]]:
    """What the README of an exported database says of where it comes from.

    The configuration is written from the settings, so comments of the file stay out, and
    without `slurm` and `exports`: no login, key file or host leaves the house. (A password
    cannot stand in a configuration at all.) Paths below the file's folder are relative to it.
    """
    limits = {
        target: settings.selection_for(target).max_nan_fraction for target in settings.targets
    }
    return {
        NAN_SECTION: {
            target: repr(limit)
            for target, limit in limits.items()
            if limit < settings.selection.max_nan_fraction
        },
        ESTIMATOR_SECTION: {
            target: settings.selection_for(target).estimator for target in settings.targets
        },
        "configuration": {"pcorr.yaml": configuration_text(settings)},
        "version at export": {"Python": platform.python_version(), **_versions()},
    }


def configuration_text(settings: Settings) -> str:
    """The settings as YAML, defaults written out, that `load_settings` reads again."""
    kept_back: Any = {"compute": {"slurm"}, "exports": True}
    stated = settings.model_dump(mode="json", exclude_none=True, exclude=kept_back)
    # Of these, a default may belong to another kind of source or model than the one written.
    written = settings.model_dump(
        mode="json",
        exclude_none=True,
        exclude_unset=True,
        exclude={"llms": {"__all__": {"slurm": True, "models": {"__all__": {"slurm"}}}}},
    )
    stated |= {name: written[name] for name in ("samples", "llms", "pools") if name in written}
    if stated["compute"]["mode"] == "slurm":
        stated["compute"]["mode"] = "local"
    folder = settings.path.parent if settings.path is not None else settings.home.parent
    return yaml.safe_dump(_relative(stated, f"{folder}/"), sort_keys=False, allow_unicode=True)


def _relative(value: Any, folder: str) -> Any:
    if isinstance(value, dict):
        return {key: _relative(inside, folder) for key, inside in value.items()}
    if isinstance(value, list):
        return [_relative(inside, folder) for inside in value]
    if isinstance(value, str) and value.startswith(folder):
        return f"./{value.removeprefix(folder)}"
    return value


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
