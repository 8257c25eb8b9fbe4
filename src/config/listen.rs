//! Where page and API listen, and the tokens for them. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::value::Value;
use crate::secret::Secret;

/// Where to listen.
pub(super) struct ListenAddress(pub(super) SocketAddr);

impl Value for ListenAddress {
    const EXPECTED: &'static str = "an IP address and a port (HOST:PORT), localhost:PORT, or :PORT";

    fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let (host, port) = text.rsplit_once(':').ok_or(Self::EXPECTED)?;
        let port = port.parse::<u16>().map_err(|_| Self::EXPECTED)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let address = match bare {
            "" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            host => host.parse().map_err(|_| Self::EXPECTED)?,
        };
        Ok(Self(SocketAddr::new(address, port)))
    }
}

/// The fewest characters of a token.
pub const MIN_TOKEN: usize = 16;

/// A token of the listener.
#[derive(Clone)]
pub(super) struct ListenerToken(pub(super) Secret);

impl Value for ListenerToken {
    const EXPECTED: &'static str = "a token of at least 16 characters without white space";
    const IS_SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let is_good = text.chars().count() >= MIN_TOKEN && !text.contains(char::is_whitespace);
        if is_good { Ok(Self(Secret::new(text))) } else { Err(Self::EXPECTED) }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use crate::config::{Config, Loaded, Mistakes};

    fn load(pairs: &[(&str, &str)]) -> Result<Loaded, Mistakes> {
        Config::load(pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
    }

    #[test]
    fn the_listener_is_off_without_an_address_and_never_open_by_accident() {
        let listener = |pairs: &[(&str, &str)]| load(pairs).map(|loaded| loaded.config.listener);
        assert_eq!(listener(&[]).unwrap(), None);
        let address = |text: &str| {
            let open = ("GANTRY_HTTP_OPEN", "true");
            listener(&[("GANTRY_HTTP_ADDRESS", text), open]).unwrap().unwrap().address.to_string()
        };
        for (text, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("localhost:80", "127.0.0.1:80"),
            (" [::1]:80 ", "[::1]:80"),
            (":80", "[::]:80"),
        ] {
            assert_eq!(address(text), expected);
        }
        let token = ("GANTRY_HTTP_READ_TOKEN", "0123456789abcdef");
        let mistakes = [
            &[("GANTRY_HTTP_ADDRESS", "gantry.test:80"), token][..],
            &[("GANTRY_HTTP_ADDRESS", "80"), token],
            &[("GANTRY_HTTP_ADDRESS", ":80")],
            &[("GANTRY_HTTP_ADDRESS", ":80"), ("GANTRY_HTTP_STEER_TOKEN", "0123456789abcdef")],
            &[("GANTRY_HTTP_ADDRESS", ":80"), ("GANTRY_HTTP_READ_TOKEN", "hunter2")],
            &[("GANTRY_HTTP_ADDRESS", ":80"), token, ("GANTRY_HTTP_TLS_CERT_FILE", "/cert.pem")],
        ];
        let told: Vec<String> = mistakes.map(|pairs| load(pairs).unwrap_err().to_string()).to_vec();
        assert!(told.iter().all(|told| !told.contains("hunter2")));
        insta::assert_snapshot!(told.join("\n"), @r#"
        the configuration has 1 mistake:
          GANTRY_HTTP_ADDRESS="gantry.test:80": expected an IP address and a port (HOST:PORT), localhost:PORT, or :PORT
        the configuration has 1 mistake:
          GANTRY_HTTP_ADDRESS="80": expected an IP address and a port (HOST:PORT), localhost:PORT, or :PORT
        the configuration has 1 mistake:
          GANTRY_HTTP_READ_TOKEN is not set: expected the token that readers of the page need, as GANTRY_HTTP_ADDRESS can be reached from other machines (GANTRY_HTTP_OPEN=true lets all of them read)
        the configuration has 1 mistake:
          GANTRY_HTTP_READ_TOKEN is not set: expected the token that readers of the page need, as GANTRY_HTTP_ADDRESS can be reached from other machines (GANTRY_HTTP_OPEN=true lets all of them read)
        the configuration has 1 mistake:
          GANTRY_HTTP_READ_TOKEN=***: expected a token of at least 16 characters without white space
        the configuration has 1 mistake:
          GANTRY_HTTP_TLS_KEY_FILE is not set: expected a file, as HTTPS needs a certificate and its key
        "#);
        let open = listener(&[("GANTRY_HTTP_ADDRESS", "127.0.0.1:80")]).unwrap().unwrap();
        assert_eq!((open.read, open.steer), (None, None), "reading needs no token from this machine");
    }
}
