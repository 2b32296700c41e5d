# make env, demo, test, bench, lint, torture, clean: each works in a fresh checkout.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help env demo test bench lint torture clean

help:
	@echo "make env      the environment, in $(VENV)"
	@echo "make demo     two made-up imaging rounds through the whole workflow, with a score"
	@echo "make test     lint, types and all tests"
	@echo "make lint     lint and types only"
	@echo "make torture  runs that are killed a hundred times, and must end with the same bytes"
	@echo "make bench    accuracy and cost of Teralign and its peers; ARGS=--help tells what can be chosen"
	@echo "make clean    remove what demo and tests leave behind"

env: $(VENV)/.complete

# Complete when the marker is there: the Python is checked first, so that pip need not explain itself.
$(VENV)/.complete: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "make env: $(PYTHON) is missing or older than Python 3.11; name another: make env PYTHON=python3.12" >&2; exit 1; }
	[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

demo: env
	@bin/demo

test: env lint
	bin/nextflow -version >/dev/null
	$(BIN)/pytest

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

torture: env
	$(BIN)/python tests/torture.py --kills 100

bench: env
	@test -d "$$TERALIGN_TEST_DATA" || { echo "make bench: set TERALIGN_TEST_DATA to the folder of the data." >&2; exit 1; }
	@$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf demo results work .nextflow .nextflow.log* .pytest_cache .mypy_cache .ruff_cache .hypothesis
