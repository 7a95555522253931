#!/usr/bin/env bash
# Fetches axe-core into .cache/axe: it looks at a page for what would keep people from using it. Only the test of the
# status page uses it, and only that file of it is kept.
set -euo pipefail

version=4.14.1
# Of the package, as the registry states it.
digest=1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b734f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5
place=.cache/axe

cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ "$(cat "$place/version" 2>/dev/null)" = "$version" ]; then
    exit 0
fi

mkdir -p .cache
scratch=$(mktemp -d .cache/axe.XXXXXX)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

printf 'axe: fetching axe-core %s\n' "$version"
python3 - "https://registry.npmjs.org/axe-core/-/axe-core-$version.tgz" "$scratch/package.tgz" <<'PY'
import sys, urllib.request
urllib.request.urlretrieve(sys.argv[1], sys.argv[2])
PY
printf '%s  %s\n' "$digest" "$scratch/package.tgz" | sha512sum --check --quiet || {
    printf 'axe: what came is not axe-core %s\n' "$version" >&2
    exit 1
}
mkdir "$scratch/axe"
tar -xzf "$scratch/package.tgz" -C "$scratch/axe" --strip-components=1 package/axe.min.js
printf '%s\n' "$version" >"$scratch/axe/version"
rm -rf "$place"
mv "$scratch/axe" "$place"
