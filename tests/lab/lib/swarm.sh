# shellcheck shell=bash
# Up, down, and what a person asks in between.

lab_up() {
    local nodes='' managers='' engine=${GANTRY_LAB_ENGINE:-} k
    while [[ $# -gt 0 ]]; do
        case $1 in
            --nodes) nodes=${2:-} ;;
            --managers) managers=${2:-} ;;
            --engine) engine=${2:-} ;;
            *) die "lab up does not know '$1'." "It takes --nodes N, --managers M and --engine CHOICE." 2 ;;
        esac
        shift "$(($# > 1 ? 2 : 1))"
    done
    if lab_is_up; then
        nodes=${nodes:-$(lab_nodes)} managers=${managers:-$(lab_managers)}
        ((nodes >= $(lab_nodes))) ||
            die "The lab has $(lab_nodes) nodes, and takes none away." "Run '$LAB_SELF down' first."
    fi
    nodes=${nodes:-3} managers=${managers:-1}
    [[ $nodes =~ ^[0-9]{1,3}$ && $managers =~ ^[0-9]{1,3}$ ]] && ((managers >= 1 && managers <= nodes && nodes <= LAB_MAX_NODES)) ||
        die "A lab of $nodes nodes and $managers managers cannot be." \
            "Have 1 to $LAB_MAX_NODES nodes, and at least one manager among them." 2

    lab_install

    claim_folder "$LAB_STATE"
    data_up
    mkdir -p "$LAB_STATE/client" "$LAB_STATE/net"
    # `down` must find the data even if the variable is not set then.
    if [[ -s $LAB_STATE/folder && $(<"$LAB_STATE/folder") != "$LAB_DIR" ]]; then
        die "The lab keeps its data in $(<"$LAB_STATE/folder"), not in $LAB_DIR." "Set GANTRY_LAB_DIR so, or run 'down' first."
    fi
    echo "$LAB_DIR" >"$LAB_STATE/folder"
    echo "$nodes" >"$LAB_STATE/nodes"
    echo "$managers" >"$LAB_STATE/managers"

    releases_up "$nodes" "$engine"

    data_root_up
    bridge_up
    for ((k = 1; k <= nodes; k++)); do start_node "$k"; done
    registry_up
    image_prepare
    for ((k = 1; k <= nodes; k++)); do node_ready "$k"; done
    swarm_up "$nodes" "$managers"
    say "up: $nodes nodes ($managers managers), Docker $(release_summary), registry $LAB_REGISTRY. Use it with: eval \"\$($LAB_SELF env)\""
}

# Everything that the lab needs from Debian's packages, a compiler's linker and the checker of its scripts included.
lab_install() {
    need_root
    need_packages iproute2:ip iptables:iptables busybox-static:busybox docker.io:dockerd \
        docker-registry:docker-registry curl:curl jq:jq util-linux:nsenter \
        mmdebstrap:mmdebstrap gcc:cc libc6-dev:cc shellcheck:shellcheck prometheus:prometheus nginx-light:nginx tmux:tmux
    type -P docker >/dev/null || need_packages docker-cli:docker # a package of its own in newer Debians
    pip_python >/dev/null || need_packages python3-venv:pyvenv # it has no command to look for any more
    is_static "$(type -P busybox)" || die "The busybox here needs libraries, which the lab's images do not have." \
        "Install Debian's package busybox-static."
}

# The data lives in memory: engines and the swarm's log wait for the disk with every change, which on a machine
# that also compiles makes a test slow today and fail tomorrow.
data_up() {
    claim_folder "$LAB_DIR"
    remember mount "$LAB_DIR"
    mountpoint -q "$LAB_DIR" || mount -n -t tmpfs -o mode=755 "$LAB_PREFIX" "$LAB_DIR"
    touch "$LAB_DIR/$LAB_MARK"
}
data_down() {
    ! recorded mount "$LAB_DIR" || umount -n "$LAB_DIR" 2>/dev/null || true
    drop_folder "$LAB_DIR"
}

swarm_up() {
    local nodes=$1 managers=$2 k token pids=() deadline=$((SECONDS + 60))
    if [[ $(swarm_state 1) == inactive ]]; then
        # Overlay networks come from the test range too; each has room for a thousand tasks.
        on 1 swarm init --advertise-addr "$(node_ip 1)" \
            --default-addr-pool 198.18.128.0/17 --default-addr-pool-mask-length 22 >/dev/null
    fi
    swarm_wait_for_leader "$deadline"
    for ((k = 2; k <= nodes; k++)); do
        [[ $(swarm_state "$k") == inactive ]] || continue
        token=$(on 1 swarm join-token -q "$( ((k <= managers)) && echo manager || echo worker)")
        # Workers together; managers one by one, as each changes the quorum of the next.
        if ((k <= managers)); then
            swarm_join "$k" "$token"
        else
            swarm_join "$k" "$token" &
            pids+=($!)
        fi
    done
    for k in "${pids[@]}"; do wait "$k"; done
    for ((k = 1; k <= nodes; k++)); do
        if ((k <= managers)); then
            on 1 node promote "node$k" >/dev/null 2>&1 || true
        else
            on 1 node demote "node$k" >/dev/null 2>&1 || true
        fi
    done
    until (($(on 1 node ls --format '{{.Status}}' | grep -cx Ready) >= nodes)); do
        ((SECONDS < deadline)) || die "Not every node of the swarm is ready after a minute." \
            "Look at '$LAB_SELF status'; '$LAB_SELF down' and 'up' begin anew."
        sleep 0.1
    done
}

