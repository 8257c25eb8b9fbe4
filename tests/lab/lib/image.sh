# shellcheck shell=bash
# Tiny images for services under test: busybox, and whatever settings are asked for.
#
# They are put into the registry by its own protocol. No engine takes part, so none of the nodes has the image
# before the swarm makes it pull, and one takes a tenth of a second.

image_usage() {
    cat <<'USAGE'
lab image REF [OPTION...]   make a tiny image (busybox) and push it to the lab's registry; prints REF@DIGEST

REF is NAME[:TAG] in the lab's registry, with or without its address in front. The same options give the same
digest; to move a tag, change an option, say --env VERSION=2.

  --env KEY=VALUE        set a variable
  --label KEY=VALUE      set a label
  --cmd COMMAND          what containers run, given to sh -c (default: sleep until stopped). It is process 1, which
                         a signal ends only if it asked for it: see --web for how a server is ended at once
  --web TEXT             serve a page with this text on port 80, and end at once when told to
  --entrypoint COMMAND   a program to run instead, without a shell
  --health COMMAND       health check, given to sh -c, with --health-interval, --health-timeout,
                         --health-start-period (such as 1s or 500ms) and --health-retries N
  --size MEGABYTES       add a layer of so many megabytes, to make pulling take time
  --platform OS/ARCH     say that it is for another platform
  --no-push [--node K]   do not push: put it into the engines of all nodes, or of node K, as a local build is
USAGE
}

# The layer that all images share. Its bytes depend on busybox only, so digests can be told in advance.
image_prepare() {
    local root=$LAB_DIR/image/root
    [[ ! -s $LAB_DIR/image/layer.tar.gz ]] || return 0
    rm -rf "$LAB_DIR/image"
    mkdir -p "$root"/{bin,etc,tmp,www,var}
    chmod 1777 "$root/tmp"
    cp "$(type -P busybox)" "$root/bin/busybox"
    "$root/bin/busybox" --list | while read -r applet; do
        [[ $applet == busybox ]] || ln -s busybox "$root/bin/$applet"
    done
    echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
    echo 'root:x:0:' >"$root/etc/group"
    echo 'a page' >"$root/www/index.html"
    tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$root" -cf "$LAB_DIR/image/layer.tar" .
    gzip -1nc "$LAB_DIR/image/layer.tar" >"$LAB_DIR/image/layer.new"
    sha256sum "$LAB_DIR/image/layer.tar" | cut -d' ' -f1 >"$LAB_DIR/image/layer.diff"
    mv "$LAB_DIR/image/layer.new" "$LAB_DIR/image/layer.tar.gz"
}

# nanoseconds 1s|500ms|2m
nanoseconds() {
    [[ $1 =~ ^([0-9]+)(ms|s|m)$ ]] || die "'$1' is not a duration." "Write it like 500ms, 2s or 1m." 2
    case ${BASH_REMATCH[2]} in
        ms) echo "${BASH_REMATCH[1]}000000" ;;
        s) echo "${BASH_REMATCH[1]}000000000" ;;
        *) echo "$((BASH_REMATCH[1] * 60))000000000" ;;
    esac
}

