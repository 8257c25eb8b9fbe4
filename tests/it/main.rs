//! The one integration-test binary.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests panic as tests do")]

mod command_line;
mod fake;
mod fake_swarm;
