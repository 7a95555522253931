//! Which partitions go, and what is said of the others.

use super::*;

/// Four months that have begun, and one made ahead.
const MONTHS: &str = "range timestamptz
    m02 2026-02-01 2026-03-01
    m03 2026-03-01 2026-04-01
    m04 2026-04-01 2026-05-01
    m06 2026-06-01 2026-07-01
    m07 2026-07-01 2026-08-01\n";

#[test]
fn a_partition_goes_when_its_whole_range_is_older_than_the_cutoff() {
    check(
        MONTHS,
        "keep = '2 months'",
        "drop m02: ends 2026-03-01, before the cutoff 2026-04-15 12:00 (keep 2 months); detached concurrently
         drop m03: ends 2026-04-01, before the cutoff 2026-04-15 12:00 (keep 2 months); detached concurrently
         keep m04: the first after the cutoff: ends 2026-05-01, and goes on 2026-07-01",
    );
    // At the very instant, and not one microsecond before.
    check_in(
        Tz::UTC,
        MONTHS,
        "keep = '3 months'",
        "2026-06-01T00:00:00Z",
        "drop m02: ends 2026-03-01, before the cutoff 2026-03-01 (keep 3 months); detached concurrently
         keep m03: the first after the cutoff: ends 2026-04-01, and goes on 2026-07-01",
    );
    check_in(
        Tz::UTC,
        MONTHS,
        "keep = '3 months'",
        "2026-05-31T23:59:59.999999Z",
        "keep m02: the first after the cutoff: ends 2026-03-01, and goes on 2026-06-01",
    );
}

#[test]
fn months_are_those_of_the_calendar_and_days_those_of_the_zone() {
    // 3 x 365 days would have taken March 2021.
    let text = "range timestamptz\n y21 2021-03-01 2021-04-01\n y22 2022-03-01 2022-04-01";
    check_in(
        Tz::UTC,
        text,
        "keep = '36 months'",
        "2024-03-31T12:00:00Z",
        "keep y21: the first after the cutoff: ends 2021-04-01, and goes on 2024-04-01",
    );
    let berlin = "range timestamptz
        m02 2026-01-31T23:00:00+00 2026-02-28T23:00:00+00
        m03 2026-02-28T23:00:00+00 2026-03-31T22:00:00+00
        m04 2026-03-31T22:00:00+00 2026-04-30T22:00:00+00";
    check_in(
        Tz::Europe__Berlin,
        berlin,
        "keep = '2 months'",
        "2026-04-30T22:00:00Z",
        "drop m02: ends 2026-03-01, before the cutoff 2026-03-01 (keep 2 months, Europe/Berlin); detached concurrently
         keep m03: the first after the cutoff: ends 2026-04-01, and goes on 2026-06-01",
    );
}

#[test]
fn what_is_current_default_future_open_or_unreadable_never_goes() {
    check(
        "range timestamptz
         open min 2020-01-01
         far 2020-01-01 max
         default with rows",
        "keep = '1 day', keep_at_least = 1",
        "keep far: its age cannot be told, and it never goes: it reaches without end
         keep open: ends 2020-01-01, before the cutoff 2026-06-14 12:00 (keep 1 day), and is one of the newest 1 (keep_at_least)
         warn events_default: the default partition holds 7 rows, and never goes",
    );
    check(
        "list text
         a in 2020-01, 2020-02
         b in 2020-03, null
         c in 2020-04, 2020-4
         d in 2026-05, 2019-01
         e in 2026-06",
        "keep = '1 month', key_format = '%Y-%m'",
        "drop a: ends 2020-03-01, before the cutoff 2026-05-15 12:00 (keep 1 month); detached concurrently
         keep b: its age cannot be told, and it never goes: it holds NULL, which is never old
         keep c: its age cannot be told, and it never goes: it holds '2020-4', which is no time of the key's format
         keep d: the first after the cutoff: ends 2026-06-01, and goes on 2026-07-01",
    );
    // Other columns of the key reach into the time it ends at.
    check_in(
        Tz::UTC,
        "range timestamptz\n vague m02 2026-02-01 2026-03-01\n m04 2026-04-01 2026-05-01\n m05 2026-05-01 2026-06-01",
        "keep = '3 months'",
        "2026-06-01T00:00:00Z",
        "keep m02: the first after the cutoff: ends 2026-03-01 00:00, and goes on 2026-06-01 00:00",
    );
}

#[test]
fn keep_at_least_counts_those_that_have_begun() {
    check(
        MONTHS,
        "keep = '1 day', keep_at_least = 3",
        "drop m02: ends 2026-03-01, before the cutoff 2026-06-14 12:00 (keep 1 day); detached concurrently
         keep m03: ends 2026-04-01, before the cutoff 2026-06-14 12:00 (keep 1 day), and is one of the newest 3 (keep_at_least)
         keep m04: ends 2026-05-01, before the cutoff 2026-06-14 12:00 (keep 1 day), and is one of the newest 3 (keep_at_least)
         keep m06: the first after the cutoff: ends 2026-07-01, and goes on 2026-07-02",
    );
}

