//! The elements of a JSON list as they come: a long answer is never kept whole. Pure.
//!
//! What an element is made of is for its reader to check. Here only its end is found.

/// Splits a list that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Elements {
    place: ListPlace,
    /// The part of the present element that came in earlier pieces.
    begun: Vec<u8>,
    /// How many lists and objects of the present element are open.
    depth: usize,
    string: InString,
}

/// Where in the list the splitter is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ListPlace {
    #[default]
    BeforeList,
    /// At the beginning of the list: there need not be an element.
    First,
    InElement,
    AfterList,
}

/// Whether the present character is part of a string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum InString {
    #[default]
    No,
    Yes,
    /// The next character is meant literally.
    Escaped,
}

impl Elements {
    /// Takes the next piece and hands over the elements that it completes.
    ///
    /// # Errors
    /// What is no list, or an element that could not be taken; in words.
    pub(super) fn take(
        &mut self,
        piece: &[u8],
        mut found: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        let (mut begin, mut at) = (0, 0);
        while let Some(&byte) = piece.get(at) {
            if self.string == InString::Yes && !ends_or_escapes(byte) {
                // Most of a list is text.
                let text = &piece[at..];
                at += text.iter().position(|byte| ends_or_escapes(*byte)).unwrap_or(text.len());
                continue;
            }
            match self.place {
                ListPlace::BeforeList if byte == b'[' => {
                    (self.place, begin) = (ListPlace::First, at + 1);
                }
                ListPlace::BeforeList | ListPlace::AfterList | ListPlace::First
                    if byte.is_ascii_whitespace() => {}
                ListPlace::BeforeList | ListPlace::AfterList => return Err("expected a list".to_owned()),
                ListPlace::First if byte == b']' => self.place = ListPlace::AfterList,
                ListPlace::First | ListPlace::InElement => {
                    self.place = ListPlace::InElement;
                    if self.is_end(byte) {
                        let last = &piece[begin..at];
                        if self.begun.is_empty() {
                            found(last)?;
                        } else {
                            self.begun.extend_from_slice(last);
                            found(&self.begun)?;
                            self.begun.clear();
                        }
                        begin = at + 1;
                        self.place = if byte == b']' { ListPlace::AfterList } else { ListPlace::InElement };
                    }
                }
            }
            at += 1;
        }
        if self.place == ListPlace::InElement {
            self.begun.extend_from_slice(&piece[begin..]);
        }
        Ok(())
    }

    /// Whether this byte of an element is the one after its last.
    fn is_end(&mut self, byte: u8) -> bool {
        match (self.string, byte) {
            (InString::Escaped, _) | (InString::No, b'"') => self.string = InString::Yes,
            (InString::Yes, b'\\') => self.string = InString::Escaped,
            (InString::Yes, b'"') => self.string = InString::No,
            (InString::No, b'[' | b'{') => self.depth += 1,
            (InString::No, b',' | b']') if self.depth == 0 => return true,
            (InString::No, b']' | b'}') => self.depth = self.depth.saturating_sub(1),
            (InString::Yes | InString::No, _) => {}
        }
        false
    }

    /// The answer has ended.
    ///
    /// # Errors
    /// The list has not.
    pub(super) fn end(&self) -> Result<(), String> {
        if self.place == ListPlace::AfterList { Ok(()) } else { Err("the list has no end".to_owned()) }
    }
}

/// Whether a string goes on otherwise after this byte.
fn ends_or_escapes(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// The elements of a text that comes in pieces of this length.
    fn split(text: &str, length: usize) -> Result<Vec<String>, String> {
        let (mut elements, mut found) = (Elements::default(), Vec::new());
        for piece in text.as_bytes().chunks(length) {
            elements.take(piece, |element| {
                found.push(String::from_utf8(element.to_vec()).unwrap());
                Ok(())
            })?;
        }
        elements.end()?;
        Ok(found)
    }

    #[test]
    fn elements_are_found_wherever_the_pieces_end() {
        for (text, elements) in [
            ("[]", vec![]),
            (" [ ] \n", vec![]),
            ("[1,null]", vec!["1", "null"]),
            (r#"[{"a":[1,{"b":"]},"}]}, "\"],[" ]"#, vec![r#"{"a":[1,{"b":"]},"}]}"#, r#" "\"],[" "#]),
            (r#"[["\\"],"\\\"",{}]"#, vec![r#"["\\"]"#, r#""\\\"""#, "{}"]),
        ] {
            for length in 1..=text.len() {
                assert_eq!(split(text, length).unwrap(), elements, "{text} in pieces of {length}");
            }
        }
    }

    #[test]
    fn what_is_no_whole_list_is_an_error() {
        for text in ["", "null", r#"{"message":"x"}"#, "[1", "[1,", r#"["]"#, "[[1]", "[1] 2", "<html>"] {
            for length in 1..=text.len().max(1) {
                assert!(split(text, length).is_err(), "{text}");
            }
        }
    }

    #[test]
    fn an_element_that_cannot_be_taken_ends_it() {
        let mut elements = Elements::default();
        assert_eq!(elements.take(b"[1,2]", |_| Err("no".to_owned())), Err("no".to_owned()));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i32>().prop_map(|number| json!(number)),
            r#"[\\"\[\]{},a]{0,6}"#.prop_map(|text| json!(text)),
            Just(Value::Null),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map(r#"[\\"\[\]{},a]{0,3}"#, inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_list_is_split_into_its_elements(list in prop::collection::vec(any_json(), 0..5), length in 1_usize..20) {
            let found = split(&Value::Array(list.clone()).to_string(), length).unwrap();
            let found: Vec<Value> = found.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
            prop_assert_eq!(found, list);
        }
    }
}
