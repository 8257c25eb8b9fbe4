//! Registries with a certificate that no authority has issued, and what the engine makes of `certs.d`.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

use super::trust::{pki, secure, with_certificates};
use super::*;

/// A certificate that is its own issuer, its key, and a server that shows it.
struct Own {
    pem: String,
    server: Server,
}

async fn own(change: impl FnOnce(&mut CertificateParams)) -> Own {
    own_for("127.0.0.1", change).await
}

async fn own_for(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Own {
    own_at("127.0.0.1:0", name, change).await
}

async fn own_at(address: &str, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Own {
    gantry::tls::install_crypto_provider();
    let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
    // As `openssl req -x509` makes it.
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut parameters);
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let chain = vec![certificate.der().clone()];
    let config = config.with_single_cert(chain, key.serialize_der().try_into().unwrap()).unwrap();
    Own {
        pem: certificate.pem(),
        server: Server::start_at(address, Some(Arc::new(config)), |_| known()).await,
    }
}

/// `certs.d` with these files for one host.
struct Files(tempfile::TempDir, PathBuf);

impl Files {
    fn of(host: &str, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join(host);
        std::fs::create_dir(&own).unwrap();
        for (name, text) in files {
            std::fs::write(own.join(name), text).unwrap();
        }
        Self(folder, own)
    }

    async fn digest(&self, server: &Server) -> Result<Digest, String> {
        let lookup = Lookup { hosts: secure(server), ..lookup(server, "app") };
        with_certificates(self.0.path()).digest(&lookup).await.map_err(|error| error.to_string())
    }

    fn path(&self, name: &str) -> String {
        self.1.join(name).display().to_string()
    }
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_trusted_where_its_file_is() {
    for is_ca in [IsCa::Ca(BasicConstraints::Unconstrained), IsCa::NoCa, IsCa::ExplicitNoCa] {
        let own = own(|parameters| parameters.is_ca = is_ca).await;
        // Any name that ends with .crt will do, and others may stand beside it.
        let pki = pki();
        for name in ["ca.crt", "registry.crt"] {
            let files = Files::of(&own.server.authority(), &[(name, &own.pem), ("x.crt", &pki.authority)]);
            assert_eq!(files.digest(&own.server).await, Ok(digest()), "{name}");
        }
        let elsewhere = Files::of("registry.test", &[("ca.crt", &own.pem)]);
        elsewhere.digest(&own.server).await.unwrap_err();
    }
}

#[tokio::test]
async fn an_unknown_certificate_is_told_with_the_place_of_its_file() {
    let other = own(|_| ()).await;
    for is_ca in [IsCa::Ca(BasicConstraints::Unconstrained), IsCa::NoCa] {
        let own = own(|parameters| parameters.is_ca = is_ca).await;
        for files in [&[][..], &[("ca.crt", other.pem.as_str())], &[("key.txt", own.pem.as_str())]] {
            let files = Files::of(&own.server.authority(), files);
            let error = files.digest(&own.server).await.unwrap_err();
            let place = format!("into {} (in Gantry's container as on each node)", files.path("ca.crt"));
            assert!(error.contains(&place), "{error}");
            assert!(!error.contains("UnknownIssuer") && !error.contains("CaUsed"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_trusted_certificate_still_has_to_be_current_and_for_this_name() {
    let is_refused = async |own: Own, words: &str| {
        let files = Files::of(&own.server.authority(), &[("ca.crt", &own.pem)]);
        let error = files.digest(&own.server).await.unwrap_err();
        assert!(error.contains(words), "{error}");
        assert!(!error.contains("ca.crt"), "{error}");
    };
    is_refused(own(|parameters| parameters.not_after = date_time_ymd(2020, 1, 1)).await, "expired").await;
    is_refused(own(|parameters| parameters.not_before = date_time_ymd(2090, 1, 1)).await, "not valid yet")
        .await;
    is_refused(own_for("127.0.0.2", |_| ()).await, "not valid for name").await;
    is_refused(own_for("registry.test", |_| ()).await, "not valid for name").await;
    // Go does not look at the common name any more, either.
    let common_name = |parameters: &mut CertificateParams| {
        parameters.subject_alt_names.clear();
        parameters.distinguished_name.push(DnType::CommonName, "127.0.0.1");
    };
    is_refused(own(common_name).await, "not valid for").await;
}

#[tokio::test]
async fn files_that_the_engine_passes_over_are_passed_over() {
    let own = own(|_| ()).await;
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let files = [("a.crt", broken), ("b.crt", ""), ("c.crt", &own.pem), ("readme", "?"), ("ca.pem", broken)];
    assert_eq!(Files::of(&own.server.authority(), &files).digest(&own.server).await, Ok(digest()));
}

#[tokio::test]
async fn a_certificate_of_ours_without_its_key_is_an_error_that_names_both() {
    let (own, pki) = (own(|_| ()).await, pki());
    let (certificate, key) = (pki.client.0.as_str(), pki.client.1.as_str());
    let other_key = KeyPair::generate().unwrap().serialize_pem();
    for (files, words) in [
        (&[("client.cert", certificate)][..], "client.cert needs its key"),
        (&[("client.key", key)], "client.key needs its certificate"),
        (&[("client.cert", certificate), ("client.key", &other_key)], "does not belong to its key"),
        (&[("client.cert", "x"), ("client.key", key)], "holds no certificate"),
        (&[("client.cert", certificate), ("client.key", "x")], "no private key"),
    ] {
        let mut files = files.to_vec();
        files.push(("ca.crt", &own.pem));
        let files = Files::of(&own.server.authority(), &files);
        let error = files.digest(&own.server).await.unwrap_err();
        assert!(error.contains(words) && error.contains(&files.path("client")), "{error}");
        // An insecure registry is not asked with any of them.
        let insecure = lookup(&own.server, "app");
        assert_eq!(with_certificates(files.0.path()).digest(&insecure).await, Ok(digest()));
    }
}

#[tokio::test]
async fn of_several_certificates_of_ours_the_one_that_the_registry_wants_is_shown() {
    let pki = pki();
    let server = Server::start_tls(Arc::clone(&pki.strict_server), |_| known()).await;
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, "another authority");
    let other = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["x".to_owned()]).unwrap().signed_by(&key, &other).unwrap();
    let files = [
        ("ca.crt", pki.authority.as_str()),
        ("a.cert", &certificate.pem()),
        ("a.key", &key.serialize_pem()),
        ("b.cert", &pki.client.0),
        ("b.key", &pki.client.1),
    ];
    assert_eq!(Files::of(&server.authority(), &files).digest(&server).await, Ok(digest()));
}

#[tokio::test]
async fn a_folder_is_named_as_the_registry_in_the_image_also_with_an_ipv6_address() {
    let own = own_at("[::1]:0", "::1", |_| ()).await;
    let address = own.server.authority();
    let files = Files::of(&address, &[("ca.crt", &own.pem)]);
    let index = gantry::hosts::IndexConfig { secure: true, mirrors: Vec::new() };
    let hosts =
        EngineRegistries { index_configs: [(address.clone(), index)].into(), ..EngineRegistries::default() };
    let lookup = Lookup { hosts: Arc::new(hosts), ..lookup_of(&format!("{address}/app")) };
    assert_eq!(with_certificates(files.0.path()).digest(&lookup).await, Ok(digest()));
}
