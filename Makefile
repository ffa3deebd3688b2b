# Two commands are all it takes on a fresh machine: `make demo` and `make test`.
# Every target makes and uses .venv in this folder by itself.

SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
DEMO ?= demo_world

# Real published matrices, for the tests and benchmarks that compare with them.
PUBLISHED := $(abspath $(wildcard ../shared/data/published))
ifneq ($(PUBLISHED),)
export PCORR_PUBLISHED_DATA ?= $(PUBLISHED)
endif

.PHONY: help setup demo ui test test-long test-slurm test-faults test-inputs lint format types docs bench bench-gpu full-size study study-real lock audit clean

help:  ## show what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/installed  ## install everything into .venv

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: setup  ## the whole pipeline on the embedded demo world, with a summary
	@$(BIN)/python -m pcorr_assets.demo --folder $(DEMO)

ui: setup  ## the Dagster UI on what the demo materialised (http://127.0.0.1:3000)
	$(BIN)/python -m pcorr_assets.demo --folder $(DEMO) --ui

test: lint types docs  ## formatting, linting, types, documentation and the tests, but those of test-long
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not long"

test-long: setup  ## the tests that take minutes each: what is proven of whole projects by the clock
	$(BIN)/python -m pytest -n 2 --dist loadfile -m long

test-inputs: setup  ## ten thousand hostile inputs; other ones with PCORR_INPUTS_SEED=7
	PCORR_INPUTS=long $(BIN)/python -m pytest -n 2 --dist load -o timeout=0 pcorr_assets_tests/inputs

test-slurm: setup  ## the tests that need a Slurm cluster, on one brought up for them (root)
	scripts/slurm-cluster up
	status=0; PCORR_REQUIRE=slurm $(BIN)/python -m pytest -m slurm || status=$$?; \
	  scripts/slurm-cluster down; exit $$status

test-faults: setup  ## kills, full disks, flipped bits and other faults in every stage (docs/reliability.md)
	$(BIN)/python scripts/faults.py

lint: setup  ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup  ## pyright
	$(BIN)/pyright

docs: setup  ## the documentation as a site, into site/; fails at a broken link
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

format: setup  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## speed, as ratios against named alternatives
	$(BIN)/python scripts/bench.py

bench-gpu: setup  ## scoring on one GPU: tokens per second and utilisation, at three sizes of LLM
	$(BIN)/python scripts/bench_gpu.py

full-size: setup  ## pools at full size: kills in 1 GB, 200 million documents (docs/performance.md)
	for what in kills selection pass api; do $(BIN)/python scripts/full_size.py $$what || exit 1; done

lock: setup .cache/tools/installed  ## requirements.lock and docs/licences.md, after a change of dependencies
	.cache/tools/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
	  --no-annotate --no-header --python-version 3.11 -c constraints.txt --extra dev \
	  --output-file requirements.lock pyproject.toml
	$(BIN)/python scripts/licences.py

audit: setup .cache/tools/installed  ## known vulnerabilities of what is locked (asks the package index)
	.cache/tools/bin/pip-audit --strict --disable-pip --require-hashes -r requirements.lock

.cache/tools/installed:
	$(PYTHON) -m venv .cache/tools
	.cache/tools/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9 pip-audit==2.10.1
	touch $@

STUDY ?= study_worlds

study: setup  ## worlds whose truth is known, and docs/studies.md from them (half an hour; it continues)
	OMP_NUM_THREADS=1 TQDM_DISABLE=1 $(BIN)/python -m scripts.studies.pilots $(STUDY)
	OMP_NUM_THREADS=1 TQDM_DISABLE=1 $(BIN)/python -m scripts.studies --folder $(STUDY)

STUDY_REAL ?= study_real

study-real: setup  ## LLMs trained on selections of real text, and docs/evidence.md (hours; it continues)
	OMP_NUM_THREADS=1 TQDM_DISABLE=1 TRANSFORMERS_VERBOSITY=error $(BIN)/python -m scripts.studies.real $(STUDY_REAL)

clean:  ## remove the demo world and caches; .venv stays
	rm -rf $(DEMO) .pytest_cache .ruff_cache .hypothesis build dist site
