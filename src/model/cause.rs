//! Why an update failed, in words. Pure.

use std::fmt;
use std::time::Duration;

use super::down_nodes::DownNodes;
use crate::swarm::{Facts, Nodes, Task, TaskState, is_about_platforms};
use crate::words;

/// Longest piece of an engine's words that is passed on.
const MAX_WORDS_CHARS: usize = 300;

/// The exit code of a process that was killed (128 + SIGKILL): by the kernel when memory ran out, or by
/// the engine after a health check failed or a stop took too long.
const KILLED: i64 = 137;

/// How long a program that was killed, or told to end, may be the doing of an engine that is being stopped: the engine waits
/// up to 15 seconds for all its tasks.
const LONG_DOUBT: Duration = Duration::from_secs(20);

/// The same for a program that ended by itself, as many do that are told to. An unhealthy one looks the same on 20.10, and
/// should not serve for long.
const SHORT_DOUBT: Duration = Duration::from_secs(5);

/// The exit code of a process that ended because it was told to (128 + SIGTERM), where it says so.
const TERMINATED: i64 = 143;

/// The exit code that an engine gives to containers which it finds dead when it starts, told to end meanwhile or not (a
/// contract rule). Programs may use it as well.
const AFTER_POWER_FAILURE: i64 = 255;

/// How the words on a failure begin that the order has caused. The ledger keeps them.
pub(crate) const BLAMES_ORDER: &str = "start-first is to blame, not the image";

/// Why an update, or a rollback, failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A task came to a bad end by itself.
    TaskFailed {
        /// The node that it ran on.
        node: String,
        /// The exit code of its container.
        exit_code: Option<i64>,
        /// The engine's words.
        error: String,
    },
    /// A task came to a good end, which no task of a service that runs on should. Most programs end so when
    /// they are told to, and the swarm tells those to that are unhealthy: it then says nothing else of them.
    Ended {
        /// The node that it ran on.
        node: String,
    },
    /// A task's health check failed.
    Unhealthy {
        /// The node that it ran on.
        node: String,
    },
    /// A task was killed and has a memory limit.
    OutOfMemory {
        /// The node that it ran on.
        node: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// A node could not get the image; the engine says the same for a missing image, refused credentials and
    /// an unreachable registry.
    ImageNotFound {
        /// The node.
        node: String,
        /// The engine's words.
        error: String,
    },
    /// The swarm finds no node for a task.
    NoSuitableNode {
        /// The swarm's reason.
        reason: String,
    },
    /// A node went down that had just got a new task. The swarm starts another one elsewhere, but its updater
    /// waits for the lost one and goes on only when the node is back (tried on 20.10).
    NodeDown {
        /// The node.
        node: String,
    },
    /// A task failed on a node that was down meanwhile.
    NodeLost {
        /// The node.
        node: String,
        /// What its task is said to have come to.
        end: String,
    },
    /// A task failed as those of the old image do.
    AsBefore {
        /// What the task came to.
        end: String,
    },
    /// It did not come to its end in time.
    TimedOut {
        /// The time it had.
        after: Duration,
        /// What it was doing.
        waiting: String,
        /// Whether that is the image's to answer for: its program had its chance to start, for example.
        blames_image: bool,
    },
    /// The swarm says that the update is over, but not all tasks run.
    NotRunning {
        /// Tasks that run.
        running: u64,
        /// Tasks that should.
        desired: u64,
    },
    /// The swarm stopped the update and no task tells why.
    Stopped {
        /// The swarm's words.
        message: String,
    },
    /// It failed when the update had been called good.
    Late {
        /// Why.
        cause: Box<Cause>,
    },
    /// The engine did not accept the update.
    Refused {
        /// Its words.
        message: String,
    },
    /// An option of `docker service update` does not fit the service; nothing was sent.
    Unfit {
        /// The option, and what it needs.
        message: String,
    },
    /// Start-first is what was asked for, and it cannot work, or did not; nothing was sent.
    Order {
        /// Why.
        message: String,
    },
    /// The new task failed, or had no room, while the old task of its place was still there: the order is to blame.
    Collision {
        /// What the two cannot have at once, in words.
        what: String,
        /// What became of the new task.
        end: String,
    },
    /// A fault of this program; the other services are not concerned.
    Internal {
        /// What happened.
        message: String,
    },
}

