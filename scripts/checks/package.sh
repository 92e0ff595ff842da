#!/usr/bin/env bash
# The Debian package as a host gets it: an older one and then this one installed in a clean root, the unit judged by
# systemd's own tools, the agent shipping as its user with no more than the unit allows, removed, purged.
#
# Needs LOGDRIVE_KAFKA (host:port) and LOGDRIVE_KAFKA_CTL (a `scripts/kafka` of that broker); without them it uses the
# broker of `scripts/kafka start`. No service manager runs in the clean root: what systemd would do with the unit is
# done by hand (user, groups, capabilities), and what it would forbid is looked for in a trace of all system calls.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

broker=${LOGDRIVE_KAFKA:-127.0.0.1:9092}
kafka=${LOGDRIVE_KAFKA_CTL:-$ROOT/scripts/kafka}
topic=package-$$

fail() { die "package: $*"; }

if [[ $EUID -ne 0 ]] || ! unshare --mount true 2>/dev/null; then
    say "package: not checked, which takes root and the right to mount"
    exit 0
fi
# Mounts of its own, which end with it.
if [[ -z ${PACKAGE_CHECK_INSIDE:-} ]]; then
    need_tool mmdebstrap mmdebstrap "it makes the clean root"
    deb=$("$ROOT/scripts/package" | tail -n 1)
    export PACKAGE_CHECK_INSIDE=yes
    exec unshare --mount --propagation private "$0" "$deb"
fi
deb=$1
work=$(mktemp -d)
pid=

# shellcheck disable=SC2317 # It is the trap that calls it.
finish() {
    [[ -z $pid ]] || kill "$pid" 2>/dev/null || true
    [[ -z $pid ]] || wait "$pid" 2>/dev/null || true
    "$kafka" topic delete "$topic" >/dev/null 2>&1 || true
    umount "$work/root/proc" 2>/dev/null || true
    rm -rf --one-file-system "$work"
}
trap finish EXIT
exit_on_signals

# A minimal Debian of this machine's release, from this machine's mirrors, made once.
clean=$CACHE/clean-root.tar
if [[ ! -f $clean ]]; then
    # shellcheck source=/dev/null
    suite=$(source /etc/os-release && say "$VERSION_CODENAME")
    mapfile -t sources < <(find /etc/apt/sources.list /etc/apt/sources.list.d -name '*.list' -o -name '*.sources' 2>/dev/null)
    mmdebstrap --quiet --variant=essential --include=adduser,libssl3,mandoc,systemd \
        --dpkgopt='path-exclude=/usr/share/locale/*' "$suite" "$CACHE/clean-root.new.tar" "${sources[@]}" 2>"$work/mmdebstrap.err" ||
        fail "the clean root could not be made: $(tail -n 3 "$work/mmdebstrap.err")"
    mv "$CACHE/clean-root.new.tar" "$clean"
