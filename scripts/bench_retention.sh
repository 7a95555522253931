#!/usr/bin/env bash
# Measures `retention` and `summarize` of the release build against what one would do without them, and prints tables ready
# to be pasted, with our goals beside them, met or not. It asserts nothing.
#
#   scripts/bench_retention.sh            all of it, in about an hour once built
#   scripts/bench_retention.sh --quick    fewer rows and rounds, in five minutes: whether it works, not how fast it is
#   scripts/bench_retention.sh a c        only these:
#
# a: nine tenths of 5,000,000 rows, no index on their time: against a loop of DELETE … LIMIT 10000 by ctid until none is left;
#    and once, for a minute at most, against the same loop that takes the oldest first. The first goes on where it was only
#    because a scan of a table over a quarter of shared_buffers begins where the last one ended (synchronize_seqscans)
# b: the same with the index, against one big DELETE, each beside the same load and with a streaming replica
# c: the same rows summarized, against the two plain statements
# d: 36 partitions dropped beside reports of five seconds, one after another: against pg_partman, which may be missing
#
# Servers, load and pgtend share the machine, as they would not in production: compare the ratios, not the rates. The
# server is one of its own in a temporary folder, with fsync; the folder must lie on a real disk. Environment:
#
#   BENCH_DIR    where that folder is made (/var/tmp); with copies, WAL and replica it takes up to 20 GB
#   PGTEND       a binary to measure, instead of building this one
#   PG_BIN       the programs of the PostgreSQL to measure with (the newest under /usr/lib/postgresql)
#   PAIRS        how often the two take turns (3)
#   QUICK=1      the same as --quick
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
command_line="${PAIRS:+PAIRS=$PAIRS }${QUICK:+QUICK=$QUICK }scripts/bench_retention.sh${*:+ $*}"

# shellcheck source=scripts/server.sh
. scripts/server.sh

parts=
for word in "$@"; do
    case $word in
    --quick) QUICK=1 ;;
    a | b | c | d) parts+=" $word" ;;
    *) die "unknown word $word; there are --quick, a, b, c and d" ;;
    esac
done
parts=${parts:-a b c d}
if [ -n "${QUICK:-}" ]; then
    rows=300000 pairs=${PAIRS:-1} quiet_s=5 limit=4m
else
    rows=5000000 pairs=${PAIRS:-3} quiet_s=10 limit=10m
fi
old=$((rows * 9 / 10))
# The load is warm after this long, and the last lines of its log have left its buffer this long after the end.
warm_s=5 tail_s=3
# shellcheck source=scripts/load.sh
. scripts/load.sh
# shellcheck source=scripts/results.sh
. scripts/results.sh

scripts/deps.sh bench
build_pgtend release
tables_sql=$PWD/scripts/bench_retention.sql
partitions_sql=$PWD/scripts/bench_partitions.sql
find_server pgbench
make_folders "${BENCH_DIR:-/var/tmp}"
insist_on_disk
# As scripts/bench.sh has it, and room for a replica that lies behind by a whole deletion.
memory_mb=$(awk '/^MemTotal/ { printf "%d", $2 / 1024 }' /proc/meminfo)
buffers_mb=$((memory_mb / 4 < 1024 ? memory_mb / 4 : 1024))
settings=(shared_buffers="${buffers_mb}MB" max_wal_size=4GB min_wal_size=2GB checkpoint_timeout=30min wal_keep_size=8GB TimeZone=UTC)
start_server "${settings[@]}"

url="postgresql://postgres@/work?host=$sockets&port=5432"
config() { printf '[databases.main]\nurl = "%s"\n[jobs.job]\ntimeout = "%s"\n%s\n' "$url" "$limit" "$2" >"$folder/$1.toml"; }
config retention '[jobs.job.retention]
tables = [{ table = "public.error_log", keep = "90 days", column = "created_at" }]'
config summarize '[jobs.job.summarize]
table = "public.error_log"
into = "public.error_log_summary"
older_than = "90 days"
time = "created_at"
date = "date"
by = ["category", "code"]
count = "count"'
config drop '[jobs.job.retention]
tables = [{ table = "public.events_1", keep = "12 months", max_partitions = 36 }]'

