#!/usr/bin/env bash
# Shows the shipped jobs of one application at work on a throwaway database, each run once, and leaves nothing behind.
#
#   scripts/demo_app.sh APP      lukhas, lucy, autosdlc, helix or code-review
#
# It needs what scripts/demo.sh needs, which tells a longer story of the daemon itself.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
app=${1:-}
case $app in
lukhas | lucy | autosdlc | helix | code-review) ;;
*)
    echo "demo: which application? make demo APP=helix, or one of lukhas, lucy, autosdlc, code-review; make demo alone tells of the daemon" >&2
    exit 2
    ;;
esac

# shellcheck source=scripts/telling.sh
. scripts/telling.sh
# shellcheck source=scripts/server.sh
. scripts/server.sh

chapter "What is needed"
scripts/deps.sh demo
tell "Building pgtend, in the profile that builds quickest."
build_pgtend dev

chapter "A server for the occasion, and the database of $app"
find_server psql
make_folders /tmp
start_server fsync=off shared_buffers=32MB
PATH=$(dirname "$pgtend"):$PATH
export PGTZ=UTC PSQL_PAGER=cat PGOPTIONS='-c client_min_messages=warning'
createdb "$app"
export PGDATABASE=$app
# Where there are months, so many that some are old.
psql -X -q -v rows=5000 -v months_back=15 -f "tests/fixtures/$app.sql" >"$folder/fixture.log"
cd "$folder"
mkdir artifacts

# Rows by table, a partitioned one as a whole; what a restore test or pgtend itself has is left out.
cat >count.sql <<'SQL'
SELECT format('INSERT INTO pg_temp.counted SELECT %L, count(*) FROM %I.%I', c.oid::regclass, n.nspname, c.relname)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname !~ '^(pg_.*|information_schema|pgtend)$' \gexec
SQL
count_rows() {
    psql -X -q -A -t -F ' ' <<SQL | sort
CREATE TEMPORARY TABLE counted (name text, rows bigint);
\\i count.sql
SELECT name, rows FROM counted;
SQL
}
count_rows >before.txt
tell "$(psql -X -A -t -c "SELECT 'PostgreSQL ' || current_setting('server_version')") runs in $folder. Its largest tables, in rows:"
tell
sort -k 2,2nr before.txt | head -n 10 | awk '{ printf "  %-32s %8d\n", $1, $2 }'

chapter "Its jobs"
# The file as it is shipped, without its comments; what it calls a bucket is a directory here.
mkdir jobs
# Of which tables nothing may go is among those comments, as a line of the config.
never=$(awk '/^#     never = \[/ { inside = 1 } inside { sub(/^#     /, ""); print } inside && /\]$/ { exit }' "$root/jobs/$app.toml")
sed -e '/^ *#/d' -e '/^$/d' "$root/jobs/$app.toml" >"jobs/$app.toml"
cat >pgtend.toml <<CONFIG
include = ["jobs/$app.toml"]

[defaults]
database = "$app"

[databases.$app]
url = "postgresql://postgres@/$app?host=$sockets&port=5432"
$never

[databases.scratch]     # where a backup is restored to be proven; here the same server
url = "postgresql://postgres@/postgres?host=$sockets&port=5432"

[stores.local.directory]
path = "local"

[stores.offsite.directory]
path = "offsite"

[stores.artifacts.directory]
path = "artifacts"

[http]
listen = "off"
CONFIG
export PGTEND_CONFIG=$folder/pgtend.toml
show cat pgtend.toml
show cat "jobs/$app.toml"

chapter "Before anything runs"
tell "Is everything there that the jobs need?"
show pgtend check
tell "And what would they do? Nothing is changed by asking."
# One that restores a backup has none yet, and says so.
show pgtend plan || tell "What cannot be planned yet says why."

chapter "Each of them, once"
tell "In the order of the clock, as a night and a Sunday morning have them; those that are switched off are left so."
# By the hour and the minute of each schedule, the frequent ones first; one that comes after another follows it.
mapfile -t jobs < <(awk -F '"' '
    /^\[jobs\.[^.]*\]$/ { name = substr($0, 7, length($0) - 7); at[name] = -1; on[name] = 1; order[name] = ++n }
    /^enabled = false$/ { on[name] = 0 }
    /^schedule = "[0-9]+ [0-9]+ / { split($2, field, " "); at[name] = field[2] * 60 + field[1] }
    /^after = / { follows[name] = $2 }
    END {
        for (name in follows) at[name] = at[follows[name]]
        for (name in on) if (on[name]) printf "%05d %03d %s\n", at[name] + 1, order[name], name
    }' "jobs/$app.toml" | sort | cut -d ' ' -f 3)
show pgtend run --log-level warn "${jobs[@]}"

chapter "What they did"
count_rows >after.txt
tell "Rows by table, where they are others than before:"
tell
join -a 1 -a 2 -e 0 -o 0,1.2,2.2 before.txt after.txt | awk '$2 != $3 { printf "  %-32s %8d -> %8d\n", $1, $2, $3; n++ } END { if (!n) print "  none: no row of this application ever goes, as its jobs are shipped" }'
show pgtend history --limit 15
if [ -d local ] || [ -d offsite ]; then
    show pgtend backup list
fi
tell
tell "Server and folder go with this script; nothing else was touched."
