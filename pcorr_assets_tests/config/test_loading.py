"""From a file to settings: finding, reading, the example of the documentation, all mistakes."""

from __future__ import annotations

import glob
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pcorr_assets.config import (
    FastText,
    MatrixCsv,
    Selection,
    Settings,
    find_config,
    load_settings,
    settings_from,
)
from pcorr_assets.errors import PcorrError

FULL = """\
home: data
samples:
  rpjv2:
    dataset: togethercomputer/RedPajama-Data-V2
    name: sample
    split: train
    text_column: raw_content
    id_column: url
    domain_column: source_domain
    metadata_column: meta
    pages_per_domain: 25
    subsample_ratio: 1.0
    drop_duplicates: true
    seed: 42
    reference_tokenizer: meta-llama/Llama-2-7b-hf
    chunk_tokens: 512
    unit_tokens: caps.csv
  published:
    matrix_csv: {bpb: bpb_by_page.csv, errors: benchmark_errors.csv, level: page}
llms:
  - family: pythia
    dtype: bfloat16
    trust_remote_code: false
    allow_pickle: false
    models:
      - EleutherAI/pythia-160m
      - name: EleutherAI/pythia-6.9b-deduped
        revisions: [main, step100000]
      - {key: tiny-a, path: zoo/tiny-a}
benchmarks:
  arc_easy: {metric: acc, lower_is_better: false}
targets:
  lambada: {benchmarks: [lambada_openai, lambada_standard]}
selection:
  level: domain
  estimator: spearmanr
  projection: linear
  keep_ratio: 0.1
  tokenizer: EleutherAI/pythia-160m
  max_nan_fraction: 0.05
  fasttext: {word_ngrams: 2, dim: 100, epoch: 5, lr: 0.1, bucket: 2000000, thread: 1, seed: 7,
             test_fraction: 0.1, quantize: false}
  language_model: lid.176.ftz
validation: {bootstrap: 200, halvings: 50, permutations: 1000, seed: 0, go_stability: 0.5}
pools:
  crawl: {sample: rpjv2, files: ["pool/*.jsonl.zst"], text_column: text, id_column: id,
          token_budget: 3000000000, format: parquet}
compute:
  mode: local
  max_parallel_llms: 1
  batch_tokens: 8192
  overlong: error
  slurm: {}
"""

BROKEN = """\
home: data
samples:
  rpjv2:
    dataset: a/b
    chunk_tokens: abc
    chunk_token: 3
    seed: true
    reference_tokenizer: org/tok
  "a|b": {files: texts/*.jsonl, reference_tokenizer: org/tok}
llms:
  - family: pythia
    models:
      - gpt2
      - {path: zoo/x, keey: 2}
      - org/a
      - {name: org/a, revisions: [main, 5]}
targets:
  lam: {benchmarks: [lambada_openi], combine: median}
benchmarks:
  lambada_openai: {metric: perplexity}
pools:
  crawl: {sample: rpj, files: [pool/*.jsonl], token_budget: 1, keep_ratio: 0.1}
selection: {keep_ratio: 1.5}
compute: {slurm: {ssh: {host: login, user: me, password: hush}, partition: "a; rm -rf x"}}
colour: blue
"""

BROKEN_REPORT = """\
pcorr.yaml: 17 mistakes
  samples.rpjv2.chunk_tokens: got 'abc' (text); expected a whole number above 0 (line 5)
  samples.rpjv2.chunk_token: unknown key; did you mean chunk_tokens? (line 6)
  samples.rpjv2.seed: got true (true or false); expected a whole number from 0 to 2147483647 \
(line 7)
  samples['a|b']: this key is refused: expected a letter or digit, then letters, digits and \
. _ - only ([A-Za-z0-9][A-Za-z0-9._-]*), at most 100 characters (line 9)
  llms[0].models[0]: got 'gpt2' (text); expected org/name, org/name@revision, {name: org/name, \
revisions: [...]} or, for a local folder, {key: ..., path: ...} (line 13)
  llms[0].models[1].keey: unknown key; did you mean key? (line 14)
  llms[0].models[1].key: missing; a local folder needs a key of your choice (line 14)
  llms[0].models[3].revisions[1]: got 5 (whole number); expected the name of a branch, tag or \
commit, in quotes (line 16)
  llms[0].models[3]: the key 'org/a' stands already at llms[0].models[2]; remove one (line 16)
  targets.lam.combine: got 'median' (text); expected one of mean | mean_rank | \
weighted_rank (line 18)
  targets.lam.benchmarks[0]: 'lambada_openi' is not listed under benchmarks; did you mean \
lambada_openai? (line 18)
  pools.crawl: found token_budget and keep_ratio; expected exactly one of token_budget, \
keep_ratio (line 22)
  pools.crawl.sample: 'rpj' is not a text sample; did you mean rpjv2? (line 22)
  selection.keep_ratio: got 1.5 (number); expected a number above 0, at most 1 (line 23)
  compute.slurm.partition: got 'a; rm -rf x' (text); expected a name of letters, digits and \
. _ - only, or several with commas (line 24)
  compute.slurm.ssh.password: secrets never stand in this file; use the ssh agent or a key file \
(line 24)
  colour: unknown key; allowed keys: home, samples, llms, candidates, benchmarks, targets, \
selection, validation, pools, exports, compute, automation, plan (line 25)"""


