//! Small servers for the benchmarks: one that answers from a function, and one that counts what passes.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};

/// What a server answers.
pub(crate) type Answer = Arc<dyn Fn(&Request<hyper::body::Incoming>) -> Response<Full<Bytes>> + Send + Sync>;

/// Serves on a socket.
pub(crate) fn serve_unix(path: &Path, answer: Answer) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let listener = UnixListener::bind(path).unwrap();
    let counted = count.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve_one(stream, answer.clone(), counted.clone()));
        }
    });
    count
}

/// Serves on a free port of the loopback address; returns the address.
pub(crate) async fn serve_tcp(answer: Answer) -> (String, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let counted = count.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve_one(stream, answer.clone(), counted.clone()));
        }
    });
    (address, count)
}

async fn serve_one(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    answer: Answer,
    count: Arc<AtomicUsize>,
) {
    let service = service_fn(move |request| {
        count.fetch_add(1, Ordering::Relaxed);
        let response = answer(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Passes everything on to the engine's socket and counts the connections. The client makes one for each
/// request, so these are the requests.
pub(crate) fn count_connections(path: &Path, engine: &Path) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let listener = UnixListener::bind(path).unwrap();
    let (counted, engine) = (count.clone(), engine.to_owned());
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            let mut engine = UnixStream::connect(&engine).await.unwrap();
            tokio::spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut engine).await;
            });
        }
    });
    count
}
