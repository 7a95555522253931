#!/usr/bin/env bash
# The units under a real systemd: installed by hand, by README word by word and, where there is cargo-deb, as a package. Ends with
# status 77 where no container can be booted.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo build --locked --quiet
program=${CARGO_TARGET_DIR:-target}/debug/pgtend
scripts/test_systemd.sh "$program"
scripts/test_readme.sh "$program"

# Not installed for the tests: that alone takes as long as all of these.
if cargo deb --version >/dev/null 2>&1; then
    scripts/test_systemd.sh --deb "$(scripts/deb.sh dev)"
else
    printf 'systemd: SKIPPED the package, since cargo-deb is not installed (cargo install --locked cargo-deb)\n' >&2
fi
