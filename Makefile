# What a developer runs. `make help` lists it.
# Needed: Rust (the version in Cargo.toml or newer), Node with npm. Bun comes from npm.

BUN := $(CURDIR)/worker/node_modules/.bin/bun
PORT ?= 8000
HOST ?= 127.0.0.1

.DEFAULT_GOAL := help
.PHONY: help run test build bun deps fmt lint doc test-rust test-bun test-kills bench soak deny deny-if-there fuzz check-packages test-api clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

run: build deps ## install what is missing, build, serve the example apps
	@BUN=$(BUN) HOST=$(HOST) PORT=$(PORT) scripts/run.sh

test: bun deps lint doc deny-if-there test-rust test-bun ## all checks and all tests

build: bun ## the server, optimised
	cargo build --release --locked -p buntime

bun: ## the pinned Bun
	@scripts/install-bun.sh

deps: bun ## npm dependencies of the example apps and the benchmarks
	@RUNTIME_BUN=$(BUN) scripts/install-examples.sh

fmt: ## format the Rust code
	cargo fmt --all

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# cargo-nextest is faster when it is there, but a newcomer need not have it.
test-rust: bun
	@rm -f target/skipped-tests
	cargo build --locked -p fake-bun -p lesser
	@if cargo nextest --version >/dev/null 2>&1; then \
	    set -x; RUNTIME_BUN=$(BUN) cargo nextest run --workspace --locked && cargo test --doc --workspace --locked; \
	else \
	    set -x; RUNTIME_BUN=$(BUN) cargo test --workspace --locked; \
	fi
	@if [ -e target/skipped-tests ]; then \
	    echo "Not shown here, for want of what these tests need (BUNTIME_NO_SKIPS=1 has them fail):"; \
	    sort -u target/skipped-tests; \
	fi

# Part of these tests: what is built and committed is what the source builds.
test-bun: bun deps
	worker/node_modules/.bin/tsc -p worker
	worker/node_modules/.bin/tsc -p examples
	cd worker && $(BUN) test
	cd examples && $(BUN) test

test-kills: bun ## kill the server a thousand times while it deploys (part of it is in make test)
	BUNTIME_KILLS=1000 RUNTIME_BUN=$(BUN) cargo test -p buntime --test deploy --locked -- d1_

bench: build deps ## compare with nginx and bare Bun, write bench/RESULTS.md (BENCH_QUICK=1 for a look)
	@bench/run.sh bench

soak: build deps ## ten minutes of mixed load, fails if anything grows (SOAK_SECONDS=60 for a look)
	@bench/run.sh soak

deny: ## licences, sources, advisories, who may depend on what (installs cargo-deny)
	@scripts/deny.sh install
	@scripts/deny.sh check

deny-if-there:
	@scripts/deny.sh check-if-there

fuzz: ## each fuzz target for a minute (FUZZ_SECONDS=5 for a look; needs a C++ compiler)
	@scripts/fuzz.sh

check-packages: ## a hundred packages of npm, unpacked here and by GNU tar
	cargo test --release --locked -p buntime-fs --test packages -- --ignored --nocapture

test-api: bun ## ask a server for all that its description says, with schemathesis (installs it into target/)
	@RUNTIME_BUN=$(BUN) scripts/test-api.sh

clean: ## remove what was installed and built, the state of the server too
	cargo clean
	rm -rf .buntime worker/node_modules
	find examples bench -name node_modules -type d -prune -exec rm -rf {} +
