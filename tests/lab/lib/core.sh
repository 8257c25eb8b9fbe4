# shellcheck shell=bash
# Names, folders, messages, and the two rules of the lab: a thing is written down before it is made, and only
# what is written down is ever removed.

LAB_NAME=${GANTRY_LAB_NAME:-}
[[ $LAB_NAME =~ ^[a-z0-9-]{0,20}$ ]] || {
    printf 'lab: GANTRY_LAB_NAME=%q cannot be used. Give it up to 20 lower-case letters, digits and dashes.\n' \
        "$LAB_NAME" >&2
    exit 2
}

# The slot keeps labs apart: it is part of every interface's name (15 characters at most, so not the name
# itself) and of every address. 198.18.0.0/15 is set aside for tests of network equipment (RFC 2544), so no
# network that this machine really uses can be hidden by it.
if [[ -z $LAB_NAME ]]; then
    LAB_SLOT=0
else
    LAB_SLOT=$(printf '%s' "$LAB_NAME" | cksum)
    LAB_SLOT=$((${LAB_SLOT%% *} % 119 + 1))
fi
LAB_PREFIX=glab$LAB_SLOT
LAB_SUBNET=198.18.$LAB_SLOT
LAB_HOST_IP=$LAB_SUBNET.1
LAB_REGISTRY_IP=$LAB_SUBNET.2
LAB_REGISTRY=$LAB_REGISTRY_IP:5000
LAB_MAX_NODES=200 # .11 to .210 of the subnet

# Sockets have room for 108 characters only, so they live in a short path, whatever the folder for the data.
LAB_STATE=/run/gantry-lab${LAB_NAME:+-$LAB_NAME}
LAB_DIR=${GANTRY_LAB_DIR:-/var/lib/gantry-lab${LAB_NAME:+-$LAB_NAME}}
LAB_CACHE=${GANTRY_LAB_CACHE:-/var/cache/gantry-lab}
LAB_MARK=.made-by-gantry-lab

say() { printf 'lab: %s\n' "$*" >&2; }

# die CAUSE REMEDY [EXIT-CODE]
die() {
    printf 'lab: %s %s\n' "$1" "$2" >&2
    exit "${3:-1}"
}

node_ip() { echo "$LAB_SUBNET.$((10 + $1))"; }
node_socket() { echo "$LAB_STATE/node$1.sock"; }

# The client that comes with the newest of the engines: an older one may be refused.
docker_cli() {
    if [[ -s $LAB_STATE/cli ]]; then cat "$LAB_STATE/cli"; else docker_cli_installed; fi
}

# Debian's client first: a machine may have another one in /usr/local that is newer than the engines.
docker_cli_installed() {
    local client
    for client in /usr/bin/docker "$(type -P docker || true)"; do
        [[ -x $client ]] && echo "$client" && return
    done
    die "There is no docker client." "Install Debian's package docker.io."
}

# on K ARG...: the docker client, talking to node K, blind to whatever the caller's own client is set up for.
on() {
    local socket
    socket=$(node_socket "$1")
    shift
    env -u DOCKER_CONTEXT -u DOCKER_TLS_VERIFY -u DOCKER_CERT_PATH DOCKER_CONFIG="$LAB_STATE/client" \
        "$(docker_cli)" -H "unix://$socket" "$@"
}

# One `up`, `down`, ... at a time. The lock is on a folder that is always there, so that it leaves no file;
# background processes must close descriptor 9, or the lock would live as long as they do.
lab_lock() {
    need_root
    exec 9</run
    flock -w 300 9 || die "Another lab command has been busy for five minutes." "Look for it with: ps ax | grep 'lab '"
}

need_root() {
    [[ $(id -u) -eq 0 ]] ||
        die "The lab makes network namespaces and starts engines, for which it must be root." "Run it as root."
}

lab_is_up() { [[ -f $LAB_STATE/nodes ]]; }

need_up() {
    need_root
    lab_is_up || die "The lab is not up." "Start it with: $LAB_SELF up"
}

