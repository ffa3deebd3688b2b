"""A sample's matrix in the published wide format, to be shared and imported again.

Belongs here: which LLMs and errors go into the two files, their columns, and writing them.
Does not belong here: reading such files (`imports`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from pcorr_assets.config.keys import llm_key_problem
from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.candidates import REMOVED
from pcorr_assets.matrix.errors import Row, outdated
from pcorr_assets.matrix.identity import column_name, identify, published_name
from pcorr_assets.matrix.layout import MatrixView, read_matrix
from pcorr_assets.matrix.wide_files import PARQUET
from pcorr_assets.matrix.wording import count, name_some
from pcorr_assets.progress import Progress
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import atomic_path
from pcorr_assets.warehouse.parquet_files import SealedWriter
from pcorr_assets.warehouse.store import IMPORTED

FORMATS = ("csv", "parquet")

# Cells that are turned from columns into lines at a time.
CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class PublishedFiles:
    """The two files, and in `report` what they cannot say, in sentences.

    `llm_count` counts the LLMs of the matrix, `unit_count` its units at `level`.
    `unit_tokens` is a third file, of the tokens of each unit, where somebody wrote one.
    """

    bpb: Path
    errors: Path
    level: str
    llm_count: int
    unit_count: int
    benchmark_count: int
    report: list[str]
    unit_tokens: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """All files."""
        return [path for path in (self.bpb, self.errors, self.unit_tokens) if path is not None]


def export_published(
    wh: Warehouse,
    sample: str,
    folder: Path | str,
    level: str,
    format: str = "csv",
    *,
    expected_settings: Mapping[str, str] | None = None,
) -> PublishedFiles:
    """Write `bpb_by_<level>.csv` and `benchmark_errors.csv` (or `.parquet`) into `folder`.

    Columns are named `('family', 'org/name')`, a checkpoint `@step<digits>` of an LLM
    `org/name_step<digits>`; rows are the units of the matrix and the benchmarks. Numbers are
    written with as many digits as they need to come back bit by bit, so that an import of
    the files (`matrix_csv`) gives the same matrix, the same errors and equal estimates.
    An LLM that has errors but is not in the matrix gets an empty column of BPB: targets
    with `combine: mean_rank` count it.

    `expected_settings` (`settings_sha256` of each configured benchmark) leaves out own
    evaluations that were made with others, as error vectors do; None: all count.

    Raises PcorrError if the matrix or all errors are missing, the matrix lacks the level, a
    unit has a blank name, two LLMs would have one column, or `format` is not csv or parquet.
    """
    if format not in FORMATS:
        raise PcorrError(f"{format!r} is no format of the export; choose {' or '.join(FORMATS)}")
    view = read_matrix(wh, sample, level)
    blank = sum(not unit.strip() for unit in view.units.to_pylist())
    if blank:
        raise PcorrError(
            f"Sample {sample!r} has {count(blank, level)} with a blank name, which the published "
            f"format has no place for; give every {level} a name, or export another level"
        )
    # An imported matrix does not say how many bytes are behind a unit.
    errors = _errors(wh, sample, view, expected_settings)
    if errors.cells.keys().isdisjoint(view.llms):
        raise PcorrError(
            f"No LLM in the matrix of sample {sample!r} has a benchmark error, and files without "
            "any cannot be imported; materialise benchmark_errors first"
        )
    unknown = [llm for llm in view.llms if llm not in errors.families]
    if unknown:
        raise PcorrError(
            f"Table llms does not know {name_some(unknown)} of the matrix of sample {sample!r}, so "
            "their families are unknown; materialise bpb_matrix again, or chunk_bpb before it"
        )
    llms = sorted({*view.llms, *errors.cells})
    columns, renamed = _columns(llms, errors)
    bpb = Path(folder) / f"bpb_by_{level}.{format}"
    _write(bpb, ["id", *columns.values()], _bpb_tables(view, llms), len(view.units))
    with_errors = [llm for llm in llms if llm in errors.cells]
    benchmarks = sorted({name for cells in errors.cells.values() for name in cells})
    error_file = Path(folder) / f"benchmark_errors.{format}"
    header = ["benchmark", *(columns[llm] for llm in with_errors)]
    _write(error_file, header, [_error_table(errors, with_errors, benchmarks)], len(benchmarks))
    return PublishedFiles(
        bpb=bpb,
        errors=error_file,
        level=level,
        llm_count=len(view.llms),
        unit_count=len(view.units),
        benchmark_count=len(benchmarks),
        report=[*_unsaid(wh, sample, set(view.llms), llms), *errors.report, *renamed],
    )


@dataclass(frozen=True)
class _Errors:
    """`cells[llm][benchmark]` are the errors that count; `families` has every LLM exported."""

    cells: dict[str, dict[str, float]]
    families: dict[str, str]
    is_import: bool
    report: list[str]


def _errors(
    wh: Warehouse,
    sample: str,
    view: MatrixView,
    expected_settings: Mapping[str, str] | None,
) -> _Errors:
    # An imported matrix does not say how many bytes are behind a unit.
    is_import = view.byte_count is None
    if is_import:
        partitions: list[tuple[str, ...]] = [(IMPORTED, sample)]
    else:
        coverage = wh.read("matrix_coverage", sample).to_pylist()
        known = {row["llm"] for row in coverage if row["reason"] != REMOVED}
        partitions = [(llm,) for llm in sorted(known) if llm_key_problem(llm) is None]
    records = {row["llm"]: row for row in _rows(wh, "llms", partitions)}
    cells: dict[str, dict[str, float]] = {}
    report: list[str] = []
    for row in _rows(wh, "benchmark_errors", partitions):
        llm, benchmark = row["llm"], row["benchmark"]
        if llm not in records:
            reason = "table llms does not know it; materialise its benchmark_errors again"
        elif is_import or expected_settings is None:
            reason = None
        else:
            reason = outdated(row, records[llm], expected_settings)
        if reason is None:
            cells.setdefault(llm, {})[benchmark] = row["error"]
        else:
            report.append(f"The error of {llm} on {benchmark} is left out: {reason}.")
    families = {llm: record["family"] for llm, record in records.items()}
    return _Errors(cells, families, is_import, report)


def _rows(wh: Warehouse, table: str, partitions: Sequence[tuple[str, ...]]) -> Iterator[Row]:
    for keys in partitions:
        if wh.exists(table, *keys):
            yield from wh.read(table, *keys).to_pylist()


def _columns(llms: Sequence[str], errors: _Errors) -> tuple[dict[str, str], list[str]]:
    """The column of each LLM, and a sentence on each that comes back under another key."""
    names = {
        llm: (errors.families[llm], published_name(llm, errors.families[llm], errors.is_import))
        for llm in llms
    }
    twice = [llm for llm in llms if list(names.values()).count(names[llm]) > 1]
    if twice:
        raise PcorrError(
            f"{name_some(twice)} cannot stand in one file: in the published format, a name that "
            "ends in _step<digits> is the checkpoint @step<digits>. Rename or remove one of them"
        )
    back = identify(names.values())
    renamed = [
        f"{llm} comes back as {back[names[llm]].key}: the published format has no other name for "
        "it. Its numbers are the same."
        for llm in llms
        if back[names[llm]].key != llm
    ]
    return {llm: column_name(*names[llm]) for llm in llms}, renamed


def _unsaid(wh: Warehouse, sample: str, included: set[str], llms: Sequence[str]) -> Iterator[str]:
    """What the files do not show of the matrix."""
    rows = wh.read("matrix_coverage", sample).to_pylist()
    masked = [f"{r['llm']} ({r['nan_count']:,})" for r in rows if r["included"] and r["nan_count"]]
    if masked:
        yield (
            "Chunks without a BPB for some LLM left the matrix for all and are not in the files, "
            "so a max_nan_fraction of a target alone cannot leave these LLMs out: "
            f"{name_some(masked)}."
        )
    empty = [llm for llm in llms if llm not in included]
    if empty:
        yield (
            f"{count(len(empty), 'LLM')} with errors and without a place in the matrix got an "
            f"empty column of BPB: {name_some(empty)}."
        )


def _bpb_tables(view: MatrixView, llms: Sequence[str]) -> Iterator[pa.Table]:
    """The matrix turned into lines, some units at a time."""
    row_of = {llm: row for row, llm in enumerate(view.llms)}
    step = max(1, CELLS_AT_ONCE // len(llms))
    for start in range(0, len(view.units), step):
        units = view.units.slice(start, step)
        cells = [
            pa.array(view.X[row_of[llm], start : start + step])
            if llm in row_of
            else pa.nulls(len(units), pa.float64())
            for llm in llms
        ]
        yield pa.table([units, *cells], names=[str(n) for n in range(len(llms) + 1)])


def _error_table(errors: _Errors, llms: Sequence[str], benchmarks: Sequence[str]) -> pa.Table:
    cells = [
        pa.array([errors.cells[llm].get(name) for name in benchmarks], pa.float64()) for llm in llms
    ]
    names = pa.array(benchmarks, pa.string())
    return pa.table([names, *cells], names=[str(n) for n in range(len(llms) + 1)])


def _write(path: Path, header: list[str], tables: Iterable[pa.Table], rows: int) -> None:
    """Replace the file by the header and the rows of all tables, piece by piece."""
    numbers = [pa.field(name, pa.float64()) for name in header[1:]]
    schema = pa.schema([pa.field(header[0], pa.string()), *numbers])
    with (
        atomic_path(path) as temporary,
        Progress(f"export {path.name}", total=rows, unit="rows") as progress,
        _writer(temporary, schema, path.suffix) as writer,
    ):
        for table in tables:
            writer.write_table(table.rename_columns(header))
            progress.update(table.num_rows)


@contextmanager
def _writer(
    path: Path, schema: pa.Schema, suffix: str
) -> Iterator[pa_csv.CSVWriter | SealedWriter]:
    if suffix == PARQUET:
        with SealedWriter(path, schema) as parquet:
            yield parquet
        return
    # Written here, so that only names with a comma or a quote are quoted, as published.
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(schema.names)
    options = pa_csv.WriteOptions(include_header=False, quoting_style="needed")
    with path.open("wb") as file:
        file.write(text.getvalue().encode())
        with pa_csv.CSVWriter(file, schema, write_options=options) as writer:
            yield writer
