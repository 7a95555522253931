//! What has gone wrong for the users of other tools.

use super::*;

/// pg_partman, test-time-gap-fill: after downtime months are missing in the middle.
#[test]
fn gaps_in_the_middle_are_filled() {
    check(
        "range timestamptz
         a 2026-11-01 2026-12-01
         b 2027-02-01 2027-03-01",
        "ahead = 3",
        NOVEMBER,
        "create events_2026_12 FROM ('2026-12-01') TO ('2027-01-01'): 2026-12 is 1 period ahead
         create events_2027_01 FROM ('2027-01-01') TO ('2027-02-01'): 2027-01 is 2 periods ahead
         keep events: as it stands, the first insert would fail at 2026-12-01 00:00:00Z",
    );
}

/// pg_partman, test-time-epoch-weekly and -milliseconds-weekly.
#[test]
fn weeks_of_an_epoch_key_begin_on_monday() {
    check(
        "range bigint",
        "every = '1 week', ahead = 1, key_format = 'epoch'",
        NOVEMBER,
        "create events_2026_11_09 FROM ('1794182400') TO ('1794787200'): 2026-11-09 is the current period
         create events_2026_11_16 FROM ('1794787200') TO ('1795392000'): 2026-11-16 is 1 period ahead
         warn events: as it stands, there is no partition for now: inserts fail",
    );
    check(
        "range bigint
         a 1794182400000 1794787200000",
        "every = '1 week', ahead = 1, key_format = 'epoch_ms'",
        NOVEMBER,
        "create events_2026_11_16 FROM ('1794787200000') TO ('1795392000000'): 2026-11-16 is 1 period ahead
         keep events: as it stands, the first insert would fail at 2026-11-16 00:00:00Z",
    );
}

/// An epoch in four bytes ends in 2038: all periods before that are made, and the rest is a failure in words.
#[test]
fn what_the_type_can_hold_is_made_and_the_rest_is_refused_before_the_server_does() {
    let twelve = "every = '1 year', ahead = 12, key_format = 'epoch'";
    let text = show(plan_of(&facts("range integer"), twelve, NOVEMBER));
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[10].starts_with("create events_2036") && lines[11].starts_with("create events_2037"), "{text}");
    assert!(lines[12].starts_with("refuse events: 2038 has no value as integer"), "{text}");
    // Nothing but the refusal is left where those are there.
    let there = "range integer\n all 0 2145916800";
    let text = show(plan_of(&facts(there), twelve, NOVEMBER));
    assert!(text.starts_with("refuse events: 2038 has no value as integer") && text.lines().count() == 1, "{text}");
}

/// pg_partman, test-time-100years.
#[test]
fn a_hundred_years_are_a_period_too() {
    check(
        "range timestamptz",
        "every = '100 years', ahead = 1",
        NOVEMBER,
        "create events_1970 FROM ('1970-01-01') TO ('2070-01-01'): 1970 is the current period
         create events_2070 FROM ('2070-01-01') TO ('2170-01-01'): 2070 is 1 period ahead
         warn events: as it stands, there is no partition for now: inserts fail",
    );
}

/// pg_partman, test-time-hourly-trunc: a table's name that leaves no room for the hour, and two such in one schema.
#[test]
fn long_names_are_shortened_and_stay_apart() {
    let long = "this_is_a_table_with_an_extremely_long_name_that_goes_on_and_";
    let names: Vec<_> = ["a", "b"]
        .map(|last| TableFacts { table: table(&format!("{long}{last}")), ..facts("range timestamptz") })
        .iter()
        .flat_map(|facts| plan_of(facts, "every = '1 hour', ahead = 1", NOVEMBER).actions)
        .map(|action| action.step().target.replace("public.", ""))
        .collect();
    assert!(names.iter().all(|name| name.len() == 63), "{names:?}");
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), 4);
    assert!(names[0].starts_with("this_is_a_table_") && names[0].ends_with("_2026_11_15_12"), "{names:?}");
    // In letters of two bytes each, cut between them.
    let greek = TableFacts { table: table(&"ω".repeat(31)), ..facts("range timestamptz") };
    let name = plan_of(&greek, "ahead = 0", NOVEMBER).actions[0].step().target;
    assert!(name.contains("ωω_") && name.ends_with("_2026_11\""), "{name}");
}