# What each is called in the tables, and how it is done.
pgtend() { "$pgtend" run --config "$folder/$1.toml" --log-level warn --json job >>"$folder/said.txt" 2>>"$folder/pgtend.log"; }
retention() { pgtend retention; }
summarize() { pgtend summarize; }
# What waits until its time is over has not failed: how many went is counted.
drop() { pgtend drop || grep -q -E '"(partial|timed_out)"' "$folder/said.txt"; }
loop() { sql -d work -c "CALL delete_in_batches('')"; }
sorted() { PGOPTIONS='-c statement_timeout=1min' sql -d work -c "CALL delete_in_batches('ORDER BY created_at')" 2>>"$folder/said.txt" || true; }
delete() { sql -d work -c "DELETE FROM error_log WHERE created_at < now() - interval '90 days'"; }
# The cutoff is bound once, as it has to be; what is written in between is lost all the same.
statements() {
    sql -d work <<'SQL'
SELECT now() - interval '90 days' AS before \gset
INSERT INTO error_log_summary (date, category, code, count)
SELECT (created_at AT TIME ZONE 'UTC')::date, category, code, count(*) FROM error_log WHERE created_at < :'before' GROUP BY 1, 2, 3
ON CONFLICT (date, category, code) DO UPDATE SET count = error_log_summary.count + excluded.count;
DELETE FROM error_log WHERE created_at < :'before';
SQL
}
partman() { sql -d work -c "CALL partman.run_maintenance_proc()"; }

prepare() {
    [ ! -e "$folder/prepared" ] || return 0
    say "making $rows errors, $old of them old"
    createdb original
    sql -d original -v rows="$rows" -f "$tables_sql"
    table_mb=$(sql -d original -c "SELECT pg_total_relation_size('error_log') / (1 << 20)")
    sql -d original <<'SQL'
CREATE PROCEDURE delete_in_batches(sorted text) LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
BEGIN
    LOOP
        EXECUTE 'DELETE FROM error_log WHERE ctid IN
            (SELECT ctid FROM error_log WHERE created_at < now() - interval ''90 days'' ' || sorted || ' LIMIT 10000)';
        GET DIAGNOSTICS n = ROW_COUNT;
        COMMIT;
        EXIT WHEN n = 0;
    END LOOP;
END $$;
SQL
    # The files of the WAL that are to be used again and again, as on a server that has run for a while.
    sql -c "SELECT count(pg_logical_emit_message(false, 'bench', repeat('x', 1 << 20))) FROM generate_series(1, 1536)" >/dev/null
    sql -c CHECKPOINT
    : >"$folder/prepared"
}

# Does one of them; how long it took goes to `took`, and since when and until when to `from` and `to`.
timed() {
    : >"$folder/said.txt"
    from=$EPOCHREALTIME
    "$1" || die "$1 failed: $(tail -n 3 "$folder/said.txt")"
    to=$EPOCHREALTIME
    took=$(awk "BEGIN { printf \"%.3f\", $to - $from }")
}

left_over() { sql -d work -c "SELECT count(*) FROM error_log WHERE created_at < now() - interval '90 days'"; }
left() {
    local n
    n=$(left_over)
    [ "$n" = 0 ] || die "$1 left $n of $old rows: $(tail -n 3 "$folder/said.txt")"
}

turn_a() {
    local gone
    fresh_copy original work
    sql -d work -c "DROP INDEX error_log_created_at_idx" -c CHECKPOINT
    timed "$1"
    gone=$((old - $(left_over)))
    [ "$gone" = "$old" ] || [ "$1" = sorted ] || die "$1 deleted $gone of $old rows: $(tail -n 3 "$folder/said.txt")"
    result a "$1" "$took" "$(awk "BEGIN { printf \"%.0f\", $gone / $took }")"
}

