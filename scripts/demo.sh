#!/usr/bin/env bash
# Shows the daemon at work on a throwaway database, and leaves nothing behind.
#
# It installs a PostgreSQL server if there is none (Debian, Ubuntu), fetches an S3 server into .cache, builds pgtend, starts
# servers of its own in a temporary folder, loads the lukhas application, and tells the story from `pgtend check` to a backup
# that is brought back, and SIGTERM. Runs as root or as an ordinary user, from any folder; takes a minute once built.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD

# shellcheck source=scripts/telling.sh
. scripts/telling.sh
# shellcheck source=scripts/server.sh
. scripts/server.sh

chapter "What is needed"
scripts/deps.sh demo
scripts/moto.sh
tell "Building pgtend, in the profile that builds quickest."
build_pgtend dev

chapter "A server for the occasion"
find_server psql
make_folders /tmp
start_server fsync=off shared_buffers=32MB
# From here on, `pgtend` and `psql` in the commands shown are these, and know where to go.
PATH=$(dirname "$pgtend"):$PATH
export PGTZ=UTC PSQL_PAGER=cat
createdb lukhas_team
export PGDATABASE=lukhas_team
psql -X -q -v rows=20000 -v months_back=15 -v months_ahead=0 -f tests/fixtures/lukhas.sql
# The bucket of its backups is moto's. It takes any credentials.
s3_port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
PYTHONPATH=$root/.cache/moto python3 -m moto.server -H 127.0.0.1 -p "$s3_port" >"$folder/moto.log" 2>&1 &
children+=($!)
export AWS_ACCESS_KEY_ID=demo AWS_SECRET_ACCESS_KEY=demo
make_bucket() {
    python3 - "http://127.0.0.1:$s3_port/lukhas-backups" <<'PY'
import sys, urllib.request as r
auth = "AWS4-HMAC-SHA256 Credential=demo/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=any"
r.urlopen(r.Request(sys.argv[1], method="PUT", headers={"Authorization": auth}))
PY
}
wait_until "the S3 server has a bucket" "${children[-1]}" make_bucket
psql -X -q -c "CREATE TABLE session_report (at timestamptz DEFAULT now(), sessions bigint, expired bigint)"
tell "$(psql -X -A -t -c "SELECT 'PostgreSQL ' || current_setting('server_version')") runs in $folder."
tell "It holds the lukhas application: $(psql -X -A -t -c "SELECT count(*) FROM users") users," \
    "$(psql -X -A -t -c "SELECT count(*) FROM test_results") test results, and these sessions:"
cat >"$folder/sessions.sql" <<'SQL'
SELECT CASE WHEN expires_at < now() THEN 'expired' ELSE 'living' END AS state,
    count(*) AS sessions, min(expires_at)::timestamp(0) AS first_to_expire,
    (max(expires_at) FILTER (WHERE isfinite(expires_at)))::timestamp(0) AS last_to_expire
FROM sessions GROUP BY state ORDER BY state;
SQL
cd "$folder"
show psql -X -f sessions.sql

cat >next_month.sql <<'SQL'
INSERT INTO test_runs (team_id, total_tests, created_at)
SELECT id, 1247, date_trunc('month', now()) + interval '1 month' FROM teams LIMIT 1 RETURNING created_at, total_tests;
SQL
tell "Its test runs lie in partitions, a month each, and nobody has made the next one. What awaits its first run:"
show cat next_month.sql
if show psql -X -v ON_ERROR_STOP=1 -f next_month.sql; then
    die "that insert was to fail, and did not"
fi

cat >oldest.sql <<'SQL'
SELECT parent AS table, count(*) AS partitions, min(partition::text) AS oldest, (SELECT count(*) FROM test_results) AS results
FROM (SELECT inhparent::regclass AS parent, inhrelid::regclass AS partition FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
    WHERE inhparent IN ('test_runs'::regclass, 'test_results'::regclass) AND c.relkind = 'r') AS p
GROUP BY parent ORDER BY parent::text;
SQL
cat >old_rows.sql <<'SQL'
SELECT 'coverage_data' AS table, count(*) AS rows, count(*) FILTER (WHERE created_at < now() - interval '6 months') AS old,
    count(*) FILTER (WHERE created_at IS NULL) AS without_a_time FROM coverage_data