lab_image() {
    local ref='' push=yes node='' size='' health='' page='' env=() labels=()
    # shellcheck disable=SC2016 # for the container's shell
    local cmd='trap "exit 0" TERM INT; while :; do sleep 1d & wait $!; done' entrypoint=''
    local interval=0 timeout=0 period=0 retries=0 platform
    platform=linux/$(machine_architecture)
    while [[ $# -gt 0 ]]; do
        case $1 in
            -h | --help) image_usage && return ;;
            --no-push) push= && shift && continue ;;
            --*) [[ $# -gt 1 ]] || die "lab image: '$1' needs a value." "See 'lab image --help'." 2 ;;&
            --env) env+=("$2") ;;
            --label) labels+=("$2") ;;
            --cmd) cmd=$2 ;;
            --web)
                page=$2
                # shellcheck disable=SC2016 # for the container's shell
                cmd='echo "$PAGE" >/www/index.html; httpd -f -p 80 -h /www & trap "exit 0" TERM INT; wait $!'
                ;;
            --entrypoint) entrypoint=$2 ;;
            --health) health=$2 ;;
            --health-interval) interval=$(nanoseconds "$2") ;;
            --health-timeout) timeout=$(nanoseconds "$2") ;;
            --health-start-period) period=$(nanoseconds "$2") ;;
            --health-retries) retries=$2 ;;
            --size) size=$2 ;;
            --platform) platform=$2 ;;
            --node) node=$2 ;;
            --*) die "lab image does not know '$1'." "See 'lab image --help'." 2 ;;
            *)
                [[ -z $ref ]] || die "lab image takes one name; '$1' is a second one." "See 'lab image --help'." 2
                ref=$1 && shift && continue
                ;;
        esac
        shift 2
    done
    need_up
    [[ -n $ref ]] || die "The image needs a name." "See 'lab image --help'." 2
    ref=${ref#"$LAB_REGISTRY/"}
    [[ ${ref##*/} == *:* ]] || ref=$ref:latest

    [[ -z $page ]] || env+=("PAGE=$page")

    # Fixed in time, so that the same options give the same digest.
    local config
    config=$(jq -cn --arg cmd "$cmd" --arg entrypoint "$entrypoint" --arg health "$health" --arg platform "$platform" \
        --argjson interval "$interval" --argjson timeout "$timeout" --argjson period "$period" --argjson retries "$retries" \
        --args '
        def pairs: map(split("=") | {key: .[0], value: (.[1:] | join("="))}) | from_entries;
        ($ARGS.positional | index("--")) as $cut
        | ($platform / "/") as [$os, $arch]
        | {created: "1970-01-01T00:00:00Z", os: $os, architecture: $arch,
           config: ({
               Env: (["PATH=/bin"] + $ARGS.positional[:$cut]),
               Labels: ($ARGS.positional[$cut + 1:] | pairs)}
             + if $entrypoint == "" then {Cmd: ["/bin/sh", "-c", $cmd]} else {Entrypoint: [$entrypoint]} end
             + if $health == "" then {} else {Healthcheck: {Test: ["CMD-SHELL", $health],
                 Interval: $interval, Timeout: $timeout, StartPeriod: $period, Retries: $retries}} end),
           rootfs: {type: "layers", diff_ids: []}}' \
        -- "${env[@]}" -- "${labels[@]}")

    local work
    work=$(mktemp -d "$LAB_DIR/image/work.XXXXXX")
    # shellcheck disable=SC2064 # the folder of now
    trap "rm -rf '$work'" EXIT
    if [[ -n $push ]]; then
        image_push "$ref" "$config" "$size" "$work"
    else
        image_load "$ref" "$config" "$size" "$work" "$node"
    fi
}

machine_architecture() {
    case $(uname -m) in
        x86_64) echo amd64 ;;
        aarch64) echo arm64 ;;
        *) uname -m ;;
    esac
}

# image_layers SIZE WORK: prints a line per layer: digest of the content, file.
image_layers() {
    echo "$(<"$LAB_DIR/image/layer.diff") $LAB_DIR/image/layer.tar"
    [[ -n $1 ]] || return 0
    mkdir "$2/ballast"
    head -c "${1}M" /dev/urandom >"$2/ballast/ballast"
    tar -C "$2/ballast" -cf "$2/ballast.tar" ballast
    echo "$(sha256sum "$2/ballast.tar" | cut -d' ' -f1) $2/ballast.tar"
}

# image_push REF CONFIG SIZE WORK
image_push() {
    local repository=${1%:*} tag=${1##*:} config=$2 work=$4 diff file layers='[]' digest
    image_layers "$3" "$work" >"$work/layers"
    while read -r diff file; do
        config=$(jq -c --arg diff "sha256:$diff" '.rootfs.diff_ids += [$diff]' <<<"$config")
        [[ -s $file.gz ]] || gzip -1nc "$file" >"$file.gz"
        file=$file.gz
        digest=$(registry_blob "$repository" "$file")
        layers=$(jq -c --arg digest "$digest" --argjson size "$(stat -c %s "$file")" \
            '. + [{mediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip", size: $size, digest: $digest}]' <<<"$layers")
    done <"$work/layers"
    printf '%s' "$config" >"$work/config"
    digest=$(registry_blob "$repository" "$work/config")
    jq -cnj --arg digest "$digest" --argjson size "$(stat -c %s "$work/config")" --argjson layers "$layers" \
        '{schemaVersion: 2, mediaType: "application/vnd.docker.distribution.manifest.v2+json",
          config: {mediaType: "application/vnd.docker.container.image.v1+json", size: $size, digest: $digest},
          layers: $layers}' >"$work/manifest"
    registry_ask -o /dev/null -X PUT -H 'Content-Type: application/vnd.docker.distribution.manifest.v2+json' \
        --data-binary "@$work/manifest" "http://$LAB_REGISTRY/v2/$repository/manifests/$tag"
    echo "$LAB_REGISTRY/$1@sha256:$(sha256sum "$work/manifest" | cut -d' ' -f1)"
}

# registry_blob REPOSITORY FILE: upload unless it is there; prints the digest.
registry_blob() {
    local digest location
    digest=sha256:$(sha256sum "$2" | cut -d' ' -f1)
    echo "$digest"
    ! curl -sf --head -o /dev/null "http://$LAB_REGISTRY/v2/$1/blobs/$digest" || return 0
    location=$(registry_ask -X POST -D - -o /dev/null "http://$LAB_REGISTRY/v2/$1/blobs/uploads/" |
        sed -n 's/\r$//; s/^[Ll]ocation: //p')
    registry_ask -o /dev/null -X PUT -H 'Content-Type: application/octet-stream' \
        --upload-file "$2" "$location&digest=$digest"
}

registry_ask() {
    curl -sS --fail --max-time 60 "$@" ||
        die "The registry did not take the image (above is what curl says)." "Is it up? See '$LAB_SELF status'."
}

# image_load REF CONFIG SIZE WORK NODE: the way of `docker save`, put into engines.
image_load() {
    local config=$2 work=$4 diff file layers='[]' k
    mkdir "$work/save"
    image_layers "$3" "$work" >"$work/layers"
    while read -r diff file; do
        config=$(jq -c --arg diff "sha256:$diff" '.rootfs.diff_ids += [$diff]' <<<"$config")
        ln -s "$file" "$work/save/$diff.tar"
        layers=$(jq -c --arg file "$diff.tar" '. + [$file]' <<<"$layers")
    done <"$work/layers"
    printf '%s' "$config" >"$work/save/config.json"
    jq -cn --arg ref "$LAB_REGISTRY/$1" --argjson layers "$layers" \
        '[{Config: "config.json", RepoTags: [$ref], Layers: $layers}]' >"$work/save/manifest.json"
    tar -C "$work/save" --dereference -cf "$work/save.tar" .
    for ((k = 1; k <= $(lab_nodes); k++)); do
        [[ -z $5 || $5 == "$k" ]] || continue
        on "$k" load --quiet --input "$work/save.tar" >/dev/null
    done
    echo "$LAB_REGISTRY/$1"
}
