# The door to a checkout: each target works in a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
export PATH := $(CURDIR)/$(BIN):$(PATH)

# Two tests at a time; tests/conftest.py says which of them share a process.
PYTEST := $(BIN)/pytest -n 2

.PHONY: help docs screenshots env dev demo demo-tiles lint fast test floors torture fuzz bench clean

help:
	@echo "make env      an environment to run Teralign in, in $(VENV); activate it with: source $(VENV)/bin/activate"
	@echo "make demo     two made-up imaging rounds through the whole workflow, with a score"
	@echo "make demo-tiles  the same rounds as tiles of a microscope, stitched and then aligned, with a score"
	@echo "make dev      the environment with what tests, lint and types need"
	@echo "make lint     lint and types"
	@echo "make fast     lint, types, and the tests that take seconds and no Nextflow"
	@echo "make test     lint, types and all tests"
	@echo "make floors   the fast tests with the lowest version of each dependency"
	@echo "make torture  what is killed a hundred times must end with the same bytes; ARGS=--help lists the choices"
	@echo "make fuzz     hostile files of every format, half an hour long, each of which must end in a result or a sentence"
	@echo "make bench    accuracy and cost of Teralign and its peers; ARGS=--help lists the choices"
	@echo "make docs     the documentation as a site, in build/site"
	@echo "make screenshots  the pictures of the documentation, in docs/images; needs Chromium"
	@echo "make clean    remove what demo and tests leave behind"

env: $(VENV)/.env
dev: $(VENV)/.dev

# An environment is complete when its marker exists. The Python is checked first, so that its age is said in one line.
$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "make: $(PYTHON) is missing or older than Python 3.11; name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.env: pyproject.toml constraints.txt | $(VENV)/.python
	@echo "Installing Teralign and its libraries in $(VENV): one to three minutes, about 1 GB"
	@$(PIP) install --disable-pip-version-check --constraint constraints.txt --editable '.[hdf5,nifti]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.python
	@echo "Installing Teralign, its libraries and the test tools in $(VENV): one to three minutes, about 1.2 GB"
	@$(PIP) install --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@ $(VENV)/.env

demo: env
	@bin/demo

demo-tiles: env
	@bin/demo-tiles

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fast: lint
	$(PYTEST) -m 'not nextflow and not slow'

test: lint
	bin/nextflow -version >/dev/null
	$(PYTEST)

floors: dev
	$(BIN)/python tests/floors.py -m 'not nextflow and not slow'

torture: dev
	@PYTHONPATH=tests $(BIN)/python -m torture $(or $(ARGS),commands)

fuzz: dev
	$(BIN)/python tests/fuzz.py $(ARGS)
	TERALIGN_EXAMPLES=500 $(BIN)/pytest -q tests/hostile/test_properties.py
	$(BIN)/python tests/fuzz_headers.py

bench: dev
	@test -d "$$TERALIGN_TEST_DATA" || { echo "make bench: set TERALIGN_TEST_DATA to the folder of the data." >&2; exit 1; }
	@$(BIN)/python -m benchmarks $(ARGS)

docs: dev
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo "build/site/index.html; with search: $(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site"

screenshots: dev
	@$(BIN)/python docs/tools/screenshots.py $(ARGS)

clean:
	rm -rf build demo demo-tiles results work .floors .nextflow .nextflow.log* .pytest_cache .mypy_cache .ruff_cache .hypothesis
