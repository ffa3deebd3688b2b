"""Every table of the warehouse: its columns, their types, units and limits.

Belongs here: the one description of the tables, from which schema files, DuckDB
views, the column metadata in Dagster, the checks and the reference in the docs are
made. Does not belong here: reading, writing or computing anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

TEXT = pa.string()
COUNT = pa.int64()
NUMBER = pa.float64()
FLAG = pa.bool_()

LEVELS = ("chunk", "page", "domain")


@dataclass(frozen=True)
class Column:
    """One column: what it means, and which values it may hold.

    `unit` is empty for names and flags. `minimum` and `maximum` are inclusive and
    do not concern NULL and NaN, which `nullable` and `nan_allowed` rule.
    """

    name: str
    type: pa.DataType
    description: str
    unit: str = ""
    nullable: bool = False
    nan_allowed: bool = False
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class Table:
    """One table: one Parquet file for each partition, rows unique by `unique_key`.

    `partition_keys` name the columns that a partition is found by, in the order of its
    path (that of the dimension names in Dagster).
    """

    name: str
    description: str
    partition_keys: tuple[str, ...]
    unique_key: tuple[str, ...]
    columns: tuple[Column, ...]

    @cached_property
    def schema(self) -> pa.Schema:
        """Arrow schema with the nullability of each column."""
        return pa.schema([pa.field(c.name, c.type, nullable=c.nullable) for c in self.columns])

    def column(self, name: str) -> Column:
        """The column of that name; KeyError if there is none."""
        return {column.name: column for column in self.columns}[name]


# Columns that stand in several tables mean the same in each of them.
SAMPLE = Column("sample", TEXT, "Key of the text sample, or of the imported matrix")
LLM = Column("llm", TEXT, "Key of the LLM: org/name, org/name@revision, or a local key")
TARGET = Column("target", TEXT, "Key of the target: one benchmark or several taken together")
POOL = Column("pool", TEXT, "Key of the pool of documents to select from")
LEVEL = Column("level", TEXT, "What a unit is: chunk, page or domain")
UNIT = Column("unit", TEXT, "The chunk_id, page_id or domain that the row is about")
CHUNK_ID = Column(
    "chunk_id", TEXT, "Identity of the chunk: a hash of its page id, its index and its text"
)
SOURCE = Column(
    "source", TEXT, "Where the numbers come from: lm_eval, or the sample that imported them"
)
FAMILY = Column("family", TEXT, "Family of the LLM; LLMs of one family are not independent")
BPB = Column("bpb", NUMBER, "Loss of the LLM on the text", "bits per UTF-8 byte", minimum=0)
BYTE_COUNT = Column("byte_count", COUNT, "Length of the text in UTF-8", "bytes", minimum=0)
COMMIT = Column(
    "commit_sha",
    TEXT,
    "Commit of the LLM on the hub, or the content hash of its local folder",
    nullable=True,
)
DTYPE = Column("dtype", TEXT, "Floating-point type the LLM ran in", nullable=True)
_RHO = "rank correlation"


def _share(name: str, description: str, *, nullable: bool = True) -> Column:
    return Column(name, NUMBER, description, "share", nullable=nullable, minimum=0, maximum=1)


def _optional(name: str, description: str, unit: str = "") -> Column:
    return Column(name, NUMBER, description, unit, nullable=True)


def _count(name: str, description: str, unit: str = "", *, nullable: bool = False) -> Column:
    return Column(name, COUNT, description, unit, nullable=nullable, minimum=0)


_TEXT_TABLES = (
    Table(
        "chunks",
        "The texts: pages cut into chunks that joined give the page again.",
        ("sample",),
        ("sample", "chunk_id"),
        (
            SAMPLE,
            CHUNK_ID,
            Column("page_id", TEXT, "Id of the page in its source, such as its URL"),
            Column(
                "chunk_index", pa.int32(), "Position of the chunk in its page, from 0", minimum=0
            ),
            Column("domain", TEXT, "Domain of the page", nullable=True),
            Column("text", TEXT, "The text itself"),
            BYTE_COUNT,
            _count("reference_token_count", "Tokens of the reference tokenizer", "tokens"),
        ),
    ),
)

_LLM_TABLES = (
    Table(
        "llms",
        "What is known of each LLM that was scored or imported.",
        ("llm",),
        ("llm", "source"),
        (
            LLM,
            SOURCE,
            FAMILY,
            Column("name", TEXT, "Name on the hub, or the folder of a local LLM"),
            Column("revision", TEXT, "Branch, tag or commit that was asked for"),
            COMMIT,
            DTYPE,
            _count("parameter_count", "Parameters", "parameters", nullable=True),
            _count("vocab_size", "Entries of the tokenizer's vocabulary", "tokens", nullable=True),
            _count("context_length", "Longest input; NULL if unlimited", "tokens", nullable=True),
            Column("tokenizer_sha256", TEXT, "Content hash of the tokenizer", nullable=True),
            Column("adds_bos", FLAG, "Does the tokenizer put a token in front?", nullable=True),
            Column("adds_eos", FLAG, "Does the tokenizer append a token?", nullable=True),
        ),
    ),
    Table(
        "chunk_bpb",
        "The loss of each LLM on each chunk, in the order of the chunks.",
        ("llm", "sample"),
        ("sample", "llm", "chunk_id"),
        (
            SAMPLE,
            LLM,
            CHUNK_ID,
            Column(
                "loss",
                NUMBER,
                "Mean over the predicted tokens; NaN where it is undefined",
                "nats per token",
                nan_allowed=True,
                minimum=0,
            ),
            _count("token_count", "Tokens of the LLM's tokenizer, specials included", "tokens"),
            BYTE_COUNT,
            Column("bpb", NUMBER, BPB.description, BPB.unit, nan_allowed=True, minimum=0),
            _count("unk_count", "Tokens that the tokenizer does not know", "tokens"),
        ),
    ),
    Table(
        "benchmark_errors",
        "The error of each LLM on each benchmark: 1 - metric where higher is better.",
        ("llm",),
        ("llm", "source", "benchmark"),
        (
            LLM,
            SOURCE,
            Column("benchmark", TEXT, "lm-eval task or group, or the name in an import"),
            Column("metric", TEXT, "lm-eval metric, with its filter if it has one", nullable=True),
            Column("higher_is_better", FLAG, "Direction of the metric", nullable=True),
            Column("score", NUMBER, "The metric as lm-eval gave it", nullable=True),
            Column("error", NUMBER, "Benchmark error: lower is better"),
            Column("stderr", NUMBER, "Standard error of the score", nullable=True, minimum=0),
            _count("sample_count", "Items evaluated", "items", nullable=True),
            Column("num_fewshot", pa.int32(), "Examples in the prompt", "items", nullable=True),
            Column("limit", NUMBER, "Items (or share of items) at most", "items", nullable=True),
            Column("seed", COUNT, "Seed of the few-shot examples", nullable=True),
            Column("settings_sha256", TEXT, "Hash of the settings evaluated", nullable=True),
            Column("task_version", TEXT, "Version of the lm-eval task", nullable=True),
            Column("lm_eval_version", TEXT, "Version of lm-eval", nullable=True),
            COMMIT,
            DTYPE,
        ),
    ),
)

_CORRELATION_TABLES = (
    Table(
        "bpb_matrix",
        "BPB of every included LLM on every surviving unit, by level, LLM and unit.",
        ("sample",),
        ("sample", "level", "unit", "llm"),
        (
            SAMPLE,
            LEVEL,
            UNIT,
            LLM,
            BPB,
            _count("byte_count", "UTF-8 bytes behind it; NULL: imported", "bytes", nullable=True),
        ),
    ),
    Table(
        "matrix_coverage",
        "Which LLMs are in the matrix of a sample, and why the others are not.",
        ("sample",),
        ("sample", "llm"),
        (
            SAMPLE,
            LLM,
            Column("included", FLAG, "Is the LLM in the matrix?"),
            _count("chunk_count", "Chunks (or imported units) scored", "chunks", nullable=True),
            _count("nan_count", "Of these, without a defined loss", "chunks", nullable=True),
            Column("reason", TEXT, "Why it is not included, or a note", nullable=True),
        ),
    ),
    Table(
        "low_cells",
        "Cells of the matrix that LLM and unit do not explain: texts an LLM may have seen.",
        ("sample",),
        ("sample", "level", "unit", "llm"),
        (
            SAMPLE,
            LEVEL,
            UNIT,
            LLM,
            BPB,
            Column("expected_bpb", NUMBER, "BPB that LLM and unit explain", BPB.unit, minimum=0),
            Column("deviation", NUMBER, "How far log BPB lies off that", "robust SD", maximum=0),
        ),
    ),
    Table(
        "error_vectors",
        "The error of each LLM on a target: its benchmarks combined.",
        ("target",),
        ("target", "source", "llm"),
        (
            TARGET,
            SOURCE,
            LLM,
            FAMILY,
            Column("error", NUMBER, "Mean benchmark error, or mean rank: lower is better"),
        ),
    ),
    Table(
        "estimates",
        "How well the loss on a unit goes with the error on the target, for all estimators.",
        ("sample", "target"),
        ("sample", "target", "level", "unit", "estimator"),
        (
            SAMPLE,
            TARGET,
            LEVEL,
            UNIT,
            Column("estimator", TEXT, "product, sign, sign_cdf, sign_sign or spearmanr"),
            Column("estimate", NUMBER, "Larger is better for pretraining on the target"),
            _count("llm_count", "LLMs it rests on", "LLMs"),
            _share("selection_frequency", "Share of resamples of LLM groups that select it"),
            _share("inclusion_probability", "Probability that it belongs above the budget line"),
            Column(
                "estimate_without_low_cells",
                NUMBER,
                "The estimate over the LLMs that do not know the unit too well (low_cells)",
                nullable=True,
            ),
        ),
    ),
    Table(
        "rank_predictions",
        "Held-out check: the rank of each LLM predicted from texts chosen without it.",
        ("sample", "target"),
        ("sample", "target", "level", "estimator", "scheme", "predictor", "llm"),
        (
            SAMPLE,
            TARGET,
            LEVEL,
            Column("estimator", TEXT, "Estimator that the selection was made with"),
            Column("scheme", TEXT, "family (leave one group out) or random (five folds)"),
            Column("fold", TEXT, "Fold that the LLM was held out in"),
            LLM,
            FAMILY,
            Column("predictor", TEXT, "estimate, or the baseline mean_bpb"),
            Column("error", NUMBER, "Error of the LLM on the target"),
            Column("predicted_rank", NUMBER, "Rank by BPB on the selection", "rank", minimum=1),
            Column("actual_rank", NUMBER, "Rank by error on the target", "rank", minimum=1),
        ),
    ),
    Table(
        "verdicts",
        "Whether the estimate may be trusted: go, caution or no-go, and why.",
        ("sample", "target"),
        ("sample", "target"),
        (
            SAMPLE,
            TARGET,
            Column("verdict", TEXT, "go, caution or no-go"),
            Column("reason", TEXT, "Why, and what would help"),
            _optional("delta", "Held-out rank correlation minus that of mean BPB"),
            *(_optional(f"delta_{end}", f"90 % interval, {end}") for end in ("low", "high")),
            _optional("stability", "Does half the groups' choice hold on the other half? 1: yes"),
            _optional("permutation_p", "How often shuffled errors do as well", "probability"),
            _optional("rank_correlation", "Predicted against actual ranks, held out"),
            _optional("rank_r2", "R squared of the predicted ranks, held out"),
            _optional("mean_bpb_correlation", "Rank correlation of the baseline mean BPB"),
            _count("llm_count", "LLMs it rests on", "LLMs"),
            _count("group_count", "Independent groups of LLMs it rests on", "groups"),
            _optional(
                "p_value", "How often a selection without substance looks as good", "probability"
            ),
            _optional("gain", "Expected gain of the selection over random texts", _RHO),
            *(_optional(f"gain_{end}", f"90 % interval, {end}", _RHO) for end in ("low", "high")),
            _optional("gain_needed", "The least gain that is worth having", _RHO),
            _optional("gain_mean_bpb", "Gain of the texts of lowest mean BPB", _RHO),
            _optional(
                "gain_strongest_llm", "Gain of the easiest for the LLM of lowest error", _RHO
            ),
            _optional("random_texts", "Mean rank correlation of BPB and error of all texts", _RHO),
        ),
    ),
)

_SELECTION_TABLES = (
    Table(
        "sampling_distributions",
        "How much of each unit to sample: the estimate projected under the caps tau.",
        ("sample", "target"),
        ("sample", "target", "unit"),
        (
            SAMPLE,
            TARGET,
            LEVEL,
            UNIT,
            _count("token_count", "Tokens of the unit; NULL: uniform", "tokens", nullable=True),
            Column("tau", NUMBER, "Largest weight: token share / keep_ratio", "share", minimum=0),
            _share("weight", "Sampling weight; the weights of a target sum to 1", nullable=False),
            Column("included", FLAG, "Selected by the linear projection (the filter's label)"),
        ),
    ),
    Table(
        "fasttext_filters",
        "One fastText filter for each target, and how well it does on unseen domains.",
        ("sample", "target"),
        ("sample", "target"),
        (
            SAMPLE,
            TARGET,
            Column("model_path", TEXT, "Absolute path of the model file"),
            Column("sha256", TEXT, "Content hash of the model file"),
            LEVEL,
            *(
                _count(f"{split}_{label}_{what}", f"{label} {what} of the {split} split", what)
                for split in ("train", "test")
                for label in ("include", "exclude")
                for what in ("pages", "tokens")
            ),
            *(
                _share(f"{control}{name}", f"{description}{of}")
                for control, of in (
                    ("", ""),
                    ("random_", ", of a random filter"),
                    ("shuffled_", ", of a filter trained on shuffled labels"),
                )
                for name, description in (
                    ("precision", "Precision at threshold 0.5 on unseen domains"),
                    ("recall", "Recall at threshold 0.5 on unseen domains"),
                    ("f1", "F1 at threshold 0.5 on unseen domains"),
                    ("roc_auc", "Area under the ROC curve on unseen domains"),
                    ("average_precision", "Average precision on unseen domains"),
                    ("budget_precision", "Token precision in the top keep_ratio of test tokens"),
                    ("budget_recall", "Token recall in the top keep_ratio of test tokens"),
                )
            ),
            Column("boundary_unit", TEXT, "Unit whose weight the budget cut", nullable=True),
        ),
    ),
    Table(
        "pool_scores",
        "The score of a filter on each document of a pool.",
        ("shard", "target"),
        ("pool", "shard", "target", "document_id"),
        (
            POOL,
            Column("shard", TEXT, "Shard of the pool: pool/file"),
            TARGET,
            Column("document_id", TEXT, "Id of the document in the pool"),
            _share("score", "Probability of the label include", nullable=False),
            _count("token_count", "Tokens of the document", "tokens"),
            BYTE_COUNT,
            Column("content_sha256", TEXT, "Content hash of the document's text"),
        ),
    ),
    Table(
        "selections",
        "The documents of a pool that fill the token budget of a target.",
        ("pool", "target"),
        ("pool", "target", "shard", "document_id"),
        (
            POOL,
            TARGET,
            Column("document_id", TEXT, "Id of the document in the pool"),
            Column("shard", TEXT, "Shard of the pool that the document stands in"),
            _share("score", "Probability of the label include", nullable=False),
            _count("token_count", "Tokens of the document", "tokens"),
            Column("is_boundary", FLAG, "The last document taken, which fills the budget"),
        ),
    ),
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (*_TEXT_TABLES, *_LLM_TABLES, *_CORRELATION_TABLES, *_SELECTION_TABLES)
}
