#!/usr/bin/env bash
# Fetches Python programs that are not ours into .cache, for the tests.
#
#   scripts/wheels.sh NAME SIZE CODE     what scripts/NAME.txt lists, into .cache/NAME; Python must then run CODE
#
# They come from pip as it is configured on this machine; what is fetched must have the digests of the list.
set -euo pipefail

name=$1 size=$2 code=$3

die() {
    printf '%s: %s\n' "$name" "$*" >&2
    exit 1
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
wanted=$root/scripts/$name.txt
place=$root/.cache/$name

# Whoever changes the list gets a new one.
if cmp -s "$wanted" "$place/complete"; then
    exit 0
fi

python3 -m pip --version >/dev/null 2>&1 || die "python3 has no pip; run scripts/deps.sh first"

mkdir -p "$root/.cache"
scratch=$(mktemp -d "$root/.cache/$name.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

printf '%s: fetching it (%s)\n' "$name" "$size"
python3 -m pip install --quiet --disable-pip-version-check --no-warn-conflicts --root-user-action ignore \
    --no-deps --require-hashes --only-binary :all: --target "$scratch/lib" --requirement "$wanted" \
    || die "pip could not fetch it; its message is above"
PYTHONPATH=$scratch/lib python3 -c "$code" || die "what was fetched does not run here"
cp "$wanted" "$scratch/lib/complete"
rm -rf "$place"
mv "$scratch/lib" "$place"
