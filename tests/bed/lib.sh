# shellcheck shell=bash
# What both test beds need: root and packages, a cgroup of their own, and an end that comes
# whatever happens to the script. Sourced by the other files of this folder.

set -euo pipefail

die() {
    printf 'tests/bed/%s: %s\n' "${0##*/}" "$*" >&2
    exit 125
}

require_root() {
    ((EUID == 0)) ||
        die "needs root, for mounts, namespaces and a cgroup of its own: sudo $0 …"
}

# poll_until SECONDS COMMAND...: false when COMMAND did not come true in that time. What is waited
# for here lies behind a namespace border, where no event can be had from a shell.
poll_until() {
    local tries=$(($1 * 50))
    shift
    until "$@"; do
        ((tries-- > 0)) || return 1
        sleep 0.02
    done
}

# --- Cgroups ---------------------------------------------------------------------------------
#
# systemd takes the cgroup it finds itself in for its own and makes init.scope, app.slice and so
# on below it. Two beds in one cgroup would kill each other's units, so each gets a sub-cgroup in
# every hierarchy of the host and, through a cgroup namespace, sees that as the root.

# Prints one line a hierarchy that this process is in: CONTROLLERS DIRECTORY. CONTROLLERS is "cpu",
# "name=systemd" and the like for cgroup v1, and "2" for cgroup v2.
host_cgroups() {
    local controllers path line type options target
    while IFS=: read -r _ controllers path; do
        while read -r line; do
            read -r _ _ _ _ target _ <<<"$line"
            read -r type _ options <<<"${line##* - }"
            case $type:,$options, in
                # The root may hold processes and controllers at once; the cgroup we are in may
                # not, and would give its children no controllers.
                cgroup2:*) [[ -n $controllers ]] || { echo "2 $target" && break; } ;;
                cgroup:*",$controllers,"*)
                    [[ -n $controllers ]] || continue
                    # In a container or a bed we can be outside of what is mounted.
                    [[ $path != /..* && -d $target$path ]] || path=/
                    echo "$controllers ${target}${path%/}" && break
                    ;;
            esac
        done </proc/self/mountinfo
    done </proc/self/cgroup
}

