# Everything runs in .venv, which these targets make and fill. Needed beforehand: Python 3.11 or later, and cargo.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

.DEFAULT_GOAL := help
.PHONY: help build demo test test-rust test-python lint bench bench-calibration wheel docs clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.venv/made:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed; say make PYTHON=...") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv .venv
	$(PIP) install --upgrade 'pip>=25.1' 'maturin>=1.9,<2'
	@touch $@

# Groups of development packages, each installed once and again when pyproject.toml changes.
.venv/group-%: .venv/made pyproject.toml
	$(PIP) install --group $*
	@touch $@

build: .venv/made ## build the core and install the package into .venv, with all extras
	VIRTUAL_ENV=$(CURDIR)/.venv PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/maturin develop --release --locked --extras cli,data,estimators,report

demo: build ## compare the rules on the bundled table: a table in the terminal, and out/demo.png
	@mkdir -p out
	$(BIN)/headrace demo --out out/demo.png

test: test-rust test-python ## run all tests

test-rust:
	cargo test --locked

test-python: build .venv/group-test
	$(BIN)/python -m pytest

lint: build .venv/group-lint .venv/group-test ## check format, lints, types and the stub
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --lib --features python -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	cd docs && ../$(BIN)/python -m mypy.stubtest headrace._core

bench: build .venv/group-bench .venv/group-test ## time single decisions against a plain NumPy version and an empty call
	cargo bench --locked
	$(BIN)/python -m pytest benches/python --benchmark-only --benchmark-columns=min,median,ops

bench-calibration: build ## time whole budget paths on simulated queries
	$(BIN)/python benches/python/calibration.py

wheel: .venv/made ## build a release wheel into dist/
	$(BIN)/maturin build --release --locked --out dist

docs: ## build the documentation of the Rust core into target/doc
	cargo doc --no-deps --locked

clean: ## remove what the other targets made
	rm -rf .venv target dist out
