#!/usr/bin/env bash
# Measures `health`, by the release build, against the ways in which applications ask for the sizes of their tables: a
# statement a table, and a view over all of them, both by names put together. Prints a table ready to be pasted, with our
# goal beside it, met or not. It asserts nothing.
#
#   scripts/bench_health.sh            all of it, in three minutes once built
#   scripts/bench_health.sh --quick    a tenth of the tables, once: whether it works, not how fast it is
#
# Ours is the whole of a run: connections, lock, history, all tables and all indexes with heap, TOAST and counters apart, and
# the reading written down. With `all`, the other collectors too. Theirs is psql, and the sizes of the tables alone.
#
# Server and tools share the machine: compare the ratios. The server is one of its own in a temporary folder. Environment:
#
#   BENCH_DIR    where that folder is made (/var/tmp); it takes up to 1 GB
#   PGTEND       a binary to measure, instead of building this one
#   PG_BIN       the programs of the PostgreSQL to measure with (the newest under /usr/lib/postgresql)
#   PAIRS        how often they take turns (5)
#   QUICK=1      the same as --quick
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
command_line="${PAIRS:+PAIRS=$PAIRS }${QUICK:+QUICK=$QUICK }scripts/bench_health.sh${*:+ $*}"

# shellcheck source=scripts/server.sh
. scripts/server.sh
# shellcheck source=scripts/load.sh
. scripts/load.sh
# shellcheck source=scripts/results.sh
. scripts/results.sh

for word in "$@"; do
    case $word in
    --quick) QUICK=1 ;;
    *) die "unknown word $word; there is --quick" ;;
    esac
done
if [ -n "${QUICK:-}" ]; then
    tables=500 pairs=${PAIRS:-1}
else
    tables=5000 pairs=${PAIRS:-5}
fi

scripts/deps.sh bench
build_pgtend release
find_server psql
make_folders "${BENCH_DIR:-/var/tmp}"
insist_on_disk
start_server shared_buffers=512MB max_wal_size=4GB checkpoint_timeout=30min TimeZone=UTC autovacuum=off fsync=off

say "making $tables tables"
createdb work
sql -d work -v tables="$tables" -f scripts/bench_health.sql >/dev/null
sql -d work -c "CHECKPOINT"

for job in sizes all; do
    collect=
    [ "$job" = all ] || collect="collect = ['table_sizes', 'index_usage']"
    cat >"$folder/$job.toml" <<CONFIG
[databases.main]
url = "postgresql://postgres@/work?host=$sockets&port=5432"
[jobs.job.health]
$collect
CONFIG
done
for ((n = 1; n <= tables; n++)); do
    printf "SELECT pg_total_relation_size('public' || '.' || 't_%d');\n" "$n"
done >"$folder/each.sql"

ours() { "$pgtend" run --config "$folder/$1.toml" --log-level warn --json job >"$folder/said.txt" 2>"$folder/pgtend.log"; }
sizes() { ours sizes; }
all() { ours all; }
# One session, so that what is measured is the statements and not the connecting.
each() { sql -d work -f "$folder/each.sql" >"$folder/said.txt"; }
view() { sql -d work -c "SELECT * FROM table_sizes" >"$folder/said.txt"; }
# As a script does that asks psql for each table; a tenth of them, by which it is enough.
psqls() {
    local n
    for ((n = 1; n <= tables / 10; n++)); do
        sql -d work -c "SELECT pg_total_relation_size('public' || '.' || 't_$n')"
    done >"$folder/said.txt"
}

turn() {
    local from=$EPOCHREALTIME times=1
    "$1" || die "$1 failed: $(tail -n 3 "$folder/said.txt")"
    [ "$1" != psqls ] || times=10
    result time "$1" "$(awk "BEGIN { printf \"%.4f\", $times * ($EPOCHREALTIME - $from) }")"
}

say "what, seconds:"
# Everything has been in memory once.
for what in sizes all each view; do "$what"; done
turns turn sizes all each view psqls
gauges=$(sql -d work -c "SELECT count(*) FROM jsonb_array_elements((SELECT gauges FROM pgtend.reading))")

line() { printf '| %s | %s | %s | %s |\n' "$1" "$(column time "$2" 3 | middle '%.2f')" "$(ratios time sizes "$2" 3 | middle)" "${3:-}"; }

cat <<TABLES

Measured with $("$pgtend" --version), $(postgres --version | awk '{ print $1, $3 }' | sed 's/^postgres/PostgreSQL/'), $(rustc --version | cut -d' ' -f1,2), Linux $(uname -r),
$(nproc) cores shared by server and tools, $disk.
Medians of $pairs rounds (least–most), taking turns. To repeat: \`$command_line\`

$tables tables with two indexes each; $gauges gauges in the reading:

| | seconds | \`health\` takes of it | goal |
|---|--:|--:|---|
$(line "\`health\`, tables and indexes" sizes)
$(line "\`health\`, all collectors" all)
$(line "a statement a table, in one session" each "$(ratios time sizes each 3 | goal "at most 0.1" '' 0.1)")
$(line "a \`psql\` a table" psqls "$(ratios time sizes psqls 3 | goal "at most 0.1" '' 0.1)")
$(line "a view over all tables" view)
TABLES
