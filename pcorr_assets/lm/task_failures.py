"""What a benchmark that failed tells its user: where it happened, what was raised, what to do.

Belongs here: turning whatever a task raised into one sentence. Does not belong here: catching
it (`evaluation`), and what the platform itself refuses (a PcorrError speaks for itself).

Task code is the user's, and lm-eval's for tasks of its own: it may raise anything. So nothing
here depends on a list of types: the place is read off the traceback, and the types in
`REMEDIES` only choose better words.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

MAX_SHOWN = 400

# Functions of lm-eval and what each is for; the innermost one of a traceback counts.
STAGES = {
    "load_yaml": "reading the task's YAML",
    "_import_func_in_yml": "importing a `!function` of the task",
    "_load_module_with_cache": "importing a `!function` of the task",
    "_build_group_members": "collecting the tasks of the group",
    "download": "loading the task's data",
    "get_sampler": "choosing how few-shot examples are drawn (`fewshot_config`)",
    "sample": "drawing few-shot examples",
    "fewshot_docs": "loading few-shot examples",
    "training_docs": "taking the `training_split` (and `process_docs`)",
    "validation_docs": "taking the `validation_split` (and `process_docs`)",
    "test_docs": "taking the `test_split` (and `process_docs`)",
    "eval_docs": "taking the items to evaluate",
    "doc_to_text": "making a question (`doc_to_text`)",
    "doc_to_target": "making an answer (`doc_to_target`)",
    "doc_to_choice": "making the choices (`doc_to_choice`)",
    "doc_to_prefix": "making the beginning of an answer (`gen_prefix`)",
    "build_qa_turn": "putting question and answer together",
    "fewshot_context": "making a prompt",
    "construct_requests": "making a request of an item",
    "build_all_requests": "making the prompts",
    "build_filter_ensemble": "setting up its filters (`filter_list`)",
    "apply_filters": "filtering the answers (`filter_list`)",
    "process_results": "scoring an item (`process_results`)",
    "_compute_task_aggregations": "aggregating the scores of the items (`aggregation`)",
    "aggregate_groups": "aggregating the scores of the group's tasks",
    "loglikelihood": "running the LLM",
    "loglikelihood_rolling": "running the LLM",
    "generate_until": "running the LLM",
    "_loglikelihood_tokens": "running the LLM",
    "load": "loading the task",
    "evaluate": "running lm-eval",
}

# By the names of classes: most of these libraries need not be imported to fail.
REMEDIES = {
    "SyntaxError": "Correct the Python file.",
    "ModuleNotFoundError": "Correct the name of the module, or install the package into the "
    "environment that evaluates.",
    "ImportError": "Correct the `!function`: `module.function`, with the module's file beside the "
    "YAML.",
    "YAMLError": "Correct the YAML file.",
    "UndefinedError": "The template names something that the data does not have: compare it with "
    "the columns of the data (after `process_docs`).",
    "TemplateError": "Correct the Jinja template.",
    "DatasetsError": "Correct `dataset_path`, `dataset_name` and `dataset_kwargs`; without a "
    "connection the data must be in the cache of `datasets` already.",
    "HTTPError": "Look whether the machine has a connection, and whether the name is right; a "
    "dataset behind a licence needs `HF_TOKEN`.",
    "ConnectionError": "Look whether the machine has a connection, and whether the name is right; "
    "without one the data must be in the cache of `datasets` already.",
    "FileNotFoundError": "Correct the path in the task; a relative one counts from the folder in "
    "which the run was started.",
    "BadZipFile": "The file is damaged or is no archive: download it again.",
    "OutOfMemoryError": "The LLM does not fit with prompts of this length: take a device with "
    "more memory, fewer examples (`num_fewshot`), or leave out the longest items.",
    "MemoryError": "Take fewer items (`limit`), or a machine with more memory.",
    "SystemExit": "Take the call that ends the program (`exit`, `quit`, `sys.exit`) out of the "
    "task's code.",
    "RecursionError": "Something in the task refers to itself or is nested too deeply: correct "
    "its includes, functions or values.",
}
OTHERWISE = "Correct the task, or take the benchmark out of the configuration."


def describe(error: BaseException, folder: Path | None, source: Path | None = None) -> str:
    """One sentence on what happened where, and what to do.

    Args:
        error: whatever was raised.
        folder: the folder of local tasks; None for lm-eval's own.
        source: the task's own YAML file, as far as it is known.
    """
    frames = list(_frames(error))
    fallback = "" if source is None else _shown(str(source), folder)
    if (known := _known(error, frames)) is not None:
        return f"{known} ({fallback})" if fallback else known
    stage = next((STAGES[name] for frame in reversed(frames) if (name := _lm_eval(frame))), None)
    place = _place(error, folder) or fallback
    doing = f"while {stage}" if stage else "while running lm-eval"
    what = " ".join(str(error).split()) or "without a message"
    said = what if len(what) <= MAX_SHOWN else f"{what[: MAX_SHOWN - 3]}..."
    end = "" if said.endswith((".", "!", "?")) else "."
    where = f" ({place})" if place else ""
    return f"{type(error).__name__} {doing}{where}: {said}{end} {_remedy(error)}"


def _known(error: BaseException, frames: list[FrameType]) -> str | None:
    """Faults that lm-eval raises something else for, told from what it was holding."""
    for frame in frames:
        if frame.f_code.co_name != "__init__" or not frame.f_code.co_filename.endswith(
            os.path.join("lm_eval", "api", "task.py")
        ):
            continue
        held = frame.f_locals
        docs = getattr(held.get("self"), "task_docs", None)
        if isinstance(error, IndexError | AttributeError) and docs is not None and not len(docs):
            return (
                "the task has no items to evaluate: its `test_split` (else `validation_split`) is "
                "empty, or `process_docs` leaves nothing of it"
            )
        target, choices = held.get("test_target"), held.get("test_choice")
        if isinstance(error, IndexError) and isinstance(target, int) and choices is not None:
            return (
                f"`doc_to_target` of the first item is the index {target}, but `doc_to_choice` "
                f"gives {len(choices)} choices. Correct one of the two: indices count from 0, "
                "and the text of the right choice will do as well"
            )
        if isinstance(error, KeyError) and error.args == (None,) and "metric_name" in held:
            return (
                f"`metric_list` of the task names the metric {held['metric_name']!r}, which "
                "neither lm-eval nor the library `evaluate` knows; correct it, or name a function "
                "of your own (`metric: !function module.function`, with `aggregation` and "
                "`higher_is_better`)"
            )
    return None


def _frames(error: BaseException) -> Iterator[FrameType]:
    """Outermost first."""
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _lm_eval(frame: FrameType) -> str | None:
    """The name of a function of lm-eval that says what was being done."""
    name = frame.f_code.co_name
    return name if name in STAGES and "lm_eval" in Path(frame.f_code.co_filename).parts else None


def _place(error: BaseException, folder: Path | None) -> str:
    """File and line in the task's own files, as far as they are known."""
    mark: Any = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"{_shown(mark.name, folder)}, line {mark.line + 1}"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(error.filename, folder)}, line {error.lineno}"
    trace, found = error.__traceback__, ""
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if _is_of_tasks(file, folder):
            name = trace.tb_frame.f_code.co_name
            inside = "" if name == "<module>" else f", in {name}"
            found = f"{_shown(str(file), folder)}, line {trace.tb_lineno}{inside}"
        trace = trace.tb_next
    return found


def _is_of_tasks(file: Path, folder: Path | None) -> bool:
    if folder is not None and file.is_relative_to(folder.resolve()):
        return True
    parts = file.parts
    own = any(parts[at : at + 2] == ("lm_eval", "tasks") for at in range(len(parts)))
    # Below `tasks` lie folders of tasks; the modules beside them are the harness.
    return own and file.parent.name != "tasks"


def _shown(file: str, folder: Path | None) -> str:
    path = Path(file)
    if folder is not None and path.is_relative_to(folder.resolve()):
        return str(path.relative_to(folder.resolve()))
    return str(path)


def _remedy(error: BaseException) -> str:
    names = [kind.__name__ for kind in type(error).__mro__]
    return next((REMEDIES[name] for name in names if name in REMEDIES), OTHERWISE)
