# GNU make 3.81, on macOS and Linux. Paths are relative, so that the folder may have any name.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo kafka chaos mutants test test-fast fuzz check lint types contracts bench bench-check lock clean

# What runs Headrace, and what checks it as well.
RUN := .venv/.headrace-run
STAMP := .venv/.headrace-setup

PIP := .venv/bin/python -m pip install --quiet --disable-pip-version-check
UV := .venv/bin/python -m uv
# uv takes a fraction of pip's time. Where it has no wheel or fails, pip installs the same files: both check the hashes.
install = $(UV) pip install --quiet --python .venv/bin/python --require-hashes -r $(1) 2>/dev/null \
  || { echo 'uv cannot install $(1): pip does it, which takes longer' >&2; $(PIP) --require-hashes -r $(1); }

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## Make .venv and install all that the locks name; PYTHON=... picks the interpreter of a new .venv

# Candidates are run, not looked up: a version manager's shim exists, and fails, for a Python that is not installed.
$(RUN): pyproject.toml requirements.lock requirements-uv.lock
	@usable='import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'; \
	if ! .venv/bin/python -c "$$usable" >/dev/null 2>&1; then \
	  set -- python3.13 python3.12 python3.11 python3; \
	  [ -z "$$PYTHON" ] || set -- "$$PYTHON"; \
	  found=; \
	  for candidate in "$$@"; do \
	    if "$$candidate" -c "$$usable" >/dev/null 2>&1; then found=$$candidate; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "make setup: no usable Python: tried $$*; it takes 3.11, 3.12 or 3.13 with venv and ensurepip" \
	      "(on Debian and Ubuntu the package python3-venv); name one with PYTHON=/path/to/python" >&2; \
	    exit 1; \
	  fi; \
	  echo "Making .venv with $$("$$found" --version)"; \
	  "$$found" -m venv --clear .venv; \
	fi
	@echo 'Installing the locked libraries and Headrace (the first time about 90 MB to download)'
	@$(PIP) --only-binary :all: --require-hashes -r requirements-uv.lock >/dev/null 2>&1 || true
	@$(call install,requirements.lock)
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $(RUN)

$(STAMP): $(RUN) requirements-dev.lock
	@echo 'Installing what the checks and tests need (the first time about 65 MB to download)'
	@$(call install,requirements-dev.lock)
	@touch $(STAMP)

demo: $(RUN) ## Shoppers, broker and worker in one terminal, nothing else needed; ARGS=... go to `headrace demo`
	@.venv/bin/headrace demo $(ARGS)

kafka: $(RUN) ## Apache Kafka itself, without Docker (needs Java 17 and Maven), until Ctrl-C; it says its address
	@.venv/bin/headrace kafka $(ARGS)

chaos: $(STAMP) ## Faults under load on Apache Kafka, judged by an oracle; ARGS="--kills 100 --events 1000000 --report out.json"
	@.venv/bin/python -m tests.chaos $(ARGS)

mutants: $(STAMP) ## The chaos suite against wrong versions of the system, each without one mechanism: each must be missed
	@.venv/bin/python -m tests.chaos --mutants $(ARGS)

PYTEST := .venv/bin/python -m pytest

test-fast: $(STAMP) ## Run the tests that need no broker, and the examples in docstrings
	@$(PYTEST) --numprocesses auto -m "not broker" $(ARGS)

# Tests with a broker mostly wait for workers to start, so four at once fill two cores; ARGS="-n 0" is for a debugger.
test: $(STAMP) ## Run all tests; ARGS=... go to pytest
	@$(PYTEST) --numprocesses 4 $(ARGS)

FUZZED := tests/contract/test_events.py tests/pipeline/test_fold_laws.py tests/engine/test_protocol.py \
  tests/pipeline/test_interrupted_shop.py tests/system/test_hostile_records.py tests/system/test_hostile_door.py \
  tests/system/test_openapi.py tests/system/test_replayed_file.py

fuzz: $(STAMP) ## Try the laws at length, an hour or so: hypothesis, interrupted shops, 100,000 mutated records and requests
	@HEADRACE_FUZZ=1 .venv/bin/python -m pytest -o timeout=7200 $(FUZZED) $(ARGS)

check: lint types contracts test ## Everything that CI runs

lint: $(STAMP) ## Style and format
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check

types: $(STAMP) ## mypy, strict
	@.venv/bin/mypy

contracts: $(STAMP) ## Which room may import which
	@.venv/bin/lint-imports --no-logo

bench: $(STAMP) ## Run the benchmarks; ARGS=... go to `python -m benchmarks`
	@.venv/bin/python -m benchmarks $(ARGS)

bench-check: $(STAMP) ## Fail where the ratios to other engines are over 15 % below benchmarks/expected.json
	@.venv/bin/python -m benchmarks.check $(ARGS)

COMPILE := $(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet

# A lock is for every supported Python and platform, without the address of an index; ARGS=--upgrade takes newer versions.
lock: $(STAMP) ## Resolve the three requirements*.lock anew; ARGS=--upgrade for newer versions
	@$(COMPILE) pyproject.toml --group build $(ARGS) --output-file requirements.lock
	@$(COMPILE) pyproject.toml --group dev $(ARGS) --constraints requirements.lock --output-file requirements-dev.lock
	@$(COMPILE) --group installer $(ARGS) --output-file requirements-uv.lock

clean: ## Remove .venv, caches and build output; never the data of a worker
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
