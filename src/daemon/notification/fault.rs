//! Why a message was not delivered. Pure.

use std::fmt;
use std::time::Duration;

/// How long the server may take. It passes the message on to others before it answers.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// How long a connection to it may take.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// How much of the server's answer is shown, in characters.
pub(super) const WORDS: usize = 200;

/// Why a message was not delivered. The address is not shown: it may have a password or a key in it.
#[derive(Debug)]
pub(super) enum Fault {
    /// It would never be taken.
    Refused(String),
    /// The server is away, or cannot take anything now.
    Away(String),
    /// The server did not say in time what became of it.
    Unanswered,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(cause) | Self::Away(cause) => f.write_str(cause),
            Self::Unanswered => write!(f, "no answer within {} s", LIMIT.as_secs()),
        }
    }
}
