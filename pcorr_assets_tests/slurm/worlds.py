"""Small worlds on the shared folder of the test cluster, and runs of the real definitions.

As a program it materialises one partition in a process of its own, which a test may kill:
    python worlds.py CONFIG ASSET PARTITION SECONDS_PER_SHARD
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from pcorr_assets.config import load_settings
from pcorr_assets.defs import llms
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.defs.registration import register_llms, register_pool_groups
from pcorr_assets_tests.waiting import wait_for

ROOT = Path(os.environ.get("PCORR_SLURM_ROOT", "/var/lib/pcorr-slurm"))
SAMPLE = "web"
ARCHITECTURES = ("gpt2", "llama", "gpt_neox", "opt", "qwen2", "bloom")
LLMS = tuple(f"tiny-{name}" for name in ARCHITECTURES)
LLM = "tiny-llama"
BENCHMARK = "colours"
# With them the long sample takes thousands of forward passes, so that there is time to break in.
SHORT_BATCHES = {"batch_tokens": 64}

COLOURS_TASK = """\
task: colours
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{context}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{label}}}}"
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""


def write_zoo(folder: Path) -> None:
    """Six tiny random LLMs of different architectures, and a local benchmark."""
    from pcorr_assets_tests.lm import tiny

    for seed, (key, architecture) in enumerate(zip(LLMS, ARCHITECTURES, strict=True)):
        tiny.save_llm(folder / key, architecture, seed=seed)
    tasks = folder / "tasks"
    tasks.mkdir()
    items = [
        {"context": f"The {noun} is", "choices": ["red", "green", "blue"], "label": i % 3}
        for i, noun in enumerate(["rose", "leaf", "sea", "brick", "moss", "sky"])
    ]
    (tasks / "colours.jsonl").write_text("".join(f"{json.dumps(item)}\n" for item in items))
    (tasks / "colours.yaml").write_text(COLOURS_TASK.format(data=tasks / "colours.jsonl"))


def write_world(
    folder: Path, zoo: Path, compute: dict[str, Any], texts: Sequence[str], name: str = "home"
) -> Path:
    """A home with one chunked sample, and the configuration for it; returns the latter."""
    from pcorr_assets_tests.lm import tiny

    tiny.write_chunks(folder / name, SAMPLE, list(texts))
    config = {
        "home": str(folder / name),
        "samples": {
            SAMPLE: {
                "files": ["texts/*.jsonl"],
                "text_column": "text",
                "id_column": "id",
                "reference_tokenizer": str(zoo / LLMS[0]),
            }
        },
        "llms": [
            {
                "family": "tiny",
                "dtype": "float32",
                "models": [{"key": key, "path": str(zoo / key)} for key in LLMS],
            }
        ],
        "benchmarks": {BENCHMARK: {"metric": "acc", "task_path": str(zoo / "tasks")}},
        "compute": compute,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def long_texts() -> list[str]:
    from pcorr_assets_tests.lm import tiny

    return tiny.words(2000, 30)


def materialise(
    config: Path,
    asset: str,
    partition: str | dict[str, str],
    instance: dg.DagsterInstance,
) -> dg.ExecuteInProcessResult:
    """One partition of an asset of the real definitions, in this process."""
    settings = load_settings(config)
    register_llms(instance, settings)
    register_pool_groups(instance, settings)
    definitions = build_definitions(settings)
    job = dg.define_asset_job("run", selection=[asset])
    resolved = dg.Definitions(assets=definitions.assets, jobs=[job])
    if isinstance(partition, str) and "|" in partition:
        partition = {"llm": partition.partition("|")[0], "sample": SAMPLE}
    key = dg.MultiPartitionKey(partition) if isinstance(partition, dict) else partition
    return resolved.resolve_job_def("run").execute_in_process(
        instance=instance, partition_key=key, raise_on_error=False
    )


def failure(result: dg.ExecuteInProcessResult) -> str:
    """What the failed step of a run says, with its causes."""
    (event,) = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    error = event.step_failure_data.error
    said = []
    while error is not None:
        said.append(error.message)
        error = error.cause
    return "\n".join(said)


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """Metadata of the one materialisation of an asset."""
    (event,) = result.asset_materializations_for_node(asset)
    return {key: value.value for key, value in event.metadata.items()}


def flush_shards_often(seconds: float) -> Any:
    """`score_job` for jobs that write a shard every so many seconds."""
    return functools.partial(llms.score_job, seconds_per_shard=seconds)


def slurm(*command: str) -> str:
    """Output of a Slurm command, given as an administrator."""
    environment = {**os.environ, "SLURM_CONF": str(ROOT / "etc" / "slurm.conf")}
    result = subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True, timeout=60
    )
    return result.stdout.strip()


def live_jobs(llm: str = LLM) -> list[str]:
    """Ids of queued and running jobs that work on an LLM."""
    lines = slurm("squeue", "-h", "-o", "%i|%Z").splitlines()
    return [job for job, _, place in (line.partition("|") for line in lines) if llm in place]


def state_of(job: str) -> str:
    """A job's state, as accounting has it."""
    return slurm("sacct", "-X", "-n", "-P", "-j", job, "-o", "State").partition(" ")[0]


@contextlib.contextmanager
def halted(job: str, when: Callable[[], object] = lambda: True) -> Iterator[None]:
    """The job's work stands still in the block, so that no machine is too fast for it.

    It is let begin, and go on until `when` holds.
    """
    pid = wait_for(f"the work of job {job}", lambda: pid_of_work(job))
    wait_for("the moment to halt it", when, every=0.005)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def pid_of_work(job: str) -> int | None:
    with contextlib.suppress(subprocess.CalledProcessError, FileNotFoundError):
        for line in slurm("scontrol", "listpids", job).splitlines()[1:]:
            pid = line.split()[0]
            if pid.isdigit() and "node.py" in Path(f"/proc/{pid}/cmdline").read_text():
                return int(pid)
    return None


def shards(config: Path) -> list[Path]:
    """Files with finished batches of unfinished jobs."""
    return sorted((load_settings(config).home / "shards").rglob("*.parquet"))


def once_it_works(
    config: Path, action: Callable[[str], object]
) -> contextlib.AbstractContextManager[list[str]]:
    """`once` the job that is launched in the block has written a shard."""
    return once(lambda: shards(config), action)


@contextlib.contextmanager
def once(condition: Callable[[], object], action: Callable[[str], object]) -> Iterator[list[str]]:
    """Call `action(id of the only job)` when the condition first holds in the block.

    Yields a list that holds the job's id afterwards. What goes wrong in `action` is raised
    at the end of the block.
    """
    seen: list[str] = []

    def watch() -> None:
        wait_for("the moment to break in", condition)
        seen.extend(live_jobs(""))
        action(seen[0])

    with ThreadPoolExecutor() as pool:
        watching = pool.submit(watch)
        yield seen
        watching.result()


def main() -> int:
    config, asset, partition, seconds = sys.argv[1:]
    llms.__dict__.update(score_job=flush_shards_often(float(seconds)))
    with dg.DagsterInstance.get() as instance:
        result = materialise(Path(config), asset, partition, instance)
        if not result.success:
            sys.stderr.write(failure(result))
        return 0 if result.success else 1


if __name__ == "__main__":
    sys.exit(main())
