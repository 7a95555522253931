//! Existing bounds of every kind, and what is made beside them.

use super::*;

#[test]
fn gaps_are_filled_and_partial_overlaps_cut_to_what_is_free() {
    check(
        "range timestamptz
         odd 2026-11-10 2026-11-20
         next 2027-01-01 2027-02-01",
        "ahead = 2",
        NOVEMBER,
        "create events_2026_11 FROM ('2026-11-01') TO ('2026-11-10'): 2026-11 is the current period; a part of it has no partition
         create events_2026_11_bc0e6980 FROM ('2026-11-20') TO ('2026-12-01'): 2026-11 is the current period; a part of it has no partition; the name events_2026_11 is taken
         create events_2026_12 FROM ('2026-12-01') TO ('2027-01-01'): 2026-12 is 1 period ahead
         keep events: as it stands, the first insert would fail at 2026-11-20 00:00:00Z",
    );
}

#[test]
fn a_last_partition_to_maxvalue_is_reported_not_tried() {
    check(
        "range timestamptz
         a 2026-11-01 2026-12-01
         rest 2026-12-01 max",
        "ahead = 2",
        NOVEMBER,
        "warn events: rest reaches without end (MAXVALUE), so that no partition can be made after its beginning; to split it: \
         detach it, run this job, move its rows back with INSERT INTO \"public\".\"events\" SELECT * FROM \
         \"public\".\"rest\", drop it
         keep events: its partitions reach without end",
    );
    // Infinity is not MAXVALUE to the server, and no less far away.
    let text = show(plan_of(
        &facts("range timestamptz\n a -infinity 2026-11-01\n rest 2026-11-01 infinity"),
        "ahead = 2, behind = 3",
        NOVEMBER,
    ));
    assert!(text.starts_with("warn events: rest reaches without end") && text.lines().count() == 2, "{text}");
}

#[test]
fn a_partition_from_minvalue_holds_the_past() {
    check(
        "range timestamptz
         old min 2026-10-15",
        "ahead = 0, behind = 2",
        NOVEMBER,
        "create events_2026_10 FROM ('2026-10-15') TO ('2026-11-01'): 2026-10 is 1 period behind; a part of it has no partition
         create events_2026_11 FROM ('2026-11-01') TO ('2026-12-01'): 2026-11 is the current period
         warn events: as it stands, there is no partition for now: inserts fail",
    );
}

#[test]
fn a_bound_that_cannot_be_read_refuses_the_table_and_names_the_partition() {
    check(
        "range text
         odd 2025-1 2025-02",
        "key_format = '%Y-%m'",
        NOVEMBER,
        "refuse events: the bound of odd cannot be read, and a new partition may overlap it: FOR VALUES FROM ('2025-1') TO \
         ('2025-02') (there is no partition for now: inserts fail)",
    );
}

#[test]
fn a_month_thirteen_is_january_and_the_new_bound_keeps_to_its_neighbour() {
    check(
        "range text
         dec 2026-12 2026-13",
        "ahead = 2, key_format = '%Y-%m'",
        NOVEMBER,
        "create events_2026_11 FROM ('2026-11') TO ('2026-12'): 2026-11 is the current period
         create events_2027_01 FROM ('2026-13') TO ('2027-02'): 2027-01 is 2 periods ahead
         warn events: as it stands, there is no partition for now: inserts fail",
    );
    check(
        "range integer
         dec 202612 202613",
        "ahead = 1, key_format = '%Y%m'",
        "2026-12-05T00:00:00Z",
        "create events_2027_01 FROM ('202613') TO ('202702'): 2027-01 is 1 period ahead
         keep events: as it stands, the first insert would fail at 2027-01-01 00:00:00Z",
    );
}

#[test]
fn of_a_list_each_value_is_a_month_and_a_partition_may_hold_several() {
    check(
        "list text
         half in 2026-11, 2026-12
         odd in 2026-1, null
         late in 2027-02",
        "ahead = 4, key_format = '%Y-%m'",
        NOVEMBER,
        "create events_2027_01 IN ('2027-01'): 2027-01 is 2 periods ahead
         create events_2027_03 IN ('2027-03'): 2027-03 is 4 periods ahead
         keep events: odd holds a value that is no time of its format, '2026-1'
         keep events: odd holds rows without a time, NULL
         keep events: as it stands, the first insert would fail at 2027-01-01 00:00:00Z",
    );
}

