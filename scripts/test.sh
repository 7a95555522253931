#!/usr/bin/env bash
# Runs every test there is, on the oldest and the newest PostgreSQL major there is, and ends with one summary.
#
#   scripts/test.sh              everything
#   scripts/test.sh sessions     the tests whose name holds this word; arguments go to `cargo test`
#
# PGTEND_TEST_MAJORS=15,16 names the majors, and PGTEND_TEST_MAJORS=all means each there is. Where nothing is said, the few stories
# that take long are told on the newest alone.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/deps.sh
scripts/moto.sh
scripts/checkers.sh
# Somebody who names the majors may have no use for the ones that would be fetched.
case ${PGTEND_TEST_MAJORS:-} in
'')
    scripts/majors.sh
    # What holds on both ends has not yet failed in between, and a third of the time is a lot of time.
    there=$(find /usr/lib/postgresql .cache/majors/ -mindepth 1 -maxdepth 1 -name '[0-9]*' -printf '%f\n' 2>/dev/null | sort -nu)
    PGTEND_TEST_MAJORS=$(sed -n '1p;$p' <<<"$there" | sort -nu | paste -sd ,)
    export PGTEND_TEST_MAJORS PGTEND_TEST_QUICK=1
    ;;
all)
    scripts/majors.sh
    unset PGTEND_TEST_MAJORS
    ;;
esac

# Most of a story is waiting: for a server to start, for a time to come, for a lock.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))}

logs=$(mktemp -d)
log=$logs/tests
beside=
# Whoever is interrupted leaves nothing running.
trap '[ -z "$beside" ] || kill "$beside" 2>/dev/null || true; rm -rf "$logs"' EXIT

# What stories cannot tell; somebody who asks for certain tests asks for those. They wait a lot, for a machine to boot and a page to
# come, so that they are at it beside the stories, and show what they have said afterwards.
others() {
    local name
    for name in units ui demos; do
        "scripts/test_$name.sh" >"$logs/$name" 2>&1
        echo $? >"$logs/$name.status"
    done
}
if [ $# -eq 0 ]; then
    scripts/deps.sh ui
    cargo test --locked --no-run
    cargo build --locked --quiet
    set +e
    others &
    beside=$!
    set -e
fi

status=0
cargo test --locked --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?

extras=
look() {
    local what=$1 name=$2
    cat "$logs/$name"
    case $(cat "$logs/$name.status") in
    0) extras+=", $what" ;;
    77) extras+=", $what SKIPPED" ;;
    *) extras+=", $what FAILED" && status=1 ;;
    esac
}
if [ -n "$beside" ]; then
    wait "$beside" || true
    beside=
    look "units under systemd" units
    look "page in a browser" ui
    look "demo of each application" demos
fi

servers=$(
    for postgres in /usr/lib/postgresql/*/bin/postgres .cache/majors/[0-9]*/bin/postgres; do
        # postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)
        [ -x "$postgres" ] && "$postgres" --version | cut -d ' ' -f 3
    done | sort -Vu | paste -sd ' '
)
awk -v servers="$servers" -v extras="$extras" -v limit="${PGTEND_TEST_MAJORS:-}" '
    /^test result:/ { passed += $4; failed += $6; ignored += $8; binaries++ }
    END {
        printf "\n%d passed, %d failed, %d ignored; PostgreSQL %s", passed, failed, ignored, servers
        if (limit != "") printf ", limited to %s", limit
        print extras
    }
' "$log"
# What failed and what it said, last: that is where one looks.
grep -E '^test .* \.\.\. FAILED$' "$log" || true
awk '/^---- .* stdout ----$/ { told = 1 } /^failures:$/ { told = 0 } told' "$log"
exit "$status"
