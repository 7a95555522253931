//! The config of `vacuum` and `analyze`: which tables, for how long, and which are left alone for now.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::period::Span;
use crate::pg::ident::quoted_name;
use crate::pg::{Ident, TableName};
use crate::run::Finding;

/// Tends tables one by one, the neediest first. As `vacuum` it removes dead rows and guards against wraparound; as
/// `analyze` it only gathers the statistics that queries are planned by.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Chore<const VACUUM: bool> {
    /// The tables and materialized views, as schema.name with `*` and `?`; without a schema they are in public, but for
    /// "*", which is all. Of a partitioned table each partition. Default: all but the system's own.
    #[serde(default = "all")]
    #[schemars(with = "Vec<String>")]
    pub tables: Vec<Spanned<Pattern>>,
    /// Those of them that are left alone, written likewise.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub exclude: Vec<Spanned<Pattern>>,
    /// Of `vacuum`: whether it gathers statistics too, those of partitioned tables included. Default: false.
    #[schemars(with = "Option<bool>")]
    pub analyze: Option<Spanned<bool>>,
    /// After so long no new table is begun; the others are for the next run. Default: no limit but `timeout`.
    #[schemars(with = "Option<Span>")]
    pub budget: Option<Spanned<Span>>,
    /// What was vacuumed or analyzed so shortly before, by autovacuum or anybody, is left alone. Default: nothing is.
    #[schemars(with = "Option<Span>")]
    pub skip_if_within: Option<Spanned<Span>>,
}

fn all() -> Vec<Spanned<Pattern>> {
    vec![Spanned::new(0..0, Pattern::all())]
}

impl<const VACUUM: bool> Chore<VACUUM> {
    pub(super) fn mistakes(&self) -> Vec<Finding> {
        let kind = if VACUUM { "vacuum" } else { "analyze" };
        let mut found = Vec::new();
        if self.tables.is_empty() {
            found.push(Finding::error(format!("{kind}.tables is empty"), "leave it out for all tables, or name some"));
        }
        if let Some(analyze) = self.analyze.as_ref().filter(|analyze| !VACUUM && !analyze.get_ref()) {
            let message = "`analyze = false` in a job that does nothing else";
            found.push(Finding::error(message, "leave it out").at(analyze.span()));
        }
        for (key, span) in [("budget", &self.budget), ("skip_if_within", &self.skip_if_within)] {
            if let Some(span) = span.as_ref().filter(|span| span.get_ref().0.is_zero()) {
                found.push(Finding::error(format!("{key} must be longer than 0"), "leave it out").at(span.span()));
            }
        }
        found
    }

    pub(super) fn gathers_statistics(&self) -> bool {
        !VACUUM || self.analyze.as_ref().is_some_and(|analyze| *analyze.get_ref())
    }
}

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

    #[test]
    fn a_config_that_means_nothing_is_refused() {
        fn check<const VACUUM: bool>(config: &str, expect: &str) {
            let said = match toml::from_str::<Chore<VACUUM>>(config) {
                Err(error) => error.message().to_owned(),
                Ok(chore) => chore.mistakes().iter().map(|f| format!("{} {}", f.message, f.mend)).collect(),
            };
            let right = if expect.is_empty() { said.is_empty() } else { said.contains(expect) };
            assert!(right, "{config}: {said:?} does not say {expect:?}");
        }
        check::<true>("", "");
        check::<true>("analyze = true\nbudget = '30m'\nskip_if_within = '6h'\nexclude = ['a']", "");
        check::<false>("analyze = true", "");
        check::<false>("analyze = false", "does nothing else");
        check::<true>("tables = []", "vacuum.tables is empty");
        check::<true>("budget = '0s'", "budget must be longer");
        check::<false>("skip_if_within = '0s'", "skip_if_within must be longer");
        check::<true>("budget = 30", "has no unit");
        check::<true>("full = true", "unknown field `full`");
        check::<true>("tables = ['a b']", "double quotes");
    }
}
