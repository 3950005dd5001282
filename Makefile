# Every target sets up what it needs; only python3 (3.11 or newer, with venv) and make are assumed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: help verify evals selftest golden test lint format bench clean

help:
	@echo "make verify   verify the bundled reference engine, end to end"
	@echo "make evals    score it on the sample questions, with a report"
	@echo "make selftest give the reference engine every known defect, and see each one found"
	@echo "make test     lint, types, import layers and all tests"
	@echo "make lint     lint, types and import layers only"
	@echo "make format   format the code"
	@echo "make golden   make the small checkpoint's golden file anew, after a change of weights"
	@echo "make bench    engine speed, throughput of the sampler, truth of recorded times, memory"
	@echo "make clean    remove the virtual environment and caches"

verify: $(VENV)/.reference
	$(BIN)/gpt-oss-verify --provider reference

evals: $(VENV)/.reference
	$(BIN)/gpt-oss-verify eval --provider reference --eval aime25,gpqa,healthbench --samples

selftest: $(VENV)/.reference
	$(BIN)/gpt-oss-verify selftest

golden: $(VENV)/.reference
	$(BIN)/gpt-oss-verify golden create --checkpoint reference_engine/small/checkpoint \
		--model gpt-oss-small --out harness/golden/gpt-oss-small.json

test: lint
	$(BIN)/pytest

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.test
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/harness_throughput.py
	$(BIN)/python benchmarks/streaming.py
	$(BIN)/python benchmarks/endurance.py

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.reference: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) --editable '.[reference]'
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) --editable '.[test]'
	@touch $@ $(VENV)/.reference
