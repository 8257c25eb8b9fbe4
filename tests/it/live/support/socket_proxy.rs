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
    rules: Arc<Mutex<Rules>>,
    seen: Arc<Mutex<Vec<String>>>,
}

/// What is let through.
#[derive(Default)]
struct Rules {
    refused: Vec<Refused>,
    /// Nothing but requests to these routes, such as `GET /services/ID`.
    allowed: Option<Vec<String>>,
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
        let proxy = Self { path, rules: Arc::default(), seen: Arc::default() };
        let (engine, rules, seen) = (stage.lab.socket(1), proxy.rules.clone(), proxy.seen.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (engine, rules, seen) = (engine.clone(), rules.clone(), seen.clone());
                // A connection that breaks is its client's to notice.
                std::thread::spawn(move || _ = pass(client, &engine, &rules, &seen));
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
        self.rules.lock().unwrap().refused.push(Refused { begin: begin.to_owned(), status, body: MESSAGE });
    }

    /// From now on, requests whose `METHOD /path` begins like this are refused with a page for people.
    pub(crate) fn refuse_with_page(&self, begin: &str) {
        self.rules.lock().unwrap().refused.push(Refused { begin: begin.to_owned(), status: 403, body: PAGE });
    }

    /// From now on, everything is let through again.
    pub(crate) fn let_through(&self) {
        *self.rules.lock().unwrap() = Rules::default();
    }

    /// From now on, only requests to these routes are let through, such as `GET /services/ID`.
    pub(crate) fn allow_only(&self, routes: &[String]) {
        self.rules.lock().unwrap().allowed = Some(routes.to_vec());
    }

    /// The first lines of the requests so far to none of these routes.
    pub(crate) fn to_others_than(&self, routes: &[String]) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|first| !routes.iter().any(|route| is_to(first, route))).cloned().collect()
    }

    /// Those of these routes to which there was no request so far.
    pub(crate) fn without_request<'a>(&self, routes: &'a [String]) -> Vec<&'a str> {
        let seen = self.seen.lock().unwrap();
        let unused = routes.iter().filter(|route| !seen.iter().any(|first| is_to(first, route)));
        unused.map(String::as_str).collect()
    }

    /// The requests so far that begin like this, refused ones included.
    pub(crate) fn seen(&self, begin: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|request| request.starts_with(begin)).count()
    }
}

impl Rules {
    fn refusal_of(&self, first: &str) -> Option<Refused> {
        let is_allowed = |routes: &Vec<String>| routes.iter().any(|route| is_to(first, route));
        if !self.allowed.as_ref().is_none_or(is_allowed) {
            return Some(Refused { begin: String::new(), status: 403, body: PAGE });
        }
        self.refused.iter().find(|one| first.starts_with(&one.begin)).cloned()
    }
}

/// Whether a request's first line is to this route.
fn is_to(first: &str, route: &str) -> bool {
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    let (wanted, pattern) = route.split_once(' ').unwrap();
    let (segments, parts): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), pattern.split('/').collect());
    let fits = |(segment, part): (&&str, &&str)| segment == part || (*part == "ID" && !segment.is_empty());
    method == wanted && segments.len() == parts.len() && segments.iter().zip(&parts).all(fits)
}

/// Serves one connection. The program sends one request on each, so only the first line decides.
fn pass(
    mut client: UnixStream,
    engine: &Path,
    rules: &Mutex<Rules>,
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
    let refusal = rules.lock().unwrap().refusal_of(&first);
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