# need_node K: K is a node of this lab.
need_node() {
    need_up
    [[ ${1:-} =~ ^[0-9]{1,3}$ ]] && (($1 >= 1 && $1 <= $(lab_nodes))) ||
        die "There is no node '${1:-}' in the lab." "Its nodes are 1 to $(lab_nodes)." 2
}

lab_nodes() { cat "$LAB_STATE/nodes"; }
lab_managers() { cat "$LAB_STATE/managers"; }

# need_packages PACKAGE:COMMAND...: installs Debian's packages for those commands that are missing.
need_packages() {
    local pair missing=()
    for pair in "$@"; do
        type -P "${pair#*:}" >/dev/null || missing+=("${pair%%:*}")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    type -P apt-get >/dev/null ||
        die "The lab needs ${missing[*]}, which it installs by itself on Debian only." \
            "Use a Debian 12 machine, or install these yourself."
    say "installing from Debian's packages: ${missing[*]}"
    local log quiet=/usr/sbin/policy-rc.d made_quiet=
    log=$(mktemp)
    # Installing an engine or a registry would also start it, on this machine's own network. The lab wants
    # the programs only; this is Debian's way of saying so.
    if [[ ! -e $quiet ]]; then
        printf '#!/bin/sh\nexit 101\n' >$quiet
        chmod 755 $quiet
        made_quiet=yes
    fi
    local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}")
    local result=0
    "${install[@]}" >"$log" 2>&1 || { apt-get update >>"$log" 2>&1 && "${install[@]}" >>"$log" 2>&1; } || result=$?
    [[ -z $made_quiet ]] || rm -f $quiet
    if [[ $result -ne 0 ]]; then
        tail -n 15 "$log" >&2
        die "apt-get could not install ${missing[*]} (above are its last words)." "See $log; then try again."
    fi
    rm -f "$log"
}

# is_static PROGRAM: it runs where there are no libraries.
is_static() {
    local words
    words=$(ldd "$1" 2>&1) || true
    [[ $words == *"not a dynamic executable"* || $words == *"statically linked"* ]]
}

# remember KIND NAME: write down what is about to be made. recorded KIND NAME: was it?
remember() {
    recorded "$1" "$2" || echo "$1 $2" >>"$LAB_STATE/made"
}
recorded() { [[ -f $LAB_STATE/made ]] && grep -qxF -- "$1 $2" "$LAB_STATE/made"; }

# claim_folder FOLDER: make it ours, unless it holds something that is not.
claim_folder() {
    [[ -e $1/$LAB_MARK ]] && return
    if [[ -e $1 ]] && { [[ ! -d $1 ]] || [[ -n $(ls -A "$1") ]]; }; then
        die "$1 exists and was not made by the lab." "Move it away, or set GANTRY_LAB_DIR or GANTRY_LAB_CACHE to another folder."
    fi
    mkdir -p "$1"
    touch "$1/$LAB_MARK"
}

# drop_folder FOLDER: remove a folder that is ours, with all in it.
drop_folder() {
    [[ -e $1 ]] || return 0
    [[ -e $1/$LAB_MARK ]] || die "$1 was not made by the lab, so it stays." "Remove it yourself if it is not needed."
    rm -rf --one-file-system -- "$1"
}

# A process is known by its id, when it started, and which boot that was: an id alone may by now belong to
# somebody else. process_record PID prints these; process_alive FILE checks them.
process_record() {
    local stat
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    stat=${stat##*) } # the name in the second field may hold anything, so count behind it
    # shellcheck disable=SC2086
    set -- "$1" $stat
    [[ $2 != Z ]] || return 1
    echo "$1 ${21} $(</proc/sys/kernel/random/boot_id)"
}
process_alive() {
    local pid started boot
    [[ -s $1 ]] && read -r pid started boot <"$1" && [[ $(process_record "$pid") == "$pid $started $boot" ]]
}

# end_process FILE SIGNAL SECONDS: signal the recorded process and wait until it has gone.
end_process() {
    local pid deadline=$((SECONDS + $3))
    process_alive "$1" || { rm -f "$1" && return; }
    read -r pid _ <"$1"
    kill -s "$2" "$pid" 2>/dev/null || true
    while process_alive "$1"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.02
    done
    rm -f "$1"
}
