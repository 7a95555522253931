#!/usr/bin/env bash
# Follows README's way to production word by word, in a container with a real systemd, and sees that it ends in a running unit,
# a page with nothing wrong on it, and rules that Prometheus has loaded; then the first hour of docs/operating.md.
#
#   scripts/test_readme.sh PROGRAM
#
# What they say is extracted from them and done as it stands. Only this is not: the build, which is given; the password, which
# README leaves out; and the database, its host and its tables, which are the reader's own. Ends with status 77 where no
# container can be booted.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
program=$(realpath "${1:?which program}")
me=readme
# shellcheck source=scripts/container.sh
. "$root/scripts/container.sh"

password='a password of the reader'

# The blocks of each language under a title, from the first on, each into a file of its own.
python3 - "$root" "$work" <<'PY'
import re, sys
root, folder = sys.argv[1:]
for page, title, before in [("README.md", "Into production", ""), ("docs/operating.md", "The first hour", "hour.")]:
    text = open(f"{root}/{page}", encoding="utf-8").read()
    section = re.search(rf"^## {title}\n(.*?)^## ", text, re.S | re.M).group(1)
    count = {}
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", section, re.S | re.M):
        n = count[language] = count.get(language, 0) + 1
        open(f"{folder}/{before}{language}.{n}", "w", encoding="utf-8").write(block)
PY
for block in sh.1 sql.1 sh.2 toml.1 sh.3 sh.4 yaml.1; do
    [ -s "$work/$block" ] || die "README has no longer the block $block; this script goes by their order"
done
[ ! -e "$work/sh.5" ] || die "README has a command that this script does not know of"
for block in hour.sql.1 hour.sh.1 hour.sh.2; do
    [ -s "$work/$block" ] || die "docs/operating.md has no longer the block $block under The first hour"
done
[ ! -e "$work/hour.sh.3" ] || die "docs/operating.md has a command that this script does not know of"

# --- what the reader has: a database with TLS, by its name -----------------------------------------------------------------

