"""LLMs and benchmarks: folders, hub names, tasks.

Belongs here: what can be told without weights and without the data of tasks. Does not
belong here: a forward pass, which `pcorr add-llm` tries.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from pcorr_assets.config import Settings
from pcorr_assets.config.llms import LLMSpec
from pcorr_assets.config.section import Location
from pcorr_assets.defs.deep_check.findings import Findings
from pcorr_assets.errors import PcorrError


def places_of_llms(settings: Settings) -> dict[str, Location]:
    """Where in the file each LLM stands."""
    return {
        key: ("llms", i, "models", j)
        for i, family in enumerate(settings.llms)
        for j, model in enumerate(family.models)
        for key, _ in model.identities()
    }


def check_llm(place: Location, spec: LLMSpec, findings: Findings, hub_problem: str | None) -> None:
    """The LLM's files say that it can be loaded; weights are neither read nor downloaded."""
    if spec.path is None and hub_problem is not None:
        findings.notes.append(f"LLM {spec.key} was not checked: {hub_problem}")
        return
    with findings.at(place), tempfile.TemporaryDirectory(prefix="pcorr-check-") as scratch:
        if spec.path is not None:
            _check_folder(spec, spec.path)
        else:
            _check_hub(spec, Path(scratch))


def check_benchmarks(settings: Settings, findings: Findings) -> None:
    """Every benchmark is a task or group of lm-eval, or of its own folder."""
    from lm_eval.tasks import TaskManager

    from pcorr_assets.lm.task_folders import usable_tasks
    from pcorr_assets.lm.task_loading import check_task

    managers: dict[Path | None, TaskManager] = {}
    # Not into the home: a check makes nothing.
    with tempfile.TemporaryDirectory(prefix="pcorr-check-") as copies:
        for name, written in settings.benchmarks.items():
            place: Location = ("benchmarks", name)
            before = len(findings.found)
            with findings.at((*place, "task_path")):
                benchmark = usable_tasks(name, written, Path(copies))
                folder = benchmark.task_folder
                if folder is not None and not folder.is_dir():
                    raise PcorrError(f"{folder} is no folder; name that of the task")
            if len(findings.found) > before:
                continue
            if folder not in managers:
                managers[folder] = (
                    TaskManager()
                    if folder is None
                    else TaskManager(include_path=str(folder), include_defaults=False)
                )
            with findings.at(place):
                check_task(managers[folder], name, benchmark)


def _check_folder(spec: LLMSpec, folder: Path) -> None:
    from pcorr_assets.lm.identity import ResolvedLLM
    from pcorr_assets.lm.loading import load_skeleton, load_tokenizer
    from pcorr_assets.lm.weights import weight_files

    if spec.gguf_file is None and not (folder / "config.json").is_file():
        raise PcorrError(
            f"{folder} is no folder of an LLM (no config.json); correct `path`, or save one there "
            "with save_pretrained"
        )
    weight_files(folder, spec.key, allow_pickle=spec.allow_pickle, gguf_file=spec.gguf_file)
    unhashed = ResolvedLLM(spec, "")
    load_skeleton(unhashed)
    load_tokenizer(unhashed)


def _check_hub(spec: LLMSpec, scratch: Path) -> None:
    from pcorr_assets.lm.hub import describe_repository, resolve_commit

    assert spec.name is not None
    commit = resolve_commit(spec.name, spec.revision)
    describe_repository(
        spec.name,
        commit,
        scratch,
        allow_pickle=spec.allow_pickle,
        subfolder=spec.subfolder,
        gguf_file=spec.gguf_file,
    )
