use proptest::prelude::*;

use super::*;
use crate::kinds::rows::Time;
use crate::pg::Ident;

fn ident(name: &str) -> Ident {
    Ident::new(name).unwrap()
}

fn key(on_delete: OnDelete) -> Reference {
    Reference {
        constraint: "device_session_fkey".into(),
        table: TableName::new("public", "device").unwrap(),
        on_delete,
        columns: vec![ident("session")],
        referenced: vec![ident("id")],
        operators: vec!["OPERATOR(pg_catalog.=)".into()],
        indexed: true,
        readable: true,
    }
}

pub fn wanted() -> Wanted {
    Wanted {
        table: TableName::new("public", "sessions").unwrap(),
        counted_as: "public.sessions".into(),
        time: Time::Column(ident("expires_at")),
        condition: None,
        before: "2026-06-15T12:00:00Z".parse().unwrap(),
        zone: Tz::UTC,
        words: Words::Ended,
        into: None,
        making: None,
        objects: None,
    }
}

/// A leaf of `public.sessions` with so many rows due.
pub fn leaf(name: &str, due: Count) -> LeafFacts {
    let name = TableName::new("public", name).unwrap();
    LeafFacts {
        leaf: Leaf {
            oid: 1,
            name: name.clone(),
            kind: 'r',
            row_security: false,
            missing: Vec::new(),
            not_null: Vec::new(),
            delete_triggers: Vec::new(),
            rows: None,
            referenced_by: Vec::new(),
        },
        refusal: None,
        work: Some(Work {
            deletion: Deletion {
                leaf: name,
                oid: 1,
                alias: ident("sessions"),
                time: "\"expires_at\"".into(),
                time_type: "timestamptz",
                cutoff: Cutoff::Instant("2026-06-15T12:00:00Z".parse().unwrap()),
                conditions: Vec::new(),
                refused_by: Vec::new(),
                followed_by: Vec::new(),
                access: Access::Index("sessions_expires_at".into()),
                guarded: false,
                into: None,
                objects: None,
            },
            index: Some("sessions_expires_at".into()),
            due,
            estimated: None,
            kept: Vec::new(),
            nulls: Count::Exactly(0),
            without: Vec::new(),
            objects: None,
        }),
    }
}

fn check(leaves: Vec<LeafFacts>, expect: &str) {
    let facts = TableFacts { leaves, ..TableFacts::new(&wanted()) };
    let plan = decide(vec![facts]);
    let lines = plan.actions.iter().map(Action::step).chain(plan.notes);
    let text: String = lines.map(|step| format!("{} {}: {}\n", step.action, step.target, step.reason)).collect();
    assert_eq!(text, expect);
}

#[test]
fn what_is_due_is_deleted_and_what_is_surely_not_is_left() {
    check(
        vec![
            leaf("sessions_a", Count::Exactly(3)),
            leaf("sessions_b", Count::Exactly(0)),
            leaf("sessions_c", Count::MoreThan(100_000)),
        ],
        "delete_rows public.sessions_a: 3 rows ended before 2026-06-15 12:00:00Z\n\
         delete_rows public.sessions_c: more than 100000 rows ended before 2026-06-15 12:00:00Z\n\
         keep public.sessions_b: no row ended before 2026-06-15 12:00:00Z\n",
    );
}

#[test]
fn what_has_nothing_due_is_in_order_and_what_is_refused_is_not() {
    let in_order = |leaves| decide(vec![TableFacts { leaves, ..TableFacts::new(&wanted()) }]).in_order;
    assert_eq!(
        in_order(vec![leaf("a", Count::Exactly(0)), leaf("b", Count::Exactly(3)), leaf("c", Count::Unknown)]),
        1
    );
    // All of it is held.
    assert_eq!(in_order(Vec::new()), 1);
    let refused = LeafFacts { refusal: Some(Refusal::new("why", "")), ..leaf("a", Count::Exactly(0)) };
    assert_eq!(in_order(vec![refused]), 0);
    assert_eq!(decide(vec![TableFacts::refused(&wanted(), "why", "")]).in_order, 0);
    assert_eq!(decide(vec![TableFacts::locked(&wanted(), "somebody".into())]).in_order, 0);
}

#[test]
fn an_estimate_of_none_is_no_reason_to_do_nothing() {
    check(
        vec![leaf("sessions", Count::About(0)), leaf("unknown", Count::Unknown)],
        "delete_rows public.sessions: about 0 rows ended before 2026-06-15 12:00:00Z\n\
         delete_rows public.unknown: an unknown number of rows ended before 2026-06-15 12:00:00Z\n",
    );
}

#[test]
fn a_refused_leaf_is_an_action_that_fails_and_its_neighbour_is_done() {
    let mut refused = leaf("sessions_a", Count::Exactly(3));
    refused.refusal = Some(Refusal { why: "role \"r\" lacks UPDATE".into(), mend: "GRANT UPDATE".into() });
    check(
        vec![refused, leaf("sessions_b", Count::Exactly(1))],
        "refuse public.sessions_a: role \"r\" lacks UPDATE; GRANT UPDATE\n\
         delete_rows public.sessions_b: 1 row ended before 2026-06-15 12:00:00Z\n",
    );
}

