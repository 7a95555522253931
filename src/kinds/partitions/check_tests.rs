use super::*;
use crate::kinds::partitions::facts::{Bound, DefaultPartition, KeyFacts, Partition, Strategy};
use crate::pg::Ident;

fn config(keys: &str) -> Partitions {
    toml::from_str(&format!("tables = [{{ table = 'events', {keys} }}]")).unwrap()
}

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn ident(name: &str) -> Ident {
    Ident::new(name).unwrap()
}

fn facts() -> TableFacts {
    TableFacts {
        table: "events".parse().unwrap(),
        oid: 1,
        owner: ident("app"),
        key: KeyFacts {
            strategy: Strategy::Range,
            column: Some(ident("created_at")),
            definition: "RANGE (created_at)".into(),
            columns: 1,
            type_name: "date".into(),
            bytewise: false,
        },
        within: None,
        partitions: Vec::new(),
        default: Some(DefaultPartition {
            name: "events_default".parse().unwrap(),
            oid: 2,
            is_parent: false,
            referenced_by: Vec::new(),
            has_rows: Some(true),
        }),
        references: Vec::new(),
        immutable: None,
        obstacles: Vec::new(),
    }
}

fn line(finding: &Finding) -> String {
    format!("{}: {} -> {}", finding.severity, finding.message, finding.mend)
}

#[test]
fn what_a_run_makes_lasts_to_the_end_of_the_periods_ahead() {
    let check = |keys: &str, at: &str, zone: Tz, expect: &str| {
        let lasting = lasts(&config(keys), time(at), zone).remove(0);
        assert_eq!(lasting.until, time(expect), "{keys} at {at}");
        assert_eq!(lasting.what, "the partitions of public.events");
    };
    check("ahead = 1", "2026-01-25T00:00:00Z", Tz::UTC, "2026-03-01T00:00:00Z");
    check("ahead = 0", "2026-01-25T00:00:00Z", Tz::UTC, "2026-02-01T00:00:00Z");
    check("every = '1 day', ahead = 3", "2026-01-25T00:00:00Z", Tz::UTC, "2026-01-29T00:00:00Z");
    check("ahead = 0", "2026-01-31T23:30:00Z", Tz::Europe__Berlin, "2026-02-28T23:00:00Z");
    check("ahead = 0, timezone = 'UTC'", "2026-01-31T23:30:00Z", Tz::Europe__Berlin, "2026-02-01T00:00:00Z");
}

#[test]
fn a_default_partition_with_rows_is_told_with_what_becomes_of_them() {
    let check = |keys: &str, change: fn(&mut TableFacts), count: Option<Count>, expect: &[&str]| {
        let mut facts = facts();
        change(&mut facts);
        let told = default_rows(config(keys).policies().next().unwrap(), &facts, count);
        let told = told.as_ref().map(line).unwrap_or_default();
        assert!(!expect.is_empty() || told.is_empty(), "{told}");
        for part in expect {
            assert!(told.contains(part), "{told}");
        }
    };
    let seven = Some(Count::Exactly(7));
    check("", |_| (), Some(Count::Exactly(0)), &[]);
    check("", |facts| facts.default = None, seven, &[]);
    check(
        "",
        |_| (),
        seven,
        &["warning: the default partition public.events_default holds 7 rows: ", "at most 10000;"],
    );
    check("default_rows_max = 5", |_| (), None, &["may hold rows, which could not be counted", "at most 5;"]);
    check(
        "default_rows = 'refuse'",
        |_| (),
        Some(Count::About(200_000)),
        &["about 200000 rows", "default_rows is \"refuse\""],
    );
    check(
        "",
        |facts| facts.immutable = Some(ident("keep")),
        seven,
        &["trigger \"keep\"", "a smaller default partition"],
    );
    let referenced = |facts: &mut TableFacts| {
        facts.default.as_mut().unwrap().referenced_by = vec!["public.results (of_run)".into()];
    };
    check("", referenced, seven, &["gets no partition, since public.results (of_run) point at them"]);
}

#[test]
fn odd_partitions_are_told_with_the_statement_that_mends_them() {
    let mut facts = facts();
    let partition = |name: &str, detach_pending, is_parent| Partition {
        name: name.parse().unwrap(),
        oid: 3,
        bound: Bound::List(vec![None]),
        detach_pending,
        is_parent,
    };
    facts.partitions = vec![partition("events_1", false, false)];
    assert_eq!(shape(&facts), []);
    facts.partitions.extend([partition("events_2", true, false), partition("events_3", false, true)]);
    facts.partitions[0].bound = Bound::Range { from: Edge::MinValue, to: Edge::MaxValue, exact: true };
    let told: Vec<_> = shape(&facts).iter().map(line).collect();
    assert!(told[0].ends_with(r#"ALTER TABLE "public"."events" DETACH PARTITION "public"."events_2" FINALIZE;"#));
    assert!(told[1].starts_with("warning: public.events_1 reaches without end"), "{}", told[1]);
    assert!(told[2].contains("(public.events_3); no new ones are made"), "{}", told[2]);
}

#[test]
fn an_obstacle_is_told_with_its_grant() {
    let mut facts = facts();
    facts.obstacles = vec!["role \"a\" may not act as \"app\": GRANT \"app\" TO \"a\";".into()];
    let told = obstacles_of(&facts, Some("there is no tablespace \"fast\"".into()));
    assert_eq!(
        told.iter().map(line).collect::<Vec<_>>(),
        [
            r#"error: role "a" may not act as "app" -> GRANT "app" TO "a";"#,
            r#"error: there is no tablespace "fast" -> create it, or correct the name"#,
        ]
    );
}

#[test]
fn no_partition_for_now_is_an_error_unless_the_job_makes_it_or_a_default_one_takes_the_rows() {
    let now = time("2026-06-15T12:00:00Z");
    let table: TableName = "events".parse().unwrap();
    let told = |default: Option<&str>, is_made| {
        let runway = Runway { until: Some(now), default: default.map(|name| name.parse().unwrap()), now };
        line(&reach(&table, &runway, is_made))
    };
    assert_eq!(told(None, false), "error: public.events has no partition for now: inserts fail -> make it by hand");
    assert_eq!(
        told(None, true),
        "warning: public.events has no partition for now: inserts fail until the job has run, which makes it -> run the job"
    );
    assert_eq!(
        told(Some("events_default"), true),
        "warning: public.events has no partition for now: rows go into the default partition public.events_default -> run the job"
    );
}
