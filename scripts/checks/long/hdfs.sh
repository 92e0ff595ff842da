#!/usr/bin/env bash
# scripts/hdfs gives a real HDFS: what is written through WebHDFS is read back, listed, kept over a kill and deleted, rights
# hold, and a stop leaves nothing behind. Other tests rely on that; here it is looked at with a program that is not ours.
#
# Needs nothing that is running: it takes free ports and a folder of its own.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../lib.sh"

need_tool curl curl "it speaks WebHDFS"
mkdir -p "$CACHE"
work=$(mktemp -d "$CACHE/hdfs-check.XXXXXX")
port=$(free_ports 2)
http=$((port + 1))
hdfs=("$ROOT/scripts/hdfs" --dir "$work/hdfs")

fail() { die "hdfs: $*"; }

# shellcheck disable=SC2317 # It is the trap that calls it.
finish() {
    "${hdfs[@]}" kill >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT
exit_on_signals

# ask METHOD PATH OP [CURL OPTION...]: the status code; the answer is in $work/answer. It follows to the data node.
ask() {
    local method=$1 path=$2 op=$3
    shift 3
    curl --silent --show-error --location --max-time 60 --output "$work/answer" --write-out '%{http_code}' \
        --request "$method" "$@" "http://127.0.0.1:$http/webhdfs/v1$path?op=$op"
}
expect() { # CODE METHOD PATH OP [CURL OPTION...]
    local code=$1 got
    shift
    got=$(ask "$@")
    [[ $got == "$code" ]] || fail "$1 $2 $3 answered $got, not $code: $(head -c 300 "$work/answer")"
}

"${hdfs[@]}" start --port "$port" --http-port "$http"
pid=$(<"$work/hdfs/pid")
"${hdfs[@]}" start | grep -q "^already running: pid $pid," || fail "a second start did not find the first"
"${hdfs[@]}" status | grep -q "^running, pid $pid," || fail "status does not say that it runs"
addresses=$(find "/proc/$pid/fd" -lname 'socket:*' -printf '%l\n' | tr -dc '0-9\n' |
    awk 'NR == FNR { ours[$1]; next } $4 == "0A" && ($10 in ours) { sub(/:.*/, "", $2); print $2 }' - /proc/net/tcp /proc/net/tcp6 |
    sort -u)
[[ $addresses == 0100007F ]] || fail "it listens elsewhere than on 127.0.0.1: $addresses"
! "$ROOT/scripts/hdfs" --dir "$work/other" start --port "$port" --http-port "$http" >"$work/second" 2>&1 ||
    fail "another one was started on the same ports"
[[ $(<"$work/second") == "error: port $port is taken by another process; "* && ! -e $work/other/pid ]] ||
    fail "a port that is taken: $(<"$work/second")"
say "ok: one start, found again by a second; every port is on the loopback; a port that is taken is named"

# Three megabytes of text that nothing would guess.
awk 'BEGIN { for (n = 1; n <= 60000; n++) print n, "line of a log, " (n * 7919) % 1000003, "and no other" }' >"$work/text"
expect 201 PUT /logs/date=2026-01-02/part-0 'CREATE&user.name=hdfs' --upload-file "$work/text"
expect 200 GET /logs/date=2026-01-02/part-0 'OPEN&user.name=hdfs'
cmp -s "$work/text" "$work/answer" || fail "what was read back is not what was written"
expect 200 GET /logs/date=2026-01-02 'LISTSTATUS&user.name=hdfs'
grep -q "\"length\":$(stat -c %s "$work/text"),.*\"owner\":\"hdfs\",\"pathSuffix\":\"part-0\"" "$work/answer" ||
    fail "the listing shows another file: $(cat "$work/answer")"
expect 403 PUT /logs/date=2026-01-02/part-1 'CREATE&user.name=nobody' --upload-file "$work/text"
say "ok: written, read back equal, listed; another user is refused"

"${hdfs[@]}" kill >/dev/null
has_ended "$pid" || fail "a killed one still runs"
"${hdfs[@]}" start --port "$port"
expect 200 GET /logs/date=2026-01-02/part-0 'OPEN&user.name=hdfs'
cmp -s "$work/text" "$work/answer" || fail "after a kill it is not what was written"
expect 200 DELETE /logs/date=2026-01-02/part-0 'DELETE&user.name=hdfs'
expect 404 GET /logs/date=2026-01-02/part-0 'OPEN&user.name=hdfs'
say "ok: kept over a kill; deleted is deleted"

pid=$(<"$work/hdfs/pid")
"${hdfs[@]}" stop >/dev/null
has_ended "$pid" || fail "a stopped one still runs"
[[ -z $(listening_inodes "$port")$(listening_inodes "$http") ]] || fail "a port is still taken"
code=0
"${hdfs[@]}" status >"$work/status" || code=$?
[[ $code -eq 3 && $(<"$work/status") == "not running: "* ]] || fail "status of a stopped one: $code, $(<"$work/status")"
"${hdfs[@]}" clean >/dev/null
[[ ! -e $work/hdfs ]] || fail "left behind: $(find "$work/hdfs" | head -n 5 | paste -sd' ')"
say "ok: stopped, and nothing left: no process, no port, no file"
