//! Approvals as labels that a person can read, and back. Pure.
//!
//! ```text
//! gantry.approved.r.test/app:1 = digest=sha256:... by=anna via=api at=2026-01-01T00:00:00Z until=2026-01-08T00:00:00Z
//!                                cause=tested on staging
//! gantry.approved-for.shop     = image=r.test/app:1 digest=sha256:... by=ben via=cli at=... until=...
//! ```

use std::collections::BTreeMap;

use super::codec::{Labels, Words, add, one_word};
use crate::gate::approval::Approval;
use crate::words::printable;

/// The labels about images; the image's name follows.
const OF_IMAGE: &str = "gantry.approved.";

/// The labels about services; the service's name follows.
const OF_SERVICE: &str = "gantry.approved-for.";

/// So many approvals are remembered.
const MAX_APPROVALS: usize = 32;

/// The longest reason that is written, in characters.
const MAX_WHY_CHARS: usize = 160;

/// What an approval is for. There is one approval for each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApprovedFor {
    /// All services of this image.
    Image(String),
    /// One service, by name.
    Service(String),
}

/// All approvals, also those that have run out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Approvals(BTreeMap<ApprovedFor, Approval>);

impl ApprovedFor {
    /// What an approval is for.
    pub fn of(approval: &Approval) -> Self {
        match &approval.service {
            Some(service) => Self::Service(service.clone()),
            None => Self::Image(approval.image.clone()),
        }
    }

    /// The label's key.
    pub fn key(&self) -> String {
        match self {
            Self::Image(name) => format!("{OF_IMAGE}{name}"),
            Self::Service(name) => format!("{OF_SERVICE}{name}"),
        }
    }

    fn of_key(key: &str) -> Option<Self> {
        let service = key.strip_prefix(OF_SERVICE).map(|name| Self::Service(name.to_owned()));
        service.or_else(|| key.strip_prefix(OF_IMAGE).map(|name| Self::Image(name.to_owned())))
    }
}