# make_cgroups: makes the bed's sub-cgroups, BED_CGROUPS in host_cgroups' form.
make_cgroups() {
    local controllers dir parent controller knob
    while read -r controllers dir; do
        parent=${dir%/*}
        if [[ $controllers = 2 ]]; then
            # Fails for those the host cannot give; limits of these are not enforced in the bed.
            for controller in $(<"$parent/cgroup.controllers"); do
                { echo "+$controller" >"$parent/cgroup.subtree_control"; } 2>/dev/null || true
            done
        fi
        mkdir "$dir"
        if [[ $controllers = *cpuset* ]]; then
            # A new v1 cpuset is empty, and lets no process in before it is filled.
            for knob in cpuset.cpus cpuset.mems; do
                cat "$parent/$knob" >"$dir/$knob"
            done
        fi
    done <<<"$BED_CGROUPS"
}

# remove_cgroups: removes the bed's cgroups with all that systemd made below. False when some are
# left, since a process is still in them.
remove_cgroups() {
    local dir left=0
    while read -r _ dir; do
        [[ ! -d $dir ]] || find "$dir" -depth -type d -exec rmdir {} + || left=1
    done <<<"$BED_CGROUPS"
    return $left
}

# enter_cgroups COMMAND...: becomes COMMAND, in the bed's cgroups and a cgroup namespace with
# these as roots. For the first process of the pid namespace only: systemd could not move one from
# outside of it out of the root again, and then on cgroup v2 give no controllers to units.
enter_cgroups() {
    local dir
    while read -r _ dir; do
        echo 0 >"$dir/cgroup.procs"
    done <<<"$BED_CGROUPS"
    exec unshare --cgroup -- "$@"
}

# mount_cgroups ROOT: mounts the namespace's cgroups in ROOT, laid out as its systemd expects it.
mount_cgroups() {
    local controllers dir part version
    dir=${1%/}/sys/fs/cgroup
    mount -t tmpfs -o mode=755 tmpfs "$dir"
    version=$(chroot "$1" systemctl --version)
    version=${version#systemd } version=${version%%[!0-9]*}
    # systemd refuses cgroup v1 from 256 on. A v2 tree beside v1 ones has no controllers, but runs.
    if ((version >= 256)) || [[ $BED_CGROUPS = "2 "* && $BED_CGROUPS != *$'\n'* ]]; then
        # Over the tmpfs, as the kernel refuses the same file system twice in one place.
        mount -t cgroup2 cgroup2 "$dir"
        return
    fi
    while read -r controllers _; do
        case $controllers in
            2)
                mkdir "$dir/unified"
                mount -t cgroup2 cgroup2 "$dir/unified"
                ;;
            name=*)
                mkdir "$dir/${controllers#name=}"
                mount -t cgroup -o "none,$controllers" cgroup "$dir/${controllers#name=}"
                ;;
            *)
                mkdir "$dir/$controllers"
                mount -t cgroup -o "$controllers" cgroup "$dir/$controllers"
                for part in ${controllers//,/ }; do
                    [[ -e $dir/$part ]] || ln -s "$controllers" "$dir/$part"
                done
                ;;
        esac
    done <<<"$BED_CGROUPS"
    # Else systemd would mount the hierarchies that the host does without, for the whole host.
    mount -o remount,ro,mode=755 tmpfs "$dir"
}

# --- Start and end ---------------------------------------------------------------------------

# start_bed [UNSHARE-OPTION...] COMMAND...: runs COMMAND as the first process of new namespaces,
# and sees to it that all of the bed ends with this script, also when that is killed with SIGKILL.
# Sets BED_PID, the process to wait for.
start_bed() {
    local controllers parent
    BED_CGROUPS=$(host_cgroups | while read -r controllers parent; do
        echo "$controllers $parent/tqserver-bed.$$"
    done)
    export BED_CGROUPS
    # Of the bed that this one may be started in.
    unset BED_LEADER BED_STAGE

    # Somebody has to remove the cgroups when this script was killed: a process in a session of its
    # own, which no signal to a process group reaches. It waits for the end of its input, which
    # comes with the end of this script in any case.
    # shellcheck disable=SC2016 # expanded by the inner shell
    exec {BED_LIFELINE}> >(
        exec setsid bash -c '. "$0"; trap "" INT TERM HUP; cat; poll_until 10 remove_cgroups' \
            "${BASH_SOURCE[0]}" >/dev/null 2>&1
    )
    BED_JANITOR=$!
    BED_PID=
    trap end_bed EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    make_cgroups

    # This script's death kills unshare, unshare's death kills the first process in the pid
    # namespace, and that death all others. The mounts go with their namespace.
    in_background setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child "$@"
    BED_PID=$!
}

# manager_is_up SYSTEMCTL...: whether the manager has started all it should and is to be had on
# the bus. Until it has its name there, a call to it fails instead of waiting.
manager_is_up() {
    local state
    state=$("$@" is-system-running 2>/dev/null) || true
    [[ $state = running || $state = degraded ]] &&
        "${@/%systemctl/busctl}" status org.freedesktop.systemd1 >/dev/null 2>&1 || return 1
    [[ $state = running ]] || "$@" --failed --no-pager >&2
}

# in_background COMMAND...: for what is then waited for. Bash runs traps only between foreground
# commands, but takes stdin and the keyboard's signals from a background one: both given back here.
in_background() {
    env --default-signal=INT,QUIT "$@" <&0 {BED_LIFELINE}>&- &
}

end_bed() {
    trap '' HUP INT TERM
    kill -KILL "$BED_PID" 2>/dev/null || true
    wait "$BED_PID" 2>/dev/null || true
    exec {BED_LIFELINE}>&-
    wait "$BED_JANITOR" || printf 'tests/bed: cgroups left behind:\n%s\n' "$BED_CGROUPS" >&2
}
