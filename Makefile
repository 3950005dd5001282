# Every target installs what it needs. It requires only make and python3 (3.11 to 3.14, with venv).
# A current pip resolves versions twice as fast as that of Python 3.11. --no-compile: most of the
# 18,000 modules of PyTorch and other packages are never imported.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile --constraint constraints.txt

# The tests start many processes; without compiled modules, each would compile PyTorch again.
unexport PYTHONDONTWRITEBYTECODE

# pip takes PyTorch with CUDA on Linux. A machine without a GPU can use PyTorch's CPU wheels instead.
define SIZES
Installing into $(VENV), once. Downloads on Linux: about 2.9 GB, most of it PyTorch with CUDA;
0.5 GB with PyTorch's CPU wheels (PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make ...).
Downloads on macOS: about 0.2 GB. The tests need 0.2 GB more. Installed packages are not downloaded.
endef
export SIZES

.PHONY: snapshots judgements help verify evals selftest golden test pytest coverage lint format bench gpu witness templates cards real schemas docs wheel lock pins clean

help:
	@echo "Use"
	@echo "  make verify    verify the bundled reference engine: 2 to 6 minutes on two idle cores"
	@echo "  make evals     run the sample questions of all evals against it, with a report"
	@echo "  make selftest  check that every known defect of the reference engine is detected"
	@echo "Change the code"
	@echo "  make test      run all linters, type checks and tests: 10 to 27 minutes on two cores"
	@echo "  make lint      run linters, type checks, import contracts and counts of the code only"
	@echo "  make format    format the code"
	@echo "  make coverage  run all tests, and print the lines of the product that none of them runs"
	@echo "  make snapshots record what tests compare with: rules, what they stand on, reports, figures, results of kernels"
	@echo "  make golden    regenerate the small checkpoint's golden file after a change of weights"
	@echo "Measure"
	@echo "  make bench     measure engine speed, the cost of sampling and judging, and error rates"
	@echo "  make gpu       check and measure the engine on a GPU, with this machine's PyTorch and Triton"
	@echo "  make cards     compile the kernels for other GPUs, and print what their code is: 20 CPU minutes"
	@echo "  make witness   compare the reference engine's numbers with those of other engines"
	@echo "  make templates compare chat and response templates in other engines (installs them; Node.js)"
	@echo "  make real      verify real servers on the small checkpoint (installs them; takes hours)"
	@echo "  make judgements compare what is said of known cases with stored lines: 15 minutes of CPU"
	@echo "  make schemas   judge JSON Schema's official test suite (downloads it)"
	@echo "  make clients   measure what real clients need and send (Node.js; 14 CPU minutes); NEWEST=1: the newest"
	@echo "  make readers   read tables with polars and duckdb, and junit.xml of two providers with Allure: RUNS='runs/a runs/b'"
	@echo "  make meters    measure what load testers take for a first token and a success (installs them)"
	@echo "  make harnesses measure what other harnesses misjudge (downloads their wheels: 25 MB)"
	@echo "  make recorders measure what recorders and tracers keep of traffic (installs them; Node.js)"
	@echo "Publish"
	@echo "  make docs      build the documentation site in build/docs"
	@echo "  make wheel     build the wheel in dist"
	@echo "  make lock      resolve constraints.txt again; LOCK=--upgrade takes the newest versions"
	@echo "  make pins      check that constraints.txt resolves on the package index for every platform"
	@echo "  make clean     remove the virtual environment and caches"

verify: $(VENV)/.reference
	$(BIN)/gpt-oss-verify --provider reference

evals: $(VENV)/.reference
	$(BIN)/gpt-oss-verify eval --provider reference --eval aime25,gpqa,healthbench --samples

selftest: $(VENV)/.reference
	$(BIN)/gpt-oss-verify selftest

golden: $(VENV)/.reference
	$(BIN)/gpt-oss-verify golden create --checkpoint reference_engine/small/checkpoint \
		--model gpt-oss-small --out harness/golden/gpt-oss-small.json

# Three processes share the test files, because many tests wait for servers; a file stays in one
# process, because its tests share fixtures.
# Collecting first compiles the modules once; otherwise all three processes would compile them.
# One thread per process: two threads of a process wait for each other while others use the cores.
# The linters run at the same time, in one process.
test: export OMP_NUM_THREADS := 1
test: $(VENV)/.test
	$(MAKE) --jobs 2 lint pytest

