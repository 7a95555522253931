#!/usr/bin/env bash
# Installs what the tests and the demo need on Debian or Ubuntu, and nothing when it is all there.
#
#   scripts/deps.sh          everything `make test` and `make lint` use
#   scripts/deps.sh demo     only what `make demo` uses: a PostgreSQL server, and pip, which an S3 server comes by
#   scripts/deps.sh ui       a browser, for the test of the status page; on Debian alone, since Ubuntu has it as a snap
#   scripts/deps.sh bench    a PostgreSQL server, and pg_partman for it and pigz, to be compared with
#
# It leaves no server running that was not running before: the main cluster that Debian's packages would create is
# not created, and services of newly installed packages are neither started now nor at the next boot. pgtend's tests
# start servers of their own, in temporary folders.
set -euo pipefail

what=${1:-test}

say() { printf 'deps: %s\n' "$*"; }

die() {
    printf 'deps: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

have_server() {
    local bin
    for bin in /usr/lib/postgresql/*/bin/postgres; do
        [ -x "$bin" ] && return
    done
    return 1
}

have_faketime() {
    local lib
    for lib in /usr/lib/*/faketime/libfaketimeMT.so.1; do
        [ -e "$lib" ] && return
    done
    return 1
}

# pgbouncer lives in /usr/sbin, which an ordinary user's PATH may lack.
have_pgbouncer() { [ -x /usr/sbin/pgbouncer ] || have pgbouncer; }

missing=()
have_server || missing+=(postgresql)
have python3 || missing+=(python3)
case $what in
demo)
    python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
    ;;
ui)
    if grep -q '^ID=debian$' /etc/os-release 2>/dev/null; then
        have chromium || missing+=(chromium)
        have chromedriver || missing+=(chromium-driver)
        [ -e /usr/share/fonts/truetype/dejavu ] || missing+=(fonts-dejavu-core)
    fi
    ;;
bench)
    have pigz || missing+=(pigz)
    # Where the newest server is not Debian's, there may be none for it.
    major=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1 | cut -d/ -f5)
    if [ ! -e "/usr/share/postgresql/$major/extension/pg_partman.control" ] &&
        apt-cache show "postgresql-$major-partman" >/dev/null 2>&1; then
        missing+=("postgresql-$major-partman")
    fi
    ;;
test)
    have_pgbouncer || missing+=(pgbouncer)
    have_faketime || missing+=(faketime)
    have promtool || missing+=(prometheus)
    # systemd-analyze reads the units; systemd-nspawn boots a systemd that runs them.
    have systemd-analyze || missing+=(systemd)
    have systemd-nspawn || missing+=(systemd-container)
    have shellcheck || missing+=(shellcheck)
    # What opens backups by hand.
    have age || missing+=(age)
    have zstd || missing+=(zstd)
    have openssl || missing+=(openssl)
    python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
    ;;
*) die "unknown set '$what': leave it out for everything, or say 'demo', 'ui' or 'bench'" ;;
esac

# Rust programs need a linker, and cargo does not bring one.
have cc || missing+=(gcc libc6-dev)

if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi

have apt-get || die "this machine has no apt-get; install what stands for Debian's ${missing[*]} by hand, then try again"

if [ "$(id -u)" -eq 0 ]; then
    as_root=()
elif have sudo; then
    as_root=(sudo)
else
    die "installing ${missing[*]} needs root: run 'apt-get install ${missing[*]}' as root, or install sudo"
fi

policy=/usr/sbin/policy-rc.d
createcluster=/etc/postgresql-common/createcluster.conf
scratch=$(mktemp -d)
policy_is_ours=no

restore() {
    if [ "$policy_is_ours" = yes ]; then
        "${as_root[@]}" rm -f "$policy"
    fi
    if [ -e "$scratch/createcluster.conf" ]; then
        "${as_root[@]}" cp "$scratch/createcluster.conf" "$createcluster"
    fi
    rm -rf "$scratch"
}
trap restore EXIT
trap 'exit 130' INT TERM

apt_install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=120 install -qq -y --no-install-recommends "$@" >"$scratch/apt.log" 2>&1
}

# Package lists may be absent (a fresh container) or stale (the version they name is gone): then update, once.
install_packages() {
    if ! apt_install "$@"; then
        "${as_root[@]}" apt-get update -qq
        apt_install "$@" || {
            cat "$scratch/apt.log" >&2
            die "apt-get could not install $*; its output is above"
        }
    fi
}

# The answer 101 tells maintainer scripts that services must not be started.
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$scratch/policy-rc.d"
    "${as_root[@]}" install -m 0755 "$scratch/policy-rc.d" "$policy"
    policy_is_ours=yes
fi

say "installing ${missing[*]}"

case " ${missing[*]} " in
*" postgresql "*)
    install_packages postgresql-common
    cp "$createcluster" "$scratch/createcluster.conf"
    { grep -v '^ *create_main_cluster' "$scratch/createcluster.conf" || true; } >"$scratch/without-main.conf"
    echo 'create_main_cluster = false' >>"$scratch/without-main.conf"
    "${as_root[@]}" cp "$scratch/without-main.conf" "$createcluster"
    ;;
esac

install_packages "${missing[@]}"

for service in pgbouncer prometheus; do
    case " ${missing[*]} " in
    *" $service "*)
        if have systemctl; then
            "${as_root[@]}" systemctl disable --quiet "$service" >/dev/null 2>&1 || say "could not disable $service at boot"
        fi
        ;;
    esac
done

say "done"
