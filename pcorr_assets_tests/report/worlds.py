"""Hand-made warehouses to report on: texts with hostile names, and a published-like matrix.

The rows that statistics make are made by the platform's own steps; all others are by hand.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from pcorr_assets.config import Settings, load_settings
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.training import DISTRIBUTION_HASH
from pcorr_assets.matrix.candidates import MATRIX_HASH
from pcorr_assets.matrix.layout import LevelLayout
from pcorr_assets.steps.error_vectors import target_error_vector
from pcorr_assets.steps.estimates import estimate_targets
from pcorr_assets.steps.matrices import build_matrix
from pcorr_assets.steps.rank_predictions import validate_targets
from pcorr_assets.steps.sampling import sampling_distribution
from pcorr_assets.warehouse import TABLES, Warehouse
from pcorr_assets.warehouse.files import sha256_file

SCRIPT = "<script>document.title = 'owned'</script>"
HOSTILE_DOMAIN = "<img src=x onerror=alert(1)>.example"
HOSTILE_LLM = 'evil/"onmouseover=alert(2)'
COMMIT = "0123456789" * 4

VALIDATION = {"bootstrap": 20, "halvings": 10, "permutations": 50}


def table(name: str, rows: Sequence[dict[str, Any]]) -> pa.Table:
    schema = TABLES[name].schema
    whole = [dict.fromkeys(schema.names) | row for row in rows]
    return pa.Table.from_pylist(whole, schema=schema)


def write_config(folder: Path, config: dict[str, Any]) -> Settings:
    path = folder / "pcorr.yaml"
    path.write_text(yaml.safe_dump(config))
    return load_settings(path)


def run_steps(wh: Warehouse, settings: Settings, sample: str, target: str) -> None:
    """From the matrix and the error vector to the distribution."""
    failures: dict[str, PcorrError] = {}
    for found in estimate_targets(wh, settings, sample, [target], failures):
        wh.write("estimates", (sample, target), found.table, found.notes)
    for found in validate_targets(wh, settings, sample, [target], failures):
        for name, rows in (
            ("rank_predictions", found.rank_predictions),
            ("verdicts", found.verdicts),
        ):
            wh.write(name, (sample, target), rows, found.notes)
    assert failures == {}
    found = sampling_distribution(wh, settings, sample, target)
    wh.write("sampling_distributions", (sample, target), found.table)


def domains_of(count: int) -> list[str]:
    return [HOSTILE_DOMAIN, *(f"site-{number:04}.example" for number in range(1, count))]


def write_text_world(
    folder: Path, *, family_count: int = 7, domain_count: int = 24, level: str = "domain"
) -> tuple[Warehouse, Settings]:
    """A text sample `texts` with two pages for each domain, target `good`, and a filter."""
    settings = write_config(
        folder,
        {
            "home": "home",
            "samples": {
                "texts": {
                    "files": ["*.jsonl"], "id_column": "url", "domain_column": "domain",
                    "reference_tokenizer": "some/tokenizer",
                }
            },
            "targets": {"good": {"benchmarks": ["quiz"]}},
            "benchmarks": {"quiz": {"metric": "acc"}},
            "selection": {"keep_ratio": 0.25, "level": level},
            "validation": VALIDATION,
        },
    )  # fmt: skip
    wh = Warehouse(settings.home)
    _write_matrix(wh, _write_chunks(wh, domains_of(domain_count)), _write_llms(wh, family_count))
    run_steps(wh, settings, "texts", "good")
    write_filter(wh)
    return wh, settings


def _write_chunks(wh: Warehouse, domains: list[str]) -> list[dict[str, Any]]:
    rows = []
    for number, domain in enumerate(domains):
        for page in range(2):
            page_id = (
                f"javascript:alert({page})" if number == 0 else f"https://{domain}/page/{page}"
            )
            text = f"{SCRIPT} Text {page} of {domain} & more. " + "word " * 60
            for index in range(2):
                name = f"{page_id}/{index}"
                rows.append(
                    {
                        "sample": "texts",
                        "chunk_id": hashlib.sha256(name.encode()).hexdigest()[:32],
                        "page_id": page_id, "chunk_index": index, "domain": domain,
                        "text": text, "byte_count": len(text), "reference_token_count": 80,
                    }
                )  # fmt: skip
    wh.write("chunks", ("texts",), table("chunks", rows), {"chunks_sha256": "c" * 64})
    return rows


def _write_llms(wh: Warehouse, family_count: int) -> list[str]:
    names = [f"lab{family}/llm-{size}" for family in range(family_count) for size in "ab"]
    names[0] = HOSTILE_LLM
    for llm in names:
        family = f"family {names.index(llm) // 2}"
        row = {
            "llm": llm, "source": "lm_eval", "family": family, "name": llm, "revision": "main",
            "commit_sha": COMMIT, "dtype": "float32", "parameter_count": 1_500_000,
        }  # fmt: skip
        wh.write("llms", (llm,), table("llms", [row]))
        run = {
            "sample": "texts", "llm": llm, "device_name": "NVIDIA H100 80GB HBM3",
            "dtype": "float32", "scoring_workers": 2, "scoring_devices": 2,
            "parameter_count": 1_500_000, "scored_token_count": 72_000, "seconds": 1800.0,
            "tokens_per_second": 40.0,
            "operations_per_second": 6e7, "model_flops_utilisation": 6e7 / 989e12,
            "padding_share": 0.125, "seconds_waiting_for_data": 360.0,
        }  # fmt: skip
        wh.write("scoring_runs", (llm, "texts"), table("scoring_runs", [run]))
    return names


def _write_matrix(wh: Warehouse, chunks: list[dict[str, Any]], llms: list[str]) -> None:
    rng = np.random.default_rng(3)
    skill, general = rng.normal(size=(2, len(llms)))
    domains = sorted({row["domain"] for row in chunks})
    places = {name: place for place, name in enumerate(domains)}
    levels = {
        "chunk": sorted((row["chunk_id"], row["domain"]) for row in chunks),
        "domain": [(name, name) for name in domains],
    }
    errors = 0.5 + 0.05 * skill
    with wh.writer("bpb_matrix", ("texts",)) as writer:
        for level, units in levels.items():
            about = np.array([places[domain] < len(domains) // 2 for _, domain in units])
            names = pa.array([unit for unit, _ in units])
            layout = LevelLayout("texts", level, names, pa.array(np.full(len(units), 300)))
            for llm in sorted(llms):
                row = llms.index(llm)
                own = 1.5 + 0.1 * general[row] + 0.3 * skill[row] * about
                noise = 0.02 * np.random.default_rng([row, len(units)]).normal(size=len(units))
                writer.write(layout.table(llm, own + noise))
        writer.metadata["chunks_sha256"] = "c" * 64
    coverage = [
        {"sample": "texts", "llm": llm, "included": True, "chunk_count": 96, "nan_count": 1}
        for llm in sorted(llms)
    ]
    missing = {"sample": "texts", "llm": "lab9/gone", "included": False, "reason": "it failed"}
    coverage_table = table("matrix_coverage", [*coverage, missing])
    wh.write("matrix_coverage", ("texts",), coverage_table, {MATRIX_HASH: writer.written.sha256})
    vector = [
        {
            "target": "good", "source": "lm_eval", "llm": llm, "error": float(error),
            "family": f"family {number // 2}",
        }
        for number, (llm, error) in enumerate(zip(llms, errors, strict=True))
    ]  # fmt: skip
    wh.write("error_vectors", ("good",), table("error_vectors", vector))


def write_comparison_world(folder: Path) -> tuple[Warehouse, Settings]:
    """The text world with more targets, and an imported matrix with some of its domains.

    `good` and `else` ask for different halves of the domains, `alike` for nearly that of `good`;
    `fine` is `good` by chunks. The imported matrix has errors for `good` only.
    """
    wh, settings = write_text_world(folder)
    config = yaml.safe_load((folder / "pcorr.yaml").read_text())
    benchmarks = ["quiz", "signal"]
    config["targets"] = {
        "good": {"benchmarks": benchmarks},
        "else": {"benchmarks": benchmarks, "estimator": "product"},
        "alike": {"benchmarks": benchmarks},
        "fine": {"benchmarks": benchmarks, "level": "chunk"},
    }
    config["samples"]["published"] = {
        "matrix_csv": {"bpb": "bpb.csv", "errors": "errors.csv", "level": "domain"}
    }
    own = wh.read("error_vectors", "good").to_pylist()
    skill, general = np.random.default_rng(3).normal(size=(2, len(own)))
    names = [f"fam{number // 2}/llm-{number}" for number in range(len(own))]
    imports = [f"('{name.partition('/')[0]}', '{name}')" for name in names]
    rows = [["id", *imports]]
    for place in range(1, 13):
        rows.append([f"site-{place:04}.example", *(1.5 + 0.3 * skill + 0.01 * place * general)])
    for name, lines in (
        ("bpb.csv", rows),
        ("errors.csv", [["benchmark", *imports], ["signal", *(0.5 + 0.05 * skill)]]),
    ):
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows(lines)
    settings = write_config(folder, config)
    build_matrix(wh, settings, "published", [])
    theirs = [
        {"source": "published", "llm": llm, "family": row["family"], "error": row["error"]}
        for llm, row in zip(names, own, strict=True)
    ]
    for target in config["targets"]:
        about = {"else": general, "alike": skill + 0.2 * general}.get(target, skill)
        errors = (0.5 + 0.05 * about).tolist()
        mine = [{**row, "error": error} for row, error in zip(own, errors, strict=True)]
        vector = [*mine, *(theirs if target == "good" else [])]
        vector = [{**row, "target": target} for row in vector]
        wh.write("error_vectors", (target,), table("error_vectors", vector))
        run_steps(wh, settings, "texts", target)
    run_steps(wh, settings, "published", "good")
    return wh, settings


def write_filter(wh: Warehouse, trained_on: str | None = None) -> None:
    """A filter that keeps 90 tokens of the 100 labelled include, and 10 others."""
    distribution = sha256_file(wh.path("sampling_distributions", "texts", "good"))
    row = {
        "sample": "texts", "target": "good", "model_path": "/models/a.bin", "sha256": "f" * 64,
        "level": "domain", "boundary_unit": HOSTILE_DOMAIN,
        **{f"{split}_{label}_{what}": 100 if label == "include" else 900
           for split in ("train", "test") for label in ("include", "exclude")
           for what in ("pages", "tokens")},
        **{f"{control}{name}": 0.25
           for control in ("random_", "shuffled_")
           for name in ("recall", "f1", "roc_auc", "budget_precision", "budget_recall")},
        **dict.fromkeys(("precision", "recall", "f1", "roc_auc", "average_precision"), 0.75),
        "budget_precision": 0.9, "budget_recall": 0.9,
    }  # fmt: skip
    terms = {"include": [{"text": SCRIPT, "weight": 1.0, "page_count": 3}], "exclude": []}
    notes = {
        "beats_random": "true", "grouped_by": "domain", "notes": json.dumps([f"Note {SCRIPT}"]),
        "top_terms": json.dumps(terms),
        DISTRIBUTION_HASH: trained_on or distribution,
        "languages": json.dumps({"before": {"en": 0.5, "de": 0.5}, "filter": {"en": 1.0}}),
    }  # fmt: skip
    wh.write("fasttext_filters", ("texts", "good"), table("fasttext_filters", [row]), notes)


def write_matrix_world(
    folder: Path, *, families: int = 7, per_family: int = 2, pages: int = 30, steps: bool = True
) -> tuple[Warehouse, Settings]:
    """An imported matrix `published`; half of its pages are about what the target asks for."""
    rng = np.random.default_rng(5)
    llms = [f"('fam{f}', 'fam{f}/llm-{i}')" for f in range(families) for i in range(per_family)]
    skill, general = rng.normal(size=(2, len(llms)))
    about = np.arange(pages) < pages // 2
    bpb = 1.5 + 0.1 * general[:, None] + 0.3 * skill[:, None] * about
    bpb += 0.02 * rng.normal(size=bpb.shape)
    lines = {
        "bpb.csv": [["id", *llms], *([f"page-{d:05}", *bpb[:, d]] for d in range(pages))],
        "errors.csv": [["benchmark", *llms], ["signal", *(0.5 + 0.05 * skill)]],
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in lines.items():
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    settings = write_config(
        folder,
        {
            "home": "home",
            "samples": {
                "published": {
                    "matrix_csv": {"bpb": "bpb.csv", "errors": "errors.csv", "level": "page"}
                }
            },
            "targets": {"good": {"benchmarks": ["signal"]}},
            "selection": {"keep_ratio": 0.25},
            "validation": VALIDATION,
        },
    )
    wh = Warehouse(settings.home)
    if steps:
        build_matrix(wh, settings, "published", [])
        vector = target_error_vector(wh, settings, "good", [])
        wh.write("error_vectors", ("good",), vector.table)
        run_steps(wh, settings, "published", "good")
    return wh, settings
