//! Whether nearly all of a table would go. Pure.

use super::plan::{Count, LeafFacts, TableFacts};
use crate::run::Step;

/// Smaller tables empty themselves often enough, and are soon filled again.
const NOT_SMALL: u64 = 10_000;

/// What is to be said where a deletion would take nine tenths of a table or more, by the statistics: right for the arrears
/// that a first run finds, and otherwise what a wrong column, condition or time looks like. Nothing is counted for it: where
/// statistics are missing, or older than what was counted, nothing is said. Of the table as a whole, since an old partition
/// may well go whole.
pub fn nearly_all(facts: &TableFacts) -> Option<Step> {
    // What moves is not lost.
    if facts.wanted.into.is_some() {
        return None;
    }
    let due = facts.leaves.iter().map(due_of).sum::<Option<u64>>()?;
    let rows = facts.leaves.iter().map(|leaf| leaf.leaf.rows).sum::<Option<u64>>()?;
    // Statistics that have not seen what was counted are too old to say anything by.
    let is_known = due <= rows + rows / 10;
    (rows >= NOT_SMALL && due >= rows - rows / 10 && is_known).then(|| {
        let rows = rows.max(due);
        let reason = format!(
            "takes about {due} of about {rows} rows, which is nearly all: as a first run may, and otherwise a sign that the column, \
             the condition or the time is not what was meant"
        );
        Step::warn(facts.wanted.table.plain(), reason)
    })
}

fn due_of(leaf: &LeafFacts) -> Option<u64> {
    match leaf.work.as_ref().map_or(Count::Exactly(0), |work| work.due) {
        Count::Exactly(rows) | Count::About(rows) => Some(rows),
        // The estimate is by the same statistics as the size.
        Count::MoreThan(least) => Some(leaf.work.as_ref()?.estimated?.max(least)),
        Count::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::{leaf, wanted};
    use super::Count::{About, Exactly, MoreThan, Unknown};
    use super::*;

    /// A leaf by what is due, what the planner estimates of that, and the rows there are.
    type Told = (Count, Option<u64>, Option<u64>);

    fn said(leaves: &[Told]) -> Option<String> {
        let leaves = leaves.iter().map(|(due, estimated, rows)| {
            let mut facts = leaf("sessions", *due);
            facts.leaf.rows = *rows;
            facts.work.as_mut().unwrap().estimated = *estimated;
            facts
        });
        nearly_all(&TableFacts { leaves: leaves.collect(), ..TableFacts::new(&wanted()) }).map(|step| step.reason)
    }

    fn check(leaves: &[Told], expect: Option<(u64, u64)>) {
        let said = said(leaves);
        let expect = expect.map(|(due, rows)| format!("takes about {due} of about {rows} rows, "));
        assert_eq!(said.is_some(), expect.is_some(), "{leaves:?}: {said:?}");
        assert!(said.unwrap_or_default().starts_with(&expect.unwrap_or_default()), "{leaves:?}");
    }

    #[test]
    fn nine_tenths_of_a_table_that_is_not_small_are_told() {
        check(&[(Exactly(90_000), None, Some(100_000))], Some((90_000, 100_000)));
        check(&[(Exactly(89_999), None, Some(100_000))], None);
        check(&[(Exactly(9_999), None, Some(9_999))], None);
        check(&[(MoreThan(100_000), Some(960_000), Some(1_000_000))], Some((960_000, 1_000_000)));
        check(&[(MoreThan(100_000), Some(300_000), Some(1_000_000))], None);
        check(&[(MoreThan(100_000), None, Some(1_000_000))], None);
        check(&[(About(95_000), None, Some(100_000))], Some((95_000, 100_000)));
        check(&[(Unknown, None, Some(100_000))], None);
        check(&[(Exactly(90_000), None, None)], None);
        // By statistics that are a little behind, and by those of before the table was filled.
        check(&[(Exactly(90_000), None, Some(85_000))], Some((90_000, 90_000)));
        check(&[(Exactly(90_000), None, Some(20_000))], None);
    }

    #[test]
    fn an_old_partition_may_go_whole() {
        check(&[(Exactly(90_000), None, Some(90_000)), (Exactly(0), None, Some(90_000))], None);
        // And one beside it may be as large, for all that is known.
        check(&[(Exactly(90_000), None, Some(90_000)), (Exactly(0), None, None)], None);
    }
}
