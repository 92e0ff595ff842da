#!/usr/bin/env bash
# Is memory used as it may be? What is unsafe (librdkafka and the pointers that it is given, the ring and its
# buffers, descriptors) runs under valgrind: no use after free, no write beyond an end, nothing lost for good. Among it a
# producer that is taken down with lines in flight, and the agent as it is delivered, whose broker is killed and whose
# producer is replaced meanwhile.
#
# LOGDRIVE_LONG=1: every test of the sink, the ring and the descriptors, not only those that look after memory.
#
# Valgrind and not a sanitizer of the compiler: it sees what librdkafka, zlib and lz4 do as well, in the very binaries
# that the tests are, without a second build of everything.
#
# Needs LOGDRIVE_KAFKA (host:port), LOGDRIVE_KAFKA_CTL (a `scripts/kafka` of that broker) and LOGDRIVE_BIN (the
# folder of release binaries); without them it uses the broker of `scripts/kafka start` and target/.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../lib.sh
source "$here/scripts/lib.sh"
broker=${LOGDRIVE_KAFKA:-127.0.0.1:9092}
kafka=${LOGDRIVE_KAFKA_CTL:-$here/scripts/kafka}
agent=${LOGDRIVE_BIN:-$here/target/release}/logdrive
work=$(mktemp -d)
topic=memory-safety-$$
pids=()

# shellcheck disable=SC2317 # It is the trap that calls it.
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    "$kafka" topic delete "$topic" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT
cd "$here"
need_tool valgrind valgrind "memory errors are found under it"

# Whether bytes are initialised is not asked: valgrind does not see what the kernel writes through a ring.
memcheck=(valgrind -q --undef-value-errors=no --fair-sched=yes --error-exitcode=99
    "--suppressions=$here/scripts/checks/memory-safety.supp")
leaks=(--leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite)
runner=CARGO_TARGET_$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')_RUNNER

# checked RUNNER... -- TEST FILTER...: tests of one file, one after the other, under a runner.
checked() {
    local words=()
    while [[ $1 != -- ]]; do words+=("$1") && shift; done
    shift
    # It is in the background: what is killed is then cargo.
    exec env "$runner=${words[*]}" cargo test --workspace --locked --quiet --test "$1" -- --test-threads=1 "${@:2}"
}

# report NAME CODE: what a part of the check came to.
failed=0
report() {
    if [[ $2 -eq 0 ]]; then
        say "ok: $1$(sed -n 's/^test result: ok. \([0-9]*\) passed.*/, \1 tests/p' "$work/$1.log")"
    else
        failed=1
        warn "FAIL: $1"
        grep -vE '^(running |test .* ok$|$)' "$work/$1.log" | head -n 150 >&2
    fi
}

# ---- The agent, its broker killed and its producer rebuilt ----

metric() { # NAME: the sum of its series
    local http
    exec {http}<>"/dev/tcp/127.0.0.1/$port" || return 1
    printf 'GET /metrics HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&"$http"
    awk -v name="$1" '{ split($1, part, "{") } part[1] == name { sum += $2; seen = 1 }
        END { if (!seen) exit 1; printf "%d\n", sum }' <&"$http"
    exec {http}>&-
}
await_metric() { # NAME AT_LEAST
    local deadline=$((SECONDS + 180)) value
    while :; do
        value=$(metric "$1" 2>/dev/null || echo -1)
        [[ $value -lt $2 ]] || return 0
        kill -0 "$under" 2>/dev/null || { warn "the agent has ended" && return 1; }
        [[ $SECONDS -lt $deadline ]] || { warn "$1 is $value, not $2, after 180 s" && return 1; }
        sleep 0.1
    done
}
write() { # COUNT: lines that look like lines
    seq "$1" | awk '{ print $1, "a line of the check of memory", $1 * 7919 }' >>"$work/logs/app.log"
}
configure() { # PRODUCERS
    printf '[kafka]\nbrokers = "%s"\nproducers = %s\n[http]\nlisten = "127.0.0.1:%s"\n[state]\ndir = "%s"\n' \
        "$broker" "$1" "$port" "$work/state" >"$work/logdrive.toml"
    printf '[[item]]\nname = "app"\ninclude = ["%s"]\ntopic = "%s"\nread_from = "beginning"\n' \
        "$work/logs/*.log" "$topic" >>"$work/logdrive.toml"
}

