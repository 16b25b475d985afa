# Everything runs in .venv, which these targets make and fill. Needed beforehand: Python 3.11 or later, and cargo.
PYTHON ?= python3
BIN := .venv/bin
EXTRAS := cli,data,estimators,report,serve
COMMA := ,
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

# Each package of other people has an environment of its own, made and tested within a limit of time.
WITHIN := $(if $(shell command -v timeout),timeout 300)
INTEGRATIONS := langchain litellm rayserve

# What make test-source runs: all tests, or a folder or file of them.
TESTS :=

# A built wheel to test the integrations with, by WHEEL=; else they are tested as they lie here.
WHEEL :=

# Decisions whose instructions docs/performance.md breaks down.
PROFILED := typical-11 hard-11

.DEFAULT_GOAL := help
.PHONY: help build demo demo-serve test test-rust test-python test-source test-long test-integrations test-floors lint bench bench-docs \
  bench-kernels bench-calibration bench-fit dispatch sanitize coverage coverage-core coverage-python gate gate-update wheel wheel-portable sdist release-check deny audit sbom \
  docs docs-serve docs-rust \
  stale clean

##@ First steps

# Or make would remove the environments, as files that are only on the way.
.PRECIOUS: .venv-%/made

help: ## list the targets
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/made:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed; say make PYTHON=...") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv .venv
	$(PIP) install --upgrade 'pip>=25.1' 'maturin>=1.9,<2' 'uv>=0.9'
	@touch $@

# uv needs seconds where pip needs minutes; pip is there for settings that only pip reads.
# Groups of development packages, each installed once and again when pyproject.toml changes.
.venv/group-%: .venv/made pyproject.toml
	$(BIN)/uv pip install -q --python $(BIN)/python --group $* || $(PIP) install --group $*
	@touch $@

build: .venv/made ## build the core and install the package into .venv, with all extras
	export VIRTUAL_ENV=$(CURDIR)/.venv PATH="$(CURDIR)/$(BIN):$$PATH"; \
	maturin develop --uv --release --locked --extras $(EXTRAS) || maturin develop --release --locked --extras $(EXTRAS)

demo: build ## compare the rules on the bundled table: a table in the terminal, and out/demo.png
	@mkdir -p out
	$(BIN)/headrace demo --out out/demo.png --force

demo-serve: build ## serve three pretend models, and ask them: a page in the browser, the bill at Ctrl-C
	$(BIN)/headrace serve --demo

##@ Before a commit

test: test-rust test-python ## run all tests

test-rust: ## run the tests of the core alone, which need no Python
	cargo test --locked

# With pip, which a test needs to install a package of estimators.
.venv-test/made: .venv/made pyproject.toml
	$(PYTHON) -m venv .venv-test
	$(BIN)/uv pip install -q --python .venv-test/bin/python --group test || $(PIP) --python .venv-test/bin/python install --group test
	@touch $@

test-python: .venv-test/made ## build a wheel as users get it, and run the tests of the package against that
	rm -rf target/wheel && $(BIN)/maturin build --release --locked --out target/wheel
	wheel="$$(echo target/wheel/*.whl)[all]"; \
	  $(BIN)/uv pip install -q --python .venv-test/bin/python --reinstall-package headrace "$$wheel" || \
	  { $(PIP) --python .venv-test/bin/python install "$$wheel" && $(PIP) --python .venv-test/bin/python install --force-reinstall --no-deps "$$wheel"; }
	.venv-test/bin/python -m pytest -n auto --dist worksteal --durations=15

test-source: build .venv/group-test ## run the tests of TESTS=tests/python/... against the source, while you work on it
	$(BIN)/python -m pytest -n auto --dist worksteal $(TESTS)

lint: build .venv/group-lint .venv/group-test .venv-types/made ## check format, lints, types, the stub, the floors and the core's documentation
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --lib --example empty_call --features python -- -D warnings
	cargo clippy --locked --lib --features abi3 -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked --quiet
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini
	$(BIN)/lint-imports
	.venv-types/bin/python scripts/check_types.py $(BIN)/python
	cd docs && ../$(BIN)/python -m mypy.stubtest headrace._core

