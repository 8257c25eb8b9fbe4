//! How the daemon ends.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::cycle::Report;

/// How the daemon came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The single cycle is over and nothing failed, or the daemon was stopped.
    Good,
    /// The single cycle is over, nothing failed, and something that should have been updated is left behind.
    Incomplete,
    /// The single cycle failed, or was interrupted.
    Failed,
}

impl End {
    /// How a single cycle ended.
    pub(super) fn of(report: &Report) -> Self {
        match report {
            report if report.has_failed() || report.is_interrupted => Self::Failed,
            report if report.is_incomplete() => Self::Incomplete,
            _ => Self::Good,
        }
    }
}

/// Ends after the time that a stop may take: `main` waits no longer for a daemon that was told to stop.
pub async fn stop_overdue(stop: &CancellationToken, limit: Duration) {
    stop.cancelled().await;
    sleep_until(Instant::now() + limit).await;
}
