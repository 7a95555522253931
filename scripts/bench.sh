#!/usr/bin/env bash
# Measures the release build, and prints tables ready to be pasted. It asserts nothing.
#
#   scripts/bench.sh             all of it, in about nine minutes once built
#   scripts/bench.sh --quick     fewer rows and fewer pairs, in three minutes: whether it works, not how fast it is
#   scripts/bench.sh expire      only the one, or
#   scripts/bench.sh idle        only the other of these:
#
# expire: `pgtend run` of such a job against one `DELETE`, of the same half of a table, each beside the same load.
# idle: what a daemon with 100 jobs costs while none of them is due.
#
# Server, load and pgtend share the machine, as they would not in production: compare the ratios, not the rates. The
# server is one of its own in a temporary folder, with fsync; the folder must lie on a real disk. Environment:
#
#   BENCH_DIR    where that folder is made (/var/tmp); with all copies it takes up to 8 GB
#   PGTEND       a binary to measure, instead of building this one
#   PG_BIN       the programs of the PostgreSQL to measure with (the newest under /usr/lib/postgresql)
#   PAIRS        how often expire and DELETE take turns (5)
#   QUICK=1      the same as --quick
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
command_line="${PAIRS:+PAIRS=$PAIRS }${QUICK:+QUICK=$QUICK }scripts/bench.sh${*:+ $*}"

# shellcheck source=scripts/server.sh
. scripts/server.sh

parts='expire idle'
for word in "$@"; do
    case $word in
    --quick) QUICK=1 ;;
    expire | idle) parts=$word ;;
    *) die "unknown word $word; there are --quick, expire and idle" ;;
    esac
done
if [ -n "${QUICK:-}" ]; then
    rows=400000 pairs=${PAIRS:-2} quiet_s=6 idle_s=20
else
    rows=2000000 pairs=${PAIRS:-5} quiet_s=10 idle_s=60
fi
# The load is warm after this long, and the last lines of its log have left its buffer this long after the deletion.
warm_s=5 tail_s=3
# shellcheck source=scripts/load.sh
. scripts/load.sh

scripts/deps.sh demo
build_pgtend release
fixture=$PWD/scripts/bench_sessions.sql
find_server pgbench
make_folders "${BENCH_DIR:-/var/tmp}"
insist_on_disk
# A quarter of the memory, as the manual advises, and no more than the tables fill. Room for the WAL of one deletion, so
# that the checkpoints are where we put them: before it; and they keep its files, as on a server that has run for a while,
# where few transactions wait for a new one to be made.
memory_mb=$(awk '/^MemTotal/ { printf "%d", $2 / 1024 }' /proc/meminfo)
buffers_mb=$((memory_mb / 4 < 1024 ? memory_mb / 4 : 1024))
start_server shared_buffers="${buffers_mb}MB" max_wal_size=4GB min_wal_size=2GB checkpoint_timeout=30min

prepare_sessions() {
    say "making $rows sessions, half of them expired"
    createdb sessions_original
    sql -d sessions_original -v rows="$rows" -f "$fixture"
    table_mb=$(sql -d sessions_original -c "SELECT pg_total_relation_size('sessions') / (1 << 20)")
    # What an application asks of its sessions: mostly whether a token is good, sometimes to extend it, now and then a
    # new one. It does not know which have expired; those it refuses, and does not extend.
    cat >"$folder/read.sql" <<SQL
\set n random(1, $rows)
SELECT lambda_id, expires_at, device_info FROM sessions WHERE token = encode(sha256(int8send(:n)), 'hex') AND expires_at > now();
SQL
    cat >"$folder/extend.sql" <<SQL
\set n random(1, $rows)
UPDATE sessions SET expires_at = now() + interval '30 days'
WHERE token = encode(sha256(int8send(:n)), 'hex') AND expires_at > now();
SQL
    cat >"$folder/login.sql" <<SQL
\set n random(1, $rows)
INSERT INTO sessions (lambda_id, token, expires_at, device_info)
SELECT 'user-' || :n % 200000, encode(sha256(uuid_send(gen_random_uuid())), 'hex'), now() + interval '30 days', '{"agent": "bench"}';
SQL
    load=(pgbench -M prepared -c 8 -j 1 -f "$folder/read.sql@70" -f "$folder/extend.sql@20" -f "$folder/login.sql@10" sessions)
    cat >"$folder/expire.toml" <<CONFIG
[databases.main]
url = "postgresql://postgres@/sessions?host=$sockets&port=5432"
[jobs.expire.expire]
tables = [{ table = "public.sessions", column = "expires_at" }]
CONFIG
}

# A fresh copy of the original; `unindexed` is without the index on expires_at.
copy_sessions() {
    fresh_copy sessions_original sessions
    if [ "$1" = unindexed ]; then
        sql -d sessions -c "DROP INDEX sessions_expires_at_idx" -c CHECKPOINT
    fi
}

