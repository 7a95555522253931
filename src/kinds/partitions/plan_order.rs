//! Several tables in one plan: their order, their names, what was left behind.

use super::*;
use crate::kinds::partitions::facts::Leftover;

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
fn what_a_dead_daemon_left_goes_first_and_its_name_is_free_again() {
    let mut facts = facts("range timestamptz\n a 2026-11-01 2026-12-01");
    let leftover = |name, has_rows| Leftover { name: table(name), oid: 9, has_rows };
    facts.leftovers = vec![leftover("events_2026_12", false), leftover("events_2027_01", true)];
    let taken = HashSet::from([table("events_2026_12"), table("events_2027_01")]);
    let wanted = wanted(&facts, &policy("ahead = 2"), Tz::UTC, at(NOVEMBER), None);
    let text = show(decide(vec![wanted], &taken));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "drop_leftover events_2026_12: was made for events, never attached, and is empty");
    assert!(lines[1].starts_with("create events_2026_12 FROM"), "{text}");
    assert!(
        lines[2].starts_with("create events_2027_01_") && lines[2].ends_with("the name events_2027_01 is taken"),
        "{text}"
    );
    assert!(text.contains("warn events_2027_01: was made for events and never attached, and holds rows"), "{text}");
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
