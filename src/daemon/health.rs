//! `gantry healthcheck`: tells a dead loop from a live one.
//!
//! The daemon answers on an abstract Unix socket, which needs no file and so works on a read-only root. It
//! answers with the age of the loop's last sign of life, or says why it cannot do its work. A process that hangs does not answer at all; one
//! whose loop hangs answers with an age that only grows.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep};

use crate::heartbeat::Heartbeat;

/// How long a live daemon may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the loop may be without a sign of life. The longest stretch of honest work is one look-up
/// with all its retries, well under four minutes.
pub const MAX_AGE: Duration = Duration::from_secs(300);

/// How the answer of a daemon that cannot do its work begins; the reason follows.
const ILL: &str = "ill: ";

/// From one try to answer to the next.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The PID namespace of the machine itself, as Linux numbers it (`PROC_PID_INIT_INO`).
const HOST_NAMESPACE: &str = "pid:[4026531836]";

/// The variables that distinguish several Gantry processes on one machine without containers.
const OWN_VARIABLES: [&str; 2] = ["DOCKER_HOST", "GANTRY_LEDGER_NAME"];

/// The socket's name. It is abstract and so belongs to the network namespace, which containers may share (the network
/// `host`); they do not share their PID namespace, and a container's health check runs in it.
#[expect(
    clippy::disallowed_methods,
    reason = "`gantry healthcheck` is told nothing, and needs no valid settings"
)]
fn socket_name() -> String {
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    name_in(&namespace.to_string_lossy(), &OWN_VARIABLES.map(std::env::var_os))
}

fn name_in(namespace: &str, variables: &[Option<OsString>]) -> String {
    if namespace != HOST_NAMESPACE {
        return format!("gantry/healthcheck/{namespace}");
    }
    // Only here: in a container, the daemon may have been given more of them than those who check it.
    let mut hasher = DefaultHasher::new();
    for variable in variables {
        // Empty is unset.
        variable
            .as_ref()
            .map_or(String::new(), |it| it.to_string_lossy().trim().to_owned())
            .hash(&mut hasher);
    }
    format!("gantry/healthcheck/{namespace}/{:x}", hasher.finish())
}

/// Answers health checks for ever.
pub async fn serve(heartbeat: Heartbeat) {
    serve_as(&socket_name(), &heartbeat).await;
}

async fn serve_as(name: &str, heartbeat: &Heartbeat) {
    let mut is_said = false;
    loop {
        let Err(error) = answer(name, heartbeat).await;
        if !std::mem::replace(&mut is_said, true) {
            tracing::warn!(%error, "health checks are not answered; trying on");
        }
        sleep(RETRY_INTERVAL).await;
    }
}

async fn answer(name: &str, heartbeat: &Heartbeat) -> io::Result<Infallible> {
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        let age = heartbeat.age(Instant::now()).as_secs();
        let answer = heartbeat.illness().map_or_else(|| age.to_string(), |illness| format!("{ILL}{illness}"));
        // A health check that has ended needs no answer.
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

/// Asks the daemon in this container. `Ok` is healthy; both carry what to say.
pub fn check() -> Result<String, String> {
    check_as(&socket_name())
}

fn check_as(name: &str) -> Result<String, String> {
    let ask = || -> io::Result<String> {
        let mut stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| format!("unhealthy: the daemon does not answer: {error}"))?;
    judge(&answer)
}

fn judge(answer: &str) -> Result<String, String> {
    if let Some(illness) = answer.strip_prefix(ILL) {
        return Err(format!("unhealthy: {illness}"));
    }
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
        assert_eq!(judge("ill: no manager").unwrap_err(), "unhealthy: no manager");
        assert!(judge("soon").is_err());
    }

    #[test]
    fn the_name_belongs_to_a_container_and_by_hand_to_what_gantry_was_told() {
        let (one, other) = ([None, Some("a".into())], [Some("a".into()), None]);
        let container = name_in("pid:[4026532601]", &one);
        assert_ne!(container, name_in("pid:[4026532602]", &one));
        assert_eq!(container, name_in("pid:[4026532601]", &other));
        assert_ne!(name_in(HOST_NAMESPACE, &one), name_in(HOST_NAMESPACE, &other));
        assert_eq!(
            name_in(HOST_NAMESPACE, &[None, None]),
            name_in(HOST_NAMESPACE, &[Some("".into()), Some(" ".into())])
        );
        assert!(socket_name().contains("/pid:["), "{}", socket_name());
        assert!(SocketAddr::from_abstract_name(socket_name()).is_ok());
    }

    #[tokio::test]
    async fn who_finds_the_name_taken_answers_when_it_is_free() {
        let name = format!("gantry/test/{}", std::process::id());
        let (old, new) = (Heartbeat::new(Instant::now()), Heartbeat::new(Instant::now()));
        let serving = |heartbeat| {
            let name = name.clone();
            tokio::spawn(async move { serve_as(&name, &heartbeat).await })
        };
        let asked = async || {
            let name = name.clone();
            tokio::task::spawn_blocking(move || check_as(&name)).await.unwrap()
        };
        let first = serving(old);
        while asked().await.is_err() {}
        let second = serving(new);
        sleep(RETRY_INTERVAL / 2).await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        assert!(asked().await.is_err(), "the daemon does not answer");
        sleep(RETRY_INTERVAL * 2).await;
        assert!(asked().await.is_ok());
        second.abort();
    }
}
