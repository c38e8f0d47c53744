# Everything one does here, each by one name. `make help` lists the names; CI runs three of them.
#
# Needed: a C compiler, make, Rust and Python >= 3.10. All else is fetched by pip and cargo
# into folders that git ignores:
#   .venv       tools, and callmethod as a development build (make test, make lint)
#   .venv-demo  callmethod as users get it: the release wheel and protobuf, nothing more (make demo)
#   .venv-bench the release wheel and the peers that it is measured against (make bench)
#   .venv-abuse the release wheel and what makes certificates (make abuse, make soak)
#   build/      compiled protos, the wheel, the virtual environments of the matrix
#   target/     cargo's
# What is up to date is not made again: files named .made, .installed and so on keep the time.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

# The interpreter that makes the virtual environments: make PYTHON=python3.12 test
PYTHON ?= python3
# Passed on: make test-python PYTEST_ARGS="-k order -x"
PYTEST_ARGS ?=

BIN := .venv/bin
PIP_INSTALL := -m pip --disable-pip-version-check install --quiet
# Passed on: make bench BENCH_ARGS="--only core,same --repetitions 9"
BENCH_ARGS ?=
# Passed on: make bench-parts PARTS_ARGS="--bench codec"
PARTS_ARGS ?=
# Passed on: make bench-profile PROFILE_ARGS="--repetitions 1"
PROFILE_ARGS ?=
# Passed on: make abuse ABUSE_ARGS="--only storms,overload"
ABUSE_ARGS ?=
# How long the soak takes.
SOAK_SECONDS ?= 600
# Where the source of brpc comes from, and which release.
BRPC_REPOSITORY ?= https://github.com/apache/brpc
BRPC_TAG ?= 1.17.0
# A second interpreter, 3.12 or later, for tasks that start eagerly. Without one, the rows that need
# it say so: make EAGER_PYTHON=/usr/bin/python3.13 bench
EAGER_PYTHON ?=
EAGER := $(if $(EAGER_PYTHON),--eager-python .venv-bench-eager/bin/python)
# Time for each fuzz target, and which; each keeps what it finds in fuzz/corpus/, which git ignores.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= indexed baidu_std hulu sofa compress sniff server channel
# How many games the simulated network plays.
SEEDS ?= 10000
# How many forks, and how many exits on each Python, `make process-counts` makes.
FORKS ?= 200
EXITS ?= 500
CARGO_FUZZ := build/tools/bin/cargo-fuzz
# Coverage and the address sanitizer are options of rustc that stable keeps back.
FUZZ := PATH="$(CURDIR)/build/tools/bin:$$PATH" RUSTC_BOOTSTRAP=1 cargo fuzz
# What is measured is to depend on nobody else's traffic, and on no pacing.
OWN_NETWORK := $(BIN)/python scripts/own_network.py
# Floors 1-4: all but the border. No Python is needed for these.
NO_PYTHON := --locked --no-default-features --features net
PYTHON_CODE := python tests examples scripts benchmarks abuse

# maturin and PyO3 build for the interpreter of .venv, whatever else is active.
export VIRTUAL_ENV := $(CURDIR)/.venv
export PYO3_PYTHON := $(CURDIR)/.venv/bin/python
unexport CONDA_PREFIX

