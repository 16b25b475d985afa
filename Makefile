# Everything runs in .venv, which these targets make and fill. Needed beforehand: Python 3.11 or later, and cargo.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

# Each package of other people has an environment of its own, made and tested within a limit of time.
WITHIN := $(if $(shell command -v timeout),timeout 300)
INTEGRATIONS := langchain litellm

# A built wheel to test the integrations with, by WHEEL=; else they are tested as they lie here.
WHEEL :=

# Decisions whose instructions docs/performance.md breaks down.
PROFILED := typical-11 hard-11

.DEFAULT_GOAL := help
.PHONY: help build demo demo-serve test test-rust test-python test-long test-integrations lint bench bench-docs bench-kernels \
  bench-calibration dispatch gate gate-update wheel docs clean

# Or make would remove the environments, as files that are only on the way.
.PRECIOUS: .venv-%/made

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-17s %s\n", $$1, $$2}'

.venv/made:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed; say make PYTHON=...") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv .venv
	$(PIP) install --upgrade 'pip>=25.1' 'maturin>=1.9,<2' 'uv>=0.9'
	@touch $@

# Groups of development packages, each installed once and again when pyproject.toml changes.
.venv/group-%: .venv/made pyproject.toml
	$(PIP) install --group $*
	@touch $@

build: .venv/made ## build the core and install the package into .venv, with all extras
	VIRTUAL_ENV=$(CURDIR)/.venv PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/maturin develop --release --locked --extras cli,data,estimators,report,serve

demo: build ## compare the rules on the bundled table: a table in the terminal, and out/demo.png
	@mkdir -p out
	$(BIN)/headrace demo --out out/demo.png --force

demo-serve: build ## serve three pretend models, and ask them: a page in the browser, the bill at Ctrl-C
	$(BIN)/headrace serve --demo

test: test-rust test-python ## run all tests

test-rust:
	cargo test --locked

test-python: build .venv/group-test
	$(BIN)/python -m pytest -n auto

test-long: ## run the properties of the search with 10 times as many random cases
	HEADRACE_CASES=10 cargo test --locked --test properties

# uv needs seconds where pip needs minutes; pip is there for settings that only pip reads.
.venv-%/made: .venv/made pyproject.toml
	$(PYTHON) -m venv --without-pip .venv-$*
	$(WITHIN) $(BIN)/uv pip install -q --python .venv-$*/bin/python --group integration-$* || \
	  $(WITHIN) $(PIP) --python .venv-$*/bin/python install --group integration-$*
	@touch $@

test-integrations: $(if $(WHEEL),,build) .venv/made ## run the tests of LangChain, litellm and its proxy, OpenTelemetry
	$(MAKE) -j 2 $(INTEGRATIONS:%=test-with-%)

test-with-%: .venv-%/made
	$(if $(WHEEL),$(PIP) --python .venv-$*/bin/python install --force-reinstall --no-deps $(WHEEL))
	$(if $(WHEEL),,PYTHONPATH=python) $(WITHIN) .venv-$*/bin/python -m pytest tests/integrations -q

lint: build .venv/group-lint .venv/group-test ## check format, lints, types, the stub and the floors
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --lib --example empty_call --features python -- -D warnings
	cargo clippy --locked --lib --features abi3 -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd docs && ../$(BIN)/python -m mypy.stubtest headrace._core

bench: build ## print one table: case, median, p99, what it is compared with, goal
	$(BIN)/python benches/python/table.py

bench-docs: build ## the same table, and where the instructions go, into docs/performance.md
	$(BIN)/python benches/python/table.py --full | $(BIN)/python scripts/paste.py docs/performance.md "make bench"
	$(BIN)/python benches/gate/gate.py --profile $(PROFILED) | $(BIN)/python scripts/paste.py docs/performance.md "where the instructions go"

bench-kernels: build .venv/group-bench .venv/group-test ## time kernels (criterion) and calls (pytest-benchmark), to compare versions
	cargo bench --locked
	$(BIN)/python -m pytest benches/python --benchmark-only --benchmark-columns=min,median,ops

gate: ## count the instructions of a fixed set of decisions: over 5% more than stored fails; needs valgrind
	$(PYTHON) benches/gate/gate.py

dispatch: ## check that a million decisions are the same, bit for bit, with and without the kernels for newer processors
	@here=$$(cargo run --locked --release -q --example dispatch); \
	plain=$$(RUSTFLAGS="--cfg headrace_plain" cargo run --locked --release -q --target-dir target/plain --example dispatch); \
	echo "dispatched: $$here, plain: $$plain"; test "$$here" = "$$plain"

gate-update: ## store the counts of now
	$(PYTHON) benches/gate/gate.py --update

bench-calibration: build ## time whole budget paths on simulated queries
	$(BIN)/python benches/python/calibration.py

wheel: .venv/made ## build a release wheel into dist/
	$(BIN)/maturin build --release --locked --out dist

docs: ## build the documentation of the Rust core into target/doc
	cargo doc --no-deps --locked

clean: ## remove what the other targets made
	rm -rf .venv .venv-* target dist out
