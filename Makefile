# One profile, release, everywhere: RocksDB takes 15-20 minutes to compile on two cores, and is
# compiled once. `make` alone says what there is.

CARGO ?= cargo
TARGET_DIR := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
BIN := $(TARGET_DIR)/release/tidetable
PREFIX ?= /usr/local
DESTDIR ?=
TIMED := @scripts/timed

.DEFAULT_GOAL := help
# RocksDB's compiler jobs already take every core; cargo shares them itself.
.NOTPARALLEL:
.PHONY: help setup setup-test build demo test test-tools test-million test-memory test-limits test-space space test-hostile hostile test-tutorial tutorial fuzz \
  test-prometheus prometheus test-conformance conformance test-sources sources test-python python bench-python test-clients clients test-java test-spark test-airflow test-pipelines pipelines test-torture test-crash crash torture soak test-real-data test-console \
  bench bench-peers test-peers count-instructions ci fmt fmt-check lint doc deny install

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what building needs (libclang, a C++ compiler), where it is missing
	@scripts/setup

setup-test:
	@scripts/setup test

build: setup ## build the binary
	@[ -e '$(BIN)' ] || echo 'The first build compiles RocksDB: 15 to 20 minutes on two cores, once.'
	$(CARGO) build --release --locked

demo: build ## a guided tour: push, look up, swap, roll back
	@'$(BIN)' demo $(DEMO_FLAGS)

test: setup-test ## all tests, and the test on real data
	@[ -e '$(BIN)' ] || echo 'The first build compiles RocksDB: 15 to 20 minutes on two cores, once.'
	$(TIMED) 'tests, compiled' $(CARGO) test --release --locked --workspace --no-run
	$(TIMED) 'tests' $(CARGO) test --release --locked --workspace
	$(TIMED) 'test on real data' tests/real_data/run '$(BIN)'

test-tools: ## the tests of the checks themselves, which need no server
	$(TIMED) 'the checks themselves' tests/tools/run

test-million: setup ## 1,000,000 records in three orders, all read back, before and after a restart
	TIDETABLE_TEST_RECORDS=1000000 $(CARGO) test --release --locked --test it -- --nocapture a_push_is_read_back_exactly

test-real-data: build setup-test ## the test on real data alone
	tests/real_data/run '$(BIN)'

test-console: setup ## the console in Chromium, against a real server: keyboard, phone, axe, content security policy
	@scripts/setup console
	$(BUILD_PEERS)
	$(TIMED) 'console in a browser' tests/console/run '$(BIN)'

test-prometheus: build prometheus ## alert rules, and every query of the dashboard in a real Prometheus

# With the binary that is there.
prometheus:
	@scripts/setup prometheus
	$(TIMED) 'alert rules and dashboard' tests/prometheus/run '$(BIN)'

test-conformance: build setup-test conformance ## requests made from /openapi.json: no 5xx, and nothing that it does not declare

test-java: ## the Java client, compiled with every warning an error, and its tests; skipped without a JDK
	$(TIMED) 'Java client' clients/java/test/run

# With the binary that is there. CONFORMANCE_FLAGS='--examples 2000' for a release.
conformance:
	$(TIMED) 'requests made from /openapi.json' tests/conformance/run '$(BIN)' $(CONFORMANCE_FLAGS)

test-sources: build setup-test sources ## pushes and imports from two S3 servers that nobody here wrote

# With the binary that is there.
sources:
	$(TIMED) 'sources in S3' tests/sources/run '$(BIN)'

test-python: build python ## the Python client: style, types, and its tests against a real server

# With the binary that is there.
python:
	$(TIMED) 'Python client' env TARGET_DIR='$(TARGET_DIR)' clients/python/check '$(BIN)'

bench-python: build ## the Python client beside redis-py, in one run (4 minutes); BENCH_FLAGS='--rounds 3'
	TARGET_DIR='$(TARGET_DIR)' clients/python/benchmarks/run '$(BIN)' $(BENCH_FLAGS)

test-clients: build clients ## what every client promises, through a proxy that makes things go wrong; languages whose tools are there

# With the binary that is there. CLIENTS_FLAGS='--only python --case batch'.
clients:
	$(TIMED) 'clients' env CARGO='$(CARGO)' TIDETABLE_CLIENT_BINARIES='$(abspath $(TARGET_DIR))/clients' clients/check '$(BIN)' $(CLIENTS_FLAGS)

