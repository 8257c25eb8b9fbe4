//! Which registries are trusted how: as the engine's own configuration says.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use gantry::hosts::IndexConfig;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::*;
use crate::support::http::{Request, Wire};

/// A certificate authority, a server's certificate for 127.0.0.1 by it, and a client's with its key.
pub(crate) struct Pki {
    pub(crate) authority: String,
    server: Arc<rustls::ServerConfig>,
    /// The same server, which admits only who shows a certificate.
    pub(crate) strict_server: Arc<rustls::ServerConfig>,
    pub(crate) client: (String, String),
}

impl Pki {
    /// The server that admits everybody.
    pub(crate) fn open(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.server)
    }
}

pub(crate) fn pki() -> Pki {
    gantry::tls::install_crypto_provider();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    let client_key = KeyPair::generate().unwrap();
    let client = CertificateParams::new(vec!["gantry".to_owned()]).unwrap();
    let client = client.signed_by(&client_key, &authority).unwrap();

    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    let chain = || vec![certificate.der().clone()];
    let server_key = || key.serialize_der().try_into().unwrap();
    let open = rustls::ServerConfig::builder().with_no_client_auth();
    let strict = rustls::ServerConfig::builder().with_client_cert_verifier(verifier);
    Pki {
        authority: authority.pem(),
        server: Arc::new(open.with_single_cert(chain(), server_key()).unwrap()),
        strict_server: Arc::new(strict.with_single_cert(chain(), server_key()).unwrap()),
        client: (client.pem(), client_key.serialize_pem()),
    }
}

/// The engine insists on TLS with this server, although it is on loopback.
pub(super) fn secure(server: &Server) -> Arc<EngineRegistries> {
    let index = IndexConfig { secure: true, mirrors: Vec::new() };
    Arc::new(EngineRegistries {
        index_configs: [(server.authority(), index)].into(),
        ..EngineRegistries::default()
    })
}

pub(super) fn with_certificates(folder: &Path) -> HttpRegistry {
    HttpRegistry::new(Settings {
        limits: limits(),
        certificates: folder.to_owned(),
        docker_hub: "http://127.0.0.1:1".to_owned(),
        proxies: Proxies::default(),
    })
}

fn with_hub(url: &str) -> HttpRegistry {
    HttpRegistry::new(Settings {
        limits: limits(),
        certificates: "/nonexistent".into(),
        docker_hub: url.to_owned(),
        proxies: Proxies::default(),
    })
}

#[tokio::test]
async fn plain_http_is_not_spoken_where_the_engine_would_not() {
    let server = Server::start(|_| known()).await;
    let lookup = Lookup { hosts: secure(&server), ..lookup(&server, "app") };
    let error = registry().digest(&lookup).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
    assert!(server.take().is_empty());

    let asked_for = Lookup { insecure: true, ..lookup };
    assert_eq!(registry().digest(&asked_for).await, Ok(digest()));
}

#[tokio::test]
async fn plain_http_is_spoken_with_an_insecure_registry_and_tried_first_from_then_on() {
    let server = Server::start(|_| known()).await;
    let port = server.authority().split_once(':').unwrap().1.to_owned();
    let registry = registry();
    for (image, hosts) in [
        (format!("127.0.0.1:{port}/app"), EngineRegistries::default()),
        (format!("localhost:{port}/app"), EngineRegistries::default()),
        (
            format!("127.0.0.1:{port}/app"),
            EngineRegistries {
                index_configs: [(server.authority(), IndexConfig::default())].into(),
                ..EngineRegistries::default()
            },
        ),
    ] {
        let lookup = Lookup { hosts: Arc::new(hosts), ..lookup_of(&image) };
        assert_eq!(registry.digest(&lookup).await, Ok(digest()), "{image}");
        assert_eq!(server.take().len(), 1);
        // TLS is not tried again, and the connection is kept.
        let connections = server.connections();
        assert_eq!(registry.digest(&lookup).await, Ok(digest()), "{image}");
        assert_eq!((server.take().len(), server.connections()), (1, connections));
    }
}

/// A registry that wants a password, and makes a new connection for every request.
fn known_to_me(request: &Request) -> Answer {
    let answer = match request.header("authorization") {
        "" => Answer::new(401, "").with("www-authenticate", "Basic realm=\"r\""),
        _ if request.method == "GET" => manifest(),
        _ => known(),
    };
    answer.with("connection", "close")
}

/// Which requests came without TLS, and what they said of who asks.
fn without_tls(server: &Server) -> Vec<String> {
    let requests = server.requests().into_iter().filter(|request| !request.has_tls);
    requests.map(|request| request.header("authorization").to_owned()).collect()
}

