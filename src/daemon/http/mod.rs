//! The listener of status page and API: connections, limits, HTTPS.
//!
//! Each connection is served by hyper, with a limit for the time of its headers, and each request by `routes`. What a
//! request sees is rendered from the [board](super::board); no request asks the engine anything but what steering needs.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use self::shared::Peer;
pub use self::shared::Shared;
pub use self::socket::serve_socket;
use crate::config::Listener;
use crate::daemon::webhook::desk::Desk;

mod access;
mod answer;
mod approve;
mod events;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod hooks;
mod page;
mod plan;
mod routes;
mod shared;
mod socket;
mod steer;
mod usage;

/// How long the headers of a request, or a TLS handshake, may take. A connection that is not used is closed after the same
/// time.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// How many connections there are at most. Further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 256;

/// From one try to listen, or to accept, to the next.
const AGAIN: Duration = Duration::from_secs(1);

/// How often the files of certificate and key are looked at, at most.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(5);

/// Serves page and API for as long as it is polled. `told` gets the address once it listens.
pub async fn serve(listener: Listener, shared: Shared, told: impl FnOnce(SocketAddr)) {
    let socket = listen(listener.address).await;
    let address = socket.local_addr().unwrap_or(listener.address);
    let scheme = if listener.tls.is_some() { "https" } else { "http" };
    tracing::info!("page and API listen at {scheme}://{address}");
    told(address);
    let tls = listener.tls.clone().map(|(cert, key)| Certificate::new(cert, key));
    let desk = Arc::new(Desk::default());
    let router = routes::router(listener, shared.clone(), desk.clone());
    tokio::select! {
        () = accept(socket, tls, router) => {}
        () = desk.drive(&shared.board, &*shared.steering) => {}
    }
}

async fn accept(socket: TcpListener, mut tls: Option<Certificate>, router: axum::Router) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        let (stream, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most likely there are no file descriptors left.
                tracing::debug!(%error, "cannot accept a connection");
                sleep(AGAIN).await;
                continue;
            }
        };
        let acceptor = match &mut tls {
            None => None,
            Some(certificate) => match certificate.acceptor().await {
                Some(acceptor) => Some(acceptor),
                None => continue,
            },
        };
        let router = router.clone();
        tokio::spawn(async move {
            let _permit = permit;
            connection(stream, peer, acceptor, router).await;
        });
    }
}

async fn listen(address: SocketAddr) -> TcpListener {
    let mut is_said = false;
    loop {
        match bind(address).await {
            Ok(socket) => return socket,
            Err(error) => {
                if !std::mem::replace(&mut is_said, true) {
                    tracing::error!(
                        %error,
                        "cannot listen at {address} (GANTRY_HTTP_ADDRESS); updates go on without page and API, and Gantry \
                         tries again each second"
                    );
                }
                sleep(AGAIN).await;
            }
        }
    }
}

/// Listens; at the unspecified address of IPv6 for both families, and where there is no IPv6 for IPv4.
async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
            TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, tls: Option<TlsAcceptor>, router: axum::Router) {
    let _ = stream.set_nodelay(true);
    let peer = Some(peer);
    match tls {
        None => serve_connection(stream, peer, router).await,
        Some(acceptor) => {
            // A client that speaks no TLS, or hangs, is its own trouble.
            if let Ok(Ok(stream)) = timeout(HEAD_LIMIT, acceptor.accept(stream)).await {
                serve_connection(stream, peer, router).await;
            }
        }
    }
}

fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Option<SocketAddr>,
    router: axum::Router,
) -> impl Future<Output = ()> {
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(peer) = peer {
            request.extensions_mut().insert(Peer(peer));
        }
        router.clone().call(request.map(Body::new))
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service);
    async move {
        // A connection that breaks is its client's trouble.
        let _ = serving.await;
    }
}

/// The certificate of the listener, read again when its files change.
struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    looked: Option<Instant>,
    modified: Option<(SystemTime, SystemTime)>,
    acceptor: Option<TlsAcceptor>,
    told: String,
}

impl Certificate {
    fn new(cert: PathBuf, key: PathBuf) -> Self {
        Self { cert, key, looked: None, modified: None, acceptor: None, told: String::new() }
    }

    /// What accepts connections; `None`: there is no usable certificate.
    async fn acceptor(&mut self) -> Option<TlsAcceptor> {
        if self.looked.is_none_or(|looked| looked.elapsed() >= CERTIFICATE_INTERVAL) {
            self.looked = Some(Instant::now());
            match self.read().await {
                Ok(None) => {}
                Ok(Some(acceptor)) => {
                    self.acceptor = Some(acceptor);
                    self.told.clear();
                }
                Err(error) => {
                    if error != self.told {
                        tracing::error!(error, "cannot use the certificate of GANTRY_HTTP_TLS_CERT_FILE");
                        self.told = error;
                    }
                }
            }
        }
        self.acceptor.clone()
    }

    async fn read(&mut self) -> Result<Option<TlsAcceptor>, String> {
        let modified = modified(&self.cert).await.zip(modified(&self.key).await);
        if modified.is_some() && modified == self.modified {
            return Ok(None);
        }
        let text = async |path: &Path| {
            let read = timeout(HEAD_LIMIT, tokio::fs::read(path)).await;
            let read = read.map_err(|_| "its file system does not answer".to_owned())?;
            read.map_err(|error| format!("{}: {error}", path.display()))
        };
        let (cert, key) = (text(&self.cert).await?, text(&self.key).await?);
        let wrong = |path: &Path, error: &dyn fmt::Display| format!("{}: {error}", path.display());
        let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&cert).collect();
        let chain = chain.map_err(|error| wrong(&self.cert, &error))?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| wrong(&self.key, &error))?;
        let config = rustls::ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(chain, key).map_err(|error| wrong(&self.cert, &error))?;
        self.modified = modified;
        Ok(Some(TlsAcceptor::from(Arc::new(config))))
    }
}

async fn modified(path: &Path) -> Option<SystemTime> {
    let metadata = timeout(HEAD_LIMIT, tokio::fs::metadata(path)).await.ok()?.ok()?;
    metadata.modified().ok()
}
