//! Which addresses a registry may send Gantry to. Pure.
//!
//! A registry names other servers: the realm that issues tokens, and the targets of redirects. Gantry runs on a manager
//! and reaches addresses that the registry does not reach. So a registry may name addresses of its own network or of a
//! more public network only. Otherwise it could use Gantry as a way inside.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

use crate::words::matches_pattern;

/// The address by which Amazon's machines reach their metadata over IPv6.
const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// The network of an address, the most public first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Network {
    /// The internet.
    #[default]
    Public,
    /// RFC 1918, `100.64.0.0/10`, `fc00::/7` and `fec0::/10`.
    Private,
    /// This machine: `127.0.0.0/8`, `0.0.0.0/8`, `::1` and `::`.
    Loopback,
    /// The link, where clouds keep their metadata, and what is no address of one server: `169.254.0.0/16`, `fe80::/10`,
    /// multicast, broadcast.
    LinkLocal,
}

impl Network {
    /// The network of an address. An IPv6 address that embeds an IPv4 address is in the network of the IPv4 address.
    pub(super) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => match embedded(address) {
                Some(inner) => Self::of_v4(inner),
                None => Self::of_v6(address),
            },
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let [first, second, ..] = address.octets();
        if first == 0 || address.is_loopback() {
            Self::Loopback
        } else if address.is_link_local() || first >= 224 {
            Self::LinkLocal
        } else if address.is_private() || (first == 100 && second & 0xc0 == 64) {
            Self::Private
        } else {
            Self::Public
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let first = address.segments()[0];
        if address.is_loopback() || address.is_unspecified() {
            Self::Loopback
        } else if first & 0xffc0 == 0xfe80 || address.is_multicast() || address == METADATA {
            Self::LinkLocal
        } else if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfec0 {
            Self::Private
        } else {
            Self::Public
        }
    }

    /// Whether a server of this network may send Gantry to a server of the `other`.
    pub(super) fn may_name(self, other: Self) -> bool {
        match other {
            Self::Public => true,
            Self::Private => self >= Self::Private,
            Self::Loopback => self == Self::Loopback,
            Self::LinkLocal => false,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
        }
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped (`::ffff:0:0/96`), compatible (`::/96`), translated
/// (`64:ff9b::/96`) or tunnelled (`2002::/16`).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

/// The connection on which a server has named another server. The default has the least rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    /// The most public network of all servers on the way.
    pub network: Network,
    pub has_tls: bool,
}

impl Default for Origin {
    fn default() -> Self {
        Self { network: Network::Public, has_tls: true }
    }
}

/// The address that a URL has in place of a name.
pub(super) fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// A server that a registry may not send Gantry to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Forbidden {
    /// The name or address of the server, without a port.
    pub host: String,
    /// One of its addresses.
    pub address: IpAddr,
    /// The network of the registry.
    pub registry: Network,
}

impl Forbidden {
    /// The refusal of a server where this `registry` may not name its address.
    pub(super) fn check(registry: Network, host: &str, address: IpAddr) -> Result<(), Self> {
        if registry.may_name(Network::of(address)) {
            return Ok(());
        }
        Err(Self { host: host.to_owned(), address, registry })
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, address, registry } = self;
        let at = if host.contains(&address.to_string()) { String::new() } else { format!(" at {address}") };
        write!(
            f,
            "a registry with a {} address may not send Gantry to {host}{at}, a {} address; if this host is right, add it \
             to GANTRY_REGISTRY_TRUSTED_HOSTS",
            registry.name(),
            Network::of(*address).name(),
        )
    }
}

impl std::error::Error for Forbidden {}

/// The hosts that every registry may name, at any address (`GANTRY_REGISTRY_TRUSTED_HOSTS`).
#[derive(Clone, Debug, Default)]
pub(super) struct TrustedHosts(Vec<String>);

impl TrustedHosts {
    /// Hosts as they are configured: `name`, `name:port` or an address, with `*` for any characters.
    pub(super) fn new(hosts: Vec<String>) -> Self {
        Self(hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect())
    }

