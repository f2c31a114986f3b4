#!/usr/bin/env bash
# A real Redis server for tests, on a free port of the loopback interface.
#
#   redis.sh start DIR [OPTION…]   start a server that keeps everything under DIR, or the server of DIR again with the
#                                  same port, data and options; prints url=redis://127.0.0.1:PORT, pid=… and
#                                  socket=PATH when it answers. Options are passed on: --maxmemory 10mb
#   redis.sh stop DIR              stop it in order            redis.sh kill DIR      kill -9
#
# DRIFTLINE_REDIS_OWNER names a process id: when that process is gone, the server is killed.
# Exit codes: 0 done · 1 the server failed · 2 usage · 77 Redis cannot be had here (stderr says why).
# What it leaves to others: what is in the server, and deciding whether 77 counts as skipped or as failed.
set -euo pipefail

START_TIMEOUT_S=20
STOP_TIMEOUT_S=20
PORT_TRIES=5

say() { echo "redis.sh: $*" >&2; }
fail() { say "$1"; exit "${2:-1}"; }
usage() { sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

need_redis() {
    command -v redis-server >/dev/null && command -v redis-cli >/dev/null && return 0
    fail "needs redis-server and redis-cli: install them (on Debian: apt-get install redis-server), or run tests/services/install.sh" 77
}

# Any answer will do: a server with a password says NOAUTH, one that loads says LOADING.
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1" && printf 'PING\r\n' >&3 && read -r -t 2 _ <&3) 2>/dev/null; }

# A port below the kernel's ephemeral range, so that no outgoing connection takes it in between.
free_port() {
    local port
    while :; do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        answers "$port" || { echo "$port"; return; }
    done
}

# The server's process id while it runs. A zombie, or a stranger that got the same id, is not the server.
running() {
    local pid state
    pid=$(cat "$DIR/pid" 2>/dev/null) || return 1
    state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$pid/status" 2>/dev/null) || return 1
    [ -n "$state" ] && [ "$state" != Z ] || return 1
    [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$DIR" ] || return 1
    echo "$pid"
}

# A test that is itself killed cannot stop its server: the server must not outlive it.
watch_owner() {
    local owner=${DRIFTLINE_REDIS_OWNER:-}
    [ -n "$owner" ] || return 0
    setsid bash -c 'while kill -0 "$1" && kill -0 "$2"; do sleep 1; done; kill -0 "$1" || kill -9 "$2"' watch "$owner" "$1" \
        >/dev/null 2>&1 </dev/null &
}

launch() {
    local port=$1 pid deadline=$((SECONDS + START_TIMEOUT_S)) options=()
    mapfile -d '' -t options <"$DIR/options"
    rm -f "$DIR/redis.sock"
    : >"$DIR/redis.log"
    setsid redis-server --dir "$DIR" --port "$port" --bind 127.0.0.1 --unixsocket "$DIR/redis.sock" --save '' \
        --enable-debug-command local "${options[@]}" >>"$DIR/redis.log" 2>&1 </dev/null &
    pid=$!
    echo "$pid" >"$DIR/pid"
    watch_owner "$pid"
    while [ $SECONDS -lt $deadline ]; do
        kill -0 "$pid" 2>/dev/null || return 1
        if running >/dev/null && answers "$port"; then return 0; fi
        sleep 0.05
    done
    say "no answer after $START_TIMEOUT_S s"
    kill -9 "$pid" 2>/dev/null || true
    return 1
}

tell() { printf 'url=redis://127.0.0.1:%s\npid=%s\nsocket=%s\n' "$(cat "$DIR/port")" "$(cat "$DIR/pid")" "$DIR/redis.sock"; }

start() {
    need_redis
    if running >/dev/null; then tell; return; fi
    if [ -e "$DIR/port" ]; then
        launch "$(cat "$DIR/port")" || fail "the server did not come back: $(tail -n 20 "$DIR/redis.log")"
        tell
        return
    fi
    local try port
    : >"$DIR/options"
    [ $# -eq 0 ] || printf '%s\0' "$@" >"$DIR/options"
    for try in $(seq "$PORT_TRIES"); do
        port=$(free_port)
        if launch "$port"; then
            echo "$port" >"$DIR/port"
            tell
            return
        fi
        grep -q 'Address already in use' "$DIR/redis.log" || break
        say "the port was taken meanwhile (try $try), choosing another"
    done
    fail "the server did not start: $(tail -n 20 "$DIR/redis.log")"
}

# Sends a signal and waits until the process is gone.
end_with() {
    local pid deadline=$((SECONDS + STOP_TIMEOUT_S))
    pid=$(running) || return 0
    kill "-$1" "$pid"
    while running >/dev/null; do
        [ $SECONDS -lt $deadline ] || fail "process $pid is still there $STOP_TIMEOUT_S s after signal $1"
        sleep 0.02
    done
}

[ $# -ge 2 ] || usage
COMMAND=$1
mkdir -p "$2"
DIR=$(cd "$2" && pwd -P)
shift 2
case $COMMAND in
start) start "$@" ;;
stop) end_with TERM ;;
kill) end_with KILL ;;
*) usage ;;
esac
