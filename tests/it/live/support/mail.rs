//! A mail server as it really is (aiosmtpd), with STARTTLS and one account.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;
use tempfile::TempDir;

use super::Stage;

/// A running mail server. Ended when dropped.
pub(crate) struct RealMail {
    child: Child,
    address: String,
    mails: Receiver<Value>,
    folder: TempDir,
}

impl RealMail {
    /// The password of the account `gantry`, as it stands in an address.
    pub(crate) const PASSWORD: &str = "p4ss%2Fw0rd";

    /// Starts it, and installs it before if need be.
    pub(crate) fn start(stage: &Stage) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &authority).unwrap();
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        write("authority.pem", authority.pem());
        let files = [write("cert.pem", certificate.pem()), write("key.pem", key.serialize_pem())];
        let mut command = stage.lab.command(&["smtp", &files[0], &files[1], "gantry", "p4ss/w0rd"]);
        // It ends with its standard input, also when this process is killed.
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.next().expect("the mail server does not start; `lab smtp` says why");
        let (into, mails) = channel();
        std::thread::spawn(move || {
            for line in lines {
                let _ = into.send(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, address, mails, folder }
    }

    /// Host and port.
    pub(crate) fn authority(&self) -> &str {
        &self.address
    }

    /// The file of the authority that has signed its certificate.
    pub(crate) fn trusted(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// The mails since the last time that this was asked. The server prints a mail before it takes it.
    pub(crate) fn delivered(&self) -> Vec<Value> {
        std::iter::from_fn(|| self.mails.recv_timeout(Duration::from_secs(1)).ok()).collect()
    }
}

impl Drop for RealMail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
