//! TLS connections to registries: which certificates they may show, and which certificates Gantry shows.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;

use super::der;
use super::endpoints::Certificates;
use super::host_files::{HostFiles, IdentityFiles};

/// The settings of TLS for a host with these files.
///
/// # Errors
/// A certificate of ours that does not fit its key, or no authority at all; in words.
pub(super) fn client_config(certificates: Certificates, files: &HostFiles) -> Result<ClientConfig, String> {
    let provider = provider();
    let valid = match certificates {
        Certificates::Any => None,
        Certificates::Valid => {
            let system = Verifier::new_with_extra_roots(files.trusted.clone(), Arc::clone(&provider));
            let system = system.map_err(|error| format!("no TLS on this machine: {error}"))?;
            Some(Valid { system, own: files.trusted.clone() })
        }
    };
    let verifier = Arc::new(Trust { provider: Arc::clone(&provider), valid });
    let mut identities = Vec::new();
    for files in &files.identities {
        match identity(files, &provider) {
            Ok(identity) => identities.push(Arc::new(identity)),
            // The engine does not even look for files of a registry whose certificate it does not verify.
            Err(_) if certificates == Certificates::Any => {}
            Err(cause) => return Err(format!("{} cannot be used: {cause}", files.path.display())),
        }
    }
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("no TLS on this machine: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Ok(builder.with_client_cert_resolver(Arc::new(Identities(identities))))
}

fn provider() -> Arc<CryptoProvider> {
    crate::tls::install_crypto_provider();
    let provider = CryptoProvider::get_default().map(Arc::clone);
    provider.unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()))
}

fn identity(files: &IdentityFiles, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
    let chain = CertificateDer::pem_slice_iter(&files.certificate).collect::<Result<Vec<_>, _>>();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or("it holds no certificate in PEM")?;
    let key = PrivateKeyDer::from_pem_slice(&files.key).map_err(|_| "its key is no private key in PEM")?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        Error::InconsistentKeys(_) => "it does not belong to its key".to_owned(),
        error => error.to_string(),
    })
}

/// Our own certificates. The server's wishes choose one of them.
#[derive(Debug)]
struct Identities(Vec<Arc<CertifiedKey>>);

impl ResolvesClientCert for Identities {
    fn resolve(&self, authorities: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let is_wanted = |identity: &&Arc<CertifiedKey>| {
            let is_issued_by_one = |certificate: &CertificateDer<'_>| {
                der::fields(certificate).is_some_and(|fields| authorities.contains(&fields.issuer))
            };
            (authorities.is_empty() || identity.cert.iter().any(is_issued_by_one))
                && identity.key.choose_scheme(schemes).is_some()
        };
        self.0.iter().find(is_wanted).map(Arc::clone)
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}

/// Which certificates of servers are trusted.
#[derive(Debug)]
struct Trust {
    provider: Arc<CryptoProvider>,
    /// `None`: any certificate whose key the server has, as for an insecure registry.
    valid: Option<Valid>,
}

/// The authorities of the system and of the host's folder, and the certificates in that folder themselves. The engine's library trusts a
/// certificate of that folder also where no authority has issued it: one made by `openssl req -x509`.
#[derive(Debug)]
struct Valid {
    system: Verifier,
    own: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(Valid { system, own }) = &self.valid else { return Ok(ServerCertVerified::assertion()) };
        let result = system.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        if result.is_ok() || !own.contains(end_entity) {
            return result;
        }
        let fields = der::fields(end_entity).ok_or(CertificateError::BadEncoding)?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now < fields.not_before {
            return Err(CertificateError::NotValidYet.into());
        }
        if now > fields.not_after {
            return Err(CertificateError::Expired.into());
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
