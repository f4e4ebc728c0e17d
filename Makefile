# What people type. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

CARGO ?= cargo
# What `make bench` compares with.
WATCHEXEC := $(CURDIR)/target/bench-tools/bin/watchexec
PINGORA := $(CURDIR)/target/bench-tools/pingora/release/pingora-peer
BENCH ?=
# Runs only tests whose name matches: make test T=pattern
T ?=

# The benchmarks that `make bench` runs: make bench B=proxy
B ?= dev_loop rollouts proxy
BENCHES := $(B:%=bench-%)

.PHONY: help run test soak check deb reproducible lintian bench bench-dev_loop bench-rollouts bench-proxy bench-flat fuzz prepare
# They would spoil one another.
.NOTPARALLEL: bench

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: prepare ## build the sample workers and serve them on http://localhost:8080
	$(CARGO) build --quiet --bins
	$(CARGO) run --quiet --bin tqctl -- build --dev
	exec $$(systemctl --user show-environment >/dev/null 2>&1 || echo tests/bed/user --) \
		"$${CARGO_TARGET_DIR:-target}/debug/tqctl" dev

test: prepare check ## run every test; T=pattern runs some
	$(CARGO) nextest run --workspace $(if $(T),-E 'test(/$(T)/)')
	$(CARGO) test --quiet --workspace --doc

soak: SECONDS ?= 600
soak: prepare ## random faults under load for SECONDS (600); SEED=n repeats those of another run
	SOAK_SECONDS=$(SECONDS) SOAK_SEED=$(SEED) $(CARGO) test --quiet --test e2e -- --nocapture \
		--exact soak::load::random_faults_lose_nothing_and_leave_nothing

check: ## formatting and lints, as errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --quiet --workspace --all-targets -- --deny warnings

prepare: ## install what is missing
	@tests/bed/install
	@command -v cargo-nextest >/dev/null || $(CARGO) install --quiet --locked cargo-nextest

deb: prepare ## build the Debian package, into dist/
	rm -rf dist && mkdir dist
	DEB_BUILD_OPTIONS="nocheck parallel=$$(nproc) $(DEB_BUILD_OPTIONS)" TQ_DEB_DIR=dist \
		dpkg-buildpackage --no-check-builddeps --rules-target=clean,binary

lintian: ## what Debian's checker says of dist/
	@tests/bed/install lintian
	lintian --info --display-info --pedantic --fail-on=error,warning,info,pedantic dist/*.deb

reproducible: ## build the package twice, in two folders, and compare
	@tests/bed/install diffoscope-minimal
	packaging/reproducible

bench: $(BENCHES) ## measure saves and requests; B=dev_loop, rollouts, proxy or flat is one, BENCH=short is shorter

bench-dev_loop: prepare
	@[ -x $(WATCHEXEC) ] || $(CARGO) install --quiet --locked --root target/bench-tools watchexec-cli
	WATCHEXEC=$(WATCHEXEC) BENCH=$(BENCH) $(CARGO) bench --quiet --bench dev_loop

bench-rollouts: prepare
	BENCH=$(BENCH) $(CARGO) bench --quiet --bench rollouts

bench-proxy: prepare
	@benches/proxy/install
	$(CARGO) build --quiet --release --locked --manifest-path benches/proxy/peers/pingora/Cargo.toml \
		--target-dir target/bench-tools/pingora
	PINGORA=$(PINGORA) BENCH=$(BENCH) $(CARGO) bench --quiet --bench proxy

bench-flat: REQUESTS ?= 10000000
bench-flat: prepare
	ROWS=flat REQUESTS=$(REQUESTS) $(CARGO) bench --quiet --bench proxy

fuzz: ## fuzz each target for FUZZ_SECONDS (30)
	@command -v cargo-fuzz >/dev/null || $(CARGO) install --quiet --locked cargo-fuzz
	fuzz/run
