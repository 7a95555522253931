# shellcheck shell=bash disable=SC2154 # folder is set by server.sh
# What a bench does beside its load, and reads from it: sourced after server.sh. The load is a pgbench whose transactions are
# due at a rate of their own, so that one which had to wait for a client is not flattered.
#
#   start_load PGBENCH…      starts it, and returns when it is warm
#   end_load                 ends it, after the last lines of its log have left its buffer; it must still run
#   p99 FROM TO              of the transactions that were due in that time, in milliseconds
#   longest FROM TO          statement of those that ran in that time, in milliseconds, not counting how late it was sent
#   middle [FORMAT]          of the numbers on standard input: the median, and in parentheses the least and the most
#   fresh_copy FROM TO       a copy of a database, all of it on disk

warm_s=${warm_s:-5}
tail_s=${tail_s:-3}

start_load() {
    rm -f "$folder"/load.[0-9]*
    "$@" -n -T 7200 -l --log-prefix="$folder/load" >"$folder/load.log" 2>&1 &
    children+=($!)
    sleep "$warm_s"
}

end_load() {
    sleep "$tail_s"
    kill -0 "${children[-1]}" 2>/dev/null || die "the load ended early"
    end_last
}

p99() {
    cat "$folder"/load.[0-9]* | awk -v from="$1" -v to="$2" '{ at = $5 + ($6 - $3) / 1e6 } at >= from && at < to { print $3 }' | sort -n |
        awk '{ a[NR] = $1 } END { i = int(NR * 0.99); if (i < NR * 0.99) i++; printf "%.2f", (NR ? a[i] / 1000 : 0) }'
}

longest() {
    cat "$folder"/load.[0-9]* | awk -v from="$1" -v to="$2" '
        { ran = ($3 - $7) / 1e6; ended = $5 + $6 / 1e6 } ended >= from && ended - ran < to && ran > most { most = ran }
        END { printf "%.1f", most * 1000 }'
}

middle() {
    sort -n | awk -v format="${1:-%.3g}" '{ a[NR] = $1 } END {
        if (!NR) { printf "–"; exit }
        printf format, (a[int((NR + 1) / 2)] + a[int(NR / 2) + 1]) / 2
        if (NR > 1) printf " (" format "–" format ")", a[1], a[NR] }'
}

fresh_copy() {
    local how=
    [ "$(sql -c 'SHOW server_version_num')" -lt 150000 ] || how='STRATEGY file_copy'
    sql -c "SET client_min_messages = error" -c "DROP DATABASE IF EXISTS $2 WITH (FORCE)" -c "CREATE DATABASE $2 TEMPLATE $1 $how" -c CHECKPOINT
}
