# shellcheck shell=bash
# The project's own image, built as a user builds it: `docker build .`.
#
# Where images can be downloaded that would be all. Here the lab makes a stand-in for the Dockerfile's base image,
# from Debian's packages and the Rust toolchain of this machine, and gives it the base image's name. The engine
# that builds is one of its own, on this machine's network, since the nodes have no way out to the package
# registries. It runs only while it builds; what it keeps for the next time is in the cache folder.

build_usage() {
    cat <<'USAGE'
lab build [--tag NAME:TAG] [--binary FILE] [-- DOCKER-BUILD-OPTION...]
    build the project's image with `docker build .` and push it to the lab's registry (default: gantry:latest);
    prints its name with its digest

  --tag NAME:TAG   another name; with `-- --label build=2` it is another image, without compiling again
  --binary FILE    for the edit-test loop: take the last image that was really built, with FILE (a static program)
                   in place of its own. Such a FILE is made by:
                   RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --target x86_64-unknown-linux-gnu
USAGE
}

on_build() {
    env -u DOCKER_CONTEXT -u DOCKER_TLS_VERIFY -u DOCKER_CERT_PATH DOCKER_CONFIG="$LAB_STATE/client" \
        "$(docker_cli_installed)" -H "unix://$LAB_STATE/build.sock" "$@"
}

lab_build() {
    local tag=gantry:latest binary='' started=$SECONDS
    while [[ $# -gt 0 ]]; do
        case $1 in
            -h | --help) build_usage && return ;;
            --tag) tag=${2:-} && shift ;;
            --binary) binary=${2:-} && shift ;;
            --) shift && break ;;
            *) die "lab build does not know '$1'." "See 'lab build --help'." 2 ;;
        esac
        shift
    done
    need_up
    claim_folder "$LAB_CACHE"
    exec 8<"$LAB_CACHE"
    flock 8 # one build at a time, whichever lab it is for
    trap build_engine_down EXIT
    build_engine_up
    if [[ -n $binary ]]; then
        build_from_binary "$binary"
        on_build tag gantry:binary "$LAB_REGISTRY/$tag"
    else
        build_base
        # The network is the only thing that a user need not name: the build engine has no bridge of its own.
        build_with_progress --network host --build-arg "RUST_IMAGE=$BUILD_BASE" -t gantry:built "$@" "$LAB_PROJECT"
        on_build tag gantry:built "$LAB_REGISTRY/$tag"
    fi
    on_build push -q "$LAB_REGISTRY/$tag" >/dev/null
    say "built $LAB_REGISTRY/$tag in $((SECONDS - started)) s"
    on_build image inspect --format '{{index .RepoDigests 0}}' "$LAB_REGISTRY/$tag" | sed "s|.*@|$LAB_REGISTRY/$tag@|"
    on_build rmi "$LAB_REGISTRY/$tag" >/dev/null # the name only; the image has another one
}

# build_with_progress DOCKER-BUILD-ARGUMENT...: one line for each step; everything goes to a file, whose end is shown
# when it did not work.
build_with_progress() {
    local log=$LAB_CACHE/build.log
    say "docker build . (all it says: $log)"
    on_build build "$@" 2>&1 | tee "$log" | sed -un 's/^Step \([0-9/]* : .\{1,100\}\).*/lab:   \1/p; s/^#[0-9]* \[/lab:   [/p' >&2 || {
        tail -n 40 "$log" >&2
        die "docker build failed (above are its last words)." "All of them are in $log."
    }
}

build_engine_up() {
    # Without a bridge and rules it leaves this machine's network as it is.
    engine_launch build system '' "$LAB_CACHE/engine" --storage-driver overlay2 \
        --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false 8<&-
    engine_wait build "$LAB_CACHE/engine" || die "The engine that builds did not start (above are its last words)." \
        "See $LAB_CACHE/engine/engine.log; '$LAB_SELF purge' begins anew."
}
build_engine_down() {
    engine_stop build
    rm -f "$LAB_STATE/build.sock"
}

build_from_binary() {
    local work=$LAB_STATE/build-binary
    on_build image inspect gantry:built >/dev/null 2>&1 ||
        die "There is no image yet to put $1 into." "Run '$LAB_SELF build' once."
    [[ -x $1 ]] || die "$1 is no program." "See 'lab build --help' for how to make it." 2
    is_static "$1" || die "$1 needs libraries, which the image does not have." \
        "See 'lab build --help' for how to make a static one." 2
    rm -rf "$work"
    mkdir "$work"
    cp "$1" "$work/gantry"
    printf 'FROM gantry:built\nCOPY gantry /bin/gantry\n' >"$work/Dockerfile"
    on_build build -q -t gantry:binary "$work" >/dev/null
    rm -rf "$work"
}

lab_purge() {
    need_root
    drop_folder "$LAB_CACHE"
}
