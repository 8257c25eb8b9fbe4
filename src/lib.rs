//! Gantry keeps Docker Swarm services on the newest image of their tag, and does not let a bad image spread.
//!
//! This page is for people who change Gantry. README.md and the pages in `docs/` say what Gantry does for its users.
//!
//! # One sentence
//!
//! A cycle is a pure function of the engine's and registries' answers, in a thin shell, run by a daemon that only knows
//! when to wake and when to stop.
//!
//! # The pipeline
//!
//! ```text
//!  daemon ── wakes ──> cycle::run
//!                        │ discover   one list call; ourselves first          -> Found
//!                        │ inspect    group by image and credentials,
//!                        │            ask each registry once                  -> Inspected
//!                        │ gates      what policies let pass                  -> Gated
//!                        │ plan       exactly one Decision per service  pure  -> Planned, Update
//!                        │ lease      take the lease, or wait for it          -> LeaseOutcome
//!                        │ rollout    send, watch, judge, roll back           -> RolledOut
//!                        │ cleanup    our own image on every node             -> Cleaned
//!                        v report     one value                         pure  -> Report
//!  daemon <── renders ── log, notification, exit code
//! ```
//!
//! # Code map
//!
//! | module | what it knows |
//! |---|---|
//! | [`config`] | the one table of variables and labels; everything Gantry was told, checked |
//! | [`daemon`] | when to run a cycle and when to stop; who we are; hooks, trigger, notification, health checks |
//! | [`daemon::webhook`] | what each registry sends after a push and how it proves who it is, both pure; when Gantry looks ([`daemon::webhook::coalesce`]) |
//! | [`cli`] | the commands that ask a daemon by its API, and what they print |
//! | [`local_socket`] | where the daemon's socket is, which process may have it, and how commands find it |
//! | [`cycle`] | the pipeline above, one file a stage |
//! | [`rollout`] | `send` writes, `watch` looks, [`rollout::machine`] judges (its diagram is beside it), `aftercare` keeps an eye on what was called updated, [`rollout::pace`] says who is next, [`rollout::guard`] whether the cluster is fit for it |
//! | [`model::rank`] | which service gets a new image first, and what its update can show of the image |
//! | [`model::order`] | whether the new task of a place may run beside the old one: the table of obstacles; [`ledger::orders`] remembers whose order a service has |
//! | [`model::task_lifecycle`] | whether the tasks of a service run on, end, or have no node |
//! | [`cycle::resume`] | updates that a previous run has left under way: found in the services, and in the ledger's note that a run was cut off ([`ledger::LeftBehind`]) |
//! | [`cycle::by_hand`] | `gantry quarantine` and `gantry release`, by the rules of the plan |
//! | [`gate::window`], [`gate::order`] | when updates may begin, also when clocks change; which services come before which. [`rollout::openings`] wakes the daemon when a gate opens |
//! | [`gate`] | which new images a service accepts, and when: one pure file a gate |
//! | [`model::quarantine`] | the digests that a service is not offered, and why |
//! | [`cycle::cleanup`], [`cycle::remover`] | which images go, and the job on each node that removes them |
//! | [`cycle::hub`] | what Docker Hub still allows |
//! | [`ledger`] | what outlives the process: broken digests, and who may roll out ([`ledger::lease`] has the diagram) |
//! | [`swarm`] | the trait [`swarm::Swarm`], what is read of services, tasks and nodes; [`swarm::spec`] edits |
//! | [`swarm::engine`] | the only code that talks to Docker |
//! | [`options`] | options of `docker service update` and `create`, as edits of a specification |
//! | [`registry`] | the trait [`registry::Registry`]; look-ups over HTTP; credentials |
//! | [`image`], [`hosts`], [`proxy`], [`secret`], [`words`], `back_off`, `process_group` | values and helpers that all of the above use |
//! | [`telemetry`] | how a log line looks, and the thread that writes it |
//! | [`meters`] | what is counted where Gantry talks to others, for metrics |
//! | [`heartbeat`], [`tls`], [`descriptors`] | whether the work goes on; the one provider of cryptography; the limit of open files |
//!
//! # Invariants
//!
//! Most of them are tests.
//!
//! - Arrows point down only: `main` -> [`daemon`] -> [`cycle`] -> {[`ledger`], [`registry`]}, `ledger` -> [`swarm`], and all
//!   of them to [`image`]. [`config`] is read by most. `registry` knows neither `ledger` nor `swarm`.
//! - The pure files have no async, no clock, no environment and no logging. Time is a parameter. Their first lines say
//!   "Pure.", and what says so is checked.
//! - A specification is never sent back through a typed model. It is the engine's text, read through
//!   [`swarm::Facts`] and changed through [`swarm::spec::Edits`]; everything else survives.
//! - Every write names the version that was read. On a conflict the service is read again and decided on
//!   again ([`model::update::Update::dispatch`]); a change by another program or a person is never overwritten.
//! - No exit code and no `UpdateStatus` alone is believed: an update is `Updated` when the service carries
//!   the image and its tasks ran through the monitor period.
//! - An update is rolled back at most once, never after the swarm did, and only while the service still
//!   carries what we sent.
//! - What concerns one service is a value ([`model::decision::Decision`], [`model::outcome::Outcome`]), never
//!   an early return. Nothing below `main` ends the process.
//! - Engine requests do not grow with the number of workers: one snapshot serves all
//!   (`rollout::watch`).
//! - No update begins without the lease, and none later than ten seconds after it was last seen to be ours
//!   ([`ledger::Permission`]); the ledger is read before anything is planned.
//! - The ledger is changed by [`ledger::book::LedgerChange`]s, which can be made to any state of it, and never by writing
//!   back what was read: of two that write at once nothing is lost.
//! - A [`secret::Secret`] always prints `***`.
//!
//! # What is deliberately absent
//!
//! - No state on disk. What has to outlive the process lives in the swarm.
//! - No version prefix on engine requests: the engine then speaks its newest API and strips no field.
//! - No retry in [`swarm`]: only the caller knows whether a second request is safe.
//! - No `docker` command is ever run.

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests wait, measure and read the environment as they like")
)]

mod back_off;
pub mod cli;
pub mod config;
pub mod context;
#[cfg(test)]
mod cost;
pub mod cycle;
pub mod daemon;
pub mod descriptors;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod gate;
pub mod heartbeat;
pub mod hosts;
pub mod image;
pub mod ledger;
pub mod local_socket;
pub mod meters;
pub mod model;
pub mod options;
mod process_group;
pub mod proxy;
pub mod registry;
pub mod rollout;
pub mod secret;
mod suggest;
pub mod swarm;
pub mod telemetry;
pub mod tls;
pub mod words;
