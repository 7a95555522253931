//! Several tables of one job.

use super::*;

/// A table named `name` with months of 2026, that refers to the tables of these oids.
fn months(name: &str, oid: u32, references: &[u32], keys: &str, months: std::ops::RangeInclusive<u32>) -> TableFacts {
    let lines: Vec<String> = months.map(|m| format!("{name}_{m:02} 2026-{m:02}-01 2026-{:02}-01", m + 1)).collect();
    let (mut facts, _) = facts(&format!("range timestamptz\n{}", lines.join("\n")), keys, Tz::UTC);
    facts.parent.oid = oid;
    facts.parent.table = table(name);
    facts.policy.table = table(name);
    facts.lineage = vec![table(name)];
    facts.parent.references = references.to_vec();
    let leaves = std::mem::take(&mut facts.leaves);
    for partition in &mut facts.parent.partitions {
        partition.oid += oid * 100;
    }
    facts.leaves = leaves.into_iter().map(|(leaf, facts)| (leaf + oid * 100, facts)).collect();
    facts
}

fn going(plan: &Plan<Action>) -> Vec<String> {
    let going = plan.actions.iter().filter_map(|action| match action {
        Action::Go(going) => Some(going),
        _ => None,
    });
    going
        .map(|going| {
            let after: Vec<_> = going.after.iter().map(|(_, name)| name.name.as_str()).collect();
            let after = if after.is_empty() { String::new() } else { format!(" after {}", after.join(" ")) };
            format!("{}{after}", going.leaf.name.as_str())
        })
        .collect()
}

const NOW: &str = "2026-06-15T12:00:00Z";

#[test]
fn windows_go_one_after_the_other_and_in_each_the_tables_that_refer_to_others_first() {
    let runs = months("runs", 1, &[], "keep = '2 months'", 1..=6);
    let results = months("results", 2, &[1], "keep = '2 months'", 1..=6);
    let plan = decide(vec![Ok(runs), Ok(results)], &Holds::default(), at(NOW));
    assert_eq!(
        going(&plan),
        [
            "results_01",
            "runs_01 after results_01",
            "results_02",
            "runs_02 after results_02",
            "results_03",
            "runs_03 after results_03"
        ]
    );
}

#[test]
fn what_is_left_of_a_referring_table_keeps_its_window() {
    let runs = months("runs", 1, &[], "keep = '2 months'", 1..=6);
    let results = months("results", 2, &[1], "keep = '2 months', max_partitions = 1", 1..=6);
    let plan = decide(vec![Ok(runs), Ok(results)], &Holds::default(), at(NOW));
    assert_eq!(going(&plan), ["results_01", "runs_01 after results_01"]);
    let said = show(&plan);
    assert!(said.contains("and goes when those of results in its window are gone, in a later run"), "{said}");
}

#[test]
fn tables_that_refer_to_each_other_wait_for_nobody_in_a_circle() {
    let one = months("one", 1, &[2], "keep = '2 months'", 1..=6);
    let two = months("two", 2, &[1], "keep = '2 months'", 1..=6);
    let plan = decide(vec![Ok(one), Ok(two)], &Holds::default(), at(NOW));
    assert_eq!(going(&plan)[..2], ["one_01", "two_01 after one_01"]);
}

#[test]
fn one_table_that_cannot_be_looked_at_spoils_no_other_and_none_stands_twice() {
    let missing = Err((table("gone"), Refusal::new("there is no table gone", "create it")));
    let events = || Ok(months("events", 1, &[], "keep = '4 months'", 1..=6));
    let plan = decide(vec![missing, events(), events()], &Holds::default(), at(NOW));
    let said = show(&plan);
    assert!(said.starts_with(
        "refuse gone: there is no table gone; create it\nrefuse events: two policies of the job name this table"
    ));
    assert_eq!(going(&plan), ["events_01"]);
}

#[test]
fn labels_are_the_tables_of_the_config() {
    let plan = decide(vec![Ok(months("events", 1, &[], "keep = '4 months'", 1..=6))], &Holds::default(), at(NOW));
    let step = plan.actions[0].step();
    assert_eq!((step.action, step.target.as_str()), ("drop_partition", "public.events_01"));
    assert_eq!(plan.actions[0].label(), "public.events");
    assert_eq!(
        step.detail,
        serde_json::json!({
            "table": "public.events", "from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z",
            "bound": "FOR VALUES FROM ('2026-01-01 00:00:00+00') TO ('2026-02-01 00:00:00+00')",
            "bytes": 8192, "rows": 10, "state": "attached", "detach": "concurrently",
        })
    );
    assert_eq!(
        step.sql.unwrap(),
        "ALTER TABLE \"public\".\"events\" DETACH PARTITION \"public\".\"events_01\" CONCURRENTLY; DROP TABLE \"public\".\"events_01\""
    );
}
