# shellcheck shell=bash
# An image registry on plain HTTP, with an address of its own that the nodes and this machine reach.

registry_up() {
    local folder=$LAB_DIR/registry deadline=$((SECONDS + 20))
    net_up registry "$LAB_REGISTRY_IP" "$LAB_PREFIX-reg"
    if ! process_alive "$LAB_STATE/registry.pid"; then
        mkdir -p "$folder/data"
        cat >"$folder/config.yml" <<CONFIG
version: 0.1
# The access log (on by default) lets a test count the requests that a program made.
log: {level: warn}
storage:
  filesystem: {rootdirectory: $folder/data}
  delete: {enabled: true}
  # Without it every start and then once a day the data is searched for abandoned uploads.
  maintenance: {uploadpurging: {enabled: false}}
http: {addr: "$LAB_REGISTRY"}
CONFIG
        setsid nsenter "--net=$(net_file registry)" env -i PATH="$PATH" HOME=/root \
            docker-registry serve "$folder/config.yml" </dev/null >>"$folder/log" 2>&1 9>&- &
        process_record $! >"$LAB_STATE/registry.pid"
        disown
    fi
    until curl -sf -o /dev/null --max-time 2 "http://$LAB_REGISTRY/v2/"; do
        process_alive "$LAB_STATE/registry.pid" && ((SECONDS < deadline)) ||
            die "The registry does not come up." "See $folder/log."
        sleep 0.05
    done
}

registry_down() { end_process "$LAB_STATE/registry.pid" KILL 10; }

lab_registry() {
    need_up
    case ${1:-} in
        stop) registry_down ;;
        start) registry_up ;;
        *) die "lab registry does not know '${1:-}'." "It takes stop or start." 2 ;;
    esac
}