delete_all() { psql -X -A -t -v ON_ERROR_STOP=1 -d sessions -c "DELETE FROM sessions WHERE expires_at < now()"; }
expire_all() { "$pgtend" run --config "$folder/expire.toml" --log-level warn --json expire 2>>"$folder/pgtend.log"; }

# One deletion beside the load: measure expire|delete indexed|unindexed. A line of results goes to results.
measure() {
    local how=$1 variant=$2 quiet_from quiet_to from to said deleted
    copy_sessions "$variant"
    start_load "${load[@]}" -R "$rate"
    quiet_from=$EPOCHREALTIME
    sleep "$quiet_s"
    quiet_to=$EPOCHREALTIME
    from=$quiet_to
    said=$("${how}_all")
    to=$EPOCHREALTIME
    end_load
    deleted=$(sed -n -e 's/^DELETE //p' -e 's/.*"rows_deleted": *\([0-9]*\).*/\1/p' <<<"$said")
    [ "$deleted" = $((rows / 2)) ] || die "$how deleted ${deleted:-an unknown number of} rows instead of $((rows / 2)): $said"
    awk -v how="$how" -v variant="$variant" -v rows="$deleted" -v s="$(awk "BEGIN { print $to - $from }")" \
        -v quiet="$(p99 "$quiet_from" "$quiet_to")" -v during="$(p99 "$from" "$to")" \
        'BEGIN { printf "%s %s %.1f %.0f %.2f %.2f %.2f\n", variant, how, s, rows / s, quiet, during, during / quiet }' |
        tee -a "$folder/results" | sed 's/^/bench:   /' >&2
}

bench_expire() {
    local pair how order
    prepare_sessions
    # The files of the WAL that are to be used again and again.
    sql -c "SELECT count(pg_logical_emit_message(false, 'bench', repeat('x', 1 << 20))) FROM generate_series(1, 1536)" >/dev/null
    sql -c CHECKPOINT
    copy_sessions indexed
    say "how much load the server takes"
    most=$("${load[@]}" -n -T "$quiet_s" 2>>"$folder/load.log" | awk '/^tps/ { printf "%d", $3 }')
    rate=$((most / 4))
    say "$most transactions/s at most; beside the deletions $rate/s"

    say "variant, what, seconds, rows/s, p99 quiet and during in ms, their ratio:"
    for ((pair = 0; pair < pairs; pair++)); do
        # Whoever is second may find another machine than the first did.
        if ((pair % 2)); then order=(delete expire); else order=(expire delete); fi
        for how in "${order[@]}"; do
            measure "$how" indexed
        done
    done
    for how in expire delete; do
        measure "$how" unindexed
    done
    sql -c "DROP DATABASE sessions" -c "DROP DATABASE sessions_original" -c CHECKPOINT
}

# The median of column $3 of a variant's runs, and in parentheses the least and the most of them.
median() {
    awk -v variant="$1" -v how="$2" -v column="$3" '$1 == variant && $2 == how { print $column }' "$folder/results" | sort -n |
        awk '{ a[NR] = $1 } END { m = (a[int((NR + 1) / 2)] + a[int(NR / 2) + 1]) / 2
            if (NR > 1) printf "%s (%s–%s)", (m < 100 ? sprintf("%.2f", m) : sprintf("%.0f", m)), a[1], a[NR]; else printf "%s", m }'
}
ratio_of_rates() {
    awk -v variant="$1" '$1 == variant { if ($2 == "expire") e[++i] = $4; else d[++j] = $4 }
        END { for (n = 1; n <= i; n++) printf "%.2f\n", e[n] / d[n] }' "$folder/results" | sort -n |
        awk '{ a[NR] = $1 } END { m = (a[int((NR + 1) / 2)] + a[int(NR / 2) + 1]) / 2
            if (NR > 1) printf "%.2f (%s–%s)", m, a[1], a[NR]; else printf "%.2f", m }'
}

# 100 jobs, of each kind and in many ways of saying when, none of which comes due within the next two hours.
idle_jobs() {
    local n zones=(UTC Europe/Lisbon America/New_York Asia/Kolkata) later
    for ((n = 0; n < 100; n++)); do
        later=$(TZ=${zones[n % 4]} date -d "@$(($(date +%s) + 10800 + n * 600))" '+%-M %-H')
        printf '[jobs.job-%d]\ntimezone = "%s"\ndatabase = "db%d"\n' "$n" "${zones[n % 4]}" $((n % $1))
        case $((n % 5)) in
        0) printf 'schedule = "%s * * *"\n' "$later" ;;
        1) printf 'schedule = "%s * * 1-5"\njitter = "10m"\n' "$later" ;;
        2) printf 'schedule = "17 %s 1,15 * *"\n' "$later" ;;
        3) printf 'after = ["job-%d"]\n' $((n - 1)) ;;
        4) printf 'window = "22:00-06:00"\nretry = { attempts = 3 }\n' ;;
        esac
        case $((n % 3)) in
        0) printf '[jobs.job-%d.sql]\nstatements = ["SELECT %d"]\n' "$n" "$n" ;;
        *) printf '[jobs.job-%d.expire]\ntables = [{ table = "public.sessions_%d", grace = "%d days" }]\n' "$n" "$n" "$n" ;;
        esac
    done
}
ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'; }