#[tokio::test]
async fn a_registry_whose_tls_fails_for_a_moment_is_never_sent_the_password_in_clear_text() {
    // What servers with TLS say to who speaks without: most a 400, some that one should, and some nothing.
    for (said, is_retried) in [(400, true), (0, true), (301, false)] {
        for asked_before in [true, false] {
            let failing = Arc::new(AtomicUsize::new(0));
            let fails = Arc::clone(&failing);
            let wire = move |begun| match begun {
                Wire::Tls if fails.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() => {
                    Wire::Closed
                }
                begun => begun,
            };
            let own = Arc::new(Mutex::new(String::new()));
            let to = Arc::clone(&own);
            let answer = move |request: &Request| match said {
                _ if request.has_tls => known_to_me(request),
                0 => Answer::Cut,
                _ => Answer::new(said, "").with("location", &to.lock().unwrap()),
            };
            let server = Server::start_on_either_wire(pki().server, wire, answer).await;
            *own.lock().unwrap() = server.url("/v2/app/manifests/latest");
            let lookup = Lookup { credentials: Some(password("me", "secret")), ..lookup(&server, "app") };
            let registry = registry();
            if asked_before {
                assert_eq!(registry.digest(&lookup).await, Ok(digest()));
            }

            failing.store(1, SeqCst);
            let answer = registry.digest(&lookup).await;
            assert!(answer.is_ok() || !is_retried, "{said}: {answer:?}");
            assert_eq!(failing.load(SeqCst), 0);
            for _ in 0..2 {
                assert_eq!(registry.digest(&lookup).await, Ok(digest()), "{said}");
            }
            assert_eq!(without_tls(&server), [""], "{said}");
        }
    }
}

#[tokio::test]
async fn a_registry_that_gets_tls_at_its_old_port_is_followed_and_back_again() {
    for says_so in [true, false] {
        let has_tls = Arc::new(AtomicBool::new(false));
        let (now, then) = (Arc::clone(&has_tls), Arc::clone(&has_tls));
        let wire = move |begun| match (now.load(SeqCst), begun) {
            (true, Wire::Plain) if says_so => Wire::Plain,
            (true, _) => Wire::Tls,
            (false, _) => Wire::Plain,
        };
        let answer = move |request: &Request| {
            if request.has_tls == then.load(SeqCst) { known_to_me(request) } else { Answer::new(400, "") }
        };
        let server = Server::start_on_either_wire(pki().server, wire, answer).await;
        let lookup = Lookup { credentials: Some(password("me", "secret")), ..lookup(&server, "app") };
        let registry = registry();
        for moved_to_tls in [false, true, false, true] {
            has_tls.store(moved_to_tls, SeqCst);
            assert_eq!(registry.digest(&lookup).await, Ok(digest()), "{says_so} {moved_to_tls}");
            server.take();
            let connections = server.connections();
            assert_eq!(registry.digest(&lookup).await, Ok(digest()), "{says_so} {moved_to_tls}");
            assert_eq!(server.requests()[0].has_tls, moved_to_tls);
            assert_eq!((server.take().len(), server.connections()), (1, connections + 1));
        }
    }
}

/// A server that closes whatever begins with TLS, and makes a new connection for every request; with how they began.
async fn without_any_tls(
    answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> (Server, impl Fn() -> Vec<Wire>) {
    let begun: Arc<Mutex<Vec<Wire>>> = Arc::default();
    let seen = Arc::clone(&begun);
    let wire = move |begun| {
        seen.lock().unwrap().push(begun);
        if begun == Wire::Tls { Wire::Closed } else { Wire::Plain }
    };
    let answer = move |request: &Request| answer(request).with("connection", "close");
    let server = Server::start_on_either_wire(pki().server, wire, answer).await;
    (server, move || std::mem::take(&mut *begun.lock().unwrap()))
}

#[tokio::test]
async fn where_neither_finds_anybody_both_causes_are_named_whichever_was_tried_first() {
    let speaks = Arc::new(AtomicBool::new(true));
    let still = Arc::clone(&speaks);
    let answer = move |_: &Request| if still.load(SeqCst) { known() } else { Answer::new(400, "") };
    let (server, begun) = without_any_tls(answer).await;
    let (registry, lookup) =
        (registry_with(LookupLimits { attempts: 1, ..limits() }), lookup(&server, "app"));
    assert_eq!(registry.digest(&lookup).await, Ok(digest()));
    assert_eq!(begun(), [Wire::Tls, Wire::Plain]);

    speaks.store(false, SeqCst);
    // A registry may say 400 to HEAD, so that GET is tried as well.
    let get = [Wire::Tls, Wire::Plain];
    for head in [[Wire::Plain, Wire::Tls], [Wire::Tls, Wire::Plain]] {
        let error = registry.digest(&lookup).await.unwrap_err();
        assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains(", and without TLS: it answers 400 Bad Request (inside"), "{error}");
        assert_eq!(begun(), [head, get].concat());
    }
    speaks.store(true, SeqCst);
    assert_eq!(registry.digest(&lookup).await, Ok(digest()));
}

