//! What is true of any policy, zone, existing bounds and now.

use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;

const KEYS: [(&str, &str, &str); 8] = [
    ("range", "timestamptz", ""),
    ("range", "timestamp without time zone", ""),
    ("range", "date", ""),
    ("range", "text", ", key_format = '%Y-%m-%d'"),
    ("range", "bigint", ", key_format = '%Y%m%d'"),
    ("range", "bigint", ", key_format = 'epoch'"),
    ("range", "uuid", ", key_format = 'uuidv7'"),
    ("list", "text", ", key_format = '%Y-%m-%d'"),
];

const KEEPS: [&str; 6] = ["1 day", "36 hours", "1 week", "1 month", "3 months", "1 year"];

#[derive(Debug, Clone)]
struct Case {
    key: usize,
    keep: usize,
    at_least: u32,
    most: u32,
    now: DateTime<Utc>,
    /// The first cut in days from now, and for each partition its width in days and whether it is there.
    first: i64,
    widths: Vec<(i64, bool)>,
    open: (bool, bool),
    held: Vec<usize>,
    pending: Option<usize>,
    /// Where it is a list: how many days of each partition are left out at its end and are in the one before.
    swap: bool,
}

fn case() -> impl proptest::strategy::Strategy<Value = Case> {
    let now = (0..2_000_000i64).prop_map(|minutes| at("2024-01-01T00:00:00Z") + TimeDelta::minutes(minutes));
    let widths = prop::collection::vec((1..40i64, prop::bool::weighted(0.85)), 0..25);
    let open = (prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    let held = prop::collection::vec(0..25usize, 0..3);
    (
        (0..KEYS.len(), 0..KEEPS.len(), 1..5u32, 1..30u32, now),
        (-600..30i64, widths, open, held, prop::option::weighted(0.2, 0..25usize), any::<bool>()),
    )
        .prop_map(|((key, keep, at_least, most, now), (first, widths, open, held, pending, swap))| Case {
            key,
            keep,
            at_least,
            most,
            now,
            first,
            widths,
            open,
            held,
            pending,
            swap,
        })
}

/// A partition of the case: its name, where it begins and ends.
type Range = (String, Option<DateTime<Utc>>, Option<DateTime<Utc>>);

fn day(n: DateTime<Utc>) -> String {
    n.format("%Y-%m-%d").to_string()
}

/// The facts, and what each partition really holds.
fn made(case: &Case) -> (TableFacts, Holds, Vec<Range>) {
    let (strategy, kind, format) = KEYS[case.key];
    let value = |at: DateTime<Utc>| match format {
        _ if kind == "timestamptz" => day(at),
        ", key_format = 'epoch'" => at.timestamp().to_string(),
        ", key_format = 'uuidv7'" => {
            let ms = at.timestamp_millis();
            format!("{:08x}-{:04x}-7000-8000-000000000000", ms >> 16, ms & 0xffff)
        }
        ", key_format = '%Y%m%d'" => at.format("%Y%m%d").to_string(),
        _ if kind.starts_with("timestamp") => format!("{}T00:00:00", day(at)),
        _ => day(at),
    };
    let midnight = at(&format!("{}T00:00:00Z", day(case.now)));
    let mut start = midnight + TimeDelta::days(case.first);
    let (mut lines, mut ranges) = (vec![format!("{strategy} {kind}")], Vec::new());
    for (n, (width, is_there)) in case.widths.iter().enumerate() {
        let end = start + TimeDelta::days(*width);
        if *is_there {
            let name = format!("p{n}");
            let word = if case.pending == Some(n) { "pending " } else { "" };
            if strategy == "list" {
                let mut days: Vec<String> = (0..*width).map(|d| value(start + TimeDelta::days(d))).collect();
                if case.swap {
                    days.reverse();
                }
                lines.push(format!("{word}{name} in {}", days.join(", ")));
                ranges.push((name, Some(start), Some(end)));
            } else {
                let (first, last) = (n == 0 && case.open.0, n + 1 == case.widths.len() && case.open.1);
                let from = if first { "min".into() } else { value(start) };
                let to = if last { "max".into() } else { value(end) };
                lines.push(format!("{word}{name} {from} {to}"));
                ranges.push((name, (!first).then_some(start), (!last).then_some(end)));
            }
        }
        start = end;
    }
    lines.push("default with rows".into());
    let keys = format!(
        "keep = '{}', keep_at_least = {}, max_partitions = {}{format}",
        KEEPS[case.keep], case.at_least, case.most
    );
    let (facts, mut holds) = facts(&lines.join("\n"), &keys, Tz::UTC);
    for n in &case.held {
        let hold = Hold { relation: table(&format!("p{n}")), reason: "x".into(), until: None, exists: true };
        holds.0.push(hold);
    }
    (facts, holds, ranges)
}

fn gone(plan: &Plan<Action>) -> Vec<String> {
    let gone = plan.actions.iter().filter_map(|action| match action {
        Action::Go(going) if going.stand == Stand::Attached => Some(going.leaf.name.as_str().to_owned()),
        _ => None,
    });
    gone.collect()
}

/// Without those that went.
fn without(facts: &TableFacts, plan: &Plan<Action>) -> TableFacts {
    let names: Vec<String> = plan
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Go(going) => Some(going.leaf.name.as_str().to_owned()),
            _ => None,
        })
        .collect();
    let mut facts = facts.clone();
    facts.parent.partitions.retain(|partition| !names.iter().any(|name| name == partition.name.name.as_str()));
    facts
}

