"""Job descriptions: everything a job needs to know, as JSON.

Belongs here: the fields of a description, making one from the settings, reading one.
Does not belong here: doing the job. A description holds no secrets; what it names by
path (home, local LLMs, task folders) must be there under that path where it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pcorr_assets.errors import PcorrError

if TYPE_CHECKING:
    from pcorr_assets.config import LLMSpec, Settings

SCORE_LLM = "score_llm"
EVALUATE_LLM = "evaluate_llm"


class LLMDescription(BaseModel):
    """An LLM as `config.LLMSpec` has it, without what concerns only the launching side."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    family: str
    name: str | None = None
    revision: str = "main"
    path: Path | None = None
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    trust_remote_code: bool = False
    allow_pickle: bool = False
    overlong: Literal["error", "nan", "window"] = "error"
    attn_implementation: str | None = None
    subfolder: str | None = None
    gguf_file: str | None = None
    code_revision: str | None = None

    def spec(self) -> LLMSpec:
        """The same as the type that the LLM room takes."""
        from pcorr_assets.config import LLMSpec

        return LLMSpec(**self.model_dump())


class LLMJob(BaseModel):
    """What every job about one LLM is told.

    `device` is auto, cuda, mps or cpu; `threads` the CPU threads of torch (None: its own
    choice). `expected_commit` is the commit, or content hash of a local folder, that must
    be used; None: the one that the warehouse has on record, else what the revision is now.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    home: Path
    llm: LLMDescription
    device: str = "auto"
    threads: int | None = None
    expected_commit: str | None = None


class PilotDescription(BaseModel):
    """How a sample is chunk by chunk divided into its pilot and the rest; see `config.Pilot`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pages_per_domain: int | None = None
    share: float | None = None
    seed: int


class ScoreJob(LLMJob):
    """Score one LLM on one sample.

    `pilot` says which chunks have batches of their own, before the others; `takes_from` names
    the sample from whose `chunk_bpb` scores are taken over (the pilot of a sample, or the sample
    of a pilot).

    `force` scores again although the partition is complete and up to date;
    `seconds_per_shard` is how much work a kill may cost at most, beside one batch.
    `scoring_workers` are processes (None: one a GPU, one without GPUs). `part` of `parts` is
    what this job does first of the work that several jobs share; only part 0 writes the table.
    """

    job: Literal["score_llm"] = SCORE_LLM
    sample: str
    pilot: PilotDescription | None = None
    takes_from: str | None = None
    batch_tokens: int | Literal["auto"] = 8192
    force: bool = False
    scoring_workers: int | None = None
    part: int = 0
    parts: int = 1
    seconds_per_shard: float = 30.0


class EvaluateJob(LLMJob):
    """Evaluate one LLM on benchmarks: their settings as `config.Benchmark` has them.

    `batch_size` None: a fixed one on the CPU, lm-eval's own search elsewhere. `scoring_workers`
    are processes, each with the LLM, that share out the benchmarks (None: as `ScoreJob`).
    """

    job: Literal["evaluate_llm"] = EVALUATE_LLM
    scoring_workers: int | None = None
    benchmarks: dict[str, dict[str, Any]]
    batch_size: int | None = None


AnyJob = TypeVar("AnyJob", bound=LLMJob)


def score_job(settings: Settings, sample: str, llm: str, **changes: Any) -> dict[str, Any]:
    """The description of scoring `llm` on `sample`; `changes` set fields of `ScoreJob`.

    Raises:
        PcorrError: the sample has no text or is not in the settings, or the LLM's key
            cannot be used.
    """
    if sample not in settings.text_samples:
        raise PcorrError(
            f"{sample!r} is not a sample with text, so no LLM can be scored on it; there are: "
            f"{', '.join(settings.text_samples) or 'none'}"
        )
    fields = {
        "home": settings.home,
        "sample": sample,
        **_of_pilot(settings, sample),
        "llm": _llm_fields(settings, llm),
        "threads": settings.compute.threads,
        "batch_tokens": settings.compute.batch_tokens,
        "scoring_workers": settings.compute.scoring_workers,
        "parts": settings.compute.scoring_jobs if settings.compute.mode == "slurm" else 1,
    }
    return read_job({**fields, **changes}, ScoreJob).model_dump(mode="json")


def evaluate_job(settings: Settings, llm: str, **changes: Any) -> dict[str, Any]:
    """The description of evaluating `llm` on all benchmarks of the settings.

    Raises:
        PcorrError: there are no benchmarks, or the LLM's key cannot be used.
    """
    if not settings.benchmarks:
        raise PcorrError(
            f"No benchmarks to evaluate {llm} on: list some under `benchmarks` in pcorr.yaml."
        )
    fields = {
        "home": settings.home,
        "llm": _llm_fields(settings, llm),
        "threads": settings.compute.threads,
        "scoring_workers": settings.compute.scoring_workers,
        "benchmarks": {
            name: benchmark.model_dump(mode="json")
            for name, benchmark in settings.benchmarks.items()
        },
    }
    return read_job({**fields, **changes}, EvaluateJob).model_dump(mode="json")


def read_job(job: dict[str, Any], kind: type[AnyJob]) -> AnyJob:
    """The description as a checked object.

    Raises:
        PcorrError: an unknown, missing or malformed field; it names all of them.
    """
    try:
        return kind.model_validate(job)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        )
        raise PcorrError(f"This is no description of a {kind.__name__}: {problems}") from error


def _of_pilot(settings: Settings, sample: str) -> dict[str, Any]:
    stated = settings.samples[sample]
    if stated.pilot_of is not None:
        return {"takes_from": stated.pilot_of}
    if stated.pilot is None:
        return {}
    pilot = {**stated.pilot.model_dump(), "seed": stated.seed}
    return {"pilot": pilot, "takes_from": settings.pilot_of(sample)}


def _llm_fields(settings: Settings, llm: str) -> dict[str, Any]:
    spec = settings.llm_spec(llm)
    return {name: getattr(spec, name) for name in LLMDescription.model_fields}
