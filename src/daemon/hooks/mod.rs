//! The commands before and after each cycle.
//!
//! A hook is run by `sh`, in a process group of its own, with the environment of the daemon but for the secrets in it.
//! Its output is logged line by line. When it has ended, by itself or by force, none of its processes is left.
//!
//! What the pre-run command has set is asked of its shell when that ends. The command stands in the
//! environment already and is taken from there, so that no process has it in its arguments:
//!
//! ```sh
//! trap 'env -0 >CHANNEL' EXIT    # also when the command says `exit`
//! set -a                         # what it sets without `export` counts, too: `. FILE` is enough
//! eval "$GANTRY_PRE_RUN_CMD"
//! set -- $?; env -0 >CHANNEL     # where it has a trap of its own
//! exit $1
//! ```
//!
//! `CHANNEL` is our end of a pipe, by its name in `/proc`: the command inherits no file that it could close,
//! use for something else or hand on to a process that outlives it.

use std::ffi::{OsStr, OsString};
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

pub use self::activity::{Activity, Leader};
use self::output::Lines;
use crate::config::{Environment, is_withheld};
use crate::descriptors::explained;
use crate::process_group::ProcessGroup;

mod activity;
mod output;
#[cfg(test)]
mod tests;

/// How long the rest of a hook's output may take once its processes are gone.
const REST_OF_OUTPUT: Duration = Duration::from_millis(200);

/// When a hook is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before the cycle.
    PreRun,
    /// After the cycle.
    PostRun,
}

impl When {
    fn name(self) -> &'static str {
        match self {
            Self::PreRun => "pre-run",
            Self::PostRun => "post-run",
        }
    }

    /// The variable that has the command.
    fn variable(self) -> &'static str {
        match self {
            Self::PreRun => "GANTRY_PRE_RUN_CMD",
            Self::PostRun => "GANTRY_POST_RUN_CMD",
        }
    }

    /// How long the hook may go on after a request to stop. A hook before the cycle is useless then; a hook after the
    /// cycle may undo what the first one did.
    fn patience(self) -> Duration {
        match self {
            Self::PreRun => Duration::ZERO,
            Self::PostRun => Duration::from_secs(1),
        }
    }
}

/// A hook.
#[derive(Debug)]
pub struct Hook<'a> {
    /// When it is run.
    pub when: When,
    /// The command, for a shell.
    pub command: &'a str,
    /// Its environment; the variables that are withheld from hooks are left out.
    pub environment: Environment,
    /// How long it may take; `None`: for ever.
    pub timeout: Option<Duration>,
    /// Learns its process group when it has started.
    pub leader: Leader,
}

/// Why a hook failed.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// There is no shell, or no process can be started.
    #[error("the {} command cannot be run: {cause}", when.name())]
    NotRun {
        /// Which hook.
        when: When,
        /// What the system says.
        cause: io::Error,
    },
    /// It failed by itself.
    #[error("the {} command failed: {}", when.name(), words(*status))]
    Failed {
        /// Which hook.
        when: When,
        /// How it ended.
        status: ExitStatus,
    },
    /// It took too long and was ended.
    #[error("the {} command took longer than {} s (GANTRY_HOOK_TIMEOUT_SECONDS) and was ended", when.name(), limit.as_secs())]
    TimedOut {
        /// Which hook.
        when: When,
        /// What it had.
        limit: Duration,
    },
    /// It was ended because Gantry was told to stop.
    #[error("the {} command was ended, because Gantry was told to stop", when.name())]
    Stopped {
        /// Which hook.
        when: When,
    },
}

fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