UNION ALL
SELECT 'consciousness_reviews', count(*), count(*) FILTER (WHERE created_at < now() - interval '2 years'),
    count(*) FILTER (WHERE created_at IS NULL) FROM consciousness_reviews;
SQL
tell "Nor has anybody ever let anything go. Results are to be kept for a year, coverage for half of one, reviews for two:"
show psql -X -f oldest.sql
show psql -X -f old_rows.sql

chapter "What the daemon is to do"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# The application's own job file, hurried but for its backups, and without its comments.
mkdir jobs
sed -e '/^ *#/d' -e '/^$/d' -e '/^\[jobs.lukhas-backup\]/,$!s/^schedule = ".*"/schedule = "*\/2 * * * * *"/' -e '/^jitter = /d' \
    "$root/jobs/lukhas.toml" >jobs/lukhas.toml
cat >pgtend.toml <<CONFIG
include = ["jobs/lukhas.toml"]     # as shipped, but every two seconds instead of every hour or day; backups by hand
shutdown_timeout = "10s"

[databases.main]
url = "postgresql://postgres@/lukhas_team?host=$sockets&port=5432"

[stores.offsite.s3]                # where backups go: an S3 server, of the demo's own
bucket = "lukhas-backups"
endpoint = "http://127.0.0.1:$s3_port"
path_style = true

[stores.local.directory]           # and a directory
path = "backups"

[http]
listen = "127.0.0.1:$port"

[jobs.retire-users]                # a chore of one's own, in SQL
schedule = "*/3 * * * * *"
[jobs.retire-users.sql]
statements = ["UPDATE users SET is_active = false WHERE is_active AND last_login < now() - interval '28 days'"]

[jobs.session-report]              # no schedule: it follows another job
after = ["lukhas-sessions"]
[jobs.session-report.sql]
statements = [
  """INSERT INTO session_report (sessions, expired)
     SELECT count(*), count(*) FILTER (WHERE expires_at < now()) FROM sessions""",
]

[jobs.analyze-sessions]            # no schedule: only when somebody asks
[jobs.analyze-sessions.sql]
statements = ["ANALYZE sessions"]
CONFIG
export PGTEND_CONFIG=$folder/pgtend.toml
show cat pgtend.toml
show cat jobs/lukhas.toml

chapter "Before anything runs"
tell "Is everything there that the jobs need?"
show pgtend check
tell "And what would they do? Nothing is changed by asking. What goes is named, with the reason, and what is kept by which rule."
show pgtend plan

chapter "The daemon"
printf '\n%s$ pgtend daemon &%s\n' "$dim" "$plain"
pgtend daemon >daemon.out 2>daemon.log &
daemon=$!
children+=("$daemon")
# The jobs have run when the history, a table, says so. It is not there before the first run.
each_has_succeeded() {
    [ "$(psql -X -A -t -c "SELECT count(DISTINCT job) FROM pgtend.run WHERE outcome = 'succeeded'
        AND job IN ('lukhas-sessions', 'lukhas-partitions', 'lukhas-old-partitions', 'lukhas-old-rows', 'retire-users', 'session-report')")" = 6 ]
}
wait_until "each job has succeeded once" "$daemon" each_has_succeeded
tell "Each job has had its turn. The first lines of the daemon's log:"
show head -n 12 daemon.log

chapter "What it did"
tell "The expired sessions are gone, the living ones are all there:"
show psql -X -f sessions.sql
show psql -X -c "SELECT * FROM session_report ORDER BY at LIMIT 3"
tell "The old months of results are gone, and so are the old rows. A row without a time is never old:"
show psql -X -f oldest.sql
show psql -X -f old_rows.sql
tell "Both partitioned tables have their next twelve months, and the insert that failed succeeds:"
show psql -X -v ON_ERROR_STOP=1 -f next_month.sql
show pgtend status
show pgtend history --limit 8

chapter "What is scraped"
if command -v curl >/dev/null; then
    scrape() { curl -fsS "http://127.0.0.1:$port/metrics"; }
    printf '\n%s$ curl http://127.0.0.1:%s/metrics    # some of what is not 0%s\n' "$dim" "$port" "$plain"
else
    scrape() { python3 -c 'import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode())' "http://127.0.0.1:$port/metrics"; }
    printf '\n%s# http://127.0.0.1:%s/metrics, some of what is not 0%s\n' "$dim" "$port" "$plain"
