//! `gantry approve`, of a daemon's answers. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::tz::TimeZone;
use serde_json::Value;

use super::parts::{count, digest, list, name, text, time};

/// So many names of services are listed for each digest.
const MAX_NAMES: usize = 5;

/// What waits for an approval of this image or service.
pub(crate) fn waiting(answer: &Value, target: &str, zone: &TimeZone) -> String {
    let is_meant = |service: &&Value| {
        text(service, "gate") == "approval"
            && ["service", "image", "offers_image"].iter().any(|key| text(service, key) == target)
    };
    let mut digests: BTreeMap<(String, String), (String, Vec<String>)> = BTreeMap::new();
    for service in list(answer, "services").iter().filter(is_meant) {
        let key = (name(service, "offers_image"), digest(service, "offers"));
        let since = time(service, "since", zone);
        let (_, names) = digests.entry(key).or_insert_with(|| (since, Vec::new()));
        names.push(name(service, "service"));
    }
    let mut lines = String::new();
    for ((image, digest), (since, names)) in digests {
        let services = count(names.len() as u64, "service", "services");
        let more = if names.len() > MAX_NAMES { ", ..." } else { "" };
        let named = names[..names.len().min(MAX_NAMES)].join(", ");
        _ = writeln!(lines, "{digest} of {image} waits since {since} for {services}: {named}{more}");
        _ = writeln!(lines, "  gantry approve {image} {digest}");
    }
    if lines.is_empty() {
        return format!("nothing waits for approval at {}", crate::words::printable(target));
    }
    lines.trim_end().to_owned()
}

/// What was approved.
pub(crate) fn approved(answer: &Value, zone: &TimeZone) -> String {
    let approval = &answer["approved"];
    let whose = match text(approval, "service") {
        "" => "all its services".to_owned(),
        _ => name(approval, "service"),
    };
    let (of, until) = (name(approval, "image"), time(approval, "until", zone));
    let mut words = format!(
        "approved: {} of {of} for {whose}, in the name of {}, until {until}",
        digest(approval, "digest"),
        name(approval, "by")
    );
    let newer = digest(answer, "newer");
    if !newer.is_empty() {
        _ = write!(words, "\nthe tag has moved on to {newer}, which waits for an approval of its own");
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn held(service: &str, gate: &str, digit: &str) -> Value {
        json!({
            "service": service, "image": "shop:1", "state": "held", "gate": gate, "offers_image": "shop:live",
            "offers": format!("sha256:{}", digit.repeat(64)), "since": "2026-11-28T10:44:17Z",
        })
    }

    #[test]
    fn what_waits_is_listed_with_the_command_that_approves_it() {
        let services = json!({ "services": [
            held("a", "approval", "3"), held("b", "approval", "3"), held("c", "age", "4"),
            { "service": "d", "image": "shop:live", "state": "up_to_date" },
        ] });
        insta::assert_snapshot!(waiting(&services, "shop:live", &TimeZone::UTC), @"
        333333333333 of shop:live waits since 2026-11-28 10:44:17 UTC for 2 services: a, b
          gantry approve shop:live 333333333333
        ");
        assert_eq!(
            waiting(&services, "shop:1", &TimeZone::UTC),
            waiting(&services, "shop:live", &TimeZone::UTC)
        );
        assert_eq!(waiting(&services, "c", &TimeZone::UTC), "nothing waits for approval at c");
    }

    #[test]
    fn an_approval_is_told_with_what_came_after_it() {
        let answer = json!({
            "approved": {
                "image": "shop:live", "service": null, "digest": format!("sha256:{}", "3".repeat(64)),
                "by": "anna", "until": "2026-12-05T10:44:17Z",
            },
            "newer": format!("sha256:{}", "4".repeat(64)),
        });
        insta::assert_snapshot!(approved(&answer, &TimeZone::UTC), @"
        approved: 333333333333 of shop:live for all its services, in the name of anna, until 2026-12-05 10:44:17 UTC
        the tag has moved on to 444444444444, which waits for an approval of its own
        ");
    }
}