/// pg_partman, test-time-mixed-case: names that need quotes.
#[test]
fn names_keep_their_capitals() {
    let odd = TableFacts { table: TableName::new("My Schema", "Te\"st 100%d").unwrap(), ..facts("range timestamptz") };
    let step = plan_of(&odd, "ahead = 0", NOVEMBER).actions[0].step();
    assert_eq!(step.target, "\"My Schema\".\"Te\"\"st 100%d_2026_11\"");
    assert_eq!(
        step.sql.unwrap(),
        "ALTER TABLE \"My Schema\".\"Te\"\"st 100%d\" ATTACH PARTITION \"My Schema\".\"Te\"\"st 100%d_2026_11\" FOR \
         VALUES FROM ('2026-11-01 00:00:00+00') TO ('2026-12-01 00:00:00+00')"
    );
}

/// pg_partman, test-time-infinite-no-data, and #429: the clock decides, not what rows there are.
#[test]
fn what_is_made_follows_the_clock() {
    check(
        "range timestamptz
         a 2020-01-01 2020-02-01",
        "ahead = 1",
        NOVEMBER,
        "create events_2026_11 FROM ('2026-11-01') TO ('2026-12-01'): 2026-11 is the current period
         create events_2026_12 FROM ('2026-12-01') TO ('2027-01-01'): 2026-12 is 1 period ahead
         warn events: as it stands, there is no partition for now: inserts fail",
    );
}

/// PPM, "Interval change": days before, months from now on.
#[test]
fn another_width_goes_on_where_the_old_one_ends() {
    check(
        "range timestamptz
         d1 2026-11-14 2026-11-15
         d2 2026-11-15 2026-11-16
         d3 2026-11-16 2026-11-17",
        "ahead = 1",
        NOVEMBER,
        "create events_2026_11 FROM ('2026-11-01') TO ('2026-11-14'): 2026-11 is the current period; a part of it has no partition
         create events_2026_11_79b3e7ae FROM ('2026-11-17') TO ('2026-12-01'): 2026-11 is the current period; a part of it has no partition; the name events_2026_11 is taken
         create events_2026_12 FROM ('2026-12-01') TO ('2027-01-01'): 2026-12 is 1 period ahead
         keep events: as it stands, the first insert would fail at 2026-11-17 00:00:00Z",
    );
    // From weeks, none of which begins with a month.
    check(
        "range timestamptz
         w1 2026-11-09 2026-11-16",
        "ahead = 0",
        NOVEMBER,
        "create events_2026_11 FROM ('2026-11-01') TO ('2026-11-09'): 2026-11 is the current period; a part of it has no partition
         create events_2026_11_e6a9ddd1 FROM ('2026-11-16') TO ('2026-12-01'): 2026-11 is the current period; a part of it has no partition; the name events_2026_11 is taken
         keep events: as it stands, the first insert would fail at 2026-11-16 00:00:00Z",
    );
}

/// PPM, "timestamptz key crossing a DST transition".
#[test]
fn days_of_a_zone_are_as_long_as_they_are() {
    check(
        "range timestamptz",
        "every = '1 day', ahead = 2, timezone = 'Europe/Berlin'",
        "2026-10-24T12:00:00Z",
        "create events_2026_10_24 FROM ('2026-10-23 22:00:00+00') TO ('2026-10-24 22:00:00+00'): 2026-10-24 is the current period
         create events_2026_10_25 FROM ('2026-10-24 22:00:00+00') TO ('2026-10-25 23:00:00+00'): 2026-10-25 is 1 period ahead
         create events_2026_10_26 FROM ('2026-10-25 23:00:00+00') TO ('2026-10-26 23:00:00+00'): 2026-10-26 is 2 periods ahead
         warn events: as it stands, there is no partition for now: inserts fail",
    );
}

