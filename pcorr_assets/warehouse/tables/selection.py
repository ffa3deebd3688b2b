"""Tables of what is sampled and selected.

Belongs here: their columns. Does not belong here: reading, writing or computing anything.
"""

from __future__ import annotations

from pcorr_assets.warehouse.tables.columns import (
    BINARY,
    BYTE_COUNT,
    COUNT,
    FLAG,
    LEVEL,
    NUMBER,
    POOL,
    SAMPLE,
    TARGET,
    TEXT,
    UNIT,
    Column,
    Table,
    count,
    share,
)

SHARD = Column("shard", TEXT, "Shard of the pool that the document stands in: pool/file")
POOL_GROUP = Column("pool_group", TEXT, "Group of files that are read together: pool/number")
DOCUMENT_ID = Column("document_id", TEXT, "Id of the document in the pool")
CONTAMINATED_BY = Column(
    "contaminated_by",
    TEXT,
    "Benchmarks of the target that the document holds text of, with a comma between; empty: none; "
    "NULL: not searched",
    nullable=True,
)
SHARED_WORDS = Column(
    "shared_words",
    TEXT,
    "The first words in a row that it has in common with an item of the first of these, in lower "
    "case; NULL: none",
    nullable=True,
)
CONTENT_SHA256 = Column("content_sha256", TEXT, "Content hash of the document's text")
METHOD = Column("method", TEXT, "filter (the platform's), or one of the `methods` of the pool")

SELECTION_TABLES = (
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
            count("token_count", "Tokens of the unit; NULL: uniform", "tokens", nullable=True),
            Column("tau", NUMBER, "Largest weight: token share / keep_ratio", "share", minimum=0),
            share("weight", "Sampling weight; the weights of a target sum to 1", nullable=False),
            Column("included", FLAG, "Selected by the linear projection (the filter's label)"),
        ),
    ),
    Table(
        "changes",
        "What a selection is now, and how it came to be so: run against run, the last ten.",
        ("sample", "target"),
        ("sample", "target", "number", "what", "name", "change"),
        (
            SAMPLE,
            TARGET,
            count("number", "Of the materialisation, from 1; one without a change has none", ""),
            Column("day", TEXT, "Day (UTC) the newest of the tables was written"),
            Column("what", TEXT, "unit (selected), llm, verdict or setting"),
            Column("name", TEXT, "Which unit, LLM, number of the verdict, or key"),
            Column("change", TEXT, "now (it stands so), in, out, or changed"),
            Column("before", TEXT, "Value before; NULL where there was none", nullable=True),
            Column("after", TEXT, "Value after; NULL where there is none", nullable=True),
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
                count(f"{split}_{label}_{what}", f"{label} {what} of the {split} split", what)
                for split in ("train", "test")
                for label in ("include", "exclude")
                for what in ("pages", "tokens")
            ),
            *(
                share(f"{control}{name}", f"{description}{of}")
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
        "benchmark_ngrams",
        "Runs of words of the items of a target's benchmarks, which documents are searched for.",
        ("target",),
        ("target", "benchmark", "item", "ngram_hash"),
        (
            TARGET,
            Column("benchmark", TEXT, "Key of the benchmark"),
            Column("item", TEXT, "Item of the benchmark: task/number, from 0"),
            count("word_count", "selection.ngram_words, or all words of a short item", "words"),
            Column("anchor_hash", COUNT, "Hash of its first 8 words, by which places are found"),
            Column("ngram_hash", COUNT, "Hash of all of its words"),
        ),
    ),
    Table(
        "pool_files",
        "The files of a pool, each in the group that it is read with.",
        ("pool_group",),
        ("pool", "shard"),
        (
            POOL,
            POOL_GROUP,
            SHARD,
            Column(
                "path",
                TEXT,
                "Path of the file, relative to the home if it is under it; NULL: of a dataset",
                nullable=True,
            ),
            count("first_row", "First row of a dataset's shard; 0 for a file", "rows"),
            count("row_count", "Rows of a dataset's shard; NULL for a file", "rows", nullable=True),
            count("byte_count", "Size of the file as it lies there", "bytes"),
            Column("version", TEXT, "Size and time of the last change, or the dataset's hash"),
            Column("present", FLAG, "Was it there when the pool was last listed?"),
        ),
    ),
    Table(
        "pool_documents",
        "What does not depend on a target, of each document of a pool.",
        ("pool_group",),
        ("pool", "shard", "document_id"),
        (
            POOL,
            POOL_GROUP,
            SHARD,
            DOCUMENT_ID,
            count("token_count", "Tokens of the document, by selection.tokenizer", "tokens"),
            BYTE_COUNT,
            CONTENT_SHA256,
            Column(
                "signature",
                BINARY,
                "MinHash signature, four bits for each of 512 slots; NULL: the text has no word, "
                "or near_duplicates of the pool is off",
                nullable=True,
            ),
        ),
    ),
    Table(
        "pool_scores",
        "The score of a filter on each document of a pool.",
        ("pool_group", "target"),
        ("pool", "shard", "target", "document_id"),
        (
            POOL,
            SHARD,
            TARGET,
            DOCUMENT_ID,
            share("score", "Probability of the label include", nullable=False),
            count("token_count", "Tokens of the document", "tokens"),
            BYTE_COUNT,
            CONTENT_SHA256,
            CONTAMINATED_BY,
            SHARED_WORDS,
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
            DOCUMENT_ID,
            SHARD,
            share("score", "Probability of the label include", nullable=False),
            count("token_count", "Tokens of the document", "tokens"),
            Column("is_boundary", FLAG, "The last document taken, which fills the budget"),
            CONTAMINATED_BY,
        ),
    ),
    Table(
        "compared_selections",
        "What other methods would select of a pool for a target, beside the platform's filter.",
        ("pool", "target"),
        ("pool", "target", "method"),
        (
            POOL,
            TARGET,
            METHOD,
            Column("reason", TEXT, "Why the method was left out; NULL: it was not", nullable=True),
            count("document_count", "Documents that it selects", "documents", nullable=True),
            count("token_count", "Their tokens", "tokens", nullable=True),
            share("overlap", "Share of these tokens that the platform's filter selects as well"),
            Column(
                "shares",
                TEXT,
                "JSON: shares of its tokens by language and by domain, where they are known",
                nullable=True,
            ),
            Column(
                "cpu_seconds",
                NUMBER,
                "CPU time of learning and of scoring the pool here; that of training the "
                "platform's filter is not in it",
                "seconds",
                nullable=True,
                minimum=0,
            ),
            count("llm_count", "LLMs whose BPB on the sample it needs", "LLMs", nullable=True),
            Column(
                "gpu_hours",
                NUMBER,
                "Of GPUs, for scoring these LLMs on the sample; NULL: their runs are not known",
                "hours",
                nullable=True,
                minimum=0,
            ),
            Column(
                "scoring_cpu_hours",
                NUMBER,
                "The same for those that were scored on CPUs",
                "hours",
                nullable=True,
                minimum=0,
            ),
        ),
    ),
    Table(
        "compared_documents",
        "The documents that each method of `compared_selections` selects.",
        ("pool", "target"),
        ("pool", "target", "method", "shard", "row"),
        (
            POOL,
            TARGET,
            METHOD,
            SHARD,
            count("row", "Row of the document in the shard, from 0", "rows"),
            DOCUMENT_ID,
            Column(
                "score",
                NUMBER,
                "The method's score, higher is better; NULL: it takes such documents last",
                nullable=True,
            ),
            count("token_count", "Tokens of the document", "tokens"),
            CONTENT_SHA256,
        ),
    ),
)