test-spark: build ## DataFrames pushed by a real Spark, tasks killed meanwhile (installs PySpark, 456 MB, once); not part of CI
	$(TIMED) 'Spark' tests/spark/run '$(BIN)' $(SPARK_FLAGS)

test-airflow: build ## DAGs that push, fail and try again, in a real Airflow (installs it, once); not part of CI
	$(TIMED) 'Airflow' tests/airflow/run '$(BIN)'

test-pipelines: build pipelines ## the commands of docs/pipelines.md on made-up extracts of dbt and dataduct

# With the binary that is there.
pipelines:
	$(TIMED) 'commands of docs/pipelines.md' tests/pipelines/run '$(BIN)'

test-limits: build ## slow clients, HTTP/2 floods, overload, stops under load: nobody else is disturbed
	$(TIMED) 'limits' tests/limits/run '$(BIN)' $(LIMITS_FLAGS)

test-hostile: build hostile ## hostile sources and names against a real server: refused with a reason, serving undisturbed

# With the binary that is there.
HOSTILE_FLAGS ?=
hostile:
	$(TIMED) 'hostile sources and names' tests/hostile/run '$(BIN)' $(HOSTILE_FLAGS)

test-tutorial: build tutorial ## every command of docs/tutorial.md and what it prints, and every command of README.md

# With the binary that is there.
tutorial:
	$(TIMED) 'the tutorial' tests/tutorial/run '$(BIN)'

# The inputs that were kept are replayed by `make test`.
FUZZ_SECONDS ?= 60
fuzz: build ## each fuzz target for FUZZ_SECONDS (60), on from where the last run ended; FUZZ_FLAGS='--targets ndjson,csv'
	scripts/fuzz --seconds $(FUZZ_SECONDS) $(FUZZ_FLAGS)

test-space: build ## full disks, no inodes, few open files, many datasets: small
	$(TIMED) 'space' tests/torture/space/run ci '$(BIN)'

SPACE_FLAGS ?= --levels 200 --datasets 2000
space: build ## the same, large: 200 levels, 2,000 datasets of three versions (20 minutes)
	@for what in fill inodes read-only files many; do tests/torture/space/run $$what '$(BIN)' $(SPACE_FLAGS) || exit 1; done

test-memory: build ## peak memory of a push, and of one with ten times the data (25 GB of disk)
	tests/memory/run '$(BIN)'

# The same program with named steps to die at and bugs to have: for these checks alone.
FAULTY := $(TARGET_DIR)/release/tidetable-faults
BUILD_FAULTY = $(CARGO) build --release --locked --workspace --features faults --bin tidetable-faults
TORTURE_LEDGER ?= $(TARGET_DIR)/torture.jsonl
CRASH_LEDGER ?= $(TARGET_DIR)/crash.jsonl

test-torture: setup ## 100 kills under load, and every planted bug found (docs/torture.md)
	$(BUILD_FAULTY)
	$(TIMED) 'torture' tests/torture/run ci '$(FAULTY)'

# With the binary that is there. Power cuts are left to `make test-crash`: CI has those of torture.
crash:
	$(TIMED) 'deaths at named steps' tests/torture/run crash steps '$(FAULTY)' --home '$(TARGET_DIR)'
	$(TIMED) 'failing calls' tests/torture/run crash calls '$(FAULTY)' --home '$(TARGET_DIR)'

test-crash: setup ## deaths at named steps, failing calls, power cuts (docs/crash.md); 5 minutes, CI has the first two
	$(BUILD_FAULTY)
	$(TIMED) 'deaths, failing calls, power cuts' tests/torture/run crash all '$(FAULTY)' --home '$(TARGET_DIR)'

torture: build ## 1,000 kills, and 1,000 with power cuts, in pieces that go on where they stopped; TORTURE_FLAGS='--kills 5000'
	$(BUILD_FAULTY)
	tests/torture/run torture '$(BIN)' --ledger '$(TORTURE_LEDGER)' $(TORTURE_FLAGS)
	tests/torture/run torture '$(FAULTY)' --faults --ledger '$(TORTURE_LEDGER)' $(TORTURE_FLAGS)
	tests/torture/run crash all '$(FAULTY)' --long --rounds 5 --pairs 300 --every 3 --home '$(TARGET_DIR)' --ledger '$(CRASH_LEDGER)'