#[tokio::test]
async fn plain_http_is_remembered_only_after_what_only_a_registry_says() {
    let version = ("docker-distribution-api-version", "registry/2.0");
    let challenge = ("www-authenticate", "Basic realm=\"r\"");
    let page = ("content-type", "text/html; charset=utf-8");
    let nothing = ("x", "");
    for (status, header, is_a_registrys) in [
        (200, nothing, true),
        (200, page, false),
        (401, challenge, true),
        (401, nothing, false),
        (403, challenge, false),
        (404, nothing, false),
        (404, version, true),
        (400, version, true),
        (500, version, true),
        (503, nothing, false),
    ] {
        let answer = move |_: &Request| {
            let digest = if status == 200 { DIGEST } else { "" };
            Answer::new(status, "").with(header.0, header.1).with("docker-content-digest", digest)
        };
        let (server, begun) = without_any_tls(answer).await;
        let (registry, lookup) =
            (registry_with(LookupLimits { attempts: 1, ..limits() }), lookup(&server, "app"));
        let _ = registry.digest(&lookup).await;
        begun();
        let _ = registry.digest(&lookup).await;
        assert_eq!(begun()[0] == Wire::Plain, is_a_registrys, "{status} {header:?}");
    }
}

#[tokio::test]
async fn an_unknown_certificate_is_refused_and_accepted_from_an_insecure_registry() {
    let server = Server::start_tls(pki().server, |_| known()).await;
    let insecure = lookup(&server, "app");
    assert_eq!(registry().digest(&insecure).await, Ok(digest()));

    let secure = Lookup { hosts: secure(&server), ..insecure };
    let error = registry().digest(&secure).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_private_authority_is_taken_from_the_folder_that_the_engine_uses() {
    let pki = pki();
    let server = Server::start_tls(Arc::clone(&pki.server), |_| known()).await;
    let lookup = Lookup { hosts: secure(&server), ..lookup(&server, "app") };
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join(server.authority());
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("ca.crt"), &pki.authority).unwrap();
    assert_eq!(with_certificates(folder.path()).digest(&lookup).await, Ok(digest()));

    std::fs::write(own.join("ca.crt"), "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n")
        .unwrap();
    let error = with_certificates(folder.path()).digest(&lookup).await.unwrap_err().to_string();
    let expected = format!("{} holds no certificate in PEM", own.join("ca.crt").display());
    assert!(error.contains(&expected), "{error}");
}

#[tokio::test]
async fn a_registry_that_wants_to_see_a_certificate_is_shown_the_one_in_its_folder() {
    let pki = pki();
    let server = Server::start_tls(Arc::clone(&pki.strict_server), |_| known()).await;
    let lookup = Lookup { hosts: secure(&server), ..lookup(&server, "app") };
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join(server.authority());
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("ca.crt"), &pki.authority).unwrap();
    let error = with_certificates(folder.path()).digest(&lookup).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");

    std::fs::write(own.join("client.cert"), &pki.client.0).unwrap();
    std::fs::write(own.join("client.key"), &pki.client.1).unwrap();
    assert_eq!(with_certificates(folder.path()).digest(&lookup).await, Ok(digest()));
}

