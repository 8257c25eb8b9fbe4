//! A message in the form that a web service takes, by its documentation. Pure.

use reqwest::Url;
use serde_json::{Value, json};

use super::fit::{MARK, TITLE_MARK, bytes, fitted, plain, units};
use super::message::{Kind, Message};
use crate::config::{Destination, Protocol};

/// The longest text of Slack that stays one message, in characters.
const SLACK: usize = 4_000;

/// The longest title and the longest text of an embed of Discord, in characters.
const DISCORD: (usize, usize) = (256, 4_096);

/// The longest title that looks well on a telephone, and the longest text that ntfy does not make a file of, in bytes.
const NTFY: (usize, usize) = (250, 4_096);

/// How much of a card is text, in bytes of JSON. Teams takes 28 kB with all that is around the text.
const TEAMS: usize = 20_000;

/// A request that passes a message on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HttpPost {
    /// Where it goes. It may hold a secret.
    pub(super) url: String,
    /// One more header, which holds a secret.
    pub(super) header: Option<(&'static str, String)>,
    /// The body, in JSON.
    pub(super) body: Value,
}

/// The request for a message; `None`: the address is none of the web.
pub(super) fn of(destination: &Destination, message: &Message) -> Option<HttpPost> {
    let url = destination.url.reveal();
    let plain = |body| Some(HttpPost { url: url.to_owned(), header: None, body });
    match &destination.protocol {
        Protocol::Apprise => plain(json!(message)),
        Protocol::Webhook => plain(json!({
            "title": message.title(),
            "text": message.body(),
            "type": message.kind(),
            "run": message.run(),
        })),
        Protocol::Slack => plain(slack(message)),
        Protocol::Discord => plain(discord(message)),
        Protocol::Teams => plain(teams(message)),
        Protocol::Ntfy { topic, token } => {
            let mut url = Url::parse(url).ok()?;
            url.set_path("/");
            if token.is_some() {
                url.set_username("").ok()?;
                url.set_password(None).ok()?;
            }
            let header = token.as_ref().map(|token| ("authorization", format!("Bearer {}", token.reveal())));
            Some(HttpPost { url: url.into(), header, body: ntfy(topic.reveal(), message) })
        }
        Protocol::Gotify(token) => {
            let mut url = Url::parse(url).ok()?;
            url.set_query(None);
            let base = url.path().trim_end_matches('/').trim_end_matches("/message").to_owned();
            url.set_path(&format!("{base}/message"));
            let header = Some(("x-gotify-key", token.reveal().to_owned()));
            Some(HttpPost { url: url.into(), header, body: gotify(message) })
        }
        Protocol::Mail(_) => None,
    }
}

/// `mrkdwn: false` leaves stars and underscores alone; only these three characters mean something else then.
fn slack(message: &Message) -> Value {
    let escape = |c: char, text: &mut String| match c {
        '&' => text.push_str("&amp;"),
        '<' => text.push_str("&lt;"),
        '>' => text.push_str("&gt;"),
        c => text.push(c),
    };
    let text = format!("{}\n\n{}", message.title(), message.body());
    json!({ "text": fitted(&text, SLACK, MARK, escape, units), "mrkdwn": false })
}

/// An embed is Markdown. Nothing in it is a mention, whatever it says.
fn discord(message: &Message) -> Value {
    let escape = |c: char, text: &mut String| {
        if matches!(c, '\\' | '*' | '_' | '~' | '`' | '|' | '>' | '#') {
            text.push('\\');
        }
        text.push(c);
    };
    let colour = match message.kind() {
        Kind::Info => 0x34_98_db,
        Kind::Success => 0x2e_cc_71,
        Kind::Failure => 0xe7_4c_3c,
    };
    json!({
        "embeds": [{
            "title": fitted(message.title(), DISCORD.0, TITLE_MARK, escape, units),
            "description": fitted(message.body(), DISCORD.1, MARK, escape, units),
            "color": colour,
        }],
        "allowed_mentions": { "parse": [] },
    })
}

/// An adaptive card. Its text blocks are Markdown and its rich text blocks are not, and so each line is one of these.
fn teams(message: &Message) -> Value {
    let colour = match message.kind() {
        Kind::Info => "Default",
        Kind::Success => "Good",
        Kind::Failure => "Attention",
    };
    let block = |text: &str, spacing: &str| {
        json!({
            "type": "RichTextBlock", "spacing": spacing, "inlines": [{ "type": "TextRun", "text": text }],
        })
    };
    let title = fitted(message.title(), TEAMS / 10, TITLE_MARK, plain, bytes);
    let mut blocks = vec![json!({
        "type": "RichTextBlock",
        "inlines": [{ "type": "TextRun", "text": title, "weight": "Bolder", "color": colour }],
    })];
    // Each line counts with the block around it.
    let around = block("", "None").to_string().len() + 2;
    let size = |text: &str| {
        let escaped = serde_json::to_string(text).map_or(text.len(), |json| json.len() - 2);
        escaped + text.matches('\n').count() * around
    };
    let mut spacing = "Medium";
    for line in fitted(message.body(), TEAMS, MARK, plain, size).lines() {
        if line.is_empty() {
            spacing = "Medium";
            continue;
        }
        blocks.push(block(line, spacing));
        spacing = "None";
    }
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": blocks,
            },
        }],
    })
}

