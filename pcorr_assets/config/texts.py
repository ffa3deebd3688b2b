"""Sections about where texts come from: `samples` and `pools`.

Belongs here: what can be said about a source of text in the file. Does not belong here:
reading the sources (`text`, `filters`) and imported matrices (`matrix`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr

from pcorr_assets.config.fields import (
    BASE_LEVELS,
    HubOrFolder,
    MatrixLevel,
    Positive,
    Seed,
    Share,
    Text,
    TokenizerName,
    UnitColumns,
    YesNo,
    ZeroToOne,
    globs,
    number,
    one_of,
)
from pcorr_assets.config.section import Mistake, Section, did_you_mean
from pcorr_assets.config.storage import OutputUrl, PathOrUrl, Storage, UnitTokens

# Endings of compressed files, with what each stands for.
COMPRESSIONS = {
    "": None, ".gz": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bzip2", ".xz": "xz",
}  # fmt: skip
POOL_FORMATS = (
    "parquet",
    "arrow",
    *(f"{name}{end}" for name in ("jsonl", "ndjson", "json") for end in COMPRESSIONS),
    *(f"{name}{end}" for name in ("warc.wet", "wet") for end in COMPRESSIONS),
)
SAMPLE_FORMATS = (*POOL_FORMATS, "csv")
_COMPRESSED = "; lines and WET also with .gz, .zst, .zstd, .bz2 or .xz"
POOL_ENDINGS = f".parquet, .arrow, .jsonl, .ndjson, .json, .warc.wet, .wet{_COMPRESSED}"
SAMPLE_ENDINGS = f".csv, {POOL_ENDINGS}"


class TextSource(Section):
    """What samples and pools share: one source, and which columns hold what.

    `dataset` is a name on the hub or a local dataset folder, read with `name`, `split` and
    `revision` (a commit, tag or branch); `files` are absolute globs; `saved` is a folder
    of `datasets.save_to_disk`, of which `split` is read if it has splits. `file_format` names
    the format of `files` whatever they end in. `storage` says how the store of URLs among them is
    reached. A row of a file that cannot be read is an error,
    or with `on_bad_row: skip` left out and counted, up to the share `max_bad_rows`.
    """

    dataset: HubOrFolder | None = None
    saved: PathOrUrl | None = None
    storage: Storage = Storage()
    name: Text | None = None
    split: Text = "train"
    revision: Text | None = None
    text_column: Text = "text"
    id_column: Text = "id"
    on_bad_row: Annotated[Literal["error", "skip"], one_of("error", "skip")] = "error"
    max_bad_rows: ZeroToOne = 0.001

    @classmethod
    def source_rules(cls, data: Mapping[str, Any], sources: tuple[str, ...]) -> Iterator[Mistake]:
        """Exactly one source, and no option of a source that is not the one."""
        written = [source for source in sources if source in data]
        if len(written) != 1:
            found = " and ".join(written) if written else "none of them"
            yield (), f"found {found}; expected exactly one of {', '.join(sources)}"
        for option, owners in {
            "name": ("dataset",),
            "revision": ("dataset",),
            "split": ("dataset", "saved"),
            "file_format": ("files",),
            "on_bad_row": ("files",),
            "max_bad_rows": ("files",),
        }.items():
            misplaced = written and not {*owners, "matrix_csv"} & set(written)
            if option in data and misplaced:
                yield (option,), f"belongs to {' or '.join(owners)}, not to {written[0]}"


class MatrixCsv(Section):
    """A published matrix: BPB by unit and LLM, errors by benchmark and LLM, units of `level`."""

    bpb: PathOrUrl = Field(description="the path of a CSV or Parquet file of bits-per-byte")
    errors: PathOrUrl = Field(description="the path of a CSV or Parquet file of benchmark errors")
    level: MatrixLevel = "page"


class Pilot(Section):
    """The part of a sample that is scored first: pages of each domain, so many or a share.

    A share is rounded up, so that no domain is without a page. Where a sample has no domains,
    all of its pages count as of one.
    """

    pages_per_domain: Positive | None = None
    share: Share | None = None

    @classmethod
    def rules(cls, data: Mapping[str, Any]) -> Iterator[Mistake]:
        """One way to say how much."""
        written = [key for key in ("pages_per_domain", "share") if key in data]
        if len(written) != 1:
            found = " and ".join(written) if written else "none of them"
            yield (), f"found {found}; expected exactly one of pages_per_domain, share"


class Sample(TextSource):
    """A sample of pages to estimate on, or the import of a published matrix.

    `metadata_column` (JSON or a Python literal) is where `id_column` and `domain_column`
    are looked up when the row itself has no such column, and so are `unit_columns`: by the name
    of a level the columns whose values, joined by " | ", name the unit of a page. `unit_tokens`
    is a CSV file of (unit, token_count) of the real pool, used instead of the sample's own
    counts, or one for each of some levels.
    """

    file_format: Annotated[str, one_of(*SAMPLE_FORMATS)] | None = None
    files: Annotated[list[str], globs(SAMPLE_FORMATS, SAMPLE_ENDINGS)] | None = None
    matrix_csv: MatrixCsv | None = None
    domain_column: Text | None = None
    unit_columns: UnitColumns = Field(default_factory=dict)
    metadata_column: Text | None = None
    pages_per_domain: Positive | None = None
    subsample_ratio: Share = 1.0
    drop_duplicates: YesNo = True
    seed: Seed = 42
    reference_tokenizer: TokenizerName | None = None
    chunk_tokens: Positive = 512
    unit_tokens: UnitTokens | None = None
    pilot: Pilot | None = None

    _pilot_of: str | None = PrivateAttr(default=None)

    @property
    def pilot_of(self) -> str | None:
        """The key of the sample that this is the pilot of; None for a sample of the file."""
        return self._pilot_of

    def as_pilot_of(self, key: str) -> Sample:
        """The sample that is the pilot of this one, which has the key `key`."""
        found = self.model_copy()
        found._pilot_of = key
        return found

    @property
    def unit_token_files(self) -> dict[str, Path | str]:
        """The files of `unit_tokens` by level; under the empty key the one for whatever level."""
        if self.unit_tokens is None:
            return {}
        return self.unit_tokens if isinstance(self.unit_tokens, dict) else {"": self.unit_tokens}

    def unit_tokens_of(self, level: str) -> Path | str | None:
        """The file with the tokens of the units of a level, if there is one."""
        files = self.unit_token_files
        return files.get(level, files.get(""))

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the levels that its units can be of."""
        if self.matrix_csv is not None:
            return (self.matrix_csv.level,)
        return (*BASE_LEVELS, *self.unit_columns)

    @property
    def is_text(self) -> bool:
        """Whether there are texts to chunk and score (an imported matrix has none)."""
        return self.matrix_csv is None

    @classmethod
    def rules(cls, data: Mapping[str, Any]) -> Iterator[Mistake]:
        """One source; a matrix has no text options; text needs a tokenizer."""
        yield from cls.source_rules(data, ("dataset", "files", "saved", "matrix_csv"))
        if "matrix_csv" in data:
            sources = {"dataset", "files", "saved", "matrix_csv", "unit_tokens", "storage"}
            for option in cls.model_fields:
                if option in data and option not in sources:
                    yield (option,), "an imported matrix (matrix_csv) has no text; remove this key"
            return
        if "reference_tokenizer" not in data:
            what = "the tokenizer that measures chunks: a hub name (org/name) or a local folder"
            yield ("reference_tokenizer",), f"missing; expected {what}"
        yield from _unknown_levels(data)
        if "pages_per_domain" in data and "domain_column" not in data:
            yield ("pages_per_domain",), "needs domain_column, the column that names the domain"
        pilot = data.get("pilot")
        stated = isinstance(pilot, Mapping) and pilot.get("pages_per_domain") is not None
        if stated and "domain_column" not in data:
            yield (
                ("pilot", "pages_per_domain"),
                "needs domain_column, the column that names the domain; or state a share",
            )