fi
root=$work/root
mkdir "$root"
tar -xf "$clean" -C "$root" --exclude='./dev/*'
mount -t proc proc "$root/proc"
mkdir -p "$root/dev"
: >"$root/dev/null" && chmod 666 "$root/dev/null"
inside() { env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"; }
is() { # PATH MODE OWNER
    [[ $(inside stat -c '%a %U:%G' "$1") == "$2 $3" ]] || fail "$1 is $(inside stat -c '%a %U:%G' "$1"), not $2 $3"
}

# As if systemd ran: what the scripts ask of it is written down.
mkdir -p "$root/run/systemd/system"
# shellcheck disable=SC2016 # It is the shell inside that expands.
printf '#!/bin/sh\necho "$0 $*" | sed "s|.*/||" >>/asked\n' >"$root/usr/local/bin/systemctl"
cp "$root/usr/local/bin/systemctl" "$root/usr/local/bin/deb-systemd-invoke"
chmod +x "$root/usr/local/bin/"*
asked() { grep -qx "$1" "$root/asked"; }

# --- An older version first, from this one's files.
dpkg-deb -R "$deb" "$work/older"
sed -i 's/^Version: .*/Version: 0.0.9-1/' "$work/older/DEBIAN/control"
dpkg-deb --build --root-owner-group -Zgzip -z1 "$work/older" "$root/older.deb" >/dev/null
cp "$deb" "$root/newer.deb"
rm -rf "$work/older"

inside dpkg --install /older.deb >"$work/install.log" 2>&1 || fail "not installed: $(tail -n 5 "$work/install.log")"
is /etc/logdrive 750 root:logdrive
is /etc/logdrive/logdrive.toml 640 root:logdrive
is /var/lib/logdrive 700 logdrive:logdrive
inside logdrive validate --config /etc/logdrive/logdrive.toml >/dev/null || fail "the packaged configuration is refused"
! asked 'deb-systemd-invoke .*' || fail "a first installation starts nothing"
say "ok: installed; user, modes and configuration are right, and nothing was started"

# --- The unit, by systemd's own tools.
verify() { inside systemd-analyze verify --man=no /lib/systemd/system/logdrive.service >"$work/verify" 2>&1 && [[ ! -s $work/verify ]]; }
verify || fail "systemd-analyze verify: $(cat "$work/verify")"
inside systemd-analyze security --offline=yes --threshold=20 --no-pager /lib/systemd/system/logdrive.service >"$work/security" ||
    fail "systemd-analyze security: $(tail -n 1 "$work/security")"
say "ok: the unit is valid; $(grep -o 'Overall exposure level.*[0-9]' "$work/security")"
mkdir -p "$root/etc/systemd/system/logdrive.service.d"
cp "$root/usr/share/doc/logdrive/read-everything.conf" "$root/etc/systemd/system/logdrive.service.d/"
verify || fail "systemd-analyze verify, with the drop-in: $(cat "$work/verify")"
for page in "$root"/usr/share/man/man1/logdrive*.1.gz; do
    zcat "$page" | inside mandoc -T lint -W error || fail "$(basename "$page") does not render"
done
say "ok: $(find "$root/usr/share/man/man1" -name 'logdrive*' | wc -l) manual pages render"

# --- Shipping as its user, with what the unit gives.
"$kafka" topic create "$topic" --partitions 1 >/dev/null
install -d -m 0755 "$root/var/log/app"
config=$root/etc/logdrive/logdrive.toml
cat >"$config" <<TOML
[kafka]
brokers = "$broker"
[http]
listen = "off"
[[item]]
include = ["/var/log/app/*.log"]
topic = "$topic"
read_from = "beginning"
TOML
lines() { # NAME FROM TO MODE
    seq -f "$1 %.0f" "$2" "$3" >>"$root/var/log/app/$1.log"
    inside chown root:adm "/var/log/app/$1.log"
    chmod "$4" "$root/var/log/app/$1.log"
}
unit=$root/lib/systemd/system/logdrive.service
read -ra command < <(sed -n 's/^ExecStart=//p' "$unit")
as_service() { # MORE-CAPABILITIES: starts it as systemd would
    strace -f -qq -o "$work/trace" chroot "$root" setpriv --reuid=logdrive --regid=logdrive --groups="$(inside getent group adm | cut -d: -f3)" \
        --no-new-privs --bounding-set="-all$1" --inh-caps="-all$1" --ambient-caps="-all$1" "${command[@]}" >"$work/out" 2>"$work/err" &
    pid=$!
}
stop() {
    local agent
    agent=$(awk '/execve\("\/usr\/bin\/logdrive"/ { print $1; exit }' "$work/trace")
    kill -TERM "$agent"
    wait "$pid" || fail "the agent ended with $?: $(tail -n 3 "$work/err")"
    pid=
}
arrive() { # COUNT: waits for so many records; there are no more of them when the agent has stopped
    timeout 120 kcat -C -b "$broker" -t "$topic" -p 0 -o beginning -c "$1" -q >/dev/null 2>&1 ||
        fail "not all of $1 lines arrived in two minutes: $(tail -n 3 "$work/err")"
    stop
    timeout 120 kcat -C -b "$broker" -t "$topic" -p 0 -o beginning -e -q >"$work/back" 2>/dev/null || true
    [[ $(wc -l <"$work/back") -eq $1 ]] || fail "$(wc -l <"$work/back") lines arrived, and $1 were written"
}

lines readable 1 2000 640
lines secret 1 100 600
as_service ""
arrive 2000
! grep -q '^secret' "$work/back" || fail "a file of mode 0600 was read without a capability"
grep -q 'secret.log' "$work/err" || fail "nothing was said of the file that may not be read"
say "ok: 2000 lines shipped as the user logdrive; a file of root alone was named and not read"

# --- What it asked of the kernel, against what the unit allows.
calls_of() { # GROUP-OR-CALL...: groups within groups too
    local name
    for name in "$@"; do
        if [[ $name == @* ]]; then
            # shellcheck disable=SC2046 # Names of calls are words.
            calls_of $(inside systemd-analyze syscall-filter --no-pager "$name" | sed -n 's/^ *\([a-z@_][a-z0-9_-]*\)$/\1/p' | grep -vx -- "$name")
        else
            say "$name"
        fi
    done
}
: >"$work/allowed"
while read -ra words; do
    if [[ ${words[0]} == ~* ]]; then
        calls_of "${words[0]#\~}" "${words[@]:1}" | sort -u >"$work/taken"
        comm -23 "$work/allowed" "$work/taken" >"$work/left" && mv "$work/left" "$work/allowed"
    else
        calls_of "${words[@]}" | sort -u - "$work/allowed" -o "$work/allowed"
    fi
done < <(sed -n 's/^SystemCallFilter=//p' "$unit")
agent_trace() { awk '/execve\("\/usr\/bin\/logdrive"/ { on = 1 } on' "$work/trace"; }
agent_trace | sed -n 's/^[0-9]* *\([a-z_0-9]*\)(.*/\1/p' | sort -u >"$work/used"
grep -qx io_uring_setup "$work/used" || grep -q 'io_uring' "$work/err" || fail "io_uring was not even tried"
denied=$(comm -23 "$work/used" "$work/allowed" | paste -sd' ')
[[ -z $denied ]] || fail "the unit forbids what the agent calls: $denied"
! agent_trace | grep -E 'mprotect\(.*PROT_EXEC|mmap\(.*PROT_WRITE\|PROT_EXEC' || fail "memory both written and executed"
families=$(agent_trace | sed -n 's/.*socket(\(AF_[A-Z0-9]*\),.*/\1/p' | sort -u)
for family in $families; do
    grep -q "^RestrictAddressFamilies=.*\b$family\b" "$unit" || fail "the unit forbids $family"
done
say "ok: the unit allows the $(wc -l <"$work/used") system calls and the families $(paste -sd' ' <<<"$families") that the agent uses"

# --- An upgrade: the configuration is the administrator's, positions stay, and the restart depends on the new version.
cp "$config" "$work/kept"
inside dpkg --install /newer.deb >"$work/install.log" 2>&1 || fail "not upgraded: $(tail -n 5 "$work/install.log")"
cmp -s "$config" "$work/kept" || fail "the upgrade changed the configuration"
is /etc/logdrive/logdrive.toml 640 root:logdrive
asked 'deb-systemd-invoke restart logdrive.service' || fail "the upgrade restarted nothing"
lines readable 2001 3000 640
as_service ,+dac_read_search
arrive 3100
grep '^readable' "$work/back" | cmp -s - "$root/var/log/app/readable.log" || fail "lines came twice, or out of order"
grep '^secret' "$work/back" | cmp -s - "$root/var/log/app/secret.log" || fail "the drop-in does not let it read everything"
say "ok: upgraded; configuration kept, shipping went on where it was; with read-everything.conf the file of root too"

rm "$root/asked"
echo 'brokes = 1' >>"$config"
inside dpkg --install /newer.deb >"$work/install.log" 2>&1 || fail "a refused configuration ends an upgrade: $(tail -n 5 "$work/install.log")"
! asked 'deb-systemd-invoke restart logdrive.service' || fail "restarted into a configuration that is refused"
grep -q 'not restarted, since this version refuses' "$work/install.log" || fail "no word of the refused configuration"
say "ok: an upgrade whose version refuses the configuration leaves the old process and says why"

# --- Removed, purged.
inside dpkg --remove logdrive >/dev/null 2>&1
asked 'deb-systemd-invoke stop logdrive.service' || fail "the removal stopped nothing"
[[ ! -e $root/usr/bin/logdrive && ! -e $unit ]] || fail "a removal left the program or the unit"
[[ -e $config && -d $root/var/lib/logdrive ]] || fail "a removal took configuration or positions"
inside dpkg --purge logdrive >/dev/null 2>&1
[[ ! -e $root/etc/logdrive && ! -e $root/var/lib/logdrive ]] || fail "a purge left configuration or positions"
find "$root" -xdev -path "$root/proc" -prune -o -path "$root/var/lib/dpkg" -prune -o -name '*logdrive*' -print >"$work/left"
grep -v -e /etc/systemd/system/logdrive.service.d "$work/left" >"$work/found" || true
[[ ! -s $work/found ]] || fail "a purge left: $(paste -sd' ' "$work/found")"
say "ok: removed without configuration and positions, purged with them"

if command -v promtool >/dev/null; then
    (cd "$ROOT/packaging/prometheus" && promtool check rules logdrive.rules.yml && promtool test rules logdrive.tests.yml) >"$work/alerts" 2>&1 ||
        fail "alerts: $(cat "$work/alerts")"
    say "ok: the alerts were played through"
else
    say "alerts: not checked, which takes promtool (on Debian: apt-get install prometheus)"
fi
