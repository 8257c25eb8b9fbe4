//! The address of the engine: `DOCKER_HOST` and its companions, as the docker CLI reads them.

use std::path::PathBuf;

use super::value::Value;
use super::{EngineAddress, Mistake};

/// `DOCKER_HOST` by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DockerHost {
    /// `unix://PATH`.
    Unix(PathBuf),
    /// `tcp://HOST:PORT`, `http://`, `https://`.
    Tcp {
        /// With its brackets, where it is an IPv6 address.
        host: String,
        /// Without one, it depends on TLS.
        port: Option<u16>,
        /// The scheme itself asks for TLS.
        https: bool,
    },
}

impl DockerHost {
    const NO_ACCOUNT: &str = "tcp://HOST:PORT without a user and a password";
    const SSH: &str = "unix:// or tcp:// (ssh:// is not supported; forward the remote socket with \
                       ssh -L /run/gantry.sock:/var/run/docker.sock and use unix:///run/gantry.sock)";
    const NO_PATH: &str = "tcp://HOST:PORT with nothing after the port";
    const BARE_PATH: &str = "unix:// before the path of a socket";

    /// The address, with TLS where `DOCKER_TLS_VERIFY` or the scheme asks for it. `certificates` is their
    /// folder.
    ///
    /// # Errors
    /// TLS is asked for, but the folder of the certificates is not known.
    pub(super) fn address(
        self,
        verify: bool,
        certificates: Option<PathBuf>,
    ) -> Result<EngineAddress, NoCertificates> {
        let (host, port, https) = match self {
            Self::Unix(path) => return Ok(EngineAddress::Unix(path)),
            Self::Tcp { host, port, https } => (host, port, https),
        };
        let tls = if verify || https { Some(certificates.ok_or(NoCertificates)?) } else { None };
        let port = port.unwrap_or(if tls.is_some() { 2376 } else { 2375 });
        Ok(EngineAddress::Tcp { host: format!("{host}:{port}"), tls })
    }
}

/// TLS is asked for, but there is no folder with certificates.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoCertificates;

impl Value for DockerHost {
    const EXPECTED: &'static str = "unix:///PATH or tcp://HOST:PORT";

    fn read(name: &str, text: &str) -> Result<Self, Mistake> {
        // An account in this address may come with a password. No engine asks for one in this way.
        let (scheme, rest) = text.trim().split_once("://").unwrap_or(("", text));
        if rest.split('/').next().is_some_and(|authority| authority.contains('@')) {
            let expected = if scheme == "ssh" { Self::SSH } else { Self::NO_ACCOUNT };
            return Err(Mistake::secret(name, expected));
        }
        Self::parse(text).map_err(|expected| Mistake::new(name, text, expected))
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let (scheme, rest) = match text.split_once("://") {
            Some(parts) => parts,
            None if is_path(text) => return Err(Self::BARE_PATH),
            // As the docker CLI takes it.
            None => ("tcp", text),
        };
        let https = match scheme {
            "unix" if rest.is_empty() => return Ok(Self::Unix("/var/run/docker.sock".into())),
            "unix" if rest.starts_with('/') => return Ok(Self::Unix(rest.into())),
            "tcp" | "http" => false,
            "https" => true,
            "ssh" => return Err(Self::SSH),
            _ => return Err(Self::EXPECTED),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('/') {
            return Err(Self::NO_PATH);
        }
        // A port alone is one of this machine, as for the docker CLI.
        let rest = if rest.starts_with(':') { format!("localhost{rest}") } else { rest.to_owned() };
        let authority: http::uri::Authority = rest.parse().map_err(|_| Self::EXPECTED)?;
        // `Authority` takes `host:` and `host:123456` for a host without a port.
        let port = authority.as_str().strip_prefix(authority.host()).ok_or(Self::EXPECTED)?;
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
                Some(port.parse().ok().filter(|&port| port > 0).ok_or(Self::EXPECTED)?)
            }
            _ => return Err(Self::EXPECTED),
        };
        if authority.host().is_empty() {
            return Err(Self::EXPECTED);
        }
        Ok(Self::Tcp { host: authority.host().to_owned(), port, https })
    }
}

