//! Who may be on the lab at the same time.

use std::fs::File;

use super::Lab;

/// The right to be on the lab, until it is dropped. It holds between processes too, so it does not matter
/// which runner starts the tests.
pub(crate) struct Claim {
    _locks: Vec<File>,
}

impl Claim {
    /// Elsewhere.
    pub(crate) fn none() -> Self {
        Self { _locks: Vec::new() }
    }

    /// Beside others.
    pub(crate) fn shared() -> Self {
        let _turn = locked("turn");
        let stage = file("stage");
        stage.lock_shared().unwrap();
        Self { _locks: vec![stage] }
    }

    /// Alone, for a test that takes away what the others stand on. Whoever comes later waits for a turn, so
    /// that a test that waits to be alone will be.
    pub(crate) fn alone() -> Self {
        let _turn = locked("turn");
        Self { _locks: vec![locked("stage")] }
    }

    /// Beside others of which none removes images: the remover has one name in the whole swarm.
    pub(crate) fn cleaning() -> Self {
        let cleaning = locked("cleaning");
        let Self { _locks: mut locks } = Self::shared();
        locks.push(cleaning);
        Self { _locks: locks }
    }
}

fn file(name: &str) -> File {
    let path = Lab::get().sockets.join(format!("tests-{name}.lock"));
    File::options().create(true).append(true).open(path).unwrap()
}

fn locked(name: &str) -> File {
    let file = file(name);
    file.lock().unwrap();
    file
}
