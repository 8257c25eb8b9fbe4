//! A proxy that stands between Gantry and an engine, or a registry, and does to its requests what networks,
//! proxies and overloaded servers do.
//!
//! It speaks HTTP/1.1 on both sides and makes a connection of its own for each request, so that what happens to
//! one request happens to no other, but where the whole server goes away.

use std::future::pending;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Method, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// What happens to a request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// It arrives so much later.
    Late(Duration),
    /// It arrives, and its answer comes so much later.
    Held(Duration),
    /// It never arrives, and nobody says so.
    Lost,
    /// It never arrives; the connection is cut.
    CutBefore,
    /// It arrives; the connection is cut before its answer.
    CutAfter,
    /// It arrives; the connection is cut half-way through its answer.
    Truncated,
    /// It never arrives; the proxy answers this status.
    Answer(u16),
    /// It arrives; the proxy answers this status.
    AnswerAfter(u16),
    /// It arrives; the answer is a page of somebody else's.
    OtherPage,
    /// It never arrives, and all connections are cut; then nothing listens for so long.
    Away(Duration),
    /// The same, but there is somebody who closes every connection: a proxy that has lost its server.
    HangsUp(Duration),
}

/// A request as it came to the proxy.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub method: Method,
    /// Path and query, as sent.
    pub path: String,
    /// What made it: the first header `User-Agent`.
    pub agent: String,
}

/// Where something listens.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

type Body = UnsyncBoxBody<Bytes, std::io::Error>;
type Plan = Box<dyn FnMut(usize, &Seen) -> Option<Mishap> + Send>;

/// A running proxy. It ends when this is dropped, and all its connections with it.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    address: Address,
    listening: JoinHandle<()>,
}

struct Shared {
    server: Address,
    plan: Mutex<Plan>,
    /// Requests that came, those that never arrive included, and connections that were closed at once.
    seen: Mutex<Vec<Seen>>,
    hung_up: Mutex<usize>,
    outages: mpsc::UnboundedSender<Outage>,
}

