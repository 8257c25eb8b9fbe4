//! Small real HTTP servers: each answers by a closure and remembers what it was asked.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The query, decoded as far as tests need it: empty when there is none.
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Whether it came over TLS.
    pub has_tls: bool,
}

impl Request {
    /// A header's value; empty when it was not sent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

type Body = BoxBody<Bytes, std::io::Error>;

/// An answer.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A whole response.
    Response(http::Response<Body>),
    /// The connection is closed without a word.
    Cut,
}

impl Answer {
    /// A status with a body.
    pub(crate) fn new(status: u16, body: impl Into<Bytes>) -> Self {
        let body = Full::new(body.into()).map_err(|never: Infallible| match never {}).boxed();
        let mut response = http::Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        Self::Response(response)
    }

    /// A JSON document.
    pub(crate) fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status, body).with("content-type", "application/json")
    }

    /// A body that never ends.
    pub(crate) fn endless(status: u16) -> Self {
        let chunk = || Ok(Frame::data(Bytes::from_static(&[b' '; 16 * 1024])));
        let body = StreamBody::new(futures_util::stream::repeat_with(chunk));
        let mut response = http::Response::new(BodyExt::boxed(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        Self::Response(response)
    }

    /// A body that breaks off: less than its length says.
    pub(crate) fn broken_off(status: u16, body: &'static str) -> Self {
        let chunks =
            [Ok(Frame::data(Bytes::from_static(body.as_bytes()))), Err(std::io::Error::other("cut"))];
        let body = StreamBody::new(futures_util::stream::iter(chunks));
        let mut response = http::Response::new(BodyExt::boxed(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        Self::Response(response)
    }

    /// The same answer with one more header.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Response(response) = &mut self {
            response.headers_mut().append(name, value.parse().unwrap());
        }
        self
    }
}

/// How a server takes a connection, whatever the client begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Tls,
    Plain,
    /// It is closed without a word.
    Closed,
}

/// A server, on a free port of 127.0.0.1 as a rule. It ends with the test's runtime.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    scheme: &'static str,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Answers every request by `answer`.
    pub(crate) async fn start<A>(answer: A) -> Self
    where
        A: Fn(&Request) -> Answer + Send + Sync + 'static,
    {
        Self::start_slow(move |request| std::future::ready(answer(&request))).await
    }

    /// As [`Self::start`], with an answer that takes its time.
    pub(crate) async fn start_slow<A, F>(answer: A) -> Self
    where
        A: Fn(Request) -> F + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        Self::serve("127.0.0.1:0", answer, None).await
    }

    /// As [`Self::start`], with TLS.
    pub(crate) async fn start_tls<A>(config: Arc<rustls::ServerConfig>, answer: A) -> Self
    where
        A: Fn(&Request) -> Answer + Send + Sync + 'static,
    {
        Self::start_at("127.0.0.1:0", Some(config), answer).await
    }

    /// As [`Self::start`], at this address and perhaps with TLS.
    pub(crate) async fn start_at<A>(address: &str, tls: Option<Arc<rustls::ServerConfig>>, answer: A) -> Self
    where
        A: Fn(&Request) -> Answer + Send + Sync + 'static,
    {
        let answer = move |request| std::future::ready(answer(&request));
        Self::serve(address, answer, tls.map(TlsAcceptor::from)).await
    }

    /// A server that can do with and without TLS on one port. `wire` says of each connection how it is taken, told
    /// how the client begins.
    pub(crate) async fn start_on_either_wire<A>(
        config: Arc<rustls::ServerConfig>,
        wire: impl Fn(Wire) -> Wire + Send + Sync + 'static,
        answer: A,
    ) -> Self
    where
        A: Fn(&Request) -> Answer + Send + Sync + 'static,
    {
        let answer = move |request| std::future::ready(answer(&request));
        Self::serve_by("127.0.0.1:0", answer, Some(TlsAcceptor::from(config)), wire).await
    }

    /// A server that reads what comes and answers `bytes`, whatever that is.
    pub(crate) async fn start_raw(bytes: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bytes = Arc::new(bytes);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let bytes = Arc::clone(&bytes);
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let _ = stream.write_all(&bytes).await;
                    let _ = stream.flush().await;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                });
            }
        });
        Self { address, scheme: "http", requests: Arc::default(), connections: Arc::default() }
    }

    async fn serve<A, F>(address: &str, answer: A, tls: Option<TlsAcceptor>) -> Self
    where
        A: Fn(Request) -> F + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let wire = if tls.is_some() { Wire::Tls } else { Wire::Plain };
        Self::serve_by(address, answer, tls, move |_| wire).await
    }

    async fn serve_by<A, F>(
        address: &str,
        answer: A,
        tls: Option<TlsAcceptor>,
        wire: impl Fn(Wire) -> Wire + Send + Sync + 'static,
    ) -> Self
    where
        A: Fn(Request) -> F + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let server = Self {
            address: listener.local_addr().unwrap(),
            scheme,
            requests: Arc::default(),
            connections: Arc::default(),
        };
        let (requests, answer, wire) = (Arc::clone(&server.requests), Arc::new(answer), Arc::new(wire));
        let connections = Arc::clone(&server.connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, SeqCst);
                let (requests, answer) = (Arc::clone(&requests), Arc::clone(&answer));
                let (tls, wire) = (tls.clone(), Arc::clone(&wire));
                tokio::spawn(async move {
                    let mut first = [0];
                    let _ = stream.peek(&mut first).await;
                    // The type of a TLS handshake record.
                    let begun = if first == [22] { Wire::Tls } else { Wire::Plain };
                    match (wire(begun), tls) {
                        (Wire::Plain, _) => connection(stream, false, requests, answer).await,
                        (Wire::Tls, Some(tls)) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                connection(stream, true, requests, answer).await;
                            }
                        }
                        (Wire::Tls, None) | (Wire::Closed, _) => {}
                    }
                });
            }
        });
        server
    }

    /// Host and port.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// The URL of `path`, which begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// How many connections were made so far, those without a request included.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// All requests so far as `METHOD /path`, and forgets them.
    pub(crate) fn take(&self) -> Vec<String> {
        let requests = std::mem::take(&mut *self.requests.lock().unwrap());
        requests.iter().map(|request| format!("{} {}", request.method, request.path)).collect()
    }
}

async fn connection<A, F>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    has_tls: bool,
    requests: Arc<Mutex<Vec<Request>>>,
    answer: Arc<A>,
) where
    A: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let service = service_fn(move |incoming: http::Request<Incoming>| {
        let (requests, answer) = (Arc::clone(&requests), Arc::clone(&answer));
        async move {
            let (parts, body) = incoming.into_parts();
            let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let request = Request {
                method: parts.method,
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                headers: parts.headers,
                body,
                has_tls,
            };
            requests.lock().unwrap().push(request.clone());
            match answer(request).await {
                Answer::Response(response) => Ok(response),
                Answer::Cut => Err(std::io::Error::other("cut")),
            }
        }
    });
    // Broken connections are what some tests are about.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