#[test]
fn a_keep_of_minutes_beside_months_is_a_slip_of_the_hand() {
    let stays = "until that is mended, its partitions stay; the least is \"1 day\"";
    let refused = |why: &str| format!("refuse events: keep is {why}{stays}");
    for (keep, why) in [
        ("12m", "12 minutes, shorter than one partition (30 days); did you mean \"1 year\"? "),
        ("6m", "6 minutes, shorter than one partition (30 days); did you mean \"6 months\"? "),
        ("30s", "30 seconds, shorter than one partition (30 days); "),
        ("23h", "23 hours, shorter than one partition (30 days); "),
    ] {
        check(MONTHS, &format!("keep = '{keep}'"), &refused(why));
    }
    let days = "range timestamptz\n a 2026-06-13 2026-06-14\n b 2026-06-14 2026-06-15\n c 2026-06-15 2026-06-16";
    check(days, "keep = '12m'", &refused("12 minutes, shorter than one partition (1 day); did you mean \"1 year\"? "));
    // Hours are kept by the hour.
    let hours = "range timestamptz\n a 2026-06-15T09:00:00+00 2026-06-15T10:00:00+00\n b 2026-06-15T12:00:00+00 2026-06-15T13:00:00+00";
    check(
        hours,
        "keep = '1 hour'",
        "drop a: ends 2026-06-15 10:00, before the cutoff 2026-06-15 11:00 (keep 1 hour); detached concurrently
         keep b: the first after the cutoff: ends 2026-06-15 13:00, and goes on 2026-06-15 14:00",
    );
}

#[test]
fn a_plan_that_would_leave_nothing_says_so() {
    check(
        "range timestamptz\n a 2025-01-01 2025-02-01\n b 2025-02-01 2025-03-01\n m07 2026-07-01 2026-08-01",
        "keep = '1 day'",
        "drop a: ends 2025-02-01, before the cutoff 2026-06-14 12:00 (keep 1 day); detached concurrently
         keep b: ends 2025-03-01, before the cutoff 2026-06-14 12:00 (keep 1 day), and is one of the newest 1 (keep_at_least)
         warn events: every partition that has begun ends before the cutoff 2026-06-14 12:00, so that keep_at_least alone keeps anything: is keep = \"1 day\" meant, and does anybody make its partitions?
         keep m07: the first after the cutoff: ends 2026-08-01, and goes on 2026-08-02",
    );
}

#[test]
fn no_more_than_max_partitions_go_and_what_cannot_go_takes_no_place() {
    check(
        &format!("{MONTHS} m01 2026-01-01 2026-02-01\n ! view m01\n ! held m02"),
        "keep = '1 month', max_partitions = 1",
        "refuse m01: ends 2026-02-01, before the cutoff 2026-05-15 12:00 (keep 1 month): view v depends on m01, which cannot be dropped then; let it read the partitioned table instead, or drop it; or use action = \"detach\" or \"archive\"
         drop m03: ends 2026-04-01, before the cutoff 2026-05-15 12:00 (keep 1 month); detached concurrently
         keep m02: ends 2026-03-01, before the cutoff 2026-05-15 12:00 (keep 1 month), but is held: audit
         warn events: 1 partition more before the cutoff, and at most 1 go in one run (max_partitions): the next begins with m04, which ends 2026-05-01, and the last of them ends 2026-05-01
         keep m06: the first after the cutoff: ends 2026-07-01, and goes on 2026-08-01",
    );
}

const OLD: &str = "range timestamptz\n m01 2026-01-01 2026-02-01\n m06 2026-06-01 2026-07-01\n";
const NEXT: &str = "keep m06: the first after the cutoff: ends 2026-07-01, and goes on 2026-09-01";

#[track_caller]
pub fn check_old(extra: &str, keys: &str, expect: &str) {
    let rule = "ends 2026-02-01, before the cutoff 2026-04-15 12:00 (keep 2 months)";
    check(
        &format!("{OLD}{extra}"),
        &format!("keep = '2 months'{keys}"),
        &expect.replace("RULE", rule).replace("NEXT", NEXT),
    );
}

#[test]
fn of_what_is_never_to_go_nothing_goes_that_was_begun_either() {
    check_old(
        "! never\n ! detached old 2025-01-01 2025-02-01 drop",
        "",
        "refuse events: 1 partition is before the cutoff 2026-04-15 12:00: nothing of it may go; ask
         refuse old: nothing of it may go; ask",
    );
}