def write(folder: Path, text: str, name: str = "pcorr.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(data: dict[str, Any], folder: Path) -> str:
    with pytest.raises(PcorrError) as caught:
        settings_from(data, folder=folder)
    return str(caught.value)


def test_the_full_example(tmp_path: Path) -> None:
    config = load_settings(write(tmp_path, FULL))
    assert config.path == tmp_path / "pcorr.yaml"
    assert config.home == tmp_path / "data"
    assert config.text_samples == ["rpjv2"]
    assert config.imported_samples == ["published"]
    sample = config.samples["rpjv2"]
    assert sample.dataset == "togethercomputer/RedPajama-Data-V2"
    assert (sample.name, sample.split, sample.revision) == ("sample", "train", None)
    assert (sample.text_column, sample.id_column) == ("raw_content", "url")
    assert (sample.domain_column, sample.metadata_column) == ("source_domain", "meta")
    assert (sample.pages_per_domain, sample.chunk_tokens, sample.seed) == (25, 512, 42)
    assert sample.reference_tokenizer == "meta-llama/Llama-2-7b-hf"
    assert sample.unit_tokens == tmp_path / "caps.csv"
    assert config.samples["published"].matrix_csv == MatrixCsv(
        bpb=tmp_path / "bpb_by_page.csv", errors=tmp_path / "benchmark_errors.csv", level="page"
    )
    assert list(config.llm_specs) == [
        "EleutherAI/pythia-160m",
        "EleutherAI/pythia-6.9b-deduped",
        "EleutherAI/pythia-6.9b-deduped@step100000",
        "tiny-a",
    ]
    assert config.llm_specs["tiny-a"].path == tmp_path / "zoo" / "tiny-a"
    assert config.benchmarks["arc_easy"].metric == "acc"
    assert config.targets["lambada"].benchmarks == ["lambada_openai", "lambada_standard"]
    assert config.selection.language_model == tmp_path / "lid.176.ftz"
    assert config.pools["crawl"].files == [f"{tmp_path}/pool/*.jsonl.zst"]
    assert config.pools["crawl"].token_budget == 3_000_000_000
    assert config.compute.mode == "local"


def test_defaults_are_those_of_the_full_example(tmp_path: Path) -> None:
    full, bare = load_settings(write(tmp_path, FULL)), load_settings(write(tmp_path, "", "bare"))
    unset = {"tokenizer": None, "language_model": None}
    assert bare.selection == full.selection.model_copy(update=unset)
    assert bare.validation == full.validation
    assert bare.compute == full.compute
    assert bare.home == full.home
    short = {"samples": {"s": {"files": "x.csv", "reference_tokenizer": "org/tok"}}}
    sample, long = settings_from(short, folder=tmp_path).samples["s"], full.samples["rpjv2"]
    for name in ("split", "subsample_ratio", "drop_duplicates", "seed", "chunk_tokens"):
        assert getattr(sample, name) == getattr(long, name), name
    assert (sample.text_column, sample.id_column) == ("text", "id")


def test_every_mistake_is_reported_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, BROKEN)
    with pytest.raises(PcorrError) as caught:
        load_settings(path)
    assert str(caught.value).replace(f"{tmp_path}{os.sep}", "") == BROKEN_REPORT
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "# nothing yet\n", "---\n", "{}\n", "samples:\nllms:\nbenchmarks:\ntargets:\npools:\n"],
)
def test_a_file_without_content_gives_the_defaults(tmp_path: Path, text: str) -> None:
    config = load_settings(write(tmp_path, text))
    assert config.samples == config.benchmarks == config.targets == config.pools == {}
    assert config.llm_specs == {}
    assert config.home == tmp_path / "data"
    assert config.selection == Selection()


def test_without_a_file_home_is_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for config in (load_settings(None), Settings()):
        assert config.home == tmp_path / "data"
        assert config.path is None


