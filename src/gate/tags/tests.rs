//! What holds for every tag, every list and every policy.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn rules(policy: &str, prereleases: bool) -> TagRules {
    TagRules { policy: policy.parse().unwrap(), prereleases }
}

/// Tags that often belong to the same family.
fn alike() -> impl Strategy<Value = String> {
    let prefix = select(vec!["", "v", "release-"]);
    let number = || select(vec!["0", "1", "2", "9", "10", "04", "12", "2024", "20240101"]);
    let suffix = select(vec![
        "",
        "-alpine",
        "-rc1",
        "-rc.2",
        "-beta-alpine",
        "rc3",
        "-ls99",
        ".dev5",
        "-3f4a5b6",
        "-RC1",
    ]);
    (prefix, prop::collection::vec(number(), 1..6), suffix)
        .prop_map(|(prefix, numbers, suffix)| format!("{prefix}{}{suffix}", numbers.join(".")))
}

/// Any text that may be a tag, and texts that are none.
fn any_tag() -> impl Strategy<Value = String> {
    prop_oneof![4 => alike(), 1 => "[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", 1 => "\\PC{0,20}"]
}

fn any_rules() -> impl Strategy<Value = TagRules> {
    let policies = vec![
        "same",
        "patch",
        "minor",
        "major",
        r"/v?(\d+)(?:\.(\d+))?(?:\.(\d+))?.*/",
        r"/(\w+)-(\w+)/",
        r"/(?P<major>\d+)\.(?P<minor>[a-z0-9]+)(-.*)?/",
    ];
    (select(policies), any::<bool>()).prop_map(|(policy, prereleases)| rules(policy, prereleases))
}

proptest! {
    #[test]
    fn a_choice_is_of_the_list_and_never_below_or_equal(
        own in any_tag(),
        rules in any_rules(),
        list in prop::collection::vec(any_tag(), 0..12),
    ) {
        let Ok(choice) = choose(&own, &rules, list.iter().map(String::as_str)) else { return Ok(()) };
        for tag in choice.newest.iter().chain(&choice.beyond) {
            prop_assert!(list.contains(tag));
            prop_assert_ne!(tag, &own);
        }
        let Some(newest) = choice.newest else { return Ok(()) };
        // What is newer than the service's tag has the service's tag below it.
        let back = choose(&newest, &rules, [own.as_str()]);
        prop_assert!(back.is_ok_and(|back| back.newest.is_none() && back.beyond.is_none()));
        // From the newest tag on, there is nothing newer.
        let again = choose(&newest, &rules, list.iter().map(String::as_str)).unwrap();
        prop_assert_eq!(again.newest, None);
        prop_assert!(is_newer(&own, &rules, &newest));
    }

    #[test]
    fn the_order_of_the_list_changes_nothing(
        own in any_tag(),
        rules in any_rules(),
        (list, shuffled) in prop::collection::vec(any_tag(), 0..10)
            .prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle())),
    ) {
        let choice = choose(&own, &rules, list.iter().map(String::as_str));
        prop_assert_eq!(&choice, &choose(&own, &rules, shuffled.iter().map(String::as_str)));
        let twice = list.iter().chain(&shuffled).map(String::as_str);
        prop_assert_eq!(choice, choose(&own, &rules, twice));
    }

    #[test]
    fn a_tag_that_is_not_chosen_changes_nothing(
        own in any_tag(),
        rules in any_rules(),
        list in prop::collection::vec(any_tag(), 0..10),
    ) {
        let all = || list.iter().map(String::as_str);
        let Ok(choice) = choose(&own, &rules, all()) else { return Ok(()) };
        let chosen = |tag: &&str| [&choice.newest, &choice.beyond].iter().any(|it| it.as_deref() == Some(*tag));
        let few: Vec<&str> = all().filter(chosen).collect();
        prop_assert_eq!(choose(&own, &rules, few), Ok(choice.clone()));
    }

    #[test]
    fn without_leave_no_prerelease_is_chosen(own in alike(), list in prop::collection::vec(alike(), 0..12)) {
        for policy in ["patch", "minor", "major"] {
            let choice = choose(&own, &rules(policy, false), list.iter().map(String::as_str));
            let Ok(choice) = choice else { continue };
            for tag in choice.newest.iter().chain(&choice.beyond) {
                for word in ["rc", "beta", "dev", "RC"] {
                    prop_assert!(!tag.contains(word), "{}", tag);
                }
            }
        }
    }

    #[test]
    fn prefix_count_and_suffix_never_change(own in alike(), list in prop::collection::vec(alike(), 0..12)) {
        let form = |tag: &str| {
            let start = tag.find(|c: char| c.is_ascii_digit()).unwrap();
            let end = tag[start..].find(|c: char| !c.is_ascii_digit() && c != '.').map_or(tag.len(), |end| start + end);
            (tag[..start].to_owned(), tag[start..end].split('.').count(), tag[end..].to_owned())
        };
        for policy in ["patch", "minor", "major"] {
            let choice = choose(&own, &rules(policy, false), list.iter().map(String::as_str));
            for tag in choice.iter().flat_map(|choice| choice.newest.iter().chain(&choice.beyond)) {
                prop_assert_eq!(form(tag), form(&own));
            }
        }
    }
}

