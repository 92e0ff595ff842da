#!/usr/bin/env bash
# Does the gate catch what it is for, and nothing else? The same twice must pass, a tenth more work must fail.
#
#   scripts/checks/regress-proof.sh [COUNTS] [TIMES]     repetitions of each kind, by default 1 and 0
#
# Instruction counts: the benches do 10 % more of the same work (`instructions --extra-work 10`). Time: the current
# commit against itself, and against a commit made of it and regress-slow.patch, which spends about a tenth more CPU
# on each line; that needs some minutes for each repetition, and a machine that is noisy may leave it undecided.
# Fails on a wrong answer. An undecided one is counted, and is not wrong.
#
# LOGDRIVE_BIN is the folder of release binaries, by default target/release. LOGDRIVE_PROOF_OPTIONS are more options
# of `logdrive-bench regress`. LOGDRIVE_PROOF_OUT is a folder that gets the report of each comparison by time.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$here"
bench=${LOGDRIVE_BIN:-$here/target/release}/logdrive-bench
counts=${1:-1}
times=${2:-0}
[[ $counts =~ ^[0-9]+$ && $times =~ ^[0-9]+$ ]] || { echo "error: COUNTS and TIMES are numbers of repetitions" >&2; exit 2; }
[ -x "$bench" ] || { echo "error: no $bench; build it with: cargo build --release" >&2; exit 2; }
"$here/scripts/setup" --counting
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
read -ra options <<<"${LOGDRIVE_PROOF_OPTIONS:-}"
wrong=0

count() { # NAME EXPECTED OPTIONS...
    local name=$1 expected=$2 right=0 code
    shift 2
    for ((n = 1; n <= counts; n++)); do
        code=0
        "$bench" instructions --baseline "$work/baseline.json" --work "$work/counts" "$@" >"$work/count.log" 2>&1 || code=$?
        if [ "$code" -eq "$expected" ]; then right=$((right + 1)); else tail -n 5 "$work/count.log" >&2; fi
    done
    echo "instructions, $name: $right of $counts as it should be"
    [ "$right" -eq "$counts" ] || wrong=1
}

if [ "$counts" -gt 0 ]; then
    "$bench" instructions --update --baseline "$work/baseline.json" --work "$work/counts" >/dev/null
    count "the same twice passes" 0
    count "10 % more work fails" 1 --extra-work 10
fi

compare() { # NAME REVISION RIGHT WRONG
    local name=$1 revision=$2 out outcome right=0 undecided=0
    for ((n = 1; n <= times; n++)); do
        out=${LOGDRIVE_PROOF_OUT:-$work}/${name// /-}-$n
        "$bench" regress --old-rev HEAD --new-rev "$revision" --out "$out" --summary "$work/summary.md" "${options[@]}" \
            >"$work/regress.log" 2>&1 || true
        outcome=$(sed -n 's/^ *"outcome": "\([a-z]*\)".*/\1/p' "$out/run.json" 2>/dev/null || true)
        case $outcome in
        "$3") right=$((right + 1)) ;;
        inconclusive) undecided=$((undecided + 1)) ;;
        *) wrong=1 && echo "wrong: $name: ${outcome:-no answer}" >&2 && tail -n 5 "$work/regress.log" >&2 ;;
        esac
        sed -n '/^| /p' "$work/summary.md" 2>/dev/null || true
    done
    echo "time, $name: $right of $times as it should be, $undecided undecided"
}

if [ "$times" -gt 0 ]; then
    # The slowed commit is made beside the checkout: neither its files nor its index are touched. Without a clock in
    # it, so that it is the same commit the next time, and built once.
    export GIT_AUTHOR_DATE="2000-01-01T00:00:00Z" GIT_COMMITTER_DATE="2000-01-01T00:00:00Z"
    export GIT_INDEX_FILE=$work/index
    git read-tree HEAD
    git apply --cached scripts/checks/regress-slow.patch
    slowed=$(git -c user.name=proof -c user.email=proof@localhost commit-tree "$(git write-tree)" -p HEAD -m "slowed on purpose")
    unset GIT_INDEX_FILE
    compare "the same twice" HEAD clean
    compare "a tenth slower" "$slowed" regression
fi
exit "$wrong"
