//! A proxy that leads to one server, whatever name it is asked for.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::http::Server;

/// A proxy, and the heads of the requests that it got. It ends with the test's runtime.
pub(crate) struct Way {
    /// `address:port`
    pub(crate) address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Way {
    /// As [`Self::at`], on a free port of 127.0.0.1.
    pub(crate) async fn to(server: &Server, status: &'static str) -> Self {
        Self::at("127.0.0.1:0", server, status).await
    }

    /// Answers `CONNECT` with `status` and, where that is 200, connects.
    pub(crate) async fn at(address: &str, server: &Server, status: &'static str) -> Self {
        let (listener, target) = (TcpListener::bind(address).await.unwrap(), server.authority());
        let address = listener.local_addr().unwrap().to_string();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(lead(stream, target.clone(), status, Arc::clone(&seen)));
            }
        });
        Self { address, heads }
    }

    /// The first line of each request, and its account.
    pub(crate) fn taken(&self) -> Vec<String> {
        let heads = std::mem::take(&mut *self.heads.lock().unwrap());
        let told = |head: String| {
            let account = head.lines().find_map(|line| line.strip_prefix("proxy-authorization: "));
            let line = head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
            account.map_or(line.clone(), |account| format!("{line} {account}"))
        };
        heads.into_iter().map(told).collect()
    }
}

async fn lead(mut stream: TcpStream, target: String, status: &str, seen: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    seen.lock().unwrap().push(head.clone());
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    if head.starts_with("CONNECT") {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes()).await;
        if !status.starts_with("200") {
            return;
        }
    } else {
        let _ = server.write_all(head.as_bytes()).await;
    }
    let _ = copy_bidirectional(&mut stream, &mut server).await;
}
