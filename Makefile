# One entry for people and for CI. `make help` lists the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SEED   ?= 7
SECONDS ?= 600
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test soak check sim replay golden bench docs lock clean

help:  ## what each target does
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

setup: $(STAMP)  ## everything into .venv, from the hash-locked requirements

$(STAMP): requirements.lock pyproject.toml
	@./tests/system-packages.sh venv $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup  ## a simulated store day in the terminal: devices, daemon, broker, retailer
	$(BIN)/walkout demo --seed $(SEED)

check: setup  ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup  ## every test, real ptys and processes included
	@./tests/system-packages.sh tests
	$(BIN)/walkout models install
	$(BIN)/python -m pytest $(PYTEST)

soak: setup  ## long fault tests on loopback: make soak SECONDS=600
	$(BIN)/python -m tests.soak --seconds $(SECONDS)

sim: setup  ## the same simulated run every time: make sim SEED=7
	$(BIN)/walkout demo --headless --duration 60 --seed $(SEED)

replay: setup  ## golden recordings through the engine again, against the events they should give
	$(BIN)/python -m pytest tests/golden

golden: setup  ## write those events anew: say in the change why they moved
	$(BIN)/python -m tests.golden.make

bench: setup  ## figures of the hot paths
	$(BIN)/walkout bench pipeline
	$(BIN)/walkout bench replay

docs: setup  ## draw the parts of docs/ that come from tables in the code
	$(BIN)/python docs/build.py

lock: setup  ## resolve pyproject.toml anew into requirements.lock (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url -q -o requirements.lock

clean:  ## forget .venv and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache *.egg-info
