use proptest::prelude::*;

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    let text = if text.len() == 10 { format!("{text}T02:00:00Z") } else { text.to_owned() };
    text.parse().unwrap()
}

/// `2026-01-01`, or `2026-01-01T05:00:00Z`; with `+` it is verified, with `*` restored, with `!` damaged, with `?` complained of
/// though it is what was written.
fn known(text: &str) -> Known {
    let day = text.trim_end_matches(['+', '*', '!', '?']);
    Known {
        id: day.into(),
        started_at: at(day),
        verified: text.contains('+'),
        restored: text.contains('*'),
        damaged: text.contains(['!', '?']),
        intact: text.contains('?'),
    }
}

fn kept(keep: &str, now: &str, backups: &[&str]) -> Vec<String> {
    let keep: Keep = toml::from_str(keep).unwrap();
    let backups: Vec<Known> = backups.iter().map(|text| known(text)).collect();
    let decided = decide(&backups, Some(&keep), at(now), chrono_tz::UTC);
    decided.into_iter().filter(|(_, fate)| matches!(fate, Fate::Keep(_))).map(|(id, _)| id).collect()
}

fn check(keep: &str, backups: &[&str], expect: &[&str]) {
    assert_eq!(kept(keep, "2026-12-31", backups), expect, "{keep} of {backups:?}");
}

#[test]
fn each_rule_keeps_what_it_says() {
    let week = [
        "2026-06-01",
        "2026-06-02",
        "2026-06-03",
        "2026-06-04",
        "2026-06-05",
        "2026-06-06",
        "2026-06-07",
        "2026-06-08",
    ];
    check("last = 2", &week, &["2026-06-07", "2026-06-08"]);
    // The one of exactly seven days before is within seven days.
    check("days = 7", &week, &week);
    check("days = 6", &week, &week[1..]);
    check("daily = 3", &week, &week[5..]);
    check("weekly = 2", &week, &["2026-06-07", "2026-06-08"]);
    check("monthly = 1", &week, &["2026-06-08"]);
    check("last = 1\nweekly = 2", &week, &["2026-06-07", "2026-06-08"]);
}

#[test]
fn of_two_on_one_day_the_newer_counts() {
    check("daily = 2", &["2026-06-01", "2026-06-01T05:00:00Z", "2026-06-02"], &["2026-06-01T05:00:00Z", "2026-06-02"]);
    // Half an hour past ten is not half an hour past eleven.
    check("daily = 5", &["2026-06-01T10:05:00Z", "2026-06-01T11:05:00Z"], &["2026-06-01T11:05:00Z"]);
}

#[test]
fn weeks_belong_to_their_own_year() {
    check("weekly = 5", &["2025-01-01", "2025-12-30"], &["2025-01-01", "2025-12-30"]);
    check("weekly = 5", &["2025-12-31", "2026-01-01"], &["2026-01-01"]);
    check("yearly = 5", &["2025-12-31", "2026-01-01"], &["2025-12-31", "2026-01-01"]);
}

#[test]
fn an_outage_takes_nothing_away() {
    // Thirty days without one: the clock stood still with the backups.
    let old = ["2026-06-01", "2026-06-02", "2026-06-03"];
    check("days = 3", &old, &old);
    check(
        "daily = 3",
        &["2026-06-01", "2026-06-02", "2026-06-03", "2026-12-30"],
        &["2026-06-02", "2026-06-03", "2026-12-30"],
    );
}

#[test]
fn the_newest_and_the_newest_verified_stay_whatever_the_rules_say() {
    check("last = 1", &["2026-06-01+", "2026-06-02", "2026-06-03"], &["2026-06-01", "2026-06-03"]);
    check("last = 1", &["2026-06-01+", "2026-06-02+", "2026-06-03"], &["2026-06-02", "2026-06-03"]);
    check("last = 0", &["2026-06-01", "2026-06-02"], &["2026-06-02"]);
}

#[test]
fn damaged_ones_take_no_place_and_go_once_there_is_a_good_one() {
    check("last = 2", &["2026-06-01", "2026-06-02", "2026-06-03!"], &["2026-06-01", "2026-06-02"]);
    check("last = 2", &["2026-06-02!", "2026-06-03!"], &["2026-06-02", "2026-06-03"]);
}