#[tokio::test]
async fn no_password_goes_to_a_token_server_without_tls_unless_the_registry_may_do_without() {
    let pki = pki();
    let tokens = Server::start(|_| Answer::json(200, r#"{"token":"t"}"#)).await;
    let challenge = format!(r#"Bearer realm="{}""#, tokens.url("/token"));
    let server =
        Server::start_tls(Arc::clone(&pki.server), move |request| match request.header("authorization") {
            "Bearer t" => known(),
            _ => Answer::new(401, "").with("www-authenticate", &challenge),
        })
        .await;
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join(server.authority());
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("ca.crt"), &pki.authority).unwrap();

    let named = Lookup { credentials: Some(password("me", "secret")), ..lookup(&server, "app") };
    let secure = Lookup { hosts: secure(&server), ..named.clone() };
    let error = with_certificates(folder.path()).digest(&secure).await.unwrap_err();
    assert!(matches!(error, RegistryError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("plain HTTP"), "{error}");
    assert!(tokens.take().is_empty());

    assert_eq!(with_certificates(folder.path()).digest(&named).await, Ok(digest()));
}

#[tokio::test]
async fn a_redirect_from_tls_to_plain_http_is_not_followed() {
    let pki = pki();
    let plain = Server::start(|_| known()).await;
    let to = plain.url("/x");
    let server =
        Server::start_tls(Arc::clone(&pki.server), move |_| Answer::new(307, "").with("location", &to)).await;
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join(server.authority());
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("ca.crt"), &pki.authority).unwrap();
    let lookup = Lookup { hosts: secure(&server), ..lookup(&server, "app") };
    let error = with_certificates(folder.path()).digest(&lookup).await.unwrap_err();
    assert!(error.to_string().contains("from TLS to plain HTTP"), "{error}");
    assert!(plain.take().is_empty());
}

fn hub(image: &str, mirrors: &[String]) -> Lookup {
    let hosts = EngineRegistries { mirrors: mirrors.to_vec(), ..EngineRegistries::default() };
    Lookup { hosts: Arc::new(hosts), ..lookup_of(image) }
}

#[tokio::test]
async fn docker_hub_is_asked_at_its_own_address() {
    let upstream = Server::start(|_| known()).await;
    let registry = with_hub(&upstream.url(""));
    assert_eq!(registry.digest(&hub("nginx", &[])).await, Ok(digest()));
    assert_eq!(upstream.take(), ["HEAD /v2/library/nginx/manifests/latest"]);
}

#[tokio::test]
async fn a_mirror_is_asked_instead_of_docker_hub_and_never_told_the_account() {
    let upstream = Server::start(|_| known()).await;
    let mirror = Server::start(|_| known()).await;
    let registry = with_hub(&upstream.url(""));
    let lookup =
        Lookup { credentials: Some(password("me", "secret")), ..hub("nginx:1", &[mirror.url("/hub/")]) };
    assert_eq!(registry.digest(&lookup).await, Ok(digest()));
    assert_eq!(mirror.take(), ["HEAD /hub/v2/library/nginx/manifests/1"]);
    assert!(upstream.take().is_empty());
}

#[tokio::test]
async fn whatever_is_wrong_with_a_mirror_docker_hub_itself_is_asked_then() {
    for trouble in [404, 500, 401, 200, 429] {
        let mirror = Server::start(move |_| {
            Answer::new(trouble, "<html>")
                .with("content-type", "text/html")
                .with("www-authenticate", "Basic realm=\"x\"")
        })
        .await;
        let upstream = Server::start(|request| match request.header("authorization") {
            "" => Answer::new(401, "").with("www-authenticate", "Basic realm=\"x\""),
            _ => known(),
        })
        .await;
        let registry = with_hub(&upstream.url(""));
        let mirrors = ["http://127.0.0.1:1".to_owned(), mirror.url("")];
        let lookup = Lookup { credentials: Some(password("me", "secret")), ..hub("nginx:1", &mirrors) };
        assert_eq!(registry.digest(&lookup).await, Ok(digest()), "{trouble}");
        // GET decides, but for an account or a limit.
        assert_eq!(mirror.requests().len(), if [401, 429].contains(&trouble) { 1 } else { 2 }, "{trouble}");
        assert!(mirror.requests().iter().all(|request| request.header("authorization").is_empty()));
    }
}

#[tokio::test]
async fn mirrors_are_for_docker_hub_only() {
    let (mirror, server) = (Server::start(|_| known()).await, Server::start(|_| known()).await);
    let other = Lookup { hosts: hub("x", &[mirror.url("")]).hosts, ..lookup(&server, "app") };
    assert_eq!(registry().digest(&other).await, Ok(digest()));
    assert!(mirror.take().is_empty());
}

/// Set for the process that [`a_machine_without_certificate_authorities_still_has_plain_http`] starts.
const WITHOUT_AUTHORITIES: &str = "GANTRY_TEST_WITHOUT_AUTHORITIES";

#[tokio::test]
async fn a_machine_without_certificate_authorities_still_has_plain_http() {
    if std::env::var_os(WITHOUT_AUTHORITIES).is_none() {
        let name = "registry::trust::a_machine_without_certificate_authorities_still_has_plain_http";
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(WITHOUT_AUTHORITIES, "1")
            .env("SSL_CERT_FILE", "/nonexistent")
            .env("SSL_CERT_DIR", "/nonexistent")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
        return;
    }
    let plain = Server::start(|_| known()).await;
    let pki = pki();
    let tls = Server::start_tls(Arc::clone(&pki.server), |_| known()).await;
    let folder = tempfile::tempdir().unwrap();
    let registry = with_certificates(folder.path());
    assert_eq!(registry.digest(&lookup(&plain, "app")).await, Ok(digest()));
    assert_eq!(registry.digest(&lookup(&tls, "app")).await, Ok(digest()));

    let secure = Lookup { hosts: secure(&tls), ..lookup(&tls, "app") };
    let error = registry.digest(&secure).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("No CA certificates were loaded from the system"), "{error}");

    let own = folder.path().join(tls.authority());
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("ca.crt"), &pki.authority).unwrap();
    assert_eq!(with_certificates(folder.path()).digest(&secure).await, Ok(digest()));
}