#[test]
fn a_list_of_a_longer_period_names_each_month_in_it() {
    check(
        "list integer
         a in 202610",
        "every = '1 quarter', ahead = 1, key_format = '%Y%m'",
        NOVEMBER,
        "create events_2026_10 IN ('202611', '202612'): 2026-10 is the current period; a part of it has no partition
         create events_2027_01 IN ('202701', '202702', '202703'): 2027-01 is 1 period ahead
         warn events: as it stands, there is no partition for now: inserts fail",
    );
}

#[test]
fn one_that_is_being_detached_still_has_its_place_and_takes_no_rows() {
    check(
        "range timestamptz
         pending a 2026-11-01 2026-12-01",
        "ahead = 1",
        NOVEMBER,
        "create events_2026_12 FROM ('2026-12-01') TO ('2027-01-01'): 2026-12 is 1 period ahead
         warn events: a is being detached: it takes no rows, and its place is not free until ALTER TABLE \
         \"public\".\"events\" DETACH PARTITION \"public\".\"a\" FINALIZE
         warn events: as it stands, there is no partition for now: inserts fail",
    );
}

#[test]
fn bounds_of_another_zone_are_refused_with_both_readings() {
    check(
        "range timestamptz
         nov 2026-11-01T04:00:00+00 2026-12-01T05:00:00+00",
        "timezone = 'Europe/Berlin'",
        NOVEMBER,
        "refuse events: its partitions begin at midnight of UTC-04:00, as 2026-11-01 04:00:00 UTC does, which reads \
         2026-11-01 05:00:00 in the policy's zone Europe/Berlin: partitions of both would overlap or leave gaps; set \
         timezone to the zone that they were made in (the first insert would fail at 2026-12-01 05:00:00Z)",
    );
    // London's winter bounds look like UTC's, its summer ones do not.
    let london = "range timestamptz
         a 2026-02-28T23:00:00+00 2026-03-31T23:00:00+00
         b 2026-03-31T23:00:00+00 2026-04-30T23:00:00+00
         c 2026-10-31T00:00:00+00 2026-11-30T23:00:00+00";
    let refused = show(plan_of(&facts(london), "timezone = 'UTC'", NOVEMBER));
    assert!(refused.contains("midnight of UTC+01:00"), "{refused}");
}

#[test]
fn an_odd_width_is_no_other_zone() {
    check(
        "range timestamptz
         a 2026-10-01 2026-11-01
         b 2026-11-01 2026-11-20T12:00:00+00",
        "ahead = 0",
        NOVEMBER,
        "create events_2026_11 FROM ('2026-11-20 12:00:00+00') TO ('2026-12-01'): 2026-11 is the current period; a part of it has no partition
         keep events: as it stands, the first insert would fail at 2026-11-20 12:00:00Z",
    );
}

/// A table that was attached as the first partition ends when it was: no zone is fourteen hours, 23 minutes and 11 seconds
/// behind.
#[test]
fn an_end_that_is_midnight_nowhere_is_no_other_zone() {
    check(
        "range timestamptz
         legacy min 2026-11-10T14:23:11+00",
        "ahead = 0",
        NOVEMBER,
        "create events_2026_11 FROM ('2026-11-10 14:23:11+00') TO ('2026-12-01'): 2026-11 is the current period; a part of it has no partition
         warn events: as it stands, there is no partition for now: inserts fail",
    );
}

#[test]
fn of_several_columns_the_first_decides_unless_the_others_say_more() {
    let mut exact = facts("range timestamptz\n a 2026-11-01 2026-12-01");
    exact.key.columns = 3;
    check_facts(
        &exact,
        "ahead = 1",
        NOVEMBER,
        "create events_2026_12 FROM ('2026-12-01', MINVALUE, MINVALUE) TO ('2027-01-01', MINVALUE, MINVALUE): 2026-12 is 1 period ahead
         keep events: as it stands, the first insert would fail at 2026-12-01 00:00:00Z",
    );
    check(
        "range timestamptz\n vague a 2026-11-01 2026-12-01",
        "ahead = 1",
        NOVEMBER,
        "refuse events: a ends within one value of the first key column, so that what is free beside it is not known: make \
         the partition next to it by hand, with MINVALUE for the other columns (the first insert would fail at 2026-12-01 \
         00:00:00Z)",
    );
    // Where nothing is made beside it, it does not matter.
    check(
        "range timestamptz\n vague a 2026-11-01 2026-12-01",
        "ahead = 0",
        NOVEMBER,
        "keep events: the first insert would fail at 2026-12-01 00:00:00Z",
    );
}