#[test]
fn a_foreign_table_is_left_out_and_says_so() {
    let mut foreign = leaf("sessions_far", Count::Unknown);
    foreign.work = None;
    check(vec![foreign], "warn public.sessions_far: its rows are in another server, and are left alone from here\n");
}

#[test]
fn children_and_rows_without_a_time_are_named() {
    let mut facts = leaf("sessions", Count::Exactly(3));
    facts.leaf.referenced_by = vec![key(OnDelete::Cascade), key(OnDelete::Refuse)];
    let work = facts.work.as_mut().unwrap();
    work.deletion.followed_by = vec![key(OnDelete::Cascade)];
    work.kept = vec![(key(OnDelete::Refuse), Count::Exactly(2))];
    work.nulls = Count::About(7);
    check(
        vec![facts],
        "delete_rows public.sessions: 3 rows ended before 2026-06-15 12:00:00Z\n\
         keep public.sessions: about 7 rows without a time: NULL never ends\n\
         warn public.sessions: 2 rows that ended stay, because rows of public.device refer to them (constraint \
         device_session_fkey, ON DELETE NO ACTION)\n\
         warn public.sessions: rows of public.device that refer to deleted rows are deleted with them (constraint \
         device_session_fkey, ON DELETE CASCADE); the run reports how many\n",
    );
}

#[test]
fn the_operators_sql_cannot_swallow_what_follows_it() {
    let mut facts = leaf("sessions", Count::Exactly(1)).work.unwrap().deletion;
    facts.conditions = vec!["a OR b -- or else".into()];
    facts.refused_by = vec![key(OnDelete::Refuse)];
    assert_eq!(
        facts.condition(),
        "\"expires_at\" OPERATOR(pg_catalog.<) $1::pg_catalog.timestamptz AND (a OR b -- or else\n) AND NOT EXISTS (SELECT FROM \"public\".\"device\" AS \
         \"pgtend child\" WHERE \"sessions\".\"id\" OPERATOR(pg_catalog.=) \"pgtend child\".\"session\")"
    );
}

fn wall(at: &str, zone: Tz) -> String {
    wall_clock(at.parse().unwrap(), zone).to_string()
}

#[test]
fn in_an_hour_that_is_shown_twice_the_cutoff_waits_for_the_second() {
    let berlin = Tz::Europe__Berlin;
    assert_eq!(wall("2026-10-24T23:59:59Z", berlin), "2026-10-25 01:59:59");
    // From two to three the first time: a row that says 02:10 may mean an hour from now.
    assert_eq!(wall("2026-10-25T00:30:00Z", berlin), "2026-10-25 02:00:00");
    assert_eq!(wall("2026-10-25T01:30:00Z", berlin), "2026-10-25 02:30:00");
    // A clock that jumps by half an hour.
    assert_eq!(wall("2026-04-04T14:45:00Z", Tz::Australia__Lord_Howe), "2026-04-05 01:30:00");
}

proptest! {
    /// A row is deleted only if every instant its wall clock time may stand for is over.
    #[test]
    fn no_wall_clock_time_ends_before_its_instant(minutes in 0i64..600_000, row in -300i64..300, zone in 0usize..4) {
        let zone = [Tz::Europe__Berlin, Tz::Australia__Lord_Howe, Tz::America__New_York, Tz::UTC][zone];
        let now = "2026-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(minutes);
        let written = now.with_timezone(&zone).naive_local() + TimeDelta::minutes(row);
        if written < wall_clock(now, zone) {
            let meant = match zone.from_local_datetime(&written) {
                LocalResult::Single(at) | LocalResult::Ambiguous(_, at) => at.to_utc(),
                // It was never shown; what it means is anybody's guess.
                LocalResult::None => return Ok(()),
            };
            prop_assert!(meant < now, "{written} means {meant}, which is not before {now}");
        }
    }
}

#[test]
fn objects_are_named_and_addresses_that_are_not_followed_are_told() {
    let mut one = leaf("artifacts", Count::Exactly(5));
    let foreign = Foreign { rows: 2, address: "s3://other/\n".into(), why: "it is not in s3://b".into() };
    one.work.as_mut().unwrap().objects = Some(ObjectFacts { indexed: true, looked_at: 4, foreign: Some(foreign) });
    let objects = Some(ObjectsOf { column: ident("key"), store: "offsite".into() });
    let plan = decide(vec![TableFacts { leaves: vec![one], ..TableFacts::new(&Wanted { objects, ..wanted() }) }]);
    let step = plan.actions[0].step();
    assert_eq!(
        step.reason,
        "5 rows ended before 2026-06-15 12:00:00Z; their objects in store offsite go first, by column \"key\""
    );
    assert_eq!(step.detail["objects"], json!({ "column": "key", "store": "offsite" }));
    assert_eq!(
        plan.notes[0].reason,
        "2 of 4 rows that are due name objects that are not to be touched, such as \"s3://other/\\n\": it is not in s3://b; \
         such rows stay, and a run fails for them"
    );
}
