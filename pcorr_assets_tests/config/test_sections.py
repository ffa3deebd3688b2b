"""Each section takes what it should and says what it does not take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pcorr_assets.config import Settings, SlurmResources, settings_from, time_limit_seconds
from pcorr_assets.errors import PcorrError

TOKENIZER = {"reference_tokenizer": "org/tok"}
MATRIX = {"matrix_csv": {"bpb": "a.csv", "errors": "b.csv", "level": "page"}}
CLUSTER = {
    "ssh": {"host": "login.example.org", "user": "me"},
    "remote_base": "/scratch/me/pcorr",
    "environment": "/home/me/env",
}


def read(**sections: Any) -> Settings:
    return settings_from(sections, folder=Path("/conf"))


def mistakes(**sections: Any) -> list[str]:
    with pytest.raises(PcorrError) as caught:
        read(**sections)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def mistakes_of_sample(**keys: Any) -> list[str]:
    return [line.removeprefix("samples.s") for line in mistakes(samples={"s": keys})]


# samples and pools


@pytest.mark.parametrize(
    "source", [{"dataset": "org/data"}, {"files": ["a.parquet"]}, {"saved": "folder"}]
)
def test_a_text_sample_has_one_source(source: dict[str, Any]) -> None:
    assert read(samples={"s": {**source, **TOKENIZER}}).text_samples == ["s"]
    both = mistakes_of_sample(**source, **MATRIX, **TOKENIZER)
    assert f": found {next(iter(source))} and matrix_csv; expected exactly one of" in both[0]


def test_a_sample_needs_a_source_and_a_tokenizer() -> None:
    source, tokenizer = mistakes_of_sample()
    assert source == (
        ": found none of them; expected exactly one of dataset, files, saved, matrix_csv"
    )
    assert tokenizer.startswith(".reference_tokenizer: missing; expected the tokenizer")


def test_a_matrix_refuses_every_text_option() -> None:
    lines = mistakes_of_sample(**MATRIX, chunk_tokens=5, text_column="x", name="y", split="z")
    assert sorted(lines) == [
        f".{key}: an imported matrix (matrix_csv) has no text; remove this key"
        for key in ("chunk_tokens", "name", "split", "text_column")
    ]


def test_a_matrix_may_have_caps_and_needs_both_files() -> None:
    sample = read(samples={"s": {**MATRIX, "unit_tokens": "caps.csv"}}).samples["s"]
    assert sample.unit_tokens == Path("/conf/caps.csv")
    assert mistakes_of_sample(matrix_csv={"bpb": "a.csv", "level": "pages"}) == [
        ".matrix_csv.errors: missing; expected the path of a CSV or Parquet file "
        "of benchmark errors",
        ".matrix_csv.level: got 'pages' (text); expected one of chunk | page | domain",
    ]


def test_options_of_another_source_are_refused() -> None:
    lines = mistakes_of_sample(files="a.csv", **TOKENIZER, name="x", revision="y", split="z")
    assert lines == [
        ".name: belongs to dataset, not to files",
        ".revision: belongs to dataset, not to files",
        ".split: belongs to dataset or saved, not to files",
    ]
    read(samples={"s": {"saved": "x", "split": "validation", **TOKENIZER}})


def test_pages_per_domain_needs_domains() -> None:
    lines = mistakes_of_sample(files="a.csv", **TOKENIZER, pages_per_domain=25)
    assert lines == [".pages_per_domain: needs domain_column, the column that names the domain"]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("chunk_tokens", 0, "got 0 (whole number); expected a whole number above 0"),
        ("chunk_tokens", 1.5, "got 1.5 (number); expected a whole number above 0"),
        ("chunk_tokens", "512", "got '512' (text); expected a whole number above 0"),
        ("chunk_tokens", [1], "got a list of 1; expected a whole number above 0"),
        ("seed", -1, "got -1 (whole number); expected a whole number from 0 to 2147483647"),
        ("subsample_ratio", 0, "got 0 (whole number); expected a number above 0, at most 1"),
        ("subsample_ratio", True, "got true (true or false); expected a number above 0, at"),
        ("subsample_ratio", float("nan"), "got nan (number); expected a number above 0"),
        ("drop_duplicates", 1, "got 1 (whole number); expected true or false"),
        ("text_column", 5, "got 5 (whole number); expected a text (write it in quotes)"),
        ("text_column", " ", "got ' ' (text); expected a text on one line"),
        ("text_column", {"a": 1}, "got a mapping with a; expected a text on one line"),
        (
            "unit_tokens",
            "ftp://b/caps.csv",
            "got a URL that begins with 'ftp://'; expected one of s3://",
        ),
        ("reference_tokenizer", "a b", "expected a name on the Hugging Face hub (org/name)"),
        ("reference_tokenizer", "a/b/c", "/conf/a/b/c is no folder"),
        ("files", [], "got a list of 0; expected a path or a list of paths or globs, ending in"),
        ("files", ["a.txt"], "got 'a.txt' (text); expected a path or a list of paths or globs"),
        ("files", ["ftp://x/a.csv"], "got a URL that begins with 'ftp://'; expected one of s3://"),
        ("files", [3], "got 3 (whole number); expected a path or a list of paths or globs"),
    ],
)
def test_values_of_a_sample_are_checked(key: str, value: object, expected: str) -> None:
    lines = mistakes_of_sample(**{"files": "a.csv", **TOKENIZER, key: value})
    assert len(lines) == 1
    assert lines[0].startswith(f".{key}: got ")
    assert expected in lines[0]


def test_lenient_forms() -> None:
    sample = {"files": "a.csv", **TOKENIZER, "drop_duplicates": "no", "chunk_tokens": 64.0}
    read_sample = read(samples={"s": sample}).samples["s"]
    assert read_sample.files == ["/conf/a.csv"]
    assert read_sample.drop_duplicates is False
    assert read_sample.chunk_tokens == 64


def test_pools() -> None:
    samples = {"s": {"files": "a.csv", **TOKENIZER}}
    pool = {"sample": "s", "saved": "docs", "keep_ratio": 0.5, "format": "jsonl.zst"}
    read_pool = read(samples=samples, pools={"p": pool}).pools["p"]
    assert (read_pool.saved, read_pool.format) == (Path("/conf/docs"), "jsonl.zst")
    assert (read_pool.token_budget, read_pool.token_count_column) == (None, None)
    assert read(samples=samples, pools={"p": {**pool, "keep_ratio": None, "token_budget": 3e9}})
    bad = {"files": ["x.csv"], "dataset": "org/x", "format": "json"}
    lines = mistakes(samples=samples, pools={"p": bad})
    assert [line.partition(":")[0] for line in lines] == [
        *["pools.p.sample", "pools.p.files", "pools.p.format", "pools.p", "pools.p"]
    ]
    assert "missing; expected the key of the text sample whose filter" in lines[0]
    assert "found files and dataset; expected exactly one of files, dataset, saved" in lines[3]


# llms


def test_models_inherit_from_their_family_and_compute() -> None:
    family = {
        "family": "f",
        "dtype": "float32",
        "allow_pickle": True,
        "slurm": {"gpus": 1, "memory": "32G"},
        "models": [
            "org/a@main",
            "org/b@step1",
            {"name": "org/c", "dtype": "float16", "allow_pickle": False, "overlong": "nan"},
            {"key": "org/mirror", "path": "../m", "slurm": {"memory": "64G", "gpus": 0}},
        ],
    }
    config = read(llms=[family], compute={"overlong": "window"})
    a, b, c, mirror = config.llm_specs.values()
    assert (a.key, a.name, a.revision, a.family) == ("org/a", "org/a", "main", "f")
    assert (a.dtype, a.allow_pickle, a.trust_remote_code) == ("float32", True, False)
    assert (a.overlong, a.path) == ("window", None)
    assert (b.key, b.name, b.revision) == ("org/b@step1", "org/b", "step1")
    assert (c.dtype, c.allow_pickle, c.overlong) == ("float16", False, "nan")
    assert (mirror.key, mirror.name, mirror.path) == ("org/mirror", None, Path("/m"))
    assert c.slurm == SlurmResources(gpus=1, memory="32G")
    assert mirror.slurm == SlurmResources(gpus=0, memory="64G")
    assert config.llm_spec("org/b@step1") is not None
    assert config.llm_spec("org/b@step1") == b


def test_one_of_several_llms_of_a_repository_has_a_key_of_its_own() -> None:
    family = {
        "family": "f",
        "attn_implementation": "eager",
        "models": [
            {"name": "org/many", "key": "org/q4", "gguf_file": "x-Q4_K.gguf", "revisions": ["v1"]},
            {"name": "org/many", "key": "org/step", "subfolder": "steps/100"},
            {"path": "../m", "key": "org/mine", "gguf_file": "m.gguf"},
            {"name": "org/code", "code_revision": "a" * 40, "attn_implementation": "sdpa"},
        ],
    }
    q4, step, mine, code = read(llms=[family]).llm_specs.values()
    assert (q4.key, q4.full_name, q4.revision) == ("org/q4", "org/many/x-Q4_K.gguf", "v1")
    assert (step.key, step.full_name, step.revision) == ("org/step", "org/many/steps/100", "main")
    assert (mine.key, mine.full_name) == ("org/mine", "/m/m.gguf")
    assert (code.code_revision, code.attn_implementation) == ("a" * 40, "sdpa")
    assert step.attn_implementation == "eager"


@pytest.mark.parametrize(
    ("model", "place", "words"),
    [
        ({"name": "org/many", "gguf_file": "a.gguf"}, "key", "needs a key"),
        ({"name": "org/many", "key": "k", "subfolder": "../up"}, "subfolder", "a folder of the"),
        ({"name": "org/many", "key": "k", "subfolder": "/etc"}, "subfolder", "a folder of the"),
        ({"path": "m", "key": "k", "gguf_file": "sub/a.gguf"}, "gguf_file", "without a folder"),
        ({"path": "m", "key": "k", "gguf_file": "a-00001-of-00002.gguf"}, "gguf_file", "merge"),
        ({"path": "m", "key": "k", "subfolder": "s"}, "subfolder", "has no subfolder"),
        (
            {"name": "org/m", "key": "k", "subfolder": "s", "revisions": ["a", "b"]},
            "revisions",
            "one key has one revision",
        ),
        ({"name": "org/m", "code_revision": "main"}, "code_revision", "40 hexadecimal"),
        ({"name": "org/m", "attn_implementation": "org/kernel"}, "attn_implementation", "sdpa"),
    ],
)
def test_what_is_wrong_with_a_part_of_a_repository(
    model: dict[str, Any], place: str, words: str
) -> None:
    found = mistakes(llms=[{"family": "f", "models": [model]}])
    assert len(found) == 1
    assert f"llms[0].models[0].{place}" in found[0]
    assert words in found[0]


def test_a_key_that_the_file_does_not_list_is_a_hub_llm() -> None:
    spec = read(compute={"overlong": "nan"}).llm_spec("EleutherAI/pythia-70m@step1000")
    assert (spec.key, spec.name) == ("EleutherAI/pythia-70m@step1000", "EleutherAI/pythia-70m")
    assert (spec.family, spec.revision) == ("EleutherAI", "step1000")
    assert (spec.dtype, spec.trust_remote_code, spec.overlong) == ("auto", False, "nan")


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("tiny-a", "not listed"),
        ("a/b/c", "not listed"),
        ("org/a@main", "write 'org/a'"),
        ("a|b", "expected a letter or digit"),
        ("", "expected a letter or digit"),
        ("org/a\n", "expected a letter or digit"),
    ],
)
def test_other_unlisted_keys_are_refused(key: str, reason: str) -> None:
    with pytest.raises(PcorrError, match="list a local folder under `llms`") as caught:
        read().llm_spec(key)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("model", "place", "text"),
    [
        ("gpt2", "", "got 'gpt2' (text); expected org/name, org/name@revision"),
        ("org/a@x@y", "", "at most one '@'"),
        (["org/a"], "", "got a list of 1; expected org/name"),
        ({}, "", "found neither of name and path"),
        ({"name": "org/a", "path": "x", "key": "k"}, "", "found both of name and path"),
        ({"name": "gpt2"}, ".name", "expected a hub name, org/name"),
        ({"name": "org/a@b"}, ".name", "a revision stands under `revisions`"),
        ({"name": "org/a", "key": "b"}, ".key", "the key of a hub LLM is its name"),
        ({"name": "org/a", "revisions": []}, ".revisions", "a list of at least one revision"),
        ({"name": "org/a", "revisions": ["x", "x"]}, ".revisions", "'x' stands twice"),
        ({"name": "org/a", "revisions": ["a b"]}, ".revisions[0]", "got 'a b'"),
        ({"path": "x"}, ".key", "missing; a local folder needs a key"),
        ({"key": "a|b", "path": "x"}, ".key", "this key is refused"),
        ({"key": "a", "path": "x", "revisions": ["y"]}, ".revisions", "has no revisions"),
        ({"name": "org/a", "dtype": "fp16"}, ".dtype", "auto | float32 | float16 | bfloat16"),
        ({"name": "org/a", "slurm": {"gpu": 1}}, ".slurm.gpu", "did you mean gpus?"),
    ],
)
def test_one_mistake_of_a_model_is_one_line(model: Any, place: str, text: str) -> None:
    lines = mistakes(llms=[{"family": "f", "models": [model]}])
    assert len(lines) == 1
    assert lines[0].startswith(f"llms[0].models[0]{place}: ")
    assert text in lines[0]


@pytest.mark.parametrize("revisions", [5, True, 1.5, {"main": 1}])
def test_revisions_are_a_list(revisions: object) -> None:
    model = {"name": "a/b", "revisions": revisions}
    found = mistakes(llms=[{"family": "a", "models": [model]}])
    assert len(found) == 1
    assert "llms[0].models[0].revisions: got" in found[0]
    assert "expected a list of at least one revision" in found[0]


def test_a_key_stands_once_over_all_families() -> None:
    llms = [
        {"family": "f", "models": ["org/a", {"key": "b", "path": "x"}]},
        {"family": "g", "models": [{"name": "org/a", "revisions": ["x", "main"]}]},
        {"family": "h", "models": [{"key": "b", "path": "y"}, "org/A"]},
    ]
    assert mistakes(llms=llms) == [
        "llms[1].models[0]: the key 'org/a' stands already at llms[0].models[0]; remove one",
        "llms[2].models[0]: the key 'b' stands already at llms[0].models[1]; remove one",
        "llms[2].models[1]: 'org/A' differs from 'org/a' (llms[0].models[0]) in case only; "
        "rename one",
    ]


def test_families_are_a_list() -> None:
    (line,) = mistakes(llms={"family": "f"})
    assert line == "llms: got a mapping with family; expected a list of families (`- family: ...`)"
    lines = mistakes(llms=[{}, "x"])
    assert lines == [
        "llms[0].family: missing; expected the name of the family",
        "llms[0].models: missing; expected a list of at least one model",
        "llms[1]: got 'x' (text); expected a mapping (lines of `key: value`)",
    ]


# benchmarks and targets


@pytest.mark.parametrize(
    ("metric", "lower"),
    [
        ("acc", False),
        ("exact_match,strict-match", False),
        ("perplexity", True),
        ("mcc", False),
        ("brier_score", True),
    ],
)
def test_the_direction_of_common_metrics_is_known(metric: str, lower: bool) -> None:
    assert read(benchmarks={"b": {"metric": metric}}).benchmarks["b"].lower_is_better is lower


def test_what_a_benchmark_says_about_its_direction_counts() -> None:
    benchmark = {"metric": "acc", "lower_is_better": True}
    assert read(benchmarks={"b": benchmark}).benchmarks["b"].lower_is_better is True


@pytest.mark.parametrize(
    ("benchmark", "text"),
    [
        ({"metric": "odd"}, "b.lower_is_better: missing; is a lower odd better? true or false"),
        ({"metric": "a,b,c"}, "b.metric: got 'a,b,c' (text); expected the name of a metric, or"),
        ({"metric": "acc", "limit": 0}, "b.limit: got 0 (whole number)"),
        ({"metric": "acc", "num_fewshot": -1}, "expected a whole number, 0 or more"),
        ({"metric": "acc", "scale": 0}, "b.scale: got 0 (whole number); expected a number above"),
        ({"metric": "perplexity", "scale": 9}, "b.scale: where lower is better"),
        ({"metric": "ter", "worst": -1}, "b.worst: where lower is better"),
        ({"metric": "bleu"}, "b.scale: missing; bleu goes to 100 where lm-eval or sacrebleu"),
        ({"metric": "acc", "worst": 1}, "b.worst: is 1, not below the best value (1, `scale`)"),
        ({"metric": "acc", "fewshot": 3}, "b.fewshot: unknown key; did you mean num_fewshot?"),
    ],
)
def test_one_mistake_of_a_benchmark_is_one_line(benchmark: dict[str, Any], text: str) -> None:
    lines = mistakes(benchmarks={"b": benchmark})
    assert len(lines) == 1
    assert text in lines[0]


@pytest.mark.parametrize("value", [[], "", 3, {"a": 1}, ["b", "b"]])
def test_a_target_lists_benchmarks_once_each(value: object) -> None:
    lines = mistakes(benchmarks={"b": {"metric": "acc"}}, targets={"t": {"benchmarks": value}})
    assert len(lines) == 1
    assert lines[0].startswith("targets.t.benchmarks")


def test_selection_and_validation_are_checked() -> None:
    lines = mistakes(
        selection={"estimator": "spearman", "fasttext": {"lr": 0, "test_fraction": 1}},
        validation={"bootstrap": 0, "go_stability": 2},
    )
    assert [line.partition(":")[0] for line in lines] == [
        "selection.estimator",
        "selection.fasttext.lr",
        "selection.fasttext.test_fraction",
        "validation.bootstrap",
        "validation.go_stability",
    ]
    assert "product | sign | sign_cdf | sign_sign | spearmanr | auto" in lines[0]


# compute


def test_mode_slurm_needs_a_cluster() -> None:
    assert [line.partition(";")[0] for line in mistakes(compute={"mode": "slurm"})] == [
        "compute.slurm.ssh: missing",
        "compute.slurm.remote_base: missing",
        "compute.slurm.environment: missing",
    ]
    slurm = read(compute={"mode": "slurm", "slurm": CLUSTER}).compute.slurm
    assert slurm.ssh is not None
    assert (slurm.ssh.port, slurm.ssh.host_key_checking) == (22, "strict")
    assert slurm.remote_base == "/scratch/me/pcorr"


def test_resources_of_an_llm_go_before_those_of_an_asset() -> None:
    general = {"partition": "gpu", "memory": "16G", "gpus": 1, "time_limit": "10:00:00"}
    overrides = {"chunk_bpb": {"memory": "32G", "cpus": 8}, "pool_scores": {"gpus": 0}}
    slurm = read(compute={"slurm": {**general, "overrides": overrides}}).compute.slurm
    assert slurm.resources_for("benchmark_errors") == SlurmResources(**general, cpus=1)
    assert slurm.resources_for("pool_scores").gpus == 0
    of_llm = slurm.resources_for("chunk_bpb", SlurmResources(memory="64G", qos="long"))
    assert of_llm == SlurmResources(**{**general, "memory": "64G", "cpus": 8, "qos": "long"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("partition", "gpu --wrap=x"),
        ("partition", "-gpu"),
        ("account", "a\nb"),
        ("account", "$(id)"),
        ("qos", "a,b"),
        ("memory", "64GB"),
        ("memory", "0G"),
        ("memory", 64),
        ("time_limit", 90),
        ("time_limit", "00:00:00"),
        ("time_limit", "1:60:00"),
        ("cpus", 0),
        ("gpus", -1),
        ("remote_base", "relative"),
        ("remote_base", "/a/../b"),
        ("remote_base", "/a b"),
        ("environment", "~/env"),
        ("home", "/a;b"),
        ("signal_before_timeout", "TERM"),
        ("poll_timeout", 0),
    ],
)
def test_unsafe_or_unreadable_slurm_values_are_refused(key: str, value: object) -> None:
    lines = mistakes(compute={"slurm": {key: value}})
    assert len(lines) == 1
    assert lines[0].startswith(f"compute.slurm.{key}: got ")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("host", "-oProxyCommand=x"),
        ("host", "a b"),
        ("user", "-l"),
        ("user", "me@host"),
        ("port", 0),
        ("port", 65536),
        ("host_key_checking", "no"),
    ],
)
def test_unsafe_ssh_values_are_refused(key: str, value: object) -> None:
    lines = mistakes(compute={"slurm": {"ssh": {"host": "h", "user": "u", key: value}}})
    assert len(lines) == 1
    assert lines[0].startswith(f"compute.slurm.ssh.{key}: got ")


def test_a_password_is_refused_and_never_shown() -> None:
    for place in ({"ssh": {"host": "h", "user": "u", "password": "hush"}}, {"password": "hush"}):
        (line,) = mistakes(compute={"slurm": place})
        assert "secrets never stand in this file" in line
        assert "hush" not in line


def test_the_signal_comes_before_the_end_of_every_job() -> None:
    slurm = {
        "time_limit": "00:02:00",
        "overrides": {"chunk_bpb": {"time_limit": "1-00:00:00"}, "chunk_bp": {}},
    }
    assert mistakes(compute={"slurm": slurm}) == [
        "compute.slurm.overrides.chunk_bp: unknown key; did you mean chunk_bpb?",
        "compute.slurm.time_limit: 120 seconds are no longer than the lead of "
        "signal_before_timeout (TERM@120); raise the one or lower the other",
    ]


@pytest.mark.parametrize(
    ("text", "seconds"), [("00:01:30", 90), ("24:00:00", 86400), ("2-01:00:00", 176400)]
)
def test_time_limits_in_seconds(text: str, seconds: int) -> None:
    assert time_limit_seconds(text) == seconds
    assert read(compute={"slurm": {"time_limit": text, "signal_before_timeout": "TERM@60"}})


# automation


@pytest.mark.parametrize(
    "cron", ["* * * * *", "*/10 * * * *", "5,35 0-6/2 1 1-12 0,6", "  0  3 * *  * "]
)
def test_times_of_automation_are_cron_expressions(cron: str) -> None:
    settings = read(automation={"refresh": cron})
    assert settings.automation.refresh == " ".join(cron.split())
    assert settings.automation.nightly == "0 3 * * *"


@pytest.mark.parametrize(
    "cron",
    ["@daily", "* * * *", "* * * * * *", "60 * * * *", "* * 0 * *", "* * * * 7", "*/0 * * * *",
     "9-5 * * * *", "5/2 * * * *", "1,, * * * *", "* * * jan *", "", 10, True, ["* * * * *"]],
)  # fmt: skip
def test_what_is_no_cron_expression_is_refused(cron: object) -> None:
    (line,) = mistakes(automation={"nightly": cron})
    assert line.startswith("automation.nightly: got ")
    assert "five cron fields in quotes" in line


# combined targets

PARTS = {"science": {"benchmarks": "sciq"}, "german": {"benchmarks": "lambada_de"}}
BENCHMARKS = {"sciq": {"metric": "acc"}, "lambada_de": {"metric": "acc"}}


def mistakes_of_combined(**keys: Any) -> list[str]:
    found = mistakes(benchmarks=BENCHMARKS, targets={**PARTS, "both": keys})
    return [line.removeprefix("targets.both") for line in found]


def test_a_target_may_combine_others() -> None:
    weights = {"science": 3, "german": 1}
    settings = read(
        benchmarks=BENCHMARKS,
        targets={
            **PARTS,
            "both": {"combine_targets": weights, "keep_ratio": 0.2},
            "worst": {"combine_targets": ["science", "german"], "worst_case": True},
        },
    )
    assert settings.targets["both"].target_weights == {"science": 0.75, "german": 0.25}
    assert settings.targets["worst"].target_weights == {"science": 0.5, "german": 0.5}
    assert settings.benchmarks_of("both") == ["sciq", "lambada_de"]
    assert settings.benchmarks_of("science") == ["sciq"]
    assert settings.selection_for("both").keep_ratio == 0.2
    written = settings.model_dump(mode="json", exclude_none=True)["targets"]
    assert read(benchmarks=BENCHMARKS, targets=written).targets == settings.targets


@pytest.mark.parametrize(
    ("keys", "place", "words"),
    [
        ({}, ".benchmarks", "or combine_targets"),
        ({"combine_targets": ["science"]}, ".combine_targets", "at least two targets"),
        ({"combine_targets": "science"}, ".combine_targets", "a list of targets, or a mapping"),
        ({"combine_targets": ["science", "science"]}, ".combine_targets", "stands twice"),
        ({"combine_targets": ["science", "germany"]}, "[1]", "did you mean german?"),
        ({"combine_targets": ["science", "both"]}, "[1]", "cannot combine itself"),
        ({"combine_targets": {"science": 0, "german": 1}}, ".science", "a weight above 0"),
        ({"combine_targets": {"science": -1, "german": 1}}, ".science", "a weight above 0"),
        ({"combine_targets": {"science": float("inf"), "german": 1}}, ".science", "above 0"),
        (
            {"combine_targets": ["science", "german"], "benchmarks": "sciq"},
            ".benchmarks",
            "remove this key or combine_targets",
        ),
        (
            {"combine_targets": ["science", "german"], "combine": "mean"},
            ".combine",
            "remove this key or combine_targets",
        ),
        (
            {"combine_targets": {"science": 1, "german": 1}, "worst_case": True},
            ".combine_targets",
            "without weights",
        ),
        ({"benchmarks": "sciq", "worst_case": True}, ".worst_case", "for combine_targets only"),
    ],
)
def test_a_combined_target_is_refused(keys: dict[str, Any], place: str, words: str) -> None:
    (line,) = mistakes_of_combined(**keys)
    where, _, what = line.partition(": ")
    assert where.endswith(place)
    assert words in what


def test_combined_targets_are_not_combined_again() -> None:
    nested = {
        "one": {"combine_targets": ["science", "two"]},
        "two": {"combine_targets": ["german", "one"]},
    }
    found = mistakes(benchmarks=BENCHMARKS, targets={**PARTS, **nested})
    assert [line.partition(":")[0] for line in found] == [
        "targets.one.combine_targets[1]",
        "targets.two.combine_targets[1]",
    ]
    assert "'two' combines targets itself; name its targets here" in found[0]
