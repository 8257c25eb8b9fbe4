//! Where a registry may send Gantry: for tokens, and by redirects.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use gantry::hosts::IndexConfig;

use super::proxies::{insecure, registry_through};
use super::trust::{pki, secure, with_certificates};
use super::*;
use crate::support::way::Way;

const SECRET_WORDS: &str = r#"{"message":"the root password of db01 is qwerty","token":"stolen"}"#;

/// A server inside, on loopback, that tells its secrets to all who ask.
async fn inside() -> Server {
    Server::start(|_| Answer::json(200, SECRET_WORDS)).await
}

/// The same server by other names: all lead to loopback.
fn names_of(inside: &Server) -> Vec<String> {
    let port = inside.authority().split_once(':').unwrap().1.to_owned();
    ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]"]
        .map(|host| format!("http://{host}:{port}/token"))
        .to_vec()
}

/// A registry that wants a token of this realm.
fn wanting(realm: &str) -> impl Fn(&crate::support::http::Request) -> Answer + Send + Sync + 'static {
    let challenge = format!(r#"Bearer realm="{realm}",service="s""#);
    move |request| match request.header("authorization") {
        "Bearer t" => known(),
        _ => Answer::json(401, "{}").with("www-authenticate", &challenge),
    }
}

fn named() -> Arc<Credentials> {
    password("me", "secret")
}

/// Asks a registry that only the proxy reaches, so that its address counts as public.
async fn ask_from_outside(server: &Server, trusted: &[&str]) -> Result<Digest, RegistryError> {
    let way = Way::to(server, "200 OK").await;
    let hosts = trusted.iter().map(|&host| host.to_owned()).collect();
    let registry = registry_through(&way.address, "", "").trusting(hosts);
    registry.digest(&Lookup { credentials: Some(named()), ..insecure() }).await
}

#[tokio::test]
async fn a_public_registry_names_no_inside_server_for_tokens() {
    let inside = inside().await;
    for realm in names_of(&inside)
        .into_iter()
        .chain(["http://169.254.169.254/x", "http://10.1.2.3/"].map(str::to_owned))
    {
        let server = Server::start(wanting(&realm)).await;
        let error = ask_from_outside(&server, &[]).await.unwrap_err();
        assert!(matches!(error, RegistryError::Nonsense { .. }), "{realm}: {error}");
        assert!(error.to_string().contains("GANTRY_REGISTRY_TRUSTED_HOSTS"), "{realm}: {error}");
        assert_eq!(inside.take(), [""; 0], "{realm}");
        assert!(!error.to_string().contains("qwerty"), "{error}");
    }
}

#[tokio::test]
async fn a_public_registry_redirects_to_no_inside_server() {
    let inside = inside().await;
    for target in names_of(&inside) {
        for status in [302, 307] {
            let to = target.clone();
            let server = Server::start(move |_| Answer::new(status, "").with("location", &to)).await;
            let error = ask_from_outside(&server, &[]).await.unwrap_err();
            assert!(error.to_string().contains("may not send Gantry to"), "{target}: {error}");
            assert_eq!(inside.take(), [""; 0], "{target}");
        }
    }
}

