"""Selected documents as files for a training run, shard by shard, with a manifest.

Belongs here: copying the selected documents with their original columns, the table
`selections`, the manifest, and going on after an interruption. Does not belong here:
which documents (`selection`).
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pcorr_assets.config.keys import to_slug
from pcorr_assets.errors import DamagedFileError
from pcorr_assets.filters.columns import JsonValues
from pcorr_assets.filters.contamination import MARK, NOT_SEARCHED
from pcorr_assets.filters.model import FASTTEXT_EPSILON
from pcorr_assets.filters.pools import Shard
from pcorr_assets.filters.selected import CONTAMINATED_BY, SCORE, SelectedRows
from pcorr_assets.filters.selection import OpenSelection, select_documents
from pcorr_assets.progress import Progress
from pcorr_assets.storage.writing import put_folder
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import (
    atomic_path,
    replace_folder,
    restore_folder,
    sha256_file,
    write_text,
)
from pcorr_assets.warehouse.json_files import read_json, write_json
from pcorr_assets.warehouse.parquet_files import SealedWriter
from pcorr_assets.warehouse.store import content_hash
from pcorr_assets.warehouse.verification import CARD, MANIFEST

if TYPE_CHECKING:
    from pcorr_assets.config import Pool, SelectionCompute

logger = logging.getLogger(__name__)

BYTES_PER_GROUP = 32 << 20
UNFINISHED = ".unfinished"
PART_NOTE = ".part.json"
# The note beside the rows of `selections` of what their `SelectionSummary` counts.
SUMMARY = "summary"


@dataclass(frozen=True)
class SelectedData:
    """What was written: the folder, its manifest as a dict, and how many shards of it were
    there already from an interrupted run; `output` is the URL that it was put below as well."""

    folder: Path
    manifest: Mapping[str, Any]
    reused_shard_count: int
    output: str | None = None


def write_selected(
    warehouse: Warehouse,
    pool_name: str,
    pool: Pool,
    target: str,
    shards: list[Shard],
    groups: Sequence[str],
    *,
    config: Mapping[str, Any] | None = None,
    run_id: str | None = None,
    compute: SelectionCompute | None = None,
    card: Callable[[Mapping[str, Any]], str] | None = None,
    decontaminate: str = "off",
) -> SelectedData:
    """Select the documents of a pool for a target and write them out.

    Files go to `<home>/selected/<pool>/<target>/<slug>.<format>`, one for each shard with
    selected documents, in the shard's order, with the original columns and `score`
    (`pcorr_score` if the pool has a column of that name), with `decontaminate: mark` also
    `contaminated_by`, beside `manifest.json`. They are
    written to `<home>/selected/.unfinished` first, where an interrupted run goes on with the
    shards that are missing. The whole folder then takes the place of the earlier selection,
    and the table `selections` follows. Where the pool has an `output`, the folder is put
    below that URL at last, the manifest after all that it names.

    Args:
        shards: all shards of the pool; groups: those that they are in.
        config: the settings to note in the manifest; run_id: the run's.
        compute: threads and memory; decontaminate: both as for `select_documents`.
        card: the text of `README.md` beside the manifest, from the manifest; None: no such file.

    Raises:
        PcorrError: as `select_documents`; a shard changed since it was scored.
    """
    selected, place = warehouse.home / "selected", Path(to_slug(pool_name), to_slug(target))
    folder, unfinished = selected / place, selected / UNFINISHED / place
    aside = unfinished.with_name(f".old-{unfinished.name}")
    restore_folder(folder, aside)
    keys = [shard.key for shard in shards]
    with select_documents(
        warehouse, pool_name, pool, target, keys, groups, compute, decontaminate
    ) as selection:
        fingerprint = _fingerprint(selection)
        writer = _ShardWriter(unfinished, pool, selection, fingerprint)
        parts = []
        with (
            Progress(f"write {pool_name} for {target}", total=len(shards), unit="shards") as done,
            warehouse.writer("selections", (pool_name, target)) as table,
        ):
            for shard in shards:
                documents = selection.documents(shard.key)
                if documents.num_rows:
                    parts.append(writer.write(shard, documents))
                    table.write(_selection_rows(documents, pool_name, target, shard.key))
                done.update()
            manifest = _manifest(selection, pool_name, pool, target, parts, config, run_id)
            table.metadata["manifest"] = str(folder / MANIFEST)
            table.metadata[SUMMARY] = json.dumps(asdict(selection.summary), sort_keys=True)
            write_json(unfinished / MANIFEST, manifest, indent=2)
            kept = {MANIFEST, *(part["file"] for part in parts)}
            if card is not None:
                write_text(unfinished / CARD, card(manifest))
                kept.add(CARD)
            _keep_only(unfinished, kept)
            replace_folder(unfinished, folder, aside)
    output = None
    if pool.output is not None:
        output = f"{pool.output}/{place.as_posix()}"
        put_folder(folder, output, pool.storage, last=MANIFEST)
    return SelectedData(folder, manifest, writer.reused_count, output)


def _fingerprint(selection: OpenSelection) -> str:
    """Changes whenever other documents, scores or files could come out."""
    stats = [path.stat() for path in selection.paths]
    return content_hash(
        json.dumps(asdict(selection.summary), sort_keys=True),
        selection.order.value,
        *(
            f"{path}:{stat.st_size}:{stat.st_mtime_ns}"
            for path, stat in zip(selection.paths, stats, strict=True)
        ),
    )


def _selection_rows(documents: pa.Table, pool: str, target: str, shard: str) -> pa.Table:
    rows = documents.select(
        ["document_id", "score", "token_count", "is_boundary", "contaminated_by"]
    )
    for name, value in (("pool", pool), ("target", target), ("shard", shard)):
        rows = rows.append_column(name, pa.array([value] * rows.num_rows, pa.string()))
    return rows


class _ShardWriter:
    """Writes the selected documents of one shard after the other into `folder`."""

    def __init__(
        self, folder: Path, pool: Pool, selection: OpenSelection, fingerprint: str
    ) -> None:
        self.reused_count = 0
        self._folder = folder
        self._pool = pool
        self._fingerprint = fingerprint
        self._is_marked = selection.summary.decontaminate == MARK

    def write(self, shard: Shard, documents: pa.Table) -> dict[str, Any]:
        """The manifest's entry of the shard's file, which is there afterwards."""
        path = self._folder / f"{shard.slug}.{self._pool.format}"
        note = path.with_name(f"{path.name}{PART_NOTE}")
        if entry := self._finished(path, note):
            self.reused_count += 1
            return entry
        source = SelectedRows(shard, self._pool, documents, is_marked=self._is_marked)
        with atomic_path(path) as temporary:
            non_finite = 0
            if self._pool.format == "parquet":
                columns = _write_parquet(source, temporary)
            else:
                texts = {self._pool.text_column, self._pool.id_column}
                columns, non_finite = _write_json_lines(source, temporary, self._pool.format, texts)
            if non_finite:
                logger.warning(
                    "%s: %s numbers are NaN or infinite, which JSON has no word for: written as "
                    "null (format: parquet keeps them)",
                    shard.where,
                    f"{non_finite:,}",
                )
            entry = {
                "file": path.name,
                "shard": shard.key,
                "source": shard.where,
                "documents": documents.num_rows,
                "tokens": sum(documents["token_count"].to_pylist()),
                "bytes": temporary.stat().st_size,
                "sha256": sha256_file(temporary),
                "score_column": columns[SCORE],
                "contaminated_by_column": columns.get(CONTAMINATED_BY),
                "non_finite_numbers_as_null": non_finite,
            }
        write_json(note, {"selection": self._fingerprint, "entry": entry})
        return entry

    def _finished(self, path: Path, note: Path) -> dict[str, Any] | None:
        if not (path.is_file() and note.is_file()):
            return None
        try:
            found = read_json(note)
        except DamagedFileError as error:
            logger.warning("%s is damaged (%s): %s is written again", note, error.reason, path.name)
            return None
        entry = found["entry"]
        if found["selection"] != self._fingerprint or sha256_file(path) != entry["sha256"]:
            return None
        return entry


def _write_parquet(source: SelectedRows, path: Path) -> dict[str, str]:
    """Write the rows; what the columns that are added are called there."""
    tables = source.tables()
    waiting = [next(tables)]
    schema = waiting[0].schema
    with SealedWriter(path, schema) as writer:
        for table in tables:
            waiting.append(table.cast(schema))
            if sum(part.nbytes for part in waiting) >= BYTES_PER_GROUP:
                writer.write_table(pa.concat_tables(waiting))
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting))
    return dict(zip(source.added, schema.names[-len(source.added) :], strict=True))


def _write_json_lines(
    source: SelectedRows, path: Path, kind: str, texts: Collection[str]
) -> tuple[dict[str, str], int]:
    columns = {name: name for name in source.added}
    # Whether a row far down has a column of that name shows only when it comes.
    while isinstance(
        found := _try_json_lines(source, path, kind, list(columns.values()), texts), str
    ):
        columns = {
            name: f"pcorr_{column}" if column == found else column
            for name, column in columns.items()
        }
    return columns, found.non_finite


def _try_json_lines(
    source: SelectedRows, path: Path, kind: str, columns: list[str], texts: Collection[str]
) -> JsonValues | str:
    """Write the rows with `columns` for what is added; one of them if a row has it already."""
    values, own = JsonValues(texts), set(columns)
    with _text_file(path, compressed=kind.endswith(".zst")) as file:
        for rows, added in source.rows():
            for row, more in zip(rows, added, strict=True):
                for name in row:
                    if name.casefold() in own:
                        return name.casefold()
                file.write(values.line({**row, **dict(zip(columns, more, strict=True))}))
    return values


@contextmanager
def _text_file(path: Path, *, compressed: bool) -> Iterator[io.BufferedIOBase | Any]:
    with path.open("wb") as file:
        if not compressed:
            yield file
            return
        import zstandard

        with zstandard.ZstdCompressor(level=3).stream_writer(file, closefd=False) as stream:
            yield stream


def _manifest(
    selection: OpenSelection,
    pool_name: str,
    pool: Pool,
    target: str,
    parts: list[dict[str, Any]],
    config: Mapping[str, Any] | None,
    run_id: str | None,
) -> dict[str, Any]:
    summary = selection.summary
    warnings = []
    if summary.is_short:
        warnings.append(
            f"the budget is {summary.budget:,} tokens, but the pool holds only "
            f"{summary.token_count:,}: everything was selected"
        )
    if summary.decontaminate == NOT_SEARCHED:
        warnings.append(
            "benchmark_ngrams was never made, or with `decontaminate: off`, so the documents were "
            "not searched for text of the target's benchmarks"
        )
    return {
        "pool": pool_name,
        "sample": pool.sample,
        "target": target,
        "format": pool.format,
        "budget_tokens": summary.budget,
        **asdict(summary),
        "fasttext_threshold": _of_fasttext(summary.threshold),
        "warnings": warnings,
        "files": parts,
        "config": dict(config or {}),
        "run_id": run_id,
    }


def _of_fasttext(threshold: float | None) -> float | None:
    """What fastText's own predict, and datatrove with it, reports at the threshold."""
    return None if threshold is None else threshold + FASTTEXT_EPSILON


def _keep_only(folder: Path, names: set[str]) -> None:
    """Remove what an interrupted run left of another selection, and the notes of shards."""
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()
