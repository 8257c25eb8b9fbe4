//! Registries behind a proxy.

use gantry::proxy::Proxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::support::way::Way;

pub(super) fn registry_through(http: &str, https: &str, no_proxy: &str) -> HttpRegistry {
    let read = |variable, text: &str| (!text.is_empty()).then(|| Proxy::read(variable, text).unwrap());
    HttpRegistry::new(Settings {
        limits: LookupLimits { attempts: 1, ..limits() },
        certificates: "/nonexistent".into(),
        docker_hub: "http://127.0.0.1:1".to_owned(),
        proxies: Proxies::new(read("HTTP_PROXY", http), read("HTTPS_PROXY", https), no_proxy),
    })
}

/// A look-up of a name that only a proxy can resolve, at a registry whose certificate is not looked at.
pub(super) fn insecure() -> Lookup {
    Lookup { insecure: true, ..lookup_of("registry.test:5078/app") }
}

#[tokio::test]
async fn a_registry_with_tls_is_reached_through_a_tunnel() {
    let server = Server::start_tls(trust::pki().open(), |_| known()).await;
    let way = Way::to(&server, "200 OK").await;
    let registry = registry_through("", &format!("http://me:p%40ss@{}", way.address), "");
    assert_eq!(registry.digest(&insecure()).await, Ok(digest()));
    assert_eq!(way.taken(), ["CONNECT registry.test:5078 Basic bWU6cEBzcw=="]);
}

#[tokio::test]
async fn a_registry_without_tls_is_asked_by_its_whole_address() {
    let server = Server::start(|_| known()).await;
    let way = Way::to(&server, "200 OK").await;
    let registry = registry_through(&format!("me:pass@{}", way.address), "", "");
    assert_eq!(registry.digest(&insecure()).await, Ok(digest()));
    assert_eq!(way.taken(), ["HEAD http://registry.test:5078/v2/app/manifests/latest Basic bWU6cGFzcw=="]);
}

#[tokio::test]
async fn what_no_proxy_names_and_this_machine_are_asked_directly() {
    let server = Server::start(|_| known()).await;
    let way = Way::to(&server, "200 OK").await;
    let registry = registry_through(&way.address, &way.address, "*.test:5078");
    assert_eq!(registry.digest(&lookup(&server, "app")).await, Ok(digest()));
    let error = registry.digest(&insecure()).await.unwrap_err();
    assert!(error.to_string().starts_with("registry.test:5078 cannot be reached"), "{error}");
    assert!(way.taken().is_empty());
}

#[tokio::test]
async fn an_error_names_the_proxy_and_never_its_password() {
    let server = Server::start(|_| Answer::new(407, "<html>")).await;
    let hub = "cannot reach registry registry.test:5078 through the proxy";
    for (status, cause) in [
        ("407 Proxy Authentication Required", "it wants an account (407 Proxy Authentication Required)"),
        ("403 Forbidden", "it refuses to connect to the registry"),
        ("503 Service Unavailable", "it refuses to connect to the registry"),
    ] {
        let way = Way::to(&server, status).await;
        let registry = registry_through("", &format!("http://me:hunter2@{}", way.address), "");
        let secure = lookup_of("registry.test:5078/app");
        let error = registry.digest(&secure).await.unwrap_err();
        assert_eq!(error.to_string(), format!("{hub} http://{} (HTTPS_PROXY): {cause}", way.address));
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
    let registry = registry_through("", "http://me:hunter2@127.0.0.1:1", "");
    let error = registry.digest(&lookup_of("registry.test:5078/app")).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("{hub} http://127.0.0.1:1 (HTTPS_PROXY): ")), "{error}");
    assert!(error.contains("Connection refused"), "{error}");
    // Without TLS the proxy answers in the registry's place.
    let way = Way::to(&server, "").await;
    let registry = registry_through(&format!("http://me:hunter2@{}", way.address), "", "");
    let error = registry.digest(&insecure()).await.unwrap_err().to_string();
    assert!(error.contains("(HTTP_PROXY)") && error.contains("407 Proxy Authentication Required"), "{error}");
    assert!(!error.contains("hunter2") && !error.contains("html"), "{error}");
}

#[tokio::test]
async fn an_engine_with_a_proxy_is_named_where_the_look_up_has_none() {
    let proxies = Proxies::of_engine("", "http://proxy.corp.test:3128", "*.inside.test");
    let hosts = Arc::new(EngineRegistries { proxies, ..EngineRegistries::default() });
    let told = async |image: &str, registry: HttpRegistry| {
        let lookup = Lookup { hosts: Arc::clone(&hosts), ..lookup_of(image) };
        registry.digest(&lookup).await.unwrap_err().to_string()
    };
    let remedy = "the engine goes through the proxy http://proxy.corp.test:3128 (HTTPS_PROXY) here";
    let error = told("no-such-registry.invalid/app", registry_through("", "", "")).await;
    assert!(error.contains(remedy) && error.contains("set HTTPS_PROXY and NO_PROXY for Gantry"), "{error}");
    // Neither where the engine uses none, nor where the look-up has used one.
    let error = told("no-such-registry.inside.test/app", registry_through("", "", "")).await;
    assert!(!error.contains("the engine goes"), "{error}");
    let error = told("no-such-registry.invalid/app", registry_through("", "127.0.0.1:1", "")).await;
    assert!(!error.contains("the engine goes"), "{error}");
}

#[tokio::test]
async fn a_socks_proxy_is_told_the_name() {
    let server = Server::start_tls(trust::pki().open(), |_| known()).await;
    let (listener, target) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), server.authority());
    let address = listener.local_addr().unwrap();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut greeting = [0; 2];
        stream.read_exact(&mut greeting).await.unwrap();
        stream.read_exact(&mut vec![0; usize::from(greeting[1])]).await.unwrap();
        // RFC 1928: no account is needed.
        stream.write_all(&[5, 0]).await.unwrap();
        let mut request = [0; 5];
        stream.read_exact(&mut request).await.unwrap();
        let mut name = vec![0; usize::from(request[4])];
        stream.read_exact(&mut name).await.unwrap();
        let port = stream.read_u16().await.unwrap();
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        let mut server = TcpStream::connect(target).await.unwrap();
        let _ = copy_bidirectional(&mut stream, &mut server).await;
        (request[3], String::from_utf8(name).unwrap(), port)
    });
    let registry = registry_through("", &format!("socks5://{address}"), "");
    assert_eq!(registry.digest(&insecure()).await, Ok(digest()));
    drop(registry);
    assert_eq!(asked.await.unwrap(), (3, "registry.test".to_owned(), 5078));
}
