"""Where pages come from: hub datasets, local files, `datasets.save_to_disk` folders.

Belongs here: opening a sample's source and finding text, id and domain in its rows.
Does not belong here: file formats (`files`), and which rows become pages (`sampling`).
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pyarrow as pa

from pcorr_assets.config.fields import COMBINED
from pcorr_assets.errors import PcorrError
from pcorr_assets.storage.filesystems import options_of
from pcorr_assets.text.arrow_files import batch_to_rows, wanted_columns
from pcorr_assets.text.bad_rows import BadRows
from pcorr_assets.text.cleaning import decode_lossless
from pcorr_assets.text.files import expand_globs, iter_file
from pcorr_assets.text.formats import require_columns
from pcorr_assets.text.lines import first_line
from pcorr_assets.text.rows import Rows, TextColumn, key_of

if TYPE_CHECKING:
    from pcorr_assets.config.texts import Sample, TextSource

DATASET_BATCH_ROWS = 64

_HUB_HELP = (
    "check the name, `name`, `split` and `revision` of the dataset; if it is gated, accept its "
    "terms on the hub and log in (`hf auth login` or HF_TOKEN); offline, it has to be in the "
    "local cache already"
)
# What `datasets` says where a repository holds Python code instead of data.
_SCRIPT = "Dataset scripts are no longer supported"
_SCRIPT_HELP = (
    "it is a loading script, which `datasets` does not run any more, and neither does this "
    "platform. Download the repository's data files (`hf download NAME --repo-type dataset "
    "--local-dir FOLDER`) and name them under `files` instead of `dataset`, as configs/rpjv2.yaml "
    "does; many such repositories also have their rows as Parquet: `revision: refs/convert/parquet`"
)


class SourceRow(NamedTuple):
    """One row of a source. Strings may hold lone surrogates (see `cleaning`).

    `text`, `page_id` and `domain` are None where the row has none: missing, blank, or (text)
    neither a string nor bytes; then `other_type` says where and of what type the value is.
    `has_unreadable_metadata`: the metadata column was neither JSON nor a Python literal of a
    mapping. `units` are those of the page at each level of `unit_columns`.
    """

    text: str | None
    page_id: str | None
    domain: str | None
    has_unreadable_metadata: bool = False
    other_type: str | None = None
    units: tuple[str | None, ...] = ()


def open_source(sample: Sample, bad: BadRows | None = None) -> Iterator[SourceRow]:
    """Yield the rows of a sample's source in their order, streamed.

    A hub dataset is streamed where `subsample_ratio` is below 1, otherwise downloaded
    into the cache of `datasets` and read from there. Id and domain are the row's own
    columns; with `metadata_column`, where the row has no such column or no value in it, they
    are looked up in that column: a struct, JSON, or a Python literal. `bad` (`BadRows.of` the
    sample) is filled on the way.

    Raises PcorrError if the source cannot be read, lacks a column (listing those it has), or
    if a file (the dataset) has values in the text column of which none is a text; at the end
    also if more rows than the sample allows were bad.
    """
    bad = BadRows.of(sample) if bad is None else bad
    required = [sample.text_column]
    lookups = [sample.id_column, *([sample.domain_column] if sample.domain_column else [])]
    lookups += [name for columns in sample.unit_columns.values() for name in columns]
    if sample.metadata_column:
        required.append(sample.metadata_column)
        optional = lookups
    else:
        required += lookups
        optional = []
    for where, batches in _open_parts(sample, list(dict.fromkeys(required)), optional, bad):
        texts = TextColumn(sample.text_column)
        for rows in batches:
            for index in range(len(rows)):
                yield _to_source_row(rows, index, texts, sample)
        texts.refuse_if_no_text(where)
    bad.check("the files of the sample")


def _open_parts(
    sample: Sample, columns: Sequence[str], optional: Sequence[str], bad: BadRows
) -> Iterator[tuple[str, Iterator[Rows]]]:
    """Each file of the sample, or its dataset, with how messages name it."""
    if sample.files:
        for path in expand_globs(sample.files, sample.storage):
            named = sample.file_format
            yield str(path), iter_file(path, columns, optional, named=named, bad=bad)
    elif sample.saved is not None or sample.dataset is not None:
        dataset = open_dataset(sample, streaming=sample.subsample_ratio < 1)
        where = f"dataset {sample.dataset!r}" if sample.saved is None else str(sample.saved)
        yield where, _dataset_rows(dataset, columns, optional, where)
    else:
        raise PcorrError(
            "the sample has no text source: give it one of dataset, files or saved "
            "(a sample with matrix_csv is imported, not chunked)"
        )


def open_dataset(source: TextSource, *, streaming: bool = False) -> Any:
    """Open the `dataset` or `saved` of a sample or pool: one split, Dataset or IterableDataset.

    `streaming` concerns `dataset` only; a saved folder is memory-mapped. Raises PcorrError if
    it cannot be opened, or lacks the split (a saved folder without splits has no need of it).
    """
    import datasets

    if source.saved is None:
        with explained(f"dataset {source.dataset!r}", _HUB_HELP):
            return datasets.load_dataset(
                cast(str, source.dataset),
                name=source.name,
                split=source.split,
                revision=source.revision,
                streaming=streaming,
            )
    folder = source.saved
    if isinstance(folder, Path) and not folder.is_dir():
        raise PcorrError(f"{folder}: no such folder; expected one of datasets.save_to_disk")
    with explained(str(folder), "expected a folder that datasets.save_to_disk wrote"):
        options = None if isinstance(folder, Path) else options_of(folder, source.storage)
        dataset = datasets.load_from_disk(str(folder), storage_options=options)
    if not isinstance(dataset, datasets.DatasetDict):
        return dataset
    if source.split not in dataset:
        raise PcorrError(
            f"{folder}: no split {source.split!r}; it has {', '.join(map(str, dataset))}: "
            "set `split`"
        )
    return dataset[source.split]


def _dataset_rows(
    dataset: Any, columns: Sequence[str], optional: Sequence[str], where: str
) -> Iterator[Rows]:
    """Rows of a `datasets` Dataset or IterableDataset with the wanted columns."""
    # A streamed dataset may not know its columns before its first row.
    if dataset.column_names is not None:
        require_columns(dataset.column_names, columns, where)
        dataset = dataset.select_columns(wanted_columns(columns, optional, dataset.column_names))
    first = 1
    with explained(where, _HUB_HELP):
        for table in dataset.with_format("arrow").iter(batch_size=DATASET_BATCH_ROWS):
            require_columns(table.column_names, columns, where)
            present = wanted_columns(columns, optional, table.column_names)
            yield batch_to_rows(table.select(present), where, first)
            first += table.num_rows


@contextmanager
def explained(what: str, help_text: str) -> Iterator[None]:
    """Turn what `datasets` raises for unreadable data into a PcorrError that helps."""
    import httpx2
    from datasets.exceptions import DatasetsError

    try:
        yield
    except PcorrError:
        raise
    except httpx2.TransportError as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise PcorrError(
            f"{what}: the connection failed ({reason}); run this again, and if it fails again, "
            f"{help_text}"
        ) from error
    except (OSError, ValueError, DatasetsError, pa.ArrowException, httpx2.HTTPError) as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise PcorrError(f"{what}: cannot be read ({reason}); {help_text}") from error
    except RuntimeError as error:
        if _SCRIPT not in str(error):
            raise
        raise PcorrError(f"{what}: {_SCRIPT_HELP}") from error


def _to_source_row(rows: Rows, index: int, texts: TextColumn, sample: Sample) -> SourceRow:
    row = rows[index]

    def key(values: Mapping[str, Any], column: str) -> str | None:
        return _to_key(values.get(column), column, rows.place(index))

    page_id = key(row, sample.id_column)
    domain_column = sample.domain_column
    domain = key(row, domain_column) if domain_column else None
    named = {name: key(row, name) for columns in sample.unit_columns.values() for name in columns}
    unreadable = False
    if sample.metadata_column and (
        page_id is None or (domain_column and domain is None) or None in named.values()
    ):
        metadata = parse_metadata(row.get(sample.metadata_column))
        unreadable = metadata is None
        if metadata is not None:
            page_id = page_id or key(metadata, sample.id_column)
            if domain_column:
                domain = domain or key(metadata, domain_column)
            named = {name: found or key(metadata, name) for name, found in named.items()}
    text, other_type = texts.text(rows, index)
    if text is not None and (not text or text.isspace()):
        text = None
    units = tuple(_unit([named[name] for name in names]) for names in sample.unit_columns.values())
    return SourceRow(text, page_id, domain, unreadable, other_type, units)


def _unit(values: Sequence[str | None]) -> str | None:
    """The unit that some columns name together; None if one of them has no value."""
    present = [value for value in values if value is not None]
    return COMBINED.join(present) if len(present) == len(values) else None


def parse_metadata(value: object) -> Mapping[str, Any] | None:
    """A metadata value as a mapping: a struct, JSON, or else a Python literal.

    An absent value is an empty mapping; None means that the value is unreadable.
    """
    if isinstance(value, bytes):
        value = decode_lossless(value)
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            try:
                value = ast.literal_eval(value.strip())
            except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
                return None
    if value is None or value == "":
        return {}
    return value if isinstance(value, Mapping) else None


def _to_key(value: object, column: str, place: str) -> str | None:
    """An id or domain as a string; None where there is none."""
    if isinstance(value, (Mapping, list, tuple, set)):
        raise PcorrError(
            f"{place}: column {column!r} holds a {type(value).__name__}, not an id or a domain: "
            f"for a value inside it set metadata_column: {column} and name the key"
        )
    return key_of(value)
