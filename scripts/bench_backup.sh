#!/usr/bin/env bash
# Measures `backup` of the release build against the pipes that one would write without it, all into the same S3 server, and
# prints tables ready to be pasted, with our goals beside them, met or not. It asserts nothing.
#
#   scripts/bench_backup.sh            all of it, in a quarter of an hour once built
#   scripts/bench_backup.sh --quick    a tenth of the rows, in five minutes: whether it works, not how fast it is
#   scripts/bench_backup.sh a c        only these:
#
# a: lines of a log, over 1 GB in a dump, packed with zstd:1: against `pg_dump -Fc -Z0 | cat`, which nothing can be faster
#    than, and against `pg_dump -Fc | gzip | aws s3 cp -`
# b: the same, packed with gzip:6: against `pg_dump -Fc -Z0 | pigz -p2 | aws s3 cp -`, and the size against `gzip -6`
# c: memory with parts of 8 MiB, for 1 GB and for 10 GB as stored. Both are real dumps of real tables, whose values the
#    server keeps packed; they go unpacked into the store, or there would be little of them
# d: what the SHA-256 and the reading back of a and b cost. The MD5 of each part, which the protocol asks for, is not told apart
#
# Server, S3 server and tools share the machine, as they would not in production: compare the ratios. The server is one of its
# own in a temporary folder, with fsync; the folder must lie on a real disk. A peer that is not there is left out. Environment:
#
#   BENCH_DIR    where that folder is made (/var/tmp); with what is stored it takes up to 25 GB
#   PGTEND       a binary to measure, instead of building this one
#   S3_SERVER    `s3s-fs` (the default: of crates.io, built once into .cache) or `moto`, which is slow
#   AWS          the `aws` to compare with, instead of the PATH's, or else PyPI's for the while; `no` is without it
#   PG_BIN       the programs of the PostgreSQL to measure with (the newest under /usr/lib/postgresql)
#   PAIRS        how often they take turns (3)
#   QUICK=1      the same as --quick
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
command_line="${PAIRS:+PAIRS=$PAIRS }${QUICK:+QUICK=$QUICK }scripts/bench_backup.sh${*:+ $*}"

# shellcheck source=scripts/server.sh
. scripts/server.sh
# shellcheck source=scripts/load.sh
. scripts/load.sh
# shellcheck source=scripts/results.sh
. scripts/results.sh

parts=
for word in "$@"; do
    case $word in
    --quick) QUICK=1 ;;
    a | b | c | d) parts+=" $word" ;;
    *) die "unknown word $word; there are --quick, a, b, c and d" ;;
    esac
done
parts=${parts:-a b c d}
# d is made of what a and b have measured.
case $parts in *d*) case $parts in *a* | *b*) ;; *) parts+=" a" ;; esac ;; esac
if [ -n "${QUICK:-}" ]; then
    rows=400000 few=300 many=1000 pairs=${PAIRS:-1}
else
    rows=4000000 few=1000 many=10000 pairs=${PAIRS:-3}
fi

scripts/deps.sh bench
build_pgtend release
root=$PWD
find_server pg_dump
make_folders "${BENCH_DIR:-/var/tmp}"
insist_on_disk
memory_mb=$(awk '/^MemTotal/ { printf "%d", $2 / 1024 }' /proc/meminfo)
buffers_mb=$((memory_mb / 4 < 1024 ? memory_mb / 4 : 1024))
start_server shared_buffers="${buffers_mb}MB" max_wal_size=4GB checkpoint_timeout=30min TimeZone=UTC

# The S3 server, with a bucket `bench`; its credentials are these.
export AWS_ACCESS_KEY_ID=bench AWS_SECRET_ACCESS_KEY=bench-secret AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_ENDPOINT_URL
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
endpoint=http://127.0.0.1:$port
s3=${S3_SERVER:-s3s-fs}
case $s3 in
s3s-fs)
    scripts/s3s.sh
    mkdir -p "$folder/s3/bench"
    .cache/s3s/bin/s3s-fs --host 127.0.0.1 --port "$port" --access-key "$AWS_ACCESS_KEY_ID" --secret-key "$AWS_SECRET_ACCESS_KEY" \
        "$folder/s3" >"$folder/s3.log" 2>&1 &
    s3_said="s3s-fs $(.cache/s3s/bin/s3s-fs --version | awk '{ print $2 }'), which keeps objects as files"
    ;;
moto)
    scripts/moto.sh
    PYTHONPATH=$root/.cache/moto python3 -m moto.server -H 127.0.0.1 -p "$port" >"$folder/s3.log" 2>&1 &
    s3_said="moto, which keeps objects in memory"
    ;;
*) die "unknown S3_SERVER $s3; there are s3s-fs and moto" ;;
esac
children+=($!)
listens() { python3 -c 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1])))' "$port"; }
wait_until "the S3 server listens" "${children[-1]}" listens
[ "$s3" != moto ] || python3 - "$endpoint" <<'PY'
import sys, urllib.request
auth = "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=any"
urllib.request.urlopen(urllib.request.Request(sys.argv[1] + "/bench", method="PUT", headers={"Authorization": auth}))
PY

