#!/usr/bin/env bash
# Measures `partitions` of the release build against pg_partman and pg-partsmith, and prints tables ready to be pasted.
# It asserts nothing.
#
#   scripts/bench_partitions.sh          all of it, in about twenty minutes once built
#   scripts/bench_partitions.sh --quick  fewer tables and fewer rounds, in three: whether it works, not how fast it is
#   scripts/bench_partitions.sh idle     only the one, or
#   scripts/bench_partitions.sh make     only the other of these:
#
# idle: looking through 1,000 tables of 24 monthly partitions each, when there is nothing to do; and how many statements
#       that takes as the tables grow in number.
# make: 12 partitions each for 200 tables, beside a load that inserts into them and reads them.
#
# All take turns on the same tables, on one server, which shares the machine with them and the load: compare the ratios.
# The server is one of its own in a temporary folder, with fsync; the folder must lie on a real disk. A peer that is not
# there is left out. Environment:
#
#   BENCH_DIR    where that folder is made (/var/tmp); it takes up to 3 GB
#   PGTEND       a binary to measure, instead of building this one
#   PARTSMITH    the `pg-partsmith` to compare with, instead of installing PyPI's for the while; `no` is without it
#   PG_BIN       the programs of the PostgreSQL to measure with (the newest under /usr/lib/postgresql)
#   ROUNDS       how often they take turns (5)
#   QUICK=1      the same as --quick
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
command_line="${ROUNDS:+ROUNDS=$ROUNDS }${QUICK:+QUICK=$QUICK }scripts/bench_partitions.sh${*:+ $*}"

# shellcheck source=scripts/server.sh
. scripts/server.sh

parts='idle make'
for word in "$@"; do
    case $word in
    --quick) QUICK=1 ;;
    idle | make) parts=$word ;;
    *) die "unknown word $word; there are --quick, idle and make" ;;
    esac
done
if [ -n "${QUICK:-}" ]; then
    most=100 sizes='1 10 100' busy=20 rounds=${ROUNDS:-2} quiet_s=3
else
    most=1000 sizes='10 100 1000' busy=200 rounds=${ROUNDS:-5} quiet_s=10
fi
# The load is warm after this long, and the last lines of its log have left its buffer this long after the end.
warm_s=2 tail_s=2
# Transactions of the load a second: far from what the server could take, so that a wait is one for a lock.
rate=200

# shellcheck source=scripts/load.sh
. scripts/load.sh

scripts/deps.sh bench
build_pgtend release
tables_sql=$PWD/scripts/bench_partitions.sql
find_server pgbench
make_folders "${BENCH_DIR:-/var/tmp}"
insist_on_disk

tools=(plan run)
names=("\`pgtend plan\`" "\`pgtend run\`")
partman=
if [ -e "$("$bin/pg_config" --sharedir 2>/dev/null || echo "/usr/share/postgresql/$(basename "$(dirname "$bin")")")/extension/pg_partman.control" ]; then
    partman=yes
    tools+=(partman partman_clock)
    names+=("pg_partman, \`run_maintenance_proc\`" "the same, \`infinite_time_partitions\`")
else
    say "without pg_partman, which this server does not have"
fi
partsmith=${PARTSMITH:-}
if [ -z "$partsmith" ]; then
    if python3 -m venv "$folder/venv" >"$folder/venv.txt" 2>&1 &&
        timeout 300 "$folder/venv/bin/pip" install --quiet 'pg-partsmith[cli]' >>"$folder/venv.txt" 2>&1; then
        partsmith=$folder/venv/bin/pg-partsmith
    else
        say "without pg-partsmith, which could not be installed: $(tail -n 1 "$folder/venv.txt")"
        partsmith=no
    fi
fi
if [ "$partsmith" != no ]; then
    tools+=(smith_plan smith_apply)
    names+=("\`pg-partsmith plan\`" "\`pg-partsmith apply\`")
fi

# Memory and WAL as for a server that does some work. Statements are counted for `idle` alone, at the top level.
start_server shared_buffers=512MB max_wal_size=4GB min_wal_size=2GB checkpoint_timeout=30min TimeZone=UTC \
    shared_preload_libraries=pg_stat_statements log_lock_waits=on
unset PG_PARTSMITH_DSN PG_PARTSMITH_DSN_FILE

# The tables `public.events_N` of a database, each with partitions from $3 months before this one to $4 after it.
prepare() {
    local database=$1 count=$2 behind=$3 ahead=$4
    createdb "$database"
    sql -d "$database" -v count="$count" -v behind="$behind" -v ahead="$ahead" -f "$tables_sql" >/dev/null
    if [ -n "$partman" ]; then
        # It makes partitions until the whole months from now to the beginning of the last are `premake`, rounded: which
        # number means 12 depends on the day.
        sql -d "$database" -c "CREATE SCHEMA partman" -c "CREATE EXTENSION pg_partman SCHEMA partman" -c "
            INSERT INTO partman.part_config
                (parent_table, control, partition_type, partition_interval, datetime_string, premake)
            SELECT 'public.events_' || n, 'at', 'native', '1 month', 'YYYY_MM',
                   round(extract(epoch FROM age(date_trunc('month', now()) + interval '12 months', now()))
                         / extract(epoch FROM interval '1 month'))
            FROM generate_series(1, $count) n"
    fi
}

