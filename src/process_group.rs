//! The process group of a child: what the child starts ends with it.

use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, test_kill_process_group, waitpgid};
use tokio::process::Child;
use tokio::time::{Instant, sleep};

/// How long processes may take to end by themselves.
pub(crate) const PATIENCE: Duration = Duration::from_millis(500);

/// How long the kernel may take to end killed processes.
const KILLING: Duration = Duration::from_millis(200);

/// The process group that a child leads. Dropping it kills the processes that are left.
#[derive(Debug)]
pub(crate) struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    /// The group of a child that was started as the leader of one.
    pub(crate) fn led_by(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    /// Ends the leader and all other processes: asks, waits, kills.
    pub(crate) async fn terminate(mut self, leader: &mut Child) {
        self.send(Signal::TERM);
        if tokio::time::timeout(PATIENCE, leader.wait()).await.is_err() {
            self.send(Signal::KILL);
            let _ = leader.wait().await;
        }
        self.send(Signal::KILL);
        self.is_gone_within(KILLING).await;
        self.0 = None;
    }

    /// Ends the processes that the leader, which has ended, has left behind.
    pub(crate) async fn clear(mut self) {
        if !self.is_gone_within(Duration::ZERO).await {
            tracing::debug!("a hook has left processes behind; they are ended");
            self.send(Signal::TERM);
            if !self.is_gone_within(PATIENCE).await {
                self.send(Signal::KILL);
                self.is_gone_within(KILLING).await;
            }
        }
        self.0 = None;
    }

    /// Leaves alone what the leader, which has ended, has left behind: an agent that keeps a key is meant to stay.
    pub(crate) fn release(mut self) {
        self.0 = None;
    }

    fn send(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // An error says that no process is left.
            let _ = kill_process_group(group, signal);
        }
    }

    async fn is_gone_within(&self, time: Duration) -> bool {
        const PROBE: Duration = Duration::from_millis(5);
        let Some(group) = self.0 else { return true };
        let deadline = Instant::now() + time;
        loop {
            // In a container we are the first process, and orphans become our children: without being
            // waited for they would stay as zombies. Elsewhere they are the children
            // of another process, and this is an error.
            while let Ok(Some(_)) = waitpgid(group, WaitOptions::NOHANG) {}
            if test_kill_process_group(group).is_err() {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            sleep(PROBE).await;
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.send(Signal::KILL);
    }
}
