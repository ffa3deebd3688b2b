"""The configuration of the paper's setting: it loads, and names the published LLMs."""

from __future__ import annotations

import csv
from pathlib import Path

from pcorr_assets.config import load_settings
from pcorr_assets.matrix.identity import identify, parse_column

CONFIG = Path(__file__).parents[2] / "configs" / "rpjv2.yaml"


def header_and_rows(path: Path) -> tuple[list[str], list[str]]:
    csv.field_size_limit(10**9)
    with path.open(newline="") as file:
        reader = csv.reader(file)
        header = next(reader)
        return header[1:], [row[0] for row in reader]


def test_llms_are_those_of_the_published_matrix(published_data: Path) -> None:
    columns, benchmarks = header_and_rows(published_data / "benchmark_errors.csv")
    published = identify(parse_column(column) for column in columns)
    settings = load_settings(CONFIG)
    wanted = {i.key: (i.family, i.revision) for i in published.values() if "+" not in i.key}
    assert {k: (s.family, s.revision) for k, s in settings.llm_specs.items()} == wanted
    assert len(published) == 90
    assert set(settings.benchmarks) == set(benchmarks)


def test_setting_of_the_paper() -> None:
    settings = load_settings(CONFIG)
    assert {spec.dtype for spec in settings.llm_specs.values()} == {"float16"}
    assert {benchmark.limit for benchmark in settings.benchmarks.values()} == {5000}
    for name, benchmark in settings.benchmarks.items():
        assert benchmark.lower_is_better == name.startswith("lambada")
        assert benchmark.metric == ("perplexity" if name.startswith("lambada") else "acc")
    assert len(settings.targets) == 8
    assert settings.targets["lambada"].benchmarks == ["lambada_openai", "lambada_standard"]
    assert settings.selection.keep_ratio == 0.1
    remote_code = [k for k, spec in settings.llm_specs.items() if spec.trust_remote_code]
    assert remote_code == ["Deci/DeciLM-7B"]


def test_large_llms_ask_for_more() -> None:
    settings = load_settings(CONFIG)

    def memory(key: str) -> str | None:
        spec = settings.llm_spec(key)
        return settings.compute.slurm.resources_for("chunk_bpb", spec.slurm).memory

    assert memory("EleutherAI/pythia-160m") == "32G"
    assert memory("EleutherAI/pythia-6.9b-deduped@step20000") == "64G"
