//! What tells one queue from another, for `every_interleaving`. Pure.

use super::Queue;
use crate::model::update::{Begun, Update};
use crate::rollout::every_interleaving::Key;

/// Adds an update to a key.
pub(in crate::rollout) fn put_update(key: &mut Key, update: &Update) {
    key.text(&update.id);
    key.image(&update.from);
    key.image(&update.to);
    key.version(update.version);
    key.put(match update.begun.as_deref() {
        None => 0_u64,
        Some(Begun::Update { .. }) => 1,
        Some(Begun::Rollback { .. }) => 2,
    });
}

impl Queue {
    /// Adds all that decides what the queue does next. Words for reports are left out, the services in reports are not.
    pub(in crate::rollout) fn summary(&self, key: &mut Key) {
        let updates: Vec<usize> = self.updates.keys().copied().collect();
        let runs: Vec<u64> = self.runs.keys().copied().collect();
        self.pace.summary(&updates, key);
        for queued in self.updates.values() {
            key.put_all(runs.binary_search(&queued.run).ok());
            key.text(&queued.id);
            key.image(&queued.to);
            queued.waiting.iter().for_each(|update| put_update(key, update));
            key.end();
            queued.finished.iter().for_each(|finished| key.text(finished.outcome.name()));
            key.end();
        }
        for share in self.runs.values() {
            key.put(share.open);
            share.rolled_out.rows.iter().for_each(|row| key.text(&row.service));
            key.end();
        }
        key.end();
    }

    /// The updates that have not ended, and the runs, by number.
    pub(in crate::rollout) fn numbers(&self) -> (Vec<usize>, Vec<u64>) {
        (self.updates.keys().copied().collect(), self.runs.keys().copied().collect())
    }
}
