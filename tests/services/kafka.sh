#!/usr/bin/env bash
# A real single-node Apache Kafka for tests, without containers: Java, and jars resolved by Maven.
#
#   kafka.sh start DIR [PORT]   start a new broker that keeps everything under DIR, or the broker of DIR again;
#                               prints its bootstrap address, alone, on stdout when it answers
#   kafka.sh stop DIR           stop it in order            kafka.sh kill DIR      kill -9
#   kafka.sh restart DIR        the same ports and data; prints the address again
#   kafka.sh address DIR        print the address           kafka.sh sasl DIR      print the address that asks for
#                               credentials (PLAIN or SCRAM; user driftline, password only-for-tests)
#   kafka.sh tls DIR            the same within TLS: without credentials, and
#   kafka.sh sasl_tls DIR       with them. Only a broker that finds DIR/keystore.pem at its first start has these two
#                               listeners; the file holds the private key (PKCS #8) and the certificates.
#
# DRIFTLINE_KAFKA_BROKERS names a broker that is already running: it is printed and nothing is started.
# DRIFTLINE_KAFKA_OWNER names a process id: when that process is gone, the broker is killed.
# Exit codes: 0 done · 1 the broker failed · 2 usage · 77 Kafka cannot be had here (stderr says why).
# What it leaves to others: topics, and deciding whether 77 counts as skipped or as failed.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
POM="$HERE/kafka/pom.xml"
TEMPLATE="$HERE/kafka/server.properties"
VERSION=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$POM")
CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/driftline/kafka-$VERSION"
START_TIMEOUT_S=120
STOP_TIMEOUT_S=30
PORT_TRIES=5

say() { echo "kafka.sh: $*" >&2; }
fail() { say "$1"; exit "${2:-1}"; }
usage() { sed -n '2,16s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

# Runs a command as root where that is possible, and fails otherwise.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo -n "$@"; else return 1; fi
}

java_is_new_enough() {
    local major
    major=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1) || return 1
    [ "${major:-0}" -ge 17 ]
}

install_packages() {
    command -v apt-get >/dev/null || fail "needs $*: install them by hand (this machine has no apt-get)" 77
    say "installing $*"
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get install -y -qq --no-install-recommends "$@" >&2 && return 0
    as_root apt-get update -qq >&2 || true
    as_root apt-get install -y -qq --no-install-recommends "$@" >&2
}

need_java() {
    java_is_new_enough && return 0
    # Debian 12 has 17; later releases have only newer ones, which do as well.
    install_packages openjdk-17-jre-headless || install_packages default-jre-headless || true
    java_is_new_enough || fail "needs Java 17 or newer: install openjdk-17-jre-headless" 77
}

# Resolves the jars once per version; the directory appears whole or not at all.
need_jars() {
    [ -e "$CACHE/libs/kafka_2.13-$VERSION.jar" ] && return 0
    command -v mvn >/dev/null || install_packages maven || true
    command -v mvn >/dev/null || fail "needs Maven to resolve Kafka $VERSION: install maven" 77
    mkdir -p "$CACHE"
    exec 9>"$CACHE/lock"
    flock 9
    if [ ! -e "$CACHE/libs/kafka_2.13-$VERSION.jar" ]; then
        say "resolving Kafka $VERSION by Maven, once"
        rm -rf "$CACHE/libs" "$CACHE/libs.new"
        mvn -B -q -f "$POM" dependency:copy-dependencies -DincludeScope=runtime \
            -DoutputDirectory="$CACHE/libs.new" >&2 || fail "Maven cannot resolve Kafka $VERSION, see above" 77
        mv "$CACHE/libs.new" "$CACHE/libs"
    fi
    exec 9>&-
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

# The broker's process id while it runs. A zombie, or a stranger that got the same id, is not the broker.
running() {
    local pid state
    pid=$(cat "$DIR/pid" 2>/dev/null) || return 1
    state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$pid/status" 2>/dev/null) || return 1
    [ -n "$state" ] && [ "$state" != Z ] || return 1
    tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qxF "$DIR/server.properties" || return 1
    echo "$pid"
}

port_of() { sed -n "s/^$1=//p" "$DIR/ports"; }

configure() {
    local port=${1:-} sasl controller
    [ -n "$port" ] || port=$(free_port)
    sasl=$(free_port)
    controller=$(free_port)
    printf 'plain=%s\nsasl=%s\ncontroller=%s\n' "$port" "$sasl" "$controller" >"$DIR/ports"
    sed -e "s|@DATA@|$DIR/data|; s|@PORT@|$port|g; s|@SASL_PORT@|$sasl|g; s|@CONTROLLER_PORT@|$controller|g" \
        "$TEMPLATE" >"$DIR/server.properties"
    [ ! -e "$DIR/keystore.pem" ] || configure_tls
    rm -rf "$DIR/data"
    local id
    # A cluster id is 16 bytes in URL-safe base64; a leading dash would be read as an option.
    id=k$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 2-22)
    java -Xmx128m -XX:TieredStopAtLevel=1 -cp "$CACHE/libs/*" kafka.tools.StorageTool format --standalone \
        --cluster-id "$id" --config "$DIR/server.properties" \
        --add-scram 'SCRAM-SHA-256=[name=driftline,password=only-for-tests]' \
        --add-scram 'SCRAM-SHA-512=[name=driftline,password=only-for-tests]' >"$DIR/format.log" 2>&1 ||
        fail "formatting the storage failed: $(tail -n 5 "$DIR/format.log")"
}