turn_b() {
    local quiet_from lag
    fresh_copy original work
    wait_until "the replica has caught up" "$server" caught_up
    : >"$folder/lag.txt"
    watch_lag &
    children+=($!)
    start_load "${load[@]}" -R "$rate"
    quiet_from=$EPOCHREALTIME
    sleep "$quiet_s"
    timed "$1"
    end_load
    wait_until "the replica has caught up" "$server" caught_up
    end_last
    left "$1"
    lag=$(awk -v from="$from" '$1 >= from { if ($2 > s) s = $2; if ($3 > m) m = $3 } END { printf "%.1f %.0f", s, m / 1048576 }' "$folder/lag.txt")
    # shellcheck disable=SC2086 # two words
    result b "$1" "$took" "$(awk "BEGIN { printf \"%.0f\", $old / $took }")" "$(p99 "$quiet_from" "$from")" "$(p99 "$from" "$to")" $lag
}

turn_c() {
    local counted
    fresh_copy original work
    timed "$1"
    left "$1"
    counted=$(sql -d work -c "SELECT sum(count) FROM error_log_summary")
    [ "$counted" = "$old" ] || die "$1 counted $counted of $old rows"
    result c "$1" "$took" "$(awk "BEGIN { printf \"%.0f\", $old / $took }")"
}

turn_d() {
    local quiet_from kept
    fresh_copy partitioned work
    report &
    children+=($!)
    # Ended as the last child is, and so before the reports are.
    start_load pgbench -c 8 -j 1 -R 200 -f "$folder/insert.sql" -f "$folder/read.sql" work
    quiet_from=$EPOCHREALTIME
    sleep "$quiet_s"
    # Not in the moment between two of them.
    wait_until "a report has just begun" "$server" reporting
    timed "$1"
    end_load
    end_last
    kept=$(sql -d work -c "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events_1'::regclass
        AND inhrelid::regclass::text < 'events_1_p' || to_char(now() - interval '12 months', 'YYYY_MM')")
    result d "$1" "$took" "$(longest "$quiet_from" "$from")" "$(longest "$from" "$to")" $((36 - kept))
}

# One report after the other, each of five seconds, none of which anybody should have to wait for.
report() {
    while :; do
        sql -d work -c "BEGIN; SELECT count(*) FROM events_1; SELECT pg_sleep(5); COMMIT" >/dev/null 2>>"$folder/report.log" || true
    done
}

reporting() { [ "$(sql -c "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND clock_timestamp() < query_start + interval '1 second'")" = 1 ]; }

start_replica() {
    local setting options=()
    server_folder "$folder/replica"
    "${as_server[@]}" "$bin/pg_basebackup" --write-recovery-conf --wal-method=stream --checkpoint=fast \
        --pgdata="$folder/replica" --dbname="host=$sockets port=5432 user=postgres" >"$folder/replica.log" 2>&1
    for setting in listen_addresses= unix_socket_directories="$sockets" port=5433 "${settings[@]}"; do
        options+=(-c "$setting")
    done
    "${as_server[@]}" "$bin/postgres" -D "$folder/replica" "${options[@]}" >>"$folder/replica.log" 2>&1 &
    children+=($!)
    wait_until "the replica follows" $! caught_up
}

# How far the replica is: when, seconds, bytes.
lag() {
    sql -F ' ' -c "SELECT extract(epoch FROM clock_timestamp()), coalesce(extract(epoch FROM replay_lag), 0),
        pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) FROM pg_stat_replication"
}
watch_lag() {
    while :; do
        lag >>"$folder/lag.txt" 2>>"$folder/replica.log" || true
        sleep 0.2
    done
}
caught_up() { [ "$(sql -c "SELECT count(*) FROM pg_stat_replication WHERE pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) = 0")" = 1 ]; }