def _unknown_levels(data: Mapping[str, Any]) -> Iterator[Mistake]:
    files, columns = data.get("unit_tokens"), data.get("unit_columns")
    names = [columns] if isinstance(columns, str) else columns or []
    if not isinstance(files, Mapping) or not isinstance(names, list | Mapping):
        return
    known = [*BASE_LEVELS, *map(str, names)]
    for level in files:
        if level not in known:
            hint = did_you_mean(level, known, "levels")
            yield ("unit_tokens", str(level)), f"{level!r} is no level of this sample; {hint}"


class NearDuplicates(Section):
    """Documents of a pool that are nearly the same: of those the first in the order is selected.

    `jaccard` is how alike they are: the share of their n-grams of `ngram` words that they have in
    common, as MinHash signatures estimate it.
    """

    jaccard: Annotated[float, number("a number from 0.7 to 1", lambda x: 0.7 <= x <= 1)] = 0.8
    ngram: Positive = 5


class Draw(Section):
    """Documents of a pool are drawn with the odds of their scores as weights.

    Another `seed` draws others; the default is that of `selection.fasttext`, which the method
    `resampled` draws with.
    """

    seed: Seed = 7


METHODS = (
    "resampled",
    "random",
    "dsir",
    "classifier",
    "preselect",
    "mean_bpb",
    "strongest_llm",
)


class Pool(TextSource):
    """Documents to select pretraining data from, with the filters of a text sample.

    `group_bytes` is how many bytes of files make a group, which is a partition (unset: from
    the size of the pool). `near_duplicates` (unset: off) leaves out documents that are nearly the
    same as one before them in the order. `draw` (unset: the best are taken) draws documents with
    the filter's odds.

    What is selected is written in `format` below the home, and put below the URL `output`.

    `methods` are other ways to select, which `compared_selections` puts beside the filter.
    """

    sample: Text = Field(description="the key of the text sample whose filter scores the pool")
    file_format: Annotated[str, one_of(*POOL_FORMATS)] | None = None
    files: Annotated[list[str], globs(POOL_FORMATS, POOL_ENDINGS)] | None = None
    token_count_column: Text | None = None
    token_budget: Positive | None = None
    keep_ratio: Share | None = None
    format: Annotated[
        Literal["parquet", "jsonl", "jsonl.zst"], one_of("parquet", "jsonl", "jsonl.zst")
    ] = "parquet"
    group_bytes: Positive | None = None
    near_duplicates: NearDuplicates | None = None
    draw: Draw | None = Field(default=None, exclude_if=lambda found: found is None)
    output: OutputUrl | None = None
    # Where there are none the pool is what it was before there were any.
    methods: list[Annotated[str, one_of(*METHODS)]] = Field(
        default=[], exclude_if=lambda found: not found
    )

    @classmethod
    def rules(cls, data: Mapping[str, Any]) -> Iterator[Mistake]:
        """One source and one way to say how much to select."""
        yield from cls.source_rules(data, ("files", "dataset", "saved"))
        written = [key for key in ("token_budget", "keep_ratio") if key in data]
        if len(written) != 1:
            found = " and ".join(written) if written else "none of them"
            yield (), f"found {found}; expected exactly one of token_budget, keep_ratio"
        methods = data.get("methods")
        if isinstance(methods, list) and len(set(map(str, methods))) < len(methods):
            yield ("methods",), "a method stands there twice; name each once"
