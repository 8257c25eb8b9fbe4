//! A token server: <https://distribution.github.io/distribution/spec/auth/token/>, as little of it as a real
//! registry and real engines need.

use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, SigningKey as _};
use serde_json::json;
use tokio::runtime::Runtime;

use super::{Account, Stage};
use crate::support::http::{Answer, Request, Server};

/// A small server with the threads that it needs: for tests that are not asynchronous themselves.
pub(crate) struct Served {
    pub(crate) server: Server,
    runtime: Option<Runtime>,
}

impl Served {
    /// Answers at this address, perhaps with TLS.
    pub(crate) fn at<A>(address: &str, tls: Option<Arc<rustls::ServerConfig>>, answer: A) -> Self
    where
        A: Fn(&Request) -> Answer + Send + Sync + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let server = runtime.block_on(Server::start_at(address, tls, answer));
        Self { server, runtime: Some(runtime) }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(std::time::Duration::from_secs(5));
        }
    }
}

/// Who signs tokens, and what it lets them be.
pub(crate) struct Issuer {
    authority: CertifiedIssuer<'static, KeyPair>,
    /// What it tells its clients, in seconds.
    pub(crate) told_life: AtomicI64,
    /// How long the registry takes a token, in seconds.
    pub(crate) life: AtomicI64,
}

/// How long after its end a registry still takes a token (`Leeway` in distribution's `token.go`), in seconds.
const LEEWAY: i64 = 60;

impl Issuer {
    pub(crate) const NAME: &'static str = "lab-issuer";
    pub(crate) const SERVICE: &'static str = "lab-registry";

    fn new() -> Self {
        gantry::tls::install_crypto_provider();
        let params = CertificateParams::new(vec![Self::NAME.to_owned()]).unwrap();
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { authority, told_life: AtomicI64::new(300), life: AtomicI64::new(300) }
    }

    /// The certificate that the registry believes.
    pub(crate) fn certificate(&self) -> String {
        self.authority.pem()
    }

    /// A token for these actions on a repository, which the registry takes for so many seconds.
    pub(crate) fn token(&self, repository: &str, actions: &[&str], life: i64) -> String {
        let now = jiff::Timestamp::now().as_second();
        let certificate = STANDARD.encode(self.authority.der());
        let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [certificate] });
        let access = if actions.is_empty() {
            json!([])
        } else {
            json!([{ "type": "repository", "name": repository, "actions": actions }])
        };
        let end = now + life - LEEWAY;
        let claims = json!({ "iss": Self::NAME, "sub": "somebody", "aud": Self::SERVICE, "exp": end,
                             "nbf": now - LEEWAY, "iat": now, "jti": "1", "access": access });
        let encode = |part: serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = plain(&self.authority.key().sign(signed.as_bytes()).unwrap());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The two numbers of an ECDSA signature, each in 32 bytes as JWT wants them, out of their DER form.
fn plain(der: &[u8]) -> Vec<u8> {
    let mut rest = &der[2..];
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let (number, after) = rest[2..].split_at(usize::from(rest[1]));
        let digits = &number[number.len().saturating_sub(32)..];
        numbers.extend(std::iter::repeat_n(0, 32 - digits.len()).chain(digits.iter().copied()));
        rest = after;
    }
    numbers
}

/// What was asked for at a token server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Whether it was the program itself and not an engine.
    pub(crate) is_gantry: bool,
    /// The account's name; empty: nobody. What was wrong is `!`.
    pub(crate) user: String,
    /// The last part of the repository's name.
    pub(crate) repository: String,
}

/// A token server at which accounts may pull from the repository of their own name and from `team`.
pub(crate) struct TokenServer {
    pub(crate) issuer: Arc<Issuer>,
    asked: Arc<Mutex<Vec<Asked>>>,
    accounts: Arc<Vec<(Account, &'static str)>>,
    address: String,
    served: Option<Served>,
}

impl TokenServer {
    /// Starts it with these accounts and their identity tokens.
    pub(crate) fn start(stage: &Stage, accounts: &[(Account, &'static str)]) -> Self {
        let mut server = Self {
            issuer: Arc::new(Issuer::new()),
            asked: Arc::default(),
            accounts: Arc::new(accounts.to_vec()),
            address: format!("{}:0", stage.lab.host),
            served: None,
        };
        server.come_back();
        server
    }

    /// It is away from now on.
    pub(crate) fn go_away(&mut self) {
        self.served = None;
    }

    /// It is at its address again.
    pub(crate) fn come_back(&mut self) {
        let (issuer, asked, accounts) =
            (Arc::clone(&self.issuer), Arc::clone(&self.asked), Arc::clone(&self.accounts));
        let served =
            Served::at(&self.address, None, move |request| answer(request, &issuer, &asked, &accounts));
        self.address = served.server.authority();
        self.served = Some(served);
    }

    /// Where the registry sends its clients.
    pub(crate) fn realm(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// What it was asked for so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How many tokens the program itself has asked for so far.
    pub(crate) fn asked_by_gantry(&self) -> usize {
        self.asked().iter().filter(|asked| asked.is_gantry).count()
    }
}

fn answer(
    request: &Request,
    issuer: &Issuer,
    asked: &Mutex<Vec<Asked>>,
    accounts: &[(Account, &str)],
) -> Answer {
    let form = String::from_utf8_lossy(&request.body).into_owned();
    let parameters = if request.method == "POST" { &form } else { &request.query };
    let parameter = |name: &str| {
        let decode = |text: &str| {
            percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
        };
        let mut pairs = parameters.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| decode(value)).unwrap_or_default()
    };
    let sent = request.header("authorization").strip_prefix("Basic ").unwrap_or_default();
    let user = if request.method == "POST" {
        let token = parameter("refresh_token");
        accounts.iter().find(|(_, identity)| *identity == token).map_or("!", |(account, _)| account.user)
    } else if sent.is_empty() {
        ""
    } else {
        accounts.iter().find(|(account, _)| account.encoded() == sent).map_or("!", |(it, _)| it.user)
    };
    let scope = parameter("scope");
    let repository = scope.split(':').nth(1).unwrap_or_default();
    let own = repository.rsplit('/').next().unwrap_or_default();
    asked.lock().unwrap().push(Asked {
        is_gantry: request.header("user-agent").starts_with("gantry/"),
        user: user.to_owned(),
        repository: own.to_owned(),
    });
    if user == "!" {
        return Answer::json(401, r#"{"details":"incorrect username or password"}"#);
    }
    let may_pull = !user.is_empty() && (own == "team" || own == user);
    let token = issuer.token(repository, if may_pull { &["pull"] } else { &[] }, issuer.life.load(SeqCst));
    let life = issuer.told_life.load(SeqCst);
    Answer::json(200, json!({ "token": token, "access_token": token, "expires_in": life }).to_string())
}
