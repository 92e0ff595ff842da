# shellcheck shell=bash
# What the scripts share: where the checkout is, one way to speak, one way to get a missing tool, a lock, a free
# port. Sourced, never run. It holds no policy: what is installed and what is started is written where it is needed.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Everything that may be thrown away lives here; the folder is ignored by git.
# shellcheck disable=SC2034 # Used by those who source this.
CACHE=$ROOT/.cache

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die() {
    warn "error: $*"
    exit 1
}

# Runs a command as root: directly, through sudo when that asks nothing, or not at all.
as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 126
    fi
}

may_install() {
    command -v apt-get >/dev/null && as_root true
}

# The package lists, once per run, since fetching them is the slow part.
APT_LISTS_FRESH=
apt_update() {
    [[ -z $APT_LISTS_FRESH ]] || return 0
    as_root apt-get update -qq >/dev/null 2>&1 || warn "warning: apt-get update failed; trying with the old package lists"
    APT_LISTS_FRESH=yes
}

# apt_install PACKAGE: says something only when it fails.
apt_install() {
    local out
    apt_update
    out=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" 2>&1) || {
        tail -n 5 <<<"$out" >&2
        return 1
    }
}

# need NAME PACKAGE REASON CHECK...: makes sure that CHECK succeeds, by installing PACKAGE if it must and may.
# One line says what was missing; a second one only when nothing could be done about it.
need() {
    local name=$1 package=$2 reason=$3
    shift 3
    "$@" >/dev/null 2>&1 && return
    may_install || die "$name is missing ($reason); install it, on Debian or Ubuntu with: apt-get install $package"
    say "$name is missing ($reason): installing $package"
    apt_install "$package" || die "$name is missing ($reason), and installing $package failed: see the lines above"
    "$@" >/dev/null 2>&1 || die "$name is missing ($reason), and $package, now installed, did not bring it"
}

need_tool() { # NAME PACKAGE REASON, for what is simply a command
    need "$1" "$2" "$3" command -v "$1"
}

# The Java to use: that of JAVA_HOME when it is set, as every Java tool understands it.
java_command() {
    if [[ -n ${JAVA_HOME:-} ]]; then say "$JAVA_HOME/bin/java"; else say java; fi
}

java_is_17_or_later() {
    local major
    # The line may come after others that announce JAVA_TOOL_OPTIONS; before Java 9 the major version was "1".
    major=$("$(java_command)" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)
    [[ -n $major && $major -ge 17 ]]
}

need_java() { # WHO: what runs on it
    local package=default-jre-headless candidate
    java_is_17_or_later && return
    [[ -z ${JAVA_HOME:-} ]] || die "JAVA_HOME=$JAVA_HOME is no Java 17 or later, which $1 needs; unset it or point it to one"
    ! may_install || apt_update # A fresh container knows no package at all.
    for candidate in openjdk-17-jre-headless openjdk-21-jre-headless openjdk-25-jre-headless; do
        if apt-cache show "$candidate" >/dev/null 2>&1; then
            package=$candidate
            break
        fi
    done
    need "Java 17 or later" "$package" "$1 runs on it" java_is_17_or_later
}

fetch_maven_jars() { # NAME TITLE SIZE HINT DESTINATION
    local log=$CACHE/$1-libs/fetch.log
    [[ -d $5 ]] && return # Another start was faster while this one waited for the lock.
    need_java "$2"
    need_tool mvn maven "it fetches $2 from Maven Central"
    say "fetching $2 from Maven Central (about $3, once)"
    rm -rf "$5.part"
    # Only a whole set of jars ever gets the final name.
    mvn -q -B -f "$ROOT/scripts/$1-pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
        -DoutputDirectory="$5.part" >"$log" 2>&1 || {
        grep -m 3 ERROR "$log" >&2 || true
        die "Maven could not fetch $2 (see above and ${log#"$ROOT/"}); is there a network?$4"
    }
    mv "$5.part" "$5"
}