impl Cause {
    /// What a task that has failed, or that waits for a reason, tells.
    pub fn of_task(task: &Task, facts: &Facts, nodes: &Nodes) -> Option<Self> {
        if task.state == TaskState::Shutdown {
            // The swarm told it to end. How it did so says nothing of why.
            return None;
        }
        let node = nodes.name(&task.node_id).to_owned();
        let error = words(&task.error);
        if task.state < TaskState::Assigned {
            // Pending: an error here is the scheduler's reason.
            return (!error.is_empty()).then_some(Self::NoSuitableNode { reason: error });
        }
        if task.state == TaskState::Rejected && is_about_an_image(&error) {
            return Some(Self::ImageNotFound { node, error });
        }
        if error.contains("unhealthy") {
            return Some(Self::Unhealthy { node });
        }
        if task.exit_code == Some(KILLED) && facts.memory_limit > 0 {
            return Some(Self::OutOfMemory { node, limit: facts.memory_limit });
        }
        if task.state == TaskState::Complete {
            return Some(Self::Ended { node });
        }
        let ended_badly = task.has_failed() || task.exit_code.is_some_and(|code| code != 0);
        ended_badly.then_some(Self::TaskFailed { node, exit_code: task.exit_code, error })
    }

    /// How long it is doubted that the image is to blame. An engine that is stopped ends its tasks first, and is missed only
    /// when it has ended all of them.
    pub(crate) fn doubt(&self) -> Duration {
        match self {
            Self::TaskFailed { exit_code: Some(KILLED | TERMINATED), .. } => LONG_DOUBT,
            Self::Ended { .. } => SHORT_DOUBT,
            _ => Duration::ZERO,
        }
    }

    /// The same failure, or what is true instead when its task was on a node that was down meanwhile.
    pub(crate) fn with(self, down_nodes: &DownNodes) -> Self {
        let lost = match &self {
            Self::TaskFailed { node, exit_code: Some(AFTER_POWER_FAILURE), .. } => {
                down_nodes.may_have_been_down(node).then_some(node)
            }
            // What an engine that is restarted makes of its tasks: it tells them to end, and is back before it is missed.
            Self::TaskFailed { node, exit_code: Some(KILLED | TERMINATED), .. }
            | Self::Ended { node }
            | Self::OutOfMemory { node, .. } => down_nodes.may_have_been_restarted(node).then_some(node),
            Self::TaskFailed { node, .. } | Self::Unhealthy { node } => {
                down_nodes.was_down(node).then_some(node)
            }
            _ => None,
        };
        match lost {
            Some(node) => Self::NodeLost { node: node.clone(), end: self.to_string() },
            None => self,
        }
    }

    /// The same failure, or what is true instead when the old image fails in the same way after the rollback.
    pub(crate) fn excused_by(self, after: &Self) -> Self {
        if self.is_like(after) { Self::AsBefore { end: self.to_string() } } else { self }
    }

    /// Whether two tasks came to the same end, wherever they were.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::TaskFailed { exit_code: one, error, .. },
                Self::TaskFailed { exit_code: two, error: other, .. },
            ) => one == two && (one.is_some() || error == other),
            (Self::Ended { .. }, Self::Ended { .. })
            | (Self::Unhealthy { .. }, Self::Unhealthy { .. })
            | (Self::OutOfMemory { .. }, Self::OutOfMemory { .. }) => true,
            _ => false,
        }
    }

    /// Whether a node is the reason, and nothing that ran there: it went away, or a task had to leave it.
    pub(crate) fn is_about_a_node(&self) -> bool {
        match self {
            Self::NodeLost { .. } | Self::NodeDown { .. } => true,
            // The swarm takes a task from a node whose labels were changed in the middle (swarmkit `constraintenforcer`).
            Self::TaskFailed { error, .. } => error.contains("no longer meets constraints"),
            _ => false,
        }
    }

    /// Whether the image is to blame, as far as can be told: another service would fare no better with it, and
    /// trying it again later makes no sense.
    ///
    /// In doubt it is not. An image that cannot be pulled is left out for that reason: the engine's words are
    /// the same for one that is missing and for a registry that is away for a minute.
    pub fn blames_image(&self) -> bool {
        match self {
            Self::TaskFailed { error, .. } => has_run(error) || is_about_its_program(error),
            Self::Ended { .. }
            | Self::Unhealthy { .. }
            | Self::OutOfMemory { .. }
            | Self::NotRunning { .. } => true,
            // Constraints, resources and ports are the service's; the platforms are the image's.
            Self::NoSuitableNode { reason } => is_about_platforms(reason),
            Self::TimedOut { blames_image, .. } => *blames_image,
            Self::Late { cause } => cause.blames_image(),
            // The swarm also stops an update when a task of it was taken from its node: one that was drained, or came
            // back after its power had failed. A task that failed would have told.
            Self::Stopped { .. }
            | Self::ImageNotFound { .. }
            | Self::NodeDown { .. }
            | Self::NodeLost { .. }
            | Self::AsBefore { .. }
            | Self::Refused { .. }
            | Self::Unfit { .. }
            | Self::Order { .. }
            | Self::Collision { .. }
            | Self::Internal { .. } => false,
        }
    }
}

