//! What is remembered of images and services, with a number that tells one memory from another.

use std::rc::Rc;
use std::sync::Arc;

use super::key::hash;
use crate::ledger::book::{Book, LedgerChange};

/// A book of the ledger.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    book: Arc<Book>,
    hash: u64,
}

/// Changes that are not written yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    changes: Rc<Vec<LedgerChange>>,
    hash: u64,
}

impl Memory {
    pub(super) fn book(&self) -> &Arc<Book> {
        &self.book
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// The memory with these changes.
    pub(super) fn with(&self, changes: &[LedgerChange]) -> Self {
        if changes.is_empty() {
            return self.clone();
        }
        let mut book = Book::clone(&self.book);
        for change in changes {
            book.apply(change);
        }
        let hash = if book == Book::default() { 0 } else { hash(&format!("{book:?}")) };
        Self { book: Arc::new(book), hash }
    }
}

impl Pending {
    pub(super) fn changes(&self) -> &[LedgerChange] {
        &self.changes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn note(&mut self, changes: impl IntoIterator<Item = LedgerChange>) {
        for change in changes {
            self.hash = hash(&format!("{}{change:?}", self.hash));
            Rc::make_mut(&mut self.changes).push(change);
        }
    }

    /// Takes all of them.
    pub(super) fn take(&mut self) -> Rc<Vec<LedgerChange>> {
        std::mem::take(self).changes
    }
}
