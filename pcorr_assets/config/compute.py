"""Section `compute`: where and how the heavy work runs.

Belongs here: settings of scoring and evaluation, and of the Slurm cluster. Does not
belong here: launching anything. Passwords never stand in the file.

Every text that ends in a Slurm or ssh command has a grammar without white space, quotes
and shell characters, so that no value can become a second command or option.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from pcorr_assets.config.fields import (
    AbsolutePath,
    BatchTokens,
    NonNegative,
    OverlongField,
    Positive,
    matching,
    one_of,
    whole_number,
)
from pcorr_assets.config.section import Mistake, Section

_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_TIME_LIMIT = r"(?!(0+-)?0+:00:00)([0-9]{1,3}-)?[0-9]{1,4}:[0-5][0-9]:[0-5][0-9]"
_LETTERS = "letters, digits and . _ - only"

SlurmName = Annotated[str, matching(_WORD, f"a name of {_LETTERS}")]
PartitionNames = Annotated[
    str, matching(rf"{_WORD}(,{_WORD})*", f"a name of {_LETTERS}, or several with commas")
]
TimeLimit = Annotated[
    str,
    matching(
        _TIME_LIMIT,
        'a time in quotes, "HH:MM:SS" or "D-HH:MM:SS", above zero',
    ),
]
Memory = Annotated[str, matching(r"[1-9][0-9]{0,8}[KMGT]", "a size such as 500M or 64G")]
Signal = Annotated[
    str,
    matching(r"[A-Z][A-Z0-9]{1,9}@[1-9][0-9]{0,5}", "SIGNAL@SECONDS, such as TERM@120"),
]
ClusterPath = Annotated[
    str,
    matching(
        r"(?!.*/\.\.?(/|$))(/[A-Za-z0-9._@+=:-]+)+/?",
        "an absolute path on the cluster, of letters, digits and . _ @ + = : - only, without ..",
    ),
]
Host = Annotated[
    str,
    matching(
        r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|[0-9A-Fa-f:]*:[0-9A-Fa-f:]*",
        "a host name or address",
    ),
]
User = Annotated[str, matching(r"[A-Za-z_][A-Za-z0-9._-]*", f"a user name of {_LETTERS}")]


def time_limit_seconds(text: str) -> int:
    """Seconds of a time limit written `HH:MM:SS` or `D-HH:MM:SS`."""
    days, _, clock = text.partition("-") if "-" in text else ("0", "", text)
    hours, minutes, seconds = (int(part) for part in clock.split(":"))
    return int(days) * 86400 + hours * 3600 + minutes * 60 + seconds


def _lead_seconds(signal: object) -> int | None:
    seconds = str(signal).partition("@")[2]
    return int(seconds) if seconds.isdecimal() else None


def _time_limits(data: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], int]]:
    """Every readable time limit of a Slurm section as written, with its place."""
    overrides = data.get("overrides")
    places: list[tuple[tuple[str, ...], Any]] = [((), data)]
    if isinstance(overrides, Mapping):
        places += [(("overrides", str(asset)), part) for asset, part in overrides.items()]
    for place, part in places:
        limit = part.get("time_limit") if isinstance(part, Mapping) else None
        if isinstance(limit, str) and re.fullmatch(_TIME_LIMIT, limit):
            yield (*place, "time_limit"), time_limit_seconds(limit)


class SlurmResources(Section):
    """What one job asks for; unset: the next wider setting, at last the cluster's own.

    `memory` is per node, `gpus` are per node and `cpus` per task (every job has one task
    on one node).
    """

    partition: PartitionNames | None = None
    account: SlurmName | None = None
    qos: SlurmName | None = None
    time_limit: TimeLimit | None = None
    memory: Memory | None = None
    cpus: Positive | None = None
    gpus: NonNegative | None = None

    def override(self, narrower: SlurmResources | None) -> SlurmResources:
        """These resources with what `narrower` sets."""
        if narrower is None:
            return self
        written = {name: getattr(narrower, name) for name in SlurmResources.model_fields}
        changes = {name: value for name, value in written.items() if value is not None}
        return self.model_copy(update=changes)


class SlurmOverrides(Section):
    """Resources of the jobs of single assets."""

    chunk_bpb: SlurmResources | None = None
    benchmark_errors: SlurmResources | None = None
    pool_scores: SlurmResources | None = None


class Ssh(Section):
    """How to reach the login node: a key file or the ssh agent, never a password."""

    host: Host = Field(description="the name of the login node")
    user: User = Field(description="the user name on the cluster")
    port: Annotated[int, whole_number(1, 65535)] = 22
    key_path: AbsolutePath | None = None
    known_hosts: AbsolutePath | None = None
    host_key_checking: Annotated[
        Literal["strict", "accept-new", "off"], one_of("strict", "accept-new", "off")
    ] = "strict"


class Slurm(SlurmResources):
    """The cluster, and what every job asks for unless an asset or LLM overrides it.

    `remote_base` is the folder for job files, `environment` the folder of the environment
    deployed beforehand, `home` the data home as the cluster sees it (unset: the same path
    as here). `poll_timeout` is in seconds and counts the time in the queue.
    """

    ssh: Ssh | None = None
    remote_base: ClusterPath | None = None
    environment: ClusterPath | None = None
    home: ClusterPath | None = None
    time_limit: TimeLimit | None = "24:00:00"
    cpus: Positive | None = 1
    gpus: NonNegative | None = 0
    signal_before_timeout: Signal | None = "TERM@120"
    poll_timeout: Positive = 7 * 24 * 3600
    overrides: SlurmOverrides = SlurmOverrides()

    @classmethod
    def rules(cls, data: Mapping[str, Any]) -> Iterator[Mistake]:
        """The signal must come before the end of the shortest job."""
        signal = data.get("signal_before_timeout", "TERM@120")
        seconds = _lead_seconds(signal)
        for location, limit in _time_limits(data):
            if seconds is not None and seconds >= limit:
                why = f"{limit} seconds are no longer than the lead of signal_before_timeout"
                yield location, f"{why} ({signal}); raise the one or lower the other"

    def resources_for(
        self,
        asset: Literal["chunk_bpb", "benchmark_errors", "pool_scores"],
        of_llm: SlurmResources | None = None,
    ) -> SlurmResources:
        """What a job of `asset` asks for: what the LLM sets, else the asset, else `slurm`."""
        general = SlurmResources().override(self)
        return general.override(getattr(self.overrides, asset)).override(of_llm)


class SelectionCompute(Section):
    """CPU threads and memory of choosing documents (`selected_data`); unset: the machine's."""

    threads: Positive | None = None
    memory: Memory | None = None

    @property
    def memory_bytes(self) -> int | None:
        """`memory` in bytes; K, M, G and T are powers of 1024."""
        if self.memory is None:
            return None
        return int(self.memory[:-1]) << 10 * (1 + "KMGT".index(self.memory[-1]))


