//! A message as a mail. Pure.

use std::time::SystemTime;

use jiff::Timestamp;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder};

use super::message::Message;
use crate::config::MailRoute;

/// The mail for a message. `at` is when it is sent, and `place` tells the mails of one moment apart.
///
/// # Errors
/// What the library says of an address that it does not take.
pub(super) fn of(
    route: &MailRoute,
    message: &Message,
    at: Timestamp,
    place: usize,
) -> Result<lettre::Message, String> {
    let id = format!("<{}.{place}.gantry@{}>", at.as_nanosecond(), route.from.email.domain());
    // No reply of a machine is of use, and a mailbox that answers would fill the sender's.
    let automatic =
        HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    let to = |builder: MessageBuilder, to: &Mailbox| builder.to(to.clone());
    route
        .to
        .iter()
        .fold(lettre::Message::builder().from(route.from.clone()), to)
        .subject(one_line(message.title()))
        .date(SystemTime::from(at))
        .message_id(Some(id))
        .raw_header(automatic)
        .header(ContentType::TEXT_PLAIN)
        .body(message.body().to_owned())
        .map_err(|error| error.to_string())
}

/// A title can have the line end of `GANTRY_NOTIFICATION_TITLE`, which would begin another header.
fn one_line(title: &str) -> String {
    title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Destination, Protocol};
    use crate::daemon::notification::message::Kind;

    fn mail(suffix: &str, body: &str) -> String {
        let text = "smtp://h.test/?from=Gantry%20<gantry@a.test>&to=ops@a.test,b@b.test";
        let Protocol::Mail(route) = &Destination::read_all(text).0[0].protocol else { unreachable!() };
        let message = Message::new("1 rolled back", Some(suffix), body, Kind::Failure);
        let mail = of(route, &message, Timestamp::from_second(1_795_000_000).unwrap(), 2).unwrap();
        String::from_utf8(mail.formatted()).unwrap().replace('\r', "")
    }

    #[test]
    fn a_mail_is_plain_text_that_no_machine_answers() {
        insta::assert_snapshot!(mail("(live)", "3 services: 1 rolled back\n\nshop: rolled back\n.\nend"));
    }

    #[test]
    fn a_title_is_one_header_and_a_text_has_all_letters() {
        let mail = mail("(live)\r\nBcc: x@x.test", "Gr\u{f6}\u{df}e \u{2713}");
        let headers = mail.split_once("\n\n").unwrap().0;
        assert!(!headers.lines().any(|line| line.starts_with("Bcc")), "{headers}");
        assert!(headers.contains("Subject: Gantry: 1 rolled back (live)"), "{headers}");
        assert!(mail.is_ascii(), "{mail}");
    }
}
