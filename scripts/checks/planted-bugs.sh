#!/usr/bin/env bash
# Whether the simulator would notice: a copy of the sources gets thirteen bugs, one at a time, and each must break a
# promise within a bounded number of runs. The bugs are engine/tests/simulator/planted.patch; it has to be made anew
# when the lines that it changes do.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

PATCH=$ROOT/engine/tests/simulator/planted.patch
TREE=$(mktemp -d "${TMPDIR:-/tmp}/planted.XXXXXX")
trap 'rm -rf "$TREE"' EXIT
exit_on_signals

cd "$ROOT"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --target-directory="$TREE"
cd "$TREE"
patch --quiet --strip=1 <"$PATCH" ||
    die "planted.patch does not fit the sources any more: plant its bugs in the lines as they are now, and keep the difference"
# The dependencies are those of the checkout; only what has bugs is compiled.
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target} \
    cargo test --quiet --locked -p logdrive --test simulator -- planted --nocapture
