# What there is to do here, for people and for CI. `make` alone lists it.

.DEFAULT_GOAL := help
.PHONY: help demo test test-systemd deb lint fmt bench deps clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## see the daemon at work on a throwaway database; needs nothing but Rust beforehand
	@scripts/demo.sh

test: ## install what the tests need, and run them all, on every PostgreSQL major there is
	@scripts/test.sh

test-systemd: ## boot a systemd in a container, and see the units at work there; needs root, takes half a minute
	@scripts/test_units.sh

deb: ## make a Debian package; needs cargo-deb (cargo install --locked cargo-deb)
	@scripts/deb.sh

lint: ## formatting, clippy, shell scripts
	@scripts/lint.sh

fmt: ## format the Rust sources
	@cargo fmt

bench: ## measure: prints ratios and versions, asserts nothing; takes two hours, with QUICK=1 a quarter of one
	@scripts/bench.sh
	@scripts/bench_partitions.sh
	@scripts/bench_retention.sh
	@scripts/bench_backup.sh
	@scripts/bench_export.sh
	@scripts/bench_health.sh

deps: ## install what the tests need: Debian packages; newer PostgreSQL majors, an S3 server and checkers into .cache
	@scripts/deps.sh
	@scripts/moto.sh
	@scripts/checkers.sh
	@scripts/majors.sh

clean: ## remove what was built and fetched
	@cargo clean --quiet
	@if [ -L .cache/majors ]; then rm -rf "$$(readlink .cache/majors)"; fi
	@rm -rf .cache
