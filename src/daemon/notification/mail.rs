//! Sends a message to a mail server.

use jiff::Timestamp;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::{AsyncSmtpTransport, Error};
use lettre::{AsyncTransport as _, Tokio1Executor};

use super::fault::{CONNECT_LIMIT, Fault, WORDS};
use super::message::Message;
use super::{address, letter};
use crate::config::{Destination, MailRoute, MailTls};
use crate::words::{self, foreign};

/// Sends a mail, and returns what the server says of it.
pub(super) async fn send(
    destination: &Destination,
    route: &MailRoute,
    message: &Message,
) -> Result<String, Fault> {
    crate::tls::install_crypto_provider();
    let refused = |cause: String| Fault::Refused(cause);
    let mail = letter::of(route, message, Timestamp::now(), destination.place).map_err(refused)?;
    let tls = TlsParameters::new(route.host.clone()).map_err(|error| refused(error.to_string()))?;
    let tls = match route.tls {
        MailTls::Always => Tls::Wrapper(tls),
        MailTls::Required => Tls::Required(tls),
        MailTls::Offered => Tls::Opportunistic(tls),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&route.host)
        .port(route.port)
        .tls(tls)
        .timeout(Some(CONNECT_LIMIT));
    if let Some((user, password)) = &route.account {
        let account = Credentials::new(user.reveal().to_owned(), password.reveal().to_owned());
        builder = builder.credentials(account);
    }
    match Box::pin(builder.build().send(mail)).await {
        Ok(answer) => {
            let words = said(&answer.message().collect::<Vec<_>>().join(" "), destination);
            Ok(format!("{} {words}", answer.code()).trim_end().to_owned())
        }
        Err(error) => Err(fault(&error, destination)),
    }
}

/// What the server says, without the parts of its address.
fn said(text: &str, destination: &Destination) -> String {
    foreign(&address::without(text, destination.url.reveal())).chars().take(WORDS).collect()
}

fn fault(error: &Error, destination: &Destination) -> Fault {
    let (shown, words) = (&destination.shown, said(&words::deepest(error), destination));
    if let Some(code) = error.status() {
        let code = code.to_string();
        let remedy = match code.as_str() {
            "530" | "534" | "535" | "538" => "check user, password and tls= in the address",
            "550" | "551" | "552" | "553" | "554" => {
                "check from= and to= in the address, and what the server lets this account send"
            }
            _ => "see the log of the mail server",
        };
        let cause = format!("{shown} answers {code}: {words}; {remedy}");
        return if error.is_permanent() { Fault::Refused(cause) } else { Fault::Away(cause) };
    }
    if error.is_client() {
        return Fault::Refused(format!(
            "cannot send to {shown}: {words}; check tls= and the account in the address"
        ));
    }
    // Where TLS is there from the beginning, the library calls its troubles those of the connection.
    let is_tls = error.is_tls() || words.contains("certificate") || words.contains("InvalidContentType");
    let remedy = if is_tls {
        "check the certificate of the server, and that smtps:// or smtp:// fits its port"
    } else {
        "check the address, and that Gantry's container can reach this host"
    };
    Fault::Away(format!("cannot reach {shown}: {words}; {remedy}"))
}
