#!/usr/bin/env bash
# Builds s3s-fs into .cache/s3s: an S3 server that is not ours and keeps objects in a folder, for benches. moto, which the
# tests use besides, is slower, and would be more of what is measured.
#
# It comes from crates.io, at the version that this Rust can build; that takes some minutes, once.
set -euo pipefail

version=0.14.1

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
place=$root/.cache/s3s

if [ "$("$place/bin/s3s-fs" --version 2>/dev/null)" = "s3s-fs $version" ]; then
    exit 0
fi

printf 's3s: building s3s-fs %s\n' "$version"
cargo install --quiet --locked --root "$place" --version "$version" --features binary s3s-fs
