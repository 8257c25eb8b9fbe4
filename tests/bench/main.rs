//! `make bench`: how fast, how light. A program to run and read, never a test: it asserts nothing about
//! time. Ratios are of one run on one machine; absolute numbers are only as good as the machine was idle.
//!
//! - `no-change`: the release binary against an engine and a registry that answer with realistic bodies and
//!   do nothing else.
//! - `pushes`: the release binary while one of 200 images gets a new digest every second, on a fake swarm.
//! - `listener`: the release binary with page, API and webhooks: from a webhook to the update, the state, an idle page, memory.
//! - `crowd`: a rollout while 10,000 connections, or 1,000 wrong tokens a second, come to the listener.
//! - `tags`: the choice among 10,000 tags of a repository.
//! - `rollout`: the release binary on the lab's real swarm, beside a loop that only posts the updates and
//!   watches one list. Left out when there is no lab (`tests/lab/lab run -- cargo bench`).
//! - `overtaking`: the same, with a new digest that is pushed in the middle of a rollout.
//!
//! `make bench PARTS="no-change pushes"` runs some of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for developers"
)]
#![allow(clippy::cast_precision_loss, reason = "numbers for people")]

mod crowd;
#[path = "../it/fake/mod.rs"]
mod fake;
mod fake_swarm;
mod listener;
mod listening;
mod no_change;
mod process;
mod pushes;
mod rollout;
mod server;
mod swarm_process;
mod tags;

/// The first argument of the process that is the fake swarm.
const FAKE_SWARM: &str = "fake-swarm";

/// The first argument of the process that `tests/fuzz/api` asks.
const SERVE: &str = "serve";

fn main() {
    gantry::tls::install_crypto_provider();
    // cargo gives `--bench`.
    let given: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [first, socket, services, images] = &given[..]
        && first == FAKE_SWARM
    {
        return fake_swarm::serve(socket.as_ref(), services.parse().unwrap(), images.parse().unwrap());
    }
    if let [first, log] = &given[..]
        && first == SERVE
    {
        return listening::serve(log.as_ref());
    }
    let is_meant = |part: &str| given.is_empty() || given.iter().any(|given| given == part);
    let alone = [
        ("no-change", no_change::run as fn()),
        ("pushes", pushes::run),
        ("tags", tags::run),
        ("listener", listener::run),
        ("crowd", crowd::run),
    ];
    for (_, run) in alone.into_iter().filter(|(part, _)| is_meant(part)) {
        run();
    }
    let in_lab = [("rollout", rollout::rollouts as fn(&str)), ("overtaking", rollout::overtakings)];
    for (part, run) in in_lab.into_iter().filter(|(part, _)| is_meant(part)) {
        match std::env::var("GANTRY_LAB_REGISTRY") {
            Ok(registry) => run(&registry),
            Err(_) => println!("{part}: left out, there is no lab (run `make bench`)"),
        }
    }
}
