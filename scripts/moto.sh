#!/usr/bin/env bash
# Fetches moto into .cache/moto: an S3 server that is not ours, for the tests to be held against.
#
# It comes from pip as it is configured on this machine; what is fetched must have the digests in moto.txt.
set -euo pipefail

die() {
    printf 'moto: %s\n' "$*" >&2
    exit 1
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
wanted=$root/scripts/moto.txt
place=$root/.cache/moto

# Whoever changes the list gets a new one.
if cmp -s "$wanted" "$place/complete"; then
    exit 0
fi

python3 -m pip --version >/dev/null 2>&1 || die "python3 has no pip; run scripts/deps.sh first"

mkdir -p "$root/.cache"
scratch=$(mktemp -d "$root/.cache/moto.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

printf 'moto: fetching it (20 MB)\n'
python3 -m pip install --quiet --disable-pip-version-check --no-warn-conflicts --root-user-action ignore \
    --no-deps --require-hashes --only-binary :all: --target "$scratch/lib" --requirement "$wanted" \
    || die "pip could not fetch it; its message is above"
PYTHONPATH=$scratch/lib python3 -c 'import moto.server' || die "what was fetched does not run here"
cp "$wanted" "$scratch/lib/complete"
rm -rf "$place"
mv "$scratch/lib" "$place"
