#!/usr/bin/env bash
# Makes a Debian package of pgtend, with its manual page and completions, and prints where it is.
#
#   scripts/deb.sh           for use: an optimized program
#   scripts/deb.sh dev       for the tests: the program that they have built anyway
#
# It needs cargo-deb (`cargo install --locked cargo-deb`, a minute or two).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
profile=${1:-release}

die() {
    printf 'deb: %s\n' "$*" >&2
    exit 1
}

cargo deb --version >/dev/null 2>&1 || die "cargo-deb is not installed: cargo install --locked cargo-deb"
cargo build --locked --quiet --profile "$profile" >&2
target=${CARGO_TARGET_DIR:-target}
folder=$profile
[ "$profile" != dev ] || folder=debug

# The program writes them, and they are never behind it.
made=target/package
mkdir -p "$made"
pgtend=$target/$folder/pgtend
"$pgtend" man >"$made/pgtend.1"
"$pgtend" completions bash >"$made/pgtend.bash"
"$pgtend" completions zsh >"$made/_pgtend"
"$pgtend" completions fish >"$made/pgtend.fish"
"$pgtend" schema >"$made/pgtend.schema.json"

if [ "$profile" = dev ]; then
    # A tenth of the size, and of the time to pack it.
    cargo deb --locked --quiet --no-build --profile dev --fast --strip
else
    cargo deb --locked --quiet --no-build
fi