as_postgres() { inside setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
inside install -d -o postgres -g postgres /run/postgresql /var/lib/pgtest
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout "$work/ca.key" -out "$work/ca.crt" 2>/dev/null
openssl req -newkey rsa:2048 -nodes -subj /CN=db.internal -keyout "$work/server.key" -out "$work/server.csr" 2>/dev/null
openssl x509 -req -in "$work/server.csr" -CA "$work/ca.crt" -CAkey "$work/ca.key" -CAcreateserial -days 2 \
    -extfile <(printf 'subjectAltName=DNS:db.internal') -out "$work/server.crt" 2>/dev/null
cat "$work/ca.crt" >>"$tree/etc/ssl/certs/ca-certificates.crt"
printf '127.0.0.1 db.internal\n' >>"$tree/etc/hosts"
inside ip link set lo up 2>/dev/null || true
as_postgres "$bin/initdb" -D /var/lib/pgtest/data --no-sync --auth-local=peer --auth-host=scram-sha-256 --no-instructions >/dev/null
for file in server.crt server.key; do
    inside install -m 600 -o postgres /dev/stdin "/var/lib/pgtest/data/$file" <"$work/$file"
done
inside systemd-run --quiet --unit=test-server --uid=postgres --property=KillSignal=SIGINT "$bin/postgres" -D /var/lib/pgtest/data \
    -c unix_socket_directories=/run/postgresql -c listen_addresses=127.0.0.1 -c ssl=on -c fsync=off
wait_for "the server" inside "$bin/pg_isready" -q -h /run/postgresql
sql() { as_postgres psql -XAtq -v ON_ERROR_STOP=1 -d app "$@"; }
as_postgres psql -XAtq -d postgres -c 'CREATE DATABASE app'
sql -c 'CREATE TABLE sessions (id bigserial PRIMARY KEY, token uuid NOT NULL DEFAULT gen_random_uuid(), expires_at timestamptz NOT NULL); CREATE INDEX ON sessions (expires_at)' \
    -c 'CREATE TABLE users (id bigserial PRIMARY KEY, is_active boolean NOT NULL DEFAULT true, last_login timestamptz)' \
    -c "INSERT INTO sessions (expires_at) SELECT now() + n * interval '1 hour' FROM generate_series(-50, 49) n" \
    -c "INSERT INTO users (last_login) VALUES (now()), (now() - interval '3 years')"

# --- the six steps ---------------------------------------------------------------------------------------------------------

# In the checkout, as root, whose `cargo` has built already.
inside install -d /var/tmp/checkout /var/tmp/bin
cp -a "$root"/README.md "$root"/systemd "$root"/deploy "$tree/var/tmp/checkout/"
install -D -m 755 "$program" "$tree/var/tmp/checkout/target/release/pgtend"
printf '#!/bin/sh\n[ "$*" = "build --release --locked" ]\n' | inside install -m 755 /dev/stdin /var/tmp/bin/cargo
typed() {
    inside env -C /var/tmp/checkout PATH="/var/tmp/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" sh -eu -c "$(cat "$work/$1")"
}

typed sh.1 || die "step 1"
sed "s/'…'/'$password'/" "$work/sql.1" >"$work/role.sql"
sql -f - <"$work/role.sql" || die "step 2, the role"
printf '%s\n' "$password" | typed sh.2 || die "step 2, the host"
[ "$(inside stat -c '%U %a' /etc/pgtend/db-password)" = "pgtend 600" ] || die "the password is not its user's alone"
inside install -m 644 /dev/stdin /etc/pgtend/pgtend.toml <"$work/toml.1"
typed sh.3 >"$work/asked" 2>&1 || { cat "$work/asked" >&2; die "step 4"; }
grep -q '2 jobs in 1 database: 0 errors, 0 warnings' "$work/asked" || { cat "$work/asked" >&2; die "check has something to say"; }
grep -q '50 rows ended before\|51 rows ended before' "$work/asked" || { cat "$work/asked" >&2; die "plan does not say what would go"; }
say "steps 1 to 4: the role may do what its jobs need, and plan says what they would do"
# What README names beside its steps: a proposal for this database.
inside runuser -u pgtend -- env PGPASSWORD="$password" pgtend init \
    --database-url 'postgresql://pgtend@db.internal/app?sslmode=verify-full&sslrootcert=system' >"$work/proposed.toml" || die "pgtend init"
grep -q 'public.sessions' "$work/proposed.toml" || die "init has not found the sessions"

typed sh.4 || die "step 5"
is ActiveState active || die "it is not active"
is UnitFileState enabled || die "it would not come again after a boot"
fetch() { inside python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())' "$1"; }
ready() { [ "$(fetch http://127.0.0.1:9934/readyz)" = ready ]; }
wait_for "its database within reach" ready
inside systemctl kill --kill-whom=main -s SIGUSR1 pgtend
both() { [ "$(sql -c "SELECT count(DISTINCT job) FROM pgtend.run WHERE outcome = 'succeeded'")" = 2 ]; }
wait_for "a success of each job" both
[ "$(sql -c "SELECT count(*) FROM sessions WHERE expires_at < now() - interval '10 min'")" = 0 ] || die "expired sessions are there"
[ "$(sql -c 'SELECT count(*) FROM users WHERE is_active')" = 1 ] || die "the chore was not done"
green() {
    fetch http://127.0.0.1:9934/ >"$work/page.html"
    grep -q 'Nothing is wrong' "$work/page.html" && [ "$(grep -o '1 succeeded, 0 failed' "$work/page.html" | wc -l)" = 2 ]
}
wait_for "a page with nothing wrong on it" green
say "step 5: the unit runs, both jobs have succeeded, and the page has nothing wrong on it"

inside install -d /var/tmp/prometheus
inside install -m 644 /dev/stdin /var/tmp/prometheus/prometheus.yml <"$work/yaml.1"
inside cp /var/tmp/checkout/deploy/prometheus/pgtend.rules.yml /var/tmp/checkout/deploy/prometheus/pgtend-health.rules.yml /var/tmp/prometheus/
inside systemd-run --quiet --unit=test-prometheus prometheus --config.file=/var/tmp/prometheus/prometheus.yml \
    --storage.tsdb.path=/var/tmp/prometheus/data --web.listen-address=127.0.0.1:9090
loaded() { fetch http://127.0.0.1:9090/api/v1/rules >"$work/rules"; grep -q '"name":"PgtendJobFailing"' "$work/rules" && grep -q '"name":"PgtendHealthOld"' "$work/rules"; }
wait_for "the rules of both files in Prometheus" loaded
scraped() { fetch 'http://127.0.0.1:9090/api/v1/query?query=pgtend_job_last_success_timestamp_seconds' | grep -q '"job":"sessions"'; }
wait_for "the first scrape, with the job's own label" scraped
say "step 6: Prometheus has loaded the rules, and scrapes"

# --- the first hour --------------------------------------------------------------------------------------------------------

sql -f - <"$work/hour.sql.1" || die "the first hour, the role"
sql -c "INSERT INTO sessions (expires_at) VALUES (now() - interval '3 days')"
typed hour.sh.1 >"$work/hour" 2>&1 || { cat "$work/hour" >&2; die "the first hour, by hand"; }
grep -q '^sessions .*succeeded.*rows_deleted 1$' "$work/hour" || { cat "$work/hour" >&2; die "its run has not deleted what had ended"; }
typed hour.sh.2 >"$work/hour" 2>&1 || { cat "$work/hour" >&2; die "the first hour, the daemon"; }
taken_over() { fetch http://127.0.0.1:9934/metrics | grep -q '^pgtend_job_last_success_timestamp_seconds{[^}]*kind="health"'; }
wait_for "the daemon to have taken the proposed config" taken_over
say "the first hour: from nothing to a config that init has proposed, and the daemon has it"

power_off
say "all is well"
