//! Raw calls through bollard.
//!
//! bollard brings the transports (unix, tcp, TLS) and the mapping of errors. Its typed calls are not
//! used: they lose fields of specifications, fail on values they do not know, encode registry
//! credentials in the wrong alphabet and log bodies. Its `export_image` is the one call that returns a
//! body as it comes, and a request modifier can turn it into any other request; see [`Transport::open`].

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Uri};
use http_body_util::{Either, Full};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::elements::Elements;
use super::refusal::{meaning, route, silence};
use crate::config::EngineAddress;
use crate::descriptors;
use crate::heartbeat::Heartbeat;
use crate::meters::EngineMeter;
use crate::secret::Secret;
use crate::swarm::SwarmError;

/// Longest wait for an answer's headers, seconds. A leader election takes up to ten.
const HEADER_TIMEOUT_SECONDS: u64 = 30;

/// Longest time for a whole answer. 10,000 services are about 7 MB.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest answer that is read. 10,000 tasks are about 12 MB.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    method: Method,
    path: String,
    body: Bytes,
    auth: Option<Secret>,
}

impl Request {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn post(path: impl Into<String>, json: &str) -> Self {
        Self { body: Bytes::copy_from_slice(json.as_bytes()), ..Self::new(Method::POST, path) }
    }

    pub(super) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), body: Bytes::new(), auth: None }
    }

    pub(super) fn with_auth(mut self, auth: Option<&Secret>) -> Self {
        self.auth = auth.cloned();
        self
    }
}

/// A way to one engine. Connections are made per request, so an engine that comes back is found again.
pub(super) struct Transport {
    address: EngineAddress,
    docker: Mutex<Option<Docker>>,
    /// Beats with each answer: an engine that answers is honest work, however long it takes in all.
    heartbeat: Option<Heartbeat>,
    /// As many requests as there are descriptors for. A cycle with many workers must not starve itself.
    at_once: Semaphore,
    /// How long answers take.
    pub(super) meter: EngineMeter,
}

impl Transport {
    pub(super) fn new(address: EngineAddress, heartbeat: Option<Heartbeat>) -> Self {
        let at_once = Semaphore::new(descriptors::requests_at_once());
        Self { address, docker: Mutex::new(None), heartbeat, at_once, meter: EngineMeter::default() }
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn call(&self, request: Request) -> Result<Bytes, SwarmError> {
        let mut answer = BytesMut::new();
        self.read(request, |chunk| {
            answer.extend_from_slice(chunk);
            Ok(())
        })
        .await?;
        Ok(answer.freeze())
    }

    /// Sends a request and hands over the elements of the list that is the answer, as they come.
    pub(super) async fn each(
        &self,
        request: Request,
        mut found: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), SwarmError> {
        let mut elements = Elements::default();
        self.read(request, |chunk| elements.take(chunk, &mut found).map_err(SwarmError::Unreadable)).await?;
        elements.end().map_err(SwarmError::Unreadable)
    }

    /// Sends a request and hands over its answer piece by piece.
    async fn read(
        &self,
        request: Request,
        mut take: impl FnMut(&[u8]) -> Result<(), SwarmError>,
    ) -> Result<(), SwarmError> {
        let what = route(&request.method, &request.path);
        let read = async {
            // It is never closed.
            let _permit = self.at_once.acquire().await.ok();
            let mut chunks = std::pin::pin!(self.open(request)?);
            let mut length = 0;
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk?;
                length += chunk.len();
                if length > MAX_ANSWER_BYTES {
                    return Err(SwarmError::Unreadable(format!("more than {MAX_ANSWER_BYTES} bytes")));
                }
                take(&chunk)?;
            }
            Ok(())
        };
        let asked = Instant::now();
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, read).await.unwrap_or_else(|_| {
            let seconds = ANSWER_TIMEOUT.as_secs();
            Err(SwarmError::Unavailable(format!("{}: no answer to {what} in {seconds} s", self.address)))
        });
        self.meter.took(asked.elapsed());
        answer
    }

    /// Sends a request and returns its answer as it comes.
    pub(super) fn open(
        &self,
        request: Request,
    ) -> Result<impl Stream<Item = Result<Bytes, SwarmError>> + Send + use<>, SwarmError> {
        let path = PathAndQuery::try_from(request.path.as_str())
            .map_err(|error| SwarmError::Refused(format!("{error} in {:?}", request.path)))?;
        let auth = request
            .auth
            .as_ref()
            .map(|auth| HeaderValue::from_str(auth.reveal()))
            .transpose()
            .map_err(|_| SwarmError::Refused("the credentials make no header".to_owned()))?;
        let what = route(&request.method, &request.path);
        let docker = self.docker()?.with_request_modifier(move |mut raw| {
            let mut uri = raw.uri().clone().into_parts();
            // No version prefix: the engine then speaks its newest API and strips no field.
            uri.path_and_query = Some(path.clone());
            if let Ok(uri) = Uri::from_parts(uri) {
                *raw.uri_mut() = uri;
            }
            raw.method_mut().clone_from(&request.method);
            if let Some(auth) = auth.clone() {
                raw.headers_mut().insert("X-Registry-Auth", auth);
            }
            *raw.body_mut() = Either::Left(Full::new(request.body.clone()));
            raw
        });
        let chunks = docker.export_image("-");
        let (address, heartbeat) = (self.address.clone(), self.heartbeat.clone());
        Ok(chunks.map(move |chunk| {
            let is_answer = matches!(chunk, Ok(_) | Err(Error::DockerResponseServerError { .. }));
            if let Some(heartbeat) = heartbeat.as_ref().filter(|_| is_answer) {
                heartbeat.beat(Instant::now());
                heartbeat.see_engine();
            }
            chunk.map_err(|error| translate(&error, &what, &address))
        }))
    }

    fn docker(&self) -> Result<Docker, SwarmError> {
        let mut cached = self.docker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(docker) = cached.as_ref() {
            return Ok(docker.clone());
        }
        let docker = connect(&self.address).map_err(|error| unsent(&error, &self.address))?;
        Ok(cached.insert(docker).clone())
    }
}

fn connect(address: &EngineAddress) -> Result<Docker, Error> {
    let version = bollard::API_DEFAULT_VERSION;
    match address {
        EngineAddress::Unix(path) => {
            Docker::connect_with_unix(&path.to_string_lossy(), HEADER_TIMEOUT_SECONDS, version)
        }
        EngineAddress::Tcp { host, tls: None } => {
            Docker::connect_with_http(host, HEADER_TIMEOUT_SECONDS, version)
        }
        EngineAddress::Tcp { host, tls: Some(folder) } => Docker::connect_with_ssl(
            host,
            &folder.join("key.pem"),
            &folder.join("cert.pem"),
            &folder.join("ca.pem"),
            HEADER_TIMEOUT_SECONDS,
            version,
        ),
    }
}

/// What an error says of the engine at this address. `what` is the request.
fn translate(error: &Error, what: &str, address: &EngineAddress) -> SwarmError {
    match error {
        Error::DockerResponseServerError { status_code, message } => meaning(*status_code, message, what),
        other => unsent(other, address),
    }
}

/// What an error says that is no answer of the engine.
fn unsent(error: &Error, address: &EngineAddress) -> SwarmError {
    let words = format!("{address}: {}", silence(error));
    match descriptors::remedy(error) {
        Some(remedy) => SwarmError::NoDescriptor(format!("{words}; {remedy}")),
        None => SwarmError::Unavailable(words),
    }
}
