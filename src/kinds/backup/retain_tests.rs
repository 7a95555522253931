use proptest::prelude::*;

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    let text = if text.len() == 10 { format!("{text}T02:00:00Z") } else { text.to_owned() };
    text.parse().unwrap()
}

/// `2026-01-01`, or `2026-01-01T05:00:00Z`; with `+` it is verified, with `!` damaged.
fn known(text: &str) -> Known {
    let day = text.trim_end_matches(['+', '!']);
    Known { id: day.into(), started_at: at(day), verified: text.ends_with('+'), damaged: text.ends_with('!') }
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