aws=${AWS:-$(command -v aws || true)}
if [ -z "$aws" ] || ! "$aws" --version >/dev/null 2>&1; then
    aws=no
    if [ -z "${AWS:-}" ] && python3 -m venv "$folder/venv" >"$folder/venv.txt" 2>&1 &&
        timeout 300 "$folder/venv/bin/pip" install --quiet awscli >>"$folder/venv.txt" 2>&1; then
        aws=$folder/venv/bin/aws
    fi
fi
pigz=$(command -v pigz || true)
[ "$aws" != no ] || say "without the AWS CLI, which is not there and could not be installed"
[ -n "$pigz" ] || say "without pigz, which is not there"

say "making $rows lines of a log, and $many MiB of pieces"
createdb work
sql -d work -v rows="$rows" -v few="$few" -v many="$many" -f "$root/scripts/bench_backup.sql"
sql -c CHECKPOINT

url="postgresql://postgres@/work?host=$sockets&port=5432"
config() {
    cat >"$folder/$1.toml" <<CONFIG
[databases.main]
url = "$url"
[stores.bucket.s3]
bucket = "bench"
endpoint = "$endpoint"
path_style = true
part_size = "8 MiB"
stall_timeout = "10m"
[jobs.$1.backup]
to = [{ store = "bucket" }]
pg_bin = "$bin"
globals = false
$2
CONFIG
}
config zstd 'compression = "zstd:1"
exclude_schemas = ["pieces"]'
config gzip 'compression = "gzip:6"
exclude_schemas = ["pieces"]'
config few 'compression = "none"
tables = ["pieces.few"]'
config many 'compression = "none"
tables = ["pieces.many"]'

