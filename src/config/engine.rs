//! Where the engine listens: `DOCKER_HOST` and its companions, as the docker CLI reads them.

use std::fmt;
use std::path::PathBuf;

/// Where the engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineAddress {
    /// A socket on this machine.
    Unix(PathBuf),
    /// A port, here or elsewhere.
    Tcp {
        /// Host name or address, and port: `10.0.0.1:2375`, `[::1]:2376`.
        host: String,
        /// The folder with `ca.pem`, `cert.pem` and `key.pem`; `None`: plain text.
        tls: Option<PathBuf>,
    },
}

impl fmt::Display for EngineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, .. } => write!(f, "tcp://{host}"),
        }
    }
}