proptest! {
    #[test]
    fn only_what_is_wholly_older_than_the_cutoff_goes(case in case()) {
        let (facts, holds, ranges) = made(&case);
        let cutoff = facts.policy.keep.before(case.now, Tz::UTC).unwrap();
        let plan = decide(vec![Ok(facts)], &holds, case.now);
        let went = gone(&plan);
        prop_assert!(went.len() <= case.most as usize);
        let range = |name: &String| ranges.iter().find(|(other, ..)| other == name).unwrap();
        let mut before: Option<DateTime<Utc>> = None;
        for name in &went {
            let (_, _, end) = range(name);
            let end = end.expect("what has no end never goes");
            prop_assert!(end <= cutoff && end <= case.now);
            prop_assert!(holds.on(&table(name), case.now).is_none());
            prop_assert!(before.is_none_or(|before| before <= end), "the oldest first");
            before = Some(end);
        }
        // Whatever else there is, so many that have begun stay.
        let begun = |(name, from, end): &&Range| {
            from.is_none_or(|from| from <= case.now) && end.is_some() && case.pending != name[1..].parse().ok()
        };
        let all = ranges.iter().filter(begun).count();
        let stay = ranges.iter().filter(begun).filter(|(name, ..)| !went.contains(name)).count();
        prop_assert!(stay >= all.min(case.at_least as usize), "{stay} of {all} stay");
        let refused = plan.actions.iter().any(|action| matches!(action, Action::Refuse { .. }));
        prop_assert!(!refused || KEYS[case.key].0 == "range", "a plain table is not refused");
    }

    #[test]
    fn it_goes_if_it_can(case in case()) {
        let (facts, holds, ranges) = made(&case);
        let cutoff = facts.policy.keep.before(case.now, Tz::UTC).unwrap();
        let plan = decide(vec![Ok(facts)], &holds, case.now);
        let went = gone(&plan);
        let mut kept_by_number: Vec<_> = ranges
            .iter()
            .filter(|(name, from, end)| {
                from.is_none_or(|from| from <= case.now) && end.is_some() && case.pending != name[1..].parse().ok()
            })
            .collect();
        kept_by_number.reverse();
        kept_by_number.truncate(case.at_least as usize);
        let should: Vec<_> = ranges
            .iter()
            .filter(|range| {
                let (name, _, end) = range;
                end.is_some_and(|end| end <= cutoff)
                    && !kept_by_number.contains(range)
                    && holds.on(&table(name), case.now).is_none()
                    && case.pending != name[1..].parse().ok()
            })
            .map(|(name, ..)| name.clone())
            .collect();
        let begun = plan.actions.iter().filter(|a| matches!(a, Action::Go(g) if g.stand != Stand::Attached)).count();
        let room = (case.most as usize).saturating_sub(begun);
        prop_assert_eq!(went, should.into_iter().take(room).collect::<Vec<_>>());
    }

    #[test]
    fn done_again_and_again_it_comes_to_its_end_and_stays_there(case in case()) {
        let (mut facts, holds, _) = made(&case);
        let all_at_once = {
            let mut facts = facts.clone();
            facts.policy.max_partitions = 10_000;
            let plan = decide(vec![Ok(facts.clone())], &holds, case.now);
            without(&facts, &plan)
        };
        for _ in 0..40 {
            let plan = decide(vec![Ok(facts.clone())], &holds, case.now);
            facts = without(&facts, &plan);
        }
        let plan = decide(vec![Ok(facts.clone())], &holds, case.now);
        prop_assert!(!plan.actions.iter().any(|action| matches!(action, Action::Go(_))), "{}", show(&plan));
        prop_assert_eq!(&facts.parent.partitions, &all_at_once.parent.partitions);
    }

    #[test]
    fn a_list_is_as_old_as_its_newest_value(days in prop::collection::vec(0..700i64, 1..8), keep in 1..400u32) {
        let now = at("2026-06-15T12:00:00Z");
        let values: Vec<String> = days.iter().map(|d| day(now - TimeDelta::days(*d))).collect();
        let text = format!("list text\n a in {}\n b in 2026-06-15, 2026-06-16", values.join(", "));
        let (facts, holds) = facts(&text, &format!("keep = '{keep} days', key_format = '%Y-%m-%d'"), Tz::UTC);
        let plan = decide(vec![Ok(facts)], &holds, now);
        // The day of the newest value has to be over, and that by `keep`.
        let newest = *days.iter().min().unwrap();
        let goes = newest > i64::from(keep);
        prop_assert_eq!(gone(&plan) == ["a"], goes);
    }
}
