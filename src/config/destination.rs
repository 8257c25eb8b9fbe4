//! The addresses of `GANTRY_NOTIFICATION_URL`: where a message goes, and in which form. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use lettre::message::Mailbox;
use percent_encoding::percent_decode_str;

use crate::secret::Secret;

/// The most addresses that Gantry tells.
const MOST: usize = 20;

/// The most characters of a topic of ntfy, as its server has it.
const TOPIC: usize = 64;

/// An address that messages go to. Neither `Debug` nor `Display` shows more of it than scheme and host.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The form of a message.
    pub protocol: Protocol,
    /// The web address without `slack+` and the like, or the whole address of a mail server. It may hold a secret.
    pub url: Secret,
    /// Scheme and host.
    pub shown: String,
    /// Its place in `GANTRY_NOTIFICATION_URL`, from 1.
    pub place: usize,
}

/// How a message is passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The API of an Apprise server.
    Apprise,
    /// A JSON object of Gantry's own.
    Webhook,
    /// An incoming webhook of Slack.
    Slack,
    /// A webhook of Discord.
    Discord,
    /// A workflow of Microsoft Teams.
    Teams,
    /// A topic of ntfy, and the token where there is one.
    Ntfy {
        /// The topic. Who knows it can read it.
        topic: Secret,
        /// The access token; `None`: none, or user and password are part of the address.
        token: Option<Secret>,
    },
    /// An application of Gotify, by its token.
    Gotify(Secret),
    /// A mail server.
    Mail(Box<MailRoute>),
}

/// A mail server, the sender and the recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailRoute {
    /// The server's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User and password; `None`: the server asks for none.
    pub account: Option<(Secret, Secret)>,
    /// The sender.
    pub from: Mailbox,
    /// The recipients; at least one.
    pub to: Vec<Mailbox>,
    /// When the connection is encrypted.
    pub tls: MailTls,
}

/// When a connection to a mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// From its beginning (`smtps://`).
    Always,
    /// By STARTTLS, or there is no mail (`tls=required`).
    Required,
    /// By STARTTLS where the server offers it.
    Offered,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Protocol::Apprise => f.write_str("GANTRY_NOTIFICATION_APPRISE_URL"),
            _ => write!(f, "GANTRY_NOTIFICATION_URL, address {}: {}", self.place, self.shown),
        }
    }
}

impl Destination {
    /// An Apprise server at this address.
    pub fn apprise(url: Secret) -> Self {
        Self { protocol: Protocol::Apprise, url, shown: "Apprise".to_owned(), place: 0 }
    }

    /// What the log says of where a message went; `None`: to Apprise, which needs no name.
    pub fn to(&self) -> Option<&str> {
        (self.protocol != Protocol::Apprise).then_some(self.shown.as_str())
    }

    /// Whether both are one address, whatever their places in the list are.
    pub fn is_same(&self, other: &Self) -> bool {
        self.url == other.url && self.protocol == other.protocol
    }

    /// Reads addresses that white space separates, and says of each wrong address what is wrong with it. The words name the place
    /// of an address and nothing of the address itself.
    pub fn read_all(text: &str) -> (Vec<Self>, Vec<String>) {
        let (mut found, mut mistakes) = (Vec::<Self>::new(), Vec::new());
        for (place, word) in (1..).zip(text.split_whitespace()) {
            if place > MOST {
                mistakes.push(format!("there are more than {MOST}; remove some"));
                break;
            }
            match read(word) {
                Ok((protocol, url, shown)) => {
                    let new = Self { protocol, url, shown, place };
                    match found.iter().find(|known| known.is_same(&new)) {
                        Some(known) => mistakes
                            .push(format!("address {place} is address {} again; remove one", known.place)),
                        None => found.push(new),
                    }
                }
                Err(expected) => mistakes.push(format!("address {place}: expected {expected}")),
            }
        }
        if text.trim().is_empty() {
            mistakes.push("there is none".to_owned());
        }
        (found, mistakes)
    }
}

impl PartialEq for Destination {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) && self.place == other.place
    }
}

impl Eq for Destination {}

