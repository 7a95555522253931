//! What a config of `retention` cannot mean, whatever is in the database.

use std::collections::BTreeSet;
use std::time::Duration;

use super::policy::{Action, Retention, RetentionTable};
use crate::pg::TableName;
use crate::run::Finding;

impl Retention {
    /// What the config cannot mean; for `Kind::validate`.
    pub fn mistakes(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        if self.tables.is_empty() && self.policies.is_none() {
            found.push(Finding::error(
                "retention names no table",
                "add tables = [{ table = \"public.events\", keep = \"12 months\" }], or policies",
            ));
        }
        found.extend(
            self.batch.mistakes().into_iter().map(|mistake| Finding::error(mistake, "leave it out for the default")),
        );
        let mut seen = BTreeSet::new();
        for entry in &self.tables {
            let table = entry.get_ref();
            let mut mistake = |message: String, mend: &str| found.push(Finding::error(message, mend).at(entry.span()));
            for (message, mend) in table.mistakes() {
                mistake(message, mend);
            }
            if !seen.insert((&table.table, &table.condition)) {
                let message = format!("{} stands twice in retention.tables with the same where", table.table.plain());
                mistake(message, "one table has one keep: remove one of the two");
            }
        }
        if let Some(policies) = &self.policies {
            let mut named = BTreeSet::new();
            for exception in &policies.get_ref().except {
                let name = exception.table.plain();
                let mut mistake =
                    |message: String, mend: &str| found.push(Finding::error(message, mend).at(policies.span()));
                if exception.column.is_some() && exception.age_from.is_some() {
                    mistake(format!("{name} has both column and age_from"), "keep the one that says how old a row is");
                }
                if exception.condition.as_ref().is_some_and(|sql| sql.trim().is_empty()) {
                    mistake(format!("where of {name} is empty"), "write SQL, or leave the key out");
                }
                if !named.insert(&exception.table) {
                    mistake(format!("{name} stands twice in policies.except"), "remove one of the two");
                }
            }
        }
        found
    }
}

impl RetentionTable {
    fn mistakes(&self) -> Vec<(String, &'static str)> {
        let name = self.table.plain();
        let mut found = Vec::new();
        let mut mistake = |message: String, mend: &'static str| found.push((message, mend));
        if self.keep.is_zero() {
            mistake(format!("keep of {name} is nothing: all of it would go"), "write it like \"12 months\"");
        }
        match (self.action, &self.to) {
            (Some(Action::Archive), None) => mistake(
                format!("{name} is archived, and to does not say where to"),
                "add to = \"SCHEMA\" for partitions, to = \"SCHEMA.TABLE\" for rows",
            ),
            (Some(Action::Archive), Some(to)) if to.parse::<TableName>().is_err() => {
                mistake(
                    format!("to of {name}: {to:?} is no name"),
                    "write to = \"archive\", or to = \"archive.TABLE\"",
                );
            }
            (Some(Action::Archive), Some(_)) | (_, None) => {}
            (_, Some(_)) => {
                mistake(format!("{name} has to, and is not archived"), "add action = \"archive\", or remove to");
            }
        }
        if self.column.is_some() && self.age_from.is_some() {
            mistake(format!("{name} has both column and age_from"), "keep the one that says how old a row is");
        }
        if self.condition.as_ref().is_some_and(|sql| sql.trim().is_empty()) {
            mistake(format!("where of {name} is empty"), "write SQL, or leave the key out");
        }
        if self.immutable.is_some() && self.export.is_none() {
            mistake(
                format!("{name} is immutable, and export does not say where its partitions are written before they go"),
                "add export = \"STORE\"",
            );
        }
        if self.keep_at_least == 0 {
            mistake(format!("keep_at_least of {name} is 0: one partition at least is always kept"), "write 1 or more");
        }
        if self.max_partitions == 0 {
            mistake(format!("max_partitions of {name} is 0: no partition could ever go"), "write 1 or more");
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(300)).contains(&self.detach_timeout.0) {
            mistake(
                format!("detach_timeout of {name} must be between 100ms and 5m"),
                "leave it out for 5s: others wait so long",
            );
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a config: the parser's words, or the findings of `mistakes`.
    fn check(config: &str, expect: &str) {
        let said = match toml::from_str::<Retention>(config) {
            Err(error) => error.message().to_owned(),
            Ok(kind) => {
                kind.mistakes().iter().map(|f| format!("{} {}", f.message, f.mend)).collect::<Vec<_>>().join("\n")
            }
        };
        assert!(
            if expect.is_empty() { said.is_empty() } else { said.contains(expect) },
            "{said:?} does not say {expect:?}"
        );
    }

    #[test]
    fn a_config_that_means_nothing_is_refused() {
        check("tables = [{ table = 'a', keep = '1 year' }]", "");
        check(
            "tables = [{ table = 'a', keep = '1 year', where = 'x' }, { table = 'a', keep = '2 years', where = 'y' }]",
            "",
        );
        check("tables = [{ table = 'a', keep = '1 year', action = 'archive', to = 'archive.a' }]", "");
        check("policies = { table = 'p' }", "");
        check("", "retention names no table");
        check("tables = [{ table = 'a' }]", "missing field `keep`");
        check("tables = [{ table = 'a', keep = 10 }]", "no unit");
        check("tables = [{ table = 'a', keep = '0 days' }]", "keep of public.a is nothing");
        check("tables = [{ table = 'a', keep = '1 year' }, { table = 'public.A', keep = '2 years' }]", "stands twice");
        check("tables = [{ table = 'a', keep = '1 year', action = 'archive' }]", "to does not say where to");
        check("tables = [{ table = 'a', keep = '1 year', action = 'archive', to = 'a b' }]", "\"a b\" is no name");
        check("tables = [{ table = 'a', keep = '1 year', to = 'x' }]", "has to, and is not archived");
        check("tables = [{ table = 'a', keep = '1 year', action = 'purge' }]", "unknown variant `purge`");
        check("tables = [{ table = 'a', keep = '1 year', keep_at_least = 0 }]", "one partition at least");
        check("tables = [{ table = 'a', keep = '1 year', max_partitions = 0 }]", "no partition could ever go");
        check("tables = [{ table = 'a', keep = '1 year', detach_timeout = '1h' }]", "between 100ms and 5m");
        check("tables = [{ table = 'a', keep = '1 year', immutable = 'drop-after-export' }]", "add export");
        check(
            "tables = [{ table = 'a', keep = '1 year', column = 'x', age_from = { table = 'b', key = 'k', column = 'c' } }]",
            "both column and age_from",
        );
        check(
            "policies = { table = 'p', except = [{ table = 'a' }, { table = 'a' }] }",
            "stands twice in policies.except",
        );
    }
}
