# `make` alone lists the targets. Everything runs in .venv, which the stamp keeps in step with two files.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp
MAKEFLAGS += --no-print-directory
NEWER := 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; try: make PYTHON=python3.11")'
# Libraries are compiled on all cores, which pip does on one, and without what nothing here imports.
UNUSED := '/tests/|transformers/models/(?!auto/|gpt2/|llama/|opt/)'

.DEFAULT_GOAL := help
.PHONY: help taste install repro dvc ui paper gallery soak mutants bench test lint clean

help:  ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

taste: .taste/.stamp  ## See models collapse in half a minute, before the installation
	@.taste/bin/python -m collapse.taste

install: $(STAMP)  ## Install into .venv

repro: $(STAMP)  ## Rebuild what is stale, warm and in parallel, then record it in DVC
	@$(BIN)/collapse repro

dvc: $(STAMP)  ## The same through DVC alone: one process per stage
	@PATH="$(CURDIR)/$(BIN):$$PATH" DVC_NO_ANALYTICS=1 $(BIN)/dvc repro

ui: $(STAMP)  ## Watch runs in the Prefect UI
	@$(BIN)/collapse ui || [ $$? -eq 130 ]  # Ctrl-C is how it ends

paper: $(STAMP)  ## Rebuild the laws of the literature, in a project of their own: paper/
	@cd paper && export PATH="$(CURDIR)/$(BIN):$$PATH" && collapse plan && collapse repro && collapse ranking

gallery: $(STAMP)  ## Rebuild the studies of images, tables and text, in a project of their own: gallery/
	@cd gallery && export PATH="$(CURDIR)/$(BIN):$$PATH" && collapse plan && collapse repro && collapse report

soak: $(STAMP)  ## Kill 200 runs, forge 2,000 files, and see that nothing is lost or missed (an hour)
	@$(BIN)/python -m benchmarks soak mutations

mutants: $(STAMP)  ## Mutate the core of the science and see which mutants the tests miss (hours)
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt cosmic-ray
	@$(BIN)/python -m benchmarks mutants $(WORDS)

bench: $(STAMP)  ## Measure this machine
	@$(BIN)/python -m benchmarks

test: lint  ## Lint, check the import contracts, run the tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(STAMP)  ## Ruff, mypy and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

clean:  ## Remove reports, caches and half-made outputs; data and the environment stay
	@rm -rf reports data/.tmp build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
	@find . -name __pycache__ -not -path './.venv/*' -not -path './.taste/*' -prune -exec rm -rf {} +
	@echo "Removed reports and caches. 'make repro' rebuilds the reports; data/ and .venv/ were left alone."

.taste/.stamp: constraints.txt
	@test -x .taste/bin/python || $(PYTHON) -m venv .taste
	@.taste/bin/python -c $(NEWER) || { rm -rf .taste; exit 1; }
	@.taste/bin/pip install -q --disable-pip-version-check --no-compile -c constraints.txt numpy pydantic scipy
	@touch $@

$(STAMP): pyproject.toml constraints.txt
	@echo "Installing into .venv (about two minutes the first time) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -c $(NEWER) || { rm -rf .venv; exit 1; }
	@$(BIN)/pip install -q --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'
	@$(BIN)/python -m compileall -qq -j 0 -x $(UNUSED) .venv/lib/python3*/site-packages || true
	@$(BIN)/python -m compileall -qq audit collapse commands engine export flows tasks
	@touch $@
	@echo "Installed."
