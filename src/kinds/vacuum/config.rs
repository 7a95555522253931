//! The config of `vacuum` and `analyze`: which tables, for how long, and which are left alone for now.

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use crate::period::Span;
use crate::pg::Pattern;
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

#[cfg(test)]
mod tests {
    use super::*;

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
