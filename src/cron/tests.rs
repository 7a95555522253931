use chrono::Timelike;
use chrono_tz::{Africa, America, Asia, Australia, Europe, Pacific};
use proptest::prelude::*;

use super::*;

fn cron(text: &str) -> Cron {
    text.parse().unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The times of `text` in `zone` from `from` (wall clock) on, as the wall shows them, with the offset in hours.
fn times(text: &str, zone: Tz, from: &str, n: usize) -> Vec<String> {
    let from = instant(from.parse().unwrap(), zone) - TimeDelta::seconds(1);
    let shown = |at: DateTime<Utc>| at.with_timezone(&zone).format("%d %H:%M %:z").to_string();
    let shown = |at| shown(at).strip_suffix(":00").map_or(shown(at), String::from);
    cron(text).upcoming(from, zone, n).into_iter().map(shown).collect()
}

#[test]
fn the_spring_night_runs_a_skipped_time_once_when_the_gap_ends() {
    for zone in [Tz::Europe__Warsaw, Tz::Europe__Berlin] {
        let spring = |text, n| times(text, zone, "2026-03-29T00:00:00", n);
        assert_eq!(spring("30 2 * * *", 3), ["29 03:00 +02", "30 02:30 +02", "31 02:30 +02"]);
        assert_eq!(spring("15,45 2 * * *", 3), ["29 03:00 +02", "30 02:15 +02", "30 02:45 +02"]);
        assert_eq!(spring("*/30 2 * * *", 3), ["29 03:00 +02", "30 02:00 +02", "30 02:30 +02"]);
        // The end of the gap is a time of the schedule too: still one run.
        assert_eq!(spring("0 1-4 * * *", 4), ["29 01:00 +01", "29 03:00 +02", "29 04:00 +02", "30 01:00 +02"]);
        assert_eq!(spring("30 3 * * *", 2), ["29 03:30 +02", "30 03:30 +02"]);
    }
}

#[test]
fn the_autumn_night_runs_a_repeated_time_once_at_the_first_pass() {
    for zone in [Tz::Europe__Warsaw, Tz::Europe__Berlin] {
        let autumn = |text, n| times(text, zone, "2026-10-25T00:00:00", n);
        assert_eq!(autumn("30 2 * * *", 2), ["25 02:30 +02", "26 02:30 +01"]);
        assert_eq!(autumn("15,45 2 * * *", 3), ["25 02:15 +02", "25 02:45 +02", "26 02:15 +01"]);
        assert_eq!(autumn("*/30 2 * * *", 3), ["25 02:00 +02", "25 02:30 +02", "26 02:00 +01"]);
        assert_eq!(autumn("0 1-4 * * *", 4), ["25 01:00 +02", "25 02:00 +02", "25 03:00 +01", "25 04:00 +01"]);
    }
}

#[test]
fn every_hour_is_an_interval_and_runs_right_through_both_nights() {
    for text in ["0 * * * *", "0 */1 * * *", "0 0-23 * * *", "@hourly"] {
        let spring = times(text, Europe::Warsaw, "2026-03-29T01:00:00", 3);
        assert_eq!(spring, ["29 01:00 +01", "29 03:00 +02", "29 04:00 +02"]);
        let autumn = times(text, Europe::Warsaw, "2026-10-25T01:00:00", 4);
        assert_eq!(autumn, ["25 01:00 +02", "25 02:00 +02", "25 02:00 +01", "25 03:00 +01"]);
    }
    // No run for the skipped 02:30, and each quarter of an hour in both passes.
    let spring = times("30 * * * *", Europe::Warsaw, "2026-03-29T01:00:00", 2);
    assert_eq!(spring, ["29 01:30 +01", "29 03:30 +02"]);
    for from in ["2026-03-29T00:00:00", "2026-10-25T00:00:00"] {
        let runs = cron("*/15 * * * *").upcoming(instant(from.parse().unwrap(), Europe::Warsaw), Europe::Warsaw, 40);
        assert!(runs.windows(2).all(|pair| pair[1] - pair[0] == TimeDelta::minutes(15)));
    }
}

#[test]
fn other_zones_change_their_clocks_in_other_ways() {
    let new_york = |text, from, n| times(text, America::New_York, from, n);
    assert_eq!(new_york("30 2 * * *", "2026-03-08T00:00:00", 2), ["08 03:00 -04", "09 02:30 -04"]);
    assert_eq!(new_york("30 1 * * *", "2026-11-01T00:00:00", 2), ["01 01:30 -04", "02 01:30 -05"]);
    assert_eq!(new_york("30 * * * *", "2026-11-01T01:00:00", 3), ["01 01:30 -04", "01 01:30 -05", "01 02:30 -05"]);
    // Half an hour, at 02:00.
    let lord_howe = |text, from, n| times(text, Australia::Lord_Howe, from, n);
    assert_eq!(lord_howe("15 2 * * *", "2026-10-04T00:00:00", 2), ["04 02:30 +11", "05 02:15 +11"]);
    assert_eq!(lord_howe("45 1 * * *", "2026-04-05T00:00:00", 2), ["05 01:45 +11", "06 01:45 +10:30"]);
    // Samoa went without 30 December 2011; its noon was made up for as the 31st began.
    let apia = |text, n| times(text, Pacific::Apia, "2011-12-29T11:00:00", n);
    assert_eq!(apia("0 12 * * *", 3), ["29 12:00 -10", "31 00:00 +14", "31 12:00 +14"]);
    assert_eq!(apia("0 */6 30 * *", 2), ["31 00:00 +14", "30 00:00 +14"]);
    assert_eq!(apia("0 * * * *", 14)[12..], ["29 23:00 -10", "31 00:00 +14"]);
    // Midnight itself is skipped.
    assert_eq!(times("@daily", Asia::Beirut, "2026-03-28T12:00:00", 2), ["29 01:00 +03", "30 00:00 +03"]);
}

#[test]
fn a_skipped_time_is_neither_lost_nor_run_twice_near_the_end_of_its_gap() {
    let half_past_two = cron("30 2 * * *");
    let end = at("2026-03-29T01:00:00Z");
    let next = |after| half_past_two.next_after(after, Europe::Warsaw).unwrap();
    assert_eq!(next(end - TimeDelta::seconds(1)), end);
    assert_eq!(next(end - TimeDelta::milliseconds(1)), end);
    assert_eq!(next(end), at("2026-03-30T00:30:00Z"));
    assert_eq!(next(end + TimeDelta::milliseconds(1)), at("2026-03-30T00:30:00Z"));
}

#[test]
fn rare_days_and_far_away_times_are_found() {
    assert_eq!(times("0 0 29 2 *", Tz::UTC, "2026-01-01T00:00:00", 2).len(), 2);
    let leap = cron("0 * 29 2 *").next_after(at("2096-03-01T00:00:00Z"), Europe::Berlin).unwrap();
    assert_eq!(leap, at("2104-02-28T23:00:00Z"));
}

#[test]
fn both_day_fields_mean_either_unless_one_begins_with_a_star() {
    // July 2026: the 1st is a Wednesday; Fridays are 3, 10, 17 …
    let july = |text, n| times(text, Tz::UTC, "2026-07-01T00:00:00", n);
    assert_eq!(july("0 0 1,15 * 5", 4), ["01 00:00 +00", "03 00:00 +00", "10 00:00 +00", "15 00:00 +00"]);
    assert_eq!(july("0 0 */2 * FRI", 2), ["03 00:00 +00", "17 00:00 +00"]);
    assert_eq!(july("0 0 * * MON#2", 1), ["13 00:00 +00"]);
    assert_eq!(july("0 0 L * *", 1), ["31 00:00 +00"]);
    assert_eq!(july("0 0 * * FRI-SUN", 3), ["03 00:00 +00", "04 00:00 +00", "05 00:00 +00"]);
}

#[test]
fn six_fields_begin_with_the_second() {
    let next = cron("*/20 * * * * *").upcoming(at("2026-07-01T00:00:00.5Z"), Tz::UTC, 2);
    assert_eq!(next, [at("2026-07-01T00:00:20Z"), at("2026-07-01T00:00:40Z")]);
}

#[test]
fn a_schedule_is_shown_and_compared_as_it_was_written() {
    assert_eq!(cron(" @Daily ").to_string(), "@Daily");
    assert_eq!(format!("{:?}", cron("0 0 * * *")), r#"Cron("0 0 * * *")"#);
    assert_ne!(cron("@daily"), cron("0 0 * * *"));
    let read: Cron = serde_json::from_str("\"30 2 * * *\"").unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), "\"30 2 * * *\"");
}

