#!/usr/bin/env bash
# Measures the `export` of `retention`, by the release build, against `pg_dump -t` of the same partition, and what an application
# notices of export, detach and drop; prints tables ready to be pasted, with our goals beside them, met or not. It asserts
# nothing.
#
#   scripts/bench_export.sh            all of it, in five minutes once built
#   scripts/bench_export.sh --quick    a tenth of the rows, once: whether it works, not how fast it is
#
# Ours is the whole of a run: the rows into a directory, packed, read back from there to the last byte, compared with the
# table once more under the lock that drops it; detached and dropped. pg_dump writes its text to a file beside it, and that is all.
#
# Server, load and tools share the machine, as they would not in production: compare the ratios. The server is one of its own
# in a temporary folder, with fsync; the folder must lie on a real disk. Environment:
#
#   BENCH_DIR    where that folder is made (/var/tmp); it takes up to 3 GB
#   PGTEND       a binary to measure, instead of building this one
#   PG_BIN       the programs of the PostgreSQL to measure with (the newest under /usr/lib/postgresql)
#   PAIRS        how often they take turns (3)
#   QUICK=1      the same as --quick
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
command_line="${PAIRS:+PAIRS=$PAIRS }${QUICK:+QUICK=$QUICK }scripts/bench_export.sh${*:+ $*}"

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
    rows=100000 pairs=${PAIRS:-1} quiet_s=5
else
    rows=1000000 pairs=${PAIRS:-3} quiet_s=10
fi

scripts/deps.sh bench
build_pgtend release
find_server pg_dump
make_folders "${BENCH_DIR:-/var/tmp}"
insist_on_disk
memory_mb=$(awk '/^MemTotal/ { printf "%d", $2 / 1024 }' /proc/meminfo)
buffers_mb=$((memory_mb / 4 < 1024 ? memory_mb / 4 : 1024))
start_server shared_buffers="${buffers_mb}MB" max_wal_size=4GB checkpoint_timeout=30min TimeZone=UTC

say "making a month of $rows rows"
createdb original
sql -d original -v rows="$rows" -f scripts/bench_export.sql
export_mb=$(sql -d original -c "SELECT pg_table_size('events_old') / 1000000")

cat >"$folder/export.toml" <<CONFIG
[databases.main]
url = "postgresql://postgres@/work?host=$sockets&port=5432"
[stores.archive.directory]
path = "$folder/archive"
[jobs.job.retention]
tables = [{ table = "public.events", keep = "12 months", export = "archive" }]
CONFIG

ours() { "$pgtend" run --config "$folder/export.toml" --log-level warn --json job >"$folder/said.txt" 2>"$folder/pgtend.log"; }
dump() { pg_dump -d work -t public.events_old -f "$folder/events_old.sql"; }

# Does one of them; how long it took goes to `took`, and since when and until when to `from` and `to`.
timed() {
    from=$EPOCHREALTIME
    "$1" || die "$1 failed: $(tail -n 3 "$folder/said.txt")"
    to=$EPOCHREALTIME
    took=$(awk "BEGIN { printf \"%.3f\", $to - $from }")
}

# That it was exported, whole, and is gone.
exported() {
    [ "$(sql -d work -c "SELECT to_regclass('events_old') IS NULL")" = t ] || die "the month is still there: $(cat "$folder/said.txt")"
    grep -q "\"rows\":${rows}[,}]" "$folder/said.txt" || die "not all rows were exported: $(cat "$folder/said.txt")"
    rm -rf "$folder/archive"
}

turn() {
    fresh_copy original work
    # Both find in memory what they read.
    sql -d work -c "SELECT count(*) FROM events_old" >/dev/null
    timed "$1"
    [ "$1" = dump ] || exported
    result time "$1" "$took"
}

beside_load() {
    local quiet_from
    fresh_copy original work
    start_load pgbench -c 8 -j 1 -R 200 -f "$folder/insert.sql" -f "$folder/read.sql" work
    quiet_from=$EPOCHREALTIME
    sleep "$quiet_s"
    timed "$1"
    end_load
    exported
    result load "$1" "$took" "$(longest "$quiet_from" "$from")" "$(longest "$from" "$to")"
}

cat >"$folder/insert.sql" <<'SQL'
INSERT INTO events (id, at, what) VALUES (floor(random() * 1e15)::bigint, now(), 'something happened');
SQL
cat >"$folder/read.sql" <<'SQL'
SELECT count(*) FROM events WHERE at > now() - interval '1 hour';
SQL

say "time, what, seconds:"
turns turn ours dump
say "load, what, seconds, longest statement of the load quiet and meanwhile in ms:"
turns beside_load ours

cat <<TABLES

Measured with $("$pgtend" --version), $(postgres --version | awk '{ print $1, $3 }' | sed 's/^postgres/PostgreSQL/'), $(rustc --version | cut -d' ' -f1,2), Linux $(uname -r),
$(nproc) cores shared by server, load and tools, $memory_mb MiB of memory, $disk; fsync on, shared_buffers ${buffers_mb} MB.
Medians of $pairs rounds (least–most), taking turns on identical copies. To repeat: \`$command_line\`

A month of $rows rows, $export_mb MB:

| | seconds | times pg_dump | goal |
|---|--:|--:|---|
| exported, read back, compared, detached and dropped | $(column time ours 3 | middle) | $(ratios time ours dump 3 | middle) | $(ratios time ours dump 3 | goal "at most 1.5" '' 1.5) |
| \`pg_dump -t\` to a file | $(column time dump 3 | middle) | 1 | |

The same beside 200 statements a second that insert and read:

| longest statement of the load before, ms | meanwhile, ms | goal |
|--:|--:|---|
| $(column load ours 4 | middle) | $(column load ours 5 | middle) | $(column load ours 5 | goal "at most 500 ms" '' 500) |
TABLES
