//! What the program logs in a test of one thread.

use std::sync::{Arc, Mutex};

use gantry::config::Config;
use gantry::telemetry::{Output, subscriber};
use tracing::subscriber::DefaultGuard;

/// The lines since it was begun. It ends with this value.
pub(crate) struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    _guard: DefaultGuard,
}

impl Log {
    /// Takes note of what this thread logs from now on, from `level` up.
    pub(crate) fn from_level(level: &str) -> Self {
        Self::with(&[("GANTRY_LOG_LEVEL", level)])
    }

    /// The same, with these variables.
    pub(crate) fn with(variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        let settings = Config::load(variables).unwrap().config.log;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let taken = lines.clone();
        let write = move |line: &str| taken.lock().unwrap().push(line.trim_end().to_owned());
        let (subscriber, _) =
            subscriber(&settings, Output { write: Box::new(write), now: jiff::Timestamp::now });
        Self { lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// The lines with these words.
    pub(crate) fn lines_with(&self, words: &str) -> Vec<String> {
        self.lines.lock().unwrap().iter().filter(|line| line.contains(words)).cloned().collect()
    }
}
