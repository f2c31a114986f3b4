#!/usr/bin/env bash
# A real PostgreSQL server for tests, throw-away: small, on loopback, without fsync.
#
#   postgres.sh start DIR [NAME=VALUE …]   start a new server that keeps everything under DIR, or the server of DIR
#                                          again; settings are added to its own. When it answers it prints
#                                            url=…            of a superuser
#                                            driftline_url=…  of the role driftline, which has pg_monitor
#                                            bin=…            the directory of its programs
#   postgres.sh stop DIR                   stop it in order             postgres.sh kill DIR      kill -9, all of it
#   postgres.sh restart DIR                the same port and data; prints the lines again
#   postgres.sh url DIR                    print the lines
#
# It works as an ordinary user and as root, where the server runs as the user postgres (or nobody): DIR must then be
# reachable for that user, and becomes that user's.
# DRIFTLINE_POSTGRES_BIN names the directory of initdb and postgres; by default the newest of Debian's, else of PATH.
# DRIFTLINE_POSTGRES_OWNER names a process id: when that process is gone, the server is stopped.
# Exit codes: 0 done · 1 the server failed · 2 usage · 77 PostgreSQL cannot be had here (stderr says why).
set -euo pipefail

PASSWORD=only-for-tests
START_TIMEOUT_S=60
STOP_TIMEOUT_S=30
PORT_TRIES=5

say() { echo "postgres.sh: $*" >&2; }
fail() { say "$1"; exit "${2:-1}"; }
usage() { sed -n '2,18s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

find_bin() {
    local candidate
    if [ -n "${DRIFTLINE_POSTGRES_BIN:-}" ]; then
        echo "$DRIFTLINE_POSTGRES_BIN"
        return
    fi
    for candidate in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -t/ -k5 -Vr); do
        [ -x "$candidate/initdb" ] && [ -x "$candidate/postgres" ] && { echo "$candidate"; return; }
    done
    candidate=$(command -v initdb) && dirname "$(readlink -f "$candidate")"
}

