# Needs bash, make, git and Python 3.11 or later with its venv module; everything else goes into .venv.

SHELL := /bin/bash
BIN := .venv/bin
STAMP := .venv/.installed
PORT := 8000
export PYTHONUTF8 := 1
PYTEST := $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help install book pdf readme sums test slow test-all numeric check serve bench gpu-check clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 16

install: $(STAMP) ## make .venv with the package in it, as the other targets do by themselves

book: $(STAMP) ## build the site from the published evidence: book/_build/html/index.html
	@$(BIN)/alexnet-repro book

pdf: $(STAMP) ## the whole book in one file, printed by Chromium: book/_build/alexnet.pdf
	@$(BIN)/alexnet-repro pdf

readme: $(STAMP) ## write what was found into the README, from the records
	@$(BIN)/alexnet-repro readme

sums: $(STAMP) ## renew data/SHA256SUMS, after a file of data/ was changed on purpose
	@$(BIN)/alexnet-repro sums

test: check ## check, then the quick tests of everything: under four minutes on two cores
	@$(PYTEST) -m "not slow"

slow: $(STAMP) ## the other tests: killed processes, whole builds, several devices, browsers
	@$(PYTEST) -m slow

test-all: test slow ## every test

numeric: $(STAMP) ## the tests of arithmetic once more, as an older processor computes
	@ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 $(BIN)/pytest tests/training/test_pinned.py \
	  tests/training/test_precision.py tests/training/test_stacked.py tests/training/test_optim.py tests/training/test_lrn.py \
	  tests/training/test_alexnet.py

check: $(STAMP) ## ruff, mypy, notebooks stored without outputs
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/nbstripout --keep-id --verify notebooks/*.ipynb

serve: $(STAMP) ## build the site and show it on http://127.0.0.1:8000 (or PORT=...) until Ctrl-C
	@$(BIN)/python -c 'import socket; socket.create_server(("127.0.0.1", $(PORT))).close()' 2>/dev/null \
	  || { echo "error: cannot use port '$(PORT)': name another, as in 'make serve PORT=8001'" >&2; exit 1; }
	@$(MAKE) --no-print-directory book
	@$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory book/_build/html

bench: $(STAMP) ## measure speed beside what one would use instead
	@$(BIN)/python benchmarks/run.py

gpu-check: ## beside a GPU: its tests, benchmarks and two reproductions, in five to ten minutes
	@$(if $(wildcard $(STAMP)),$(BIN)/python,$(or $(PYTHON),python3)) scripts/gpu_check.py

clean: ## remove what was built; keeps .venv, downloads and runs
	rm -rf book/_build book/_generated book/pages .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Installed again only when pyproject.toml has changed. An environment that was left half-made is made anew.
$(STAMP): pyproject.toml
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	    "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
	    echo "making .venv with $$("$$python" --version)"; \
	    exec "$$python" -m venv --clear .venv; \
	  done; \
	  echo "error: no Python 3.11 or later that can make a venv: install one (on Debian, python3 and python3-venv), or name it with 'make PYTHON=...'" >&2; \
	  exit 1; }
	@echo "installing the package and its dependencies into .venv (minutes, the first time)"
	@$(BIN)/python -m pip install $$(test -t 1 || echo --quiet) -e '.[dev]'
	@touch $@
