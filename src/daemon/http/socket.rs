//! The listener at the daemon's [socket](crate::local_socket): the same routes, for who can open the socket.
//!
//! The socket is there whatever `GANTRY_HTTP_ADDRESS` says. The health check and the commands of the command line use it.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::shared::Shared;
use super::{AGAIN, routes, serve_connection};
use crate::local_socket::{self, SocketClaim};

/// How many connections there are at most. Further ones wait in the kernel's queue.
const MAX_SOCKET_CONNECTIONS: usize = 64;

/// The user who steers over the socket, as log and history name that user.
const OWNER: &str = "docker-exec";

/// Serves page and API at the first of these places that can have a socket, for as long as it is polled.
pub async fn serve_socket(places: Vec<PathBuf>, shared: Shared) {
    let router = routes::router_of_socket(shared, OWNER);
    let mut is_said = false;
    loop {
        let Err(error) = accept(places.clone(), &router).await;
        if !std::mem::replace(&mut is_said, true) {
            tracing::warn!(error, "health checks and commands are not answered; trying on");
        }
        sleep(AGAIN).await;
    }
}

async fn accept(places: Vec<PathBuf>, router: &axum::Router) -> Result<Infallible, String> {
    let claimed = tokio::task::spawn_blocking(move || local_socket::claim(&places)).await;
    let claim = claimed.unwrap_or_else(|error| Err(error.to_string()))?;
    let SocketClaim { listener, .. } = &claim;
    let listener =
        listener.try_clone().and_then(UnixListener::from_std).map_err(|error| error.to_string())?;
    let connections = Arc::new(Semaphore::new(MAX_SOCKET_CONNECTIONS));
    loop {
        let permit = connections.clone().acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    let _permit = permit;
                    serve_connection(stream, None, router).await;
                });
            }
            Err(error) => {
                // Most likely there are no file descriptors left.
                tracing::debug!(%error, "cannot accept a connection");
                sleep(AGAIN).await;
            }
        }
    }
}
