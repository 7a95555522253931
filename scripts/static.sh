#!/usr/bin/env bash
# Builds pgtend as one static program, which runs on any Linux of this architecture whatever its C library, and prints its path.
# Adds the target to the Rust toolchain where it is missing; a compiler for musl comes with Debian's musl-tools.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=$(uname -m)-unknown-linux-musl

command -v musl-gcc >/dev/null || {
    printf 'static: musl-gcc is missing; it comes with the package musl-tools\n' >&2
    exit 1
}
rustup target list --installed | grep -qx "$target" || rustup target add "$target" >&2
cargo build --release --locked --target "$target" >&2
program=${CARGO_TARGET_DIR:-target}/$target/release/pgtend
# Linked against nothing that the host would have to have.
if readelf --program-headers "$program" | grep -q INTERP; then
    printf 'static: %s asks for a loader\n' "$program" >&2
    exit 1
fi
"$program" --version >&2
printf '%s\n' "$program"