##@ Longer checks

test-long: ## run the properties of the search with 10 times as many random cases
	HEADRACE_CASES=10 cargo test --locked --test properties

# The Rust that has AddressSanitizer's runtime. One random case in fifty of each property: it is slow.
SANITIZED := +nightly

sanitize: ## run the core's tests under AddressSanitizer; needs Linux and a nightly Rust
	@cargo $(SANITIZED) --version || { echo "make sanitize: rustup toolchain install nightly"; exit 1; }
	HEADRACE_CASES=0.02 RUSTFLAGS=-Zsanitizer=address cargo $(SANITIZED) test --locked --lib --tests \
	  --target $$(rustc -vV | sed -n 's/^host: //p') --target-dir target/sanitized

coverage: coverage-core coverage-python ## count the lines that the tests run, against goals

coverage-core: ## count the core's lines that its own tests run; needs rustup component llvm-tools
	$(PYTHON) scripts/core_coverage.py --goal 95

coverage-python: build .venv/group-test .venv/group-coverage ## count the lines of the package that its tests run: twice as long as the tests
	rm -rf out/coverage && mkdir -p out/coverage
	$(BIN)/python -m coverage run -m pytest -n auto --dist worksteal -q
	$(BIN)/python -m coverage combine -q
	$(BIN)/python -m coverage report --fail-under=95

# An environment of its own for a group.
.venv-%/made: .venv/made pyproject.toml
	$(PYTHON) -m venv --without-pip .venv-$*
	$(WITHIN) $(BIN)/uv pip install -q --python .venv-$*/bin/python --group $* || \
	  $(WITHIN) $(PIP) --python .venv-$*/bin/python install --group $*
	@touch $@

test-integrations: $(if $(WHEEL),,build) .venv/made ## run the tests of LangChain, litellm and its proxy, OpenTelemetry, Ray Serve
	$(MAKE) -j 2 $(INTEGRATIONS:%=test-with-%)

test-with-%: .venv-integration-%/made
	$(if $(WHEEL),$(PIP) --python .venv-integration-$*/bin/python install --force-reinstall --no-deps $(WHEEL))
	$(if $(WHEEL),,PYTHONPATH=python) $(WITHIN) .venv-integration-$*/bin/python -m pytest tests/integrations -q

.venv-floors/made: .venv/made pyproject.toml scripts/floors.py
	$(PYTHON) -m venv .venv-floors
	.venv-floors/bin/python -m pip --disable-pip-version-check -q install --upgrade 'pip>=25.1'
	.venv-floors/bin/python scripts/floors.py $(subst $(COMMA), ,$(EXTRAS)) > .venv-floors/floors.txt
	.venv-floors/bin/python -m pip -q install -r .venv-floors/floors.txt -c .venv-floors/floors.txt --group test-base
	@touch $@