#[test]
fn what_is_held_goes_nowhere() {
    check_old("! held events", "", "keep events: it is held: audit");
    check_old("! held m01", "", "keep m01: RULE, but is held: audit\nNEXT");
    check_old("! sub m01 m01_a\n ! held m01_a", "", "keep m01: RULE, but m01_a is held: audit\nNEXT");
    check_old("! held other", "", "drop m01: RULE; detached concurrently\nNEXT");
    check_old("! held m01\n ! detached gone 2025-01-01 2025-02-01 drop\n ! held gone", "", "
        warn gone: was detached from events by an earlier run and is left as it is: it is held: audit; to take it back: ALTER TABLE \"public\".\"events\" ATTACH PARTITION \"public\".\"gone\" FOR VALUES FROM ('2025-01-01 00:00:00+00') TO ('2025-02-01 00:00:00+00'); to keep it as it is: COMMENT ON TABLE \"public\".\"gone\" IS NULL
        keep m01: RULE, but is held: audit
        NEXT");
}

#[test]
fn what_stands_in_the_way_is_refused_with_what_to_do() {
    check_old("! refers m01 5", "", "
        refuse m01: RULE: 5 rows of results refer to it (constraint fk); results has to let go of them first: this window waits
        NEXT");
    check_old("! refers m01 1001", "", "
        refuse m01: RULE: more than 1000 rows of results refer to it (constraint fk); results has to let go of them first: this window waits
        NEXT");
    check_old("! stranger m01", "", "
        refuse m01: RULE: m01 belongs to \"other\", and pgtend's role may not act as that one; GRANT \"other\" TO the role that pgtend connects as, or ALTER TABLE it OWNER TO \"app\"
        NEXT");
    check_old(
        "! unlockable m01",
        "",
        "
        refuse m01: RULE: \"app\", which owns m01, may not lock it, having no right to UPDATE, DELETE or TRUNCATE; GRANT TRUNCATE ON \"public\".\"m01\" TO \"app\";
        NEXT",
    );
    check_old(
        "! foreign m01",
        "",
        "
        refuse m01: RULE: m01 is a foreign table: its rows are in another server; detach it by hand
        NEXT",
    );
    check_old(
        "! obstacle",
        "",
        "refuse events: 1 partition is before the cutoff 2026-04-15 12:00: not the owner; GRANT",
    );
    check(
        "range timestamptz\n m06 2026-06-01 2026-07-01\n ! obstacle",
        "keep = '2 months'",
        "
        warn events: not the owner; GRANT
        keep m06: the first after the cutoff: ends 2026-07-01, and goes on 2026-09-01",
    );
    check_old("! newer m01", ", newest = 'at'", "keep m01: RULE, but its newest at is 2026-01-01\nNEXT");
    for (keys, why) in [
        (
            ", where = 'x'",
            "refuse events: events is partitioned, and where and age_from are about single rows; remove them: a partition goes whole, by its bounds",
        ),
        (
            ", action = 'delete'",
            "refuse events: events is partitioned, and its partitions go whole; leave action out, or write \"drop\", \"detach\" or \"archive\"",
        ),
        (
            ", action = 'archive', to = 'a.b'",
            "refuse events: events is partitioned, and its partitions move to a schema: \"a.b\" is none; write to = \"archive\"",
        ),
    ] {
        check_old("", keys, why);
    }
}

#[test]
fn a_view_keeps_a_partition_from_being_dropped_and_from_nothing_else() {
    let said = "warn m01: view v is made on it, and goes on reading it alone when it is a table of its own";
    check_old("! view m01", ", action = 'detach'", &format!("detach m01: RULE; detached concurrently\n{said}\nNEXT"));
    check_old(
        "! view m01",
        ", action = 'archive', to = 'old'",
        &format!("archive m01: RULE; detached concurrently\n{said}\nNEXT"),
    );
    check_old(
        "! taken m01",
        ", action = 'archive', to = 'old'",
        "
        refuse m01: RULE: m01 cannot move to schema \"old\": something has its name there; rename or move one of the two
        NEXT",
    );
}

#[test]
fn what_may_not_be_deleted_is_not_dropped() {
    check_old(
        "! trigger events",
        "",
        "refuse events: 1 partition is before the cutoff 2026-04-15 12:00: trigger no_delete stands on deleting from events, and no longer would once a partition is detached; write immutable = \"drop-after-export\" with an export if that is meant",
    );
    check_old("! trigger m01", "", "
        refuse m01: RULE: trigger no_delete stands on deleting from m01, and no longer would once a partition is detached; write immutable = \"drop-after-export\" with an export if that is meant
        NEXT");
    // Detached it would be a table like any other, and the trigger gone.
    for action in [", action = 'detach'", ", action = 'archive', to = 'old'"] {
        check_old(
            "! trigger events",
            action,
            "refuse events: 1 partition is before the cutoff 2026-04-15 12:00: trigger no_delete stands on deleting from events, and no longer would once a partition is detached; write immutable = \"drop-after-export\" with an export if that is meant",
        );
    }
    check_old(
        "! trigger events",
        ", immutable = 'drop-after-export', export = 'offsite'",
        "
        export m01: RULE; written to offsite and read back before it goes
        drop m01: RULE; detached concurrently
        NEXT",
    );
}

#[test]
fn how_it_is_detached_is_part_of_the_plan() {
    check_old(
        "! referenced",
        "",
        "drop m01: RULE; detached under a lock on events, since a foreign key of results points at it\nNEXT",
    );
    check_old(
        "default",
        "",
        "drop m01: RULE; detached under a lock on events, since PostgreSQL does not do it concurrently beside a default partition, events_default\nNEXT",
    );
    check_old(
        "! server 13",
        "",
        "drop m01: RULE; detached under a lock on events, since PostgreSQL 13 does not know how to do it concurrently\nNEXT",
    );
}

#[test]
fn a_table_of_which_nothing_is_to_go_is_in_order() {
    let in_order = |extra: &str, keep: &str| {
        let (facts, holds) = facts(&format!("{MONTHS}{extra}"), &format!("keep = '{keep}'"), Tz::UTC);
        decide(vec![Ok(facts)], &holds, at("2026-06-15T12:00:00Z")).in_order
    };
    assert_eq!(in_order("", "10 years"), 1);
    assert_eq!(in_order("", "2 months"), 0);
    assert_eq!(in_order("\n! held events", "2 months"), 1);
    assert_eq!(in_order("\n! obstacle", "2 months"), 0);
}

#[test]
fn bounds_of_another_zone_or_format_are_refused() {
    let expect = |why: &str| format!("refuse events: {why}; until that is mended, its partitions stay");
    check_in(
        Tz::Europe__Berlin,
        MONTHS,
        "keep = '2 months'",
        "2026-06-15T12:00:00Z",
        &expect(
            "its partitions begin at midnight UTC, as 2026-02-01 00:00:00 UTC does, which reads 2026-02-01 01:00:00 in the policy's zone Europe/Berlin: partitions of both would overlap or leave gaps; set timezone to the zone that they were made in",
        ),
    );
    check(
        "list text\n a in 2020_01\n b in 2020_02\n c in 2020-03",
        "keep = '1 month', key_format = '%Y-%m'",
        &expect(
            "a holds '2020_01', which is no time of key_format \"%Y-%m\", and so do most of its partitions: set key_format to what they hold",
        ),
    );
    check(
        "range integer\n a 20200101 20200201\n b 20200201 20200301",
        "keep = '1 month', key_format = '%Y%m'",
        &expect(
            "the bound of a cannot be read by key_format \"%Y%m\", and so it is with most of its partitions: FOR VALUES FROM ('20200101') TO ('20200201')",
        ),
    );
    // Seconds, read as milliseconds: all of it would be of January 1970.
    check(
        "range bigint\n a 1767225600 1769904000\n b 1769904000 1772323200",
        "keep = '1 month', key_format = 'epoch_ms'",
        &expect(
            "read by key_format \"epoch_ms\", its newest partition ends 1970-01-21 12:18, which can hardly be meant: set key_format to how its bounds count",
        ),
    );
    check(
        "range text\n a x y",
        "keep = '1 month'",
        &expect("the key at is text: add key_format, such as \"%Y-%m\" or \"%Y_%m\", to say how it writes time"),
    );
    for (text, format) in
        [("list text\n ! zoneless\n a in 2020-01", "%Y-%m"), ("range integer\n ! zoneless\n a 202001 202002", "%Y%m")]
    {
        check(
            text,
            &format!("keep = '1 month', key_format = '{format}'"),
            "refuse events: the key of events says time without a zone, and nothing says which one is meant; add timezone = \"UTC\", or whichever it is, or a partitions job that names the table",
        );
    }
    // What counts from an instant needs none.
    check(
        "range bigint\n ! zoneless\n a 1767225600 1769904000\n b 1769904000 1772323200\n c 1780272000 1782864000",
        "keep = '5 months', key_format = 'epoch', keep_at_least = 2",
        "keep a: the first after the cutoff: ends 2026-02-01, and goes on 2026-07-01",
    );
    check(
        "hash timestamptz",
        "keep = '1 month'",
        &expect(
            "it is partitioned by HASH (at): hash partitions follow no time; pgtend makes partitions by RANGE and LIST of timestamptz, timestamp, date, and with key_format of text, integer and uuid (version 7) keys",
        ),
    );
}
