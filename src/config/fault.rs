//! What serde finds wrong, kept as facts with the way to the spot, so that a message can be made of it that a person
//! likes to read and that shows no secret.

use std::fmt;

use serde::de::{Expected, Unexpected};

use super::tree::{Node, Value};
use crate::near;

/// The first mistake in a tree.
#[derive(Debug)]
pub struct Fault {
    pub what: What,
    /// The way to the spot, by position in each table or array; innermost first while it is on its way up.
    pub path: Vec<usize>,
    /// It is about the key at the end of the way, not about its value.
    pub at_key: bool,
}

#[derive(Debug)]
pub enum What {
    UnknownKey {
        key: String,
        known: Vec<&'static str>,
    },
    UnknownWord {
        word: String,
        known: Vec<&'static str>,
    },
    Missing(&'static str),
    /// Not of this type, or out of its range.
    Expected(String),
    Said(String),
    /// Reported already.
    Nothing,
}

impl Fault {
    pub fn new(what: What) -> Self {
        Self { what, path: Vec::new(), at_key: false }
    }

    /// What to tell, for the value `node` of the key `key`.
    pub fn message(&self, node: &Node, key: &str, kinds: &[&'static str]) -> String {
        let variables = node.variables();
        let hidden = !self.at_key && !variables.is_empty();
        let from = || {
            let mut names: Vec<_> = variables.iter().map(|name| format!("${{{name}}}")).collect();
            names.dedup();
            names.join(" and ")
        };
        match &self.what {
            What::UnknownKey { key, known } => {
                let all: Vec<_> = known.iter().chain(kinds).copied().collect();
                match near::nearest(key, all) {
                    Some(meant) => format!("unknown key `{key}`; did you mean `{meant}`?"),
                    // A table was meant to be a kind, anything else to be a key.
                    None if node.is_table() && !kinds.is_empty() => {
                        format!("unknown key `{key}`: it is not a kind of job; kinds are {}", near::list(kinds))
                    }
                    None => format!("unknown key `{key}`; known are {}", near::list(known)),
                }
            }
            What::UnknownWord { known, .. } if hidden => {
                format!("`{key}`: what {} stands for is not known here; known are {}", from(), near::list(known))
            }
            What::UnknownWord { word, known } => {
                format!("`{key}`: unknown {word:?}{}", near::advice(word, known, "choice"))
            }
            What::Missing(missing) => format!("the key `{missing}` is missing"),
            What::Expected(expected) => format!("`{key}`: expected {}, found {}", plain(expected), found(node)),
            What::Said(_) if hidden => {
                format!(
                    "`{key}` is not valid with what {} stands for, which is not shown because it may be secret",
                    from()
                )
            }
            What::Said(text) => format!("`{key}`: {text}"),
            What::Nothing => String::new(),
        }
    }
}

/// A type in words: serde says them as Rust does.
fn plain(expected: &str) -> String {
    match expected {
        "u8" => "a whole number from 0 to 255".into(),
        "u16" => "a whole number from 0 to 65535".into(),
        "u32" | "u64" | "usize" => "a whole number from 0".into(),
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a boolean" => "true or false".into(),
        "a map" => "a table".into(),
        "a sequence" => "an array".into(),
        "path string" => "a string".into(),
        other if other.starts_with("struct ") => "a table".into(),
        other => other.into(),
    }
}

fn found(node: &Node) -> String {
    match &node.value {
        Value::Text(text) if text.variables.is_empty() => match text.text.char_indices().nth(40) {
            Some((at, _)) => format!("{:?}…", &text.text[..at]),
            None => format!("{:?}", text.text),
        },
        Value::Text(_) => "a string".into(),
        Value::Whole(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Date => "a date or time without them".into(),
        Value::Array(_) => "an array".into(),
        Value::Table(_) => "a table".into(),
        Value::Faulty => "what has been reported".into(),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.what)
    }
}

impl std::error::Error for Fault {}

impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::new(What::Said(text.to_string()))
    }

    fn invalid_type(_: Unexpected, expected: &dyn Expected) -> Self {
        Self::new(What::Expected(expected.to_string()))
    }

    fn invalid_value(_: Unexpected, expected: &dyn Expected) -> Self {
        Self::new(What::Expected(expected.to_string()))
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::new(What::Expected(expected.to_string()))
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Self::new(What::UnknownWord { word: word.into(), known: known.into() })
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::new(What::UnknownKey { key: key.into(), known: known.into() })
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(What::Missing(key))
    }
}
