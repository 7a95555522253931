//! Several tables in one plan: their order, their names.

use super::*;

#[test]
fn referenced_tables_come_first_and_a_ring_is_no_trap() {
    let order = |references: &[(u32, &[u32])]| -> Vec<u32> {
        let tables = references.iter().map(|(oid, references)| {
            let facts = TableFacts { oid: *oid, references: references.to_vec(), ..facts("range timestamptz") };
            wanted(&facts, &policy("ahead = 0"), Tz::UTC, at(NOVEMBER), None)
        });
        referenced_first(tables.collect()).iter().map(|table| table.oid).collect()
    };
    assert_eq!(order(&[(1, &[2]), (2, &[3]), (3, &[]), (4, &[])]), [3, 2, 1, 4]);
    assert_eq!(order(&[(1, &[]), (2, &[1]), (3, &[9])]), [1, 2, 3]);
    assert_eq!(order(&[(1, &[2, 1]), (2, &[1]), (3, &[2])]), [2, 1, 3]);
}

#[test]
fn two_tables_with_one_pattern_get_names_of_their_own() {
    let one = facts("range timestamptz");
    let other = TableFacts { table: table("others"), oid: 2, ..one.clone() };
    let policy = policy("ahead = 0, name = 'p%Y_%m'");
    let both = [one, other].map(|facts| wanted(&facts, &policy, Tz::UTC, at(NOVEMBER), None));
    let plan = decide(both.to_vec(), &HashSet::new());
    let names: HashSet<_> = plan.actions.iter().map(|action| action.step().target).collect();
    assert_eq!(names.len(), 2);
    let all = HashSet::from_iter(candidates(&both));
    let text = show(decide(both.to_vec(), &all));
    assert!(text.starts_with("refuse events: each name for a partition is taken by another relation: p2026_11, p2026"));
}
