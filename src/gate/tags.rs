//! The gate of tags: which tag of a repository a service accepts. Pure.
//!
//! A tag belongs to a family: the same text before the numbers, the same count of numbers, the same text after them. A service
//! never leaves the family of its tag, so that `6.1.2-alpine` never becomes `6.1.3`. A user who wants another order
//! writes a regular expression.

use std::cmp::Ordering;
use std::fmt;

mod digits;
mod parts;
mod pattern;
mod policy;
mod prerelease;
mod step;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod tests;

pub use parts::Unordered;
use parts::{TagParts, is_signature};
pub use pattern::{PatternError, TagPattern};
pub use policy::{TagPolicy, TagPolicyError, TagRules};
pub use step::TagStep;

/// The tags of a repository, seen by a service with one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagChoice {
    /// The newest tag that the service accepts and that is newer than its own one.
    pub newest: Option<String>,
    /// How large the step to that tag is, where this can be told.
    pub step: Option<TagStep>,
    /// The newest tag of the family that is newer than that, and that the service does not accept: its line may have ended.
    pub beyond: Option<String>,
}

/// Why no tag can be chosen for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagRefusal {
    /// The service's tag belongs to no family.
    Unordered(Unordered),
    /// The service's tag has too few numbers for the policy: this many.
    TooFewNumbers(usize),
    /// The service's tag is a date, and dates have neither patches nor minor versions.
    Date,
    /// The service's tag is a pre-release, and pre-releases are not accepted.
    Prerelease,
    /// The pattern does not match the service's tag, so that nothing tells which tags are newer.
    NoMatch,
}

impl TagRefusal {
    /// Why, in words about the tag.
    pub fn told(self, tag: &str) -> String {
        match self {
            Self::Unordered(Unordered::NoNumber) => "the tag has no number".to_owned(),
            Self::Unordered(Unordered::TooManyNumbers) => {
                format!("the tag has more than {} numbers", parts::MOST_NUMBERS)
            }
            Self::Unordered(Unordered::LongNumber) => {
                "the tag has a number of 8 or more digits; use a regular expression".to_owned()
            }
            Self::Unordered(Unordered::Hash) => "the tag looks like a commit or a digest".to_owned(),
            Self::TooFewNumbers(1) => "the tag has 1 number".to_owned(),
            Self::TooFewNumbers(count) => format!("the tag has {count} numbers"),
            Self::Date => format!("{tag} is a date; use major or a regex"),
            Self::Prerelease => {
                "the tag is a pre-release; gantry.update.tags.prereleases=true accepts pre-releases"
                    .to_owned()
            }
            Self::NoMatch => "the pattern does not match the tag itself".to_owned(),
        }
    }
}

/// A refusal with the image and the policy that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoTagFits {
    /// The service's image without its digest.
    pub image: String,
    /// Its tag.
    pub tag: String,
    /// What it accepts.
    pub policy: TagPolicy,
    /// Why.
    pub refusal: TagRefusal,
}

impl fmt::Display for NoTagFits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { image, tag, policy, refusal } = self;
        write!(f, "no tag of {image} fits gantry.update.tags={policy} ({})", refusal.told(tag))
    }
}

/// Chooses for a service with the tag `own` among the tags of its repository. The order of the tags does not matter.
///
/// # Errors
/// Why there is no order in which one of them could be newer.
pub fn choose<'a>(
    own: &str,
    rules: &TagRules,
    tags: impl IntoIterator<Item = &'a str>,
) -> Result<TagChoice, TagRefusal> {
    match &rules.policy {
        TagPolicy::Same => Ok(TagChoice::default()),
        TagPolicy::Pattern(pattern) => by_pattern(own, pattern, tags),
        TagPolicy::Patch | TagPolicy::Minor | TagPolicy::Major => by_family(own, rules, tags),
    }
}

/// Whether a tag of the service's repository may still replace `own`: what was chosen before may be asked for again
/// without a list.
pub fn is_newer(own: &str, rules: &TagRules, tag: &str) -> bool {
    choose(own, rules, [tag]).is_ok_and(|choice| choice.newest.is_some())
}

