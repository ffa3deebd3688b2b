"""Sources of texts: samples, pools, their tokenizers and published matrices.

Belongs here: opening each source and looking at its first rows. Does not belong here:
reading it as a whole.
"""

from __future__ import annotations

import glob
from itertools import islice
from pathlib import Path
from typing import Any

from pcorr_assets.config import Pool, Sample, Settings
from pcorr_assets.config.section import Location
from pcorr_assets.defs.deep_check.findings import Findings
from pcorr_assets.errors import PcorrError
from pcorr_assets.storage.copies import local_copy
from pcorr_assets.storage.remote import RemoteFile
from pcorr_assets.text.files import expand_globs, iter_file
from pcorr_assets.text.formats import check_content

FIRST_ROWS = 100
# More files than these are only checked for being there.
FILES_OPENED = 50


def is_on_hub(name: str | None) -> bool:
    """Is it a name on the hub, not a folder (which the settings hold as an absolute path)?"""
    return name is not None and not Path(name).is_absolute()


def check_sample(key: str, sample: Sample, findings: Findings, hub_problem: str | None) -> None:
    """A sample's source, columns, tokenizer and token counts."""
    place: Location = ("samples", key)
    if sample.matrix_csv is not None:
        _check_matrix(place, sample, findings)
    elif _is_there(place, sample, findings, hub_problem):
        _check_rows(place, sample, findings)
    if sample.reference_tokenizer is not None:
        where = (*place, "reference_tokenizer")
        check_tokenizer(where, sample.reference_tokenizer, findings, hub_problem, exact=True)
    for level, file in sample.unit_token_files.items():
        with (
            findings.at((*place, "unit_tokens", *([level] if level else []))),
            local_copy(file, sample.storage) as path,
        ):
            next(iter_file(path, ["unit", "token_count"]), None)


def check_pool(key: str, settings: Settings, findings: Findings, hub_problem: str | None) -> None:
    """A pool's shards, the columns of the first, and what counts its tokens."""
    from pcorr_assets.filters.pools import iter_documents, list_shards

    pool, place = settings.pools[key], ("pools", key)
    if pool.token_count_column is None and not _some_tokenizer(settings):
        findings.add(
            place,
            "nothing counts its tokens; set token_count_column, or selection.tokenizer",
        )
    if not _is_there(place, pool, findings, hub_problem):
        return
    if pool.dataset is not None:
        with findings.at((*place, "dataset")):
            _check_streamed(pool)
        return
    with findings.at((*place, "files" if pool.files else "saved")):
        shards = list_shards(key, pool)
        if shards:
            next(iter_documents(shards[0], pool), None)


def check_tokenizer(
    place: Location, name: str, findings: Findings, hub_problem: str | None, *, exact: bool = False
) -> None:
    """A tokenizer can be loaded; `exact`: and says where in the text its tokens stand."""
    from pcorr_assets.text.tokenizers import load_tokenizer, rust_tokenizer

    try:
        tokenizer = load_tokenizer(name)
        if exact:
            rust_tokenizer(tokenizer)
    except PcorrError as error:
        if hub_problem is not None and is_on_hub(name):
            findings.notes.append(f"tokenizer {name} was not checked: {hub_problem}")
        else:
            findings.add(place, str(error))


def _some_tokenizer(settings: Settings) -> bool:
    targets = settings.targets.values()
    return settings.selection.tokenizer is not None or any(t.tokenizer for t in targets)


def _is_there(
    place: Location, source: Sample | Pool, findings: Findings, hub_problem: str | None
) -> bool:
    """Are the files of every pattern there, and what their names say?"""
    if source.files is None:
        if is_on_hub(source.dataset) and hub_problem is not None:
            findings.notes.append(f"dataset {source.dataset} was not checked: {hub_problem}")
            return False
        return True
    before = len(findings.found)
    for i, pattern in enumerate(source.files):
        with findings.at((*place, "files", i)):
            for path in expand_globs([pattern], source.storage):
                check_content(path, source.file_format)
    return len(findings.found) == before


def _check_rows(place: Location, sample: Sample, findings: Findings) -> None:
    from pcorr_assets.text.sources import open_source

    # Streamed, so that nothing is downloaded or copied for a look at its first rows.
    one = sample.model_copy(update={"subsample_ratio": 0.5})
    if sample.files is None:
        parts = [((*place, "saved" if sample.saved else "dataset"), one)]
    else:
        opened = [
            glob.escape(str(path)) if isinstance(path, RemoteFile) else str(path)
            for path in expand_globs(sample.files, sample.storage)
        ]
        if len(opened) > FILES_OPENED:
            findings.notes.append(
                f"{'.'.join(map(str, place))}: rows of the first {FILES_OPENED} of "
                f"{len(opened):,} files were looked at"
            )
        parts = [
            ((*place, "files"), one.model_copy(update={"files": [path]}))
            for path in opened[:FILES_OPENED]
        ]
    rows: list[Any] = []
    before = len(findings.found)
    for where, part in parts:
        with findings.at(where):
            rows += islice(open_source(part), FIRST_ROWS)
    if len(findings.found) > before:
        return
    lacking = {
        "text_column": (sample.text_column, [row.text for row in rows]),
        "id_column": (sample.id_column, [row.page_id for row in rows]),
    }
    if sample.domain_column is not None:
        lacking["domain_column"] = (sample.domain_column, [row.domain for row in rows])
    if not rows:
        findings.add(place, "the source has no rows; name another")
    for option, (column, values) in lacking.items():
        if rows and all(value is None for value in values):
            findings.add(
                (*place, option),
                f"the first {len(rows):,} rows have no value in {column!r}; name another column",
            )


def _check_streamed(pool: Pool) -> None:
    from pcorr_assets.text.formats import require_columns
    from pcorr_assets.text.sources import explained, open_dataset

    where = f"dataset {pool.dataset!r}"
    dataset = open_dataset(pool, streaming=True)
    with explained(where, "check the name, split and access to the hub"):
        first = next(iter(dataset), {})
    columns = [pool.text_column, *([pool.token_count_column] if pool.token_count_column else [])]
    require_columns(first, columns, where)


def _check_matrix(place: Location, sample: Sample, findings: Findings) -> None:
    from pcorr_assets.matrix.wide_files import read_wide_header

    matrix = sample.matrix_csv
    assert matrix is not None
    columns: list[set[tuple[str, str]]] = []
    for option, named, first in (("bpb", matrix.bpb, "id"), ("errors", matrix.errors, "benchmark")):
        with (
            findings.at((*place, "matrix_csv", option)),
            local_copy(named, sample.storage) as path,
        ):
            columns.append(set(read_wide_header(path, first)))
    if len(columns) == 2 and not columns[0] & columns[1]:
        findings.add(
            (*place, "matrix_csv"),
            "no LLM has a column in both files; their columns must be named alike",
        )
