//! Apprise as it really is, and a server of the test's own behind it, to which it delivers.

use std::cell::Cell;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::Value;

use super::{HttpServer, Stage};
use crate::support::http::Answer;

/// A running Apprise. Ended when dropped.
pub(crate) struct Apprise {
    child: Child,
    address: String,
    behind: HttpServer,
    status: Arc<AtomicU16>,
    seen: Cell<usize>,
}

/// What has come out of Apprise.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) title: String,
    pub(crate) body: String,
    /// `success`, `failure`, ...
    pub(crate) kind: String,
}

impl Apprise {
    /// Starts it, and installs it before if need be.
    pub(crate) fn start(stage: &Stage) -> Self {
        let status = Arc::new(AtomicU16::new(200));
        let answer = status.clone();
        let behind = HttpServer::start(move |_| Answer::new(answer.load(Ordering::Relaxed), ""));
        let told = format!("team=json://{}/", behind.authority());
        let mut command = stage.lab.command(&["apprise", &told]);
        // It ends with its standard input, also when this process is killed.
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let address = address.trim_end().to_owned();
        assert!(!address.is_empty(), "Apprise does not start; `lab apprise` says why");
        Self { child, address, behind, status, seen: Cell::new(0) }
    }

    /// The address that Gantry is given; Apprise knows the key `team`.
    pub(crate) fn url(&self, key: &str) -> String {
        format!("http://{}/notify/{key}", self.address)
    }

    /// From now on, whom Apprise delivers to answers with this status.
    pub(crate) fn is_answered_with(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// What it has delivered since the last time that this was asked.
    pub(crate) fn delivered(&self) -> Vec<Delivered> {
        let requests = self.behind.requests();
        let new = requests[self.seen.replace(requests.len())..].iter();
        new.map(|request| {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
            Delivered { title: text("title"), body: text("message"), kind: text("type") }
        })
        .collect()
    }

    /// The only thing that it has delivered since the last time.
    #[track_caller]
    pub(crate) fn delivered_once(&self) -> Delivered {
        let mut delivered = self.delivered();
        assert_eq!(delivered.len(), 1, "{delivered:?}");
        delivered.remove(0)
    }
}

impl Drop for Apprise {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
