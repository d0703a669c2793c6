# The table of contents: `make` prints it. Everything installs what it needs into .venv.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
UV_VERSION := 0.13.9
PORT := 3000

.DEFAULT_GOAL := help
.PHONY: help demo test simulate chaos lint bench bench-smoke ui lock clean

help:        ## this list
	@grep -hE '^[a-z-]+: *.*##' $(MAKEFILE_LIST) | sed -E 's/: *.*## /\t/' | expand -t 14

demo: $(READY)        ## real nights on real prices, database included, in about half a minute once installed
	@$(BIN)/refresh-assets demo

test: $(READY)        ## every promise, on a real PostgreSQL and a real Dagster
	@$(BIN)/python -m pytest -n 2 --dist worksteal

simulate: $(READY)        ## 20 seeded quarters of 63 nights: late, failed, half-loaded, killed; a line a seed, half an hour in all
	@$(BIN)/python -W ignore -m refresh_assets_tests.simulation --seeds 20

chaos: $(READY)        ## 200 nights killed at a seeded instant each: what was hit, what stood, what healed
	@$(BIN)/python -W ignore -m refresh_assets_tests.chaos

lint: $(READY)        ## ruff, types, layers: everything CI refuses
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(READY)        ## the night at 10,000 portfolios, as ratios to the loop it replaces and to raw COPY; growth, readers, the gate, start-up
	@$(BIN)/python -m benchmarks.night --days 20 --record
	@$(BIN)/python -m benchmarks.growth
	@$(BIN)/python -m benchmarks.readers
	@$(BIN)/python -m benchmarks.gate_look
	@$(BIN)/python -m benchmarks.start_up

bench-smoke: $(READY)        ## the same at 200 portfolios: proves that the benchmark runs
	@$(BIN)/python -m benchmarks.night --portfolios 200 --loop-sample 20 --runs 1

ui: $(READY)        ## Dagster's webserver and daemon on the demo's nights, at http://127.0.0.1:3000 (PORT=3001 for another)
	@$(BIN)/python -m refresh_assets.demo.ui $(PORT)

lock: $(READY)        ## write requirements.lock anew from pyproject.toml
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --no-header --no-annotate \
		--upgrade --quiet --output-file requirements.lock

clean:        ## remove .venv and the demo
	@rm -rf .venv .demo

# uv installs in seconds what pip does in a minute; where it cannot be had, pip does the same.
$(READY): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv ..." >&2
	@{ $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) \
		&& $(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock; } 2>/dev/null \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $(READY)