/// Where the addresses of `GANTRY_NOTIFICATION_URL` are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotificationUrls {
    /// They were given themselves.
    Given(Vec<Destination>),
    /// They are the content of this file.
    File(PathBuf),
}

const NO_SCHEME: &str =
    "one of these beginnings before ://, with ntfy+http:// and gotify+http:// for plain HTTP";
const NO_HOST: &str = "a host after ://, and a port from 1 to 65535 if any";
const NTFY: &str = "ntfy+https://HOST/TOPIC, with USER:PASSWORD@ or TOKEN@ before the host if need be, and a topic of up to 64 \
                    letters, digits, - and _";
const GOTIFY: &str = "gotify+https://HOST/?token=TOKEN with the token of an application";
const MAIL: &str =
    "smtp://HOST/?from=ADDRESS&to=ADDRESS, with nothing between the port and the question mark";
const MAIL_OPTION: &str = "from=, to= and tls=required or tls=offered after the question mark, and nothing else; write %26 for & and \
                           %25 for % in an address";
const MAIL_FROM: &str = "one from=ADDRESS after the question mark, such as from=gantry@example.com";
const MAIL_TO: &str =
    "to=ADDRESS after the question mark, such as to=ops@example.com; commas separate several";
const MAIL_ACCOUNT: &str =
    "both user and password before the host (smtp://USER:PASSWORD@HOST), or none of them";
const MAIL_TLS: &str = "tls=required or tls=offered; smtps:// always uses TLS";

/// Reads one address: the form of its messages, where they go, and what people may see of that.
fn read(text: &str) -> Result<(Protocol, Secret, String), &'static str> {
    let (scheme, rest) = text.split_once("://").ok_or(NO_SCHEME)?;
    let scheme = scheme.to_ascii_lowercase();
    if matches!(scheme.as_str(), "smtp" | "smtps") {
        let url = reqwest::Url::parse(&format!("{scheme}://{rest}")).map_err(|_| NO_HOST)?;
        let route = mail_route(&url)?;
        let shown = format!("{scheme}://{}", route.host);
        return Ok((Protocol::Mail(Box::new(route)), Secret::new(text), shown));
    }
    let (service, web) = scheme.split_once('+').unwrap_or(("", &scheme));
    let is_known = matches!(
        (service, web),
        ("" | "ntfy" | "gotify", "http" | "https") | ("slack" | "discord" | "teams", "https")
    );
    if !is_known {
        return Err(NO_SCHEME);
    }
    let url = reqwest::Url::parse(&format!("{web}://{rest}")).map_err(|_| NO_HOST)?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(NO_HOST)?;
    let shown = format!("{scheme}://{host}");
    let protocol = match service {
        "slack" => Protocol::Slack,
        "discord" => Protocol::Discord,
        "teams" => Protocol::Teams,
        "ntfy" => ntfy(&url)?,
        "gotify" => {
            let token = options(&url).remove("token").filter(|tokens| tokens.len() == 1).ok_or(GOTIFY)?;
            let token = token.into_iter().next().filter(|token| is_plain(token)).ok_or(GOTIFY)?;
            Protocol::Gotify(Secret::new(token))
        }
        _ => Protocol::Webhook,
    };
    Ok((protocol, Secret::new(url), shown))
}

fn ntfy(url: &reqwest::Url) -> Result<Protocol, &'static str> {
    let path = url.path().trim_matches('/');
    let is_topic = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if path.is_empty() || path.len() > TOPIC || !path.chars().all(is_topic) || url.query().is_some() {
        return Err(NTFY);
    }
    let token = match (url.username(), url.password()) {
        ("", None) => None,
        (token, None) | ("", Some(token)) => {
            Some(decoded(token)).filter(|token| is_plain(token)).ok_or(NTFY)?.into()
        }
        _ => None,
    };
    Ok(Protocol::Ntfy { topic: Secret::new(path), token: token.map(|token: String| Secret::new(token)) })
}