#[test]
fn an_hour_that_is_repeated_has_one_partition_and_one_that_is_skipped_none() {
    check(
        "range timestamptz",
        "every = '1 hour', ahead = 2, timezone = 'Europe/Berlin'",
        "2026-10-24T23:30:00Z",
        "create events_2026_10_25_01 FROM ('2026-10-24 23:00:00+00') TO ('2026-10-25'): 2026-10-25 01:00 is the current period
         create events_2026_10_25_02 FROM ('2026-10-25') TO ('2026-10-25 02:00:00+00'): 2026-10-25 02:00 is 1 period ahead
         create events_2026_10_25_03 FROM ('2026-10-25 02:00:00+00') TO ('2026-10-25 03:00:00+00'): 2026-10-25 03:00 is 2 periods ahead
         warn events: as it stands, there is no partition for now: inserts fail",
    );
    check(
        "range timestamptz",
        "every = '1 hour', ahead = 2, timezone = 'Europe/Berlin'",
        "2026-03-29T00:30:00Z",
        "create events_2026_03_29_01 FROM ('2026-03-29') TO ('2026-03-29 01:00:00+00'): 2026-03-29 01:00 is the current period
         create events_2026_03_29_03 FROM ('2026-03-29 01:00:00+00') TO ('2026-03-29 02:00:00+00'): 2026-03-29 03:00 is 2 periods ahead
         warn events: as it stands, there is no partition for now: inserts fail",
    );
    // What has no zone has that hour: somebody may write it.
    let wall = show(plan_of(
        &facts("range timestamp without time zone"),
        "every = '1 hour', ahead = 1, timezone = 'Europe/Berlin'",
        "2026-03-29T00:30:00Z",
    ));
    assert!(wall.contains("events_2026_03_29_02 FROM ('2026-03-29 02:00:00') TO ('2026-03-29 03:00:00')"), "{wall}");
}

/// GitLab's strategies by month and by day take hold of a month of their zone, and of the first one from MINVALUE.
#[test]
fn a_first_partition_from_minvalue_is_left_as_it_is() {
    check(
        "range date
         first min 2026-11-01
         a 2026-11-01 2026-12-01",
        "ahead = 1, behind = 6",
        NOVEMBER,
        "create events_2026_12 FROM ('2026-12-01') TO ('2027-01-01'): 2026-12 is 1 period ahead
         keep events: as it stands, the first insert would fail at 2026-12-01 00:00:00Z",
    );
}

/// GitLab's sliding list counts numbers, not time: with a format it is refused where it does not fit, and left alone.
#[test]
fn a_list_of_numbers_that_are_no_months_is_reported() {
    check(
        "list bigint
         p1 in 1
         p2 in 2",
        "ahead = 0, key_format = '%Y%m'",
        NOVEMBER,
        "create events_2026_11 IN ('202611'): 2026-11 is the current period
         keep events: p1 holds a value that is no time of its format, '1'
         keep events: p2 holds a value that is no time of its format, '2'
         warn events: as it stands, there is no partition for now: inserts fail",
    );
    let text = show(plan_of(&facts("list bigint\n p1 in 1"), "ahead = 0", NOVEMBER));
    assert!(text.contains("add key_format"), "{text}");
}

/// One table that cannot be done spoils no other (pg_partman #860).
#[test]
fn one_table_that_is_refused_spoils_no_other() {
    let good = facts("range timestamptz");
    let bad = TableFacts { table: table("bad"), oid: 2, ..facts("hash timestamptz") };
    let policy = policy("ahead = 0");
    let both = [bad, good].map(|facts| wanted(&facts, &policy, Tz::UTC, at(NOVEMBER), None));
    let text = show(decide(both.to_vec(), &HashSet::new()));
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("refuse bad: it is partitioned by HASH (at): hash partitions follow no time"),
        "{text}"
    );
    assert!(lines[1].starts_with("create events_2026_11"), "{text}");
}