fn by_family<'a>(
    own: &str,
    rules: &TagRules,
    tags: impl IntoIterator<Item = &'a str>,
) -> Result<TagChoice, TagRefusal> {
    let own = TagParts::of(own).map_err(TagRefusal::Unordered)?;
    refuse(&own, rules)?;
    let (mut newest, mut beyond): (Option<TagParts<'a>>, Option<TagParts<'a>>) = (None, None);
    let newer = tags.into_iter().filter_map(|tag| TagParts::of(tag).ok()).filter(|tag| {
        (rules.prereleases || tag.prerelease.is_none())
            && tag.is_family_of(&own)
            && tag.order(&own) == Ordering::Greater
    });
    for tag in newer {
        let place = if is_within(&own, &tag, &rules.policy) { &mut newest } else { &mut beyond };
        if place.is_none_or(|known| rank(&tag, &known) == Ordering::Greater) {
            *place = Some(tag);
        }
    }
    let above = newest.unwrap_or(own);
    Ok(TagChoice {
        newest: newest.map(|tag| tag.text.to_owned()),
        step: newest.and_then(|newest| step(&own, &newest)),
        beyond: beyond.filter(|tag| tag.order(&above) == Ordering::Greater).map(|tag| tag.text.to_owned()),
    })
}

/// Refuses a tag of which the policy means nothing.
fn refuse(own: &TagParts<'_>, rules: &TagRules) -> Result<(), TagRefusal> {
    let least = match rules.policy {
        TagPolicy::Patch => 3,
        TagPolicy::Minor => 2,
        _ => 1,
    };
    match own.count() {
        count if count < least => Err(TagRefusal::TooFewNumbers(count)),
        _ if least > 1 && own.is_calendar() => Err(TagRefusal::Date),
        _ if own.prerelease.is_some() && !rules.prereleases => Err(TagRefusal::Prerelease),
        _ => Ok(()),
    }
}

fn is_within(own: &TagParts<'_>, tag: &TagParts<'_>, policy: &TagPolicy) -> bool {
    let equal = own.equal_numbers(tag);
    match policy {
        TagPolicy::Patch => equal + 1 >= own.count(),
        TagPolicy::Minor => equal >= 1,
        _ => true,
    }
}

fn step(own: &TagParts<'_>, tag: &TagParts<'_>) -> Option<TagStep> {
    match own.equal_numbers(tag) {
        _ if own.is_calendar() => None,
        0 => Some(TagStep::Major),
        equal if equal + 1 >= own.count() => Some(TagStep::Patch),
        _ => Some(TagStep::Minor),
    }
}

/// The order of versions; of two that are equal, the tag that is written shorter counts, then the lower text.
fn rank(one: &TagParts<'_>, two: &TagParts<'_>) -> Ordering {
    one.order(two).then_with(|| by_text(one.text, two.text))
}

fn by_text(one: &str, two: &str) -> Ordering {
    two.len().cmp(&one.len()).then_with(|| two.cmp(one))
}

fn by_pattern<'a>(
    own: &str,
    pattern: &TagPattern,
    tags: impl IntoIterator<Item = &'a str>,
) -> Result<TagChoice, TagRefusal> {
    let own = pattern.keys(own).ok_or(TagRefusal::NoMatch)?;
    let mut newest: Option<(Vec<pattern::Key<'a>>, &'a str)> = None;
    for tag in tags.into_iter().filter(|tag| !is_signature(tag)) {
        let Some(keys) = pattern.keys(tag).filter(|keys| *keys > own) else { continue };
        let is_above = newest.as_ref().is_none_or(|(known, text)| {
            keys.cmp(known).then_with(|| by_text(tag, text)) == Ordering::Greater
        });
        if is_above {
            newest = Some((keys, tag));
        }
    }
    let step = newest.as_ref().and_then(|(keys, _)| pattern.step(&own, keys));
    Ok(TagChoice { newest: newest.map(|(_, tag)| tag.to_owned()), step, beyond: None })
}