soak: build ## two hours with a swap every 10 s: memory, descriptors and disk stay as they were; SOAK_FLAGS='--seconds 21600'
	tests/torture/run soak '$(BIN)' --ledger '$(TORTURE_LEDGER)' $(SOAK_FLAGS)

bench: setup ## what each step costs by itself; BENCH_FLAGS=get for those whose name contains it
	$(CARGO) bench --locked --workspace --bench storage -- $(BENCH_FLAGS)

# Data, logs and raw results of bench-peers: several GB.
BENCH_DIR ?= $(TARGET_DIR)/bench-peers
PEERS := $(TARGET_DIR)/release/tidetable-peers
# Not with -p: other features would be chosen for shared crates, and RocksDB compiled again.
BUILD_PEERS = $(CARGO) build --release --locked --workspace --bins

# A crate by itself, with LMDB in it: see its Cargo.toml.
LMDB_DIR := $(TARGET_DIR)/lmdb

bench-peers: setup ## measure it beside Redis, nginx and LMDB (25 minutes); BENCH_FLAGS=--full writes docs/benchmarks.md too
	@scripts/setup peers
	$(BUILD_PEERS)
	$(CARGO) build --release --locked --manifest-path benches/peers/lmdb/Cargo.toml --target-dir '$(LMDB_DIR)'
	benches/peers/run --tidetable '$(BIN)' --helper '$(PEERS)' --lmdb '$(LMDB_DIR)/release/lmdb-peer' --out '$(BENCH_DIR)' $(BENCH_FLAGS)

test-peers: ## what decides in bench-peers (verdicts, options), without a server
	$(TIMED) 'tests of bench-peers' benches/peers/test

count-instructions: setup ## instructions of one lookup, compared with benches/instructions.txt
	@scripts/setup count
	$(BUILD_PEERS)
	$(TIMED) 'instructions of a lookup' scripts/count-instructions '$(PEERS)' $(COUNT_FLAGS)

ci: fmt-check lint test test-tools test-torture crash hostile tutorial test-limits test-space test-console prometheus conformance sources python clients pipelines test-peers count-instructions doc deny ## all that CI runs

fmt: ## format the code
	$(CARGO) fmt --all

fmt-check:
	$(TIMED) 'format' $(CARGO) fmt --all --check

lint: setup ## clippy, every warning an error
	$(TIMED) 'clippy' $(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings

doc: setup ## the documentation of the code, every warning an error
	$(TIMED) 'docs' env RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' $(CARGO) doc --release --locked --workspace --no-deps --document-private-items

deny: ## licences, banned crates, sources and (where RustSec can be reached) advisories of every dependency
	$(TIMED) 'licences, bans and sources' sh -c '"$$(scripts/cargo-deny)" check licenses bans sources'
	$(TIMED) 'advisories' scripts/check-advisories

# root, through sudo, mostly has no cargo: it installs what was built before.
install: $(if $(shell command -v '$(CARGO)' 2>/dev/null),build) ## the binary, its man pages and shell completions, below PREFIX (/usr/local)
	@[ -x '$(BIN)' ] || { echo 'There is no $(BIN): run `make build` as yourself, then this again. Where CARGO_TARGET_DIR is set, say it here too: sudo make install CARGO_TARGET_DIR=...' >&2; exit 1; }
	install -D -m 755 '$(BIN)' '$(DESTDIR)$(PREFIX)/bin/tidetable'
	install -d '$(DESTDIR)$(PREFIX)/share/man/man1' '$(DESTDIR)$(PREFIX)/share/bash-completion/completions' \
	  '$(DESTDIR)$(PREFIX)/share/zsh/site-functions' '$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d'
	'$(BIN)' man --out '$(DESTDIR)$(PREFIX)/share/man/man1'
	'$(BIN)' completions bash > '$(DESTDIR)$(PREFIX)/share/bash-completion/completions/tidetable'
	'$(BIN)' completions zsh > '$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_tidetable'
	'$(BIN)' completions fish > '$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/tidetable.fish'