# Adds two listeners within TLS.
configure_tls() {
    local tls sasl_tls added
    tls=$(free_port)
    sasl_tls=$(free_port)
    printf 'tls=%s\nsasl_tls=%s\n' "$tls" "$sasl_tls" >>"$DIR/ports"
    added="SSL://127.0.0.1:$tls,SASL_SSL://127.0.0.1:$sasl_tls"
    sed -i -e "s|^listeners=|&$added,|; s|^advertised.listeners=|&$added,|" \
        -e 's|^listener.security.protocol.map=|&SSL:SSL,SASL_SSL:SASL_SSL,|' \
        -e 's|^listener.name.sasl_plaintext\(.*\)|&\nlistener.name.sasl_ssl\1|' "$DIR/server.properties"
    printf 'ssl.keystore.type=PEM\nssl.keystore.location=%s\n' "$DIR/keystore.pem" >>"$DIR/server.properties"
}

# A test that is itself killed cannot stop its broker: the broker must not outlive it.
watch_owner() {
    local owner=${DRIFTLINE_KAFKA_OWNER:-}
    [ -n "$owner" ] || return 0
    setsid bash -c 'while kill -0 "$1" && kill -0 "$2"; do sleep 1; done; kill -0 "$1" || kill -9 "$2"' watch "$owner" "$1" \
        >/dev/null 2>&1 </dev/null &
}

# Starts the process and waits until it says that it has started and accepts a connection.
launch() {
    local pid deadline=$((SECONDS + START_TIMEOUT_S))
    : >"$DIR/broker.log"
    setsid java -Xms128m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$CACHE/libs/*" \
        kafka.Kafka "$DIR/server.properties" >>"$DIR/broker.log" 2>&1 </dev/null &
    pid=$!
    echo "$pid" >"$DIR/pid"
    watch_owner "$pid"
    while [ $SECONDS -lt $deadline ]; do
        if grep -q 'Kafka Server started' "$DIR/broker.log" && answers "$(port_of plain)"; then return 0; fi
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.1
    done
    say "no answer after $START_TIMEOUT_S s"
    kill -9 "$pid" 2>/dev/null || true
    return 1
}

start() {
    need_java
    need_jars
    mkdir -p "$DIR"
    if running >/dev/null; then address; return; fi
    if [ -e "$DIR/data/meta.properties" ]; then
        launch || fail "the broker did not come back: $(tail -n 20 "$DIR/broker.log")"
        address
        return
    fi
    local try
    for try in $(seq "$PORT_TRIES"); do
        configure "${1:-}"
        if launch; then address; return; fi
        grep -q 'Address already in use' "$DIR/broker.log" && [ -z "${1:-}" ] || break
        say "a port was taken meanwhile (try $try), choosing others"
    done
    fail "the broker did not start: $(tail -n 20 "$DIR/broker.log")"
}

# Sends a signal and waits until the process is gone.
end_with() {
    local pid deadline=$((SECONDS + STOP_TIMEOUT_S))
    pid=$(running) || return 0
    kill "-$1" "$pid"
    while running >/dev/null; do
        [ $SECONDS -lt $deadline ] || fail "process $pid is still there $STOP_TIMEOUT_S s after signal $1"
        sleep 0.05
    done
}

address() { echo "127.0.0.1:$(port_of plain)"; }

[ $# -ge 2 ] || usage
COMMAND=$1
if [ -n "${DRIFTLINE_KAFKA_BROKERS:-}" ]; then
    case $COMMAND in
    start | address) echo "$DRIFTLINE_KAFKA_BROKERS"; exit 0 ;;
    stop) exit 0 ;;
    *) fail "'$COMMAND' is not for the broker of DRIFTLINE_KAFKA_BROKERS, which is not ours" 77 ;;
    esac
fi
mkdir -p "$2"
DIR=$(cd "$2" && pwd)
case $COMMAND in
start) start "${3:-}" ;;
stop) end_with TERM ;;
kill) end_with KILL ;;
restart) end_with TERM; start ;;
address) address ;;
sasl | tls | sasl_tls) echo "127.0.0.1:$(port_of "$COMMAND")" ;;
*) usage ;;
esac
