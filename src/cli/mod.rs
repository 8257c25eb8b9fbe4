//! The command line: what it says, and the commands that see and steer a daemon from outside its process.
//!
//! A command asks the daemon by the API, over the daemon's socket or at `GANTRY_URL`, and prints the answer. What is printed is
//! made in `show` of the answer alone.

mod ask;
mod client;
mod command;
mod definition;
mod follow;
mod show;
mod sse;
mod target;
mod usage;

pub use ask::{Done, ask, without_daemon};
pub use command::{Command, Narrowed, RunWait};
pub use definition::{completions, manual};
pub use target::{DaemonAddress, Trouble};
pub use usage::UsageError;