agent_lives() {
    local port under='' code=0
    # Whoever ends this ends the agent.
    trap '[[ -z $under ]] || kill "$under" 2>/dev/null; exit 1' TERM
    port=$(free_ports 1)
    mkdir "$work/logs"
    "$kafka" topic create "$topic" --partitions 3
    configure 2
    "${memcheck[@]}" "${leaks[@]}" "$agent" run --config "$work/logdrive.toml" &
    under=$!
    write 5000
    await_metric logdrive_lines_acked_total 5000 || return 1
    "$kafka" kill
    write 5000
    await_metric logdrive_in_flight_lines 1 || return 1
    # Another connection: the producer is taken down with all that it has, and a new one made.
    configure 1
    kill -HUP "$under"
    until grep -q 'the connection to kafka has changed' "$work/agent.log"; do
        kill -0 "$under" 2>/dev/null || return 1
        sleep 0.1
    done
    "$kafka" start
    await_metric logdrive_lines_acked_total 10000 || return 1
    kill -TERM "$under"
    wait "$under" || code=$?
    under=
    return "$code"
}

# ---- All of it, beside each other: most of the time they wait ----

start=$SECONDS
tests=(--test kafka_faults --test kafka_delivery --test io_ring --test io_ring_end --test io_conformance
    --test memory_plant --test fs_files --test watch_hints)
cargo test --workspace --locked --quiet --no-run "${tests[@]}"

names=()
# part NAME: what was put into the background last.
part() { names+=("$1") && pids+=("$!"); }
own=("${memcheck[@]}" "${leaks[@]}")
# A check that does not see the plant sees nothing.
LOGDRIVE_PLANT_USE_AFTER_FREE=1 checked "${memcheck[@]}" -- memory_plant --ignored >"$work/plant.log" 2>&1 &
part plant
agent_lives >"$work/agent.log" 2>&1 &
part agent
rebuilt=(k14_a_fatal k06_a_producer k05_a_topic_that_cannot k02_what)
ended=(a_sink_that_is_dropped s13_the_end round_trips)
delivered=(bytes_are_freed k21_ key_headers)
reads=(--skip ten_thousand)
if [[ -n ${LOGDRIVE_LONG:-} ]]; then
    rebuilt=() ended=(round_trips) delivered=() reads=()
    checked "${own[@]}" -- fs_files >"$work/files.log" 2>&1 &
    part files
    checked "${own[@]}" -- watch_hints >"$work/hints.log" 2>&1 &
    part hints
fi
checked "${own[@]}" -- kafka_faults "${rebuilt[@]}" >"$work/rebuilt.log" 2>&1 &
part rebuilt
checked "${own[@]}" -- kafka_faults "${ended[@]}" >"$work/ended.log" 2>&1 &
part ended
checked "${own[@]}" -- kafka_delivery "${delivered[@]}" >"$work/delivered.log" 2>&1 &
part delivered
checked "${own[@]}" -- io_ring s17_ >"$work/ring.log" 2>&1 &
part ring
checked "${own[@]}" -- io_conformance "${reads[@]}" >"$work/reads.log" 2>&1 &
part reads
# Its allocator never gives some blocks back.
checked "${memcheck[@]}" -- io_ring_end s17_ >"$work/ring-end.log" 2>&1 &
part ring-end
for at in "${!names[@]}"; do
    code=0
    wait "${pids[$at]}" || code=$?
    [[ ${names[$at]} != plant ]] || { [[ $code -ne 0 ]] && grep -q 'Invalid read' "$work/plant.log" && code=0; } || code=1
    report "${names[$at]}" "$code"
done
say "valgrind: $((SECONDS - start)) s"
pids=()

exit "$failed"
