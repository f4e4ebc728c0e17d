# What people type. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

CARGO ?= cargo
# Runs only tests whose name matches: make test T=pattern
T ?=

.PHONY: help run test check deb bench fuzz prepare

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: prepare ## build the sample workers and serve them on http://localhost:8080
	$(CARGO) build --quiet --bins
	$(CARGO) run --quiet --bin tqctl -- build --dev
	exec tests/bed/serve

test: prepare check ## run every test; T=pattern runs some
	$(CARGO) nextest run --workspace $(if $(T),-E 'test(/$(T)/)')
	$(CARGO) test --quiet --workspace --doc

check: ## formatting and lints, as errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --quiet --workspace --all-targets -- --deny warnings

prepare: ## install what is missing
	@tests/bed/install
	@command -v cargo-nextest >/dev/null || $(CARGO) install --quiet --locked cargo-nextest

deb: ## build the Debian packages (not in this version)
	@echo "make deb: packaging is not part of this version yet" >&2; exit 1

bench: ## compare with other proxies (not in this version)
	@echo "make bench: benchmarks are not part of this version yet" >&2; exit 1

fuzz: ## a bounded fuzz run (not in this version)
	@echo "make fuzz: fuzz targets are not part of this version yet" >&2; exit 1