CRATE := Cargo.toml Cargo.lock pyproject.toml $(shell find src -name '*.rs' -o -type d)
PACKAGE := $(shell find python/callmethod -name '*.py' -o -name '*.pyi' -o -name py.typed)
# The peers of the benchmarks have an environment of their own, and so have attacks.
DEV_NEEDS := $(filter-out requirements/abuse.txt requirements/bench.txt,$(wildcard requirements/*.txt))
PROTOS := $(wildcard proto/*.proto)
# Each is one program that says what it expects. The game comes last: its last line is the demo's.
EXAMPLES := brpc_client/client.py async/echo.py push/push.py push/push_aio.py workers/play.py game/play.py

.PHONY: help
help: ## this list
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile

##@ Start here
.PHONY: demo examples test
demo: examples ## build a release, run the examples and play a short game
examples: .venv-demo/.installed build/proto/.made ## the same, by another name
	for example in $(EXAMPLES); do \
	  echo "--- examples/$$example"; \
	  PYTHONPATH=build/proto .venv-demo/bin/python examples/$$example; \
	done
test: test-rust test-python ## all tests

##@ Build
.PHONY: venv proto build build-release
venv: .venv/.dev-needs ## .venv with all tools
proto: build/proto/.made ## compile proto/ into build/proto/
build: .venv/.developed ## development build of callmethod into .venv
build-release: build/wheel/.made ## release wheel into build/wheel/

##@ Test
.PHONY: test-rust test-python test-matrix
test-rust: ## the Rust core without Python (nextest where it is installed)
	if cargo nextest --version >/dev/null 2>&1; then cargo nextest run $(NO_PYTHON); \
	else cargo test $(NO_PYTHON) --lib --bins --tests; fi
	cargo test $(NO_PYTHON) --doc
test-python: .venv/.developed build/proto/.made ## the Python suite against the development build
	$(BIN)/python -m pytest $(PYTEST_ARGS)
test-matrix: $(CRATE) .venv/.build-needs build/proto/.made ## the suite on each Python x protobuf (PYTHONS=, PROTOBUFS=)
	$(BIN)/python scripts/test_matrix.py

##@ Look for faults
.PHONY: fuzz sim process-counts abuse soak
fuzz: $(CARGO_FUZZ) build/fuzz/.made ## each fuzz target for a minute (FUZZ_SECONDS=, FUZZ_TARGETS=)
	$(FUZZ) build --fuzz-dir fuzz
	for target in $(FUZZ_TARGETS); do \
	  echo "--- $$target"; mkdir -p fuzz/corpus/$$target; \
	  $(FUZZ) run --fuzz-dir fuzz $$target fuzz/corpus/$$target build/fuzz/seeds/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -max_len=16384 -timeout=60 -rss_limit_mb=1024 \
	    -malloc_limit_mb=256 -verbosity=0 -print_final_stats=1; \
	done
sim: ## ten thousand games through the simulated network (SEEDS=)
	SIM_SEEDS=$(SEEDS) cargo test $(NO_PYTHON) --test simulated -- --nocapture
process-counts: export CALLMETHOD_FORK_RUNS := $(FORKS)
process-counts: export CALLMETHOD_EXIT_RUNS := $(EXITS)
process-counts: export PROTOBUFS ?= 7.36.2
process-counts: export IMPLEMENTATIONS ?= upb
process-counts: $(CRATE) .venv/.build-needs build/proto/.made ## forks and exits in great numbers on each Python (FORKS=, EXITS=, PYTHONS=)
	$(BIN)/python scripts/test_matrix.py -rP tests/process/test_fork_storm.py \
	  tests/process/test_exit.py tests/process/test_prefork.py tests/process/test_calls.py
abuse: .venv-abuse/.ready ## attacks on a release, beside an honest client; writes docs/reliability.md (ABUSE_ARGS=)
	$(OWN_NETWORK) .venv-abuse/bin/python abuse/run.py $(ABUSE_ARGS)
soak: .venv-abuse/.ready ## ten minutes of calls and faults, for what grows (SOAK_SECONDS=)
	$(OWN_NETWORK) .venv-abuse/bin/python abuse/soak.py --seconds $(SOAK_SECONDS)

##@ Measure
.PHONY: bench bench-quick bench-profile bench-parts brpc
bench: .venv-bench/.ready ## all peers, five times over; writes benchmarks/results/ (BENCH_ARGS=)
	$(OWN_NETWORK) .venv-bench/bin/python benchmarks/run.py $(EAGER) $(BENCH_ARGS)
bench-quick: .venv-bench/.ready ## the same in less than three minutes, to see where one stands
	$(OWN_NETWORK) .venv-bench/bin/python benchmarks/run.py --quick $(EAGER) $(BENCH_ARGS)
bench-profile: .venv-bench/.ready build/profile/.made ## where the time of a call goes on the server, in ns; needs perf
	$(OWN_NETWORK) .venv-bench/bin/python benchmarks/time_per_call.py $(PROFILE_ARGS)

bench-parts: .venv/.made ## parts of the core by themselves, by criterion (PARTS_ARGS="--bench codec")
	LD_LIBRARY_PATH=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_config_var("LIBDIR"))') \
	  cargo bench --locked $(PARTS_ARGS)
brpc: build/brpc/.made ## brpc in C++ and its echo, for the row that needs it; ten minutes, cmake, see benchmarks/

##@ Check
.PHONY: lint lint-source lint-rust lint-python lint-types fmt
lint: lint-source lint-rust lint-python lint-types ## all checks of the source
lint-source: ## the border: files outside src/python/ that name pyo3 (prints them)
	! grep -rlw pyo3 src --include='*.rs' | grep -v '^src/python/'
lint-rust: .venv/.made ## rustfmt, and clippy on each floor
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --locked --all-targets --no-default-features -- -D warnings
	cargo clippy $(NO_PYTHON) --all-targets -- -D warnings
	cargo clippy --locked --all-targets -- -D warnings
lint-python: .venv/.dev-needs ## ruff
	$(BIN)/ruff check $(PYTHON_CODE)
	$(BIN)/ruff format --check $(PYTHON_CODE)
lint-types: .venv/.developed ## mypy, pyright, and the stubs against the built module
	$(BIN)/mypy
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright
	$(BIN)/stubtest --mypy-config-file pyproject.toml \
	  --allowlist scripts/stubtest_allowlist.txt callmethod # and all modules in it
fmt: .venv/.dev-needs ## format everything
	cargo fmt
	cargo fmt --manifest-path fuzz/Cargo.toml
	$(BIN)/ruff check --fix $(PYTHON_CODE)
	$(BIN)/ruff format $(PYTHON_CODE)

##@ Clean
.PHONY: clean
clean: ## back to a fresh clone
	rm -rf .venv .venv-demo .venv-bench .venv-bench-eager .venv-abuse build target python/callmethod/_core*.so
	rm -rf fuzz/artifacts fuzz/corpus fuzz/target
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find $(PYTHON_CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# ------------------------------------------------------------ files that keep the time

.venv-bench-eager/.made: PYTHON = $(EAGER_PYTHON)
.venv/.made .venv-demo/.made .venv-bench/.made .venv-bench-eager/.made .venv-abuse/.made: %/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "callmethod needs Python >= 3.10 and $(PYTHON) is none; try: make PYTHON=python3.12" >&2; \
	  exit 1; }
	$(PYTHON) -m venv --clear $*
	@touch $@

.venv/.build-needs: requirements/build.txt .venv/.made
	$(BIN)/python $(PIP_INSTALL) -r requirements/build.txt
	@touch $@

.venv/.dev-needs: $(DEV_NEEDS) .venv/.build-needs
	$(BIN)/python $(PIP_INSTALL) $(DEV_NEEDS:%=-r %)
	@touch $@

.venv/.developed: $(CRATE) .venv/.dev-needs
	$(BIN)/maturin develop --locked
	@touch $@

build/proto/.made: $(PROTOS) .venv/.build-needs
	rm -rf build/proto && mkdir -p build/proto
	$(BIN)/protoc --proto_path=proto --python_out=build/proto $(PROTOS)
	@touch $@

$(CARGO_FUZZ):
	cargo install --locked --root build/tools cargo-fuzz@0.13.2

build/fuzz/.made: scripts/fuzz_seeds.py $(shell find tests/vectors -name '*.json')
	rm -rf build/fuzz && mkdir -p build/fuzz
	$(PYTHON) scripts/fuzz_seeds.py build/fuzz/seeds
	@touch $@

build/wheel/.made: $(CRATE) $(PACKAGE) README.md .venv/.build-needs
	rm -rf build/wheel
	$(BIN)/maturin build --locked --release --interpreter $(BIN)/python --out build/wheel
	@touch $@

.venv-demo/.installed: build/wheel/.made requirements/runtime.txt .venv-demo/.made
	.venv-demo/bin/python $(PIP_INSTALL) -r requirements/runtime.txt
	.venv-demo/bin/python $(PIP_INSTALL) --force-reinstall --no-deps build/wheel/*.whl
	@touch $@

build/abuse/.made: abuse/proto/abuse.proto .venv/.build-needs
	mkdir -p build/abuse
	$(BIN)/protoc --proto_path=abuse/proto --python_out=build/abuse abuse/proto/abuse.proto
	@touch $@

.venv-abuse/.ready: build/wheel/.made build/abuse/.made requirements/abuse.txt .venv-abuse/.made
	.venv-abuse/bin/python $(PIP_INSTALL) -r requirements/abuse.txt
	.venv-abuse/bin/python $(PIP_INSTALL) --force-reinstall --no-deps build/wheel/*.whl
	@touch $@

# The programs of the benchmarks that are written in Rust, and the proto that all peers share.
build/bench/.made: $(wildcard benchmarks/proto/*.proto) .venv/.build-needs \
  Cargo.lock $(shell find src benchmarks -name '*.rs')
	mkdir -p build/bench
	$(BIN)/protoc --proto_path=benchmarks/proto --python_out=build/bench benchmarks/proto/*.proto
	cargo build --release $(NO_PYTHON) --example load --example echo
	@touch $@

# The example of brpc that the row of its client is about, as brpc has it.
build/brpc/.made:
	rm -rf build/brpc && mkdir -p build/brpc
	git clone --quiet --depth 1 --branch $(BRPC_TAG) $(BRPC_REPOSITORY) build/brpc/source
	cmake -S build/brpc/source -B build/brpc/source/build -Wno-dev -DCMAKE_BUILD_TYPE=Release -DBUILD_BRPC_TOOLS=OFF
	$(MAKE) -C build/brpc/source/build brpc-static
	cmake -S build/brpc/source/example/multi_threaded_echo_c++ -B build/brpc/echo -Wno-dev -DCMAKE_BUILD_TYPE=Release
	$(MAKE) -C build/brpc/echo
	@touch $@

# The same as a wheel of users', with the names of its functions.
build/profile/.made: $(CRATE) $(PACKAGE) .venv/.build-needs .venv-bench/.made
	rm -rf build/profile
	CARGO_PROFILE_RELEASE_STRIP=none $(BIN)/maturin build --locked --release --strip=false \
	  --interpreter $(BIN)/python --out build/profile/wheel
	.venv-bench/bin/python $(PIP_INSTALL) --no-deps --target build/profile/site build/profile/wheel/*.whl
	@touch $@

# A wheel is for one Python.
build/wheel-eager/.made: $(CRATE) $(PACKAGE) README.md .venv/.build-needs .venv-bench-eager/.made
	rm -rf build/wheel-eager
	PYO3_PYTHON=$(CURDIR)/.venv-bench-eager/bin/python $(BIN)/maturin build --locked --release \
	  --interpreter .venv-bench-eager/bin/python --out build/wheel-eager
	@touch $@

.venv-bench/.installed: WHEEL = build/wheel
.venv-bench-eager/.installed: WHEEL = build/wheel-eager
.venv-bench/.installed: build/wheel/.made
.venv-bench-eager/.installed: build/wheel-eager/.made
.venv-bench/.installed .venv-bench-eager/.installed: %/.installed: requirements/bench.txt %/.made
	$*/bin/python $(PIP_INSTALL) -r requirements/bench.txt
	$*/bin/python $(PIP_INSTALL) --force-reinstall --no-deps $(WHEEL)/*.whl
	@touch $@

.venv-bench/.ready: .venv-bench/.installed build/bench/.made \
  $(if $(EAGER_PYTHON),.venv-bench-eager/.installed)
	@touch $@
