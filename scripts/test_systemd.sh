#!/usr/bin/env bash
# Boots a real systemd in a container, installs pgtend there as docs/deploying.md says, and looks at what the units promise:
# ready when it says so, a watchdog that is fed and that bites, reload, triggers by signal, pg_dump and programs within the
# hardening, a clean stop.
#
#   scripts/test_systemd.sh PROGRAM          the files of systemd/ and this program
#   scripts/test_systemd.sh --deb PACKAGE    this package: installed, upgraded, removed and purged as well
#
# Ends with status 77 where no container can be booted.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

package=
case ${1:-} in
--deb) package=$(realpath "${2:?the package}") ;;
'') printf 'say which program, or --deb and which package\n' >&2 && exit 2 ;;
*) program=$(realpath "$1") ;;
esac

me=systemd
# shellcheck source=scripts/container.sh
. "$root/scripts/container.sh"

sql() { inside setpriv --reuid=postgres --regid=postgres --init-groups psql -XAtq -d app -c "$1"; }
answers() { [ "$(sql "$1")" = "$2" ]; }

# --- a server, whose role pgtend is known by the uid of the user pgtend -------------------------------------------------

inside install -d -o postgres -g postgres /run/postgresql /var/lib/pgtest
inside setpriv --reuid=postgres --regid=postgres --init-groups \
    "$bin/initdb" -D /var/lib/pgtest/data --no-sync --auth=peer --no-instructions >/dev/null
inside systemd-run --quiet --unit=test-server --uid=postgres --property=KillSignal=SIGINT \
    "$bin/postgres" -D /var/lib/pgtest/data -c unix_socket_directories=/run/postgresql -c listen_addresses= -c fsync=off
wait_for "the server" inside "$bin/pg_isready" -q -h /run/postgresql
inside setpriv --reuid=postgres --regid=postgres --init-groups psql -XAtq -d postgres -c 'CREATE ROLE pgtend LOGIN' -c 'CREATE DATABASE app OWNER pgtend'

# --- install ----------------------------------------------------------------------------------------------------------

if [ -n "$package" ]; then
    cp "$package" "$tree/var/tmp/pgtend.deb"
    inside env DEBIAN_FRONTEND=noninteractive dpkg --install /var/tmp/pgtend.deb >"$work/dpkg.log" 2>&1 ||
        { cat "$work/dpkg.log" >&2; die "dpkg could not install it"; }
