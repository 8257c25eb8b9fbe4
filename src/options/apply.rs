//! The edits that options make to a specification. Pure.
//!
//! An edit touches its own field only. The same options are applied with every update, so an edit that is in effect
//! already changes nothing.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use serde_json::{Map, Value, json};

/// The name of an object; a specification holds its id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// A network, by its name or id.
    Network(String),
    /// A secret, by its name.
    Secret(String),
    /// A config, by its name.
    Config(String),
}

/// The ids of the objects that options name, as far as the objects exist.
pub type Ids = BTreeMap<Name, String>;

/// An option that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option}: expected {expected}")]
pub struct OptionError {
    /// The option, with its value where that may be shown.
    pub option: String,
    /// What was expected instead, in words.
    pub expected: String,
}

impl OptionError {
    pub(super) fn new(option: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { option: option.into(), expected: expected.into() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(name) => write!(f, "a network {name:?}"),
            Self::Secret(name) => write!(f, "a secret {name:?}"),
            Self::Config(name) => write!(f, "a config {name:?}"),
        }
    }
}

/// What an option does to a specification.
pub(super) enum Edit {
    /// No edit: the option is for the command, not for the service.
    Nothing,
    /// The option is not accepted; the remedy in words that follow "expected".
    Refused(&'static str),
    /// Sets this path to the last value.
    Set(&'static str),
    /// Sets a field of the object at this path to the last value; a new object gets all its defaults.
    SetWith(&'static str, &'static str, fn() -> Value),
    /// Puts pairs of key and value into the object at this path.
    PutPairs(&'static str),
    /// Removes keys from the object at this path.
    RemoveKeys(&'static str),
    /// Adds values to the list at this path.
    AddEach(&'static str),
    /// Adds values to the list at this path and sorts it.
    AddSorted(&'static str),
    /// Removes values from the list at this path.
    RemoveEach(&'static str),
    /// Removes objects from the list at the first path by the name at the second path in each.
    RemoveNamed(&'static str, &'static str),
    /// Puts objects into the list at the first path by the name at the second path in each.
    PutNamed(&'static str, &'static str),
    /// Something else.
    Do(fn(&mut Editing<'_>, &[Value]) -> Result<(), OptionError>),
}

impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Edit")
    }
}

/// A specification while it is edited.
pub(super) struct Editing<'a> {
    pub(super) spec: &'a mut Value,
    /// The values of another option that is given.
    pub(super) values_of: &'a dyn Fn(&str) -> &'a [Value],
    pub(super) ids: &'a Ids,
}

pub(super) type EditResult = Result<(), OptionError>;

impl Editing<'_> {
    /// Makes one option's edit.
    pub(super) fn make(&mut self, edit: &Edit, values: &[Value]) -> EditResult {
        match edit {
            Edit::Nothing | Edit::Refused(_) => {}
            Edit::Set(path) => self.set(path, values),
            Edit::SetWith(path, field, defaults) => {
                let object = self.at(path);
                if !object.is_object() {
                    *object = defaults();
                }
                self.set(&format!("{path}/{field}"), values);
            }
            Edit::PutPairs(path) => self.put_pairs(path, values),
            Edit::RemoveKeys(path) => self.remove_keys(path, values),
            Edit::AddEach(path) => self.add_each(path, values),
            Edit::AddSorted(path) => self.add_sorted(path, values),
            Edit::RemoveEach(path) => self.remove_each(path, values),
            Edit::RemoveNamed(path, name) => self.remove_named(path, name, values),
            Edit::PutNamed(path, name) => self.put_named(path, name, values),
            Edit::Do(edit) => edit(self, values)?,
        }
        Ok(())
    }

    /// The value at a path; missing objects on the way are made.
    pub(super) fn at(&mut self, path: &str) -> &mut Value {
        path.split('/').skip(1).fold(&mut *self.spec, |value, step| {
            if !value.is_object() {
                *value = json!({});
            }
            &mut value[step]
        })
    }

    pub(super) fn set(&mut self, path: &str, values: &[Value]) {
        if let Some(last) = values.last() {
            *self.at(path) = last.clone();
        }
    }

    pub(super) fn object(&mut self, path: &str) -> &mut Map<String, Value> {
        let value = self.at(path);
        if !value.is_object() {
            *value = json!({});
        }
        value.as_object_mut().unwrap_or_else(|| unreachable!("made an object above"))
    }

    pub(super) fn list(&mut self, path: &str) -> &mut Vec<Value> {
        let value = self.at(path);
        if !value.is_array() {
            *value = json!([]);
        }
        value.as_array_mut().unwrap_or_else(|| unreachable!("made a list above"))
    }

    /// The list at a path, if it exists. A removal makes no list.
    pub(super) fn present_list(&mut self, path: &str) -> Option<&mut Vec<Value>> {
        self.spec.pointer_mut(path).and_then(Value::as_array_mut)
    }

    /// Puts `KEY=VALUE` pairs into an object.
    pub(super) fn put_pairs(&mut self, path: &str, pairs: &[Value]) {
        let object = self.object(path);
        for pair in texts(pairs) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            object.insert(key.to_owned(), json!(value));
        }
    }

    /// Removes keys from an object.
    pub(super) fn remove_keys(&mut self, path: &str, keys: &[Value]) {
        if let Some(object) = self.spec.pointer_mut(path).and_then(Value::as_object_mut) {
            let gone: HashSet<&str> = texts(keys).collect();
            object.retain(|key, _| !gone.contains(key.as_str()));
        }
    }

    /// Adds to a list what is not in it.
    pub(super) fn add_each(&mut self, path: &str, values: &[Value]) {
        let list = self.list(path);
        let present: HashSet<Value> = list.iter().cloned().collect();
        let mut added = HashSet::new();
        list.extend(values.iter().filter(|value| !present.contains(*value) && added.insert(*value)).cloned());
    }

    /// The same with a list of texts that the CLI sorts.
    pub(super) fn add_sorted(&mut self, path: &str, values: &[Value]) {
        self.add_each(path, values);
        self.list(path).sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    }

    /// Removes from a list what is equal.
    pub(super) fn remove_each(&mut self, path: &str, values: &[Value]) {
        let gone: HashSet<&Value> = values.iter().collect();
        if let Some(list) = self.present_list(path) {
            list.retain(|value| !gone.contains(value));
        }
    }

    /// Removes the objects with one of these names from a list; `name` is the path of the name in each object.
    pub(super) fn remove_named(&mut self, path: &str, name: &str, names: &[Value]) {
        let gone: HashSet<&Value> = names.iter().collect();
        if let Some(list) = self.present_list(path) {
            list.retain(|value| value.pointer(name).is_none_or(|name| !gone.contains(name)));
        }
    }

    /// Puts objects into a list. An object replaces the object with the same name; `name` is the path of the name.
    pub(super) fn put_named(&mut self, path: &str, name: &str, values: &[Value]) {
        put_keyed(self.list(path), values, |value| value.pointer(name).cloned());
    }

    /// The id of something that an option names.
    pub(super) fn id(&self, name: &Name) -> Result<String, OptionError> {
        let id = self.ids.get(name).cloned();
        id.ok_or_else(|| OptionError::new(name.to_string(), "one that exists"))
    }
}

/// Puts values into a list, each in the place of the first one that has the same key. Takes time in proportion to the number
/// of values: a label may bring a thousand of them.
pub(super) fn put_keyed<K: Eq + std::hash::Hash>(
    list: &mut Vec<Value>,
    values: &[Value],
    key: impl Fn(&Value) -> K,
) {
    let mut places = HashMap::new();
    for (place, present) in list.iter().enumerate() {
        places.entry(key(present)).or_insert(place);
    }
    for value in values {
        match places.entry(key(value)) {
            Entry::Occupied(place) => list[*place.get()].clone_from(value),
            Entry::Vacant(place) => {
                place.insert(list.len());
                list.push(value.clone());
            }
        }
    }
}

pub(super) fn texts(values: &[Value]) -> impl Iterator<Item = &str> {
    values.iter().filter_map(Value::as_str)
}

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn is_on(values: &[Value]) -> bool {
    values.last().is_some_and(|value| value == true)
}