# What old packages deprecate themselves is not ours.
test-floors: .venv-floors/made ## run the tests with the oldest versions of the dependencies that pyproject.toml allows
	rm -rf target/wheel && $(BIN)/maturin build --release --locked --out target/wheel
	.venv-floors/bin/python -m pip -q install --force-reinstall --no-deps target/wheel/*.whl
	.venv-floors/bin/python -m pytest -n auto -q -p no:cacheprovider -W default::DeprecationWarning -W default::PendingDeprecationWarning

gate: ## count the instructions of a fixed set of decisions: over 5% more than stored fails; needs valgrind
	$(PYTHON) benches/gate/gate.py

gate-update: ## store the counts of now
	$(PYTHON) benches/gate/gate.py --update

dispatch: ## check that a million decisions are the same, bit for bit, with and without the kernels for newer processors
	@here=$$(cargo run --locked --release -q --example dispatch); \
	plain=$$(RUSTFLAGS="--cfg headrace_plain" cargo run --locked --release -q --target-dir target/plain --example dispatch); \
	echo "dispatched: $$here, plain: $$plain"; test "$$here" = "$$plain"

##@ Measure

bench: build ## print one table: case, median, p99, what it is compared with, goal
	$(BIN)/python benches/python/table.py

bench-docs: build ## the same table, and where the instructions go, into docs/performance.md
	$(BIN)/python benches/python/table.py --full | $(BIN)/python scripts/paste.py docs/performance.md "make bench"
	$(BIN)/python benches/gate/gate.py --profile $(PROFILED) | $(BIN)/python scripts/paste.py docs/performance.md "where the instructions go"

bench-kernels: build .venv/group-bench .venv/group-test ## time kernels (criterion) and calls (pytest-benchmark), to compare versions
	cargo bench --locked
	$(BIN)/python -m pytest benches/python --benchmark-only --benchmark-columns=min,median,ops

bench-fit: build ## time fits from file to verdict, on simulated tables or DATA=DIR of Parquet files: CPU, wall, memory, by part
	$(BIN)/python benches/python/fit.py $(if $(DATA),--data $(DATA))

bench-calibration: build ## time whole budget paths on simulated queries
	$(BIN)/python benches/python/calibration.py

##@ Release

wheel: .venv/made ## build a release wheel into dist/
	$(BIN)/maturin build --release --locked --out dist

sdist: .venv/made ## build the source distribution into dist/
	$(BIN)/maturin sdist --out dist

wheel-portable: .venv-release/made ## build a wheel for any Linux with a C library from 2012 on (manylinux_2_17) into dist/, by zig
	PATH="$(CURDIR)/.venv-release/bin:$$PATH" .venv-release/bin/maturin build --release --locked --zig --compatibility manylinux_2_17 \
	  --target-dir target/portable --out dist
	.venv-release/bin/auditwheel show dist/*manylinux_2_17*.whl | tr '\n' ' ' | grep -E 'consistent with *the following platform tag: "manylinux_2_17_'

release-check: ## build sdist and portable wheel anew, check them, install each in a bare environment
	rm -rf dist
	$(MAKE) sdist wheel-portable
	.venv-release/bin/twine check --strict dist/*
	$(PYTHON) scripts/check_distributions.py dist/*
	for file in dist/*; do \
	  $(PYTHON) -m venv --clear .venv-bare && .venv-bare/bin/python -m pip --disable-pip-version-check -q install $$file && \
	  .venv-bare/bin/python scripts/check_bare_install.py || exit 1; \
	done

deny: ## check licences, advisories and sources of the crates (cargo install --locked cargo-deny)
	cargo deny --locked check licenses bans sources
	cargo deny --locked check advisories

audit: build .venv-audit/made ## check the workflows, and all packages in .venv for known holes; asks PyPI
	.venv-audit/bin/zizmor --offline .github
	@mkdir -p out
	$(BIN)/python -m pip freeze --exclude headrace > out/packages.txt
	.venv-audit/bin/pip-audit --strict --progress-spinner off --no-deps --disable-pip --requirement out/packages.txt

sbom: build .venv-audit/made ## write what comes along as CycloneDX into out/sbom: crates (from the wheel), Python packages
	rm -rf out/sbom && mkdir -p out/sbom
	$(BIN)/maturin build --release --locked --out out/sbom
	cd out/sbom && $(PYTHON) -m zipfile -e *.whl . && mv headrace-*.dist-info/sboms/*.json crates.cdx.json && rm -r headrace*
	.venv-audit/bin/cyclonedx-py environment --output-reproducible -o out/sbom/python.cdx.json $(BIN)/python

##@ Other

# Not --quiet: it hides warnings from --strict as well.
docs: build .venv-docs/made ## build the documentation into out/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=python .venv-docs/bin/mkdocs build --strict

docs-serve: build .venv-docs/made ## serve the documentation on this machine, built anew when a page changes
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=python .venv-docs/bin/mkdocs serve

docs-rust: ## build the documentation of the Rust core into target/doc
	cargo doc --no-deps --locked

stale: ## list the pages of results that are older than the code that they measure
	$(PYTHON) scripts/stale.py

clean: ## remove what the other targets made
	rm -rf .venv .venv-* target dist out