# maven_jars NAME TITLE SIZE [HINT]: sets LIBS to the folder with the jars that scripts/NAME-pom.xml lists, and fetches them
# if it must. The folder's name changes with the list, so that what runs keeps those that it has loaded.
maven_jars() {
    # shellcheck disable=SC2034 # Used by those who source this.
    LIBS=$CACHE/$1-libs/$(cksum <"$ROOT/scripts/$1-pom.xml" | cut -d ' ' -f 1)
    [[ -d $LIBS ]] || with_lock "$CACHE/$1-libs/lock" fetch_maven_jars "$1" "$2" "$3" "${4:+ $4}" "$LIBS"
}

# with_lock FILE COMMAND...: one at a time. What COMMAND leaves running in the background must close LOCK_FD, else it
# holds the lock for as long as it lives. Local, so that one lock may be taken under another.
with_lock() {
    local file=$1 LOCK_FD
    shift
    while :; do
        mkdir -p "$(dirname "$file")"
        exec {LOCK_FD}>"$file"
        flock "$LOCK_FD"
        # Whoever held it may have removed the file with its folder: then this lock keeps nobody out.
        [[ ! $file -ef /proc/self/fd/$LOCK_FD ]] || break
        exec {LOCK_FD}>&-
    done
    "$@"
    exec {LOCK_FD}>&-
}

# The inodes of the sockets that listen on a TCP port, whatever the address. Read from /proc, since neither ss nor
# lsof is everywhere.
listening_inodes() { # PORT
    local hex
    printf -v hex '%04X' "$1"
    awk -v port=":$hex" '$4 == "0A" && substr($2, length($2) - 4) == port { print $10 }' \
        /proc/net/tcp /proc/net/tcp6 2>/dev/null || true
}

owns_port() { # PID PORT
    local inode
    for inode in $(listening_inodes "$2"); do
        [[ -z $(find "/proc/$1/fd" -lname "socket:\[$inode\]" 2>/dev/null) ]] || return 0
    done
    return 1
}

# Whether a process has closed everything. That its command line is gone is not enough: memory goes first, and the
# ports are still taken then.
has_ended() { # PID
    local state threads
    state=$(sed -n 's/^State:[[:blank:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) || true
    threads=$(sed -n 's/^Threads:[[:blank:]]*//p' "/proc/$1/status" 2>/dev/null) || true
    [[ -z $state || ($state == [ZX] && ${threads:-0} -le 1) ]]
}

gone_within() { # SECONDS PID...
    local deadline=$((SECONDS + $1)) pid left
    shift
    while :; do
        left=
        for pid in "$@"; do has_ended "$pid" || left=yes; done
        [[ -n $left ]] || return 0
        [[ $SECONDS -lt $deadline ]] || return 1
        sleep 0.05
    done
}

# The first of COUNT neighbouring ports that nobody listens on, below the range from which the kernel takes the
# ports of outgoing connections.
free_ports() { # COUNT
    local count=$1 port offset taken
    for _ in {1..200}; do
        port=$((20000 + RANDOM % 10000))
        taken=
        for ((offset = 0; offset < count; offset++)); do
            [[ -z $(listening_inodes $((port + offset))) ]] || taken=yes
        done
        if [[ -z $taken ]]; then
            say "$port"
            return
        fi
    done
    die "no $count neighbouring free ports between 20000 and 30000"
}

# attend SECONDS COMMAND...: runs a command and waits for it, for so long at most. Its process group is its own and
# the shell waits in `wait`, so a signal to the script is heeded at once, and `dismiss` ends all that was started.
ATTENDED=
attend() {
    local code=0
    timeout --kill-after=10 "$@" </dev/null &
    ATTENDED=$!
    wait "$ATTENDED" || code=$?
    ATTENDED=
    return "$code"
}

dismiss() {
    if [[ -n $ATTENDED ]]; then
        kill "$ATTENDED" 2>/dev/null || true
        wait "$ATTENDED" 2>/dev/null || true
        ATTENDED=
    fi
}

# Turns signals into an ordinary exit, so that one EXIT trap cleans up in every case.
exit_on_signals() {
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}
