# shellcheck shell=bash
# Engines: dockerd under a small init, in namespaces of their own.
#
# The process namespace is what makes an engine easy to end: when its first process is killed the kernel ends
# everything in it, containers and their helpers included, and with the last process go the mounts.

engine_folder() { echo "$LAB_DIR/$1"; }
engine_pidfile() { echo "$LAB_STATE/$1.pid"; }
engine_alive() { process_alive "$(engine_pidfile "$1")"; }

# The place for the engines' own mounts has to exist. It is shared by all labs, so the last one removes it, if
# a lab made it.
DEFAULT_DATA_ROOT=/var/lib/docker
data_root_up() {
    if [[ ! -e $DEFAULT_DATA_ROOT ]] || grep -qsxF "folder $DEFAULT_DATA_ROOT" /run/gantry-lab*/made; then
        remember folder "$DEFAULT_DATA_ROOT"
        mkdir -p "$DEFAULT_DATA_ROOT"
    fi
}
data_root_down() {
    local record users=0
    for record in /run/gantry-lab*/made; do
        ! grep -qsxF "folder $DEFAULT_DATA_ROOT" "$record" || users=$((users + 1))
    done
    if ((users == 1)) && recorded folder "$DEFAULT_DATA_ROOT"; then
        rmdir "$DEFAULT_DATA_ROOT" 2>/dev/null || true
    fi
}

# engine_launch NAME RELEASE NETWORK-FILE FOLDER DOCKERD-OPTION...: start in the background; see engine_wait.
# An empty network file means this machine's own network.
engine_launch() {
    local name=$1 path net=$3 folder=$4 enter=()
    path=$(release_path "$2")
    shift 4
    [[ -z $net ]] || enter=(nsenter "--net=$net")
    mkdir -p "$folder"/{data,lib,run,etc/upper,etc/work}
    rm -f "$LAB_STATE/$name.sock" "$(engine_pidfile "$name")"
    # An empty environment: a proxy or a client setting of the caller is none of the engine's business.
    setsid "${enter[@]}" unshare --uts --mount --propagation private --pid --fork -- \
        env -i PATH="$path" HOME=/root GANTRY_LAB_NAME="$LAB_NAME" GANTRY_LAB_DIR="$LAB_DIR" \
        "$LAB_SELF" __engine "$name" "$folder" "$@" </dev/null >>"$folder/engine.log" 2>&1 9>&- &
    process_record $! >"$LAB_STATE/$name.launcher"
    disown
}

# Runs as the first process of the namespaces: arranges the node's own view of the machine, then becomes init.
engine_inside() {
    local name=$1 folder=$2 pid init
    shift 2
    # /proc is still that of the whole machine, so this is our process id as the lab sees it.
    read -r pid _ </proc/self/stat
    process_record "$pid" >"$(engine_pidfile "$name").new"
    mv "$(engine_pidfile "$name").new" "$(engine_pidfile "$name")"
    echo "$name" >/proc/sys/kernel/hostname

    # Its own /run: the usual socket path is this node's engine, and no containerd of the machine is found there.
    # (-n: mount keeps notes in /run/mount, which are the machine's.)
    mount -n -t tmpfs -o mode=755 tmpfs "$folder/run"
    mkdir -p "$folder$LAB_STATE"
    mount -n --bind "$LAB_STATE" "$folder$LAB_STATE"
    mount -n --move "$folder/run" /run
    # Its own /etc: an engine writes its identity to /etc/docker; three engines must not share one.
    mount -n -t overlay -o "lowerdir=/etc,upperdir=$folder/etc/upper,workdir=$folder/etc/work" overlay /etc
    mkdir -p /etc/docker
    # Named, so that the machine's own daemon.json is not read. One thing of each node's own, for --generic-resource.
    echo '{"node-generic-resources": ["gpu=1"]}' >/etc/docker/lab.json
    # Whatever its data root, an engine writes a few files to the default one.
    mount -n --bind "$folder/lib" "$DEFAULT_DATA_ROOT"
    mount -n -t proc proc /proc

    init=$(type -P docker-init || type -P tini-static || type -P tini || echo /usr/libexec/docker/docker-init)
    # The driver for cgroups is named, as the default asks a systemd that is not in here.
    exec "$init" -- dockerd --config-file /etc/docker/lab.json \
        --host unix:///var/run/docker.sock --host "unix://$LAB_STATE/$name.sock" \
        --data-root "$folder/data" --exec-root /run/docker --pidfile /run/docker.pid \
        --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$LAB_PREFIX" \
        --insecure-registry "$LAB_SUBNET.0/24" "$@"
}

