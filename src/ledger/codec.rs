//! Entries as labels that a person can read, and back. Pure.
//!
//! ```text
//! gantry.service.web        = quarantined image=r.test/app:1 digest=sha256:... service=x2k... at=2026-01-01T00:00:00Z
//!                             node=node1 cause=a task failed on node2: task: non-zero exit (1)
//! gantry.image.r.test/app:1 = offered digest=sha256:... at=... node=node1 before=0123456789ab,ba9876543210
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::entry::{DigestVerdict, Entry, MAX_BEFORE, Subject};
use super::lease::{Claim, Party};
use super::left_behind::LeftBehind;
use crate::words::cut;

/// The labels of a config, as they are in the swarm.
pub type Labels = BTreeMap<String, String>;

/// The labels about services; the service's name follows.
const SERVICE: &str = "gantry.service.";

/// The labels about images; the image's name follows.
const IMAGE: &str = "gantry.image.";

/// The labels about where tags stand; the image's name follows.
const TAG: &str = "gantry.tag.";

/// The label that says who is rolling out.
pub const LEASE: &str = "gantry.lease";

/// The label by which another Gantry asks whether the holder of the lease is alive.
pub const CLAIM: &str = "gantry.claim";

/// The label that says what was under way when a Gantry was stopped.
pub const LEFT: &str = "gantry.left";

/// The label with the notes on update orders.
pub const ORDERS: &str = "gantry.orders";

/// The label that says that no update begins.
pub const PAUSE: &str = "gantry.pause";

/// The label that says when the latest cycle of the schedule began.
pub const SCHEDULED: &str = "gantry.scheduled";

/// The label with the latest steering actions.
pub const STEERED: &str = "gantry.steered";

/// Longest cause that is written. What the log says may be longer.
const MAX_CAUSE_CHARS: usize = 160;

/// Longest name of an image, with its tag.
const MAX_IMAGE: usize = 512;

/// The label's key of an entry.
pub fn key(subject: &Subject) -> String {
    match subject {
        Subject::Service(name) => format!("{SERVICE}{name}"),
        Subject::Image(name) => format!("{IMAGE}{name}"),
        Subject::Tag(name) => format!("{TAG}{name}"),
    }
}

/// What a label's key says that it is about; nothing for a label that is no entry.
pub fn subject(key: &str) -> Option<Subject> {
    let service = key.strip_prefix(SERVICE).map(|name| Subject::Service(name.to_owned()));
    let image = || key.strip_prefix(IMAGE).map(|name| Subject::Image(name.to_owned()));
    let tag = || key.strip_prefix(TAG).map(|name| Subject::Tag(name.to_owned()));
    service.or_else(image).or_else(tag)
}

/// Writes an entry.
pub fn write(entry: &Entry) -> String {
    let verdict = match entry.verdict {
        DigestVerdict::Quarantined => "quarantined",
        DigestVerdict::LeftByHand => "left-by-hand",
        DigestVerdict::Released => "released",
        DigestVerdict::Excused => "excused",
        DigestVerdict::GoneBack => "gone-back",
        DigestVerdict::Offered => "offered",
    };
    let mut text = verdict.to_owned();
    if let Subject::Service(_) = entry.subject {
        let _ = write!(text, " image={}", entry.image);
    }
    let _ = write!(text, " digest={}", entry.digest);
    add(&mut text, "service", &entry.service_id);
    let _ = write!(text, " at={:.0}", entry.at);
    add(&mut text, "node", &one_word(&entry.node));
    add(&mut text, "before", &entry.before.join(","));
    add(&mut text, "had", &entry.had.join(","));
    add(&mut text, "stopped", &entry.stopped.join(","));
    if entry.flips > 0 {
        add(&mut text, "flips", &entry.flips.to_string());
    }
    let cause = entry.cause.replace(char::is_control, " ");
    add(&mut text, "cause", &cause.trim().chars().take(MAX_CAUSE_CHARS).collect::<String>());
    text
}

