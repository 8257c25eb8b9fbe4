//! Which registries are trusted how: as the engine's own configuration says.

use std::path::Path;

use gantry::hosts::IndexConfig;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::*;

/// A certificate authority, a server's certificate for 127.0.0.1 by it, and a client's with its key.
pub(crate) struct Pki {
    pub(crate) authority: String,
    server: Arc<rustls::ServerConfig>,
    /// The same server, which admits only who shows a certificate.
    pub(crate) strict_server: Arc<rustls::ServerConfig>,
    pub(crate) client: (String, String),
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
fn secure(server: &Server) -> Arc<EngineRegistries> {
    let index = IndexConfig { secure: true, mirrors: Vec::new() };
    Arc::new(EngineRegistries {
        index_configs: [(server.authority(), index)].into(),
        ..EngineRegistries::default()
    })
}

fn with_certificates(folder: &Path) -> HttpRegistry {
    HttpRegistry::new(Settings {
        limits: limits(),
        certificates: folder.to_owned(),
        docker_hub: "http://127.0.0.1:1".to_owned(),
    })
}

fn with_hub(url: &str) -> HttpRegistry {
    HttpRegistry::new(Settings {
        limits: limits(),
        certificates: "/nonexistent".into(),
        docker_hub: url.to_owned(),
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
    assert!(error.contains("certificate in") && error.contains("cannot be used"), "{error}");
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
        assert_eq!(mirror.requests().len(), 1, "{trouble}");
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