#[tokio::test]
async fn a_trusted_host_may_be_named_whatever_its_address() {
    let tokens = Server::start(|_| Answer::json(200, r#"{"token":"t"}"#)).await;
    let port = tokens.authority().split_once(':').unwrap().1.to_owned();
    let server = Server::start(wanting(&format!("http://localhost:{port}/token"))).await;
    assert!(ask_from_outside(&server, &["other.test"]).await.is_err());
    assert_eq!(tokens.take(), [""; 0]);
    for trusted in ["localhost".to_owned(), format!("localhost:{port}"), "*host".to_owned()] {
        assert_eq!(ask_from_outside(&server, &[&trusted]).await, Ok(digest()), "{trusted}");
    }
}

/// A private address of this machine, where it has one.
fn private_address() -> Option<SocketAddr> {
    let source = |own: &str, target: &str| {
        let socket = UdpSocket::bind(own).ok()?;
        // Nothing is sent: this asks for the way there.
        socket.connect(target).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let found = [source("0.0.0.0:0", "10.255.255.255:9"), source("[::]:0", "[fd00::ffff]:9")];
    let is_private = |address: &IpAddr| match address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => address.is_unique_local(),
    };
    found.into_iter().flatten().find(is_private).map(|address| SocketAddr::new(address, 0))
}

#[tokio::test]
async fn a_private_registry_names_private_servers_but_no_loopback() {
    let Some(address) = private_address() else { return };
    let hosts = |server: &Server| {
        let index = (server.authority(), IndexConfig::default());
        Arc::new(EngineRegistries { index_configs: [index].into(), ..EngineRegistries::default() })
    };
    let at = address.to_string();
    let inside = inside().await;
    for realm in names_of(&inside) {
        let server = Server::start_at(&at, None, wanting(&realm)).await;
        let lookup = Lookup { credentials: Some(named()), hosts: hosts(&server), ..lookup(&server, "app") };
        let error = registry().digest(&lookup).await.unwrap_err();
        assert!(error.to_string().contains("a registry with a private address may not"), "{realm}: {error}");
        assert_eq!(inside.take(), [""; 0], "{realm}");
    }
    let tokens = Server::start_at(&at, None, |_| Answer::json(200, r#"{"token":"t"}"#)).await;
    let server = Server::start_at(&at, None, wanting(&tokens.url("/token"))).await;
    let lookup = Lookup { credentials: Some(named()), hosts: hosts(&server), ..lookup(&server, "app") };
    assert_eq!(registry().digest(&lookup).await, Ok(digest()));
}

#[tokio::test]
async fn a_registry_with_tls_names_no_realm_without_tls() {
    let pki = pki();
    let tokens = Server::start(|_| Answer::json(200, r#"{"token":"t"}"#)).await;
    let server = Server::start_tls(pki.open(), wanting(&tokens.url("/token"))).await;
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join(server.authority());
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("ca.crt"), &pki.authority).unwrap();
    for credentials in [None, Some(named())] {
        let lookup = Lookup { credentials, hosts: secure(&server), ..lookup(&server, "app") };
        let error = with_certificates(folder.path()).digest(&lookup).await.unwrap_err();
        assert!(error.to_string().contains("plain HTTP"), "{error}");
        assert_eq!(tokens.take(), [""; 0]);
    }
}

/// An insecure registry, and a token server on another host whose certificate is nobody's.
#[tokio::test]
async fn an_insecure_registry_does_not_vouch_for_another_host() {
    let tokens =
        Server::start_at("127.0.0.2:0", Some(pki().open()), |_| Answer::json(200, r#"{"token":"t"}"#)).await;
    let plain = Server::start(wanting(&tokens.url("/token"))).await;
    let with_tls = Server::start_tls(pki().open(), wanting(&tokens.url("/token"))).await;
    for server in [plain, with_tls] {
        for insecure in [false, true] {
            let named = Lookup { credentials: Some(named()), insecure, ..lookup(&server, "app") };
            let secure = Lookup { hosts: secure(&tokens), ..named.clone() };
            let error = registry().digest(&secure).await.unwrap_err().to_string();
            assert!(error.contains("its token server 127.0.0.2: its certificate"), "{error}");
            assert_eq!(tokens.take(), [""; 0]);
            // The engine calls every address of loopback insecure.
            assert_eq!(registry().digest(&named).await, Ok(digest()));
            tokens.take();
        }
    }
}

#[tokio::test]
async fn a_server_on_another_host_is_not_quoted() {
    for status in [400, 401, 403, 404, 418, 500] {
        let other = Server::start_at("127.0.0.2:0", None, move |_| {
            Answer::json(status, SECRET_WORDS)
                .with("www-authenticate", r#"Basic error="qwerty",error_description="qwerty""#)
                .with("docker-content-digest", "qwerty")
        })
        .await;
        let realm = Server::start(wanting(&other.url("/token"))).await;
        let to = other.url("/x");
        let redirecting = Server::start(move |_| Answer::new(307, "").with("location", &to)).await;
        for (server, credentials) in [(&realm, None), (&realm, Some(named())), (&redirecting, None)] {
            let lookup = Lookup { credentials, ..lookup(server, "app") };
            let error = registry().digest(&lookup).await.unwrap_err();
            let told = format!("{error} {error:?}");
            assert!(!told.contains("qwerty"), "{status}: {told}");
        }
    }
    // The media type and the digest are words as well.
    let other = Server::start_at("127.0.0.2:0", None, |_| {
        Answer::new(200, "{}").with("content-type", "text/qwerty").with("docker-content-digest", "qwerty")
    })
    .await;
    let realm = Server::start(wanting(&other.url("/token"))).await;
    let to = other.url("/x");
    let redirecting = Server::start(move |_| Answer::new(307, "").with("location", &to)).await;
    for server in [realm, redirecting] {
        let error = registry().digest(&lookup(&server, "app")).await.unwrap_err();
        assert!(!format!("{error:?}").contains("qwerty"), "{error}");
    }
}