# engine_wait NAME FOLDER: until the engine answers. Fails, with the engine's last words, when it ended instead.
engine_wait() {
    local name=$1 folder=$2 deadline=$((SECONDS + 60))
    until curl -sf -o /dev/null --max-time 2 --unix-socket "$LAB_STATE/$name.sock" http://engine/_ping; do
        # What launched it waits for its end.
        if ! process_alive "$LAB_STATE/$name.launcher"; then
            tail -n 3 "$folder/engine.log" >&2
            return 1
        fi
        ((SECONDS < deadline)) || die "The engine of $name has not answered for a minute." "See $folder/engine.log."
        sleep 0.05
    done
}

# engine_stop NAME: in good order; its containers are told to stop first.
engine_stop() { end_process "$(engine_pidfile "$1")" TERM 60 || engine_kill "$1"; }
# engine_kill NAME: as if the power had failed.
engine_kill() {
    end_process "$(engine_pidfile "$1")" KILL 20 ||
        die "The engine of $1 cannot be ended." "Look at the process in $(engine_pidfile "$1")."
}

# The cgroups of killed containers outlive them. They are empty by now; only empty ones can be removed.
cgroups_down() {
    local root deadline=$((SECONDS + 5))
    for root in "/sys/fs/cgroup/$LAB_PREFIX" /sys/fs/cgroup/*/"$LAB_PREFIX"; do
        while [[ -d $root ]] && ! find "$root" -depth -type d -exec rmdir {} + 2>/dev/null; do
            ((SECONDS < deadline)) || { say "cgroup $root is still busy and stays"; break; }
            sleep 0.05
        done
    done
}

start_node() {
    local folder
    folder=$(engine_folder "node$1")
    engine_alive "node$1" && net_up "node$1" "$(node_ip "$1")" "$LAB_PREFIX-n$1" && return
    # Anew each time, so that a node that was killed does not find its old interfaces, which no reboot keeps.
    net_down "node$1" "$LAB_PREFIX-n$1"
    net_up "node$1" "$(node_ip "$1")" "$LAB_PREFIX-n$1"
    # Networks inside a node come from the test range too (by default, private ranges that may be in use here).
    engine_launch "node$1" "$(release_of "$1")" "$(net_file "node$1")" "$folder" \
        --storage-driver overlay2 --bip "198.19.$1.1/25" --default-address-pool "base=198.19.$1.128/25,size=26"
}

# node_ready K: wait for a started node. On a machine that is busy with other things an engine may give up on its
# containerd, so it has a second try.
node_ready() {
    local folder
    folder=$(engine_folder "node$1")
    if ! engine_wait "node$1" "$folder"; then
        say "the engine of node$1 ended as it started (above); trying once more"
        start_node "$1"
        engine_wait "node$1" "$folder" || die "The engine of node$1 ended as it started (above are its last words)." \
            "See $folder/engine.log; '$LAB_SELF down' and 'up' begin anew."
    fi
}

lab_stop() {
    need_node "${1:-}"
    case ${2:-} in
        --kill) engine_kill "node$1" && link_down "$LAB_PREFIX-n$1" ;;
        '') engine_stop "node$1" ;;
        *) die "lab stop does not know '$2'." "It takes a node and, if wanted, --kill." 2 ;;
    esac
    rm -f "$(node_socket "$1")"
}

lab_start() {
    need_node "${1:-}"
    start_node "$1"
    node_ready "$1"
    # The engine answers before it has found its way back into the swarm.
    local deadline=$((SECONDS + 10))
    while [[ $(swarm_state "$1") != active ]] && ((SECONDS < deadline)); do sleep 0.1; done
}

# lab exec K -- CMD...
lab_exec() {
    local node=${1:-} pid
    need_node "$node"
    shift
    [[ ${1:-} != -- ]] || shift
    [[ $# -gt 0 ]] || die "There is nothing to run." "Use: lab exec $node -- COMMAND..." 2
    engine_alive "node$node" || die "node$node is stopped." "Start it with: $LAB_SELF start $node"
    read -r pid _ <"$(engine_pidfile "node$node")"
    exec env DOCKER_HOST=unix:///var/run/docker.sock nsenter --target "$pid" --net --mount --uts --pid -- "$@"
}
