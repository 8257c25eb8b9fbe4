//! `gantry healthcheck`: tells a dead loop from a live one.
//!
//! The daemon answers on an abstract Unix socket, which needs no file and so works on a read-only root. It
//! answers with the age of the loop's last sign of life. A process that hangs does not answer at all; one
//! whose loop hangs answers with an age that only grows.

use std::io::{self, Read as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use crate::heartbeat::Heartbeat;

/// The socket's name, abstract: it belongs to the network namespace, that is, to the container.
const SOCKET_NAME: &[u8] = b"gantry/healthcheck";

/// How long a live daemon may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the loop may be without a sign of life. The longest stretch of honest work is one look-up
/// with all its retries, well under four minutes.
pub const MAX_AGE: Duration = Duration::from_secs(300);

/// Answers health checks for ever.
pub async fn serve(heartbeat: Heartbeat) -> io::Result<()> {
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(SOCKET_NAME)?)?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        let age = heartbeat.age(Instant::now()).as_secs();
        // A checker that has gone away is its own problem.
        let _ = stream.write_all(age.to_string().as_bytes()).await;
    }
}

/// Asks the daemon in this container. `Ok` is healthy; both carry what to say.
pub fn check() -> Result<String, String> {
    let ask = || -> io::Result<String> {
        let mut stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(SOCKET_NAME)?)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| format!("unhealthy: the daemon does not answer: {error}"))?;
    judge(&answer)
}

fn judge(answer: &str) -> Result<String, String> {
    let Ok(seconds) = answer.parse::<u64>() else {
        return Err(format!("unhealthy: the daemon answers {answer:?}"));
    };
    if seconds > MAX_AGE.as_secs() {
        return Err(format!("unhealthy: no sign of life from the loop for {seconds} s"));
    }
    Ok(format!("healthy: last sign of life {seconds} s ago"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_the_last_sign_of_life_decides() {
        assert!(judge("0").is_ok());
        assert!(judge("300").is_ok());
        assert!(judge("301").is_err());
        assert!(judge("").is_err());
        assert!(judge("soon").is_err());
    }
}