/// Whether a text without a scheme is meant as the path of a socket.
fn is_path(text: &str) -> bool {
    text.split_once('/').is_some_and(|(before, _)| before == "unix:" || !before.contains(':'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tcp(host: &str, tls: Option<&str>) -> EngineAddress {
        EngineAddress::Tcp { host: host.to_owned(), tls: tls.map(PathBuf::from) }
    }

    #[test]
    fn docker_host_is_read_as_the_docker_cli_reads_it() {
        let unix = |path: &str| EngineAddress::Unix(path.into());
        for (written, verify, expected) in [
            ("unix:///run/docker.sock", false, unix("/run/docker.sock")),
            ("unix://", false, unix("/var/run/docker.sock")),
            ("unix:///run/docker.sock", true, unix("/run/docker.sock")),
            ("tcp://10.0.0.1:2375", false, tcp("10.0.0.1:2375", None)),
            ("tcp://manager:2375/", false, tcp("manager:2375", None)),
            ("tcp://manager", false, tcp("manager:2375", None)),
            ("tcp://manager", true, tcp("manager:2376", Some("/certs"))),
            ("tcp://[::1]:2376", true, tcp("[::1]:2376", Some("/certs"))),
            ("http://manager:80", false, tcp("manager:80", None)),
            ("https://manager", false, tcp("manager:2376", Some("/certs"))),
            ("manager:2375", false, tcp("manager:2375", None)),
            ("10.0.0.1:2376", true, tcp("10.0.0.1:2376", Some("/certs"))),
            ("[::1]:2375", false, tcp("[::1]:2375", None)),
            ("manager", true, tcp("manager:2376", Some("/certs"))),
            (" manager:2375\n", false, tcp("manager:2375", None)),
            ("tcp://:2375", false, tcp("localhost:2375", None)),
            (":2375", false, tcp("localhost:2375", None)),
        ] {
            let host = DockerHost::parse(written).unwrap_or_else(|e| panic!("{written}: expected {e}"));
            assert_eq!(host.address(verify, Some("/certs".into())), Ok(expected), "{written}");
        }
    }

    #[test]
    fn tls_without_a_folder_of_certificates_is_an_error() {
        assert_eq!(DockerHost::parse("tcp://manager").unwrap().address(true, None), Err(NoCertificates));
    }

    #[test]
    fn what_cannot_be_reached_is_refused_with_a_remedy() {
        for (written, remedy) in [
            ("ssh://user@manager", "ssh -L"),
            ("/var/run/docker.sock", "unix:// before"),
            ("tcp://manager:2375/prefix", "nothing after the port"),
            ("run/docker.sock", "unix:// before"),
            ("unix:/var/run/docker.sock", "unix:// before"),
            ("manager:2375/prefix", "nothing after the port"),
            ("npipe:////./pipe/docker_engine", "unix:///PATH"),
            ("unix://relative", "unix:///PATH"),
            ("tcp://", "tcp://HOST:PORT"),
            ("tcp://manager:", "tcp://HOST:PORT"),
            ("tcp://manager:0", "tcp://HOST:PORT"),
            ("tcp://manager:99999", "tcp://HOST:PORT"),
            ("tcp://a b:1", "tcp://HOST:PORT"),
            ("user:secret@manager:1", "tcp://HOST:PORT without a user and a password"),
            ("tcp://user:secret@manager:1", "tcp://HOST:PORT without a user and a password"),
            ("ssh://user:secret@manager", "ssh -L"),
        ] {
            let told = DockerHost::read("DOCKER_HOST", written).unwrap_err().to_string();
            assert!(told.contains(remedy) && !told.contains("secret"), "{written}: {told}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(unix|tcp|https?|ssh)?(://)?\\PC{0,30}") {
            if let Ok(host) = DockerHost::parse(&text) {
                let _ = host.address(true, Some("/certs".into()));
            }
        }
    }
}
