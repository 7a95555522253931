# shellcheck shell=bash disable=SC2034,SC2154 # what is set here is used by who sources it, who has set the rest
# A container with a real systemd, for tests of what is installed on a host. Not run but sourced, with `root`, the checkout, and
# `me`, what its lines begin with, set beforehand.
#
# The container is this machine's own root below an overlay whose upper layer is in memory: nothing is fetched, nothing of
# the machine is changed, and all of it is gone at the end. It needs root and systemd-nspawn; where it cannot run it says so,
# and the script ends with status 77.
#
#   say, skip, die         lines of the script, and its ends
#   wait_for WHAT COMMAND  until it succeeds; a minute at most
#   work, tree             a folder for the script, and the container's root
#   bin                    the programs of the newest PostgreSQL server there is
#   inside COMMAND         runs it there, as root
#   property NAME [UNIT]   of the unit pgtend, or of another; `is NAME VALUE [UNIT]`

say() { printf '%s: %s\n' "$me" "$*"; }

skip() {
    printf '%s: SKIPPED, %s\n' "$me" "$*" >&2
    exit 77
}

die() {
    printf '%s: FAILED, %s\n' "$me" "$*" >&2
    if [ -n "${leader:-}" ]; then
        inside systemctl status --no-pager --lines=40 'pgtend*' >&2 || true
    elif [ -e "$work/boot.log" ]; then
        tail -n 40 "$work/boot.log" >&2
    fi
    exit 1
}

[ "$(id -u)" -eq 0 ] || skip "booting a container needs root"
command -v systemd-nspawn >/dev/null 2>&1 || skip "systemd-nspawn is not installed (scripts/deps.sh installs it)"
bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
[ -x "$bin/postgres" ] || skip "no PostgreSQL server in /usr/lib/postgresql"

work=$(mktemp -d)
leader=
nspawn=

end() {
    # Killing nspawn alone would leave its systemd, and all below it.
    [ -z "$leader" ] || kill -KILL "$leader" 2>/dev/null || true
    if [ -n "$nspawn" ]; then
        kill "$nspawn" 2>/dev/null || true
        wait "$nspawn" 2>/dev/null || true
    fi
    umount "$work/layers/root" 2>/dev/null || true
    umount "$work/layers" 2>/dev/null || true
    rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM

# What the condition is for, then the condition. It holds within a minute, or never.
wait_for() {
    local what=$1 tries=600
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || die "this did not come: $what"
        sleep 0.1
    done
}

inside() { nsenter --target "$leader" --all -- "$@"; }
property() { inside systemctl show --property="$1" --value "${2:-pgtend}"; }
is() { [ "$(property "$1" "${3:-pgtend}")" = "$2" ]; }

# --- boot -------------------------------------------------------------------------------------------------------------

mkdir "$work/layers"
mount -t tmpfs tmpfs "$work/layers" 2>/dev/null || skip "nothing can be mounted here"
mkdir "$work/layers/upper" "$work/layers/work" "$work/layers/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/layers/upper,workdir=$work/layers/work" "$work/layers/root" 2>/dev/null ||
    skip "the kernel has no overlay for us"
tree=$work/layers/root

# A machine that is a container itself may forbid packages to start anything.
rm -f "$tree/etc/machine-id" "$tree/usr/sbin/policy-rc.d"
# What this machine would start for itself is not wanted; the first of these would wait for a network for two minutes.
for unit in systemd-networkd-wait-online systemd-networkd postgresql pgbouncer prometheus; do
    ln -sf /dev/null "$tree/etc/systemd/system/$unit.service"
done
rm -rf "$tree/etc/systemd/system/multi-user.target.wants"

SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --directory="$tree" --machine="pgtend-$$" --register=no --keep-unit \
    --private-network --boot systemd.unit=multi-user.target >"$work/boot.log" 2>&1 </dev/null &
nspawn=$!
find_leader() { leader=$(pgrep --parent "$nspawn" --exact systemd); }
wait_for "the container's first process" find_leader
booted() {
    # "degraded" too: which other units this machine has, and how they are, is not ours to say.
    [[ $(inside systemctl is-system-running) =~ ^(running|degraded)$ ]]
}
wait_for "the end of the boot" booted
say "booted $(inside systemctl --version | head -n 1)"

power_off() {
    inside systemctl poweroff >/dev/null 2>&1 || true
    wait "$nspawn" 2>/dev/null || true
    nspawn=
    leader=
}
