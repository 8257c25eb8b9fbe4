//! The proxy of a request: `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` by the rules of Go's package
//! `httpproxy`, which the engine follows. Pure.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

use crate::secret::Secret;

/// The proxies of a program, and the addresses that need none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    exceptions: Vec<NoProxyEntry>,
}

/// One proxy. Neither `Debug` nor [`Proxy::shown`] shows its password.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proxy {
    address: Secret,
    shown: String,
    variable: &'static str,
}

impl Proxy {
    /// Reads the value of a variable: a URL, or `HOST:PORT` of a proxy that speaks HTTP.
    ///
    /// # Errors
    /// The text is no address of a proxy. It may hold a password, so the error does not repeat it.
    pub fn read(variable: &'static str, text: &str) -> Result<Self, NoProxyAddress> {
        let text = text.trim();
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let mut url = Url::parse(&with_scheme).map_err(|_| NoProxyAddress)?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(NoProxyAddress)?.to_owned();
        let (scheme, default_port) = match url.scheme() {
            "http" => ("http", 80),
            "https" => ("https", 443),
            // Go lets the proxy resolve names, also where the scheme does not end with `h`.
            "socks5" | "socks5h" => ("socks5h", 1080),
            _ => return Err(NoProxyAddress),
        };
        let port = url.port_or_known_default().unwrap_or(default_port);
        let shown = format!("{}://{host}:{port}", url.scheme());
        if scheme == "socks5h" {
            url.set_port(Some(port)).map_err(|()| NoProxyAddress)?;
            // The scheme of a URL cannot be changed where both are unknown to the standard of URLs.
            url = Url::parse(&url.as_str().replacen("socks5://", "socks5h://", 1))
                .map_err(|_| NoProxyAddress)?;
        }
        Ok(Self { address: Secret::new(url), shown, variable })
    }

    /// The whole address, with its account.
    pub fn address(&self) -> &Secret {
        &self.address
    }

    /// The address without account, for people.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The variable that names it.
    pub fn variable(&self) -> &'static str {
        self.variable
    }
}

/// `through the proxy http://proxy.test:3128 (HTTPS_PROXY)`
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "through the proxy {} ({})", self.shown, self.variable)
    }
}

/// A text that is no address of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT")]
pub struct NoProxyAddress;

impl Proxies {
    /// The proxies for `http://` and `https://`, and the value of `NO_PROXY`.
    pub fn new(http: Option<Proxy>, https: Option<Proxy>, no_proxy: &str) -> Self {
        Self { http, https, exceptions: exceptions(no_proxy) }
    }

    /// The proxies that an engine tells of itself. What it tells has no account in it.
    pub fn of_engine(http: &str, https: &str, no_proxy: &str) -> Self {
        let read = |variable, text: &str| {
            Some(text)
                .filter(|text| !text.trim().is_empty())
                .and_then(|text| Proxy::read(variable, text).ok())
        };
        Self::new(read("HTTP_PROXY", http), read("HTTPS_PROXY", https), no_proxy)
    }

    /// The proxy for a request; `None`: it is sent directly.
    pub fn of(&self, url: &Url) -> Option<&Proxy> {
        let proxy = match url.scheme() {
            "https" => self.https.as_ref()?,
            "http" => self.http.as_ref()?,
            _ => return None,
        };
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default()?.to_string();
        is_proxied(host, &port, &self.exceptions).then_some(proxy)
    }
}

/// One entry of `NO_PROXY`. A port is compared as text; an empty one is any.
#[derive(Clone, Debug, PartialEq, Eq)]
enum NoProxyEntry {
    Everything,
    Network(String),
    Address(IpAddr, String),
    /// `.corp.test`, and whether `corp.test` itself is meant as well.
    Domain(String, bool, String),
}

impl NoProxyEntry {
    fn matches(&self, host: &str, port: &str, address: Option<IpAddr>) -> bool {
        let is_port = |wanted: &str| wanted.is_empty() || wanted == port;
        match (self, address) {
            (Self::Everything, _) => true,
            (Self::Network(network), Some(address)) => is_within(address, network),
            (Self::Address(wanted, at), Some(address)) => {
                wanted.to_canonical() == address.to_canonical() && is_port(at)
            }
            (Self::Domain(suffix, itself, at), None) => {
                (host.ends_with(suffix.as_str()) || (*itself && host == &suffix[1..])) && is_port(at)
            }
            _ => false,
        }
    }
}

fn is_proxied(host: &str, port: &str, exceptions: &[NoProxyEntry]) -> bool {
    let address = host.parse::<IpAddr>().ok();
    let host = host.trim().to_lowercase();
    let is_here = host == "localhost" || address.is_some_and(|address| address.to_canonical().is_loopback());
    !is_here && !exceptions.iter().any(|exception| exception.matches(&host, port, address))
}

