#!/usr/bin/env bash
# What the agent produces is plain Kafka for anyone: the Apache Storm topology of search/examples/storm counts errors per
# host and minute, and its counts are the truth, whatever comes twice. Three agents, each a host of its own, ship generated
# logs; the topology is killed when it has counted, more is written into minutes already counted, and two of the agents send
# everything that they ever sent once more.
#
# Needs LOGDRIVE_KAFKA (host:port), LOGDRIVE_KAFKA_CTL (a `scripts/kafka` of that broker) and LOGDRIVE_BIN
# (the folder of release binaries); without them it uses the broker of `scripts/kafka start` and target/.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../lib.sh"

broker=${LOGDRIVE_KAFKA:-127.0.0.1:9092}
kafka=${LOGDRIVE_KAFKA_CTL:-$ROOT/scripts/kafka}
agent=${LOGDRIVE_BIN:-$ROOT/target/release}/logdrive
example=$ROOT/search/examples/storm
name=storm-check-$$
logs=$name-logs
results=$name-results
hosts=(web-1 web-2 db-1)
# How long anything is waited for that must come, in seconds: for a machine with much else to do.
patience=300
work=$(mktemp -d)
# For Java that runs for seconds: less is spent on compiling than is saved by it.
quick=(-XX:TieredStopAtLevel=1 -XX:+UseSerialGC)
declare -A agents=()
topology=

fail() {
    [[ ! -f $work/storm.log ]] || grep -E ' (ERROR|FATAL) |Exception' "$work/storm.log" | tail -n 5 >&2 || true
    die "storm: $*"
}

# shellcheck disable=SC2317 # It is the trap that calls it.
finish() {
    for pid in "${agents[@]}" $topology; do
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    for topic in "$logs" "$results"; do "$kafka" topic delete "$topic" >/dev/null 2>&1 || true; done
    rm -rf "$work"
}
trap finish EXIT
exit_on_signals

# Each agent is a host of its own by a name space with a host name of its own.
named=(unshare --uts)
"${named[@]}" true 2>/dev/null || named=(unshare --map-root-user --uts)
if ! "${named[@]}" hostname elsewhere 2>/dev/null; then
    say "storm: not checked, which takes the right to a host name of one's own"
    exit 0
fi

# --- The jars that a cluster would get, and their tests.
need_java Storm
need_tool javac default-jdk-headless "the topology is compiled with it"
need_tool mvn maven "it builds the topology"
need_tool kcat kcat "it reads the counts"
MAVEN_OPTS=${quick[*]} mvn -q -B -f "$example/pom.xml" -DbuildDirectory="$work/target" package >"$work/mvn.log" 2>&1 ||
    fail "the topology could not be built: $(grep -m 5 ERROR "$work/mvn.log")"
