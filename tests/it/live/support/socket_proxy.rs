//! What stands between Gantry and the engine on many swarms: a program that lets some requests through.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::Stage;

/// A proxy before the first node's engine. It serves until the test's process ends.
pub(crate) struct SocketProxy {
    path: PathBuf,
    refused: Arc<Mutex<Vec<Refused>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

/// Requests that are not let through: those whose `METHOD /path` begins like this, with the status that answers them.
#[derive(Clone)]
struct Refused {
    begin: String,
    status: u16,
    body: &'static str,
}

/// What a proxy says in a form that engines have.
const MESSAGE: &str = r#"{"message":"the proxy says no"}"#;

/// What Tecnativa's proxy says.
const PAGE: &str =
    "<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>\n";

impl SocketProxy {
    /// Lets everything through at first.
    pub(crate) fn start(stage: &Stage) -> Self {
        let path = stage.folder.path().join("proxy.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let proxy = Self { path, refused: Arc::default(), seen: Arc::default() };
        let (engine, refused, seen) = (stage.lab.socket(1), proxy.refused.clone(), proxy.seen.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (engine, refused, seen) = (engine.clone(), refused.clone(), seen.clone());
                // A connection that breaks is its client's to notice.
                std::thread::spawn(move || _ = pass(client, &engine, &refused, &seen));
            }
        });
        proxy
    }

    /// The address for `DOCKER_HOST`.
    pub(crate) fn docker_host(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// From now on, requests whose `METHOD /path` begins like this are answered with this status.
    pub(crate) fn refuse(&self, begin: &str, status: u16) {
        self.refused.lock().unwrap().push(Refused { begin: begin.to_owned(), status, body: MESSAGE });
    }

    /// From now on, requests whose `METHOD /path` begins like this are refused with a page for people.
    pub(crate) fn refuse_with_page(&self, begin: &str) {
        self.refused.lock().unwrap().push(Refused { begin: begin.to_owned(), status: 403, body: PAGE });
    }

    /// From now on, everything is let through again.
    pub(crate) fn let_through(&self) {
        self.refused.lock().unwrap().clear();
    }

    /// The requests so far that begin like this, refused ones included.
    pub(crate) fn seen(&self, begin: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|request| request.starts_with(begin)).count()
    }
}

/// Serves one connection. The program sends one request on each, so only the first line decides.
fn pass(
    mut client: UnixStream,
    engine: &Path,
    refused: &Mutex<Vec<Refused>>,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut begun = vec![0; 64 << 10];
    let mut length = client.read(&mut begun)?;
    while !begun[..length].windows(2).any(|end| end == b"\r\n") && length < begun.len() {
        match client.read(&mut begun[length..])? {
            0 => return Ok(()),
            more => length += more,
        }
    }
    let first = String::from_utf8_lossy(&begun[..length]).lines().next().unwrap_or_default().to_owned();
    seen.lock().unwrap().push(first.clone());
    let refusal = refused.lock().unwrap().iter().find(|one| first.starts_with(&one.begin)).cloned();
    if let Some(Refused { status, body, .. }) = refusal {
        let (length, kind) = (body.len(), if body == PAGE { "text/html" } else { "application/json" });
        write!(
            client,
            "HTTP/1.1 {status} No\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        )?;
        return client.shutdown(Shutdown::Write);
    }
    let mut server = UnixStream::connect(engine)?;
    server.write_all(&begun[..length])?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut server, &mut client);
    let _ = client.shutdown(Shutdown::Both);
    Ok(())
}
