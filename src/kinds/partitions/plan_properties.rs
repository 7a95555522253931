//! What is true of any policy, zone, existing bounds and now.

use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::strategy::Strategy;

use super::*;
use crate::kinds::partitions::cover::Cover;
use crate::kinds::partitions::every::{Every, Line, Periods};
use crate::kinds::partitions::facts::NewBound;
use crate::kinds::partitions::key::Key;
use crate::kinds::partitions::runway;

const ZONES: [Tz; 8] = [
    Tz::UTC,
    Tz::Europe__Berlin,
    Tz::America__New_York,
    Tz::Asia__Kolkata,
    Tz::Australia__Lord_Howe,
    Tz::America__St_Johns,
    Tz::America__Havana,
    Tz::Pacific__Apia,
];

const KEYS: [(&str, &str, &str); 10] = [
    ("range", "timestamptz", ""),
    ("range", "timestamp without time zone", ""),
    ("range", "date", ""),
    ("range", "text", "key_format = '%Y-%m-%d'"),
    ("range", "bigint", "key_format = '%Y%m%d%H'"),
    ("range", "bigint", "key_format = 'epoch'"),
    ("range", "numeric", "key_format = 'epoch_ms'"),
    ("range", "uuid", "key_format = 'uuidv7'"),
    ("list", "text", "key_format = '%Y_%m_%d'"),
    ("list", "date", ""),
];

const WIDTHS: [&str; 12] = [
    "1 month",
    "1 day",
    "1 week",
    "3 months",
    "1 year",
    "5 months",
    "2 weeks",
    "10 days",
    "1 hour",
    "6 hours",
    "7 hours",
    "100 years",
];

/// A table whose partitions are cut at period edges near now, some of them a few hours off, some missing.
#[derive(Debug, Clone)]
struct Case {
    key: usize,
    width: usize,
    zone: usize,
    now: DateTime<Utc>,
    ahead: u32,
    behind: u32,
    /// For each cut: how many periods after the last, how many hours off, whether a partition begins there.
    cuts: Vec<(i64, i64, bool)>,
    first: i64,
    open: (bool, bool),
}