#[test]
fn the_newest_that_was_restored_stays_until_a_newer_one_is() {
    check("last = 1", &["2026-06-01+*", "2026-06-02+", "2026-06-03+"], &["2026-06-01", "2026-06-03"]);
    check("last = 1", &["2026-06-01+*", "2026-06-02+*", "2026-06-03+"], &["2026-06-02", "2026-06-03"]);
    // What was found damaged since proves nothing any more.
    check("last = 1", &["2026-06-01*!", "2026-06-02+", "2026-06-03+"], &["2026-06-03"]);
}

#[test]
fn what_is_as_it_was_written_goes_with_the_good_ones_of_its_age_whoever_complained_of_it() {
    check(
        "last = 2",
        &["2026-06-01?", "2026-06-02+", "2026-06-03?", "2026-06-04+"],
        &["2026-06-02", "2026-06-03", "2026-06-04"],
    );
    // It takes no place.
    check("last = 2", &["2026-06-01+", "2026-06-02+", "2026-06-03?"], &["2026-06-01", "2026-06-02", "2026-06-03"]);
}

#[test]
fn what_claims_to_be_of_the_future_counts_for_nothing() {
    let all = ["2026-06-01", "2026-06-02", "2027-06-01"];
    check("last = 1", &all, &["2026-06-02", "2027-06-01"]);
    check("days = 30", &all, &all);
}

#[test]
fn without_keep_nothing_goes() {
    let backups: Vec<Known> = (1..=28).map(|day| known(&format!("2026-02-{day:02}"))).collect();
    let decided = decide(&backups, None, at("2026-12-31"), chrono_tz::UTC);
    assert!(decided.iter().all(|(_, fate)| matches!(fate, Fate::Keep(_))));
}

#[test]
fn days_are_those_of_the_zone() {
    let keep: Keep = toml::from_str("daily = 1").unwrap();
    // One day in Tokyo, two in UTC.
    let backups = [known("2026-06-01T16:00:00Z"), known("2026-06-02T14:00:00Z"), known("2026-06-02T16:00:00Z")];
    let decided = decide(&backups, Some(&keep), at("2026-12-31"), chrono_tz::Asia::Tokyo);
    assert_eq!(decided.iter().filter(|(_, fate)| matches!(fate, Fate::Keep(_))).count(), 1);
    let keep: Keep = toml::from_str("daily = 2").unwrap();
    let kept: Vec<_> = decide(&backups, Some(&keep), at("2026-12-31"), chrono_tz::Asia::Tokyo)
        .into_iter()
        .filter(|(_, fate)| matches!(fate, Fate::Keep(_)))
        .map(|(id, _)| id)
        .collect();
    assert_eq!(kept, ["2026-06-02T14:00:00Z", "2026-06-02T16:00:00Z"]);
}

/// So many days from 1 May 2026 on, a backup at two o'clock on each.
fn daily(days: i64) -> Vec<String> {
    (0..days).map(|n| (at("2026-05-01") + TimeDelta::days(n)).format("%Y-%m-%d").to_string()).collect()
}

