//! The trigger path: a file or folder whose changes start a cycle.
//!
//! The kernel tells that something has happened (inotify); what is there now is compared with what was there
//! before. Together they miss nothing: a path that does not exist yet, is replaced by rename, is reached
//! through a symbolic link that is turned to another folder (as Kubernetes does with its volumes), is a bind
//! mount, or is removed and made again. Where the kernel cannot tell, the comparison alone does, every few
//! seconds. Nothing is lost during a cycle: the kernel keeps unread events.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use self::tree::Fingerprint;
use self::watch::{PathNews, PathWatch};
use super::hooks::Activity;

#[cfg(test)]
mod tests;
mod tree;
mod watch;

/// How long it must be quiet before a change counts as over: editors and `cp -r` do many things at once.
const QUIET: Duration = Duration::from_millis(250);

/// How long a change that does not come to rest is waited for.
const RESTLESS: Duration = Duration::from_secs(5);

/// From one look at what a hook does to the next, at least.
const SAMPLE: Duration = Duration::from_millis(10);

/// From one look to the next where the kernel cannot tell.
const POLL: Duration = Duration::from_secs(2);

/// And where it can: on a network's file system it knows only of this machine's changes.
const SLOW_POLL: Duration = Duration::from_secs(60);

/// A file or folder whose changes start a cycle.
#[derive(Debug)]
pub struct Trigger {
    path: Arc<Path>,
    /// Asks the kernel to watch.
    begin: fn(&Path) -> io::Result<PathWatch>,
    /// `None`: the kernel cannot tell.
    watch: Option<PathWatch>,
    picture: Fingerprint,
    /// Whether the log says already that the kernel cannot watch the path.
    is_polling: bool,
    /// Whether another program has changed something before or while a hook ran.
    is_pending: bool,
}

impl Trigger {
    /// Watches a path from now on.
    pub async fn new(path: PathBuf) -> Self {
        Self::with(path, PathWatch::begin).await
    }

    async fn with(path: PathBuf, begin: fn(&Path) -> io::Result<PathWatch>) -> Self {
        let mut trigger = Self {
            path: path.into(),
            begin,
            watch: None,
            picture: Fingerprint::default(),
            is_polling: false,
            is_pending: false,
        };
        trigger.look().await;
        trigger
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Forgets what has changed until now.
    pub async fn forget(&mut self) {
        self.look().await;
        self.is_pending = false;
    }

    /// Does the work of a hook and ignores the hook's own changes. A change by another program counts if `activity` shows
    /// that no process of the hook has run at that time.
    pub async fn apart_from<T>(
        &mut self,
        work: impl Future<Output = T>,
        activity: impl Fn() -> Option<Activity>,
    ) -> T {
        let has_happened = self.take_now() == Some(PathNews::Change);
        self.is_pending |= self.look().await | has_happened;
        let mut work = pin!(work);
        // What is read from the kernel has happened since it was read before, so between the moment before that and now.
        let (mut before_last, mut last) = (None, activity());
        let mut pause = SAMPLE;
        loop {
            let done = tokio::select! {
                biased;
                done = &mut work => Some(done),
                () = sleep(pause) => None,
            };
            if let Some(done) = done {
                self.look().await;
                return done;
            }
            let told = self.take_now();
            let begun = Instant::now();
            let now = activity();
            // Many processes on the machine take a while to look through.
            pause = SAMPLE.max(begun.elapsed() * 10);
            self.is_pending |= told == Some(PathNews::Change) && now.is_some() && now == before_last;
            before_last = std::mem::replace(&mut last, now);
        }
    }

    /// The kernel's events up to now.
    fn take_now(&self) -> Option<PathNews> {
        self.watch.as_ref().and_then(PathWatch::take_now)
    }

    /// Waits for a change, and until it is over. A change is not lost where the wait is given up.
    pub async fn changed(&mut self) {
        while !self.is_pending && !self.happened().await {}
        self.is_pending = true;
        let deadline = Instant::now() + RESTLESS;
        loop {
            // What has just been made is watched only from now on.
            self.look().await;
            let is_over = timeout(QUIET, async { while !self.happened().await {} }).await.is_err();
            if is_over || Instant::now() >= deadline {
                break;
            }
        }
        self.look().await;
        self.is_pending = false;
    }

    /// Waits for a sign, and tells whether something has changed.
    async fn happened(&mut self) -> bool {
        let told = if let Some(watch) = &mut self.watch {
            timeout(SLOW_POLL, watch.told()).await.unwrap_or(PathNews::Perhaps)
        } else {
            sleep(POLL).await;
            PathNews::Perhaps
        };
        match told {
            PathNews::Change => true,
            // What is watched may not be what the path leads to any more. Where much happens beside the
            // path, that is not looked at each time.
            PathNews::Perhaps => {
                sleep(QUIET / 2).await;
                self.look().await
            }
        }
    }

    /// Watches anew, and tells whether anything has changed since the last look.
    async fn look(&mut self) -> bool {
        // The old watch first: there is a limit to their number.
        self.watch = None;
        let (path, begin) = (self.path.clone(), self.begin);
        // The watch before the picture, so that nothing happens unseen in between.
        let looked = tokio::task::spawn_blocking(move || (begin(&path), Fingerprint::of(&path))).await;
        let Ok((watch, picture)) = looked else { return false };
        match watch.and_then(PathWatch::registered) {
            Ok(watch) => {
                if self.is_polling {
                    tracing::info!(path = %self.path.display(), "the trigger path is watched again");
                }
                self.is_polling = false;
                self.watch = Some(watch);
            }
            Err(error) => {
                if !self.is_polling {
                    let (path, seconds) = (self.path.display(), POLL.as_secs());
                    tracing::warn!("cannot watch {path}: {error}; it is looked at every {seconds} s instead");
                }
                self.is_polling = true;
            }
        }
        let has_changed = picture != self.picture;
        self.picture = picture;
        has_changed
    }
}