fn case() -> impl Strategy<Value = Case> {
    let odd = prop_oneof![4 => Just(0i64), 1 => 1..5i64];
    let cuts = prop::collection::vec((1..4i64, odd, any::<bool>()), 0..9);
    let now = (0..5_000_000i64).prop_map(|minutes| at("2024-01-01T00:00:00Z") + TimeDelta::minutes(minutes));
    let open = (prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    (0..KEYS.len(), 0..WIDTHS.len(), 0..ZONES.len(), now, 0..8u32, 0..5u32, cuts, -8..4i64, open).prop_map(
        |(key, width, zone, now, ahead, behind, cuts, first, open)| Case {
            key,
            width,
            zone,
            now,
            ahead,
            behind,
            cuts,
            first,
            open,
        },
    )
}

impl Case {
    fn policy(&self) -> PartitionTable {
        let (_, _, format) = KEYS[self.key];
        let (every, ahead, behind, zone) = (WIDTHS[self.width], self.ahead, self.behind, ZONES[self.zone].name());
        let keys = format!("every = '{every}', ahead = {ahead}, behind = {behind}, timezone = '{zone}'");
        policy(&if format.is_empty() { keys } else { format!("{keys}, {format}") })
    }

    /// The table, its key and its periods; nothing where the key cannot tell the periods apart.
    fn facts(&self) -> Option<(TableFacts, Key, Periods)> {
        let (strategy, kind, _) = KEYS[self.key];
        let mut facts = facts(&format!("{strategy} {kind}"));
        let policy = self.policy();
        let every = policy.every().unwrap();
        let key = Key::of(&facts.key, policy.key_format.as_ref(), every).ok()?;
        // No uuid is older than 1970, and nobody lists the days of a century.
        if every == Every::Months(1200) && (key == Key::UuidV7 || strategy == "list") {
            return None;
        }
        let periods = Periods { every, zone: ZONES[self.zone], line: key.line() };
        let mut index = periods.holding(key.line().position(self.now, periods.zone)) + self.first;
        let mut cuts = Vec::new();
        for (step, off, begins) in &self.cuts {
            index += step;
            // Hours off only where a key can say hours.
            let off = if key.unit().is_none() { *off } else { 0 };
            let cut = periods.start(index)? + TimeDelta::hours(off);
            if cuts.last().is_none_or(|(last, _)| *last < cut) {
                cuts.push((cut, *begins));
            }
        }
        for (i, pair) in cuts.windows(2).enumerate().filter(|(_, pair)| pair[0].1) {
            let (from, to) = (pair[0].0, pair[1].0);
            let bound = match key.unit().filter(|_| strategy == "list") {
                Some(unit) => {
                    let starts = (unit.index(from)..).map_while(|i| unit.start(i)).take_while(|start| *start < to);
                    Bound::List(starts.map(|start| key.encode(start)).collect())
                }
                None => Bound::Range {
                    from: if i == 0 && self.open.0 { Edge::MinValue } else { Edge::Value(key.encode(from)?) },
                    to: if i + 2 == cuts.len() && self.open.1 { Edge::MaxValue } else { Edge::Value(key.encode(to)?) },
                    exact: true,
                },
            };
            facts.partitions.push(partition(&format!("old_{i}"), bound));
        }
        Some((facts, key, periods))
    }
}

fn partition(name: &str, bound: Bound) -> Partition {
    Partition { name: table(name), oid: 3, bound, detach_pending: false, is_parent: false }
}

fn applied(facts: &TableFacts, plan: &Plan<Action>) -> Option<TableFacts> {
    let mut facts = facts.clone();
    for action in &plan.actions {
        let Action::Create(create) = action else { return None };
        let bound = match &create.bound {
            NewBound::Range { from, to, .. } => {
                Bound::Range { from: Edge::Value(from.clone()), to: Edge::Value(to.clone()), exact: true }
            }
            NewBound::List(values) => Bound::List(values.iter().cloned().map(Some).collect()),
        };
        facts.partitions.push(partition(create.name.name.as_str(), bound));
    }
    Some(facts)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn plans_never_overlap_leave_no_gap_and_are_empty_when_applied_twice(case in case()) {
        let Some((facts, key, periods)) = case.facts() else { return Ok(()) };
        let policy = case.policy();
        let plan = decide(vec![wanted(&facts, &policy, Tz::UTC, case.now, None)], &HashSet::new());
        if let Some(Action::Refuse { why, .. }) = plan.actions.first() {
            // So many bounds a few hours off are another zone's.
            prop_assert!(why.contains("timezone"), "{}", why);
            return Ok(());
        }
        let after = applied(&facts, &plan).unwrap();
        let cover = Cover::of(&after, &key);
        prop_assert!(cover.unread.is_empty() && cover.strange.is_empty(), "{:?}", after.partitions);
        for pair in cover.stretches.windows(2) {
            prop_assert!(pair[0].to <= pair[1].from, "{} and {} overlap", pair[0].partition.name, pair[1].partition.name);
        }

        let current = periods.holding(key.line().position(case.now, periods.zone));
        let start = periods.start(current - i64::from(case.behind)).unwrap();
        let end = periods.start(current + 1 + i64::from(case.ahead)).unwrap();
        prop_assert_eq!(cover.free(start, end), vec![]);
        let here = key.line().position(case.now, periods.zone);
        prop_assert!(cover.reach(here) >= end);
        let runway = runway::runway(&after, &policy, Tz::UTC, case.now).unwrap();
        prop_assert!(runway.until.is_none_or(|until| until >= key.line().instant(end, periods.zone)));

        let again = decide(vec![wanted(&after, &policy, Tz::UTC, case.now, None)], &HashSet::new());
        prop_assert_eq!(again.actions, vec![]);
        let names: HashSet<_> = after.partitions.iter().map(|partition| &partition.name).collect();
        prop_assert_eq!(names.len(), after.partitions.len());
    }

    /// A partition that is partitioned itself gets all of its own bound that periods lie in, and nothing beyond.
    #[test]
    fn a_part_is_filled_to_its_own_bound_and_no_further(case in case(), first in -6..6i64, length in 1..8i64) {
        let Some((mut facts, key, periods)) = case.facts() else { return Ok(()) };
        // What it holds already would lie within its bound too.
        facts.partitions.clear();
        let current = periods.holding(key.line().position(case.now, periods.zone));
        let (Some(from), Some(to)) = (periods.start(current + first), periods.start(current + first + length)) else {
            return Ok(());
        };
        let (Some(lower), Some(upper)) = (key.encode(from), key.encode(to)) else { return Ok(()) };
        facts.within = Some(Bound::Range { from: Edge::Value(lower), to: Edge::Value(upper), exact: true });
        let policy = case.policy();
        let plan = decide(vec![wanted(&facts, &policy, Tz::UTC, case.now, None)], &HashSet::new());
        let after = applied(&facts, &plan).unwrap();
        let cover = Cover::of(&after, &key);
        prop_assert!(cover.stretches.iter().all(|stretch| from <= stretch.from && stretch.to <= to));
        let start = periods.start(current - i64::from(case.behind)).unwrap();
        let end = periods.start(current + 1 + i64::from(case.ahead)).unwrap();
        let held: i64 = cover.stretches.iter().map(|stretch| (stretch.to - stretch.from).num_seconds()).sum();
        prop_assert_eq!(held, (to.min(end) - from.max(start)).num_seconds().max(0));
        let here = key.line().position(case.now, periods.zone);
        let runway = runway::runway(&after, &policy, Tz::UTC, case.now);
        prop_assert_eq!(runway.is_some(), from <= here && here < to);
        if let Some(until) = runway.and_then(|runway| runway.until) {
            prop_assert_eq!(until, key.line().instant(to.min(end), periods.zone));
        }
    }

    /// Whatever the clock does, periods follow each other, hold what they say, and have names of their own.
    #[test]
    fn periods_follow_each_other(width in 0..WIDTHS.len(), zone in 0..ZONES.len(), minutes in 0..40_000_000i64) {
        let every = Every::try_from(WIDTHS[width].parse::<crate::period::Period>().unwrap()).unwrap();
        for line in [Line::Instant, Line::Wall] {
            let periods = Periods { every, zone: ZONES[zone], line };
            let here = line.position(at("1971-01-01T00:00:00Z") + TimeDelta::minutes(minutes), periods.zone);
            let index = periods.holding(here);
            let (start, end) = (periods.start(index).unwrap(), periods.start(index + 1).unwrap());
            prop_assert!(start <= here && here < end, "{start} {here} {end}");
            prop_assert!(periods.start(index - 1).unwrap() <= start);
            prop_assert_eq!(periods.holding(start), index);
        }
    }

    /// What is written is read as what was meant, by each key.
    #[test]
    fn values_are_read_as_they_were_written(which in 0..KEYS.len(), hours in 0..1_000_000i64) {
        let (strategy, kind, format) = KEYS[which];
        let policy = policy(if format.is_empty() { "ahead = 1" } else { format });
        let key = Key::of(&facts(&format!("{strategy} {kind}")).key, policy.key_format.as_ref(), Every::Months(1)).unwrap();
        let unit = key.unit().unwrap_or(Every::Hours(1));
        let at = unit.start(unit.index(at("1971-01-01T00:00:00Z").naive_utc() + TimeDelta::hours(hours))).unwrap();
        let text = key.encode(at).unwrap();
        prop_assert_eq!(key.value(&text), Some(at));
        prop_assert_eq!(key.bound(&Edge::Value(text)), Some(at));
    }

    /// No name is longer than the server keeps, none of two periods or pieces is the same, and each is a text.
    #[test]
    fn names_fit_and_differ(table in "[^\0]{1,40}", hours in 0..100_000i64, pattern in 0..3usize) {
        let pattern: crate::kinds::partitions::name::Pattern =
            ["{table}_%Y_%m_%d_%H", "%Y%m%d%H of {table}", "part_of_a_table_whose_name_is_said_here_at_length_%Y_%m_%d_%H"]
                [pattern].parse().unwrap();
        let start = at("2020-01-01T00:00:00Z").naive_utc() + TimeDelta::hours(hours);
        let next = start + TimeDelta::hours(1);
        let names = [
            pattern.name(&table, start), pattern.name(&table, next),
            pattern.other_name(&table, start, "a"), pattern.other_name(&table, start, "b"),
        ].map(|named| named.name);
        prop_assert!(names.iter().all(|name| name.len() <= 63), "{names:?}");
        prop_assert_eq!(names.iter().collect::<HashSet<_>>().len(), 4);
    }
}
