# shellcheck shell=bash disable=SC2034 # what is set here is used by who sources it
# A throwaway PostgreSQL server, and what runs beside it. Not run but sourced, by the demo and the benches, from the top of
# the checkout:
#
#   . scripts/server.sh
#
# Whatever becomes of the script, its folders go, and so do the processes it has put into `children`: the server, which is
# the first of them, last. If the script fails, the logs in its folder (*.log) are shown by their ends.
#
#   build_pgtend PROFILE     `pgtend`: the path of $PGTEND, or of a build in the profile `release` or `dev`
#   find_server [PROGRAM]    `bin`: the server's programs, in PATH from then on; $PG_BIN, or Debian's newest,
#                            which must have that program
#   make_folders PARENT      `folder`, for whatever the script writes, and `sockets`, whose path is short
#   start_server SETTINGS…   a server that listens on a socket alone, as nobody where the script is root's; waits for it.
#                            psql, pgtend and the like then find it by PGHOST and the rest
#   sql …                    psql, bare and strict
#   wait_until, end_process, say, die

me=${0##*/}
me=${me%%[._]*}
folder=
sockets=
children=()

say() { printf '%s: %s\n' "$me" "$*" >&2; }

die() {
    say "$*"
    exit 1
}

# Ends a child of ours: the first signal asks, the last does not. A child that has ended already is fine.
end_process() {
    local pid=$1 signal
    for signal in "${@:2}"; do
        kill -s "$signal" "$pid" 2>/dev/null || break
        for _ in $(seq 100); do
            kill -0 "$pid" 2>/dev/null || break 2
            sleep 0.1
        done
    done
    wait "$pid" 2>/dev/null || true
}

# Ends the child that was started last.
end_last() {
    end_process "${children[-1]}" TERM KILL
    unset 'children[-1]'
}

clean_up() {
    local status=$? i
    trap '' INT TERM HUP
    # Above 128 somebody interrupted it, and needs no explanation.
    if [ "$status" -ne 0 ] && [ "$status" -lt 128 ] && [ -n "$folder" ]; then
        local log
        for log in "$folder"/*.log; do
            [ -s "$log" ] || continue
            printf '\n%s: it ended early (status %s); %s ends so:\n' "$me" "$status" "${log##*/}" >&2
            tail -n 15 "$log" >&2
        done
    fi
    # When the server goes nobody is connected any more who would only complain.
    for ((i = ${#children[@]} - 1; i > 0; i--)); do
        end_process "${children[i]}" TERM KILL
    done
    [ ${#children[@]} -eq 0 ] || end_process "${children[0]}" QUIT KILL
    [ -z "$folder" ] || rm -rf "$folder"
    [ -z "$sockets" ] || rm -rf "$sockets"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Waits until a command succeeds, as long as the process it depends on lives.
wait_until() {
    local what=$1 pid=$2
    shift 2
    for _ in $(seq 600); do
        if "$@" >/dev/null 2>&1; then
            return
        fi
        kill -0 "$pid" 2>/dev/null || die "ended before $what"
        sleep 0.1
    done
    die "waited a minute in vain until $what"
}

build_pgtend() {
    local built=$1 target=${CARGO_TARGET_DIR:-target}
    if [ -n "${PGTEND:-}" ]; then
        pgtend=$PGTEND
        return
    fi
    say "building pgtend, profile $1"
    cargo build --quiet --locked --profile "$1" --bin pgtend
    [ "$built" != dev ] || built=debug
    case $target in /*) ;; *) target=$PWD/$target ;; esac
    pgtend=$target/$built/pgtend
}

find_server() {
    bin=${PG_BIN:-$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)}
    [ -x "$bin/${1:-postgres}" ] || die "there is no ${1:-postgres} in $bin; set PG_BIN to a folder with all of PostgreSQL's programs"
    export PATH="$bin:$PATH"
}

make_folders() {
    folder=$(mktemp -d "$1/pgtend-$me.XXXXXX")
    sockets=$(mktemp -d "/tmp/pgtend-$me.XXXXXX")
    chmod 755 "$folder" "$sockets"
    if [ "$(id -u)" -eq 0 ]; then
        # PostgreSQL refuses to run as root.
        chown 65534:65534 "$sockets"
        as_server=(setpriv --reuid=65534 --regid=65534 --clear-groups env -C /)
    else
        as_server=(env)
    fi
}

# For benches, where it matters what fsync costs. What kind of disk it is goes to `disk`.
insist_on_disk() {
    disk=$(stat -f -c %T "$folder")
    case $disk in
    tmpfs | ramfs) die "$folder is in memory, where fsync costs nothing: set BENCH_DIR to a folder on a disk" ;;
    esac
}

# A folder for a server, which insists that it is nobody else's.
server_folder() {
    mkdir -m 700 "$1"
    [ "$(id -u)" -ne 0 ] || chown 65534:65534 "$1"
}

start_server() {
    local setting settings=()
    for setting in listen_addresses= unix_socket_directories="$sockets" "$@"; do
        settings+=(-c "$setting")
    done
    server_folder "$folder/data"
    "${as_server[@]}" "$bin/initdb" --no-sync --no-locale --encoding=UTF8 --auth=trust --username=postgres \
        --pgdata="$folder/data" >"$folder/server.log" 2>&1
    "${as_server[@]}" "$bin/postgres" -D "$folder/data" "${settings[@]}" >>"$folder/server.log" 2>&1 &
    server=$!
    children+=("$server")
    unset PGSERVICE PGPASSWORD PGHOSTADDR PGOPTIONS PGSSLMODE PGTEND_CONFIG RUST_LOG
    export PGHOST=$sockets PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
    wait_until "the server accepts connections" "$server" pg_isready -q
}

sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }
