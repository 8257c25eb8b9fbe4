//! A swarm and a registry that exist in memory only, held against the real ones by `contract.rs`.
//!
//! [`FakeSwarm`] is stateful: its tasks march to their desired state, crash, hang, are rejected; its
//! orchestrator and updater follow swarmkit's rules; services carry their specifications as text. It
//! lives in tokio's time, so that under `start_paused` hours pass in milliseconds, and it does nothing
//! between calls: whatever is due happens, in order, when somebody looks.
//!
//! ```ignore
//! let swarm = FakeSwarm::with_nodes(3);
//! let (old, new) = (pinned("r/app:1", "old"), pinned("r/app:1", "new"));
//! swarm.new_service("web").image(&old).replicas(2).order("start-first").label("gantry.enable", "true").create();
//! swarm.image(&new).crashes_after(secs(1), 3).logging(&["boom"]);
//! ```
#![allow(dead_code, reason = "a vocabulary: not every test binary says every word")]
#![allow(unused_imports, reason = "the same")]
#![allow(clippy::expect_used, reason = "a test that says what cannot be ends there")]
#![allow(unreachable_pub, reason = "what is `pub` here is what tests may use")]

mod absence;
mod build;
mod configs;
mod front;
mod handle;
mod image;
mod node;
mod ops;
mod orchestrator;
mod plan;
mod registry;
mod script;
mod scripting;
mod tasks;
mod updater;
mod world;

use std::time::Duration;

use gantry::image::Digest;

pub use build::ServiceBuilder;
pub use front::{Front, Instead, Seen};
pub use handle::FakeSwarm;
pub use image::ends_after;
pub use registry::FakeRegistry;
pub use script::{Asked, Call, Fault};
pub use scripting::ImageScript;
pub use world::{Timing, World};

/// A digest that belongs to a name: the same for the same name.
pub fn digest(name: &str) -> Digest {
    format!("sha256:{}", node::hex(name)).parse().expect("a digest")
}

/// `repo:tag` pinned to [`digest`]`(name)`.
pub fn pinned(tagged: &str, name: &str) -> String {
    format!("{tagged}@{}", digest(name))
}

/// So many seconds.
pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// So many milliseconds.
pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
