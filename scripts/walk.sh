#!/usr/bin/env bash
# Walks through two years of an application, day by day, under its job file: every row that is to be kept is there at each
# month's edge, and every one that is not is gone. The same walk is told among the tests, smaller, and with days left out.
#
#   scripts/walk.sh APP [SCALE]
#
# APP: lukhas, lucy, autosdlc, helix or code-review. SCALE is how large its fixture is, in rows of its larger tables (1000);
# each day brings a thirtieth of that. docs/applications.md says which SCALE is 50 GB a year, and how much room that takes.
#
# PGTEND_TEST_MAJORS names the PostgreSQL major (the oldest that Debian has installed). PGTEND_WALK_DAYS ends it earlier.
# PGTEND_WALK_DIR is the folder for the server, the stores and what is restored from them: /tmp, where nothing else is said.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

app=${1:-}
case $app in
lukhas | lucy | autosdlc | helix | code-review) ;;
*)
    echo "walk: which application? make walk APP=lukhas, or one of lucy, autosdlc, helix, code-review" >&2
    exit 2
    ;;
esac
scale=${2:-1000}
case $scale in
*[!0-9]* | 0)
    echo "walk: SCALE is a number of rows: make walk APP=$app SCALE=100000" >&2
    exit 2
    ;;
esac

folder=${PGTEND_WALK_DIR:-/tmp}
echo "walk: in $folder, where $(df -h --output=avail "$folder" | tail -n 1 | tr -d ' ') are free; how long it took and how large it became is told at its end" >&2
scripts/deps.sh
if [ -z "${PGTEND_TEST_MAJORS:-}" ]; then
    PGTEND_TEST_MAJORS=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -name '[0-9]*' -printf '%f\n' | sort -n | head -n 1)
fi
export PGTEND_TEST_MAJORS PGTEND_WALK_WHOLE=1 PGTEND_WALK_ROWS=$scale
exec cargo test --locked --test stories "walks::${app//-/_}::" -- --nocapture
