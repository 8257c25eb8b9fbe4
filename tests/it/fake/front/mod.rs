//! The engine's HTTP API in front of a [`FakeSwarm`], on a Unix socket or a TCP port: what the real
//! `gantry::swarm::engine::Engine`, the real binary or a docker client talk to.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use gantry::config::EngineAddress;
use http::{Method, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{JoinHandle, JoinSet};

use super::handle::FakeSwarm;

mod configs;
mod query;
mod render;
mod routes;

pub(super) type Body = BoxBody<Bytes, std::io::Error>;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    /// Path and query, as sent.
    pub path: String,
    /// `X-Registry-Auth`, as sent.
    pub auth: Option<String>,
    pub body: Bytes,
}

/// An answer that the swarm had no part in.
#[derive(Clone, Debug)]
pub enum Instead {
    /// This status and body.
    Answer(u16, String),
    /// No answer, ever.
    Silence,
    /// The connection is closed without a word.
    Cut,
    /// The connection is closed after the beginning of an answer of status 200.
    CutAfter(String),
    /// Status 200 and white space without end.
    Spaces,
}

type Tampering = Box<dyn Fn(&Seen) -> Option<Instead> + Send + Sync>;

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    tampering: Mutex<Option<Tampering>>,
}

/// A running server. It ends when this is dropped, and all its connections with it.
pub struct Front {
    address: EngineAddress,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
    socket: Option<PathBuf>,
}

impl Front {
    /// Listens on a Unix socket.
    pub fn unix(swarm: &FakeSwarm, path: &Path) -> Self {
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).expect("a place for a socket");
        let (swarm, shared) = (swarm.clone(), Arc::<Shared>::default());
        let accepting = shared.clone();
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(connection(stream, swarm.clone(), accepting.clone()));
            }
        });
        Self { address: EngineAddress::Unix(path.to_owned()), shared, serving, socket: Some(path.to_owned()) }
    }

    /// Listens on a port of 127.0.0.1.
    pub async fn tcp(swarm: &FakeSwarm) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address: SocketAddr = listener.local_addr().expect("an address");
        let (swarm, shared) = (swarm.clone(), Arc::<Shared>::default());
        let accepting = shared.clone();
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(connection(stream, swarm.clone(), accepting.clone()));
            }
        });
        let address = EngineAddress::Tcp { host: address.to_string(), tls: None };
        Self { address, shared, serving, socket: None }
    }

    /// Where it listens.
    pub fn address(&self) -> EngineAddress {
        self.address.clone()
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on, requests for which this gives an answer get that one.
    pub fn tamper(&self, tampering: impl Fn(&Seen) -> Option<Instead> + Send + Sync + 'static) {
        *self.shared.tampering.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(tampering));
    }

    /// From now on, requests whose path begins so get this answer.
    pub fn answer(&self, path: &str, instead: Instead) {
        let path = path.to_owned();
        self.tamper(move |seen| seen.path.starts_with(&path).then(|| instead.clone()));
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
        if let Some(socket) = &self.socket {
            let _ = std::fs::remove_file(socket);
        }
    }
}

async fn connection<S>(stream: S, swarm: FakeSwarm, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |incoming: http::Request<Incoming>| {
        let (swarm, shared) = (swarm.clone(), shared.clone());
        async move {
            let (parts, body) = incoming.into_parts();
            let seen = Seen {
                path: parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
                auth: parts
                    .headers
                    .get("X-Registry-Auth")
                    .map(|auth| String::from_utf8_lossy(auth.as_bytes()).into_owned()),
                method: parts.method,
                body: body.collect().await.map_err(std::io::Error::other)?.to_bytes(),
            };
            shared.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen.clone());
            let instead = {
                let tampering = shared.tampering.lock().unwrap_or_else(PoisonError::into_inner);
                tampering.as_ref().and_then(|tampering| tampering(&seen))
            };
            match instead {
                Some(instead) => instead.into_response().await,
                None => routes::answer(&swarm, &seen).await,
            }
        }
    });
    // Connections that break are what some tests are about.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Instead {
    async fn into_response(self) -> Result<Response<Body>, std::io::Error> {
        match self {
            Self::Answer(status, body) => Ok(response(status, body)),
            Self::Silence => std::future::pending().await,
            Self::Cut => Err(std::io::Error::other("cut")),
            Self::CutAfter(body) => {
                let chunks = [Ok(Frame::data(Bytes::from(body))), Err(std::io::Error::other("cut"))];
                Ok(Response::new(BodyExt::boxed(StreamBody::new(futures_util::stream::iter(chunks)))))
            }
            Self::Spaces => {
                let chunk = Bytes::from(vec![b' '; 1 << 16]);
                let chunks = futures_util::stream::repeat_with(move || Ok(Frame::data(chunk.clone())));
                Ok(Response::new(BodyExt::boxed(StreamBody::new(chunks))))
            }
        }
    }
}

/// A whole answer with the engine's headers.
pub(super) fn response(status: u16, body: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    let headers = [
        ("Api-Version", "1.51"),
        ("Content-Type", "application/json"),
        ("Docker-Experimental", "false"),
        ("Ostype", "linux"),
        ("Server", "Docker/28.5.2 (linux)"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, http::HeaderValue::from_static(value));
    }
    response
}