struct Outage {
    lasts: Duration,
    somebody_listens: bool,
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

impl Proxy {
    /// Listens at `address` and passes everything on to `server`. `plan` says what happens to each request, the
    /// first being 0. A TCP port of 0 is any.
    pub(crate) async fn start(
        address: Address,
        server: Address,
        plan: impl FnMut(usize, &Seen) -> Option<Mishap> + Send + 'static,
    ) -> Self {
        let (outages, outage) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            server,
            plan: Mutex::new(Box::new(plan)),
            seen: Mutex::default(),
            hung_up: Mutex::default(),
            outages,
        });
        let listener = Listener::at(&address).await;
        let address = listener.address(&address);
        let listening = tokio::spawn(listen(listener, address.clone(), shared.clone(), outage));
        Self { shared, address, listening }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Host and port of a proxy that listens on TCP.
    pub(crate) fn authority(&self) -> String {
        match &self.address {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(path) => panic!("{} has no port", path.display()),
        }
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How many connections were closed without a word, because the server had gone.
    pub(crate) fn hung_up(&self) -> usize {
        *self.shared.hung_up.lock().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        if let Address::Unix(path) = &self.address {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Listener {
    async fn at(address: &Address) -> Self {
        match address {
            Address::Unix(path) => Self::unix(path),
            // Somebody may have got the port for a moment meanwhile.
            Address::Tcp(address) => loop {
                match TcpListener::bind(address).await {
                    Ok(listener) => return Self::Tcp(listener),
                    Err(error) => {
                        assert_ne!(address.port(), 0, "{error}");
                        sleep(Duration::from_millis(20)).await;
                    }
                }
            },
        }
    }

    fn unix(path: &Path) -> Self {
        let _ = std::fs::remove_file(path);
        Self::Unix(UnixListener::bind(path).expect("a place for a socket"))
    }

    fn address(&self, asked: &Address) -> Address {
        match self {
            Self::Unix(_) => asked.clone(),
            Self::Tcp(listener) => Address::Tcp(listener.local_addr().expect("an address")),
        }
    }

    async fn accept(&self) -> std::io::Result<Box<dyn Wire>> {
        Ok(match self {
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

async fn listen(
    mut listener: Listener,
    address: Address,
    shared: Arc<Shared>,
    mut outage: mpsc::UnboundedReceiver<Outage>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok(wire) = accepted else { continue };
                while connections.try_join_next().is_some() {}
                connections.spawn(connection(wire, shared.clone()));
            }
            Some(Outage { lasts, somebody_listens }) = outage.recv() => {
                connections.abort_all();
                if somebody_listens {
                    let over = sleep(lasts);
                    tokio::pin!(over);
                    loop {
                        tokio::select! {
                            () = &mut over => break,
                            accepted = listener.accept() => {
                                drop(accepted);
                                *shared.hung_up.lock().unwrap() += 1;
                            }
                        }
                    }
                } else {
                    drop(listener);
                    if let Address::Unix(path) = &address {
                        let _ = std::fs::remove_file(path);
                    }
                    sleep(lasts).await;
                    listener = Listener::at(&address).await;
                }
            }
        }
    }
}

async fn connection(wire: Box<dyn Wire>, shared: Arc<Shared>) {
    let service = service_fn(move |request: http::Request<Incoming>| exchange(request, shared.clone()));
    // Connections that break are what this is about.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(wire), service).await;
}

async fn exchange(
    request: http::Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<Body>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let agent = parts.headers.get(http::header::USER_AGENT);
    let seen = Seen {
        method: parts.method.clone(),
        path: parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        agent: agent.map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned()).unwrap_or_default(),
    };
    let mishap = {
        let mut all = shared.seen.lock().unwrap();
        all.push(seen.clone());
        (shared.plan.lock().unwrap())(all.len() - 1, &seen)
    };
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let passed_on = || pass_on(parts, body, &shared.server);
    match mishap {
        None => passed_on().await,
        Some(Mishap::Late(time)) => {
            sleep(time).await;
            passed_on().await
        }
        Some(Mishap::Held(time)) => {
            let answer = passed_on().await;
            sleep(time).await;
            answer
        }
        Some(Mishap::Lost) => pending().await,
        Some(Mishap::CutBefore) => Err(cut()),
        Some(Mishap::CutAfter) => {
            passed_on().await?;
            Err(cut())
        }
        Some(Mishap::Truncated) => passed_on().await.map(broken_off),
        Some(Mishap::Answer(status)) => Ok(own(status)),
        Some(Mishap::AnswerAfter(status)) => {
            passed_on().await?;
            Ok(own(status))
        }
        Some(Mishap::OtherPage) => {
            passed_on().await?;
            Ok(page("text/html", "<html><body>Please log in to the network.</body></html>"))
        }
        Some(Mishap::Away(lasts)) => go_away(&shared, lasts, false).await,
        Some(Mishap::HangsUp(lasts)) => go_away(&shared, lasts, true).await,
    }
}

fn cut() -> std::io::Error {
    std::io::Error::other("cut")
}

/// Ends with the connection.
async fn go_away<T>(shared: &Shared, lasts: Duration, somebody_listens: bool) -> T {
    let _ = shared.outages.send(Outage { lasts, somebody_listens });
    pending().await
}

async fn pass_on(
    mut parts: http::request::Parts,
    body: Bytes,
    server: &Address,
) -> Result<Response<Body>, std::io::Error> {
    let wire: Box<dyn Wire> = match server {
        Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
        Address::Tcp(address) => Box::new(TcpStream::connect(address).await?),
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(wire)).await.map_err(std::io::Error::other)?;
    tokio::spawn(connection);
    if parts.headers.remove(TRANSFER_ENCODING).is_some() {
        parts.headers.remove(CONTENT_LENGTH);
    }
    let request = http::Request::from_parts(parts, Full::new(body));
    let answer = sender.send_request(request).await.map_err(std::io::Error::other)?;
    Ok(answer.map(|body| body.map_err(std::io::Error::other).boxed_unsync()))
}

/// The same answer, of which half the first piece comes.
fn broken_off(answer: Response<Body>) -> Response<Body> {
    answer.map(|mut body| {
        let pieces = stream::once(async move {
            match body.frame().await {
                Some(Ok(frame)) => frame.into_data().map_err(|_| cut()),
                _ => Err(cut()),
            }
        });
        let half = pieces.flat_map(|piece: Result<Bytes, std::io::Error>| {
            let half = piece.map(|piece| Frame::data(piece.slice(..piece.len() / 2)));
            stream::iter([half, Err(cut())])
        });
        StreamBody::new(half).boxed_unsync()
    })
}

/// What the proxy itself has to say.
fn own(status: u16) -> Response<Body> {
    let mut answer = page("application/json", r#"{"message":"the proxy has no answer"}"#);
    *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
    answer
}

fn page(kind: &'static str, text: &'static str) -> Response<Body> {
    let text = Full::new(Bytes::from_static(text.as_bytes()));
    let mut answer = Response::new(text.map_err(|never| match never {}).boxed_unsync());
    answer.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    answer
}