fi
# Read from the catalog once a minute, and after a run.
next_year=$(date -u -d '+300 days' +%s)
runway() {
    scrape >metrics.txt
    awk -v least="$next_year" '/^pgtend_partition_horizon_timestamp_seconds/ && $NF > least { n++ } END { exit n != 2 }' metrics.txt
}
wait_until "the horizon of the partitions is read again" "$daemon" runway
grep -E '^pgtend_(up|rows_deleted_total|partitions_created_total|partitions_dropped_total|partition_horizon_timestamp_seconds|job_runs_total|job_last_success_timestamp_seconds)[{ ]' metrics.txt |
    grep -v ' 0$'
tell
tell "The horizon is when the first insert would fail:"
sed -n 's/^pgtend_partition_horizon_timestamp_seconds{.*table="\([^"]*\)".* \(.*\)$/\1 \2/p' metrics.txt | while read -r table end; do
    tell "  $table: $(date -u -d "@$end" '+%F %T') UTC"
done

chapter "Rows that become numbers"
tell "Another application, Helix, wants its errors of over 90 days ago as numbers: how many there were on each day, of each"
tell "category and code. They are deleted by the statement that adds them up, so that each is here or there, once, at all times."
createdb helix
psql -X -q -d helix -v rows=20000 -f "$root/tests/fixtures/helix.sql"
cat >helix.toml <<CONFIG
include = ["$root/jobs/helix.toml"]

[defaults]
database = "helix"

[databases.helix]
url = "postgresql://postgres@/helix?host=$sockets&port=5432"

[databases.scratch]     # where a backup is restored to be proven; here the same server
url = "postgresql://postgres@/postgres?host=$sockets&port=5432"

[stores.local.directory]
path = "helix"
CONFIG
cat >errors.sql <<'SQL'
SELECT *, in_the_log + counted AS ever FROM
    (SELECT count(*) AS in_the_log, min(created_at)::timestamp(0) AS oldest FROM error_log) AS log,
    (SELECT sum(count) AS counted, count(*) AS numbers FROM error_log_summary) AS summary;
SQL
show psql -X -d helix -f errors.sql
show pgtend plan helix-errors --config helix.toml
show pgtend run helix-errors --config helix.toml --log-level warn
show psql -X -d helix -f errors.sql

chapter "Asked through the database"
tell "Any pgtend that reaches the database can ask the daemon, wherever it runs:"
show pgtend trigger analyze-sessions --wait
show pgtend history analyze-sessions

chapter "A backup"
tell "The application wants one each night, in its bucket and in a directory. A store that fails would spoil neither the other"
tell "nor the last good backup. This one is made by hand:"
show pgtend plan lukhas-backup
show pgtend run lukhas-backup --log-level warn
tell "It is one since its manifest is there, and each store was read back, through pg_restore to the last row:"
show find backups/lukhas-backup -type f -printf '%s\t%p\n'
show grep -h -E '"(good|how)"' backups/lukhas-backup/*/verified.json
show pgtend backup list
tell "Brought back from the bucket, into a database that is made for it (by hand, gzip and pg_restore would do):"
show pgtend backup restore latest --store offsite --into "postgresql://postgres@/restored?host=$sockets&port=5432"
cat >both.sql <<'SQL'
SELECT current_database() AS database, (SELECT count(*) FROM users) AS users, (SELECT count(*) FROM test_runs) AS runs,
    (SELECT count(*) FROM test_results) AS results;
SQL
show psql -X -d lukhas_team -f both.sql
show psql -X -d restored -f both.sql

chapter "A backup that is proven"
tell "Helix wants its backups restored once a month, to see that they can be. That is a job like any other: into a scratch database,"
tell "whose tables must have as many rows as they had in the dump's own snapshot, and which is dropped whatever comes:"
show pgtend run helix-backup helix-restore-test --config helix.toml --log-level warn
show grep -h -E '"(at|server|rows_compared|tables_compared|duration_seconds)"' helix/helix-backup/*/restored.json

chapter "The end"
printf '\n%s$ kill -TERM %s%s\n' "$dim" "$daemon" "$plain"
kill -TERM "$daemon"
status=0
wait "$daemon" || status=$?
unset 'children[-1]'
show tail -n 3 daemon.log
[ "$status" -eq 0 ] || die "the daemon ended with status $status"
tell
tell "The daemon ended with status 0. Server and folder go with it; nothing else was touched."