# How pgtend and pg-partsmith are told of the first $2 tables of a database.
configure() {
    local database=$1 count=$2 n
    {
        printf '[databases.main]\nurl = "postgresql://postgres@/%s?host=%s&port=5432"\n' "$database" "$sockets"
        printf '[jobs.ahead]\ntimezone = "UTC"\ntimeout = "1h"\n[jobs.ahead.partitions]\ntables = [\n'
        for ((n = 1; n <= count; n++)); do
            printf '    { table = "public.events_%d", every = "1 month", ahead = 12 },\n' "$n"
        done
        printf ']\n'
    } >"$folder/pgtend-$count.toml"
    # Its 13 have the current month among them.
    python3 - "$count" "postgresql://postgres@/$database?host=$sockets&port=5432" >"$folder/partsmith-$count.json" <<'PYTHON'
import json, sys
table = {"partition_column": "at", "granularity": "month", "create_ahead_count": 13, "retention_count": 1000}
tables = [{"table_name": f"events_{n}", **table} for n in range(1, int(sys.argv[1]) + 1)]
json.dump({"dsn": sys.argv[2], "tables": tables}, sys.stdout)
PYTHON
}

plan() { "$pgtend" plan --config "$folder/pgtend-$1.toml" --log-level warn ahead; }
run() { "$pgtend" run --config "$folder/pgtend-$1.toml" --log-level warn ahead; }
# As it comes it goes by the newest row, which it looks for in one partition after the other; or by the clock, as we do.
partman() { sql -d "$database" -c "CALL partman.run_maintenance_proc()"; }
partman_clock() { partman; }
smith_plan() { "$partsmith" plan --config "$folder/partsmith-$1.json"; }
smith_apply() { "$partsmith" apply --config "$folder/partsmith-$1.json"; }

# Runs one of them over $2 tables; how long it took goes to `took`.
timed() {
    local tool=$1 from
    case $tool in partman*)
        sql -d "$database" -c "UPDATE partman.part_config SET infinite_time_partitions = $([ "$tool" = partman ] && echo false || echo true)"
        ;;
    esac
    from=$EPOCHREALTIME
    "$tool" "$2" >"$folder/said.txt" 2>>"$folder/$tool.log" || die "$tool failed: $(tail -n 3 "$folder/said.txt")"
    took=$(awk "BEGIN { printf \"%.3f\", $EPOCHREALTIME - $from }")
}

partitions() { sql -d "$database" -c "SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent WHERE c.relkind = 'p'"; }

