//! The board of the daemon, with a signal at each change.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

use super::Board;

/// The board of the daemon. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct LiveBoard(Arc<(Mutex<Board>, watch::Sender<u64>)>);

impl fmt::Debug for LiveBoard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveBoard").finish_non_exhaustive()
    }
}

impl Default for LiveBoard {
    fn default() -> Self {
        Self(Arc::new((Mutex::new(Board::new(Timestamp::now())), watch::Sender::new(0))))
    }
}

impl LiveBoard {
    /// The board. No caller waits for anything while it is locked.
    pub fn look(&self) -> MutexGuard<'_, Board> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the board, at this time, and wakes those who watch it.
    pub fn change(&self, change: impl FnOnce(&mut Board, Timestamp)) {
        let revision = {
            let mut board = self.look();
            change(&mut board, Timestamp::now());
            board.revision
        };
        self.0.1.send_replace(revision);
    }

    /// Tells of each change; those that come close together are told once.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.1.subscribe()
    }
}