/// To the root of the server with the topic in the body, as a title in a header could not have all characters.
fn ntfy(topic: &str, message: &Message) -> Value {
    let (priority, tag) = match message.kind() {
        Kind::Info => (2, "information_source"),
        Kind::Success => (3, "white_check_mark"),
        Kind::Failure => (4, "warning"),
    };
    json!({
        "topic": topic,
        "title": fitted(message.title(), NTFY.0, TITLE_MARK, plain, bytes),
        "message": fitted(message.body(), NTFY.1, MARK, plain, bytes),
        "priority": priority,
        "tags": [tag],
    })
}

/// Gotify names no limit. From 4 on a telephone makes a sound, from 8 on it also shows the message at once.
fn gotify(message: &Message) -> Value {
    let priority = match message.kind() {
        Kind::Info => 2,
        Kind::Success => 4,
        Kind::Failure => 8,
    };
    json!({ "title": message.title(), "message": message.body(), "priority": priority })
}

#[cfg(test)]
mod tests {
    use super::*;

    const URLS: &str = "https://h.test/hook?key=1 slack+https://h.test/services/T/B/x discord+https://h.test/api/webhooks/1/x \
                        teams+https://h.test/workflows/x?sig=y ntfy+https://h.test/ops ntfy+http://u:p@h.test:81/ops \
                        ntfy+https://tk_1@h.test/ops gotify+https://h.test/base/?token=A.b gotify+http://h.test/message?token=A";

    fn destinations() -> Vec<Destination> {
        let (found, mistakes) = Destination::read_all(URLS);
        assert_eq!(mistakes, [""; 0]);
        found
    }

    fn message(kind: Kind, body: &str) -> Message {
        Message::new("1 rolled back & \"2\" updated", Some("<live> *x*"), body, kind)
    }

    #[test]
    fn each_service_gets_the_form_of_its_documentation() {
        let body = "3 services: 1 rolled back\n\nmy_shop: <!channel> @everyone [a](b) `c` \\ # ~~d~~\n    exit code 3\n";
        let run = json!({ "id": 17, "services": [] });
        let message = message(Kind::Failure, body).about(Some(run));
        let shown: Vec<String> = destinations()
            .iter()
            .map(|destination| {
                let HttpPost { url, header, body } = of(destination, &message).unwrap();
                let header = header.map_or(String::new(), |(name, value)| format!("\n{name}: {value}"));
                format!("POST {url}{header}\n{body:#}")
            })
            .collect();
        insta::assert_snapshot!(shown.join("\n\n"));
        let mail = "smtp://h.test/?from=a@a.test&to=b@b.test";
        assert_eq!(of(&Destination::read_all(mail).0[0], &message), None);
    }

    #[test]
    fn a_message_of_no_run_says_so_and_types_differ() {
        for (kind, name, priority) in
            [(Kind::Info, "info", 2), (Kind::Success, "success", 3), (Kind::Failure, "failure", 4)]
        {
            let message = message(kind, "x");
            let all: Vec<Value> = destinations().iter().map(|it| of(it, &message).unwrap().body).collect();
            assert_eq!((&all[0]["run"], all[0]["type"].as_str()), (&Value::Null, Some(name)));
            assert_eq!(all[4]["priority"], priority);
        }
    }

    #[test]
    fn a_long_message_is_cut_to_what_each_service_takes() {
        for letter in ["a", "\u{e4}", "\u{1f600}", "*<&\"", "\n", "a\n"] {
            let message = Message::new(&letter.repeat(3_000), None, &letter.repeat(60_000), Kind::Success);
            let all: Vec<Value> = destinations().iter().map(|it| of(it, &message).unwrap().body).collect();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let slack = text(&all[1]["text"]);
            let embed = &all[2]["embeds"][0];
            let (title, description) = (text(&embed["title"]), text(&embed["description"]));
            assert!(slack.chars().count() <= 4_000, "{letter:?} {}", slack.len());
            assert!(title.chars().count() <= 256 && description.chars().count() <= 4_096, "{letter:?}");
            assert!(title.chars().count() + description.chars().count() <= 6_000, "{letter:?}");
            let card = all[3].to_string();
            assert!(card.len() <= 28_000, "{letter:?} {}", card.len());
            assert!(
                text(&all[4]["message"]).len() <= 4_096 && text(&all[4]["title"]).len() <= 250,
                "{letter:?}"
            );
            for cut in [slack, description, card, text(&all[4]["message"])] {
                assert!(cut.contains("... (cut; the log has all of it)"), "{letter:?}");
            }
            assert_eq!(text(&all[0]["text"]).len(), message.body().len(), "the webhook has all of it");
        }
    }
}
