//! Lists and maps of foreign JSON with a maximum length: a longer one is an error before it takes memory.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// How the error for too many items begins.
const TOO_MANY: &str = "more than ";

/// A list of at most `MOST` items.
#[derive(Clone, Debug)]
pub(super) struct List<T, const MOST: usize>(pub(super) Vec<T>);

/// An object with at most `MOST` keys. `null` is an empty one.
#[derive(Clone, Debug)]
pub(super) struct Map<V, const MOST: usize>(pub(super) BTreeMap<String, V>);

impl<V, const MOST: usize> Default for Map<V, MOST> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

/// Whether an error says that a list or a map is too long; then how many items it may have.
pub(super) fn too_many(error: &serde_json::Error) -> Option<usize> {
    error.to_string().strip_prefix(TOO_MANY)?.split(' ').next()?.parse().ok()
}

fn too_many_items<E: Error>(most: usize) -> E {
    E::custom(format_args!("{TOO_MANY}{most} items"))
}

/// What reads a list or a map.
struct Reader<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for List<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Reader::<Self, MOST>(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Reader<List<T, MOST>, MOST> {
    type Value = List<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            if list.len() == MOST {
                return Err(too_many_items(MOST));
            }
            list.push(item);
        }
        Ok(List(list))
    }
}

impl<'de, V: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Map<V, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader::<Self, MOST>(PhantomData))
    }
}

impl<'de, V: Deserialize<'de>, const MOST: usize> Visitor<'de> for Reader<Map<V, MOST>, MOST> {
    type Value = Map<V, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Map::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry()? {
            map.insert(key, value);
            if map.len() > MOST {
                return Err(too_many_items(MOST));
            }
        }
        Ok(Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_or_a_map_that_is_too_long_is_told_from_one_that_is_wrong() {
        let list = |text: &str| serde_json::from_str::<List<u8, 2>>(text).map(|list| list.0);
        assert_eq!(list("[1,2]").unwrap(), [1, 2]);
        assert_eq!(list("[1,2,3]").map_err(|error| too_many(&error)), Err(Some(2)));
        assert_eq!(list("\"more than 2 items\"").map_err(|error| too_many(&error)), Err(None));
        let map = |text: &str| serde_json::from_str::<Map<u8, 2>>(text).map(|map| map.0.len());
        assert_eq!(map(r#"{"a":1,"b":2}"#).unwrap(), 2);
        assert_eq!(map("null").unwrap(), 0);
        assert_eq!(map(r#"{"a":1,"b":2,"c":3}"#).map_err(|error| too_many(&error)), Err(Some(2)));
        assert_eq!(map("[]").map_err(|error| too_many(&error)), Err(None));
    }
}
