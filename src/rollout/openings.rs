//! When the gates that hold services open by themselves: a look pays then.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

/// When the gates of a service open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The time.
    pub at: Timestamp,
    /// Whether the gate is a window.
    pub is_window: bool,
}

/// When the gates of services open, by the service's name.
#[derive(Debug, Default)]
pub struct Openings {
    services: Mutex<BTreeMap<String, Opening>>,
    told: Mutex<Option<(Timestamp, usize)>>,
    news: Notify,
}

impl Openings {
    fn services(&self) -> MutexGuard<'_, BTreeMap<String, Opening>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A look has found of these services when their gates open. `is_whole`: there are no other services.
    pub(crate) fn looked(&self, found: impl IntoIterator<Item = (String, Option<Opening>)>, is_whole: bool) {
        let mut services = self.services();
        if is_whole {
            services.clear();
        }
        for (service, opens) in found {
            services.remove(&service);
            services.extend(opens.map(|opens| (service, opens)));
        }
        drop(services);
        self.news.notify_one();
    }

    /// The gate of this service has shut, and opens then.
    pub(super) fn shuts(&self, service: String, opens: Opening) {
        self.services().insert(service, opens);
        self.news.notify_one();
    }

    /// When the next gate opens, and for how many services it does so then.
    pub fn next(&self) -> Option<(Timestamp, usize)> {
        let services = self.services();
        let next = services.values().map(|opening| opening.at).min()?;
        Some((next, services.values().filter(|opening| opening.at == next).count()))
    }

    /// When the next window opens, and how many services wait for it, where that was not told yet.
    pub fn news(&self) -> Option<(Timestamp, usize)> {
        let services = self.services();
        let windows = || services.values().filter(|opening| opening.is_window).map(|opening| opening.at);
        let next = windows().min();
        let news = next.map(|next| (next, windows().filter(|at| *at == next).count()));
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told == news {
            return None;
        }
        *told = news;
        news
    }

    /// The gates that open until now are looked at: they wake no second time.
    pub fn pass(&self, now: Timestamp) {
        self.services().retain(|_, opening| opening.at > now);
    }

    /// Returns when another gate may be the next to open.
    pub async fn changed(&self) {
        self.news.notified().await;
    }
}
