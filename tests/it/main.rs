//! The one integration-test binary.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests panic and print as tests do; clippy knows only the test functions themselves"
)]

mod architecture;
mod asking;
mod circles;
mod command_line;
mod contract;
mod cycle;
mod docs;
mod fake;
mod fake_swarm;
mod faults;
mod http;
#[cfg(feature = "live")]
mod live;
mod minutes;
mod promises;
mod proofs;
mod registry;
mod secrets;
mod shortage;
mod soak;
mod stopping;
mod supply;
mod support;
mod webhooks;
mod wire_engine;
mod worst_inputs;