    /// Whether the host of this URL is trusted. A trusted host without a port is trusted on every port.
    pub(super) fn have(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let with_port = url.port_or_known_default().map(|port| format!("{host}:{port}")).unwrap_or_default();
        self.0.iter().any(|trusted| {
            [host, bare, with_port.as_str()].into_iter().any(|name| matches_pattern(trusted, name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> Network {
        Network::of(address.parse().unwrap())
    }

    #[test]
    fn every_form_of_an_inside_address_is_known() {
        use Network::{LinkLocal, Loopback, Private, Public};
        for (addresses, expected) in [
            (
                &["1.1.1.1", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "2606:4700::1"][..],
                Public,
            ),
            (
                &["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.9.9", "100.64.0.1", "100.127.1.1"],
                Private,
            ),
            (
                &["fc00::1", "fdff::1", "fec0::1", "::ffff:10.0.0.1", "64:ff9b::c0a8:1", "2002:a00:1::1"],
                Private,
            ),
            (&["127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "::1", "::", "::ffff:127.0.0.1"], Loopback),
            (&["::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::ffff:0.0.0.0"], Loopback),
            (&["169.254.169.254", "169.254.0.1", "fe80::1", "febf::1", "::ffff:169.254.169.254"], LinkLocal),
            (&["224.0.0.1", "255.255.255.255", "ff02::1", "fd00:ec2::254", "64:ff9b::a9fe:a9fe"], LinkLocal),
        ] {
            for address in addresses {
                assert_eq!(network(address), expected, "{address}");
            }
        }
    }

    #[test]
    fn a_registry_names_its_own_network_and_more_public_ones() {
        let all = [Network::Public, Network::Private, Network::Loopback, Network::LinkLocal];
        let named = all.map(|registry| all.map(|other| registry.may_name(other)));
        assert_eq!(
            named,
            [
                [true, false, false, false],
                [true, true, false, false],
                [true, true, true, false],
                [true, true, false, false],
            ]
        );
    }

    #[test]
    fn an_address_in_a_url_is_known_however_it_is_written() {
        for (url, expected) in [
            ("http://127.0.0.1/", Some("127.0.0.1")),
            ("http://2130706433/", Some("127.0.0.1")),
            ("http://0x7f.1/", Some("127.0.0.1")),
            ("http://0177.0.0.1/", Some("127.0.0.1")),
            ("http://[::ffff:7f00:1]:80/", Some("::ffff:127.0.0.1")),
            ("http://localhost/", None),
            ("http://10.example/", None),
        ] {
            let address = literal(&Url::parse(url).unwrap());
            assert_eq!(address, expected.map(|address| address.parse().unwrap()), "{url}");
        }
    }

    #[test]
    fn trusted_hosts_are_named_with_or_without_a_port() {
        let hosts = ["auth.corp.test", "*.s3.test", "10.0.0.5:8443", "fd00::1", "Upper.test:443"];
        let trusted = TrustedHosts::new(hosts.map(str::to_owned).to_vec());
        for (url, expected) in [
            ("https://auth.corp.test/token", true),
            ("https://auth.corp.test:5001/token", true),
            ("https://xauth.corp.test/", false),
            ("https://auth.corp.test.evil/", false),
            ("https://b.s3.test/", true),
            ("https://s3.test/", false),
            ("https://10.0.0.5:8443/", true),
            ("https://10.0.0.5/", false),
            ("https://[fd00::1]:8/", true),
            ("https://upper.test/", true),
            ("http://upper.test/", false),
        ] {
            assert_eq!(trusted.have(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn a_refusal_names_address_and_remedy() {
        let forbidden =
            Forbidden::check(Network::Public, "inside.test", "10.0.0.1".parse().unwrap()).unwrap_err();
        insta::assert_snapshot!(forbidden, @"a registry with a public address may not send Gantry to inside.test at 10.0.0.1, a private address; if this host is right, add it to GANTRY_REGISTRY_TRUSTED_HOSTS");
        let forbidden =
            Forbidden::check(Network::Private, "127.0.0.1", "127.0.0.1".parse().unwrap()).unwrap_err();
        insta::assert_snapshot!(forbidden, @"a registry with a private address may not send Gantry to 127.0.0.1, a loopback address; if this host is right, add it to GANTRY_REGISTRY_TRUSTED_HOSTS");
    }
}