/// Whether a token can stand in a header.
fn is_plain(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

fn mail_route(url: &reqwest::Url) -> Result<MailRoute, &'static str> {
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(NO_HOST)?;
    if !matches!(url.path(), "" | "/") {
        return Err(MAIL);
    }
    let account = match (decoded(url.username()), url.password().map(decoded)) {
        (user, None) if user.is_empty() => None,
        (user, Some(password)) if !user.is_empty() && !password.is_empty() => {
            Some((Secret::new(user), Secret::new(password)))
        }
        _ => return Err(MAIL_ACCOUNT),
    };
    let mut options = options(url);
    let from = options.remove("from").unwrap_or_default();
    let [from] = &from[..] else { return Err(MAIL_FROM) };
    let to: Vec<Mailbox> = options
        .remove("to")
        .unwrap_or_default()
        .iter()
        .flat_map(|list| list.split(','))
        .map(|one| one.trim().parse().map_err(|_| MAIL_TO))
        .collect::<Result<_, _>>()?;
    if to.is_empty() {
        return Err(MAIL_TO);
    }
    let tls = options.remove("tls").unwrap_or_default();
    let tls = match (url.scheme(), &tls.iter().map(String::as_str).collect::<Vec<_>>()[..]) {
        ("smtps", [] | ["required"]) => MailTls::Always,
        ("smtp", ["required"]) => MailTls::Required,
        // A network on the way could hide that the server offers STARTTLS, and read the password.
        ("smtp", []) if account.is_some() && !is_loopback(host) => MailTls::Required,
        ("smtp", [] | ["offered"]) => MailTls::Offered,
        _ => return Err(MAIL_TLS),
    };
    if !options.is_empty() {
        return Err(MAIL_OPTION);
    }
    Ok(MailRoute {
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        // The ports of RFC 8314.
        port: url.port().unwrap_or(if tls == MailTls::Always { 465 } else { 587 }),
        account,
        from: from.trim().parse().map_err(|_| MAIL_FROM)?,
        to,
        tls,
    })
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What stands after the question mark. A `+` is itself, as in `ops+gantry@example.com`.
fn options(url: &reqwest::Url) -> BTreeMap<String, Vec<String>> {
    let mut options: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in url.query().into_iter().flat_map(|query| query.split('&')).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        options.entry(decoded(name)).or_default().push(decoded(value));
    }
    options
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Destination {
        let (mut found, mistakes) = Destination::read_all(text);
        assert_eq!((found.len(), mistakes), (1, Vec::new()), "{text}");
        found.remove(0)
    }

    fn mail(text: &str) -> MailRoute {
        match only(text).protocol {
            Protocol::Mail(route) => *route,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_scheme_has_its_form_and_people_see_scheme_and_host() {
        let token = |text: &str| Some(Secret::new(text));
        let ntfy = |topic: &str, token| Protocol::Ntfy { topic: Secret::new(topic), token };
        for (text, protocol, url, shown) in [
            ("https://h.test/a?b=c", Protocol::Webhook, "https://h.test/a?b=c", "https://h.test"),
            ("HTTP://u:p@h.test:8/a", Protocol::Webhook, "http://u:p@h.test:8/a", "http://h.test"),
            (
                "slack+https://h.test/s/T/B/x",
                Protocol::Slack,
                "https://h.test/s/T/B/x",
                "slack+https://h.test",
            ),
            ("discord+https://h.test/a", Protocol::Discord, "https://h.test/a", "discord+https://h.test"),
            (
                "teams+https://h.test/a?sig=x",
                Protocol::Teams,
                "https://h.test/a?sig=x",
                "teams+https://h.test",
            ),
            ("ntfy+http://h.test/ops", ntfy("ops", None), "http://h.test/ops", "ntfy+http://h.test"),
            ("ntfy+https://u:p@h.test/o/", ntfy("o", None), "https://u:p@h.test/o/", "ntfy+https://h.test"),
            (
                "ntfy+https://tk_1@h.test/o",
                ntfy("o", token("tk_1")),
                "https://tk_1@h.test/o",
                "ntfy+https://h.test",
            ),
            (
                "ntfy+https://:tk_1@h.test/o",
                ntfy("o", token("tk_1")),
                "https://:tk_1@h.test/o",
                "ntfy+https://h.test",
            ),
            (
                "gotify+http://[::1]:80/base/?token=A.b",
                Protocol::Gotify(Secret::new("A.b")),
                "http://[::1]/base/?token=A.b",
                "gotify+http://[::1]",
            ),
        ] {
            let one = only(text);
            assert_eq!(
                (one.protocol, one.url.reveal(), one.shown.as_str()),
                (protocol, url, shown),
                "{text}"
            );
        }
    }

    #[test]
    fn an_address_of_mail_says_who_gets_it_and_how() {
        let route = mail(
            "smtp://us%40er:p%2Fw@mail.test/?from=Gantry%20<g@a.test>&to=ops+gantry@a.test,b@a.test&to=c@a.test",
        );
        assert_eq!((route.host.as_str(), route.port, route.tls), ("mail.test", 587, MailTls::Required));
        let own = mail("smtp://user:password@127.0.0.1/?from=a@a.test&to=b@a.test");
        assert_eq!(own.tls, MailTls::Offered, "no network lies between");
        let (user, password) = route.account.unwrap();
        assert_eq!((user.reveal(), password.reveal()), ("us@er", "p/w"));
        assert_eq!(route.from.to_string(), "Gantry <g@a.test>");
        let to: Vec<String> = route.to.iter().map(ToString::to_string).collect();
        assert_eq!(to, ["ops+gantry@a.test", "b@a.test", "c@a.test"]);
        for (text, port, tls) in [
            ("smtp://m.test:25?from=a@a.test&to=b@a.test&tls=offered", 25, MailTls::Offered),
            ("smtp://m.test?from=a@a.test&to=b@a.test&tls=required", 587, MailTls::Required),
            ("smtp://m.test?from=a@a.test&to=b@a.test", 587, MailTls::Offered),
            ("smtps://[::1]/?from=a@a.test&to=b@a.test", 465, MailTls::Always),
        ] {
            let route = mail(text);
            assert_eq!((route.port, route.tls, &route.account), (port, tls, &None), "{text}");
            assert!(["m.test", "::1"].contains(&route.host.as_str()), "{route:?}");
        }
    }

    #[test]
    fn a_wrong_address_is_named_by_its_place_and_never_shown() {
        let wrong = [
            "hush",
            "hush://hush.test/",
            "slack+http://hush.test/",
            "https://",
            "http://hush.test:99999/",
            "ntfy+https://hush.test/",
            "ntfy+https://hush.test/hush/hush",
            "ntfy+https://hush.test/hush?hush=1",
            "gotify+https://hush.test/hush",
            "smtp://hush.test/?to=hush@hush.test",
            "smtp://hush.test/?from=hush@hush.test",
            "smtp://hush.test/?from=hush&to=hush@hush.test",
            "smtp://hush@hush.test/?from=a@hush.test&to=b@hush.test",
            "smtp://hush.test/?from=a@hush.test&to=b@hush.test&tls=hush",
            "smtps://hush.test/?from=a@hush.test&to=b@hush.test&tls=offered",
            "smtp://hush.test/?from=a@hush.test&to=b@hush.test&hush=1",
            "smtp://hush.test/hush?from=a@hush.test&to=b@hush.test",
        ];
        let (found, mistakes) = Destination::read_all(&format!("https://h.test {}", wrong.join("\n\t")));
        assert_eq!((found.len(), mistakes.len()), (1, wrong.len()), "{mistakes:#?}");
        assert!(mistakes.iter().all(|mistake| !mistake.contains("hush")), "{mistakes:#?}");
        insta::assert_snapshot!(mistakes.join("\n"));
    }

    #[test]
    fn an_address_counts_once_and_there_are_not_many() {
        let (found, mistakes) = Destination::read_all("https://h.test/a http://h.test/a HTTPS://h.test/a");
        assert_eq!((found.len(), mistakes), (2, vec!["address 3 is address 1 again; remove one".to_owned()]));
        let many: Vec<String> = (0..30).map(|number| format!("https://h.test/{number}")).collect();
        let (found, mistakes) = Destination::read_all(&many.join(" "));
        assert_eq!((found.len(), mistakes.len()), (20, 1));
        assert_eq!(Destination::read_all(" \n").1, ["there is none"]);
        let shown = format!("{:?} {}", found[0], found[0]);
        assert!(!shown.contains("test/0"), "{shown}");
    }
}