pytest: $(VENV)/.test
	$(BIN)/pytest --collect-only -qq >/dev/null || true
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --hypothesis-seed 0

coverage: export OMP_NUM_THREADS := 1
coverage: $(VENV)/.test
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --hypothesis-seed 0 --cov

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/reading.py

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.test
	$(BIN)/python benchmarks/engine_speed.py
	$(BIN)/python benchmarks/harness_throughput.py
	$(BIN)/python benchmarks/judging.py
	$(BIN)/python benchmarks/gate_rates.py
	$(BIN)/python benchmarks/error_rates.py

gpu:
	$(PYTHON) -m benchmarks.gpu

witness: $(VENV)/.reference
	$(BIN)/python benchmarks/witness.py

templates: $(VENV)/.test
	$(BIN)/python benchmarks/templates.py
	$(BIN)/python benchmarks/response_templates.py

cards: $(VENV)/.test
	PYTHONPATH=.:tests/support $(BIN)/python tests/reference_engine/kernels/kernel_cards.py

real: $(VENV)/.reference
	$(BIN)/python benchmarks/real_servers.py

schemas: $(VENV)/.test
	$(BIN)/python -m benchmarks.json_schema_suite

.PHONY: clients
clients: $(VENV)/.test
	$(BIN)/python benchmarks/real_clients.py $(if $(NEWEST),--newest,--write)

.PHONY: readers
readers: $(VENV)/.test
	$(PIP) --upgrade --target build/readers polars duckdb
	PYTHONPATH=build/readers $(BIN)/pytest -q tests/harness/compare/test_export.py -k other_readers
	$(BIN)/python benchmarks/junit_readers.py $(RUNS)

docs: $(VENV)/.test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

wheel: $(BIN)/python
	$(PIP) 'setuptools>=77,<90'
	$(BIN)/python -m pip --disable-pip-version-check wheel --no-deps --no-build-isolation --wheel-dir dist .

# One resolution for all platforms, without local wheels and settings of this machine. Versions that
# are already in constraints.txt are kept unless LOCK=--upgrade.
UV_PIP_COMPILE := $(BIN)/uv pip compile --no-config --quiet pyproject.toml

lock: $(BIN)/python
	$(BIN)/python -m pip --disable-pip-version-check install --quiet 'uv>=0.13,<1'
	env -u UV_FIND_LINKS -u UV_CONSTRAINT $(UV_PIP_COMPILE) --universal --python-version 3.11 \
		--all-extras --no-annotate --custom-compile-command 'make lock' $(LOCK) \
		--output-file constraints.txt

pins: $(VENV)/.test
	.ci/pins $(BIN)/uv

snapshots: $(VENV)/.test
	$(BIN)/python tests/harness/test_rules.py
	$(BIN)/python tools/register.py
	$(BIN)/python tests/characterization/record.py
	PYTHONPATH=tests/support $(BIN)/python tests/reference_engine/kernels/kernel_suites.py
	-$(BIN)/pytest --inline-snapshot=create,fix tests/reports tests/reference_engine/generation/test_engine.py

.PHONY: recorders
recorders: $(VENV)/.test
	$(BIN)/python benchmarks/recorders.py --write

.PHONY: meters
meters: $(VENV)/.test
	$(BIN)/python benchmarks/meters.py --write

.PHONY: harnesses
harnesses: $(VENV)/.test
	$(BIN)/python benchmarks/harnesses.py --write

# A commit that changes a line names it, says why, and stores it (--write).
judgements: $(VENV)/.test
	$(BIN)/python tools/judgements.py

clean:
	rm -rf $(VENV) .real .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || \
		{ echo "Python 3.11 to 3.14 is required. Select one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV) && \
		$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile 'pip>=26,<27' || \
		{ rm -rf $(VENV); exit 1; }

$(VENV)/.reference: $(BIN)/python pyproject.toml constraints.txt
	@echo "$$SIZES"
	$(PIP) --editable '.[reference]'
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml constraints.txt
	@echo "$$SIZES"
	$(PIP) --editable '.[test]'
	@touch $@ $(VENV)/.reference