impl Approvals {
    /// Reads the labels. What is no approval is left out.
    pub fn read(labels: &Labels) -> Self {
        let approvals = labels.iter().filter_map(|(key, text)| {
            let subject = ApprovedFor::of_key(key)?;
            let approval = read(&subject, text)?;
            Some((subject, approval))
        });
        Self(approvals.collect())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Approval> {
        self.0.values()
    }

    /// Takes note of an approval, in place of the earlier one for the same, and forgets the oldest where there are too many.
    pub fn put(&mut self, approval: Approval) {
        self.0.insert(ApprovedFor::of(&approval), approval);
        while self.0.len() > MAX_APPROVALS {
            let oldest = self.0.iter().min_by_key(|(_, approval)| approval.at).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { return };
            self.0.remove(&oldest);
        }
    }

    /// Forgets an approval, if it is still this.
    pub fn remove(&mut self, approval: &Approval) {
        let subject = ApprovedFor::of(approval);
        if self.0.get(&subject) == Some(approval) {
            self.0.remove(&subject);
        }
    }

    /// The labels with these approvals, and no others.
    pub fn write(&self, labels: &mut Labels) {
        labels.retain(|key, _| ApprovedFor::of_key(key).is_none());
        labels.extend(self.0.iter().map(|(subject, approval)| (subject.key(), write(approval))));
    }
}

/// An approval as the ledger keeps it: names of one word, whole seconds, and a reason of a certain length.
pub fn kept(approval: Approval) -> Approval {
    let Approval { image, service, digest, by, via, at, until, why } = approval;
    let second = |at: jiff::Timestamp| jiff::Timestamp::from_second(at.as_second()).unwrap_or(at);
    let why: String = printable(&why).trim().chars().take(MAX_WHY_CHARS).collect();
    let why = why.trim_end().to_owned();
    Approval {
        image,
        service,
        digest,
        by: one_word(&by),
        via: one_word(&via),
        at: second(at),
        until: second(until),
        why,
    }
}

fn write(approval: &Approval) -> String {
    let mut text = format!("digest={}", approval.digest);
    if approval.service.is_some() {
        add(&mut text, "image", &approval.image);
    }
    add(&mut text, "by", &one_word(&approval.by));
    add(&mut text, "via", &one_word(&approval.via));
    add(&mut text, "at", &format!("{:.0}", approval.at));
    add(&mut text, "until", &format!("{:.0}", approval.until));
    add(&mut text, "cause", &approval.why);
    text
}

/// Reads a label. `None`: nothing that this program would write.
fn read(subject: &ApprovedFor, text: &str) -> Option<Approval> {
    let words = Words::of(text);
    let (image, service) = match subject {
        ApprovedFor::Image(name) => (name.clone(), None),
        ApprovedFor::Service(name) => (words.get("image")?.to_owned(), Some(name.clone())),
    };
    Some(kept(Approval {
        image,
        service,
        digest: words.get("digest")?.parse().ok()?,
        by: words.get("by")?.to_owned(),
        via: words.get("via").unwrap_or_default().to_owned(),
        at: words.get("at")?.parse().ok()?,
        until: words.get("until")?.parse().ok()?,
        why: words.cause.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn approval(service: Option<&str>, second: i64) -> Approval {
        Approval {
            image: "r.test/app:1".to_owned(),
            service: service.map(str::to_owned),
            digest: format!("sha256:{}", "0123456789abcdef".repeat(4)).parse().unwrap(),
            by: "anna".to_owned(),
            via: "api".to_owned(),
            at: Timestamp::from_second(second).unwrap(),
            until: Timestamp::from_second(second + 604_800).unwrap(),
            why: "tested on staging".to_owned(),
        }
    }

    #[test]
    fn approvals_are_lines_for_people_and_survive_their_labels() {
        let mut approvals = Approvals::default();
        approvals.put(approval(None, 0));
        approvals.put(approval(Some("shop"), 5));
        let mut labels = Labels::from([("gantry.lease".to_owned(), "by=1".to_owned())]);
        approvals.write(&mut labels);
        let text = &labels["gantry.approved-for.shop"];
        assert!(text.starts_with("digest=sha256:0123") && text.ends_with(
            " image=r.test/app:1 by=anna via=api at=1970-01-01T00:00:05Z until=1970-01-08T00:00:05Z cause=tested on staging"
        ), "{text}");
        assert_eq!(Approvals::read(&labels), approvals);
        approvals.remove(&approval(Some("shop"), 6));
        assert_eq!(approvals.iter().count(), 2, "it is another one");
        approvals.remove(&approval(Some("shop"), 5));
        approvals.write(&mut labels);
        assert_eq!(labels.keys().collect::<Vec<_>>(), ["gantry.approved.r.test/app:1", "gantry.lease"]);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut approvals = Approvals::default();
        for second in 0..40 {
            approvals.put(approval(Some(&format!("shop-{second}")), second));
        }
        assert_eq!(approvals.iter().count(), MAX_APPROVALS);
        assert!(approvals.iter().all(|approval| approval.at.as_second() >= 8));
    }

    #[test]
    fn damaged_approvals_approve_nothing() {
        let subject = ApprovedFor::Image("app:1".to_owned());
        let good = write(&approval(None, 0));
        assert!(read(&subject, &good).is_some());
        for damaged in ["", "by=anna", &good.replace("sha256:0", "sha256:z"), &good.replace("until", "til")] {
            assert_eq!(read(&subject, damaged), None, "{damaged}");
        }
    }

    proptest! {
        #[test]
        fn any_reason_is_one_line(why in "\\PC{0,300}|[\\n\\r\\t a-z=]{0,40}", by in "\\PC{1,40}") {
            let before = kept(Approval { by, why, ..approval(Some("shop"), 7) });
            prop_assume!(!before.by.is_empty());
            let text = write(&before);
            prop_assert!(!text.contains('\n'));
            prop_assert_eq!(read(&ApprovedFor::of(&before), &text), Some(before));
        }
    }
}