# The server refuses to run as root.
as_owner() {
    if [ "$(id -u)" = 0 ]; then (cd / && runuser -u "$OWNER" -- "$@"); else "$@"; fi
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A port below the kernel's ephemeral range, so that no outgoing connection takes it in between.
free_port() {
    local port
    while :; do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        answers "$port" || { echo "$port"; return; }
    done
}

port() { cat "$DIR/port"; }

print_lines() {
    echo "url=postgresql://postgres:$PASSWORD@127.0.0.1:$(port)/postgres"
    echo "driftline_url=postgresql://driftline:$PASSWORD@127.0.0.1:$(port)/postgres"
    echo "bin=$BIN"
}

# The postmaster's process id while it runs.
running() {
    local pid state
    pid=$(head -n 1 "$DIR/data/postmaster.pid" 2>/dev/null) || return 1
    [ -n "$pid" ] || return 1
    state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$pid/status" 2>/dev/null) || return 1
    [ -n "$state" ] && [ "$state" != Z ] || return 1
    tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qxF "$DIR/data" || return 1
    echo "$pid"
}

initialise() {
    local try=$1 preload="pg_stat_statements"
    shift
    [ "$try" = 1 ] || return 0
    [ -e "$("$BIN/pg_config" --sharedir 2>/dev/null)/extension/pg_stat_statements.control" ] ||
        [ -e "$BIN/../share/postgresql/extension/pg_stat_statements.control" ] ||
        [ -e "$BIN/../share/extension/pg_stat_statements.control" ] || preload=""
    printf '%s\n' "$PASSWORD" >"$DIR/password"
    [ "$(id -u)" != 0 ] || chown -R "$OWNER" "$DIR"
    as_owner "$BIN/initdb" -D "$DIR/data" -U postgres -A scram-sha-256 --pwfile="$DIR/password" -E UTF8 --locale=C \
        --no-sync >"$DIR/initdb.log" 2>&1 || fail "initdb failed: $(tail -n 5 "$DIR/initdb.log")"
    cat >>"$DIR/data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
shared_preload_libraries = '$preload'
max_connections = 60
shared_buffers = 32MB
track_io_timing = on
fsync = off
synchronous_commit = off
full_page_writes = on
max_wal_size = 256MB
autovacuum_naptime = 10s
logging_collector = off
CONF
    [ "$#" = 0 ] || printf '%s\n' "$@" | sed "s/^\([^=]*\)=\(.*\)$/\1 = '\2'/" >>"$DIR/data/postgresql.conf"
}

# A test that is itself killed cannot stop its server: the server must not outlive it.
watch_owner() {
    local owner=${DRIFTLINE_POSTGRES_OWNER:-}
    [ -n "$owner" ] || return 0
    setsid bash -c 'while kill -0 "$1" && kill -0 "$2"; do sleep 1; done; kill -0 "$1" || kill -QUIT "$2"' watch "$owner" "$1" \
        >/dev/null 2>&1 </dev/null &
}

# Starts the process and waits until it says that it is ready and accepts a connection.
launch() {
    local deadline=$((SECONDS + START_TIMEOUT_S)) pid
    : >"$DIR/server.log"
    [ "$(id -u)" != 0 ] || chown "$OWNER" "$DIR/server.log"
    # shellcheck disable=SC2016 # the inner shell expands them
    as_owner setsid bash -c '"$1" -D "$2" -p "$3" >>"$4" 2>&1 </dev/null &' launch \
        "$BIN/postgres" "$DIR/data" "$(port)" "$DIR/server.log"
    while [ $SECONDS -lt $deadline ]; do
        if pid=$(running) && grep -q 'ready to accept connections' "$DIR/server.log" && answers "$(port)"; then
            watch_owner "$pid"
            return 0
        fi
        grep -q 'FATAL' "$DIR/server.log" && ! running >/dev/null && return 1
        sleep 0.05
    done
    say "no answer after $START_TIMEOUT_S s"
    return 1
}

# The role and the extension, before the first start, so that no client is needed.
prepare() {
    local extension=""
    ! grep -q "^shared_preload_libraries = 'pg_stat_statements'" "$DIR/data/postgresql.conf" ||
        extension="CREATE EXTENSION IF NOT EXISTS pg_stat_statements;"
    as_owner "$BIN/postgres" --single -D "$DIR/data" -c shared_preload_libraries= postgres >"$DIR/prepare.log" 2>&1 <<SQL || fail "the role could not be made: $(tail -n 5 "$DIR/prepare.log")"
CREATE ROLE driftline LOGIN PASSWORD '$PASSWORD' IN ROLE pg_monitor;
$extension
SQL
}

start() {
    [ -n "$BIN" ] && [ -x "$BIN/postgres" ] || fail "needs PostgreSQL: install postgresql (tests/services/install.sh does)" 77
    if running >/dev/null; then print_lines; return; fi
    if [ -e "$DIR/data/PG_VERSION" ]; then
        launch || fail "the server did not come back: $(tail -n 20 "$DIR/server.log")"
        print_lines
        return
    fi
    local try
    for try in $(seq "$PORT_TRIES"); do
        free_port >"$DIR/port"
        initialise "$try" "$@"
        [ "$try" != 1 ] || prepare
        if launch; then print_lines; return; fi
        grep -q 'Address already in use\|could not bind' "$DIR/server.log" || break
        say "the port was taken meanwhile (try $try), choosing another one"
    done
    fail "the server did not start: $(tail -n 20 "$DIR/server.log")"
}

# Sends a signal to the postmaster and waits until it is gone.
end_with() {
    local pid deadline=$((SECONDS + STOP_TIMEOUT_S))
    pid=$(running) || return 0
    [ "$1" != KILL ] || mapfile -t backends < <(pgrep -P "$pid" || true)
    kill "-$1" "$pid" "${backends[@]:-$pid}" 2>/dev/null || true
    while running >/dev/null; do
        [ $SECONDS -lt $deadline ] || fail "process $pid is still there $STOP_TIMEOUT_S s after signal $1"
        sleep 0.05
    done
    [ "$1" != KILL ] || rm -f "$DIR/data/postmaster.pid"
}

[ $# -ge 2 ] || usage
COMMAND=$1
mkdir -p "$2"
DIR=$(cd "$2" && pwd)
shift 2
BIN=$(find_bin) || BIN=""
OWNER=postgres
id "$OWNER" >/dev/null 2>&1 || OWNER=nobody
case $COMMAND in
start) start "$@" ;;
stop) end_with INT ;;
kill) end_with KILL ;;
restart) end_with INT; start ;;
url) print_lines ;;
*) usage ;;
esac