#[test]
fn a_policy_is_read_as_it_is_written() {
    for text in ["same", "patch", "minor", "major", r"/(\d+)\.(\d+)/"] {
        assert_eq!(text.parse::<TagPolicy>().unwrap().to_string(), text);
    }
    assert_eq!(" Patch\n".parse::<TagPolicy>(), Ok(TagPolicy::Patch));
    for text in ["", "security", "semver", "patch minor", "/", "(\\d+)", "/(\\d+)"] {
        assert_eq!(text.parse::<TagPolicy>(), Err(TagPolicyError::Word), "{text}");
    }
}

#[test]
fn a_pattern_is_bounded_and_has_a_group() {
    let error = |pattern: &str| format!("/{pattern}/").parse::<TagPolicy>().unwrap_err();
    let pattern = |error| TagPolicyError::Pattern(error);
    for none in ["", r"\d+", "(?:a)", "^6$"] {
        assert_eq!(error(none), pattern(PatternError::NoGroup), "{none}");
    }
    let nested = format!("{}{}", "(".repeat(60), ")".repeat(60));
    for wrong in ["(", "a)|(b", "(?=a)", r"(a)\1", r"(\p{L})", "([a-z]{1000}){1000}", "(a{9999})", &nested] {
        assert_eq!(error(wrong), pattern(PatternError::Unreadable), "{wrong}");
    }
    let long = format!("({})", "a".repeat(200));
    assert_eq!(error(&long), pattern(PatternError::TooLong));
    // What the page tells users to write.
    for right in [r"^(?P<v>\d+)-[0-9a-f]{7}$", r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})\.(\d{1,9})-ls(\d{1,9})"] {
        assert!(format!("/{right}/").parse::<TagPolicy>().is_ok(), "{right}");
    }
}

#[test]
fn a_pattern_matches_whole_tags_also_with_alternatives() {
    let rules = rules(r"/6\.(\d+)|latest/", false);
    let choice = choose("6.1", &rules, ["6.9-alpine", "x6.8", "6.2", "latest"]).unwrap();
    assert_eq!(choice.newest.as_deref(), Some("6.2"));
}

#[test]
fn the_step_is_the_first_number_that_differs() {
    let named = r"/v(?P<major>\d+)\.(?P<minor>\d+)\.(?P<patch>\d+)-(\d+)/";
    for (own, policy, tag, step) in [
        ("1.2.3", "major", "1.2.4", Some(TagStep::Patch)),
        ("1.2.3", "major", "1.3.0", Some(TagStep::Minor)),
        ("1.2.3", "major", "2.0.0", Some(TagStep::Major)),
        ("1.2.3.4", "major", "1.2.4.0", Some(TagStep::Minor)),
        ("1.2", "major", "1.3", Some(TagStep::Patch)),
        ("1", "major", "2", Some(TagStep::Major)),
        ("2024.1", "major", "2025.1", None),
        ("v1.2.3-1", named, "v1.2.3-2", None),
        ("v1.2.3-1", named, "v1.2.4-1", Some(TagStep::Patch)),
        ("v1.2.3-1", named, "v1.3.0-1", Some(TagStep::Minor)),
        ("v1.2.3-1", named, "v2.0.0-1", Some(TagStep::Major)),
        ("1.2.3", r"/(\d+)\.(\d+)\.(\d+)/", "2.0.0", None),
    ] {
        let choice = choose(own, &rules(policy, false), [tag]).unwrap();
        assert_eq!((choice.newest.as_deref(), choice.step), (Some(tag), step), "{own} {tag}");
    }
}

#[test]
fn a_refusal_names_image_policy_and_cause() {
    let fits = |tag: &str, policy: &str| {
        let rules = rules(policy, false);
        let refusal = choose(tag, &rules, []).unwrap_err();
        let image = format!("web:{tag}");
        NoTagFits { image, tag: tag.to_owned(), policy: rules.policy, refusal }.to_string()
    };
    let said = [fits("2024", "patch"), fits("2025.11.1", "minor"), fits("latest", r"/6\.(\d+)/")];
    assert_eq!(
        said,
        [
            "no tag of web:2024 fits gantry.update.tags=patch (the tag has 1 number)",
            "no tag of web:2025.11.1 fits gantry.update.tags=minor (2025.11.1 is a date; use major or a regex)",
            r"no tag of web:latest fits gantry.update.tags=/6\.(\d+)/ (the pattern does not match the tag itself)",
        ]
    );
}
