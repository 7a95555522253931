//! What other jobs of the database say of the same tables: what they keep, or have to count first, goes by none of ours. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::policy::{Action, RetentionTable};
use crate::kinds::{Says, Word};
use crate::run::Refusal;

/// Days are counted when they are over: a row may be a day older than that before it is.
const A_DAY: TimeDelta = TimeDelta::hours(23);

/// Why a policy of the job `own` is not carried out: another job keeps the rows for longer, or counts them first.
pub fn contradiction(
    policy: &RetentionTable,
    zone: Tz,
    own: &str,
    words: &[Word],
    now: DateTime<Utc>,
) -> Option<Refusal> {
    let (table, keep) = (policy.table.plain(), policy.keep);
    let cutoff = keep.before(now, zone)?;
    let destroys = matches!(policy.action, None | Some(Action::Drop | Action::Delete));
    let mut of_others = words.iter().filter(|word| word.table == policy.table && word.by != own);
    // Of two conditions nobody can tell whether they are ever met by one row.
    let apart = |some: bool| some && policy.condition.is_some();
    of_others.find_map(|word| match &word.says {
        Says::Counted { older_than, timezone, some } if !apart(*some) => {
            let counted = older_than.before(now, *timezone)?;
            (cutoff + A_DAY > counted).then(|| {
                Refusal::new(
                    format!(
                        "job {} counts rows of {table} when they are {older_than} old, and by job {own} (keep {keep}) they \
                         would go uncounted",
                        word.by
                    ),
                    "keep them longer than that by a day or more, or leave the table to that job",
                )
            })
        }
        // A condition of our own makes it an exception, said in so many words.
        Says::Kept { keep: theirs, timezone, .. } if destroys && policy.condition.is_none() => {
            let kept = theirs.before(now, *timezone)?;
            (cutoff > kept).then(|| {
                Refusal::new(
                    format!("job {} keeps rows of {table} for {theirs}, and job {own} for {keep} only", word.by),
                    "one table has one keep: correct or remove one of the two",
                )
            })
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::period::Period;

    fn period(text: &str) -> Period {
        text.parse().unwrap()
    }

    /// A policy, and what job `b` says of the same table; why that of job `a` is not carried out.
    #[track_caller]
    fn check(keys: &str, says: Says, expect: &str) {
        let policy: RetentionTable = toml::from_str(&format!("table = 't'\n{}", keys.replace(", ", "\n"))).unwrap();
        let now = "2026-06-15T12:00:00Z".parse().unwrap();
        let word = |by: &str, table: &str| Word { by: by.into(), table: table.parse().unwrap(), says: says.clone() };
        let said = |word: Word| contradiction(&policy, Tz::UTC, "a", &[word], now);
        assert_eq!(said(word("b", "t")).map_or_else(String::new, |refusal| refusal.why), expect, "{keys}");
        assert_eq!(said(word("a", "t")), None, "its own words");
        assert_eq!(said(word("b", "u")), None, "another table");
    }

    fn counted(older_than: &str, some: bool) -> Says {
        Says::Counted { older_than: period(older_than), timezone: Tz::UTC, some }
    }

    fn kept(keep: &str, some: bool) -> Says {
        Says::Kept { keep: period(keep), timezone: Tz::UTC, some }
    }

    #[test]
    fn what_is_counted_first_does_not_go_before() {
        let expect = |keep: &str| {
            format!(
                "job b counts rows of public.t when they are 90 days old, and by job a (keep {keep}) they would go uncounted"
            )
        };
        check("keep = '30 days'", counted("90 days", false), &expect("30 days"));
        check("keep = '90 days'", counted("90 days", false), &expect("90 days"));
        check("keep = '30 days', action = 'archive', to = 'o'", counted("90 days", false), &expect("30 days"));
        check("keep = '30 days', where = 'x'", counted("90 days", false), &expect("30 days"));
        check("keep = '30 days', where = 'x'", counted("90 days", true), "");
        check("keep = '91 days'", counted("90 days", false), "");
        check("keep = '1 year'", counted("90 days", false), "");
    }

    #[test]
    fn of_two_keeps_the_longer_counts() {
        let expect = "job b keeps rows of public.t for 1 year, and job a for 6 months only";
        check("keep = '6 months'", kept("12 months", false), expect);
        check("keep = '6 months'", kept("12 months", true), expect);
        check("keep = '6 months', where = 'x'", kept("12 months", false), "");
        check("keep = '6 months', where = 'x'", kept("12 months", true), "");
        check("keep = '6 months', action = 'archive', to = 'o'", kept("12 months", false), "");
        check("keep = '12 months'", kept("12 months", false), "");
        check("keep = '24 months'", kept("12 months", false), "");
    }
}