bench_idle() {
    local n databases port
    say "a daemon with 100 jobs, none of them due, on one database and on ten, for $((2 * idle_s)) s"
    for ((n = 0; n < 10; n++)); do
        createdb "idle_$n"
    done
    daemons=()
    for databases in 1 10; do
        port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
        {
            printf '[http]\nlisten = "127.0.0.1:%s"\n' "$port"
            for ((n = 0; n < databases; n++)); do
                printf '[databases.db%d]\nurl = "postgresql://postgres@/idle_%d?host=%s&port=5432"\n' "$n" "$n" "$sockets"
            done
            idle_jobs "$databases"
        } >"$folder/idle_$databases.toml"
        "$pgtend" daemon --config "$folder/idle_$databases.toml" >/dev/null 2>"$folder/daemon_$databases.log" &
        daemons+=($!)
        children+=($!)
        wait_until "the daemon reaches its databases" $! python3 -c \
            "import urllib.request as r; r.urlopen('http://127.0.0.1:$port/readyz', timeout=1)"
    done
    sleep "$idle_s"
    before=("$(ticks "${daemons[0]}")" "$(ticks "${daemons[1]}")")
    since=$EPOCHREALTIME
    sleep "$idle_s"
}

# What the $1st of the daemons has come to, which has $2 databases.
idle_line() {
    local pid=${daemons[$1]}
    awk -v databases="$2" -v ticks=$(($(ticks "$pid") - before[$1])) -v hertz="$(getconf CLK_TCK)" \
        -v seconds="$(awk "BEGIN { print $EPOCHREALTIME - $since }")" '
        $1 == "Rss:" { rss = $2 } $1 == "Pss:" { pss = $2 } $1 == "Anonymous:" { anonymous = $2 }
        END { printf "| %s | %.1f MiB | %.1f MiB | %.1f MiB | %.3f %% of a core |\n", databases, rss / 1024, pss / 1024,
            anonymous / 1024, 100 * ticks / hertz / seconds }' "/proc/$pid/smaps_rollup"
}

for part in $parts; do
    "bench_$part"
done

version=$("$pgtend" --version)
cat <<TABLES

Measured with $version, $(postgres --version | awk '{ print $1, $3 }' | sed 's/^postgres/PostgreSQL/'), $(rustc --version | cut -d' ' -f1,2), Linux $(uname -r),
$(nproc) cores shared by server, load and pgtend, $memory_mb MiB of memory, $disk; fsync on, shared_buffers ${buffers_mb} MB.
To repeat: \`$command_line\`
TABLES
case $parts in *expire*)
    cat <<TABLES

Deleting $((rows / 2)) of $rows sessions ($table_mb MiB with indexes) beside $rate transactions/s, a quarter of the most that
the server took. Median of $pairs runs each, in alternating order, on identical copies (least–most); without the index, one.

| | rows/s | of the DELETE's rate | p99 quiet, ms | p99 meanwhile, ms | of the quiet p99 |
|---|--:|--:|--:|--:|--:|
| \`expire\` | $(median indexed expire 4) | $(ratio_of_rates indexed) | $(median indexed expire 5) | $(median indexed expire 6) | $(median indexed expire 7) |
| one \`DELETE\` | $(median indexed delete 4) | 1 | $(median indexed delete 5) | $(median indexed delete 6) | $(median indexed delete 7) |
| \`expire\`, no index on expires_at | $(median unindexed expire 4) | $(ratio_of_rates unindexed) | $(median unindexed expire 5) | $(median unindexed expire 6) | $(median unindexed expire 7) |
| one \`DELETE\`, no index on expires_at | $(median unindexed delete 4) | 1 | $(median unindexed delete 5) | $(median unindexed delete 6) | $(median unindexed delete 7) |
TABLES
    ;;
esac
case $parts in *idle*)
    cat <<TABLES

An idle daemon with 100 jobs, after $idle_s s, over the $idle_s s that followed:

| databases | resident | proportional | its own | CPU |
|--:|--:|--:|--:|--:|
$(idle_line 0 1)
$(idle_line 1 10)
TABLES
    ;;
esac
