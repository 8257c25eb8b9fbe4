//! The certificates of the table's registries.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

/// How a registry shows itself, and what is in its folder of `certs.d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    /// By an authority that is in the folder.
    Authority,
    /// As `openssl req -x509` makes it; in the folder.
    OwnAuthority,
    /// The same without the mark of an authority.
    Own,
    /// In the folder beside files that cannot be read.
    BesideBroken,
    /// The folder is empty.
    Unknown,
    OtherName,
    CommonName,
    Expired,
    /// The registry wants a certificate of the client, which is in the folder.
    Client,
    /// ... whose key is not in the folder.
    ClientWithoutKey,
}

/// A server's side and its clients' side.
pub(super) struct Certificates {
    pub(super) server: Arc<rustls::ServerConfig>,
    /// Names and texts.
    pub(super) files: Vec<(&'static str, String)>,
}

pub(super) fn of(tls: Tls, host: &str) -> Certificates {
    gantry::tls::install_crypto_provider();
    match tls {
        Tls::Authority | Tls::Client | Tls::ClientWithoutKey => by_authority(tls, host),
        _ => own(tls, host),
    }
}

fn own(tls: Tls, host: &str) -> Certificates {
    let name = if tls == Tls::OtherName { "registry.test" } else { host };
    let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
    parameters.distinguished_name.push(DnType::CommonName, host);
    if tls != Tls::Own {
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    match tls {
        Tls::CommonName => parameters.subject_alt_names.clear(),
        Tls::Expired => parameters.not_after = date_time_ymd(2020, 1, 1),
        _ => {}
    }
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let server = rustls::ServerConfig::builder().with_no_client_auth();
    let server =
        server.with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap());
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
    let files = match tls {
        Tls::Unknown => Vec::new(),
        Tls::BesideBroken => {
            vec![("a.crt", broken), ("b.crt", String::new()), ("c.crt", certificate.pem())]
        }
        _ => vec![("ca.crt", certificate.pem())],
    };
    Certificates { server: Arc::new(server.unwrap()), files }
}

fn by_authority(tls: Tls, host: &str) -> Certificates {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, "authority of the lab");
    let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
    let issue = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (parameters.signed_by(&key, &authority).unwrap(), key)
    };
    let (certificate, key) = issue(host);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let clients = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    let server = rustls::ServerConfig::builder();
    let server = if tls == Tls::Authority {
        server.with_no_client_auth()
    } else {
        server.with_client_cert_verifier(clients)
    };
    let server =
        server.with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap());
    let mut files = vec![("ca.crt", authority.pem())];
    let (client, client_key) = issue("client");
    if tls != Tls::Authority {
        files.push(("client.cert", client.pem()));
    }
    if tls == Tls::Client {
        files.push(("client.key", client_key.serialize_pem()));
    }
    Certificates { server: Arc::new(server.unwrap()), files }
}