class Compute(Section):
    """`local` runs the work in the run's own process, `slurm` on a cluster.

    `workers` are the processes that read a group of a pool (unset: one a core, as far as the
    memory reaches). `scoring_workers` are the processes that score one LLM together, and
    share out the benchmarks of its evaluation (unset: one a GPU; one without GPUs), each with
    `threads` threads and the whole LLM. `scoring_jobs` are
    the Slurm jobs that score one LLM on one sample together, each with `scoring_workers`.
    `max_parallel_groups` is how many groups of pools are read at once in mode slurm, each in a job
    of its own; a group that is read here has all cores.
    """

    mode: Annotated[Literal["local", "slurm"], one_of("local", "slurm")] = "local"
    max_parallel_llms: Positive = 1
    max_parallel_groups: Positive = 4
    batch_tokens: BatchTokens = 8192
    threads: Positive | None = None
    workers: Positive | None = None
    scoring_workers: Positive | None = None
    scoring_jobs: Positive = 1
    overlong: OverlongField = "error"
    selection: SelectionCompute = SelectionCompute()
    slurm: Slurm = Slurm()

    @property
    def groups_at_once(self) -> int:
        """How many groups of pools are read at once."""
        return self.max_parallel_groups if self.mode == "slurm" else 1

    @classmethod
    def rules(cls, data: Mapping[str, Any]) -> Iterator[Mistake]:
        """Mode slurm needs to know the cluster."""
        slurm = data.get("slurm", {})
        if data.get("mode") != "slurm" or not isinstance(slurm, Mapping):
            return
        for key, what in {
            "ssh": "how to reach the login node: {host, user, ...}",
            "remote_base": "a folder on the cluster for job files",
            "environment": "the folder of the Python environment deployed on the cluster",
        }.items():
            if slurm.get(key) is None:
                yield ("slurm", key), f"missing; mode slurm needs {what}"