dumped() { pg_dump -d work -N pieces "$@"; }
# What is stored is of no use any more.
forget() { [ "$s3" != s3s-fs ] || rm -rf "$folder/s3/bench"/*; }

# What each is called in the tables, and how it is done.
to_nowhere() { dumped -Fc -Z0 | cat >/dev/null; }
to_s3() { "$aws" s3 cp --only-show-errors --endpoint-url "$endpoint" - "s3://bench/peer/app.dump.gz"; }
gzip_aws() { dumped -Fc | gzip | to_s3; }
pigz_aws() { dumped -Fc -Z0 | "$pigz" -p2 | to_s3; }

# Runs a job once: seconds until it was a backup, all seconds, seconds of CPU, MiB of memory, seconds of CPU of the digest,
# bytes as stored. Where objects are no files, a backup is one when all is done.
run_job() {
    local said began took stored complete
    said=$(python3 "$root/scripts/measure.py" "$pgtend" run --config "$folder/$1.toml" --log-level warn --json "$1" 2>"$folder/said.log") ||
        die "$1 failed: $(tail -n 3 "$folder/said.log")"
    read -r began took said <<<"$said"
    stored=$(grep -o '"bytes":[0-9]*' "$folder/said.log" | head -n 1 | cut -d: -f2)
    complete=$(find "$folder/s3/bench/$1" -name manifest.json -exec stat -c %.9Y {} + 2>/dev/null || true)
    [ -z "$complete" ] || complete=$(awk "BEGIN { printf \"%.3f\", $complete - $began }")
    result "$2" "$1" "${complete:-$took} $took $said $stored"
    forget
}

turn() {
    local from=$EPOCHREALTIME
    case $2 in
    zstd | gzip) run_job "$2" "$1" ;;
    *)
        "$2" 2>"$folder/said.log" || die "$2 failed: $(tail -n 3 "$folder/said.log")"
        result "$1" "$2" "$(awk "BEGIN { printf \"%.3f\", $EPOCHREALTIME - $from }")"
        forget
        ;;
    esac
}
turn_a() { turn a "$1"; }
turn_b() { turn b "$1"; }

say "once for nobody, so that the first of them does not read from disk what the others find in memory"
to_nowhere

bench_a() {
    local others=(to_nowhere)
    [ "$aws" = no ] || others+=(gzip_aws)
    say "a, what, seconds; of ours: until it is a backup, in all, of CPU, MiB of memory, of CPU for the digest, bytes:"
    turns turn_a zstd "${others[@]}"
}

bench_b() {
    local others=(to_nowhere)
    [ "$aws" = no ] || [ -z "$pigz" ] || others+=(pigz_aws)
    say "b, what, seconds, as in a:"
    turns turn_b gzip "${others[@]}"
    result b size "$(dumped -Fc -Z0 | gzip -6 | wc -c)"
}

bench_c() {
    say "c, what, as in a:"
    run_job few c
    run_job many c
}

bench_d() { :; }

for part in $parts; do
    "bench_$part"
done

# Everything but the reading back is over when it is a backup.
reading_back() { awk -v part="$1" -v how="$2" '$1 == part && $2 == how { print 100 * ($4 - $3) / $3 }' "$folder/results"; }
digest() { awk -v part="$1" -v how="$2" '$1 == part && $2 == how { print 100 * $7 / ($5 - $7) }' "$folder/results"; }
megabytes() { awk '{ print $1 / 1e6 }' | middle '%.0f'; }

raw=$(dumped -Fc -Z0 | wc -c)
versions="$("$pgtend" --version), $(postgres --version | awk '{ print $1, $3 }' | sed 's/^postgres/PostgreSQL/')"
[ "$aws" = no ] || versions+=", $("$aws" --version 2>&1 | cut -d' ' -f1 | tr / ' ')"
[ -z "$pigz" ] || versions+=", $("$pigz" --version 2>&1)"
versions+=", $(gzip --version | head -n 1)"
cat <<TABLES

Measured with $versions,
$(rustc --version | cut -d' ' -f1,2), Linux $(uname -r), $(nproc) cores shared by server, S3 server and tools, $memory_mb MiB of memory, $disk;
fsync on, shared_buffers ${buffers_mb} MB. The S3 server is $s3_said. Medians of $pairs rounds (least–most), taking turns.
To repeat: \`$command_line\`
TABLES
case $parts in *a*)
    cat <<TABLES

Lines of a log, $((raw / 1000000)) MB in a dump, until they are a backup in the store:

| | seconds | times the dump alone | times the gzip pipe | MB stored |
|---|--:|--:|--:|--:|
| \`pg_dump -Fc -Z0 \| cat >/dev/null\` | $(column a to_nowhere 3 | middle) | 1 | | |
| \`backup\`, zstd:1 | $(column a zstd 3 | middle) | $(ratios a zstd to_nowhere 3 | middle) | $(ratios a zstd gzip_aws 3 | middle) | $(column a zstd 8 | megabytes) |
| \`pg_dump -Fc \| gzip \| aws s3 cp -\` | $(column a gzip_aws 3 | middle) | $(ratios a gzip_aws to_nowhere 3 | middle) | 1 | |

Goals: $(ratios a zstd to_nowhere 3 | goal "at most 1.3 times the dump alone" '' 1.3); $(ratios a zstd gzip_aws 3 | goal "at most 0.35 times the gzip pipe" '' 0.35).
TABLES
    ;;
esac
case $parts in *b*)
    cat <<TABLES

The same with gzip:

| | seconds | times the dump alone | times the pigz pipe | MB stored | times gzip -6 |
|---|--:|--:|--:|--:|--:|
| \`backup\`, gzip:6 | $(column b gzip 3 | middle) | $(ratios b gzip to_nowhere 3 | middle) | $(ratios b gzip pigz_aws 3 | middle) | $(column b gzip 8 | megabytes) | $(paste <(column b gzip 8) <(column b size 3) | awk 'NR == 1 { s = $2 } { print $1 / s }' | middle '%.3f') |
| \`pg_dump -Fc -Z0 \| pigz -p2 \| aws s3 cp -\` | $(column b pigz_aws 3 | middle) | $(ratios b pigz_aws to_nowhere 3 | middle) | 1 | | |
| \`pg_dump -Fc -Z0 \| gzip -6\` | | | | $(column b size 3 | megabytes) | 1 |

Goals: $(ratios b gzip pigz_aws 3 | goal "at most 0.8 times the pigz pipe" '' 0.8); $(paste <(column b gzip 8) <(column b size 3) |
        awk 'NR == 1 { s = $2 } { print $1 / s }' | goal "at most 3 % larger than gzip -6" '' 1.03).
TABLES
    ;;
esac
case $parts in *c*)
    cat <<TABLES

Memory, with parts of 8 MiB, four of them on their way at once:

| stored | MiB, at most | seconds until it is a backup | in all |
|---|--:|--:|--:|
| $(column c few 8 | megabytes) MB | $(column c few 6) | $(column c few 3) | $(column c few 4) |
| $(column c many 8 | megabytes) MB | $(column c many 6) | $(column c many 3) | $(column c many 4) |

Goals: $(column c few 6 | goal "under 96 MiB" '' 95.99); $(ratios c many few 6 | goal "the same for ten times as much" '' 1.1).
TABLES
    ;;
esac
case $parts in *d*)
    cat <<TABLES

What it costs to be sure, in percent:

| | the SHA-256, of all other CPU | the reading back, of the time until it is a backup |
|---|--:|--:|
TABLES
    for part in $parts; do
        case $part in
        a) printf '| zstd:1 | %s | %s |\n' "$(digest a zstd | middle)" "$(reading_back a zstd | middle)" ;;
        b) printf '| gzip:6 | %s | %s |\n' "$(digest b gzip | middle)" "$(reading_back b gzip | middle)" ;;
        esac
    done
    ;;
esac
