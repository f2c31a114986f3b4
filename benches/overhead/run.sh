#!/usr/bin/env bash
# What observing costs a busy PostgreSQL and Redis: the CPU time of the collector and of its sessions over
# that of the servers, while pgbench and redis-benchmark keep them busy. CPU time is summed from /proc,
# since wall time and throughput vary far more than one percent between equal windows.
#
#   benches/overhead/run.sh [SECONDS]        60 by default; the goal is at most 1 %
#
# DRIFTLINE_COLLECTOR names the binary; without it, target/release/driftline-collector of this checkout.
set -euo pipefail

seconds="${1:-60}"
here="$(cd "$(dirname "$0")/../.." && pwd)"
collector="${DRIFTLINE_COLLECTOR:-${CARGO_TARGET_DIR:-$here/target}/release/driftline-collector}"
services="$here/tests/services"
work="$(mktemp -d)"
chmod 755 "$work" # the server runs as another user where this one is root
trap '"$services/postgres.sh" kill "$work/pg" >/dev/null 2>&1; "$services/redis.sh" kill "$work/redis" >/dev/null 2>&1; kill $(jobs -p) 2>/dev/null; rm -rf "$work"' EXIT

[ -x "$collector" ] || { echo "build it first: cargo build --release -p driftline-collector" >&2; exit 1; }
for program in pgbench psql redis-benchmark redis-cli; do
  command -v "$program" >/dev/null || { echo "$program is not installed" >&2; exit 1; }
done

mkdir -p "$work/pg" "$work/redis"
"$services/postgres.sh" start "$work/pg" >"$work/pg.lines"
"$services/redis.sh" start "$work/redis" >"$work/redis.lines"
line() { sed -n "s/^$2=//p" "$work/$1.lines"; }
url="$(line pg url)"
redis="$(line redis url)"
redis_port="${redis##*:}"
redis_port="${redis_port%%/*}"
pgbench -q -i -s 10 "$url" >/dev/null 2>&1

cat >"$work/driftline.toml" <<TOML
data = "$work/data"
[[collector.postgres]]
name = "bench"
url = "$(line pg driftline_url)"
[[collector.redis]]
name = "bench"
url = "$redis"
TOML

pgbench -n -c 4 -T "$((seconds + 10))" "$url" >"$work/pgbench.out" 2>&1 &
(while :; do redis-benchmark -p "$redis_port" -q -n 200000 -c 20 -t get,set >/dev/null 2>&1; done) &
"$collector" --config "$work/driftline.toml" >"$work/collector.out" 2>&1 &
agent=$!

postmaster="$(head -1 "$work/pg/data/postmaster.pid")"
redis_pid="$(redis-cli -p "$redis_port" info server | tr -d '\r' | sed -n 's/^process_id://p')"
ticks() { [ -r "/proc/$1/stat" ] && sed 's/.*) //' "/proc/$1/stat" | awk '{print $12 + $13 + $14 + $15}' || echo 0; }
# The postmaster's own count holds its ended children; the living ones are added.
server_ticks() {
  local sum pid
  sum="$(ticks "$postmaster")"
  for pid in $(pgrep -P "$postmaster"); do sum=$((sum + $(ticks "$pid"))); done
  echo "$sum"
}
session_ticks() {
  local sum=0 pid
  for pid in $(psql -qAt "$url" -c "SELECT pid FROM pg_stat_activity WHERE application_name = 'driftline'"); do
    sum=$((sum + $(ticks "$pid")))
  done
  echo "$sum"
}

sleep 5
a0="$(ticks "$agent")" p0="$(server_ticks)" s0="$(session_ticks)" r0="$(ticks "$redis_pid")"
sleep "$seconds"
a1="$(ticks "$agent")" p1="$(server_ticks)" s1="$(session_ticks)" r1="$(ticks "$redis_pid")"
kill "$agent"

hz="$(getconf CLK_TCK)"
awk -v hz="$hz" -v t="$seconds" -v a=$((a1 - a0)) -v p=$((p1 - p0)) -v s=$((s1 - s0)) -v r=$((r1 - r0)) 'BEGIN {
  printf "PostgreSQL under pgbench        %8.2f CPU-s in %d s\n", p / hz, t
  printf "  of which the observing session %7.2f\n", s / hz
  printf "Redis under redis-benchmark     %8.2f\n", r / hz
  printf "collector, host included        %8.2f\n", a / hz
  printf "overhead: (session + collector) / (servers - session) = %.2f %%  [goal 1 %%]\n", 100 * (s + a) / (p - s + r)
}'
