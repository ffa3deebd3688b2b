"""The configuration of the paper's setting: it loads, and names the published LLMs."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

from pcorr_assets.config import Pool, load_settings
from pcorr_assets.filters.pools import iter_documents, list_shards
from pcorr_assets.matrix.identity import identify, parse_column
from pcorr_assets.text.sources import open_source

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


def test_documents_of_the_dataset_are_read_as_they_are_published(tmp_path: Path) -> None:
    published = {
        "date_download": "2023-01-26T22:45:46Z",
        "digest": "sha1:3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ",
        "length": 5,
        "nlines": 1,
        "title": "t",
        "language": "en",
        "bucket": "head",
        "perplexity": 123.4,
    }
    written: list[tuple[str, str, str]] = []
    for snapshot, shard, bucket in (("2023-06", "0000", "en_head"), ("2023-14", "0001", "de_tail")):
        folder = tmp_path / "rpjv2" / "sample" / "documents" / snapshot / shard
        folder.mkdir(parents=True)
        rows = [(f"{snapshot} {i}", f"http://{bucket}.org/{i}", f"{bucket}.org") for i in range(3)]
        lines = [
            json.dumps({**published, "raw_content": text, "url": url, "source_domain": domain})
            for text, url, domain in rows
        ]
        (folder / f"{bucket}.json.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
        written += rows
    (tmp_path / "rpjv2.yaml").write_bytes(CONFIG.read_bytes())
    sample = load_settings(tmp_path / "rpjv2.yaml").samples["rpjv2"]
    assert [(row.text, row.page_id, row.domain) for row in open_source(sample)] == written
    pool = Pool(
        sample="rpjv2", files=sample.files, text_column="raw_content", id_column="url", keep_ratio=1
    )
    shards = list_shards("crawl", pool)
    documents = [d for shard in shards for part in iter_documents(shard, pool) for d in part]
    assert [(d.utf8.decode(), d.id) for d in documents] == [(text, url) for text, url, _ in written]
