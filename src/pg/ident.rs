//! Names of things in PostgreSQL, quoted wherever they are shown to it.
//!
//! A name is an [`Ident`] from the moment the config is read; SQL text takes names only through `Display`.
//! See the manual, 4.1.1 "Identifiers and Key Words".

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// The longest name the server keeps, in bytes (`NAMEDATALEN - 1`); longer ones it cuts off with only a NOTICE.
pub const MAX_BYTES: usize = 63;

/// One identifier: a schema, table, column or role. `Display` quotes it, always.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ident(String);

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentError {
    #[error("a name is empty")]
    Empty,
    #[error("the name {0:?} is {1} bytes long; PostgreSQL keeps 63 and would silently cut the rest")]
    TooLong(String, usize),
    #[error("the name {0:?} holds a NUL byte")]
    Nul(String),
    #[error("{0:?} has a quote that is not closed")]
    Unclosed(String),
    #[error("{0:?} is not a name: {1}")]
    Malformed(String, &'static str),
}

impl Ident {
    /// Takes a name literally.
    ///
    /// # Errors
    /// It is empty, longer than 63 bytes, or holds a NUL byte.
    pub fn new(name: impl Into<String>) -> Result<Self, IdentError> {
        let name = name.into();
        if name.len() > MAX_BYTES {
            return Err(IdentError::TooLong(name.clone(), name.len()));
        }
        Self::found(name)
    }

    /// Takes a name that the catalog has, whatever its length: the server counts bytes of its own encoding, in which
    /// letters may be shorter than in ours.
    ///
    /// # Errors
    /// It is empty, or holds a NUL byte.
    pub fn found(name: impl Into<String>) -> Result<Self, IdentError> {
        let name = name.into();
        match () {
            () if name.is_empty() => Err(IdentError::Empty),
            () if name.contains('\0') => Err(IdentError::Nul(name)),
            () => Ok(Self(name)),
        }
    }

    /// The bare name, for parameters and messages, never for SQL text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

/// Reads one name as SQL does: `Sessions` is `sessions`, `"Sessions"` stays as it is.
impl FromStr for Ident {
    type Err = IdentError;

    fn from_str(text: &str) -> Result<Self, IdentError> {
        match split(text)?.as_slice() {
            [one] => Ok(one.clone()),
            _ => Err(IdentError::Malformed(
                text.into(),
                "one name was expected, without a dot; quote it if the dot is part of it",
            )),
        }
    }
}

/// A table with its schema. Without one it is in `public`: the search path never decides what is deleted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    pub schema: Ident,
    pub name: Ident,
}

impl TableName {
    /// # Errors
    /// One of the names cannot be a name.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Result<Self, IdentError> {
        Ok(Self { schema: Ident::new(schema)?, name: Ident::new(name)? })
    }

    /// A table that the catalog has, see [`Ident::found`].
    ///
    /// # Errors
    /// One of the names cannot be a name.
    pub fn found(schema: impl Into<String>, name: impl Into<String>) -> Result<Self, IdentError> {
        Ok(Self { schema: Ident::found(schema)?, name: Ident::found(name)? })
    }

    /// How the config writes it and people read it: quotes only where they are needed.
    pub fn plain(&self) -> String {
        format!("{}.{}", plain(&self.schema), plain(&self.name))
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

impl FromStr for TableName {
    type Err = IdentError;

    fn from_str(text: &str) -> Result<Self, IdentError> {
        match split(text)?.as_slice() {
            [name] => Ok(Self { schema: Ident("public".into()), name: name.clone() }),
            [schema, name] => Ok(Self { schema: schema.clone(), name: name.clone() }),
            _ => Err(IdentError::Malformed(text.into(), "write schema.table; quote a name that holds a dot")),
        }
    }
}

fn plain(ident: &Ident) -> String {
    let simple =
        ident.0.chars().enumerate().all(|(i, c)| c == '_' || c.is_ascii_lowercase() || (i > 0 && c.is_ascii_digit()));
    if simple { ident.0.clone() } else { ident.to_string() }
}

/// The name whose opening quote stood before `text`, and what comes after its closing one; nothing where it is not closed.
pub fn quoted_name(text: &str) -> Option<(String, &str)> {
    let (mut name, mut tail) = (String::new(), text);
    loop {
        let end = tail.find('"')?;
        name.push_str(&tail[..end]);
        tail = &tail[end + 1..];
        // Twice in a row it is a quote within the name.
        match tail.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                tail = more;
            }
            None => return Some((name, tail)),
        }
    }
}