tests=$(cat "$work"/target/surefire-reports/*.txt | awk -F '[:,] *' '/^Tests run:/ { n += $2 } END { print n + 0 }')
[[ $tests -gt 0 ]] || fail "the topology was built without its tests"
say "ok: the topology is built, and $tests tests of its parts pass"

# --- Logs whose errors are known. Half an hour ago, not on the minute, so that both parts meet within one.
begin=$(($(date +%s) / 60 * 60 - 1800))
minutes=$(for m in {0..15}; do date -u -d "@$((begin + 60 * m))" +%Y-%m-%dT%H:%M; done | paste -sd' ')
# write HOST FROM TO: lines FROM to TO of a host, a hundred a second; which of them are errors goes to $work/errors.
write() {
    mkdir -p "$work/$1"
    awk -v host="$1" -v from="$2" -v upto="$3" -v minutes="$minutes" -v dir="$work/$1" '
        BEGIN {
            split(minutes, minute, " ")
            split("DEBUG INFO INFO INFO WARN", calm, " ")
            # Words that would mislead whoever only looks for them.
            split("no such item;ERROR is what the client says;level=error in a message;FATAL: not here;[error] {}", text, ";")
            for (i = 1; i <= length(host); i++) seed = seed * 31 + index("abcdefghijklmnopqrstuvwxyz-0123456789", substr(host, i, 1))
            seed = (seed + from) % 2147483646 + 1
            for (n = from; n <= upto; n++) {
                seed = (seed * 16807) % 2147483647
                second = 30 + n / 100
                at = minute[int(second / 60) + 1]
                error = seed % 100 < 4
                level = error ? (seed % 7 ? "ERROR" : "FATAL") : calm[seed % 5 + 1]
                message = text[int(seed / 7) % 5 + 1]
                if (n % 3) {
                    printf "%s %s:%06.3f %-5s [worker-%d] shop.Cart - %s %d\n", substr(at, 1, 10), substr(at, 12), second % 60,
                        level, seed % 8, message, n >> (dir "/app.log")
                    if (error && n % 2) print "\tat shop.Cart.add(Cart.java:42)" >> (dir "/app.log")
                } else {
                    printf "{\"time\":\"%s:%06.3fZ\",\"level\":\"%s\",\"message\":\"%s %d\"}\n", at, second % 60,
                        tolower(level), message, n >> (dir "/api.log")
                }
                if (error) print host, at "Z"
            }
        }' >>"$work/errors"
}
truth() { sort "$work/errors" | uniq -c | awk '{ print $2, $3, $1 }'; }
lines() { find "$@" -name '*.log' -exec cat {} + | wc -l; } # of these hosts, each of which has a folder

configure() { # HOST HEADERS FORMAT
    cat >"$work/$1.toml" <<TOML
[kafka]
brokers = "$broker"
[http]
listen = "off"
[state]
dir = "$work/$1.state"
[[item]]
include = ["$work/$1/*.log"]
topic = "$logs"
read_from = "beginning"
headers = $2
format = "$3"
TOML
}
start_agent() { # HOST
    # shellcheck disable=SC2016 # It is the shell inside that expands.
    "${named[@]}" sh -c 'hostname "$1" && exec "$2" run --config "$3"' sh "$1" "$agent" "$work/$1.toml" >>"$work/$1.err" 2>&1 &
    agents[$1]=$!
}
stop_agent() { # HOST
    kill -TERM "${agents[$1]}"
    wait "${agents[$1]}" || fail "the agent of $1 ended with $?: $(tail -n 3 "$work/$1.err")"
    unset "agents[$1]"
}
# A cluster within one process, as `storm local` makes it, with nothing of its own elsewhere.
start_topology() {
    mkdir -p "$work/tmp"
    "$(java_command)" -Xmx512m "${quick[@]}" -Djava.io.tmpdir="$work/tmp" -Dstorm.jar="$work/target/errors-per-minute.jar" \
        -Dstorm.local.sleeptime=600 -cp "$work/target/errors-per-minute.jar:$work/target/lib/*:$(<"$work/target/storm.classpath")" \
        org.apache.storm.LocalCluster logdrive.storm.ErrorsPerMinute "$name" "$broker" "$logs" "$results" \
        readers=2 counters=2 >>"$work/storm.log" 2>&1 </dev/null &
    topology=$!
}

# await_commits RECORDS: until so many records are in the topic and the topology has committed the last of them, which it does
# when it has written the counts.
await_commits() {
    local deadline=$((SECONDS + patience)) committed=0 lag=0
    until [[ $committed -ge $1 && $lag -eq 0 ]]; do
        [[ $SECONDS -lt $deadline ]] || fail "after $patience s the topology has processed $committed of $1 records"
        ! has_ended "$topology" || fail "the topology ended: $(tail -n 3 "$work/storm.log")"
        sleep 1
        # A partition of which nothing is committed yet shows a dash.
        read -r committed lag < <("$kafka" groups --describe --group "$name" 2>/dev/null |
            awk -v topic="$logs" '$2 == topic { done += $4; lag += $5 - $4 } END { print done + 0, lag + 0 }')
    done
}
# The last record of a host and minute is the one that holds; no record may say less than one before it.
compare() { # WHAT
    kcat -C -b "$broker" -t "$results" -o beginning -e -q 2>/dev/null | awk -F '"' '
        { cell = $4 " " $8; errors = substr($11, 2) + 0
          if (errors < count[cell]) { print cell, "went back from", count[cell], "to", errors; exit }
          count[cell] = errors; repeats[cell] = substr($13, 2) + 0 }
        END { for (cell in count) { print cell, count[cell]; total += repeats[cell] }
              print total + 0 >"'"$work/repeats"'" }' | sort >"$work/counted"
    truth | cmp -s - "$work/counted" ||
        fail "$1, the counts are not the truth (<: the truth): $(truth | diff - "$work/counted" | head -n 5 | paste -sd' ')"
}

# --- First: count, and die of it.
"$kafka" topic create "$logs" --partitions 4 >/dev/null
"$kafka" topic create "$results" --partitions 2 >/dev/null
start_topology
configure web-1 true raw
configure web-2 true ecs
configure db-1 false raw
for host in "${hosts[@]}"; do
    write "$host" 1 60000
    start_agent "$host"
done
cd "$work"
first=$(lines "${hosts[@]}")
await_commits "$first"
compare "after $first records"
say "ok: $first records of three hosts, raw, ECS and JSON lines: $(wc -l <"$work/counted") counts of $(wc -l <"$work/errors") errors are the truth"

# --- Then: more of it while nobody counts, some in minutes already counted, and what had headers all over again.
kill -KILL "$topology"
wait "$topology" 2>/dev/null || true
for host in "${hosts[@]}"; do write "$host" 60001 80000; done
start_topology
all=$(lines "${hosts[@]}")
timeout "$patience" kcat -C -b "$broker" -t "$logs" -o beginning -c "$all" -q >/dev/null 2>&1 ||
    fail "not all of $all lines were shipped in $patience s"
for host in web-1 web-2; do
    stop_agent "$host"
    for generation in $("$agent" state list --state-dir "$work/$host.state" | awk 'NR > 1 { print $1 }'); do
        "$agent" state set --state-dir "$work/$host.state" "$generation" 0 >/dev/null
    done
    start_agent "$host"
done
again=$(lines web-1 web-2)
await_commits $((all + again))
compare "after a restart and $again records again"
twice=$(grep -c '^web' "$work/errors")
[[ $(<"$work/repeats") -ge $twice ]] || fail "only $(<"$work/repeats") errors came twice, and $twice were sent twice"
say "ok: killed, restarted, $again records sent again: $(wc -l <"$work/counted") counts of $(wc -l <"$work/errors") errors are the truth," \
    "and $(<"$work/repeats") repeats were held off"
