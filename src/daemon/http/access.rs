//! Who may read and who may steer.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, Method, header};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;

use crate::config::{Listener, MIN_TOKEN, Source};
use crate::daemon::webhook::proof::HookToken;
use crate::secret::Secret;

/// The longest file of tokens that is read, in bytes.
const MAX_FILE: u64 = 64 << 10;

/// How long a file of tokens may take to read.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often a file of tokens is looked at, at most.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The time between two lines of the log about refused tokens.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

/// What a request may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing.
    Refused,
    /// Read.
    Read,
    /// Read and steer, in this name.
    Steer(String),
}

/// The tokens of the listener.
#[derive(Debug)]
pub(super) struct Tokens {
    read: Option<KnownTokens>,
    steer: Option<KnownTokens>,
    hook: Option<KnownTokens>,
    refused: Mutex<RefusedTokens>,
}

/// The tokens of one kind.
#[derive(Debug)]
enum KnownTokens {
    /// Given as a value.
    Value(Vec<NamedToken>),
    /// In a file that is read again when it changes. The name is that of a user whose token has no name.
    File(PathBuf, &'static str, tokio::sync::Mutex<TokenFile>),
}

/// A token and its name.
#[derive(Clone, Debug)]
struct NamedToken {
    name: String,
    hash: [u8; 32],
    /// The token itself: senders of webhooks sign with it.
    secret: Secret,
}

#[derive(Debug, Default)]
struct TokenFile {
    looked: Option<Instant>,
    modified: Option<SystemTime>,
    tokens: Vec<NamedToken>,
    /// The mistake that was told last.
    told: String,
}

#[derive(Debug, Default)]
struct RefusedTokens {
    told: Option<Instant>,
    by_address: BTreeMap<String, u64>,
}

impl Tokens {
    /// The tokens that the configuration names.
    pub(super) fn new(listener: &Listener) -> Self {
        let known = |source: &Option<Source>, name: &'static str| {
            source.as_ref().map(|source| match source {
                Source::Value(token) => KnownTokens::Value(vec![NamedToken::new(name, token.reveal())]),
                Source::File(path) => KnownTokens::File(path.clone(), name, tokio::sync::Mutex::default()),
            })
        };
        Self {
            read: known(&listener.read, "reader"),
            steer: known(&listener.steer, "operator"),
            hook: known(&listener.hook, "webhook"),
            refused: Mutex::default(),
        }
    }

    /// No tokens: reading needs none, and none steers.
    pub(super) fn none() -> Self {
        Self { read: None, steer: None, hook: None, refused: Mutex::default() }
    }

    /// Whether reading needs no token.
    pub(super) fn is_open(&self) -> bool {
        self.read.is_none()
    }

    /// Whether there is a token for steering.
    pub(super) fn can_steer(&self) -> bool {
        self.steer.is_some()
    }

    /// Whether there is a token for webhooks.
    pub(super) fn can_hook(&self) -> bool {
        self.hook.is_some()
    }

    /// The tokens of webhooks, as they are now.
    pub(super) async fn hook_tokens(&self) -> Vec<HookToken> {
        let tokens = match &self.hook {
            Some(known) => known.all().await,
            None => Vec::new(),
        };
        tokens.into_iter().map(|NamedToken { name, secret, .. }| HookToken { name, secret }).collect()
    }

    /// What a request with these headers may do.
    pub(super) async fn access(&self, headers: &HeaderMap, from: &str) -> Access {
        let given = token_of(headers);
        if let Some(token) = given {
            let hash = hash(token);
            if let Some(steer) = &self.steer
                && let Some(name) = steer.find(&hash).await
            {
                return Access::Steer(name);
            }
            if let Some(read) = &self.read
                && read.find(&hash).await.is_some()
            {
                return Access::Read;
            }
            self.note_refused(from);
        }
        // A wrong token is an answer worth giving even where none is needed to read.
        if self.is_open() && given.is_none() { Access::Read } else { Access::Refused }
    }

