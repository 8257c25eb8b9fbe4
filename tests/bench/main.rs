//! `make bench`: how fast, how light. A program to run and read, never a test: it asserts nothing about
//! time. Ratios are of one run on one machine; absolute numbers are only as good as the machine was idle.
//!
//! - `no change`: the release binary against an engine and a registry that answer with realistic bodies and
//!   do nothing else.
//! - `rollout`: the release binary on the lab's real swarm, beside a loop that only posts the updates and
//!   watches one list. Left out when there is no lab (`tests/lab/lab run -- cargo bench`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for developers"
)]
#![allow(clippy::cast_precision_loss, reason = "numbers for people")]

mod no_change;
mod rollout;
mod server;

fn main() {
    gantry::tls::install_crypto_provider();
    no_change::run();
    match std::env::var("GANTRY_LAB_REGISTRY") {
        Ok(registry) => rollout::run(&registry),
        Err(_) => println!("rollout: left out, there is no lab (run `make bench`)"),
    }
}