# The order of round $1: each is once behind every other.
turn() {
    local i
    for ((i = 0; i < ${#tools[@]}; i++)); do
        printf '%s\n' "${tools[($1 + i) % ${#tools[@]}]}"
    done
}

bench_idle() {
    local round tool size
    database='idle'
    say "making $most tables of 24 partitions, which takes minutes"
    prepare idle "$most" 11 12
    sql -d idle -c "CREATE EXTENSION pg_stat_statements" -c CHECKPOINT \
        -c "VACUUM ANALYZE pg_class, pg_inherits, pg_attribute, pg_constraint, pg_depend, pg_index, pg_description"
    before=$(partitions)
    for size in $sizes; do
        configure idle "$size"
        # The first run makes the history's schema; that is not what is counted.
        [ -e "$folder/seen" ] || timed run "$size"
        : >"$folder/seen"
        for tool in "${tools[@]}"; do
            # All of it is one statement.
            case $tool in partman*) continue ;; esac
            sql -d idle -c "SELECT pg_stat_statements_reset()" >/dev/null
            timed "$tool" "$size"
            printf '%s %s %s\n' "$tool" "$size" \
                "$(sql -d idle -c "SELECT sum(calls) FROM pg_stat_statements WHERE query NOT LIKE '%pg_stat_statements%'")" |
                tee -a "$folder/statements" | sed 's/^/bench:   statements of /' >&2
        done
    done
    [ -z "$partman" ] || timed partman "$most"
    say "what, seconds:"
    for ((round = 0; round < rounds; round++)); do
        for tool in $(turn "$round"); do
            timed "$tool" "$most"
            printf '%s %s\n' "$tool" "$took" | tee -a "$folder/idle" | sed 's/^/bench:   /' >&2
        done
    done
    [ "$(partitions)" = "$before" ] || die "there was something to do: $before partitions became $(partitions)"
    sql -c "DROP DATABASE idle" -c CHECKPOINT
}

bench_make() {
    local round tool quiet_from from to made
    say "making $busy tables of one partition"
    prepare make_original "$busy" 0 0
    configure make "$busy"
    database='make'
    cat >"$folder/insert.sql" <<SQL
\set n random(1, $busy)
INSERT INTO events_:n (id, what) VALUES (floor(random() * 1e15)::bigint, 'something happened');
SQL
    cat >"$folder/read.sql" <<SQL
\set n random(1, $busy)
SELECT count(*) FROM events_:n WHERE at > now() - interval '1 hour';
SQL
    say "what, seconds, longest statement of the load quiet and meanwhile in ms:"
    for ((round = 0; round < rounds; round++)); do
        for tool in $(turn "$round"); do
            case $tool in *plan | partman) continue ;; esac
            fresh_copy make_original make
            start_load pgbench -c 8 -j 1 -R "$rate" -f "$folder/insert.sql" -f "$folder/read.sql" make
            quiet_from=$EPOCHREALTIME
            sleep "$quiet_s"
            from=$EPOCHREALTIME
            timed "$tool" "$busy"
            to=$EPOCHREALTIME
            end_load
            made=$(($(partitions) - busy))
            [ "$made" -eq $((12 * busy)) ] || die "$tool made $made partitions instead of $((12 * busy))"
            printf '%s %s %s %s\n' "$tool" "$took" "$(longest "$quiet_from" "$from")" "$(longest "$from" "$to")" |
                tee -a "$folder/make" | sed 's/^/bench:   /' >&2
        done
    done
}

# The median of column $3 of the lines of $2 in file $1, and in parentheses the least and the most of them.
median() {
    awk -v tool="$2" -v column="$3" '$1 == tool { print $column }' "$folder/$1" | sort -n |
        awk '{ a[NR] = $1 } END { printf "%.4g (%s–%s)", (a[int((NR + 1) / 2)] + a[int(NR / 2) + 1]) / 2, a[1], a[NR] }'
}
# How many times the time of `pgtend run`, round by round; the median, the least and the most.
times() {
    awk -v tool="$2" '$1 == "run" { r[++i] = $2 } $1 == tool { t[++j] = $2 } END { for (n = 1; n <= j; n++) print t[n] / r[n] }' \
        "$folder/$1" | sort -n |
        awk '{ a[NR] = $1 } END { printf "%.3g (%.3g–%.3g)", (a[int((NR + 1) / 2)] + a[int(NR / 2) + 1]) / 2, a[1], a[NR] }'
}
statements() { awk -v tool="$1" '$1 == tool { printf "%s%s", (n++ ? " / " : ""), $3 } END { if (!n) printf "–" }' "$folder/statements"; }

for part in $parts; do
    "bench_$part"
done

versions="$("$pgtend" --version), $(postgres --version | awk '{ print $1, $3 }' | sed 's/^postgres/PostgreSQL/')"
if [ -n "$partman" ]; then
    versions+=", pg_partman $(sql -c "SELECT default_version FROM pg_available_extensions WHERE name = 'pg_partman'")"
fi
[ "$partsmith" = no ] || versions+=", $("$partsmith" --version | head -n 1)"
cat <<TABLES

Measured with $versions, $(rustc --version | cut -d' ' -f1,2), Linux $(uname -r),
$(nproc) cores shared by server, load and tool, $disk; fsync on. Medians of $rounds rounds (least–most), taking turns.
To repeat: \`$command_line\`
TABLES
case $parts in *idle*)
    cat <<TABLES

$most tables with 24 monthly partitions each, a row in the current one, no default partition, nothing to do:

| | seconds | times \`pgtend run\` | statements for ${sizes// / \/ } tables |
|---|--:|--:|--:|
TABLES
    for i in "${!tools[@]}"; do
        printf '| %s | %s | %s | %s |\n' "${names[i]}" "$(median idle "${tools[i]}" 2)" "$(times idle "${tools[i]}")" \
            "$(statements "${tools[i]}")"
    done
    ;;
esac
case $parts in *make*)
    cat <<TABLES

12 partitions each made for $busy tables beside $rate statements a second that insert into them and read them:

| | seconds | times \`pgtend run\` | longest statement of the load before, ms | meanwhile, ms |
|---|--:|--:|--:|--:|
TABLES
    for i in "${!tools[@]}"; do
        case ${tools[i]} in *plan | partman) continue ;; esac
        printf '| %s | %s | %s | %s | %s |\n' "${names[i]/the same/pg_partman}" "$(median make "${tools[i]}" 2)" "$(times make "${tools[i]}")" \
            "$(median make "${tools[i]}" 3)" "$(median make "${tools[i]}" 4)"
    done
    ;;
esac
