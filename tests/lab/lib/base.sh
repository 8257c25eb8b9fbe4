# shellcheck shell=bash
# The stand-in for the Dockerfile's base image. A change of this file makes it anew, and with it everything that
# was built on it; hence a file of its own.

BUILD_BASE=$(sed -n 's/^ARG RUST_IMAGE=\([^@]*\)@.*$/\1/p' "$LAB_PROJECT/Dockerfile")

# build_base: the stand-in, unless there is one for this toolchain already.
build_base() {
    local key root sysroot
    type -P rustc >/dev/null || die "There is no Rust here." "Install it, as the README says."
    sysroot=$(cd "$LAB_PROJECT" && rustc --print sysroot)
    key=$({ "$sysroot/bin/rustc" -vV && cat "$LAB_HOME/lib/base.sh" && build_certificates; } | sha256sum | cut -c 1-16)
    [[ $(on_build image inspect --format '{{index .Config.Labels "gantry.lab"}}' "$BUILD_BASE" 2>/dev/null) != "$key" ]] || return 0

    # Whatever was built on another base is of no use any more.
    on_build system prune --all --force >/dev/null
    say "making a stand-in for the base image $BUILD_BASE"
    root=$LAB_CACHE/base
    rm -rf --one-file-system "$root"
    mkdir "$root"
    # Sources and ways of access are this machine's own.
    apt-config dump | grep '^Acquire::' | grep -v '^Acquire::IndexTargets' >"$LAB_CACHE/apt.conf" || true
    [[ -n $(build_sources) ]] || apt-get update >/dev/null
    build_sources | mmdebstrap --quiet --mode=root --variant=minbase --include=ca-certificates,gcc,libc6-dev \
        --aptopt="$LAB_CACHE/apt.conf" '' "$root" -
    build_certificates >"$root/etc/ssl/certs/ca-certificates.crt"
    mkdir -p "$root/usr/local/cargo"
    # The compiler and cargo, without documentation and the tools that only people use.
    tar -C "$sysroot" --exclude=./share --exclude=./etc --exclude=./lib/rustlib/src --exclude='./bin/*-*' \
        --exclude=./bin/rustdoc --exclude='./bin/rust-*' -cf - . | tar -C "$root/usr/local" -xf -
    [[ ! -e ${CARGO_HOME:-$HOME/.cargo}/config.toml ]] || cp "${CARGO_HOME:-$HOME/.cargo}/config.toml" "$root/usr/local/cargo/"
    tar -C "$root" -cf - . | on_build import \
        --change "LABEL gantry.lab=$key" --change 'ENV CARGO_HOME=/usr/local/cargo' \
        --change 'ENV PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
        - "$BUILD_BASE" >/dev/null
    rm -rf --one-file-system "$root"
}

# The certificates that programs on this machine trust, an organisation's own among them.
build_certificates() { cat "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}"; }

# Debian's sources as apt here knows them, however they are written.
build_sources() {
    apt-get indextargets --format "\$(ORIGIN) \$(REPO_URI) \$(RELEASE) \$(COMPONENT)" 'Created-By: Packages' |
        awk '$1 == "Debian" { print "deb", $2, $3, $4 }' | sort -u
}