fn strs(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

#[test]
fn thirty_days_that_failed_keep_what_was_good_before() {
    // None was made: the newest good one is the clock.
    let before = daily(10);
    for keep in ["days = 7\ndaily = 8", "last = 3", "daily = 8", "days = 7"] {
        let kept_then = kept(keep, "2026-05-10", &strs(&before));
        assert_eq!(kept(keep, "2026-06-09", &strs(&before)), kept_then, "{keep}");
        assert!(kept_then.contains(&"2026-05-10".to_owned()));
    }
    // Each was made and found damaged: none of them takes the place of a good one.
    let damaged: Vec<String> = daily(40)[10..].iter().map(|day| format!("{day}!")).collect();
    let mut all = strs(&before);
    all.extend(damaged.iter().map(String::as_str));
    check("last = 1", &all, &["2026-05-10"]);
    check("days = 7\ndaily = 8", &all, &strs(&before[2..]));
    // And only one of ten was ever read back.
    let mut one = strs(&before);
    one[3] = "2026-05-04+";
    check("last = 1", &one, &["2026-05-04", "2026-05-10"]);
}

#[test]
fn the_shipped_rules_keep_what_find_left_and_more_after_an_outage() {
    // `find -mtime +7` deletes what is eight days old, `+30` what is 31 days old.
    let all = daily(40);
    check("days = 7\ndaily = 8", &strs(&all), &strs(&all[32..]));
    check("days = 30\ndaily = 31", &strs(&all), &strs(&all[9..]));
    // Some seconds later than the week before: the rule of days lets it go, that of eight days does not.
    let late = ["2026-05-01T01:00:02Z", "2026-05-08T01:00:05Z"];
    check("days = 7", &late, &late[1..]);
    check("days = 7\ndaily = 8", &late, &late);
    // Made by hand within the week, and not the last of its day.
    let by_hand = ["2026-05-04T09:00:00Z", "2026-05-04T15:00:00Z", "2026-05-08"];
    check("daily = 8", &by_hand, &by_hand[1..]);
    check("days = 7\ndaily = 8", &by_hand, &by_hand);
}

/// The dates that restic tries its policies on, as far as they differ; the rules are those that both know.
#[test]
fn rules_together_keep_what_each_alone_would() {
    let all = [
        "2014-09-01T10:20:30Z",
        "2014-11-22T10:20:30Z",
        "2015-08-22T10:20:30Z",
        "2015-10-22T10:20:30Z",
        "2015-11-08T10:20:30Z",
        "2015-11-22T10:20:30Z",
        "2016-01-01T01:02:03Z",
        "2016-01-01T07:08:03Z",
        "2016-01-03T07:02:03Z",
        "2016-01-04T11:23:03Z",
        "2016-01-04T16:23:03Z",
        "2016-01-09T21:02:03Z",
        "2016-01-12T21:02:03Z",
        "2016-01-12T21:08:03Z",
        "2016-01-18T12:02:03Z",
    ];
    let of = |places: &[usize]| places.iter().map(|at| all[*at]).collect::<Vec<_>>();
    check("last = 1", &all, &of(&[14]));
    check("last = 99", &all, &all);
    check("daily = 5", &all, &of(&[8, 10, 11, 13, 14]));
    // Monday 18 January begins week 3; the Sunday of 3 January is still of the last week of 2015, with the first.
    check("weekly = 3", &all, &of(&[11, 13, 14]));
    check("weekly = 5", &all, &of(&[5, 8, 11, 13, 14]));
    check("monthly = 3", &all, &of(&[3, 5, 14]));
    check("yearly = 10", &all, &of(&[1, 5, 14]));
    check("daily = 2\nweekly = 2\nmonthly = 4", &all, &of(&[2, 3, 5, 13, 14]));
    check("last = 2\nyearly = 2", &all, &of(&[5, 13, 14]));
    // Within days of the newest, to the second.
    check("days = 14", &all, &of(&[10, 11, 12, 13, 14]));
    check("days = 1", &all, &of(&[14]));
    check("days = 1\nmonthly = 2", &all, &of(&[5, 14]));
}

/// What kopia holds its policies against: years, weeks and months that end on one night, and leap days.
#[test]
fn where_years_meet_each_rule_has_its_own_end() {
    let nights = [
        "2024-12-29",
        "2024-12-30",
        "2024-12-31",
        "2025-01-01",
        "2025-01-05",
        "2025-01-06",
        "2025-12-29",
        "2026-01-04",
    ];
    // Weeks: to 29 December; from 30 December to 5 January; from 6 January; from 29 December to 4 January.
    check("weekly = 9", &nights, &["2024-12-29", "2025-01-05", "2025-01-06", "2026-01-04"]);
    check("monthly = 9", &nights, &["2024-12-31", "2025-01-06", "2025-12-29", "2026-01-04"]);
    check("yearly = 9", &nights, &["2024-12-31", "2025-12-29", "2026-01-04"]);
    check("yearly = 2", &nights, &["2025-12-29", "2026-01-04"]);
    check("daily = 2", &["2024-02-28", "2024-02-29", "2024-03-01"], &["2024-02-29", "2024-03-01"]);
    check("days = 366", &["2024-02-29", "2025-02-28", "2025-03-01"], &["2024-02-29", "2025-02-28", "2025-03-01"]);
    check("days = 365", &["2024-02-29", "2025-02-28", "2025-03-01"], &["2025-02-28", "2025-03-01"]);
}

#[test]
fn in_whatever_order_they_are_listed_the_newest_is_by_its_beginning() {
    // As after an upgrade that changes names, or from a store that lists as it likes.
    check("last = 2", &["2026-06-03", "2026-06-01", "2026-06-02"], &["2026-06-03", "2026-06-02"]);
    check("daily = 1", &["2026-06-02T23:59:59Z", "2026-06-02T00:00:00Z"], &["2026-06-02T23:59:59Z"]);
    // Two of one second: the one whose id comes later.
    let twins = |id: &str| Known { id: id.into(), ..known("2026-06-01") };
    let keep: Keep = toml::from_str("last = 1").unwrap();
    let decided = decide(&[twins("a-2"), twins("a")], Some(&keep), at("2026-12-31"), chrono_tz::UTC);
    assert!(matches!(decided[0].1, Fate::Keep(_)) && matches!(decided[1].1, Fate::Drop(_)), "{decided:?}");
}

fn some_keep() -> impl Strategy<Value = Keep> {
    let count = || prop::option::of(0_u32..6);
    (count(), count(), count(), count(), count(), count())
        .prop_map(|(last, days, daily, weekly, monthly, yearly)| Keep { last, days, daily, weekly, monthly, yearly })
}

fn some_backups() -> impl Strategy<Value = Vec<Known>> {
    prop::collection::vec((0_i64..800, 0_i64..86_400, any::<bool>(), prop::bool::weighted(0.1)), 0..40).prop_map(
        |all| {
            let backup = |(n, (day, second, verified, damaged)): (usize, (i64, i64, bool, bool))| Known {
                id: n.to_string(),
                started_at: at("2025-01-01") + TimeDelta::days(day) + TimeDelta::seconds(second),
                verified: verified && !damaged,
                restored: false,
                intact: false,
                damaged,
            };
            all.into_iter().enumerate().map(backup).collect()
        },
    )
}

proptest! {
    #[test]
    fn the_newest_good_and_the_newest_verified_are_always_kept(
        backups in some_backups(), keep in some_keep(), now in 0_i64..900,
    ) {
        let now = at("2025-01-01") + TimeDelta::days(now);
        let decided = decide(&backups, Some(&keep), now, chrono_tz::UTC);
        let is_kept = |at: usize| matches!(decided[at].1, Fate::Keep(_));
        let past = || (0..backups.len()).filter(|at| backups[*at].started_at <= now && !backups[*at].damaged);
        if let Some(newest) = past().max_by_key(|at| backups[*at].started_at) {
            prop_assert!(is_kept(newest) || past().any(|at| is_kept(at) && backups[at].started_at == backups[newest].started_at));
        } else {
            prop_assert!((0..backups.len()).all(is_kept));
        }
        if let Some(newest) = past().filter(|at| backups[*at].verified).max_by_key(|at| backups[*at].started_at) {
            prop_assert!(past().any(|at| is_kept(at) && backups[at].verified && backups[at].started_at == backups[newest].started_at));
        }
        prop_assert!((0..backups.len()).all(|at| backups[at].started_at <= now || is_kept(at)), "of the future");
    }

    #[test]
    fn deciding_again_after_the_deletions_deletes_nothing_more(
        backups in some_backups(), keep in some_keep(),
    ) {
        let now = at("2028-01-01");
        let kept: Vec<Known> = decide(&backups, Some(&keep), now, chrono_tz::UTC)
            .iter()
            .zip(&backups)
            .filter(|((_, fate), _)| matches!(fate, Fate::Keep(_)))
            .map(|(_, backup)| backup.clone())
            .collect();
        let again = decide(&kept, Some(&keep), now, chrono_tz::UTC);
        prop_assert!(again.iter().all(|(_, fate)| matches!(fate, Fate::Keep(_))));
    }

    #[test]
    fn a_longer_keep_never_keeps_less(backups in some_backups(), keep in some_keep(), more in 1_u32..4) {
        let now = at("2028-01-01");
        let longer = |count: Option<u32>| count.map(|count| count + more);
        let wider = Keep {
            last: longer(keep.last), days: longer(keep.days), daily: longer(keep.daily),
            weekly: longer(keep.weekly), monthly: longer(keep.monthly), yearly: longer(keep.yearly),
        };
        let narrow = decide(&backups, Some(&keep), now, chrono_tz::UTC);
        let wide = decide(&backups, Some(&wider), now, chrono_tz::UTC);
        for (narrow, wide) in narrow.iter().zip(&wide) {
            prop_assert!(!matches!(narrow.1, Fate::Keep(_)) || matches!(wide.1, Fate::Keep(_)));
        }
    }
}
