"""Every entrance of the platform that opens the files of an LLM, each tried on its own.

Belongs here: the process that `test_inert` starts. Does not belong here: LLMs to try, and
what is expected of them. `python -m pcorr_assets_tests.lm.entrances WORK RAN CASES`: cases
by name, each the fields of an LLM, as JSON; the answer is JSON as well. What ran has left a
file in the folder RAN.

huggingface_hub and transformers read their folders when they are imported, hence a process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers.utils import chat_template_utils

from pcorr_assets.config import LLMSpec, settings_from
from pcorr_assets.defs.deep_check import deep_check
from pcorr_assets.errors import PcorrError
from pcorr_assets.jobs import evaluate_llm, score_llm
from pcorr_assets.lm.loading import load_model, load_skeleton, load_tokenizer, resolve
from pcorr_assets.lm.probe import look_at, try_out
from pcorr_assets.text.tokenizers import load_tokenizer as reference_tokenizer
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.lm import local_tasks, tiny

KEY = "evil/llm"
TEMPLATE = "chat template"
WRITES = """
task: writes
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{data}"}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "rain"
generation_kwargs: {{until: ["."], max_gen_toks: 4}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
"""


def entrances(work: Path, fields: dict[str, Any]) -> dict[str, Callable[[], object]]:
    """The entrances by name, on the LLM of these fields."""
    path = fields.get("path")
    spec = LLMSpec(
        key=KEY, family="evil", **{**fields, "path": None if path is None else Path(path)}
    )
    home, scratch = work / "home", work / "scratch"
    scratch.mkdir(parents=True)
    tiny.write_chunks(home, "sample", tiny.TEXTS[:2])
    wh = Warehouse(home)
    job = {"home": str(home), "llm": {"key": KEY, "family": "evil", **fields}, "device": "cpu"}
    tasks = str(work.parent / "tasks")
    benchmarks = {
        "last_word": {"metric": "acc", "task_path": tasks},
        "writes": {"metric": "exact_match", "task_path": tasks},
    }
    return {
        "identity": lambda: resolve(spec),
        "tokenizer": lambda: load_tokenizer(resolve(spec)),
        "skeleton": lambda: load_skeleton(resolve(spec)),
        "model": lambda: load_model(resolve(spec), "cpu", "float32"),
        "probe": lambda: try_out(look_at(spec, wh, {"sample": 512}, scratch)),
        "reference tokenizer": lambda: reference_tokenizer(spec.path or str(spec.name)),
        "deep check": lambda: check_deeply(work, fields),
        "scoring job": lambda: score_llm.run({"job": "score_llm", **job, "sample": "sample"}),
        "evaluation job": lambda: evaluate_llm.run(
            {"job": "evaluate_llm", **job, "benchmarks": benchmarks}
        ),
    }


def check_deeply(work: Path, fields: dict[str, Any]) -> None:
    """`check-config --deep` of a file that names the LLM and its tokenizer."""
    (work / "texts.jsonl").write_text('{"text": "a text"}\n')
    model = {"key": KEY, **fields} if "path" in fields else fields
    tokenizer = fields.get("path") or fields["name"]
    settings = settings_from(
        {
            "home": "home",
            "samples": {"s": {"files": "texts.jsonl", "reference_tokenizer": tokenizer}},
            "llms": [{"family": "evil", "models": [model]}],
        },
        folder=work,
    )
    findings = deep_check(settings, lambda line: None)
    said = [finding.text for finding in findings.found if finding.place[0] == "llms"]
    if said:
        raise PcorrError(said[0])


def notice_templates(ran: Path) -> None:
    """Leave a file whenever transformers makes a template ready, and go on."""
    plain: Any = chat_template_utils._cached_compile_jinja_template

    def noticed(template: str) -> Any:
        (ran / TEMPLATE).touch()
        return plain(template)

    chat_template_utils._cached_compile_jinja_template = noticed


def forget_modules() -> None:
    """Code that was run once is run again by the next who loads it."""
    for name in [name for name in sys.modules if name.startswith("transformers_modules.")]:
        del sys.modules[name]


def main(work: Path, ran: Path, cases: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What each entrance said to each LLM, and what ran."""
    torch.set_num_threads(1)
    notice_templates(ran)
    tasks = local_tasks.write_tasks(work / "tasks")
    (tasks / "writes.yaml").write_text(WRITES.format(data=tasks / "few.jsonl"))
    answers: dict[str, Any] = {}
    for case, fields in cases.items():
        answers[case] = {}
        for name, entrance in entrances(work / case.replace(" ", "-"), fields).items():
            forget_modules()
            try:
                entrance()
                said = "ok"
            except PcorrError as error:
                said = str(error)
            left = sorted(path.name for path in ran.iterdir())
            for path in ran.iterdir():
                path.unlink()
            answers[case][name] = {"said": said, "ran": left}
    return answers


if __name__ == "__main__":
    answers = main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
    sys.stdout.write(json.dumps(answers))
