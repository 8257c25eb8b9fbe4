//! An HTTP server of the test's own on 127.0.0.1, for tests that are not async themselves.

use std::future::Future;

use tokio::runtime::{Builder, Runtime};

use crate::support::http::{Answer, Request, Server};

/// It ends when it is dropped.
pub(crate) struct HttpServer {
    server: Server,
    runtime: Option<Runtime>,
}

impl HttpServer {
    /// Answers every request by `answer`.
    pub(crate) fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_slow(move |request| std::future::ready(answer(&request)))
    }

    /// The same with an answer that takes its time.
    pub(crate) fn start_slow<F>(answer: impl Fn(Request) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = runtime.block_on(Server::start_slow(answer));
        Self { server, runtime: Some(runtime) }
    }

    /// Host and port.
    pub(crate) fn authority(&self) -> String {
        self.server.authority()
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        // An answer that never comes is not waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A port of this machine that no program uses.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
