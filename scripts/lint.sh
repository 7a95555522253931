#!/usr/bin/env bash
# Looks over everything that can be looked over without running it: Rust sources, shell scripts.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo fmt --check
cargo clippy --locked --all-targets -- -D warnings

if command -v shellcheck >/dev/null 2>&1; then
    shellcheck --external-sources scripts/*.sh deploy/compose/*.sh debian/* .ci/run
else
    echo "lint: shellcheck is not installed (scripts/deps.sh installs it); the shell scripts were not looked over" >&2
fi