/// Reads `NO_PROXY`. Entries that mean nothing are passed over.
fn exceptions(no_proxy: &str) -> Vec<NoProxyEntry> {
    let mut found = Vec::new();
    for entry in no_proxy.split(',').map(|entry| entry.trim().to_lowercase()) {
        if entry == "*" {
            return vec![NoProxyEntry::Everything];
        }
        if is_network(&entry) {
            found.push(NoProxyEntry::Network(entry));
            continue;
        }
        let (host, port) = split_port(&entry).unwrap_or((&entry, ""));
        if let Ok(address) = host.parse::<IpAddr>() {
            found.push(NoProxyEntry::Address(address, port.to_owned()));
            continue;
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        let (name, itself) = host.strip_prefix('.').map_or((host, true), |name| (name, false));
        if !host.is_empty() {
            found.push(NoProxyEntry::Domain(format!(".{}", ascii(name)), itself, port.to_owned()));
        }
    }
    found
}

fn is_network(text: &str) -> bool {
    let Some((network, bits)) = text.split_once('/') else { return false };
    let most = match network.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

/// Whether `address` lies within `cidr` (`10.0.0.0/8`); never, when that is no address range.
pub(crate) fn is_within(address: IpAddr, cidr: &str) -> bool {
    let Some((network, bits)) = cidr.split_once('/') else { return false };
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    match (network, address.to_canonical()) {
        (IpAddr::V4(network), IpAddr::V4(address)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    }
}

/// `host:port` and `[address]:port`, as Go's `net.SplitHostPort` takes them.
fn split_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.contains(['[', ']']) && !port.contains(['[', ']'])).then_some((host, port))
}

/// A name in its form for URLs: `xn--bcher-kva.test` for `bücher.test`.
fn ascii(name: &str) -> String {
    if name.is_ascii() {
        return name.to_owned();
    }
    let url = Url::parse(&format!("http://{name}/"));
    url.ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proxies(no_proxy: &str) -> Proxies {
        Proxies::of_engine("http://plain.test:1", "http://tls.test:2", no_proxy)
    }

    fn is_proxied(no_proxy: &str, url: &str) -> bool {
        proxies(no_proxy).of(&Url::parse(url).unwrap()).is_some()
    }

    /// What Go's package `httpproxy` documents and does.
    #[test]
    fn no_proxy_is_read_as_go_reads_it() {
        for (no_proxy, url, proxied) in [
            ("", "https://registry.corp.test/", true),
            // A name is itself and all below it.
            ("corp.test", "https://corp.test/", false),
            ("corp.test", "https://registry.corp.test/", false),
            ("corp.test", "https://a.registry.corp.test:5000/", false),
            ("corp.test", "https://notcorp.test/", true),
            ("corp.test", "https://corp.test.example/", true),
            // With a dot or a star before it only what is below.
            (".corp.test", "https://registry.corp.test/", false),
            (".corp.test", "https://corp.test/", true),
            ("*.corp.test", "https://registry.corp.test/", false),
            ("*.corp.test", "https://a.b.corp.test/", false),
            ("*.corp.test", "https://corp.test/", true),
            ("*corp.test", "https://registry.corp.test/", true),
            ("registry.*", "https://registry.corp.test/", true),
            // A port is that port only, and that of the scheme where the URL has none.
            ("registry.corp.test:5078", "https://registry.corp.test:5078/", false),
            ("registry.corp.test:5078", "https://registry.corp.test/", true),
            ("registry.corp.test:443", "https://registry.corp.test/", false),
            ("registry.corp.test:443", "http://registry.corp.test/", true),
            ("registry.corp.test:80", "http://registry.corp.test/", false),
            ("*.corp.test:5000", "https://registry.corp.test:5000/", false),
            ("*.corp.test:5000", "https://registry.corp.test:5001/", true),
            (".corp.test:5000", "https://registry.corp.test:5000/", false),
            ("registry.corp.test:", "https://registry.corp.test:5078/", false),
            (":5078", "https://registry.corp.test:5078/", true),
            // Addresses and networks.
            ("10.0.0.1", "https://10.0.0.1:5000/", false),
            ("10.0.0.1:5000", "https://10.0.0.1:5000/", false),
            ("10.0.0.1:5000", "https://10.0.0.1/", true),
            ("10.0.0.0/8", "https://10.1.2.3:5000/", false),
            ("10.0.0.0/8", "https://11.1.2.3:5000/", true),
            ("10.0.0.0/8", "https://ten.corp.test/", true),
            ("10.0.0.0/33", "https://10.0.0.1/", true),
            ("10.", "https://10.0.0.1/", true),
            ("0.1", "https://10.0.0.1/", true),
            ("fd00::1", "https://[fd00::1]:5000/", false),
            ("[fd00::1]:5000", "https://[fd00::1]:5000/", false),
            ("[fd00::1]:5000", "https://[fd00::1]/", true),
            ("[fd00::1]", "https://[fd00::1]/", true),
            ("fd00::/8", "https://[fd00::1]:5000/", false),
            ("fd00::/8", "https://[fe00::1]:5000/", true),
            ("::ffff:10.0.0.1", "https://10.0.0.1/", false),
            // Everything, also beside others and between spaces.
            ("*", "https://registry.corp.test/", false),
            ("a.test, * ,b.test", "https://10.0.0.1/", false),
            // A list has commas; spaces around an entry do not count, and between two they do.
            (" a.test ,\tregistry.corp.test ,", "https://registry.corp.test/", false),
            ("a.test registry.corp.test", "https://registry.corp.test/", true),
            (",,", "https://registry.corp.test/", true),
            // Letters are the same in both cases.
            ("Registry.CORP.test", "https://registry.corp.test/", false),
            ("registry.corp.test", "https://REGISTRY.corp.test/", false),
            ("bücher.test", "https://xn--bcher-kva.test/", false),
            (".bücher.test", "https://a.bücher.test/", false),
            // A scheme does not belong there.
            ("https://registry.corp.test", "https://registry.corp.test/", true),
            // This machine never needs a proxy.
            ("", "http://localhost:5000/", false),
            ("", "http://127.0.0.1:5000/", false),
            ("", "http://127.9.9.9/", false),
            ("", "https://[::1]:5000/", false),
            ("", "https://LOCALHOST/", false),
            ("", "https://my.localhost/", true),
        ] {
            assert_eq!(is_proxied(no_proxy, url), proxied, "{no_proxy:?} {url}");
        }
    }

    #[test]
    fn address_ranges_are_matched_to_the_bit_and_garbage_matches_nothing() {
        for (address, cidr, within) in [
            ("10.1.2.3", "10.0.0.0/8", true),
            ("11.1.2.3", "10.0.0.0/8", false),
            ("10.1.2.3", "0.0.0.0/0", true),
            ("10.1.2.3", "10.1.2.3/32", true),
            ("10.1.2.4", "10.1.2.3/32", false),
            ("::ffff:10.1.2.3", "10.0.0.0/8", true),
            ("fd00::1", "fd00::/8", true),
            ("fe00::1", "fd00::/8", false),
            ("fd00::1", "::/0", true),
            ("10.1.2.3", "::/0", false),
            ("10.1.2.3", "10.0.0.0/33", false),
            ("10.1.2.3", "10.0.0.0", false),
            ("10.1.2.3", "ten/8", false),
        ] {
            assert_eq!(is_within(address.parse().unwrap(), cidr), within, "{address} in {cidr}");
        }
    }

    #[test]
    fn each_scheme_has_its_own_proxy() {
        let both = proxies("");
        let of = |proxies: &Proxies, url: &str| {
            proxies
                .of(&Url::parse(url).unwrap())
                .map(|proxy| format!("{} {}", proxy.shown(), proxy.variable()))
        };
        assert_eq!(of(&both, "http://r.test/").as_deref(), Some("http://plain.test:1 HTTP_PROXY"));
        assert_eq!(of(&both, "https://r.test/").as_deref(), Some("http://tls.test:2 HTTPS_PROXY"));
        let one = Proxies::of_engine("plain.test:1", "", "");
        assert_eq!(of(&one, "http://r.test/").as_deref(), Some("http://plain.test:1 HTTP_PROXY"));
        assert_eq!(of(&one, "https://r.test/"), None);
    }

    #[test]
    fn an_address_is_a_url_or_a_host_and_its_account_is_not_shown() {
        for (text, address, shown) in [
            ("proxy.test:3128", "http://proxy.test:3128/", "http://proxy.test:3128"),
            ("proxy.test", "http://proxy.test/", "http://proxy.test:80"),
            (" http://proxy.test:3128/ ", "http://proxy.test:3128/", "http://proxy.test:3128"),
            ("https://proxy.test", "https://proxy.test/", "https://proxy.test:443"),
            (
                "http://me:hunter%402@proxy.test:1",
                "http://me:hunter%402@proxy.test:1/",
                "http://proxy.test:1",
            ),
            ("me:hunter2@proxy.test:1", "http://me:hunter2@proxy.test:1/", "http://proxy.test:1"),
            ("http://[::1]:3128", "http://[::1]:3128/", "http://[::1]:3128"),
            ("socks5://proxy.test", "socks5h://proxy.test:1080", "socks5://proxy.test:1080"),
            ("socks5h://me:hunter2@p:9", "socks5h://me:hunter2@p:9", "socks5h://p:9"),
        ] {
            let proxy = Proxy::read("HTTP_PROXY", text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((proxy.address().reveal(), proxy.shown()), (address, shown), "{text}");
            assert!(!format!("{proxy:?}").contains("hunter"), "{proxy:?}");
        }
        for text in
            ["", "http://", "ftp://proxy.test", "socks4://proxy.test", "http://proxy.test:port", "a b"]
        {
            assert_eq!(Proxy::read("HTTP_PROXY", text), Err(NoProxyAddress), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_list_makes_the_reader_panic(list in "[a-z0-9.:,*/\\[\\] ]{0,40}|\\PC{0,20}") {
            is_proxied(&list, "https://registry.corp.test/");
        }
    }
}