def test_find_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config() is None
    (tmp_path / "pcorr.yaml").mkdir()
    with pytest.raises(PcorrError, match=r"pcorr\.yaml is not a file"):
        find_config()
    (tmp_path / "pcorr.yaml").rmdir()
    default = write(tmp_path, "")
    assert find_config() == default
    other = write(tmp_path, "", "other.yaml")
    monkeypatch.setenv("PCORR_CONFIG", "other.yaml")
    assert find_config() == other
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PCORR_CONFIG", "~/other.yaml")
    assert find_config() == other
    monkeypatch.setenv("PCORR_CONFIG", " ")
    assert find_config() == default
    monkeypatch.setenv("PCORR_CONFIG", "missing.yaml")
    with pytest.raises(PcorrError, match=r"PCORR_CONFIG names .*missing\.yaml"):
        find_config()


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"- a\n- b\n", "got a list of 2; expected a mapping"),
        (b"hello\n", "got 'hello' (text); expected a mapping"),
        (b"false\n", "got false (true or false); expected a mapping"),
        (b"[]\n", "got a list of 0; expected a mapping"),
        (b"home: \xff\n", "not UTF-8 (byte 6)"),
        (b"home: [a\n", "line 2, column 1: not readable as YAML"),
        (b"home: a\nhome: b\n", "home: stands twice, on lines 1 and 2; remove one"),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, content: bytes, part: str) -> None:
    path = tmp_path / "pcorr.yaml"
    path.write_bytes(content)
    with pytest.raises(PcorrError) as caught:
        load_settings(path)
    assert part in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "pcorr.yaml"
    path.write_bytes(b"\xef\xbb\xbfhome: there\r\ncompute: {batch_tokens: 5}\r\n")
    config = load_settings(path)
    assert (config.home, config.compute.batch_tokens) == (tmp_path / "there", 5)


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(PcorrError, match=r"cannot be read \("):
        load_settings(tmp_path / name)


def test_what_would_hold_the_reader_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pcorr.yaml"
    os.mkfifo(path)
    monkeypatch.chdir(tmp_path)
    for read in (find_config, lambda: load_settings(path)):
        with pytest.raises(PcorrError, match=r"pcorr\.yaml.* not a file"):
            read()
    path.unlink()
    with path.open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(PcorrError, match=r"larger than 1,000,000 bytes"):
        load_settings(path)


