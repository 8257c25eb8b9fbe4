//! HTTP with as little as possible: one request per connection, answered to its end.
//!
//! It speaks HTTP/1.0, to which neither an engine nor a registry answers in chunks.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// Longest wait for any part of an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// One request.
#[derive(Clone, Default)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
}

/// Its answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Request<'_> {
    /// Sends it to a Unix socket. An engine that is away is an error.
    pub(crate) fn to_socket(&self, socket: &Path) -> std::io::Result<Answer> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        self.exchange(stream, "engine")
    }

    /// Sends it to `address:port`.
    pub(crate) fn to_host(&self, host: &str) -> std::io::Result<Answer> {
        let stream = TcpStream::connect(host)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        self.exchange(stream, host)
    }

    fn exchange(&self, mut stream: impl Read + Write, host: &str) -> std::io::Result<Answer> {
        let mut head = format!("{} {} HTTP/1.0\r\nHost: {host}\r\n", self.method, self.path);
        for (name, value) in self.headers {
            write!(head, "{name}: {value}\r\n").map_err(std::io::Error::other)?;
        }
        write!(head, "Content-Length: {}\r\n\r\n", self.body.len()).map_err(std::io::Error::other)?;
        stream.write_all(head.as_bytes())?;
        stream.write_all(self.body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let end = end.ok_or_else(|| std::io::Error::other("an answer without an end of its head"))?;
        let body = answer.split_off(end + 4);
        let head = String::from_utf8_lossy(&answer).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        Ok(Answer { status, head, body })
    }
}

impl Answer {
    /// The answer, which must be a success.
    pub(crate) fn good(self) -> Self {
        assert!((200..300).contains(&self.status), "{}{}", self.head, self.text());
        self
    }

    /// A header, by its name in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null where it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}
