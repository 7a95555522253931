//! The config of `refresh`.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use crate::period::Span;
use crate::pg::ident::IdentError;
use crate::pg::{Pattern, TableName};
use crate::run::Finding;

/// Refreshes materialized views, in the order of their dependencies.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// The materialized views, in any order; or `["*"]` for all there are.
    #[schemars(with = "Vec<String>")]
    pub views: Vec<Spanned<Wanted>>,
    /// With "*": those that are left alone, as schema.name with `*` and `?`; without a schema they are in public.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub exclude: Vec<Spanned<Pattern>>,
    /// Whether readers go on meanwhile. Default: "auto".
    #[serde(default)]
    pub concurrently: Concurrently,
    /// Leave a view as it is when nothing below it has changed since it was last refreshed. Default: false.
    #[serde(default)]
    pub skip_unchanged: bool,
    /// How long a refresh may take that keeps readers waiting.
    #[serde(default = "one_minute")]
    pub refresh_timeout: Span,
}

fn one_minute() -> Span {
    Span(Duration::from_secs(60))
}

/// How a view is refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Concurrently {
    /// CONCURRENTLY where the view has an index for it, and plainly where not.
    #[default]
    Auto,
    /// CONCURRENTLY, or not at all.
    Always,
    /// Plainly, which is quicker where most rows change, and keeps readers waiting.
    Never,
}

/// An entry of `views`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Wanted {
    /// `*`
    All,
    View(TableName),
}

impl FromStr for Wanted {
    type Err = IdentError;

    fn from_str(text: &str) -> Result<Self, IdentError> {
        if text.trim() == "*" { Ok(Wanted::All) } else { text.parse().map(Wanted::View) }
    }
}

impl TryFrom<String> for Wanted {
    type Error = IdentError;

    fn try_from(text: String) -> Result<Self, IdentError> {
        text.parse()
    }
}

impl Refresh {
    /// What the config names; nothing where it is all there are.
    pub fn named(&self) -> Option<Vec<&TableName>> {
        self.views
            .iter()
            .map(|wanted| match wanted.get_ref() {
                Wanted::All => None,
                Wanted::View(name) => Some(name),
            })
            .collect()
    }

    /// Whether `*` leaves a view out.
    pub fn excludes(&self, view: &TableName) -> bool {
        self.exclude.iter().any(|pattern| pattern.get_ref().matches(view))
    }

    /// Which entries of `exclude` name one view that is not among these.
    pub fn idle_exclusions(&self, all: &[TableName]) -> Vec<usize> {
        let is_idle = |pattern: &Pattern| pattern.exact.as_ref().is_some_and(|name| !all.contains(name));
        (0..self.exclude.len()).filter(|at| is_idle(self.exclude[*at].get_ref())).collect()
    }

    /// Where the config names a view, or all of them.
    pub fn span_of(&self, name: &TableName) -> Option<std::ops::Range<usize>> {
        let names = |wanted: &&Spanned<Wanted>| match wanted.get_ref() {
            Wanted::All => true,
            Wanted::View(view) => view == name,
        };
        self.views.iter().find(names).map(Spanned::span)
    }

    pub fn mistakes(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        if self.views.is_empty() {
            found.push(Finding::error(
                "refresh.views is empty",
                "name at least one, or write [\"*\"] for all there are",
            ));
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(86_400)).contains(&self.refresh_timeout.0) {
            found.push(Finding::error("refresh.refresh_timeout must be between 100ms and 24h", "leave it out for 1m"));
        }
        if let Some(first) = self.exclude.first().filter(|_| self.named().is_some()) {
            found.push(
                Finding::error(
                    "refresh.exclude leaves out what `*` would take, and views are named",
                    "leave `exclude` out, or write views = [\"*\"]",
                )
                .at(first.span()),
            );
        }
        let mut seen = BTreeSet::new();
        for wanted in &self.views {
            let (what, mend) = match wanted.get_ref() {
                Wanted::All if self.views.len() > 1 => {
                    ("refresh.views has \"*\" beside others".into(), "name either all by \"*\" alone, or each")
                }
                Wanted::View(name) if !seen.insert(name) => {
                    (format!("{} stands twice in refresh.views", name.plain()), "remove one of the two")
                }
                _ => continue,
            };
            found.push(Finding::error(what, mend).at(wanted.span()));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a config: the parser's words, or the mistakes in it.
    fn check(config: &str, expect: &str) {
        let said = match toml::from_str::<Refresh>(config) {
            Err(error) => error.message().to_owned(),
            Ok(kind) => {
                kind.mistakes().iter().map(|f| format!("{}; {}", f.message, f.mend)).collect::<Vec<_>>().join("\n")
            }
        };
        let right = if expect.is_empty() { said.is_empty() } else { said.contains(expect) };
        assert!(right, "{said:?} does not say {expect:?}");
    }

    #[test]
    fn a_config_that_means_nothing_is_refused() {
        check("views = ['*']", "");
        check("views = ['a', 'x.a', '\"*\"']\nconcurrently = 'always'\nskip_unchanged = true", "");
        check("views = []", "refresh.views is empty");
        check("", "missing field `views`");
        check("views = ['*', 'a']", "\"*\" beside others");
        check("views = ['a', 'public.A']", "public.a stands twice");
        check("views = ['a b']", "double quotes");
        check("views = ['*']\nexclude = ['staging.*', 'a']", "");
        check("views = ['a']\nexclude = ['b']", "refresh.exclude leaves out what `*` would take");
        check("views = ['*']\nexclude = ['a b']", "double quotes");
        check("views = ['a']\nconcurrently = 'yes'", "unknown variant `yes`");
        check("views = ['a']\nrefresh_timeout = '2 days'", "between 100ms and 24h");
        check("views = ['a']\nrefresh_timeout = 5", "no unit");
        check("views = ['a']\nview = 'b'", "unknown field `view`");
    }

    #[test]
    fn an_exclusion_of_one_view_that_is_not_there_is_idle_and_a_wildcard_is_not() {
        let refresh: Refresh =
            toml::from_str("views = ['*']\nexclude = ['app.a', 'nope', 'staging.*', 'public.b']").unwrap();
        let all: Vec<TableName> = ["app.a", "public.b", "c"].map(|name| name.parse().unwrap()).to_vec();
        assert_eq!(refresh.idle_exclusions(&all), [1]);
    }
}
