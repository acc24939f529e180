# The two commands of a new user are `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# A file of tests stays in one process; more processes than four would spend their time on starting databases.
SIDE_BY_SIDE := --numprocesses auto --maxprocesses 4 --dist loadfile
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)

.PHONY: help demo oracles test test-long check lint types contracts format openapi reference clean

help:  ## what can be asked for
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Tocsin needs Python 3.11 or newer, and none was found on the PATH." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Could not make $(VENV): on Debian and Ubuntu install the package python3-venv." >&2; rm -rf $(VENV); exit 1; }
	@$(BIN)/python -m pip install --quiet --upgrade pip

# Installed again when what is wanted, or the front end's sources, changed.
UI_SOURCES := $(shell find web -type f -not -path '*/node_modules/*' 2>/dev/null)
$(VENV)/.installed: pyproject.toml constraints.txt hatch_build.py $(UI_SOURCES) | $(BIN)/python
	@echo "Installing Tocsin into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install --constraint constraints.txt --editable . --progress-bar on
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing what the tests need into $(VENV)"
	@$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]' --progress-bar on
	@touch $@

$(VENV)/.installed-oracles: $(VENV)/.installed-dev
	@echo "Installing the references that tests compare with into $(VENV)"
	@$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev,oracles,raster]' --progress-bar on
	@$(BIN)/python -m pip install --constraint constraints.txt --no-deps lifelines
	@touch $@

oracles: $(VENV)/.installed-oracles  ## what tests compare with: ioos_qc, lifelines, statsmodels, rasterio

demo: $(VENV)/.installed  ## a storm in the drill region; ARGS=--once plays it to the end
	@$(BIN)/tocsin demo $(ARGS)

test: $(VENV)/.installed-dev  ## every test this machine can run, and why it skipped the others
	@$(BIN)/python -m pytest -m "not long" $(SIDE_BY_SIDE) $(ARGS)

test-long: $(VENV)/.installed-dev  ## fault campaigns and large property runs
	@$(BIN)/python -m pytest -m long $(ARGS)

check: lint types contracts test  ## the whole gate

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .

types: $(VENV)/.installed-dev
	@$(BIN)/mypy

contracts: $(VENV)/.installed-dev
	@$(BIN)/lint-imports

format: $(VENV)/.installed-dev  ## writes the code the one way
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

openapi: $(VENV)/.installed-dev  ## writes web/openapi.json anew
	@$(BIN)/tocsin openapi > web/openapi.json

reference: $(VENV)/.installed-dev  ## writes docs/reference/commands.md anew
	@$(BIN)/python tests/architecture/commands_page.py

clean:  ## forgets the virtual environment and all local state
	rm -rf $(VENV) var api/static .mypy_cache .ruff_cache .pytest_cache .hypothesis
