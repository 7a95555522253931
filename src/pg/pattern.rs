//! Names of tables with wildcards, as a config writes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use super::ident::quoted_name;
use super::{Ident, TableName};

/// Names of tables: `public.events`, `archive.*`, `*`. Read as SQL reads names, with wildcards outside quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    written: String,
    schema: glob::Pattern,
    name: glob::Pattern,
    /// Without a wildcard it means this one, which has to be there.
    pub exact: Option<TableName>,
}

impl Pattern {
    pub fn all() -> Self {
        let any = || glob::Pattern::new("*").unwrap_or_default();
        Self { written: "*".into(), schema: any(), name: any(), exact: None }
    }

    pub fn matches(&self, table: &TableName) -> bool {
        self.schema.matches(table.schema.as_str()) && self.name.matches(table.name.as_str())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let written = text.trim().to_owned();
        let parts = parts(&written)?;
        let glob = |part: &Part| glob::Pattern::new(&part.glob).map_err(|error| format!("{text:?}: {error}"));
        let (schema, name) = match parts.as_slice() {
            [any] if any.glob == "*" => return Ok(Self::all()),
            [name] => (Part { glob: "public".into(), literal: Some("public".into()) }, name.clone()),
            [schema, name] => (schema.clone(), name.clone()),
            _ => return Err(format!("{text:?} is not a table: write schema.table; quote a name that holds a dot")),
        };
        let exact = match (&schema.literal, &name.literal) {
            (Some(schema), Some(name)) => {
                Some(TableName::new(schema.clone(), name.clone()).map_err(|error| error.to_string())?)
            }
            _ => None,
        };
        Ok(Self { schema: glob(&schema)?, name: glob(&name)?, exact, written })
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What stands between two dots.
#[derive(Clone)]
struct Part {
    glob: String,
    /// The name, where no wildcard is in it.
    literal: Option<String>,
}

/// Splits at the dots outside quotes.
fn parts(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (part, after) = if let Some(quoted) = rest.strip_prefix('"') {
            let (name, after) =
                quoted_name(quoted).ok_or_else(|| format!("{text:?} has a quote that is not closed"))?;
            (Part { glob: glob::Pattern::escape(&name), literal: Some(name) }, after)
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            (bare(&rest[..end], text)?, &rest[end..])
        };
        if let Some(literal) = &part.literal {
            Ident::new(literal.clone()).map_err(|error| error.to_string())?;
        }
        parts.push(part);
        match after.strip_prefix('.') {
            Some(more) => rest = more,
            None if after.is_empty() => return Ok(parts),
            None => return Err(format!("{text:?} is not a table: something follows the closing quote")),
        }
    }
}

/// A part without quotes: folded to lower case as the server folds it.
fn bare(part: &str, text: &str) -> Result<Part, String> {
    if part.chars().any(|c| c.is_whitespace() || "\"'();,".contains(c)) {
        return Err(format!("{text:?} is not a table: a name with such characters needs double quotes around it"));
    }
    let name = part.to_ascii_lowercase();
    if !name.contains(['*', '?']) {
        return Ok(Part { glob: glob::Pattern::escape(&name), literal: Some(name) });
    }
    let mut glob = String::new();
    for c in name.chars() {
        match c {
            // Two in a row mean something else to the crate.
            '*' if glob.ends_with('*') => {}
            '*' | '?' => glob.push(c),
            c => glob.push_str(&glob::Pattern::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    Ok(Part { glob, literal: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_read_as_sql_reads_names_with_wildcards_outside_quotes() {
        let matches = |pattern: &str, schema: &str, name: &str| {
            let pattern: Pattern = pattern.parse().unwrap();
            pattern.matches(&TableName::new(schema, name).unwrap())
        };
        for (pattern, schema, name) in [
            ("*", "archive", "Odd.Name"),
            ("events", "public", "events"),
            ("Public.Events", "public", "events"),
            ("events_*", "public", "events_2026_01"),
            ("events**", "public", "events"),
            ("archive.*", "archive", "any"),
            ("*.events", "other", "events"),
            ("t?", "public", "tω"),
            (r#"app."My ""Odd"".*""#, "app", r#"My "Odd".*"#),
            (r#""*""#, "public", "*"),
            ("a[b]", "public", "a[b]"),
        ] {
            assert!(matches(pattern, schema, name), "{pattern} is not {schema}.{name}");
        }
        for (pattern, schema, name) in [
            ("events", "archive", "events"),
            ("events_?", "public", "events_12"),
            ("events", "public", "Events"),
            (r#""e*""#, "public", "events"),
            ("a[b]", "public", "ab"),
            ("archive.*", "archive2", "any"),
        ] {
            assert!(!matches(pattern, schema, name), "{pattern} is {schema}.{name}");
        }
        assert_eq!("A.b".parse::<Pattern>().unwrap().exact, Some(TableName::new("a", "b").unwrap()));
        assert_eq!("a.b*".parse::<Pattern>().unwrap().exact, None);
    }

    #[test]
    fn what_is_no_table_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "empty"),
            ("a..b", "empty"),
            ("a.b.c", "schema.table"),
            ("my table", "double quotes"),
            ("x; DROP TABLE y", "double quotes"),
            ("\"open", "not closed"),
            ("\"a\"b", "closing quote"),
            (&"x".repeat(64), "63"),
        ] {
            let said = text.parse::<Pattern>().unwrap_err();
            assert!(said.contains(why), "{text:?}: {said}");
        }
    }
}