#[test]
fn every_alias_is_what_it_says() {
    for (alias, fields) in [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * SUN"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
    ] {
        let from = at("2026-05-05T05:05:05Z");
        assert_eq!(cron(alias).upcoming(from, Tz::UTC, 3), cron(fields).upcoming(from, Tz::UTC, 3), "{alias}");
    }
}

#[test]
fn what_is_not_a_schedule_is_refused_with_the_field_and_the_mend() {
    for (text, said) in [
        ("", "empty"),
        ("* * * *", "has 4 fields"),
        ("60 seconds", "has 2 fields"),
        ("* * * * * * *", "has 7 fields"),
        ("@reboot", "missed times are caught up"),
        ("@fortnightly", "@weekly"),
        ("*/0 * * * *", "the minute \"*/0\" of \"*/0 * * * *\" is wrong: the step \"0\" is none from 1 to 59"),
        ("*/90 * * * *", "counts anew in each hour"),
        ("60 * * * *", "the minute \"60\""),
        ("* 24 * * *", "the hour \"24\" of \"* 24 * * *\" is wrong: it takes 0 to 23"),
        ("* * 0 * *", "the day of month \"0\""),
        ("0 0 1 13 *", "the month \"13\" of \"0 0 1 13 *\" is wrong: it takes 1 to 12, or its name"),
        ("0 0 * * 8", "the day of week \"8\""),
        ("0 0 * * L", "the day of week \"L\""),
        ("60 0 0 * * *", "the second \"60\""),
        ("MON 0 * * *", "the minute \"MON\""),
        ("0 0 * * MONDAY", "name in three letters"),
        ("0 22-2 * * *", "write 22-23,0-2"),
        ("5/10 * * * *", "*/10 or 5-59/10"),
        ("1,,2 * * * *", "the minute \"1,,2\""),
        ("*,5 * * * *", "nothing can stand beside it"),
        ("0 0 * * +5", "the day of week \"+5\""),
        ("0 0 * * MON#6", "MON#2"),
        ("H * * * *", "the minute \"H\""),
        ("0 0 30 2 *", "\"0 0 30 2 *\" never comes"),
        ("0 0 31 4,6,9,11 *", "never comes"),
    ] {
        let error = text.parse::<Cron>().expect_err(text).to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn gaps_are_measured_over_a_year_of_the_zone() {
    let hours = |text: &str, zone| {
        let cron = cron(text);
        let from = at("2026-01-15T12:00:00Z");
        let hours = |gap: Option<Duration>| gap.unwrap().as_secs_f64() / 3600.0;
        (hours(cron.shortest_gap(from, zone)), hours(cron.longest_gap(from, zone)))
    };
    assert_eq!(hours("@hourly", Europe::Warsaw), (1.0, 1.0));
    assert_eq!(hours("@daily", Tz::UTC), (24.0, 24.0));
    assert_eq!(hours("0 4 * * *", Europe::Warsaw), (23.0, 25.0));
    assert_eq!(hours("0 1,4 * * *", Europe::Warsaw), (2.0, 21.0));
    assert_eq!(hours("* * * * * *", Europe::Warsaw), (1.0 / 3600.0, 1.0 / 3600.0));
    assert_eq!(hours("0 0 25 * *", Tz::UTC), (28.0 * 24.0, 31.0 * 24.0));
    assert_eq!(hours("0 9-17 * * MON-FRI", Tz::UTC), (1.0, 64.0));
    assert_eq!(hours("0 0 29 2 *", Tz::UTC).1, 1461.0 * 24.0);
    // Two skipped times are one run, not two at no distance.
    assert_eq!(hours("15,45 2 * * *", Europe::Warsaw).0, 0.5);
}

#[test]
fn the_fraction_of_a_name_is_the_same_for_ever() {
    assert_eq!(stable_fraction("sessions"), stable_fraction("sessions"));
    assert_ne!(stable_fraction("sessions"), stable_fraction("sessions2"));
    // sha256("") begins e3b0c442 98fc1c14.
    assert_eq!((stable_fraction("") * 65536.0).floor(), f64::from(0xe3b0));
}

/// Zones, each with a day in which its clock is changed or near it.
const CHANGES: &[(Tz, &str)] = &[
    (Europe::Warsaw, "2026-03-29"),
    (Europe::Warsaw, "2026-10-25"),
    (America::New_York, "2026-03-08"),
    (America::New_York, "2026-11-01"),
    (Australia::Lord_Howe, "2026-04-05"),
    (Australia::Lord_Howe, "2026-10-04"),
    (Pacific::Apia, "2011-12-30"),
    (Asia::Beirut, "2026-03-29"),
    (America::Havana, "2026-11-01"),
    (Africa::Casablanca, "2026-02-15"),
    (Tz::UTC, "2026-06-15"),
];

/// The times in the three days from noon before `day` on, by watching the clock on the wall minute by minute.
fn watched(text: &str, zone: Tz, day: &str) -> Vec<DateTime<Utc>> {
    let fields: croner::Cron = text.parse().unwrap();
    let matches = |local: &NaiveDateTime| fields.is_time_matching(local).unwrap();
    let every_hour = fields.pattern.hours.values().len() == 24;
    let minute = TimeDelta::minutes(1);
    let start = at(&format!("{day}T00:00:00Z")) - TimeDelta::hours(36);
    let mut latest = (start - minute).with_timezone(&zone).naive_local();
    let mut times = Vec::new();
    for n in 0..3 * 24 * 60 {
        let now = start + minute * n;
        let local = now.with_timezone(&zone).naive_local();
        let mut shown =
            std::iter::successors(Some(latest + minute), |at| Some(*at + minute)).take_while(|at| *at <= local);
        if if every_hour { matches(&local) } else { shown.any(|local| matches(&local)) } {
            times.push(now);
        }
        latest = latest.max(local);
    }
    times
}

fn schedule() -> impl Strategy<Value = String> {
    let minute = prop::sample::select(vec!["0", "7", "30", "15,45", "*/20", "*/7", "*"]);
    let hour = prop::sample::select(vec!["*", "*/1", "0-23", "0", "2", "1-3", "*/2", "0,1,23", "0-22"]);
    let days = prop::sample::select(vec!["* * *", "* * 0", "* * 1-5", "29-31 * *", "1 * 0"]);
    (minute, hour, days).prop_map(|(minute, hour, days)| format!("{minute} {hour} {days}"))
}

proptest! {
    #[test]
    fn the_next_times_are_those_that_watching_the_clock_finds(
        text in schedule(), change in prop::sample::select(CHANGES), after in 0i64..2 * 86_400_000, length in 0i64..86_400_000,
    ) {
        let (zone, day) = change;
        let seen = watched(&text, zone, day);
        let after = at(&format!("{day}T00:00:00Z")) - TimeDelta::hours(36) + TimeDelta::milliseconds(after);
        let expect: Vec<_> = seen.iter().copied().filter(|time| *time > after).collect();
        let found = cron(&text).upcoming(after, zone, expect.len());
        prop_assert_eq!(&found, &expect);
        prop_assert!(found.iter().all(|time| time.second() == 0));
        let until = after + TimeDelta::milliseconds(length);
        let newest = expect.iter().copied().rfind(|time| *time <= until);
        prop_assert_eq!(cron(&text).newest_in(after, until, zone), newest);
    }

    #[test]
    fn a_fixed_time_has_one_run_for_each_day_of_a_year(hour in 0u32..24, minute in 0u32..60, zone in 0..CHANGES.len()) {
        let zone = CHANGES[zone].0;
        let daily = cron(&format!("{minute} {hour} * * *"));
        let mut days: Vec<_> = (0..365)
            .map(|n| NaiveDate::from_ymd_opt(2026, 1, 1).unwrap() + Days::new(n))
            .map(|day| instant(day.and_hms_opt(hour, minute, 0).unwrap(), zone))
            .collect();
        days.dedup();
        let found = daily.upcoming(days[0] - TimeDelta::seconds(1), zone, days.len());
        prop_assert_eq!(found, days);
    }

    #[test]
    fn no_text_brings_the_parser_down(text in "[-*/,0-9LW#?A-Za-z@ ]{0,24}") {
        if let Ok(cron) = text.parse::<Cron>() {
            prop_assert!(cron.next_after(at("2026-01-01T00:00:00Z"), Tz::UTC).is_some());
        }
    }

    #[test]
    fn a_mistake_is_always_told_with_its_field(
        text in r"((\*|[0-9]|[0-6]-[0-9]|(SUN|MON|FRI)(-(SUN|FRI))?|JAN|[0-9]#[0-6]|(1|31)?[LW]{1,2}|\?)(,[1-6])?(/[0-9])? ){5,6}"
    ) {
        if let Err(CronError::Field { field, mend, .. }) = text.parse::<Cron>() {
            prop_assert_ne!(field, "whole", "{}: {}", text, mend);
        }
    }

    #[test]
    fn a_fraction_is_in_its_range(text in ".*") {
        prop_assert!((0.0..1.0).contains(&stable_fraction(&text)));
    }
}
