"""Partitions, their mappings, and the registration of LLMs."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from pcorr_assets.config import load_settings
from pcorr_assets.config.loading import settings_from
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.defs.registration import register_llms
from pcorr_assets.defs.versions import code_version

MIXED = {
    "samples": {
        "pages": {"files": ["pages/*.jsonl"], "reference_tokenizer": "org/tokenizer"},
        "published": {"matrix_csv": {"bpb": "bpb.csv", "errors": "errors.csv"}},
    },
    "llms": [{"family": "a", "models": ["a/one", {"name": "a/two", "revisions": ["step1"]}]}],
    "benchmarks": {"arc_easy": {"metric": "acc"}},
    "targets": {"t": {"benchmarks": ["arc_easy"]}},
    "compute": {"max_parallel_llms": 3},
}


def nodes(definitions: dg.Definitions) -> dg.AssetGraph:
    return definitions.resolve_asset_graph()


def upstream(definitions: dg.Definitions, asset: str, partition: str, of: str) -> set[str]:
    graph = nodes(definitions)
    node = graph.get(dg.AssetKey(asset))
    mapping = graph.get_partition_mapping(dg.AssetKey(asset), dg.AssetKey(of))
    above = graph.get(dg.AssetKey(of)).partitions_def
    assert node.partitions_def is not None
    assert above is not None
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("llm", ["a/one", "a/two@step1"])
        subset = node.partitions_def.empty_subset().with_partition_keys([partition])
        result = mapping.get_upstream_mapped_partitions_result_for_partitions(
            subset, node.partitions_def, above, dynamic_partitions_store=instance
        )
        return set(result.partitions_subset.get_partition_keys())


def test_definitions_load_without_a_configuration() -> None:
    definitions = build_definitions(load_settings(None))
    dg.Definitions.validate_loadable(definitions)
    graph = nodes(definitions)
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} >= {
        "chunked_dataset",
        "chunk_bpb",
        "benchmark_errors",
        "bpb_matrix",
        "error_vector",
        "estimate",
        "rank_prediction",
        "sensitivity",
        "next_llms",
        "sampling_distribution",
    }


def test_a_sample_and_a_target_may_have_the_same_key(tmp_path: Path) -> None:
    same = {**MIXED, "samples": {"t": MIXED["samples"]["pages"]}}
    definitions = build_definitions(settings_from(same, folder=tmp_path))
    dg.Definitions.validate_loadable(definitions)
    assert upstream(definitions, "estimate", "t|t", "bpb_matrix") == {"t"}


def test_imported_samples_make_no_partition_that_needs_text(tmp_path: Path) -> None:
    graph = nodes(build_definitions(settings_from(MIXED, folder=tmp_path)))

    def samples(asset: str) -> list[str]:
        definition = graph.get(dg.AssetKey(asset)).partitions_def
        if isinstance(definition, dg.MultiPartitionsDefinition):
            definition = definition.get_partitions_def_for_dimension("sample")
        assert definition is not None
        return list(definition.get_partition_keys())

    assert samples("chunked_dataset") == ["pages"]
    assert samples("chunk_bpb") == ["pages"]
    assert samples("bpb_matrix") == ["pages", "published"]
    assert samples("estimate") == ["pages", "published"]


def test_a_matrix_depends_on_every_llm_of_its_sample(tmp_path: Path) -> None:
    texts_only = {**MIXED, "samples": {"pages": MIXED["samples"]["pages"]}}
    definitions = build_definitions(settings_from(texts_only, folder=tmp_path))
    assert upstream(definitions, "bpb_matrix", "pages", "chunk_bpb") == {
        "a/one|pages",
        "a/two@step1|pages",
    }
    mixed = build_definitions(settings_from(MIXED, folder=tmp_path))
    assert upstream(mixed, "bpb_matrix", "pages", "chunk_bpb") == {
        "a/one|pages",
        "a/two@step1|pages",
    }


def test_an_error_vector_depends_on_all_llms_and_all_imports(tmp_path: Path) -> None:
    definitions = build_definitions(settings_from(MIXED, folder=tmp_path))
    assert upstream(definitions, "error_vector", "t", "benchmark_errors") == {
        "a/one",
        "a/two@step1",
    }
    assert upstream(definitions, "error_vector", "t", "bpb_matrix") == {"pages", "published"}


def test_registering_only_adds(tmp_path: Path) -> None:
    settings = settings_from(MIXED, folder=tmp_path)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("llm", ["b/added-in-the-ui"])
        assert register_llms(instance, settings) == ["a/one", "a/two@step1"]
        assert register_llms(instance, settings) == []
        assert set(instance.get_dynamic_partitions("llm")) == {
            "b/added-in-the-ui",
            "a/one",
            "a/two@step1",
        }


def test_the_pool_of_llms_gets_its_configured_size(tmp_path: Path) -> None:
    settings = settings_from(MIXED, folder=tmp_path)
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        register_llms(instance, settings)
        storage = instance.event_log_storage
        assert storage.get_concurrency_info("llm").slot_count == 3
        assert storage.get_concurrency_info("pool_scores").slot_count == 1


def test_as_many_groups_are_jobs_of_a_cluster_as_the_limit_says(tmp_path: Path) -> None:
    """So squeue shows no more of them, whatever a backfill asks for."""
    compute = {
        "mode": "slurm",
        "max_parallel_groups": 2,
        "slurm": {
            "ssh": {"host": "login", "user": "me"}, "remote_base": "/jobs", "environment": "/env"
        },
    }  # fmt: skip
    settings = settings_from({**MIXED, "compute": compute}, folder=tmp_path)
    assert build_definitions(settings).resolve_asset_graph().get(
        dg.AssetKey("pool_scores")
    ).pools == {"pool_scores"}
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        register_llms(instance, settings)
        storage = instance.event_log_storage
        pool, held = "pool_scores", []
        assert storage.get_concurrency_info(pool).slot_count == 2
        for number in range(3):
            claim = storage.claim_concurrency_slot(pool, f"run-{number}", "pool_scores")
            held.append(claim.is_claimed)
        assert held == [True, True, False]
        storage.free_concurrency_slots_for_run("run-0")
        assert storage.claim_concurrency_slot(pool, "run-2", "pool_scores").is_claimed


def test_the_sensor_reads_the_file_as_it_is_now(tmp_path: Path) -> None:
    path = tmp_path / "pcorr.yaml"
    path.write_text("llms:\n- {family: a, models: [a/one]}\n")
    definitions = build_definitions(load_settings(path))
    sensor = definitions.resolve_sensor_def("register_llms")
    with dg.DagsterInstance.ephemeral() as instance:
        sensor(dg.build_sensor_context(instance))
        path.write_text("llms:\n- {family: a, models: [a/one, a/two]}\n")
        sensor(dg.build_sensor_context(instance))
        assert set(instance.get_dynamic_partitions("llm")) == {"a/one", "a/two"}
        path.write_text("llms: nonsense\n")
        with pytest.raises(ValueError, match="llms"):
            sensor(dg.build_sensor_context(instance))
        assert set(instance.get_dynamic_partitions("llm")) == {"a/one", "a/two"}


def test_code_versions_follow_the_code_and_the_settings_that_matter(tmp_path: Path) -> None:
    settings = settings_from(MIXED, folder=tmp_path)
    other = settings_from({**MIXED, "selection": {"keep_ratio": 0.2}}, folder=tmp_path)
    assert code_version(["stats"], settings) == code_version(["stats"], other)
    assert code_version(["stats"], settings) != code_version(["matrix"], settings)
    assert code_version(["stats"], settings, ["selection"]) != code_version(
        ["stats"], other, ["selection"]
    )


def test_code_versions_ignore_comments_and_docstrings() -> None:
    from pcorr_assets.defs.versions import _code_of

    bare = "def f(x):\n    return x + 1\n"
    documented = '"""Doc."""\n# why\ndef f(x):\n    """Doc."""\n    return (x + 1)\n'
    assert _code_of(bare) == _code_of(documented)
    assert _code_of(bare) != _code_of(bare.replace("1", "2"))


def test_code_version_covers_the_columns_of_the_own_tables(tmp_path: Path) -> None:
    settings = settings_from(MIXED, folder=tmp_path)
    versions = {
        code_version(["stats"], settings, tables=tables)
        for tables in ([], ["estimates"], ["verdicts"], ["estimates", "verdicts"])
    }
    assert len(versions) == 4


def test_texts_are_searched_for_benchmarks_without_a_pool(tmp_path: Path) -> None:
    """Samples with texts are, imported matrices are not: they have none."""

    def keys(definitions: dg.Definitions, asset: str) -> list[str]:
        found = nodes(definitions).get(dg.AssetKey(asset)).partitions_def
        assert found is not None
        return list(found.get_partition_keys())

    mixed = build_definitions(settings_from(MIXED, folder=tmp_path))
    assert keys(mixed, "benchmark_ngrams") == ["t"]
    assert keys(mixed, "clean_estimate") == ["pages|t"]
    assert upstream(mixed, "clean_estimate", "pages|t", "estimate") == {"pages|t"}
    assert upstream(mixed, "clean_estimate", "pages|t", "benchmark_ngrams") == {"t"}
    imported = {**MIXED, "samples": {"published": MIXED["samples"]["published"]}}
    matrices = build_definitions(settings_from(imported, folder=tmp_path))
    assert keys(matrices, "benchmark_ngrams") == keys(matrices, "clean_estimate") == []