else
    install -D -m 755 "$program" "$tree/usr/local/bin/pgtend"
    install -D -m 644 -t "$tree/etc/systemd/system" "$root"/systemd/*.service
    install -D -m 644 -t "$tree/etc/sysusers.d" "$root"/systemd/sysusers.d/pgtend.conf
    install -D -m 644 -t "$tree/etc/tmpfiles.d" "$root"/systemd/tmpfiles.d/pgtend.conf
    inside systemd-sysusers pgtend.conf
    inside systemd-tmpfiles --create pgtend.conf
    inside systemctl daemon-reload
fi
[ "$(inside stat -c '%U:%G %a' /etc/pgtend)" = "root:pgtend 750" ] || die "/etc/pgtend is not its folder"
[ "$(inside stat -c '%U:%G %a' /etc/pgtend/credentials)" = "root:root 700" ] || die "/etc/pgtend/credentials is not root's"
[ "$(inside stat -c '%U:%G %a' /var/lib/pgtend)" = "pgtend:pgtend 700" ] || die "/var/lib/pgtend is not its home"

config() {
    cat >"$tree/etc/pgtend/pgtend.toml" <<TOML
[databases.main]
url = "postgresql://pgtend@/app?host=/run/postgresql"
password_file = "\${CREDENTIALS_DIRECTORY}/pgtend_db-password"

[stores.local.directory]
path = "/var/lib/pgtend/store"

[jobs.dump.backup]
to = [{ store = "local" }]

[jobs.program]
signal = "RTMIN+3"
[jobs.program.command]
command = ["sh", "-c", "psql -XAtqc 'select 41 + 1'; id -un"]

[jobs.long]
enabled = false
[jobs.long.sql]
statements = ["select pg_sleep(600)"]
$*
TOML
}
config
printf 'not asked for here\n' >"$tree/etc/pgtend/credentials/db-password"
chmod 600 "$tree/etc/pgtend/credentials/db-password"
# Only so that it can be seen biting in a few seconds.
mkdir -p "$tree/run/systemd/system"
inside install -D -m 644 /dev/stdin /run/systemd/system/pgtend.service.d/test.conf <<'UNIT'
[Service]
WatchdogSec=3s
RestartSec=100ms
UNIT
inside systemctl daemon-reload

# --- ready, and fed -----------------------------------------------------------------------------------------------------

inside systemctl start pgtend || die "it did not start"
is ActiveState active || die "it is not active after its start"
status_is() { [[ $(property StatusText) == "$1"* ]]; }
wait_for "the line for systemctl status" status_is "3 jobs, 0 running"
say "READY, and the status says: $(property StatusText)"
main=$(property MainPID)
[ "$(inside stat -c %U "/proc/$main")" = pgtend ] || die "it does not run as pgtend"
first=$(property WatchdogTimestampMonotonic)
later() { [ "$(property WatchdogTimestampMonotonic)" -gt "$first" ]; }
wait_for "a ping for the watchdog" later
is MainPID "$main" || die "it was started again although it was well"

# Started at a time, and not in 1970: what the hardening leaves of /proc is enough for the process's own metrics.
metrics() { inside python3 -c 'import urllib.request; print(urllib.request.urlopen("http://127.0.0.1:9934/metrics").read().decode())'; }
awk -v then="$(date -d '1 hour ago' +%s)" '$1 == "process_start_time_seconds" && $2 > then { found = 1 } END { exit !found }' \
    < <(metrics) || die "process_start_time_seconds is not right"

# --- triggers by signal, to the daemon alone ----------------------------------------------------------------------------

wait_for "the database" answers "select count(*) from pg_catalog.pg_class where relname = 'run' and relnamespace = 'pgtend'::regnamespace" 1
inside systemctl kill --kill-whom=main -s SIGUSR1 pgtend
wait_for "the runs that SIGUSR1 asked for" answers \
    "select string_agg(job || ' ' || outcome || ' ' || trigger, ', ' order by job) from pgtend.run" \
    "dump succeeded signal, program succeeded signal"
[ -n "$(find "$tree/var/lib/pgtend/store/dump" -name manifest.json)" ] || die "there is no backup"
answers "select details->>'output' like '%42%pgtend%' from pgtend.run where job = 'program'" t || {
    sql "select details from pgtend.run where job = 'program'" >&2
    die "the program did not say what it should"
}
inside systemctl kill --kill-whom=main -s RTMIN+3 pgtend
wait_for "the run that its own signal asked for" answers "select count(*) from pgtend.run where job = 'program' and finished_at is not null" 2
say "SIGUSR1 ran a backup and a program, SIGRTMIN+3 the program alone"

# --- reload -------------------------------------------------------------------------------------------------------------

config '[jobs.more.sql]
statements = ["select 1"]'
inside systemctl reload pgtend || die "it was not reloaded"
wait_for "the job of the new config" status_is "4 jobs"
config 'nonsense = true'
inside systemctl reload pgtend || die "it was not told of the config that is not valid"
refused() { metrics | grep -x 'pgtend_config_last_reload_success 0' >/dev/null; }
wait_for "the refusal of a config that is not valid" refused
is ActiveState active || die "a config that is not valid has ended it"
is MainPID "$main" || die "a reload has started it anew"
status_is "4 jobs" || die "it does not go on by the old config"
config
say "reloaded; an invalid config was refused"

# --- a daemon that hangs ------------------------------------------------------------------------------------------------

inside kill -STOP "$main"
bitten() { is NRestarts 1 && is ActiveState active; }
wait_for "the restart of a daemon that hangs" bitten
say "the watchdog ended a daemon that hung, and it was started again"

# --- a stop in the middle -----------------------------------------------------------------------------------------------

wait_for "its main process" is SubState running
inside env CREDENTIALS_DIRECTORY=/run/credentials/pgtend.service setpriv --reuid=pgtend --regid=pgtend --init-groups pgtend trigger long >/dev/null ||
    die "pgtend trigger"
wait_for "a run in progress" answers "select count(*) from pgtend.run where job = 'long' and finished_at is null" 1
inside systemctl stop pgtend
is Result success || die "its end was no success but $(property Result)"
is ExecMainStatus 0 || die "it ended with status $(property ExecMainStatus)"
answers "select outcome from pgtend.run where job = 'long'" cancelled || die "the run it stopped is not recorded as cancelled"
[ -z "$(inside pgrep -u pgtend || true)" ] || die "it has left processes behind"
say "stopped: its run is recorded as cancelled, nothing is left"

# --- several on one host ------------------------------------------------------------------------------------------------

sed -e '/^password_file/d' -e 's#/var/lib/pgtend/store#/var/lib/pgtend/other/store#' "$tree/etc/pgtend/pgtend.toml" >"$work/other.toml"
printf '[http]\nlisten = "127.0.0.1:9935"\n' >>"$work/other.toml"
install -m 644 "$work/other.toml" "$tree/etc/pgtend/other.toml"
inside systemctl start pgtend@other || die "pgtend@other did not start"
is ActiveState active pgtend@other || die "pgtend@other is not active"
[ "$(inside stat -c '%U %a' /var/lib/pgtend/other)" = "pgtend 700" ] || die "pgtend@other has no folder of its own"
inside systemctl stop pgtend@other
say "pgtend@other ran"

# --- a package that is replaced, removed, and purged --------------------------------------------------------------------

if [ -n "$package" ]; then
    dpkg_inside() {
        inside env DEBIAN_FRONTEND=noninteractive dpkg "$@" >"$work/dpkg.log" 2>&1 ||
            { cat "$work/dpkg.log" >&2; die "dpkg $1"; }
    }
    [ "$(property UnitFileState)" = disabled ] || die "it was enabled by its installation"
    for page in /usr/share/man/man1/pgtend.1.gz /usr/share/bash-completion/completions/pgtend /usr/share/doc/pgtend/deploy/pgtend.toml; do
        [ -s "$tree$page" ] || die "the package has no $page"
    done
    inside pgtend --config /usr/share/doc/pgtend/deploy/pgtend.toml check --offline >/dev/null || die "the example is not valid"

    inside systemctl start pgtend pgtend@other
    before=$(property MainPID) before_other=$(property MainPID pgtend@other)
    # The same again, as a later version.
    dpkg-deb --raw-extract "$package" "$work/next"
    sed -i 's/^Version: .*/&.1/' "$work/next/DEBIAN/control"
    dpkg-deb --build -Znone "$work/next" "$tree/var/tmp/next.deb" >/dev/null
    dpkg_inside --install /var/tmp/next.deb
    is ActiveState active || die "it does not run after an upgrade"
    [ "$(property MainPID)" != "$before" ] || die "the old version went on after an upgrade"
    is ActiveState active pgtend@other || die "an instance does not run after an upgrade"
    [ "$(property MainPID pgtend@other)" != "$before_other" ] || die "an instance went on by the old version"
    [ -s "$tree/etc/pgtend/pgtend.toml" ] || die "an upgrade has taken the config"

    dpkg_inside --remove pgtend
    is ActiveState inactive || die "it runs although it was removed"
    is ActiveState inactive pgtend@other || die "an instance runs although it was removed"
    [ ! -e "$tree/usr/bin/pgtend" ] || die "the program was left behind"
    [ -s "$tree/etc/pgtend/pgtend.toml" ] || die "its removal has taken the config"
    dpkg_inside --purge pgtend
    [ -s "$tree/etc/pgtend/pgtend.toml" ] || die "a purge has taken the config"
    [ -n "$(find "$tree/var/lib/pgtend/store" -name manifest.json)" ] || die "a purge has taken a backup"

    # Where nobody has written anything, nothing is left.
    rm -rf "$tree"/etc/pgtend/* "$tree"/var/lib/pgtend/*
    dpkg_inside --install /var/tmp/next.deb
    dpkg_inside --purge pgtend
    [ ! -e "$tree/etc/pgtend" ] || die "a purge has left /etc/pgtend, empty"
    [ ! -e "$tree/var/lib/pgtend" ] || die "a purge has left /var/lib/pgtend, empty"
    say "the package was installed, replaced, removed and purged"
fi

power_off
say "all is well"