    /// Counts a refused token. The log has a line at most once a minute.
    pub(super) fn note_refused(&self, from: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let known = refused.by_address.len();
        if known < 100 || refused.by_address.contains_key(from) {
            *refused.by_address.entry(from.to_owned()).or_default() += 1;
        }
        if refused.told.is_none_or(|told| told.elapsed() >= TELL_INTERVAL) {
            refused.told = Some(Instant::now());
            for (address, times) in std::mem::take(&mut refused.by_address) {
                tracing::warn!(from = address, times, "a request with a wrong token was refused");
            }
        }
    }
}

impl KnownTokens {
    /// The name of the user whose token has this hash.
    async fn find(&self, hash: &[u8; 32]) -> Option<String> {
        match self {
            Self::Value(tokens) => find(tokens, hash),
            Self::File(path, name, loaded) => find(&loaded.lock().await.now(path, name).await.tokens, hash),
        }
    }

    /// All of them.
    async fn all(&self) -> Vec<NamedToken> {
        match self {
            Self::Value(tokens) => tokens.clone(),
            Self::File(path, name, loaded) => loaded.lock().await.now(path, name).await.tokens.clone(),
        }
    }
}

impl NamedToken {
    fn new(name: &str, token: &str) -> Self {
        Self { name: name.chars().take(64).collect(), hash: hash(token), secret: Secret::new(token) }
    }
}

impl TokenFile {
    /// The file as it is now. The name is that of a user whose token has no name.
    async fn now(&mut self, path: &PathBuf, name: &str) -> &Self {
        if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_INTERVAL) {
            self.load(path, name).await;
        }
        self
    }

    async fn load(&mut self, path: &PathBuf, name: &str) {
        self.looked = Some(Instant::now());
        let read = async {
            let metadata = tokio::fs::metadata(path).await.map_err(|error| error.to_string())?;
            if !metadata.is_file() || metadata.len() > MAX_FILE {
                return Err("it must be a file of at most 64 KiB".to_owned());
            }
            let modified = metadata.modified().ok();
            if modified.is_some() && modified == self.modified {
                return Ok(None);
            }
            let text = tokio::fs::read_to_string(path).await.map_err(|error| error.to_string())?;
            Ok(Some((modified, tokens(&text, name)?)))
        };
        let told = match tokio::time::timeout(PATIENCE, read).await {
            Ok(Ok(None)) => return,
            Ok(Ok(Some((modified, tokens)))) => {
                (self.modified, self.tokens) = (modified, tokens);
                String::new()
            }
            Ok(Err(error)) => error,
            Err(_) => "its file system does not answer".to_owned(),
        };
        if told != self.told && !told.is_empty() {
            // The tokens that were read before stay good.
            tracing::error!(error = told, "cannot read the tokens in {}", path.display());
        }
        self.told = told;
    }
}

fn find(tokens: &[NamedToken], hash: &[u8; 32]) -> Option<String> {
    // All are compared, so that the time tells nothing of which one it was.
    let mut found = None;
    for token in tokens {
        if bool::from(token.hash.ct_eq(hash)) {
            found = Some(token.name.clone());
        }
    }
    found
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Reads a file of tokens: one token, or lines of a name and a token.
fn tokens(text: &str, unnamed: &str) -> Result<Vec<NamedToken>, String> {
    let lines: Vec<(usize, &str)> = text
        .lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .collect();
    if lines.is_empty() {
        return Err("it has no token".to_owned());
    }
    let one = |(number, line): (usize, &str)| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, token) = match words[..] {
            [token] if lines.len() == 1 => (unnamed, token),
            [name, token] => (name, token),
            _ => return Err(format!("line {number}: expected a name and a token")),
        };
        if token.chars().count() < MIN_TOKEN {
            return Err(format!("line {number}: a token needs at least {MIN_TOKEN} characters"));
        }
        Ok(NamedToken::new(name, token))
    };
    lines.iter().copied().map(one).collect()
}

