#!/usr/bin/env bash
# Installs what the build and the tests need and the machine lacks: a C compiler and make, OpenSSL's
# headers and pkg-config for TLS to Kafka, Java 17 and Maven for a real Kafka, PostgreSQL with HypoPG, Redis, Python with polars and deltalake for the
# interoperability test.
# Without the right to install it says what is missing; the tests that need it then say SKIPPED,
# or fail where DRIFTLINE_REQUIRE_SERVICES is set.
set -euo pipefail

cache="${XDG_CACHE_HOME:-$HOME/.cache}/driftline"
venv="$cache/python"
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo -n"

missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
need cc gcc
need make make
need java openjdk-17-jre-headless
need mvn maven
need python3 python3
docker compose version >/dev/null 2>&1 || need docker-compose docker-compose
[ -x "$venv/bin/python" ] || python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)

can_install() { command -v apt-get >/dev/null 2>&1 && { [ -z "$as_root" ] || $as_root true 2>/dev/null; }; }

if [ "${#missing[@]}" -gt 0 ]; then
  echo "installing ${missing[*]}"
  if can_install; then
    $as_root apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
  else
    echo "missing and cannot be installed here: ${missing[*]} (install them with your package manager)" >&2
  fi
fi

# The services that are observed. Tests start servers of their own, so the distribution's are neither
# made nor started. A package that cannot be had costs the tests that need it, nothing else.
optional() {
  echo "installing $1"
  if can_install; then
    { [ -n "${updated:-}" ] || $as_root apt-get update -qq; } && updated=1
    DEBIAN_FRONTEND=noninteractive $as_root env RUNLEVEL=1 apt-get install -qq -y --no-install-recommends "$1" >/dev/null && return
  fi
  echo "$1 cannot be installed here: $2" >&2
}
command -v pkg-config >/dev/null 2>&1 || optional pkg-config "tests of TLS to Kafka will be skipped"
pkg-config --exists openssl 2>/dev/null || optional libssl-dev "tests of TLS to Kafka will be skipped"
postgres_major() {
  local bin
  for bin in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -t/ -k5 -Vr); do
    [ ! -x "$bin/initdb" ] || { bin="${bin%/bin}"; echo "${bin##*/}"; return; }
  done
}
if [ -z "$(postgres_major)" ] && ! command -v initdb >/dev/null 2>&1; then
  if can_install && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    $as_root mkdir -p /etc/postgresql-common
    printf 'create_main_cluster = false\nstart_conf = manual\n' | $as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
  fi
  optional postgresql "tests of PostgreSQL will be skipped"
fi
major="$(postgres_major)"
if [ -n "$major" ] && [ ! -e "/usr/share/postgresql/$major/extension/hypopg.control" ]; then
  optional "postgresql-$major-hypopg" "estimates of indexes are tested without HypoPG"
fi
command -v redis-server >/dev/null 2>&1 || optional redis-server "tests of Redis will be skipped"

if ! "$venv/bin/python" -c 'import polars, deltalake, pyarrow' 2>/dev/null; then
  echo "installing polars and deltalake into $venv"
  if ! { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet 'polars==2.*' 'deltalake==1.*' pyarrow; }; then
    echo "cannot install polars and deltalake: the interoperability test will be skipped" >&2
  fi
fi
