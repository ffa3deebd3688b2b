"""Scoring a group of a pool with all filters at once, and doing only what is not done yet.

Belongs here: what has to be worked out, from what is there, and the order of work. Does not
belong here: reading texts (`passes`, `workers`), writing tables (`assembly`), the filters
(`model`), choosing documents (`selection`).

What a table was made of is noted beside its rows. So a target more, or another filter, reads
texts but counts no tokens; another tokenizer counts, but scores nothing; signatures for
near-duplicates that are wanted later need neither; and what is as it would come out is left as
it is.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pcorr_assets.config.keys import to_slug
from pcorr_assets.errors import DamagedFileError, PcorrError
from pcorr_assets.filters.assembly import (
    SHARDS,
    Assembly,
    Output,
    Partition,
    counts_of,
    notes_of,
)
from pcorr_assets.filters.groups import PoolGroup
from pcorr_assets.filters.model import FilterFile
from pcorr_assets.filters.ngram_files import SEARCHED, NgramFile
from pcorr_assets.filters.parts import PartFolder
from pcorr_assets.filters.passes import (
    SECONDS_PER_PART,
    SIGNATURE,
    PassPlan,
    contaminated_column,
    score_column,
    shared_column,
    tokens_column,
)
from pcorr_assets.filters.signatures import KIND, signature_kind
from pcorr_assets.filters.tokens import token_source
from pcorr_assets.filters.workers import run_pass
from pcorr_assets.warehouse import Warehouse, WrittenPartition
from pcorr_assets.warehouse.store import content_hash

if TYPE_CHECKING:
    from pcorr_assets.config import Pool

logger = logging.getLogger(__name__)

PARTS = "pool_parts"
# Settings that decide which documents come out of the files of a pool.
OF_DOCUMENTS = ("text_column", "id_column", "file_format", "on_bad_row", "max_bad_rows")


@dataclass(frozen=True)
class Code:
    """Versions of the code that reads documents, scores them, and searches them."""

    reading: str = ""
    scoring: str = ""
    searching: str = ""


@dataclass(frozen=True)
class Options:
    """How a group is worked on; nothing that comes out depends on it.

    `workers` are processes, `seconds_per_part` how much work a kill may cost in each.
    """

    workers: int = 1
    seconds_per_part: float = SECONDS_PER_PART


@dataclass
class ScoredGroup:
    """The partitions of a group, all of them, and what was worked out for them.

    `passed` counts documents whose text was read now; `counted` and `scored` name what counted
    their tokens and which targets scored them, `searched` those whose n-grams were looked for;
    `signed` says whether signatures were made. All empty: everything was there.
    """

    partitions: dict[Partition, WrittenPartition] = field(default_factory=dict)
    document_count: int = 0
    passed: int = 0
    counted: list[str] = field(default_factory=list)
    scored: list[str] = field(default_factory=list)
    signed: bool = False
    searched: list[str] = field(default_factory=list)
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def notes_shown(self) -> dict[str, str]:
        """What was odd about the documents, and what counted their tokens."""
        shown = ("token_source", *notes_of([]))
        return {name: self.notes[name] for name in shown}


def score_group(
    warehouse: Warehouse,
    group: PoolGroup,
    pool: Pool,
    filters: Mapping[str, FilterFile],
    *,
    tokenizer: str | None = None,
    tokenizers: Mapping[str, str | None] | None = None,
    ngrams: Mapping[str, NgramFile] | None = None,
    code: Code = Code(),
    options: Options = Options(),
) -> ScoredGroup:
    """Bring `pool_documents`, and `pool_scores` of all targets, of a group up to date.

    One row for each document, shard by shard; memory does not grow with the files. Texts are
    read once for everything that is missing. Documents without a word, or whose text is of
    another type, score 0 and count 0 tokens, so they are never selected. Token counts are those
    of `pool.token_count_column`, else of a tokenizer (the pretraining run's: a hub name or
    folder; documents above 1 MiB are counted in pieces cut at spaces). Documents without an id
    are `<slug>:<row>`; an id that comes again in the shard gets `#2`, `#3`...

    What is finished is kept in parts under the home: a job that was killed goes on from there,
    and what comes out is the same, byte for byte.

    Args:
        filters: the filter of each target.
        tokenizer: what counts the tokens in `pool_documents`; `tokenizers`: of a target, where
            it is another one.
        ngrams: what documents are searched for, for the targets that have it.

    Raises:
        PcorrError: the data cannot be read, or there is nothing to count tokens with.
    """
    state = _State(warehouse, group, pool, filters, tokenizer, tokenizers or {}, ngrams or {}, code)
    plan, outputs = state.plan(), state.outputs()
    scored = ScoredGroup(
        counted=list(plan.counts),
        scored=list(plan.targets),
        signed=bool(plan.ngram),
        searched=list(plan.ngrams),
    )
    if outputs:
        folder = PartFolder(state.folder, state.identity(plan))
        parts = run_pass(folder, group, pool, plan, options) if plan.is_needed else []
        rows = counts_of(parts, [shard.key for shard in group.shards]) if parts else state.rows
        assembly = Assembly(
            warehouse,
            group.key,
            rows,
            parts,
            plan,
            state.stored(plan, outputs),
            notes_of(parts) if plan.documents else state.notes,
        )
        assembly.write(outputs)
        folder.clear()
        scored.passed = sum(count for _, count in rows) if plan.is_needed else 0
    scored.notes = warehouse.metadata("pool_documents", group.key)
    scored.document_count = warehouse.row_count("pool_documents", group.key)
    scored.partitions = {
        (table, keys): warehouse.written(table, *keys) for table, keys in state.partitions
    }
    _warn(group.key, scored.notes)
    return scored


def _warn(group: str, notes: Mapping[str, str]) -> None:
    if notes["skipped_rows"] != "0":
        logger.warning(
            "%s: %s rows cannot be read and were skipped; the first: %s",
            group,
            f"{int(notes['skipped_rows']):,}",
            notes["first_skipped_rows"].splitlines()[0],
        )
    if notes["texts_of_another_type"] != "0":
        logger.warning(
            "%s: %s texts are neither string nor bytes, so they are never selected; the first: %s",
            group,
            f"{int(notes['texts_of_another_type']):,}",
            notes["first_texts_of_another_type"],
        )
    if notes["repeated_ids"] != "0":
        logger.warning(
            "%s: %s ids come more than once in a shard; later ones have #2, #3... at the end",
            group,
            f"{int(notes['repeated_ids']):,}",
        )


class _State:
    """What is there of a group, and what it should be."""

    def __init__(
        self,
        warehouse: Warehouse,
        group: PoolGroup,
        pool: Pool,
        filters: Mapping[str, FilterFile],
        tokenizer: str | None,
        tokenizers: Mapping[str, str | None],
        ngrams: Mapping[str, NgramFile],
        code: Code,
    ) -> None:
        if not filters:
            raise PcorrError(f"{group.key}: there is no filter to score it with")
        self._wh, self._group, self._filters = warehouse, group, filters
        self._code = code
        self._ngrams = {target: ngrams[target] for target in filters if target in ngrams}
        named = {target: tokenizers.get(target, tokenizer) for target in filters}
        self._sources = {target: token_source(pool, name) for target, name in named.items()}
        first = tokenizer if tokenizer is not None else next(iter(named.values()))
        self._source = token_source(pool, first)
        self._tokenizers = {self._source: first}
        self._tokenizers |= {self._sources[target]: name for target, name in named.items()}
        near = pool.near_duplicates
        self._ngram = near.ngram if near is not None else None
        self._kind = signature_kind(near) if near is not None else ""
        self._key = _documents_key(group, pool, code)
        self._documents = self._noted(("pool_documents", (group.key,)))
        self._scores = {
            target: self._noted(("pool_scores", (group.key, target))) for target in filters
        }
        self.folder: Path = warehouse.home / PARTS / to_slug(group.key)
        self.partitions: list[Partition] = [
            ("pool_documents", (group.key,)),
            *(("pool_scores", (group.key, target)) for target in filters),
        ]

    def _noted(self, partition: Partition) -> dict[str, str] | None:
        """What is noted beside a table of the same documents; None if there is none such."""
        table, keys = partition
        if not self._wh.exists(table, *keys):
            return None
        try:
            self._wh.verified(table, *keys)
            noted = self._wh.metadata(table, *keys)
        except DamagedFileError as error:
            logger.warning("%s; it is made again", error)
            return None
        return noted if noted.get("documents_key") == self._key else None

    @property
    def rows(self) -> list[tuple[str, int]]:
        """Each shard with its rows, as `pool_documents` notes them."""
        assert self._documents is not None
        return [(key, count) for key, count in json.loads(self._documents[SHARDS])]

    @property
    def notes(self) -> dict[str, str]:
        """What was odd about the documents, as `pool_documents` notes it."""
        assert self._documents is not None
        return {name: self._documents[name] for name in notes_of([])}

    def plan(self) -> PassPlan:
        """What has to be worked out from the texts."""
        return PassPlan(
            documents=self._documents is None,
            counts={
                source: tokenizer
                for source, tokenizer in self._tokenizers.items()
                if self._with_tokens(source) is None
            },
            targets={
                target: file for target, file in self._filters.items() if self._is_due(target)
            },
            ngram=None if self._has_signatures else self._ngram,
            ngrams={
                target: file
                for target, file in self._ngrams.items()
                if not self._is_searched(target)
            },
        )

    @property
    def _has_signatures(self) -> bool:
        return self._documents is not None and self._documents[KIND] == self._kind

    def _with_tokens(self, source: str) -> Partition | None:
        """A table that has the counts of this source."""
        for (table, keys), noted in self._tables():
            if noted is not None and noted["token_source"] == source:
                return table, keys
        return None

    def _tables(self) -> list[tuple[Partition, dict[str, str] | None]]:
        return list(zip(self.partitions, [self._documents, *self._scores.values()], strict=True))

    def _is_due(self, target: str) -> bool:
        noted = self._scores[target]
        return noted is None or (noted["filter_sha256"], noted["scoring"]) != (
            self._filters[target].sha256,
            self._code.scoring,
        )

    def _searched(self, target: str) -> str:
        """What is noted of the n-grams that the documents were searched for; empty: of none."""
        file = self._ngrams.get(target)
        return f"{file.sha256} {self._code.searching}" if file is not None else ""

    def _is_searched(self, target: str) -> bool:
        noted = self._scores[target]
        # Tables of earlier versions have no note: they were not searched.
        return noted is not None and noted.get(SEARCHED) == self._searched(target)

    def outputs(self) -> list[Output]:
        """The tables that are not as they should be."""
        notes = {"documents_key": self._key}
        found = []
        is_counted = self._documents and self._documents["token_source"] == self._source
        if not (is_counted and self._has_signatures):
            noted = {**notes, "token_source": self._source, KIND: self._kind}
            found.append(Output(self.partitions[0], self._source, None, noted))
        for target, partition in zip(self._filters, self.partitions[1:], strict=True):
            before, source = self._scores[target], self._sources[target]
            is_due = self._is_due(target) or not self._is_searched(target)
            if before is None or is_due or before["token_source"] != source:
                noted = {
                    **notes,
                    "token_source": source,
                    "filter_sha256": self._filters[target].sha256,
                    "scoring": self._code.scoring,
                    SEARCHED: self._searched(target),
                }
                found.append(Output(partition, source, target, noted))
        return found

    def stored(self, plan: PassPlan, outputs: Sequence[Output]) -> dict[str, tuple[Partition, str]]:
        """Which columns come from tables that are there, by name of a part's column."""
        found: dict[str, tuple[Partition, str]] = {}
        if not plan.documents:
            for name in ("document_id", "byte_count", "content_sha256"):
                found[name] = (self.partitions[0], name)
        is_wanted = any(one.target is None for one in outputs)
        if is_wanted and self._kind and self._has_signatures:
            found[SIGNATURE] = (self.partitions[0], SIGNATURE)
        for one in outputs:
            if (partition := self._with_tokens(one.tokens)) is not None:
                found[tokens_column(one.tokens)] = (partition, "token_count")
            if one.target is not None and one.target not in plan.targets:
                found[score_column(one.target)] = (one.partition, "score")
            if one.target in self._ngrams and one.target not in plan.ngrams:
                found[contaminated_column(one.target)] = (one.partition, "contaminated_by")
                found[shared_column(one.target)] = (one.partition, "shared_words")
        return found

    def identity(self, plan: PassPlan) -> str:
        """Of everything that the rows of parts depend on."""
        return content_hash(
            self._key,
            json.dumps(asdict(self._code)),
            str(plan.documents),
            *([self._kind] * bool(plan.ngram)),
            *plan.counts,
            *(f"{target} {file.sha256}" for target, file in plan.targets.items()),
            *(f"searched {target} {file.sha256}" for target, file in plan.ngrams.items()),
        )


def _documents_key(group: PoolGroup, pool: Pool, code: Code) -> str:
    """Of everything that decides which documents the group has."""
    stated = {name: str(getattr(pool, name)) for name in OF_DOCUMENTS}
    return content_hash(
        code.reading,
        json.dumps(stated, sort_keys=True),
        # With an id column that is named, documents without one are refused.
        str("id_column" in pool.model_fields_set),
        *group.identities,
    )