/// Reads an entry. `None`: nothing that this program would write.
pub fn read(subject: &Subject, text: &str) -> Option<Entry> {
    let (verdict, rest) = text.split_once(' ')?;
    let verdict = match verdict {
        "quarantined" => DigestVerdict::Quarantined,
        "left-by-hand" => DigestVerdict::LeftByHand,
        "released" => DigestVerdict::Released,
        "excused" => DigestVerdict::Excused,
        "gone-back" => DigestVerdict::GoneBack,
        "offered" => DigestVerdict::Offered,
        _ => return None,
    };
    let words = Words::of(rest);
    let image = match subject {
        Subject::Service(_) => words.get("image").filter(|image| image.len() <= MAX_IMAGE)?.to_owned(),
        Subject::Image(name) | Subject::Tag(name) => name.clone(),
    };
    Some(Entry {
        subject: subject.clone(),
        verdict,
        image,
        digest: words.get("digest")?.parse().ok()?,
        service_id: match subject {
            Subject::Service(_) => words.get("service")?.to_owned(),
            Subject::Image(_) | Subject::Tag(_) => String::new(),
        },
        at: words.get("at")?.parse().ok()?,
        node: words.get("node").unwrap_or_default().to_owned(),
        before: words.list("before"),
        had: words.list("had"),
        stopped: words.list("stopped"),
        flips: words.get("flips").and_then(|flips| flips.parse().ok()).unwrap_or_default(),
        cause: words.cause.chars().take(MAX_CAUSE_CHARS).collect(),
    })
}

/// Writes who holds the lease.
pub fn write_party(party: &Party) -> String {
    let mut text = format!("by={}", one_word(&party.id));
    add(&mut text, "who", &one_word(&party.who));
    add(&mut text, "service", &one_word(&party.service));
    add(&mut text, "task", &one_word(&party.task));
    add(&mut text, "since", &party.since.map(|since| since.to_string()).unwrap_or_default());
    text
}

/// Reads who holds the lease. Whatever is there, the lease is held: an unreadable text is a party that will not
/// answer.
pub fn read_party(text: &str) -> Party {
    let words = Words::of(text);
    let word = |key: &str| words.get(key).unwrap_or_default().to_owned();
    let id = words.get("by").unwrap_or(text).to_owned();
    let since = words.get("since").and_then(|since| since.parse().ok());
    Party { id, who: cut(&word("who")), service: word("service"), task: word("task"), since }
}

/// Writes a claim.
pub fn write_claim(claim: &Claim) -> String {
    format!("by={} number={}", one_word(&claim.by), claim.number)
}

/// Reads a claim. Whatever is there, it is a claim: an unreadable text is a claim of no party.
pub fn read_claim(text: &str) -> Claim {
    let words = Words::of(text);
    match (words.get("by"), words.get("number").and_then(|number| number.parse().ok())) {
        (Some(by), Some(number)) => Claim { by: by.to_owned(), number },
        _ => Claim { by: text.to_owned(), number: 0 },
    }
}

/// Writes what is left behind: `since=` and names of services, which the swarm lets have neither a space nor a `=`.
pub fn write_left(left: &LeftBehind) -> String {
    let since = left.since.map(|since| format!("since={since}"));
    let words: Vec<&str> =
        since.iter().map(String::as_str).chain(left.services.iter().map(String::as_str)).collect();
    words.join(" ")
}

/// Reads what is left behind.
pub fn read_left(text: &str) -> LeftBehind {
    let mut left = LeftBehind::default();
    for word in text.split_whitespace() {
        match word.split_once('=') {
            Some(("since", version)) => left.since = version.parse().ok(),
            Some(_) => {}
            None => _ = left.services.insert(word.to_owned()),
        }
    }
    left
}

pub(super) fn add(text: &mut String, key: &str, value: &str) {
    if !value.is_empty() {
        let _ = write!(text, " {key}={value}");
    }
}

pub(super) fn one_word(text: &str) -> String {
    text.replace(|c: char| c.is_whitespace() || c.is_control(), "_")
}

/// `key=value` words; the last, `cause`, goes to the end of the text.
pub(super) struct Words<'a> {
    words: Vec<(&'a str, &'a str)>,
    pub(super) cause: &'a str,
}

