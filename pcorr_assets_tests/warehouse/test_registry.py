"""The registry is what the design's tables promise to those who query them."""

from __future__ import annotations

import pytest

from pcorr_assets.warehouse import TABLES

# The public surface: what a user's query may name.
PROMISED = {
    "chunks": "sample, chunk_id, page_id, chunk_index, domain, text, byte_count, "
    "reference_token_count",
    "llms": "llm, source, family, name, revision, commit_sha, dtype, parameter_count, "
    "vocab_size, context_length, tokenizer_sha256, adds_bos, adds_eos",
    "chunk_bpb": "sample, llm, chunk_id, loss, token_count, byte_count, bpb, unk_count",
    "scoring_runs": "sample, llm, device_name, dtype, scoring_workers, scoring_devices, "
    "parameter_count, scored_token_count, seconds, tokens_per_second, operations_per_second, "
    "model_flops_utilisation, padding_share, seconds_waiting_for_data, peak_memory_bytes",
    "benchmark_errors": "llm, source, benchmark, metric, higher_is_better, score, error, stderr, "
    "sample_count, num_fewshot, limit, seed, settings_sha256, task_version, lm_eval_version, "
    "commit_sha, dtype",
    "bpb_matrix": "sample, level, unit, llm, bpb, byte_count",
    "matrix_coverage": "sample, llm, included, chunk_count, nan_count, reason",
    "low_cells": "sample, level, unit, llm, bpb, expected_bpb, deviation",
    "error_vectors": "target, source, llm, family, error",
    "reliabilities": "target, benchmark, metric, is_used, llm_count, item_count, reliability, "
    "target_reliability",
    "estimates": "sample, target, level, unit, estimator, estimate, llm_count, "
    "selection_frequency, inclusion_probability, estimate_without_low_cells",
    "rank_predictions": "sample, target, level, estimator, scheme, fold, llm, family, predictor, "
    "error, predicted_rank, actual_rank",
    "verdicts": "sample, target, verdict, reason, delta, delta_low, delta_high, stability, "
    "permutation_p, rank_correlation, rank_r2, mean_bpb_correlation, llm_count, group_count, "
    "p_value, gain, gain_low, gain_high, gain_needed, gain_mean_bpb, gain_strongest_llm, "
    "random_texts",
    "sensitivity": "sample, target, kind, changed, level, verdict, overlap, gain, gain_change, "
    "gain_low, gain_high, gain_needed, p_value, stability, llm_count, group_count, reason",
    "next_llms": "sample, target, position, llm, family, is_new_family, parameter_count, cost, "
    "width, width_alone, width_in_order",
    "learning_curves": "sample, target, unit_count, group_count, llm_count, draws, gain, "
    "stability, power, go_share, strength, advice",
    "pilots": "sample, target, level, page_share, is_pilot, overlap, overlap_low, overlap_high, "
    "changed_share, suffices",
    "contaminated_chunks": "sample, target, chunk_id, benchmark, item, words",
    "clean_estimates": "sample, target, level, unit, chunk_count, contaminated_chunk_count, "
    "estimate, clean_estimate, included, clean_included",
    "sampling_distributions": "sample, target, level, unit, token_count, tau, weight, included",
    "pool_files": "pool, pool_group, shard, path, first_row, row_count, byte_count, version, "
    "present",
    "pool_documents": "pool, pool_group, shard, document_id, token_count, byte_count, "
    "content_sha256, signature",
    "pool_scores": "pool, shard, target, document_id, score, token_count, byte_count, "
    "content_sha256, contaminated_by, shared_words",
    "selections": "pool, target, document_id, shard, score, token_count, is_boundary, "
    "contaminated_by",
    "compared_selections": "pool, target, method, reason, document_count, token_count, overlap, "
    "shares, cpu_seconds, llm_count, gpu_hours, scoring_cpu_hours",
    "compared_documents": "pool, target, method, shard, row, document_id, score, token_count, "
    "content_sha256",
}


OF_NO_COLUMN = ("pool_scores", "pool_group")


@pytest.mark.parametrize("table", sorted(PROMISED))
def test_columns_are_the_promised_ones(table: str) -> None:
    assert TABLES[table].schema.names == PROMISED[table].split(", ")


def test_filters_begin_with_where_the_model_lies() -> None:
    names = TABLES["fasttext_filters"].schema.names
    assert names[:4] == ["sample", "target", "model_path", "sha256"]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_keys_are_columns_that_are_never_null(table) -> None:
    # Rows of scores say which shard they are of, and `pool_files` in which group that is.
    named = [name for name in table.partition_keys if (table.name, name) != OF_NO_COLUMN]
    for name in (*named, *table.unique_key):
        assert not table.column(name).nullable


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_everything_is_described(table) -> None:
    assert table.description.endswith(".")
    for column in table.columns:
        assert len(column.description) > 5
