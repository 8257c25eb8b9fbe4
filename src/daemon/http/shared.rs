//! What the routes work with.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::Request;
use tokio::sync::Semaphore;

use super::access::Tokens;
use crate::config::Config;
use crate::daemon::board::LiveBoard;
use crate::daemon::board::render::Around;
use crate::daemon::steering::Steering;
use crate::daemon::webhook::desk::Desk;
use crate::heartbeat::Heartbeat;
use crate::ledger::Ledger;
use crate::meters::Meters;

/// What the routes work with.
#[derive(Clone)]
pub struct Shared {
    /// What is known now.
    pub board: LiveBoard,
    /// What Gantry was told.
    pub config: Arc<Config>,
    /// The quarantine.
    pub ledger: Arc<Ledger>,
    /// Whether the loop lives.
    pub heartbeat: Heartbeat,
    /// What is counted where Gantry talks to others.
    pub meters: Meters,
    /// What steering does.
    pub steering: Arc<dyn Steering>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// What all handlers have.
#[derive(Clone)]
pub(super) struct Routes {
    pub(super) shared: Shared,
    pub(super) tokens: Arc<Tokens>,
    pub(super) hosts: Arc<Vec<String>>,
    pub(super) is_local: bool,
    /// The user in whose name all requests are, where only that user can reach the routes. Needs no token.
    pub(super) owner: Option<&'static str>,
    pub(super) streams: Arc<Semaphore>,
    /// One plan at a time: each asks the registries.
    pub(super) plans: Arc<Semaphore>,
    /// The hints of registries.
    pub(super) desk: Arc<Desk>,
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").finish_non_exhaustive()
    }
}

/// Who steers.
#[derive(Clone)]
pub(super) struct Operator(pub(super) String);

/// The peer of a connection.
#[derive(Clone, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// The address from which a request comes.
pub(super) fn address_of(request: &Request) -> String {
    request.extensions().get::<Peer>().map_or_else(String::new, |peer| peer.0.ip().to_string())
}

/// Open pages see what only the ledger knows.
pub(super) fn show_at_once(routes: &Routes) {
    routes.shared.board.change(|board, _| board.revision += 1);
}

/// What the board does not know itself.
pub(super) fn around(shared: &Shared) -> Around {
    let (book, now) = (shared.ledger.book(), shared.ledger.now());
    let lasts = shared.config.quarantine.duration;
    let held = book.entries().filter(|entry| entry.is_for_good() && !entry.has_expired(now, lasts));
    Around {
        quarantine: held.cloned().collect(),
        quarantine_lasts: lasts,
        pause: shared.ledger.pause(),
        approvals: book.approvals.iter().filter(|approval| approval.holds_at(now)).cloned().collect(),
        actions: book.actions.clone(),
    }
}
