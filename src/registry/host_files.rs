//! The files of one registry in `/etc/docker/certs.d/HOST/`, read as the engine reads them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::descriptors::explained;

/// The content of the folder of one host. No `Debug`: there may be a private key in it.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct HostFiles {
    /// The certificates in `*.crt`: of authorities, or of the registry itself.
    pub trusted: Vec<CertificateDer<'static>>,
    /// The files `*.crt` without any certificate that can be read. The engine passes over them.
    pub unusable: Vec<PathBuf>,
    /// Our own certificates, each with its key.
    pub identities: Vec<IdentityFiles>,
}

/// A file `*.cert` and its file `*.key`, in PEM.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct IdentityFiles {
    /// The path of the certificate.
    pub path: PathBuf,
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

/// Reads a host's folder, in the order of its file names. No folder is no certificates.
///
/// # Errors
/// The engine refuses the same, in words: a file that cannot be read, a certificate of ours without its key, a key
/// without its certificate.
pub(super) fn read(folder: &Path) -> Result<HostFiles, String> {
    let failed = |path: &Path, error: &std::io::Error| format!("{} cannot be read: {error}", path.display());
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(HostFiles::default());
        }
        Err(error) => return Err(failed(folder, &explained(error))),
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(|error| failed(folder, &error))?.path());
    }
    paths.sort();
    let is_there = |path: &PathBuf| paths.binary_search(path).is_ok();
    let mut files = HostFiles::default();
    for path in &paths {
        let load = |path: &Path| super::files::read(path).map_err(|error| failed(path, &error));
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => {
                let before = files.trusted.len();
                files.trusted.extend(certificates(&load(path)?));
                if files.trusted.len() == before {
                    files.unusable.push(path.clone());
                }
            }
            Some("cert") => {
                let key = path.with_extension("key");
                if !is_there(&key) {
                    let (path, key) = (path.display(), key.display());
                    return Err(format!(
                        "{path} needs its key {key} (an authority's certificate ends with .crt)"
                    ));
                }
                let (certificate, key) = (load(path)?, load(&key)?);
                files.identities.push(IdentityFiles { path: path.clone(), certificate, key });
            }
            Some("key") if !is_there(&path.with_extension("cert")) => {
                let certificate = path.with_extension("cert");
                return Err(format!("{} needs its certificate {}", path.display(), certificate.display()));
            }
            _ => {}
        }
    }
    Ok(files)
}

/// All usable certificates of a file in PEM.
fn certificates(pem: &[u8]) -> impl Iterator<Item = CertificateDer<'static>> {
    let found: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
    found.into_iter().filter(|certificate| rustls::RootCertStore::empty().add(certificate.clone()).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> rcgen::Certificate {
        rcgen::CertificateParams::default().self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap()
    }

    #[test]
    fn a_hosts_folder_is_read_by_the_endings_that_docker_knows() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let (a, b, c) = (certificate(), certificate(), certificate());
        write("b.crt", &format!("{}\nwords between\n{}", b.pem(), c.pem()));
        write("a.crt", &a.pem());
        write("client.cert", "C");
        write("client.key", "K");
        write("second.cert", "C2");
        write("second.key", "K2");
        write("readme.txt", "?");
        let files = read(folder.path()).unwrap();
        assert_eq!(files.trusted, [a, b, c].map(|certificate| certificate.der().clone()));
        assert!(files.unusable.is_empty());
        let identities: Vec<_> =
            files.identities.iter().map(|it| (it.certificate.as_slice(), it.key.as_slice())).collect();
        assert_eq!(identities, [(&b"C"[..], &b"K"[..]), (b"C2", b"K2")]);
    }

    #[test]
    fn a_file_without_a_certificate_is_passed_over_and_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).unwrap();
        let good = certificate();
        write("binary.crt", good.der());
        write("broken.crt", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        write("empty.crt", b"");
        write("good.crt", good.pem().as_bytes());
        let files = read(folder.path()).unwrap();
        assert_eq!(files.trusted.len(), 1);
        let names = ["binary.crt", "broken.crt", "empty.crt"];
        assert_eq!(files.unusable, names.map(|name| folder.path().join(name)));
    }

    #[test]
    fn a_certificate_or_a_key_alone_is_an_error_and_no_folder_is_none() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(&folder.path().join("missing")).unwrap() == HostFiles::default());
        let error = |present: &str| {
            let path = folder.path().join(present);
            std::fs::write(&path, "C").unwrap();
            let error = read(folder.path()).map(|_| ()).unwrap_err();
            std::fs::remove_file(path).unwrap();
            error
        };
        std::fs::create_dir(folder.path().join("a.crt")).unwrap();
        assert!(read(folder.path()).map(|_| ()).unwrap_err().ends_with("is a directory"));
        std::fs::remove_dir(folder.path().join("a.crt")).unwrap();
        assert!(error("client.cert").contains("needs its key"), "{}", error("client.cert"));
        assert!(error("client.key").contains("needs its certificate"), "{}", error("client.key"));
    }
}