# inactive, pending, active, locked or error
swarm_state() { on "$1" info --format '{{.Swarm.LocalNodeState}}'; }

swarm_join() {
    on "$1" swarm join --advertise-addr "$(node_ip "$1")" --token "$2" "$(node_ip 1):2377" >/dev/null 9>&-
}

# After a restart a manager knows that it is one a little before it can act as one.
swarm_wait_for_leader() {
    until on 1 node ls >/dev/null 2>&1; do
        ((SECONDS < $1)) || die "node1 does not find the swarm's other managers." \
            "Start those that are stopped; '$LAB_SELF down' and 'up' begin anew."
        sleep 0.1
    done
}

# Removes in the reverse order of making. Nothing is asked of the engines, which may be gone, stuck or half
# made: everything of a node is in its namespaces or its folder.
lab_down() {
    local k nodes record kind name
    [[ -e $LAB_STATE ]] || return 0
    [[ -e $LAB_STATE/$LAB_MARK ]] || die "$LAB_STATE was not made by the lab, so it stays." "Remove it yourself if it is not needed."
    [[ ! -s $LAB_STATE/folder ]] || LAB_DIR=$(<"$LAB_STATE/folder")
    for record in "$LAB_STATE"/*.pid; do
        [[ -e $record ]] || continue
        end_process "$record" KILL 20 || die "A process of the lab cannot be ended." "Look at the one in $record."
    done
    for name in "$LAB_STATE"/net/*; do
        [[ ! -e $name ]] || { umount -n "$name" 2>/dev/null || true; }
    done
    if [[ -f $LAB_STATE/made ]]; then
        while read -r kind name; do
            [[ $kind != link || $name == "$LAB_PREFIX" ]] || link_down "$name"
        done <"$LAB_STATE/made"
        bridge_down
        data_root_down
    fi
    cgroups_down
    data_down
    drop_folder "$LAB_STATE"
    say "down"
}

lab_status() {
    local k engine
    need_root
    if ! lab_is_up; then
        echo "The lab is not up."
        return
    fi
    printf '%-9s %-8s %-9s %-14s %s\n' NODE STATE ENGINE ADDRESS SOCKET
    for ((k = 1; k <= $(lab_nodes); k++)); do
        if engine_alive "node$k"; then engine=running; else engine=stopped; fi
        printf '%-9s %-8s %-9s %-14s %s\n' "node$k" "$engine" "$(release_version "$(release_of "$k")")" \
            "$(node_ip "$k")" "$(node_socket "$k")"
    done
    if process_alive "$LAB_STATE/registry.pid"; then engine=running; else engine=stopped; fi
    printf '%-9s %-8s %-9s %-14s %s\n\n' registry "$engine" '' "$LAB_REGISTRY_IP" "http://$LAB_REGISTRY"
    for ((k = 1; k <= $(lab_managers); k++)); do
        engine_alive "node$k" && on "$k" node ls && return
    done
    echo "No manager answers."
}

lab_env() {
    local node=1
    if [[ ${1:-} == --node ]]; then
        node=${2:-}
    fi
    need_node "$node"
    cat <<ENV
unset DOCKER_CONTEXT DOCKER_TLS_VERIFY DOCKER_CERT_PATH
export DOCKER_HOST=unix://$(node_socket "$node")
export GANTRY_LAB=$LAB_SELF
export GANTRY_LAB_NAME=$LAB_NAME
export GANTRY_LAB_DIR=$(<"$LAB_STATE/folder")
export GANTRY_LAB_SOCKETS=$LAB_STATE
export GANTRY_LAB_NODES=$(lab_nodes)
export GANTRY_LAB_MANAGERS=$(lab_managers)
export GANTRY_LAB_HOST=$LAB_HOST_IP
export GANTRY_LAB_SUBNET=$LAB_SUBNET.0/24
export GANTRY_LAB_REGISTRY=$LAB_REGISTRY
export GANTRY_LAB_REGISTRY_LOG=$(<"$LAB_STATE/folder")/registry/log
export GANTRY_LAB_DOCKER=$(docker_cli)
ENV
}

lab_shell() {
    local variables
    variables=$(lab_env "$@")
    eval "$variables"
    exec "${SHELL:-/bin/bash}"
}

# lab run [--build] -- CMD...: a fresh lab around one command. GANTRY_LAB_KEEP=1 keeps it, and takes it as it is the
# next time, so that the second run of an edit-test loop begins at once.
lab_run() {
    local build='' variables
    if [[ ${1:-} == --build ]]; then
        build=yes
        shift
    fi
    [[ ${1:-} != -- ]] || shift
    [[ $# -gt 0 ]] || die "There is nothing to run." "Use: lab run [--build] -- COMMAND..." 2
    need_root
    # Ctrl-C reaches everything in the foreground; what is left to do here is to tidy up, and not to be disturbed in it.
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    [[ -n ${GANTRY_LAB_KEEP:-} ]] || {
        trap 'trap "" INT TERM HUP; "$LAB_SELF" down' EXIT
        "$LAB_SELF" down
    }
    "$LAB_SELF" up
    [[ -z $build ]] || "$LAB_SELF" build >/dev/null
    variables=$(lab_env)
    eval "$variables"
    "$@"
}
