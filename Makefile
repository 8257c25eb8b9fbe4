# `make help` lists what there is to make.

SHELL := /bin/bash
LAB := tests/lab/lab
CARGO ?= cargo

# Tests and demo have labs of their own, so that one that was started by hand is left alone.
test bench smoke: export GANTRY_LAB_NAME ?= test
demo: export GANTRY_LAB_NAME ?= demo

# make test ENGINE=28: another engine than the installed one; `tests/lab/lab help` lists the choices.
ENGINE ?= system
test bench demo smoke: export GANTRY_LAB_ENGINE ?= $(ENGINE)

# nextest runs tests in parallel and shows what is slow; without it cargo's own runner does (documentation is in `check`).
NEXTEST := $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo yes)
# Live tests wait most of the time, so there are more of them at once than processors; .config/nextest.toml holds
# the others back.
AT_ONCE := $(shell echo $$((3 * $$(nproc))))
RUN_TESTS := $(if $(NEXTEST),$(CARGO) nextest run --profile lab --test-threads $(AT_ONCE),\
	env RUST_TEST_THREADS=$(AT_ONCE) $(CARGO) test --no-fail-fast --lib --bins --tests) --locked --features live

# A handful of live tests that show whether an engine does what all others rely on.
SMOKE := contract::.*::live::|live::(selection|updating|failing::a_crashing|deployed::the_replaced|meanwhile|auth::folders::an_account)
RUN_SMOKE := $(if $(NEXTEST),$(RUN_TESTS) -E 'test(/(^|::)($(SMOKE))/)',$(RUN_TESTS) live::)

# The soak alone on the machine, as its memory is measured; every request is broken in every way.
RUN_SOAK := $(if $(NEXTEST),$(CARGO) nextest run --profile soak,$(CARGO) test) --locked --features live --test it \
	$(if $(NEXTEST),-E 'test(/^(soak|faults)::/)',-- --nocapture --test-threads 1 soak:: faults::)

.PHONY: help demo test smoke soak search fuzz fuzz-api bench page screenshots check image msrv advisories lab-up lab-down swarm-can-run

help:
	@echo 'make demo      see Gantry work on a private three-node swarm on this machine (root on Debian)'
	@echo 'make test      run every check and every test, those on the private swarm included, and tell their minutes (root on Debian)'
	@echo 'make smoke     run a handful of those on the swarm; with ENGINE=26, 28 or mixed on newer engines, as `make test` can'
	@echo 'make soak      500 cycles in a swarm where something always fails, every request broken in every way, and a million requests of strangers'
	@echo 'make search    every order of events of two Gantrys in a small world, with two troubles at once'
	@echo 'make fuzz      give each parser of foreign text a minute of made-up input (FUZZ_SECONDS, TARGETS)'
	@echo 'make fuzz-api  let schemathesis (PyPI) make up requests to the API for a minute (FUZZ_SECONDS)'
	@echo 'make bench     measure speed and memory, or PARTS=overtaking of it (root on Debian)'
	@echo 'make page      check the status page in Chromium with invented data; needs Node.js'
	@echo 'make screenshots  take pictures of it, in target/page/shots'
	@echo 'make check     formatting, clippy, documentation, shell scripts'
	@echo 'make image     build the image, and list its crates and packages in target/sbom.cdx.json (SBOM)'
	@echo 'make msrv      check the code with the oldest Rust that Cargo.toml allows; needs that toolchain'
	@echo 'make advisories  check the crates for known weaknesses; needs the internet'
	@echo 'make lab-up    start the private swarm for use by hand; tests/lab/README.md tells how'
	@echo 'make lab-down  remove it'
	@echo 'cargo test     run all tests that need no swarm'

demo: swarm-can-run
	@tests/demo/demo

test: swarm-can-run check
	$(LAB) apprise
	$(LAB) smtp
	tests/minutes $(LAB) run --build -- $(RUN_TESTS)

smoke: swarm-can-run
	$(LAB) run --build -- $(RUN_SMOKE)

# PARTS="no-change pushes": some of them only; tests/bench/main.rs lists all. `pushes` alone takes ten minutes, or GANTRY_BENCH_SECONDS.
bench: swarm-can-run
	$(LAB) run -- $(CARGO) bench --locked --bench gantry -- $(PARTS)

soak: export GANTRY_SOAK_CYCLES ?= 500
soak: export GANTRY_FAULTS ?= all
soak: export GANTRY_PARSER_CASES ?= 1000000
soak:
	$(RUN_SOAK)
	$(CARGO) test --release --locked --lib strangers_requests -- --nocapture

# Every interleaving of two troubles at once: minutes.
search: export GANTRY_SEARCH := all
search:
	$(CARGO) test --release --locked --lib every_interleaving -- --nocapture

# How long for each parser, and which of them: all if none is named.
FUZZ_SECONDS ?= 60
fuzz:
	tests/fuzz/run $(FUZZ_SECONDS) $(TARGETS)

fuzz-api:
	tests/fuzz/api $(FUZZ_SECONDS)

page:
	tests/page/run check

screenshots:
	tests/page/run shots

check:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets --features live -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps --document-private-items
	$(CARGO) test --locked --doc --quiet
	@if type -P shellcheck >/dev/null; then \
		echo shellcheck; cd tests && shellcheck -x lab/lab lab/lib/*.sh demo/demo demo/client fuzz/run fuzz/api page/run minutes ../.ci/run ../.ci/sbom; \
	fi

# The image, and the CycloneDX list (SBOM) of what it carries: crates of Cargo.lock, and the image's own list of packages.
IMAGE ?= gantry
SBOM := target/sbom.cdx.json
image:
	docker build -t $(IMAGE) .
	@mkdir -p target
	docker run --rm --network none --entrypoint cat $(IMAGE) /usr/share/doc/packages >target/packages
	.ci/sbom target/packages >$(SBOM).new && mv $(SBOM).new $(SBOM)
	@echo 'The image is $(IMAGE). $(SBOM) lists what it carries.'

# The oldest Rust that Cargo.toml allows. A folder of its own, so that the next build does not begin anew.
MSRV := $(shell sed -n 's/^rust-version = "\(.*\)"$$/\1/p' Cargo.toml).0
msrv:
	@$(CARGO) +$(MSRV) --version >/dev/null 2>&1 || { \
		echo 'expected Rust $(MSRV), which is not installed; run: rustup toolchain install $(MSRV) --profile minimal' >&2; \
		exit 1; \
	}
	$(CARGO) +$(MSRV) check --locked --all-targets --features live --target-dir target/msrv

# Not part of `check`, which works offline.
DENY_VERSION := 0.20.2
advisories:
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny --version $(DENY_VERSION) || { \
		echo 'expected cargo-deny, which cargo cannot install here: no crate was checked; install cargo-deny $(DENY_VERSION)' >&2; \
		exit 1; \
	}
	@$(CARGO) deny fetch db || { \
		echo 'expected the database https://github.com/rustsec/advisory-db, which cannot be reached: no crate was checked; run this where it can' >&2; \
		exit 1; \
	}
	$(CARGO) deny --locked check --disable-fetch advisories

lab-up:
	@$(LAB) up

lab-down:
	@$(LAB) down

# In one sentence, before anything is compiled.
swarm-can-run:
	@[[ $$(id -u) == 0 ]] && type -P apt-get >/dev/null || { \
		echo 'This starts a private swarm, for which it must be root on Debian 12; `cargo test` alone runs all tests that need no swarm.' >&2; \
		exit 1; \
	}
	@$(LAB) install
