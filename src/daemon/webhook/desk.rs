//! Takes the hints of senders, and asks for a look at the right time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::pending;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::coalesce::{Coalescer, Due};
use super::hint::Hint;
use super::used::Used;
use crate::context::RunScope;
use crate::daemon::board::{Board, LiveBoard};
use crate::daemon::steering::Steering;
use crate::image::Digest;

/// Stands for all repositories, while none is known yet.
const ALL: &str = "";

/// What is known of a repository's images.
type Digests = BTreeMap<String, Digest>;

/// Takes the hints of senders, and asks for a look at the right time.
pub struct Desk {
    began: Instant,
    state: Mutex<Coalescer<Digests>>,
    news: Notify,
}

/// What a hint came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Gantry looks at these images; none: at all, as it does not know yet which there are.
    Looks(Vec<String>),
    /// No service uses the repository.
    Unknown,
}

impl Default for Desk {
    fn default() -> Self {
        Self { began: Instant::now(), state: Mutex::default(), news: Notify::new() }
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, Coalescer<Digests>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Takes the hints of an event, which the token of this name proves.
    pub fn hear(&self, board: &LiveBoard, by: &str, hints: &BTreeSet<Hint>) -> Heard {
        let (used, repositories, digests) = {
            let mut board = board.look();
            if board.is_new() {
                (Used::default(), BTreeSet::from([ALL.to_owned()]), vec![Digests::new()])
            } else {
                let used = used(&board);
                let repositories = used.meant_by(hints);
                let at = Timestamp::now();
                for repository in &repositories {
                    board.metrics.pushed(repository, at);
                }
                let digests = repositories.iter().map(|repository| digests(&board, &used, repository));
                let digests = digests.collect();
                (used, repositories, digests)
            }
        };
        if repositories.is_empty() {
            return Heard::Unknown;
        }
        let at = self.now();
        {
            let mut state = self.state();
            for (repository, digests) in repositories.iter().zip(digests) {
                state.event(repository, by, digests, at);
            }
        }
        self.news.notify_one();
        let images = repositories.iter().flat_map(|repository| used.images_of(repository));
        Heard::Looks(images.map(str::to_owned).collect())
    }

    /// Asks for the looks when they are due, for as long as it is polled.
    pub async fn drive(&self, board: &LiveBoard, steering: &dyn Steering) {
        loop {
            let next = self.state().next();
            let due = async {
                match next {
                    Some(next) => sleep_until(self.began + next).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = due => self.look(board, steering),
                () = self.news.notified() => {}
            }
        }
    }

    fn look(&self, board: &LiveBoard, steering: &dyn Steering) {
        let (due, images) = {
            let board = board.look();
            let used = used(&board);
            let due = self.state().take_due(self.now(), |repository| digests(&board, &used, repository));
            let images = due.iter().flat_map(|due| used.images_of(&due.repository)).map(str::to_owned);
            let images: Vec<String> = images.collect();
            (due, images)
        };
        let Some(Due { by, .. }) = due.first() else { return };
        let is_all = due.iter().any(|due| due.repository == ALL);
        if is_all {
            steering.look(by.clone(), RunScope::default());
        } else if !images.is_empty() {
            steering.look(by.clone(), RunScope { images, ..RunScope::default() });
        }
    }
}

fn used(board: &Board) -> Used {
    Used::by(board.services.values().map(|shown| &*shown.image))
}

fn digests(board: &Board, used: &Used, repository: &str) -> Digests {
    let images = if repository == ALL { used.all_images() } else { used.images_of(repository).collect() };
    let known =
        images.into_iter().filter_map(|image| Some((image.to_owned(), board.digests.of(image)?.clone())));
    known.collect()
}
