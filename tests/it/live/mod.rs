//! The real program on a real swarm with a real registry: everything that users would see.
//!
//! They need the lab of `tests/lab`, up and in the environment (`make test` does both):
//!
//! ```text
//! tests/lab/lab up && eval "$(tests/lab/lab env)" && cargo test --features live live:: -- --test-threads 8
//! ```
//!
//! Each test has services, images and labels of its own, so that many run side by side; those that stop an engine or the
//! registry, drain nodes or count what starts have a lab of their own ([`support::Stage::apart`]).

pub(crate) mod support;

mod auth;
mod command_line;
mod daemon;
mod deployed;
mod failing;
mod faults;
mod gates;
mod guarding;
mod harmless;
mod hooks;
mod http;
mod inspection;
mod jobs;
mod killed;
mod logs;
mod meanwhile;
mod metrics;
mod no_harm;
mod notification;
mod options;
mod order;
mod ordering;
mod other_hands;
mod outages;
mod overlapping;
mod pacing;
mod page;
mod pages;
mod registries;
mod remembering;
mod reverse_proxy;
mod selection;
mod socket_proxy;
mod starting;
mod tags;
mod trigger;
mod turns;
mod updating;
mod variables;
mod webhooks;
mod windows;
