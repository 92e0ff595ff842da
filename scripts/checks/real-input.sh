#!/usr/bin/env bash
# Real text in, the same bytes out: logs of this machine, and a large file repeated from them in which
# every line is distinct, are shipped and read back with kcat. Equal byte for byte and in order, or fail.
#
#   scripts/checks/real-input.sh [BYTES]      size of the large file, by default 1000000000
#
# Needs LOGDRIVE_KAFKA (host:port), LOGDRIVE_KAFKA_CTL (a `scripts/kafka` of that broker) and LOGDRIVE_BIN
# (the folder of release binaries); without them it uses the broker of `scripts/kafka start` and target/.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
broker=${LOGDRIVE_KAFKA:-127.0.0.1:9092}
kafka=${LOGDRIVE_KAFKA_CTL:-$here/scripts/kafka}
agent=${LOGDRIVE_BIN:-$here/target/release}/logdrive
bytes=${1:-1000000000}
work=$(mktemp -d)
pid=

# shellcheck disable=SC2317 # It is the trap that calls it.
finish() {
  [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
  [ -z "$pid" ] || wait "$pid" 2>/dev/null || true
  for topic in "${topics[@]}"; do "$kafka" topic delete "$topic" >/dev/null 2>&1 || true; done
  rm -rf "$work"
}
topics=()
trap finish EXIT

# Whatever text this kind of machine has: the package manager's logs, system logs, sources, a build.
mkdir "$work/logs"
number=0
for file in /var/log/dpkg.log /var/log/apt/history.log /var/log/apt/term.log /var/log/alternatives.log \
  /var/log/bootstrap.log /var/log/syslog /var/lib/dpkg/status "$here"/Cargo.lock "$here"/docs/configuration.md; do
  if [ ! -s "$file" ] || [ ! -r "$file" ]; then continue; fi
  number=$((number + 1))
  # Only whole lines become records; a file without a last newline gets one.
  awk '{ print }' "$file" >"$work/logs/real-$number.log"
done
[ "$number" -ge 3 ] || { echo "FAIL: only $number readable real logs on this machine" >&2; exit 1; }
cat "$work"/logs/real-*.log >"$work/base"
awk -v bytes="$bytes" '{ line[NR] = $0 }
  END { for (n = 1; size < bytes; n++) { text = n " " line[(n - 1) % NR + 1]; size += length(text) + 1; print text } }' \
  "$work/base" >"$work/logs/large.log"

# One topic for each file, so that the order can be compared.
config=$work/logdrive.toml
printf '[kafka]\nbrokers = "%s"\n[http]\nlisten = "off"\n[state]\ndir = "%s"\n' "$broker" "$work/state" >"$config"
for file in "$work"/logs/*.log; do
  name=$(basename "$file" .log)
  topic=real-input-$$-$name
  topics+=("$topic")
  "$kafka" topic create "$topic" --partitions 1 >/dev/null
  printf '[[item]]\nname = "%s"\ninclude = ["%s"]\ntopic = "%s"\nread_from = "beginning"\n' "$name" "$file" "$topic" >>"$config"
done
"$agent" run --config "$config" >"$work/agent.out" 2>"$work/agent.err" &
pid=$!

# kcat ends when it has as many records as the file has lines, or when nothing has come for a minute.
failed=0
for file in "$work"/logs/*.log; do
  topic=real-input-$$-$(basename "$file" .log)
  lines=$(wc -l <"$file")
  timeout 300 kcat -C -b "$broker" -t "$topic" -p 0 -o beginning -c "$lines" -q >"$work/back" 2>"$work/kcat.err" || true
  if cmp -s "$file" "$work/back"; then
    echo "ok: $(basename "$file"): $lines lines, $(stat -c %s "$file") bytes equal and in order"
  else
    echo "FAIL: $(basename "$file"): what came back differs: $(cmp "$file" "$work/back" 2>&1 | head -1)" >&2
    tail -5 "$work/agent.err" >&2
    failed=1
  fi
done
exit "$failed"