/// Splits `a."B c".d` at the dots outside quotes; unquoted parts are folded to lower case as the server folds them.
fn split(text: &str) -> Result<Vec<Ident>, IdentError> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (name, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_name(quoted).ok_or_else(|| IdentError::Unclosed(text.into()))?
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            let bare = &rest[..end];
            if let Some(c) = bare.chars().find(|c| c.is_whitespace() || "\"'();,".contains(*c)) {
                let why = if c == '"' { "a quote stands inside it" } else { "it needs double quotes around it" };
                return Err(IdentError::Malformed(text.into(), why));
            }
            (bare.to_ascii_lowercase(), &rest[end..])
        };
        parts.push(Ident::new(name)?);
        if after.is_empty() {
            return Ok(parts);
        }
        rest = after
            .strip_prefix('.')
            .ok_or_else(|| IdentError::Malformed(text.into(), "something follows the closing quote"))?;
    }
}

/// Serde and JSON Schema by way of text, for a type that is read with `FromStr`.
macro_rules! text_in_config {
    ($type:ty, $title:literal, $write:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                #[allow(clippy::redundant_closure_call)]
                serializer.serialize_str(&($write)(self))
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "description": $title })
            }
        }
    };
}
text_in_config!(Ident, "a name as SQL reads it; in double quotes to keep capitals, spaces and dots", plain);
text_in_config!(TableName, "schema.table as SQL reads it; without a schema it is in public", TableName::plain);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(text: &str) -> Result<String, String> {
        text.parse::<TableName>().map(|t| t.to_string()).map_err(|e| e.to_string())
    }

    #[test]
    fn names_are_read_as_sql_reads_them_and_always_shown_quoted() {
        assert_eq!(table("public.sessions").unwrap(), r#""public"."sessions""#);
        assert_eq!(table("Sessions").unwrap(), r#""public"."sessions""#);
        assert_eq!(table(r#"app."My ""Odd"".Table""#).unwrap(), r#""app"."My ""Odd"".Table""#);
        assert_eq!(table("public.συνεδρίες").unwrap(), "\"public\".\"συνεδρίες\"");
    }

    #[test]
    fn what_is_not_a_name_is_refused_with_the_reason() {
        assert!(table("").unwrap_err().contains("empty"));
        assert!(table("a.b.c").unwrap_err().contains("schema.table"));
        assert!(table("my table").unwrap_err().contains("double quotes"));
        assert!(table("x; DROP TABLE y").unwrap_err().contains("double quotes"));
        assert!(table("\"open").unwrap_err().contains("not closed"));
        assert!(table("\"a\"b").unwrap_err().contains("closing quote"));
        assert!(table(&"x".repeat(64)).unwrap_err().contains("63"));
        assert!(table(&"ω".repeat(32)).unwrap_err().contains("64 bytes"));
    }

    proptest! {
        #[test]
        fn any_name_survives_being_written_and_read(schema in "[^\0]{1,15}", name in "[^\0]{1,15}") {
            let table = TableName::new(schema, name).unwrap();
            prop_assert_eq!(table.to_string().parse::<TableName>().unwrap(), table.clone());
            prop_assert_eq!(table.plain().parse::<TableName>().unwrap(), table);
        }
    }
}
