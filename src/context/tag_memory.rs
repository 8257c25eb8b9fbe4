//! What was chosen of the tags that registries have listed. The lists themselves are not kept.
//!
//! A registry lists the tags of a repository at most every 15 minutes, for all services with the repository together. A run that a
//! user or a registry's event has started asks at once.

#![expect(clippy::mutable_key_type, reason = "a pattern is compared and hashed by its text")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::gate::tags::{TagChoice, TagRefusal, TagRules};
use crate::registry::{Credentials, Lookup};

/// For how long the choices of a list count.
const LISTED_FOR: Duration = Duration::from_secs(15 * 60);

/// For how long the choices of a repository that nothing asks for are kept.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3_600);

/// What is chosen for one tag and its rules.
pub type Chosen = Result<TagChoice, TagRefusal>;

/// The choices of one list, by the service's tag and its rules.
pub type Choices = HashMap<(String, TagRules), Chosen>;

/// A repository, and the account that lists it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListKey {
    registry: String,
    repository: String,
    credentials: Option<Arc<Credentials>>,
    insecure: bool,
}

impl ListKey {
    /// The repository of a look-up.
    pub fn of(lookup: &Lookup) -> Self {
        Self {
            registry: lookup.image.registry().to_owned(),
            repository: lookup.image.repository().to_owned(),
            credentials: lookup.credentials.clone(),
            insecure: lookup.insecure,
        }
    }
}

/// The choices of all lists. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub struct TagMemory {
    lists: Arc<Mutex<HashMap<ListKey, ListedTags>>>,
    /// Whether this run asks for each list anew.
    asks_anew: bool,
}

#[derive(Debug)]
struct ListedTags {
    at: Instant,
    choices: Choices,
}

impl TagMemory {
    /// The same memory for a run. With `asks_anew`, the run asks for each list anew.
    pub fn for_run(&self, asks_anew: bool) -> Self {
        Self { asks_anew, ..self.clone() }
    }

    /// What was chosen for these tags and rules; `None`: the list is too old, or one of them was not chosen for.
    pub(crate) fn recall<'a>(
        &self,
        key: &ListKey,
        wanted: impl Iterator<Item = &'a (String, TagRules)>,
        now: Instant,
    ) -> Option<Choices> {
        let lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let is_young = |listed: &&ListedTags| now.duration_since(listed.at) < LISTED_FOR;
        let listed = lists.get(key).filter(|_| !self.asks_anew).filter(is_young)?;
        wanted.map(|wanted| Some((wanted.clone(), listed.choices.get(wanted)?.clone()))).collect()
    }

    /// Remembers the choices of a list. A service that gets the chosen tag has nothing newer in the same list.
    pub(crate) fn learn(&self, key: ListKey, choices: &Choices, now: Instant) {
        let mut known = choices.clone();
        for ((_, rules), chosen) in choices {
            if let Ok(TagChoice { newest: Some(newest), beyond, .. }) = chosen {
                let then = TagChoice { newest: None, step: None, beyond: beyond.clone() };
                known.entry((newest.clone(), rules.clone())).or_insert(Ok(then));
            }
        }
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.retain(|_, listed| now.duration_since(listed.at) < KEPT_FOR);
        lists.insert(key, ListedTags { at: now, choices: known });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ListKey {
        ListKey {
            registry: "r.test".to_owned(),
            repository: "app".to_owned(),
            credentials: None,
            insecure: false,
        }
    }

    #[test]
    fn choices_count_for_a_quarter_of_an_hour() {
        let (memory, now) = (TagMemory::default(), Instant::now());
        let rules = TagRules { policy: "patch".parse().unwrap(), prereleases: false };
        let own = |tag: &str| (tag.to_owned(), rules.clone());
        let choice = TagChoice { newest: Some("1.2.4".to_owned()), ..TagChoice::default() };
        memory.learn(key(), &Choices::from([(own("1.2.3"), Ok(choice.clone()))]), now);
        let recall = |memory: &TagMemory, tag: &str, at| {
            memory.recall(&key(), [own(tag)].iter(), at).map(|choices| choices[&own(tag)].clone())
        };
        assert_eq!(recall(&memory, "1.2.3", now), Some(Ok(choice.clone())));
        // The service has got it meanwhile.
        assert_eq!(recall(&memory, "1.2.4", now), Some(Ok(TagChoice::default())));
        assert_eq!(recall(&memory, "1.2.2", now), None);
        assert_eq!(recall(&memory, "1.2.3", now + LISTED_FOR - Duration::from_secs(1)), Some(Ok(choice)));
        assert_eq!(recall(&memory, "1.2.3", now + LISTED_FOR), None);
        assert_eq!(recall(&memory.for_run(true), "1.2.3", now), None);
    }
}