impl<'a> Words<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let (text, cause) = text.split_once(" cause=").unwrap_or((text, ""));
        Self { words: text.split_whitespace().filter_map(|word| word.split_once('=')).collect(), cause }
    }

    fn list(&self, key: &str) -> Vec<String> {
        let list = self.get(key).map(|list| list.split(',').take(MAX_BEFORE).map(str::to_owned));
        list.map(Iterator::collect).unwrap_or_default()
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a str> {
        self.words.iter().find(|(word, _)| *word == key).map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry() -> Entry {
        Entry {
            subject: Subject::Service("web".to_owned()),
            verdict: DigestVerdict::Quarantined,
            image: "r.test/app:1".to_owned(),
            digest: format!("sha256:{}", "0123456789abcdef".repeat(4)).parse().unwrap(),
            service_id: "x2k9".to_owned(),
            at: "2026-01-02T03:04:05Z".parse().unwrap(),
            node: "node1".to_owned(),
            before: Vec::new(),
            had: Vec::new(),
            stopped: Vec::new(),
            flips: 0,
            cause: "a task failed on node2: task: non-zero exit (1)".to_owned(),
        }
    }

    #[test]
    fn an_entry_is_a_line_for_people() {
        insta::assert_snapshot!(
            format!("{} = {}", key(&entry().subject), write(&entry())),
            @"gantry.service.web = quarantined image=r.test/app:1 digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef service=x2k9 at=2026-01-02T03:04:05Z node=node1 cause=a task failed on node2: task: non-zero exit (1)"
        );
        let image = Entry {
            subject: Subject::Image("r.test/app:1".to_owned()),
            verdict: DigestVerdict::Offered,
            service_id: String::new(),
            before: vec!["0123456789ab".to_owned(), "ba9876543210".to_owned()],
            cause: String::new(),
            ..entry()
        };
        insta::assert_snapshot!(
            format!("{} = {}", key(&image.subject), write(&image)),
            @"gantry.image.r.test/app:1 = offered digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef at=2026-01-02T03:04:05Z node=node1 before=0123456789ab,ba9876543210"
        );
        assert_eq!(read(&image.subject, &write(&image)), Some(image.clone()));
        let tag = Entry {
            subject: Subject::Tag("r.test/app:1".to_owned()),
            verdict: DigestVerdict::GoneBack,
            before: Vec::new(),
            had: vec!["0123456789ab".to_owned()],
            flips: 2,
            ..image
        };
        assert_eq!(subject(&key(&tag.subject)).as_ref(), Some(&tag.subject));
        assert_eq!(read(&tag.subject, &write(&tag)), Some(tag));
    }

    #[test]
    fn what_this_program_would_not_write_is_no_entry() {
        let good = write(&entry());
        assert!(read(&entry().subject, &good).is_some());
        for damaged in [
            "",
            "quarantined",
            "forbidden for ever",
            &good[..40],
            &good.replace("sha256:01", "sha256:zz"),
            &good.replace("2026", "soon"),
            &good.replace("quarantined", "Quarantined"),
            &good.replace("service=", "servant="),
        ] {
            assert_eq!(read(&entry().subject, damaged), None, "{damaged:?}");
        }
    }

    proptest! {
        #[test]
        fn writing_and_reading_changes_nothing_but_what_makes_no_line(
            name in "[a-z][a-z0-9-]{0,20}",
            image in "[a-z0-9./:-]{1,30}",
            cause in "\\PC{0,300}",
            seconds in 0_i64..4_000_000_000,
            verdict in prop_oneof![Just(DigestVerdict::Quarantined), Just(DigestVerdict::LeftByHand), Just(DigestVerdict::Released), Just(DigestVerdict::Excused)],
        ) {
            let at = Timestamp::from_second(seconds).unwrap();
            let mut entry = Entry { subject: Subject::Service(name), verdict, image, at, cause, ..entry() };
            let subject_again = subject(&key(&entry.subject));
            prop_assert_eq!(subject_again.as_ref(), Some(&entry.subject));
            let written = write(&entry);
            prop_assert!(!written.contains('\n') && written.len() < 1_200);
            entry.cause = entry.cause.trim().chars().take(MAX_CAUSE_CHARS).collect();
            prop_assert_eq!(read(&entry.subject, &written), Some(entry));
        }

        #[test]
        fn no_text_makes_reading_panic(text in "\\PC{0,200}", name in "\\PC{0,20}") {
            let _ = read(&Subject::Service(name.clone()), &text);
            let _ = read(&Subject::Image(name), &text);
            let _ = (read_party(&text), read_claim(&text));
        }

        #[test]
        fn parties_and_claims_survive_as_well(
            id in "[a-f0-9]{1,16}", who in "[!-~]{0,20}", since: Option<u64>, number: u32,
        ) {
            let who = who.replace('=', "-");
            let party = Party { id: id.clone(), who, service: "s1".to_owned(), task: String::new(), since };
            prop_assert_eq!(read_party(&write_party(&party)), party);
            let claim = Claim { by: id, number };
            prop_assert_eq!(read_claim(&write_claim(&claim)), claim);
        }
    }

    use jiff::Timestamp;
}