bench_a() {
    prepare
    say "a, what, seconds, rows/s:"
    turns turn_a retention loop
    turn_a sorted
}

bench_b() {
    local most
    prepare
    # What an application does with its errors: it looks some up, and writes new ones.
    cat >"$folder/look.sql" <<SQL
\set n random(1, $rows)
SELECT message, context FROM error_log WHERE id = :n;
SQL
    cat >"$folder/log.sql" <<SQL
\set n random(1, 1000)
INSERT INTO error_log (code, category, message, context, project_id, agent_id)
VALUES (1000 + :n % 8, 'network', 'request was refused: connection reset by peer', '{"attempt": 1}', md5('project' || :n)::uuid, 'agent-' || :n % 50);
SQL
    load=(pgbench -M prepared -c 8 -j 1 -f "$folder/look.sql@70" -f "$folder/log.sql@30" work)
    start_replica
    fresh_copy original work
    say "how much load the server takes"
    most=$("${load[@]}" -n -T "$quiet_s" 2>>"$folder/load.log" | awk '/^tps/ { printf "%d", $3 }')
    rate=$((most / 4))
    say "$most transactions/s at most; beside the deletions $rate/s"
    say "b, what, seconds, rows/s, p99 quiet and during in ms, the most that the replica was behind in seconds and MiB:"
    turns turn_b retention delete
    end_last
}

bench_c() {
    prepare
    say "c, what, seconds, rows/s:"
    turns turn_c summarize statements
}

