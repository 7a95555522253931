# What there is to do here, for people and for CI. `make` alone lists it.

.DEFAULT_GOAL := help
.PHONY: help demo test test-ui test-systemd walk deb static lint fmt bench deps clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## see the daemon at work on a throwaway database; needs nothing but Rust beforehand. APP=helix: an application's own jobs
	@if [ -n "$(APP)" ]; then scripts/demo_app.sh "$(APP)"; else scripts/demo.sh; fi

test: ## install what the tests need, and run them all, on the oldest and the newest PostgreSQL there is
	@scripts/test.sh

test-ui: ## look at the status page with a real browser, narrow and wide, light and dark, by keyboard
	@scripts/deps.sh ui
	@scripts/test_ui.sh || [ $$? -eq 77 ]

test-systemd: ## boot a systemd in a container, see the units at work there, and follow README; needs root, takes two minutes
	@scripts/test_units.sh || [ $$? -eq 77 ]

deb: ## make a Debian package; needs cargo-deb (cargo install --locked cargo-deb)
	@scripts/deb.sh

walk: ## two years of an application under its jobs, day by day: make walk APP=lukhas SCALE=100000. Takes minutes, or hours
	@scripts/walk.sh "$(APP)" "$(SCALE)"

static: ## build one static program, for any Linux; needs musl-tools and rustup
	@scripts/static.sh

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
