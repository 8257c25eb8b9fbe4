//! The servers of a registry, in the order in which the engine asks them. Pure.

use reqwest::Url;

use crate::hosts::EngineRegistries;
use crate::image::DOCKER_HUB;

/// Which schemes may be spoken with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schemes {
    /// TLS only.
    Https,
    /// Plain HTTP only.
    Http,
    /// TLS, and plain HTTP where there is no TLS: an insecure registry.
    Either,
}

/// One scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Https,
    Http,
}

/// Whether a server's certificate must be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Certificates {
    Valid,
    Any,
}

/// The role of a server for a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndpointRole {
    /// Asked first and without an account. Its failures do not matter.
    Mirror,
    /// The registry itself.
    Upstream,
}

/// A server that speaks the registry protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Host and port.
    pub host: String,
    /// The part of its URLs before `/v2/`; empty as a rule.
    pub prefix: String,
    pub schemes: Schemes,
    pub certificates: Certificates,
    pub role: EndpointRole,
}

impl Endpoint {
    /// The registry `host` itself.
    pub(super) fn upstream(host: &str, insecure: bool) -> Self {
        let (schemes, certificates) = if insecure {
            (Schemes::Either, Certificates::Any)
        } else {
            (Schemes::Https, Certificates::Valid)
        };
        Self {
            host: host.to_owned(),
            prefix: String::new(),
            schemes,
            certificates,
            role: EndpointRole::Upstream,
        }
    }

    /// The server at `url`, by `https` if the text has no scheme; `None`: it is not the URL of a web server.
    pub(super) fn at(url: &str, role: EndpointRole, insecure: impl FnOnce(&str) -> bool) -> Option<Self> {
        let url = if url.contains("://") { url.to_owned() } else { format!("https://{url}") };
        let url = Url::parse(&url).ok()?;
        let host = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str()?),
            None => url.host_str()?.to_owned(),
        };
        let (schemes, certificates) = match url.scheme() {
            "http" => (Schemes::Http, Certificates::Any),
            "https" if insecure(&host) => (Schemes::Https, Certificates::Any),
            "https" => (Schemes::Https, Certificates::Valid),
            _ => return None,
        };
        let prefix = url.path().trim_end_matches('/').to_owned();
        Some(Self { host, prefix, schemes, certificates, role })
    }

    /// The address of `rest` below `/v2/`; `None` when these make no URL.
    pub(super) fn url(&self, scheme: Scheme, rest: &str) -> Option<Url> {
        let scheme = match scheme {
            Scheme::Https => "https",
            Scheme::Http => "http",
        };
        Url::parse(&format!("{scheme}://{}{}/v2/{rest}", self.host, self.prefix)).ok()
    }

    /// The schemes to try, `preferred` first where it may be spoken at all.
    pub(super) fn order(&self, preferred: Option<Scheme>) -> &'static [Scheme] {
        match (self.schemes, preferred) {
            (Schemes::Https, _) => &[Scheme::Https],
            (Schemes::Http, _) => &[Scheme::Http],
            (Schemes::Either, Some(Scheme::Http)) => &[Scheme::Http, Scheme::Https],
            (Schemes::Either, _) => &[Scheme::Https, Scheme::Http],
        }
    }

    /// Whether requests to this server, and to the servers that it redirects to, may go without TLS.
    pub(super) fn allows_plain_http(&self) -> bool {
        self.schemes != Schemes::Https
    }
}

/// The servers to ask for images of the registry `host`. `insecure` tells of a host whether the engine
/// accepts plain HTTP or any certificate from it; `hub` is where Docker Hub is.
pub(super) fn endpoints(
    host: &str,
    engine: &EngineRegistries,
    hub: &str,
    insecure: impl Fn(&str) -> bool,
) -> Vec<Endpoint> {
    let mirrors = engine.mirrors_of(host).iter();
    let mut found: Vec<Endpoint> =
        mirrors.filter_map(|url| Endpoint::at(url, EndpointRole::Mirror, &insecure)).collect();
    let hub = (host == DOCKER_HUB).then(|| Endpoint::at(hub, EndpointRole::Upstream, |_| false)).flatten();
    found.push(hub.unwrap_or_else(|| Endpoint::upstream(host, insecure(host))));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(host: &str, mirrors: &[&str], insecure: bool) -> Vec<String> {
        let engine = EngineRegistries {
            mirrors: mirrors.iter().map(|&url| url.to_owned()).collect(),
            ..EngineRegistries::default()
        };
        endpoints(host, &engine, "https://registry-1.docker.io", |_| insecure)
            .iter()
            .flat_map(|endpoint| {
                endpoint.order(None).iter().map(|scheme| {
                    let url = endpoint.url(*scheme, "a/manifests/1").unwrap();
                    format!("{url} {:?} {:?}", endpoint.certificates, endpoint.role)
                })
            })
            .collect()
    }

    #[test]
    fn a_registry_is_asked_with_tls_and_an_insecure_one_also_without() {
        assert_eq!(
            urls("ghcr.io", &["https://m"], false),
            ["https://ghcr.io/v2/a/manifests/1 Valid Upstream"]
        );
        assert_eq!(
            urls("reg:5000", &[], true),
            [
                "https://reg:5000/v2/a/manifests/1 Any Upstream",
                "http://reg:5000/v2/a/manifests/1 Any Upstream"
            ]
        );
        assert_eq!(urls("[::1]:5000", &[], false), ["https://[::1]:5000/v2/a/manifests/1 Valid Upstream"]);
    }

    #[test]
    fn docker_hub_is_asked_after_its_mirrors() {
        assert_eq!(
            urls("docker.io", &["https://m.example/", "http://n:5000/hub/", "o", "ftp://x", "::"], false),
            [
                "https://m.example/v2/a/manifests/1 Valid Mirror",
                "http://n:5000/hub/v2/a/manifests/1 Any Mirror",
                "https://o/v2/a/manifests/1 Valid Mirror",
                "https://registry-1.docker.io/v2/a/manifests/1 Valid Upstream",
            ]
        );
        let insecure_mirror = urls("docker.io", &["https://m"], true);
        assert_eq!(insecure_mirror[0], "https://m/v2/a/manifests/1 Any Mirror");
    }

    #[test]
    fn the_scheme_that_worked_is_tried_first_but_never_one_that_is_not_allowed() {
        let secure = Endpoint::upstream("r", false);
        assert_eq!(secure.order(Some(Scheme::Http)), [Scheme::Https]);
        assert!(!secure.allows_plain_http());
        let insecure = Endpoint::upstream("r", true);
        assert_eq!(insecure.order(Some(Scheme::Http)), [Scheme::Http, Scheme::Https]);
        assert_eq!(insecure.order(None), [Scheme::Https, Scheme::Http]);
    }
}