def test_of_many_mistakes_the_first_are_shown(tmp_path: Path) -> None:
    wrong = {f"nonsense{i}": i for i in range(2000)}
    with pytest.raises(PcorrError, match=r"2,000 mistakes") as caught:
        settings_from(wrong, folder=tmp_path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 102
    assert lines[-1].strip() == "and 1,900 more"


@pytest.mark.parametrize("home", ["a" * 256, "a/" * 2048])
def test_a_path_that_no_file_can_have(tmp_path: Path, home: str) -> None:
    with pytest.raises(PcorrError, match=r"home: .* a path has at most 4095 bytes"):
        settings_from({"home": home}, folder=tmp_path)


def test_repeated_keys_stand_beside_other_mistakes(tmp_path: Path) -> None:
    with pytest.raises(PcorrError) as caught:
        load_settings(write(tmp_path, "compute:\n  mode: a\n  mode: locl\nhom: x\n"))
    assert str(caught.value).splitlines()[1:] == [
        "  compute.mode: stands twice, on lines 2 and 3; remove one (line 3)",
        "  compute.mode: got 'locl' (text); expected one of local | slurm (line 3)",
        "  hom: unknown key; did you mean home? (line 4)",
    ]


def test_relative_paths_start_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    folder = tmp_path / "odd [name]"
    (folder / "tokens").mkdir(parents=True)
    (folder / "texts").mkdir()
    (folder / "texts" / "a.csv").touch()
    text = """
home: ../elsewhere
samples:
  a: {files: ["texts/*.csv", ~/x.jsonl, /y/**/z.parquet], reference_tokenizer: tokens}
  b: {saved: ~/saved, reference_tokenizer: ./tok}
  c: {dataset: org/data, reference_tokenizer: org/tokens}
"""
    config = load_settings(write(folder, text))
    assert config.home == tmp_path / "elsewhere"
    files = config.samples["a"].files
    assert files is not None
    assert files[1:] == [f"{tmp_path}/me/x.jsonl", "/y/**/z.parquet"]
    assert glob.glob(files[0]) == [str(folder / "texts" / "a.csv")]
    assert config.samples["a"].reference_tokenizer == str(folder / "tokens")
    assert config.samples["b"].saved == tmp_path / "me" / "saved"
    assert config.samples["b"].reference_tokenizer == str(folder / "tok")
    assert config.samples["c"].reference_tokenizer == "org/tokens"


def test_a_key_without_a_value_counts_as_not_written(tmp_path: Path) -> None:
    data = {"home": None, "selection": {"keep_ratio": None, "fasttext": None}, "compute": None}
    config = settings_from(data, folder=tmp_path)
    assert config == settings_from({}, folder=tmp_path)
    assert "samples.s: found none of them" in refusal({"samples": {"s": None}}, tmp_path)


def test_settings_are_frozen(tmp_path: Path) -> None:
    config = settings_from({}, folder=tmp_path)
    with pytest.raises(ValidationError):
        config.home = tmp_path  # pyright: ignore[reportAttributeAccessIssue]


def test_a_target_cannot_allow_more_nan_than_the_matrix_was_built_with(tmp_path: Path) -> None:
    data = {
        "benchmarks": {"piqa": {"metric": "acc"}},
        "targets": {"own": {"benchmarks": ["piqa"], "max_nan_fraction": 0.2}},
    }
    with pytest.raises(PcorrError, match=r"targets.own.max_nan_fraction: got 0.2; .* \(0.05\)"):
        settings_from(data, folder=tmp_path)


def test_a_tokenizer_can_be_pinned(tmp_path: Path) -> None:
    name = "org/name@0a1b2c"
    config = settings_from({"selection": {"tokenizer": name}}, folder=tmp_path)
    assert config.selection.tokenizer == name
    with pytest.raises(PcorrError, match=r"selection.tokenizer: .* after '@'"):
        settings_from({"selection": {"tokenizer": "org/name@"}}, folder=tmp_path)


def test_a_target_overrides_only_what_it_sets(tmp_path: Path) -> None:
    data = {
        "benchmarks": {"piqa": {"metric": "acc"}},
        "selection": {"level": "page", "keep_ratio": 0.2, "fasttext": {"dim": 10, "epoch": 3}},
        "targets": {
            "plain": {"benchmarks": "piqa"},
            "own": {
                "benchmarks": ["piqa"],
                "estimator": "sign",
                "keep_ratio": 0.5,
                "fasttext": {"epoch": 9},
                "max_nan_fraction": 0,
            },
        },
    }
    config = settings_from(data, folder=tmp_path)
    assert config.selection_for("plain") == config.selection
    own = config.selection_for("own")
    assert own == config.selection_for(config.targets["own"])
    assert (own.level, own.estimator, own.keep_ratio) == ("page", "sign", 0.5)
    assert own.max_nan_fraction == 0
    assert own.fasttext == FastText(dim=10, epoch=9)
    with pytest.raises(PcorrError, match=r"'plan' is not a target .* did you mean plain"):
        config.selection_for("plan")


def test_references_to_nothing(tmp_path: Path) -> None:
    report = refusal({"targets": {"t": {"benchmarks": ["piqa"]}}}, tmp_path)
    assert "targets.t.benchmarks[0]: 'piqa' is not listed under benchmarks" in report
    pool = {"files": "x.jsonl", "keep_ratio": 0.1}
    data = {
        "samples": {"published": {"matrix_csv": {"bpb": "a.csv", "errors": "b.csv"}}},
        "pools": {"p": {"sample": "published", **pool}},
    }
    assert "pools.p.sample: 'published' is not a text sample" in refusal(data, tmp_path)


def test_an_imported_matrix_may_bring_benchmarks(tmp_path: Path) -> None:
    data = {
        "samples": {"published": {"matrix_csv": {"bpb": "a.csv", "errors": "b.csv"}}},
        "targets": {"t": {"benchmarks": ["piqa"]}},
    }
    assert settings_from(data, folder=tmp_path).targets["t"].benchmarks == ["piqa"]


def test_keys_that_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    data = {"benchmarks": {"piqa": {"metric": "acc"}, "PIQA": {"metric": "acc"}}}
    expected = "benchmarks.PIQA: 'PIQA' differs from 'piqa' (benchmarks.piqa) in case only"
    assert expected in refusal(data, tmp_path)


SECTIONS = list(Settings.model_fields)
WORDS = st.sampled_from(
    [
        *SECTIONS,
        *["family", "models", "name", "revisions", "key", "path", "benchmarks", "metric", "scale"],
        *["files", "dataset", "matrix_csv", "sample", "token_budget", "slurm", "ssh", "overrides"],
        *["fasttext", "time_limit", "chunk_bpb", "lower_is_better", "org/name", "a|b", "org/a@b"],
    ]
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), WORDS, st.dates()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(WORDS, st.integers(), st.none(), st.floats()), inner, max_size=4),
    ),
    max_leaves=25,
)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(SECTIONS), VALUES, max_size=4))
def test_any_content_ends_in_settings_or_in_plain_words(data: dict[str, Any]) -> None:
    try:
        settings_from(data, folder=Path("/nowhere"))
    except PcorrError as error:
        text = str(error)
        assert not re.search(r"pydantic|https?://|Input should|validation error|type=", text)
        assert all(line.startswith("  ") and ": " in line for line in text.splitlines()[1:])


def test_importing_the_room_loads_nothing_heavy() -> None:
    heavy = ["torch", "transformers", "datasets", "pandas", "numpy", "dagster", "duckdb"]
    code = f"import sys, pcorr_assets.config; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