/// The token that a request has.
pub(super) fn token_of(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether a browser may have been sent here by another site. Programs that are no browsers say nothing of the kind. The rule
/// is that of Go 1.25's `CrossOriginProtection`.
pub(super) fn is_cross_site(method: &Method, headers: &HeaderMap) -> bool {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return false;
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let host = origin.split_once("://").map_or("", |(_, host)| host);
            text("host") != Some(host)
        }
        (None, None) => false,
    }
}

/// Whether a request may call the listener by this name. Where reading needs no token, the page of another site could read
/// Gantry's by a name that it makes point here (DNS rebinding).
pub(super) fn is_known_host(host: Option<&str>, hosts: &[String]) -> bool {
    let Some(host) = host else { return true };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(name, _)| name),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok()
        || hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let parsed = pairs.iter().map(|(name, value)| {
            (header::HeaderName::from_static(name), value.parse::<header::HeaderValue>().unwrap())
        });
        parsed.collect()
    }

    #[test]
    fn a_file_has_one_token_or_lines_with_names() {
        let names = |text: &str| {
            tokens(text, "operator")
                .map(|tokens| tokens.into_iter().map(|token| token.name).collect::<Vec<_>>())
        };
        assert_eq!(names("0123456789abcdef\n"), Ok(vec!["operator".to_owned()]));
        let two = "# people\nanna 0123456789abcdef\n\n ci  fedcba9876543210 \n";
        assert_eq!(names(two), Ok(vec!["anna".to_owned(), "ci".to_owned()]));
        for (text, error) in [
            ("", "it has no token"),
            ("anna 0123\n", "line 1: a token needs at least 16 characters"),
            ("0123456789abcdef\nfedcba9876543210\n", "line 1: expected a name and a token"),
            ("a b 0123456789abcdef\n", "line 1: expected a name and a token"),
        ] {
            assert_eq!(names(text), Err(error.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn another_site_cannot_steer_by_a_users_browser() {
        let post = |pairs: &[(&'static str, &str)]| is_cross_site(&Method::POST, &headers(pairs));
        assert!(!post(&[]), "no browser");
        assert!(!post(&[("sec-fetch-site", "same-origin")]) && !post(&[("sec-fetch-site", "none")]));
        assert!(post(&[("sec-fetch-site", "cross-site")]) && post(&[("sec-fetch-site", "same-site")]));
        assert!(!post(&[("origin", "https://gantry.test"), ("host", "gantry.test")]), "a proxy ends TLS");
        assert!(post(&[("origin", "https://evil.test"), ("host", "gantry.test")]));
        assert!(post(&[("origin", "null"), ("host", "gantry.test")]));
        assert!(!is_cross_site(&Method::GET, &headers(&[("sec-fetch-site", "cross-site")])));
    }

    #[test]
    fn without_a_token_only_known_names_may_be_used() {
        let hosts = ["gantry.test".to_owned()];
        for host in ["localhost:80", "127.0.0.1:8080", "[::1]:8080", "[::1]", "Gantry.test", "10.0.0.1"] {
            assert!(is_known_host(Some(host), &hosts), "{host}");
        }
        assert!(is_known_host(None, &hosts), "HTTP/1.0");
        for host in ["evil.test", "localhost.evil.test:80", "gantry.test.evil.test", ""] {
            assert!(!is_known_host(Some(host), &hosts), "{host}");
        }
    }

    #[test]
    fn only_a_bearer_token_counts() {
        assert_eq!(token_of(&headers(&[("authorization", "Bearer abc")])), Some("abc"));
        assert_eq!(token_of(&headers(&[("authorization", "bearer abc")])), Some("abc"));
        assert_eq!(token_of(&headers(&[("authorization", "Basic abc")])), None);
        assert_eq!(token_of(&headers(&[])), None);
    }
}
