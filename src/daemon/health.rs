//! `gantry healthcheck`: tells a dead loop from a live one.
//!
//! It asks `/healthz` over the daemon's [socket](crate::local_socket). A process that hangs does not answer at all; one whose loop
//! hangs answers that it has no sign of life.

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::local_socket;

/// How long a live daemon may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the loop may be without a sign of life. The longest stretch of honest work is one look-up
/// with all its retries, well under four minutes.
pub const MAX_AGE: Duration = Duration::from_secs(300);

/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 << 10;

/// Asks the daemon in this container. `Ok` is healthy; both carry what to say.
pub fn check() -> Result<String, String> {
    check_at(&local_socket::places())
}

fn check_at(places: &[PathBuf]) -> Result<String, String> {
    let silent = |why: &str| format!("unhealthy: the daemon does not answer: {why}");
    let (_, mut stream) = local_socket::find(places).map_err(|why| silent(&why))?;
    let mut ask = || -> io::Result<String> {
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        (&stream).take(MAX_ANSWER).read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| silent(&error.to_string()))?;
    judge(&answer)
}

/// What an HTTP answer of `/healthz` says.
fn judge(answer: &str) -> Result<String, String> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let status = head.split(' ').nth(1).unwrap_or_default();
    match (status, body["last_sign_of_life_seconds"].as_u64(), body["error"].as_str()) {
        ("200", Some(seconds), _) => Ok(format!("healthy: last sign of life {seconds} s ago")),
        (_, _, Some(error)) => Err(format!("unhealthy: {error}")),
        _ => Err(format!("unhealthy: the daemon answers {:?}", head.lines().next().unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_the_daemon_decides() {
        let ill = "HTTP/1.0 503 Service Unavailable\r\n\r\n{\"error\":\"no manager\",\"remedy\":\"x\"}";
        assert_eq!(judge(ill).unwrap_err(), "unhealthy: no manager");
        let well = "HTTP/1.0 200 OK\r\n\r\n{\"healthy\":true,\"last_sign_of_life_seconds\":3}";
        assert_eq!(judge(well).unwrap(), "healthy: last sign of life 3 s ago");
        for strange in ["", "HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.0 500 x\r\n\r\n{}", "soon"] {
            let said = judge(strange).unwrap_err();
            assert!(said.starts_with("unhealthy: the daemon answers "), "{said}");
        }
    }

    #[test]
    fn where_no_daemon_is_the_check_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let said = check_at(&[folder.path().join("none")]).unwrap_err();
        assert_eq!(said, "unhealthy: the daemon does not answer: no daemon runs here");
    }
}
