#!/usr/bin/env bash
# Looks at the status page with a real browser: narrow and wide, light and dark, by keyboard, without a script, and for what
# would keep people from using it. A server, a daemon and a browser of its own; nothing is left behind.
#
#   scripts/test_ui.sh             fails if something is wrong with the page
#   scripts/test_ui.sh FOLDER      and leaves pictures there
#
# Where there is no Chromium it says so, and that is all.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
pictures=${1:-}
[ -z "$pictures" ] || pictures=$(mkdir -p "$pictures" && cd "$pictures" && pwd)

if ! command -v chromium >/dev/null || ! command -v chromedriver >/dev/null; then
    printf '\nui: SKIPPED, the status page was seen by no browser: Debian'\''s packages chromium and chromium-driver are missing\n\n'
    exit 77
fi
scripts/axe.sh

# shellcheck source=scripts/server.sh
. scripts/server.sh

build_pgtend dev
find_server psql
make_folders /tmp
start_server fsync=off shared_buffers=32MB
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

createdb shop
sql -d shop -v rows=2000 -v months_back=15 -v months_ahead=0 -f tests/fixtures/lukhas.sql >/dev/null
sql -d shop -c 'CREATE TABLE "Crowded Μήνες" (at timestamptz NOT NULL) PARTITION BY RANGE (at)' \
    -c 'CREATE TABLE "rest" PARTITION OF "Crowded Μήνες" DEFAULT' -c 'INSERT INTO "Crowded Μήνες" VALUES (now())'
port=$(free_port)
cat >"$folder/pgtend.toml" <<CONFIG
[databases.main]
url = "postgresql://postgres@/shop?host=$sockets&port=5432"
[databases.away]
url = "postgresql://postgres@/shop?host=$folder/nowhere&port=5432"
[stores.local.directory]
path = "backups"
[http]
listen = "127.0.0.1:$port"
token_file = "token"
[defaults]
database = "main"

[jobs.results]
schedule = "0 0 25 * *"
[jobs.results.partitions]
tables = [
  { table = "public.test_runs", every = "1 month", ahead = 12 },
  { table = "public.test_results", every = "1 month", ahead = 12 },
]
[jobs.crowded.partitions]
tables = [{ table = '"Crowded Μήνες"', every = "1 day", ahead = 3, default_rows = "refuse" }]
[jobs.old-results.retention]
tables = [{ table = "public.test_results", keep = "12 months" }]
[jobs.backup]
schedule = "30 2 * * *"
[jobs.backup.backup]
to = [{ store = "local", keep = { last = 3 } }]
[jobs.sessions]
schedule = "@hourly"
[jobs.sessions.expire]
tables = [{ table = "public.sessions", column = "expires_at" }]
[jobs.by-hand.sql]
statements = ["SELECT 1"]
[jobs."a-job-with-a-name-that-goes-on-and-on-until-it-does-not-fit".sql]
statements = ["SELECT 1 / 0"]
CONFIG
printf 'a token for this occasion\n' >"$folder/token"
"$pgtend" daemon --config "$folder/pgtend.toml" >"$folder/daemon.out" 2>"$folder/daemon.log" &
daemon=$!
children+=("$daemon")

driver_port=$(free_port)
# Chromium wants a folder that can be written.
HOME=$folder chromedriver --port="$driver_port" >"$folder/driver.log" 2>&1 &
children+=($!)
python3 "$root/scripts/ui.py" "http://127.0.0.1:$driver_port" "http://127.0.0.1:$port" "$folder" "$daemon" "$root/.cache/axe/axe.min.js" "$pictures"