/// Whether a task's program has run, in words of the engine: all others are about what kept it from that.
fn has_run(error: &str) -> bool {
    error.is_empty() || error.contains("non-zero exit")
}

/// Whether a task could not be started for what its image says of its program. All else that keeps an engine from starting
/// a container is the node's or the service's: mounts, volumes, networks and their addresses, ports, devices, logging
/// drivers, memory, disks, names that cannot be resolved.
fn is_about_its_program(error: &str) -> bool {
    let error = error.to_ascii_lowercase();
    let of_the_program = ["no such file or directory", "permission denied", "is a directory", "not found"];
    [
        "exec format error",
        "executable file not found",
        "no command specified",
        "unable to find user",
        "unable to find group",
        "no matching entries in passwd file",
        "no matching entries in group file",
    ]
    .iter()
    .any(|words| error.contains(words))
        // `exec: "/app": permission denied`, and without quotes from older engines.
        || (error.contains("exec: ") && of_the_program.iter().any(|words| error.contains(words)))
}

/// The engine says `No such image` for whatever kept it from pulling.
fn is_about_an_image(error: &str) -> bool {
    let error = error.to_ascii_lowercase();
    ["no such image", "pull access denied", "manifest unknown", "manifest for"]
        .iter()
        .any(|words| error.contains(words))
}

/// The scheduler's reason without the words that it begins with: `no suitable node (REASON)`.
pub(crate) fn scheduler_words(reason: &str) -> &str {
    let inner = reason.strip_prefix("no suitable node").map(str::trim_start);
    inner.and_then(|inner| inner.strip_prefix('(')?.strip_suffix(')')).unwrap_or(reason)
}

/// Text from elsewhere, on one line and of a sane size.
pub(crate) fn words(text: &str) -> String {
    words::line(text, MAX_WORDS_CHARS)
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TaskFailed { node, exit_code, error } => {
                write!(f, "a task failed on {node}")?;
                // The engine's words hold the code already: "task: non-zero exit (1)".
                if let Some(code) = exit_code
                    && !error.contains(&format!("({code})"))
                {
                    write!(f, " with exit code {code}")?;
                }
                if error.is_empty() { Ok(()) } else { write!(f, ": {error}") }
            }
            Self::Ended { node } => {
                write!(
                    f,
                    "a task ended on {node} with exit code 0: it was unhealthy, or its program was done"
                )
            }
            Self::Unhealthy { node } => write!(f, "a task was unhealthy on {node}"),
            Self::OutOfMemory { node, limit } => write!(
                f,
                "a task was killed on {node} (exit code {KILLED}), probably out of memory: its limit is {} MiB",
                limit >> 20
            ),
            Self::ImageNotFound { node, error } => write!(
                f,
                "{node} cannot get the image ({error}); the engine says so too when credentials are refused or \
                 the registry cannot be reached from there"
            ),
            Self::NoSuitableNode { reason } => write!(f, "no suitable node: {}", scheduler_words(reason)),
            Self::NodeDown { node } => {
                write!(f, "{node} is down, and the swarm waits for the task that was about to start there")
            }
            Self::NodeLost { node, end } => write!(f, "{node} was down meanwhile, and then {end}"),
            Self::AsBefore { end } => write!(f, "{end}; the old image fails in the same way"),
            Self::TimedOut { after, waiting, .. } => {
                write!(f, "timed out after {} s while {waiting}", after.as_secs())
            }
            Self::NotRunning { running, desired } => {
                write!(f, "the swarm calls the update completed, but {running} of {desired} tasks run")
            }
            Self::Late { cause } => write!(f, "{cause}, some time after the update had ended well"),
            Self::Stopped { message } if message.is_empty() => f.write_str("the swarm stopped the update"),
            Self::Stopped { message } => write!(f, "the swarm stopped the update: {message}"),
            Self::Refused { message } => write!(f, "the engine refused the update: {message}"),
            Self::Unfit { message } => write!(f, "an option does not fit the service: {message}"),
            Self::Order { message } => write!(
                f,
                "start-first cannot work: {message}. Nothing was sent. GANTRY_UPDATE_ORDER=auto (label \
                 gantry.update.order) updates it stop-first, and so does deploy.update_config.order in its stack file"
            ),
            Self::Collision { what, end } => {
                write!(f, "{BLAMES_ORDER}: {what}, and the old one was still there: {end}")
            }
            Self::Internal { message } => write!(f, "internal error: {message}"),
        }
    }
}

#[cfg(test)]
mod tests;
