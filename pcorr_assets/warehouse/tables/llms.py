"""Tables of LLMs: what they are, their BPB and their errors.

Belongs here: their columns. Does not belong here: reading, writing or computing anything.
"""

from __future__ import annotations

import pyarrow as pa

from pcorr_assets.warehouse.tables.columns import (
    BPB,
    BYTE_COUNT,
    CHUNK_ID,
    COMMIT,
    COUNT,
    DTYPE,
    FAMILY,
    FLAG,
    LLM,
    NUMBER,
    SAMPLE,
    SOURCE,
    TEXT,
    Column,
    Table,
    count,
)

LLM_TABLES = (
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
            count("parameter_count", "Parameters", "parameters", nullable=True),
            count("vocab_size", "Entries of the tokenizer's vocabulary", "tokens", nullable=True),
            count("context_length", "Longest input; NULL if unlimited", "tokens", nullable=True),
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
            count("token_count", "Tokens of the LLM's tokenizer, specials included", "tokens"),
            BYTE_COUNT,
            Column("bpb", NUMBER, BPB.description, BPB.unit, nan_allowed=True, minimum=0),
            count("unk_count", "Tokens that the tokenizer does not know", "tokens"),
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
            count("sample_count", "Items evaluated", "items", nullable=True),
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