bench_d() {
    say "making 53 partitions"
    createdb partitioned
    # Of 48 months ago to 4 months ahead; 36 of them are over a year old. Rows in all of them.
    sql -d partitioned -v count=1 -v behind=48 -v ahead=4 -f "$partitions_sql" >/dev/null
    sql -d partitioned -c "INSERT INTO events_1 (id, at, what)
        SELECT n, date_trunc('month', now()) - interval '48 months' + n * interval '20 minutes', 'something happened'
        FROM generate_series(1, 72 * 1460) AS n" -c "ANALYZE events_1"
    cat >"$folder/insert.sql" <<'SQL'
INSERT INTO events_1 (id, what) VALUES (floor(random() * 1e15)::bigint, 'something happened');
SQL
    cat >"$folder/read.sql" <<'SQL'
SELECT count(*) FROM events_1 WHERE at > now() - interval '1 hour';
SQL
    others=()
    if [ "$(sql -c "SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_partman'")" = 1 ]; then
        others=(partman)
        sql -d partitioned -c "CREATE SCHEMA partman" -c "CREATE EXTENSION pg_partman SCHEMA partman" -c "
            INSERT INTO partman.part_config (parent_table, control, partition_type, partition_interval, datetime_string, premake,
                retention, retention_keep_table, infinite_time_partitions)
            VALUES ('public.events_1', 'at', 'native', '1 month', 'YYYY_MM', 1, '12 months', false, true)"
    else
        say "without pg_partman, which this server does not have"
    fi
    say "d, what, seconds, longest statement of the load quiet and meanwhile in ms, partitions dropped:"
    turns turn_d drop "${others[@]}"
}

for part in $parts; do
    "bench_$part"
done

versions="$("$pgtend" --version), $(postgres --version | awk '{ print $1, $3 }' | sed 's/^postgres/PostgreSQL/')"
case $parts in *d*)
    [ ${#others[@]} -eq 0 ] || versions+=", pg_partman $(sql -c "SELECT default_version FROM pg_available_extensions WHERE name = 'pg_partman'")"
    ;;
esac
cat <<TABLES

Measured with $versions, $(rustc --version | cut -d' ' -f1,2), Linux $(uname -r),
$(nproc) cores shared by servers, load and tool, $memory_mb MiB of memory, $disk; fsync on, autovacuum on, shared_buffers ${buffers_mb} MB.
Medians of $pairs rounds (least–most), taking turns on identical copies. To repeat: \`$command_line\`
TABLES
case $parts in *a*)
    cat <<TABLES

Deleting $old of $rows rows ($table_mb MiB with indexes), in random order of time, no index on it:

| | seconds | rows/s | times the loop's rate | goal |
|---|--:|--:|--:|---|
| \`retention\` | $(column a retention 3 | middle) | $(column a retention 4 | middle '%.0f') | $(ratios a retention loop 4 | middle) | $(ratios a retention loop 4 | goal "10 times" 10) |
| \`DELETE … WHERE ctid IN (SELECT … LIMIT 10000)\` until none is left | $(column a loop 3 | middle) | $(column a loop 4 | middle '%.0f') | 1 | |
| the same, \`ORDER BY created_at\`, for a minute at most | $(column a sorted 3 | middle) | $(column a sorted 4 | middle '%.0f') | $(paste <(column a sorted 4) <(column a loop 4 | head -n 1) | awk '{ print $1 / $2 }' | middle) | |
TABLES
    ;;
esac
case $parts in *b*)
    cat <<TABLES

The same with the index, beside $rate transactions/s, a quarter of the most that the server took, and with a replica:

| | rows/s | of the DELETE's rate | p99 quiet, ms | p99 meanwhile, ms | of the quiet p99 | replica behind at most, s | MiB |
|---|--:|--:|--:|--:|--:|--:|--:|
TABLES
    declare -A names=([retention]="\`retention\`" [delete]="one \`DELETE\`")
    for how in retention delete; do
        printf '| %s | %s | %s | %s | %s | %s | %s | %s |\n' \
            "${names[$how]}" "$(column b $how 4 | middle '%.0f')" \
            "$(ratios b "$how" delete 4 | middle)" "$(column b $how 5 | middle)" "$(column b $how 6 | middle)" \
            "$(paste <(column b $how 6) <(column b $how 5) | awk '{ print $1 / $2 }' | middle)" "$(column b $how 7 | middle)" "$(column b $how 8 | middle '%.0f')"
    done
    cat <<TABLES

Goals: $(ratios b retention delete 4 | goal "half the rate of the DELETE" 0.5); $(paste <(column b retention 6) <(column b retention 5) |
        awk '{ print $1 / $2 }' | goal "a p99 of at most twice the quiet one" '' 2); $(column b retention 7 | goal "a replica never more than 10 s behind" '' 10).
TABLES
    ;;
esac
case $parts in *c*)
    cat <<TABLES

Summarizing the same rows by day, category and code, with the index:

| | seconds | rows/s | of the statements' rate | goal |
|---|--:|--:|--:|---|
| \`summarize\` | $(column c summarize 3 | middle) | $(column c summarize 4 | middle '%.0f') | $(ratios c summarize statements 4 | middle) | $(ratios c summarize statements 4 | goal "half" 0.5) |
| INSERT … SELECT … GROUP BY, then DELETE | $(column c statements 3 | middle) | $(column c statements 4 | middle '%.0f') | 1 | |
TABLES
    ;;
esac
case $parts in *d*)
    cat <<TABLES

36 monthly partitions dropped, within $limit, beside reports of 5 s each, one after another, and 200 statements a second that
insert and read:

| | seconds | dropped | longest statement of the load before, ms | meanwhile, ms | goal |
|---|--:|--:|--:|--:|---|
| \`retention\` | $(column d drop 3 | middle) | $(column d drop 6 | middle) | $(column d drop 4 | middle) | $(column d drop 5 | middle) | $(column d drop 5 | goal "under 500 ms" '' 500) |
| pg_partman, \`run_maintenance_proc\` | $(column d partman 3 | middle) | $(column d partman 6 | middle) | $(column d partman 4 | middle) | $(column d partman 5 | middle) | |
TABLES
    ;;
esac
