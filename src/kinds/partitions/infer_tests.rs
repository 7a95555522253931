use super::super::facts::TableFacts;
use super::super::plan::tests::facts;
use super::*;

fn now() -> DateTime<Utc> {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn show(facts: &TableFacts, server: &str) -> String {
    match infer(facts, server.parse().ok(), now()) {
        Err(unproven) => format!("nothing: {}", unproven.why),
        Ok(found) => {
            let mut text = format!("every {} in {}", found.every, found.zone.name());
            text.extend(found.key_format.map(|format| format!(", format {format}")));
            text.extend(found.name.map(|name| format!(", called {name}")));
            text.push_str(&format!(", {} to {}", found.from.date(), found.to.date()));
            text.extend(found.remarks.iter().map(|remark| format!("; {remark}")));
            text.extend(found.doubts.iter().map(|doubt| format!("; doubt: {doubt}")));
            text
        }
    }
}

#[track_caller]
fn check(text: &str, expect: &str) {
    assert_eq!(show(&facts(text), "UTC"), expect, "{text}");
}

#[test]
fn periods_of_every_width_are_known_by_their_bounds() {
    check(
        "range timestamptz
         events_2026_10 2026-10-01 2026-11-01
         events_2026_11 2026-11-01 2026-12-01",
        "every 1 month in UTC, 2026-10-01 to 2026-12-01",
    );
    check(
        "range date
         events_2026 2026-01-01 2027-01-01",
        "every 1 year in UTC, 2026-01-01 to 2027-01-01",
    );
    check(
        "range date
         events_2026_04 2026-04-01 2026-07-01
         events_2026_07 2026-07-01 2026-10-01",
        "every 3 months in UTC, 2026-04-01 to 2026-10-01",
    );
    check(
        "range timestamptz
         events_2026_11_16 2026-11-16 2026-11-23",
        "every 1 week in UTC, 2026-11-16 to 2026-11-23",
    );
    check(
        "range timestamptz
         events_2026_11_20 2026-11-20 2026-11-21
         events_2026_11_21 2026-11-21 2026-11-22",
        "every 1 day in UTC, 2026-11-20 to 2026-11-22",
    );
    check(
        "range timestamptz
         events_2026_11_20_00 2026-11-20 2026-11-20T01:00:00+00
         events_2026_11_20_01 2026-11-20T01:00:00+00 2026-11-20T02:00:00+00",
        "every 1 hour in UTC, 2026-11-20 to 2026-11-20",
    );
}

#[test]
fn a_key_that_is_no_time_by_its_type_has_to_prove_its_format() {
    check(
        "list text
         events_2026_11 in 2026-11
         events_2026_12 in 2026-12",
        "every 1 month in UTC, format %Y-%m, 2026-11-01 to 2027-01-01",
    );
    check(
        "range integer
         events_2026_12 202612 202613
         events_2027_01 202613 202702",
        "every 1 month in UTC, format %Y%m, 2026-12-01 to 2027-02-01",
    );
    check(
        "list integer
         events_2026 in 202601, 202602, 202603
         events_2026_04 in 202604, 202605, 202606",
        "every 3 months in UTC, format %Y%m, 2026-01-01 to 2026-07-01",
    );
    check(
        "range bigint
         events_2026_11 1793491200 1796083200",
        "every 1 month in UTC, format epoch, 2026-11-01 to 2026-12-01",
    );
    check(
        "range bigint
         events_2026_11 1793491200000 1796083200000",
        "every 1 month in UTC, format epoch_ms, 2026-11-01 to 2026-12-01",
    );
    check(
        "range uuid
         events_2026_11 01a19467-e800-7000-8000-000000000000 01a22ee6-b000-7000-8000-000000000000",
        "every 1 month in UTC, format uuidv7, 2026-11-01 to 2026-12-01",
    );
}

#[test]
fn what_the_bounds_do_not_prove_is_not_guessed() {
    check("range timestamptz", "nothing: it has no partition yet, so that nothing says how wide one is to be");
    check(
        "range text",
        "nothing: it is partitioned by RANGE (at), and without a partition nothing says how that key says its time",
    );
    for ids in ["range bigint\n a 0 1000000\n b 1000000 2000000", "range integer\n a 1010 1020\n b 1020 1030"] {
        check(
            ids,
            "nothing: it is partitioned by RANGE (at), and the bounds of its partitions are no periods in any way of saying \
             time that is known",
        );
    }
    check(
        "list text\n eu in de, fr\n us in us",
        "nothing: it is partitioned by LIST (at), and the bounds of its partitions are no periods in any way of saying time \
         that is known",
    );
    let hash = show(&facts("hash integer"), "UTC");
    assert!(hash.contains("hash partitions follow no time"), "{hash}");
    check(
        "range timestamptz
         a 2026-10-03 2026-11-09",
        "nothing: its partitions are no periods of one width: public.a holds 2026-10-03 00:00:00 to 2026-11-09 00:00:00",
    );
    check("range timestamptz\n a min max", "nothing: none of its partitions has two ends");
    check(
        "range date
         events_2010_02 2010-02-01 2010-03-01",
        "every 1 month in UTC, 2010-02-01 to 2010-03-01; doubt: its only partition is 1 month wide, and 4 weeks as well",
    );
}

#[test]
fn the_zone_is_that_whose_clock_shows_the_beginning() {
    let berlin = "range timestamptz
         events_2026_09 2026-08-31T22:00:00+00 2026-09-30T22:00:00+00
         events_2026_10 2026-09-30T22:00:00+00 2026-10-31T23:00:00+00";
    let text = show(&facts(berlin), "UTC");
    assert_eq!(text, "every 1 month in Europe/Berlin, 2026-08-31 to 2026-10-31");
    assert_eq!(show(&facts(berlin), "Europe/Madrid"), text.replace("Berlin", "Madrid"));
    // In winter alone several zones have that midnight, and will not have it in summer.
    let winter = "range timestamptz
         events_2026_12 2026-11-30T23:00:00+00 2026-12-31T23:00:00+00";
    let text = show(&facts(winter), "UTC");
    assert!(text.contains("doubt: its partitions begin at midnight in Europe/Berlin and in "), "{text}");
    assert!(!show(&facts(winter), "Europe/Berlin").contains("doubt"));
    // London's winter is UTC's.
    let both = "range timestamptz\n events_2026_12 2026-12-01 2027-01-01";
    assert!(
        show(&facts(both), "Europe/London")
            .contains("doubt: its partitions begin at midnight both in UTC and in Europe/London")
    );
    assert!(!show(&facts(both), "Africa/Abidjan").contains("doubt"));
}

#[test]
fn odd_old_partitions_do_not_hide_what_the_new_ones_are() {
    check(
        "range timestamptz
         legacy min 2026-01-01
         half 2026-01-01 2026-07-01
         events_2026_07 2026-07-01 2026-08-01
         events_2026_08 2026-08-01 2026-09-01
         events_2026_09 2026-09-01 2026-10-01
         rest 2026-10-01 max",
        "every 1 month in UTC, 2026-01-01 to 2026-10-01; of its 4 partitions one is not 1 month wide, such as public.half",
    );
}

#[test]
fn new_partitions_are_called_like_those_there_are() {
    check(
        "range timestamptz
         events_p20261001 2026-10-01 2026-11-01
         events_p20261101 2026-11-01 2026-12-01",
        "every 1 month in UTC, called {table}_p%Y%m%d, 2026-10-01 to 2026-12-01",
    );
    check(
        "range timestamptz
         log_2026_10 2026-10-01 2026-11-01
         log_2026_11 2026-11-01 2026-12-01",
        "every 1 month in UTC, called log_%Y_%m, 2026-10-01 to 2026-12-01",
    );
    check(
        "range timestamptz
         october 2026-10-01 2026-11-01
         november 2026-11-01 2026-12-01",
        "every 1 month in UTC, 2026-10-01 to 2026-12-01",
    );
}
