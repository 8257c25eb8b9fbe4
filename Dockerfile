# Gantry's image: `docker build -t gantry .` is all it takes.
#
# The result starts from nothing: one static program, a shell for the hooks, CA certificates and time zones. It
# needs no builder features beyond a classic `docker build`.

# By digest, so that each build begins with the same compiler and packages. It is the digest of the index for all platforms.
# Where no registry can be asked, `--build-arg RUST_IMAGE=...` names a stand-in, as the project's own tests do.
ARG RUST_IMAGE=rust:1.95.0-slim-bookworm@sha256:d7482085ff5b415f84dba5647ae71606650bdef00db7aeb69f4b3d170c3e4082
FROM ${RUST_IMAGE} AS build

# What goes into the image besides the program.
RUN apt-get update \
    && apt-get install -y --no-install-recommends busybox-static ca-certificates tzdata \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src
# The C library goes into the program, as there is none in an empty image. This is glibc, whose resolver and
# time functions behave as on the hosts. The target is named below, because without that the flag would also
# reach procedural macros, which must stay dynamic.
ENV RUSTFLAGS="-C target-feature=+crt-static" CARGO_INCREMENTAL=0

# Dependencies are a layer of their own, compiled for an empty program: it is used again until they change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && echo 'fn main() {}' >src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --target "$(rustc -vV | sed -n 's/^host: //p')"

COPY src src
# Copied files may be older than the empty program; touched, they are newer.
RUN find src -type f -exec touch {} + \
    && cargo build --release --locked --target "$(rustc -vV | sed -n 's/^host: //p')"

# The image's file tree. All of busybox's commands are there, as hooks are shell commands of the user; whoever runs one has
# the Docker socket, to which no command adds a right. `right` counts leap seconds, which no computer's clock does; `posix` says everything
# a second time, and `tzdata.zi` a third time, for compilers of time zones. The tables name places for people.
RUN mkdir -p /image/bin /image/etc/ssl/certs /image/root /image/run /image/usr/share /image/tmp \
    && chmod 1777 /image/tmp \
    && cp target/*/release/gantry /image/bin/ \
    && for applet in $(/bin/busybox --list); do ln -s busybox "/image/bin/$applet"; done \
    && cp --remove-destination /bin/busybox /image/bin/ \
    && cp -L /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && cp -a /usr/share/zoneinfo /image/usr/share/ \
    && (cd /image/usr/share/zoneinfo && rm -rf right posix tzdata.zi zone.tab zone1970.tab) \
    && echo 'root:x:0:0:root:/root:/bin/sh' >/image/etc/passwd \
    && echo 'root:x:0:' >/image/etc/group \
    && echo 'hosts: files dns' >/image/etc/nsswitch.conf

# The licence texts of what the image carries, and its Debian packages with their versions, which `make image` reads.
# libc6-dev has the C library that is in the program.
RUN mkdir -p /image/usr/share/common-licenses /image/usr/share/doc/gantry \
    && for text in Apache-2.0 GPL-2 LGPL-2.1 MPL-2.0; do \
        cp -L "/usr/share/common-licenses/$text" /image/usr/share/common-licenses/ || exit 1; \
    done \
    && for package in busybox-static:GPL-2.0-only ca-certificates:MPL-2.0 libc6-dev:LGPL-2.1-or-later tzdata:public-domain; do \
        mkdir "/image/usr/share/doc/${package%:*}" \
        && cp -L "/usr/share/doc/${package%:*}/copyright" "/image/usr/share/doc/${package%:*}/" \
        && dpkg-query -W -f "\${Package} \${Version} \${source:Package} \${source:Version} ${package#*:}\n" "${package%:*}" \
            >>/image/usr/share/doc/packages \
        || exit 1; \
    done \
    && cd "${CARGO_HOME:-/usr/local/cargo}/registry/src" \
    && find . -type f \( -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'copyright*' -o -iname 'notice*' \) ! -name '*.rs' -print0 \
        | sort -z | tar -cz --null -T - -f /image/usr/share/doc/gantry/crates.tar.gz

FROM scratch
# The licences: Gantry's own, busybox's, the C library's and the certificates'. `make image` lists those of each crate.
LABEL org.opencontainers.image.title="Gantry" \
      org.opencontainers.image.description="Keeps Docker Swarm services on the newest image of their tag, safely" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-only AND LGPL-2.1-or-later AND MPL-2.0"
COPY --from=build /image /
ENV PATH=/bin
# A Swarm update of Gantry itself goes on when the new one is healthy, so it is asked soon and often; the
# question is cheap: /healthz at the socket in /run, or in /dev/shm on a read-only root. The time-out is for nodes that are busy starting fifty containers.
HEALTHCHECK --interval=5s --timeout=10s --start-period=10s --retries=6 CMD ["/bin/gantry", "healthcheck"]
ENTRYPOINT ["/bin/gantry"]