impl Hook<'_> {
    /// Runs it to its end, and returns the environment that its shell has left behind; `None`: the shell did not tell it,
    /// or the hook runs after the cycle.
    ///
    /// # Errors
    /// Everything but an exit code of 0.
    pub async fn run(mut self, stop: &CancellationToken) -> Result<Option<Environment>, HookError> {
        let when = self.when;
        tracing::info!("running the {} command", when.name());
        let not_run = |cause| HookError::NotRun { when, cause: explained(cause) };
        let channel = match when {
            When::PreRun => Some(std::io::pipe().map_err(not_run)?),
            When::PostRun => None,
        };
        let script = script(when, channel.as_ref().map(|(_, writer)| writer));
        let mut child = self.start(&script).map_err(not_run)?;
        let group = ProcessGroup::led_by(&child);
        self.leader.set(child.id());

        let mut output = JoinSet::new();
        output.spawn(log_lines(child.stdout.take(), when));
        output.spawn(log_lines(child.stderr.take(), when));
        // Read while it is written: it may be more than a pipe holds.
        let (left_behind, ours) = match channel {
            Some((reader, writer)) => (tokio::spawn(read_all(reader)), Some(writer)),
            None => (tokio::spawn(async { Ok(Vec::new()) }), None),
        };

        let result = self.wait(&mut child, group, stop).await;
        // With the last writer gone, the reader comes to its end.
        drop(ours);
        let left_behind = left_behind.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let _ = timeout(REST_OF_OUTPUT, async { while output.join_next().await.is_some() {} }).await;
        result?;
        Ok(left_behind.map(|bytes| parse(&bytes)).unwrap_or_default())
    }

    fn start(&mut self, script: &str) -> io::Result<Child> {
        Command::new("sh")
            .args(["-c", script])
            .env_clear()
            .envs(self.environment.drain(..).filter(|(name, _)| !is_withheld(name)))
            .env(self.when.variable(), self.command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
    }

    /// Waits until the hook ends, or ends it.
    async fn wait(
        &self,
        child: &mut Child,
        group: ProcessGroup,
        stop: &CancellationToken,
    ) -> Result<(), HookError> {
        let when = self.when;
        let time_limit = async {
            match self.timeout {
                Some(limit) => {
                    sleep(limit).await;
                    HookError::TimedOut { when, limit }
                }
                None => std::future::pending().await,
            }
        };
        let stopped = async {
            stop.cancelled().await;
            sleep(when.patience()).await;
            HookError::Stopped { when }
        };
        let forced = tokio::select! {
            status = child.wait() => {
                group.clear().await;
                return match status {
                    Ok(status) if status.success() => Ok(()),
                    Ok(status) => Err(HookError::Failed { when, status }),
                    Err(cause) => Err(HookError::NotRun { when, cause }),
                };
            }
            error = time_limit => error,
            error = stopped => error,
        };
        group.terminate(child).await;
        Err(forced)
    }
}

/// The script for the shell.
fn script(when: When, channel: Option<&PipeWriter>) -> String {
    let variable = when.variable();
    let Some(channel) = channel else { return format!("eval \"${variable}\"") };
    let channel = format!("/proc/{}/fd/{}", std::process::id(), channel.as_raw_fd());
    // By their paths, as the command may have changed PATH.
    let tell = format!("{{ /usr/bin/env -0 || /bin/env -0; }} >{channel} 2>/dev/null");
    format!("trap '{tell}' EXIT\nset -a\neval \"${variable}\"\nset -- $?\n{tell}\nexit $1\n")
}

async fn read_all(reader: PipeReader) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// Reads what `env -0` has printed, once or twice; the last one counts. `None` where it has printed nothing.
fn parse(bytes: &[u8]) -> Option<Environment> {
    let mut environment = std::collections::BTreeMap::new();
    for variable in bytes.split(|&byte| byte == 0) {
        let mut parts = variable.splitn(2, |&byte| byte == b'=');
        if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            environment.insert(OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec()));
        }
    }
    // A shell that exports nothing at all still has what it was given.
    environment.contains_key(OsStr::new(When::PreRun.variable())).then(|| environment.into_iter().collect())
}

async fn log_lines(pipe: Option<impl AsyncRead + Unpin>, when: When) {
    const CHUNK: usize = 8 * 1024;
    let Some(mut pipe) = pipe else { return };
    let say = |line: String| tracing::info!(hook = when.name(), "{line}");
    let (mut lines, mut chunk) = (Lines::default(), [0; CHUNK]);
    while let Ok(length @ 1..) = pipe.read(&mut chunk).await {
        lines.take(&chunk[..length]).into_iter().for_each(say);
    }
    lines.rest().into_iter().for_each(say);
}