/// Partitions in another format than the rows have would be there and stay empty, and each insert would fail.
#[test]
fn a_list_of_months_in_another_format_is_not_added_to() {
    let months = "list text
         a in 2026-10
         b in 2026-11
         rest in none";
    let text = show(plan_of(&facts(months), "key_format = '%Y_%m', ahead = 1", NOVEMBER));
    assert!(text.starts_with("refuse events: a holds '2026-10', which is no time of key_format \"%Y_%m\""), "{text}");
    let text = show(plan_of(&facts(months), "key_format = '%Y-%m', ahead = 1", NOVEMBER));
    assert!(text.starts_with("create events_2026_12 IN ('2026-12')"), "{text}");
    let words = "list text
         rest in none, unknown";
    let text = show(plan_of(&facts(words), "key_format = '%Y-%m', ahead = 0", NOVEMBER));
    assert!(text.starts_with("create events_2026_11 IN ('2026-11')"), "{text}");
}

/// A year that is partitioned by months: nothing is made that no row could reach, and the run of them ends where it does.
#[test]
fn a_partition_that_is_partitioned_itself_is_filled_to_its_own_bound() {
    let mut facts = facts("range date\n a 2026-11-01 2026-12-01");
    let value = |text: &str| Edge::Value(text.into());
    facts.within = Some(Bound::Range { from: value("2026-01-01"), to: value("2027-01-01"), exact: true });
    check_facts(
        &facts,
        "ahead = 3, behind = 20",
        NOVEMBER,
        &(1..=10)
            .map(|month| format!("create events_2026_{month:02} FROM ('2026-{month:02}-01') TO ('2026-{:02}-01'): 2026-{month:02} is {} period{} behind\n", month + 1, 11 - month, if month == 10 { "" } else { "s" }))
            .chain(["create events_2026_12 FROM ('2026-12-01') TO ('2027-01-01'): 2026-12 is 1 period ahead
                     keep events: as it stands, the first insert would fail at 2026-12-01 00:00:00Z".to_string()])
            .collect::<String>(),
    );
    // Of a year that is over, or to come, there is nothing to say.
    check_facts(&facts, "ahead = 3", "2027-02-01T00:00:00Z", "");
    // Open at its end, but not beyond that of the table it is a part of.
    facts.partitions[0].bound = Bound::Range { from: Edge::MinValue, to: Edge::MaxValue, exact: true };
    let all = show(plan_of(&facts, "ahead = 3", NOVEMBER));
    assert!(all.contains("keep events: the first insert would fail at 2027-01-01 00:00:00Z"), "{all}");
}

/// The plan does not promise what no run could do; what was made as a plain table since is taken after.
#[test]
fn partitions_that_are_partitioned_themselves_are_refused_before_anything_is_tried() {
    let mut facts = facts("range timestamptz\n a 2026-10-01 2026-11-01\n b 2026-11-01 2026-12-01");
    (facts.partitions[0].oid, facts.partitions[1].oid) = (8, 9);
    facts.partitions[1].is_parent = true;
    let refused = show(plan_of(&facts, "ahead = 2", NOVEMBER));
    assert!(refused.starts_with("refuse events: its partitions are partitioned themselves, as b is"), "{refused}");
    assert_eq!(refused.lines().count(), 1, "{refused}");
    assert!(show(plan_of(&facts, "ahead = 0", NOVEMBER)).starts_with("keep events"), "nothing to make");
    facts.partitions[0].oid = 10;
    assert!(show(plan_of(&facts, "ahead = 1", NOVEMBER)).starts_with("create events_2026_12"));
}
