//! What is made of what was read; pure.

use std::collections::{BTreeMap, HashSet};

use super::VerifyChain;
use super::plan::Chain;

/// No more than so many rows are named.
const EXAMPLES: usize = 10;

#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub rows: i64,
    /// Without a hash.
    pub nameless: i64,
    /// Where the first row and the last stand.
    pub first: Option<String>,
    pub last: Option<String>,
    /// Whether retention remembers rows before the first.
    pub begun_before: bool,
    pub how: How,
}

#[derive(Debug, Clone, PartialEq)]
pub enum How {
    /// All rows name the row before them, but for these, in their order.
    Ordered {
        breaks: Vec<Break>,
        /// Whether several rows stand at the place of one of them.
        tied: bool,
    },
    /// The order is not that of the chain: each row that is named was looked for.
    Unordered { lost: Examples, beginnings: Examples, forks: Examples },
}

/// Some of how many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examples {
    pub count: i64,
    pub places: Vec<String>,
}

/// A row that does not name the hash of the row before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    pub place: String,
    /// Which row it is, counted from 1.
    pub nth: i64,
    pub previous: Option<String>,
    /// How many rows bear the hash that it names.
    pub bearers: i64,
    /// After how many breaks the first of those stands.
    pub run: usize,
    /// How many rows name it, this one among them.
    pub namers: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What is wrong, in words. Nothing: the chain is whole.
    pub broken: Vec<String>,
    pub notes: Vec<String>,
    pub forks: i64,
    pub out_of_order: i64,
    /// Whether a row goes on from what retention remembers.
    pub anchored: bool,
}

impl Examples {
    fn add(&mut self, place: &str) {
        self.count += 1;
        if self.places.len() < EXAMPLES {
            self.places.push(place.into());
        }
    }

    /// `2 rows name …: 17, 40`, if there are any.
    fn say(&self, order: &str, one: &str, many: &str) -> Option<String> {
        let shown = i64::try_from(self.places.len()).unwrap_or(i64::MAX);
        let more = if self.count > shown { ", …" } else { "" };
        let what = if self.count == 1 { format!("1 row {one}") } else { format!("{} rows {many}", self.count) };
        (self.count > 0).then(|| format!("{what} ({order} {}{more})", self.places.join(", ")))
    }
}

pub fn judge(seen: &Seen, chain: &Chain, kind: &VerifyChain) -> Verdict {
    let order = kind.order_by.get_ref().as_str();
    let mut verdict = Verdict::default();
    if seen.nameless > 0 {
        let rows = if seen.nameless == 1 { "1 row has".into() } else { format!("{} rows have", seen.nameless) };
        verdict.broken.push(format!("{rows} no hash"));
    }
    let first = seen.first.as_deref().unwrap_or("NULL");
    let begins = |nothing: bool| {
        (nothing && seen.begun_before).then(|| {
            format!("its first row ({order} {first}) names no predecessor, and pgtend.anchor remembers rows before it")
        })
    };
    match &seen.how {
        How::Ordered { breaks, tied } => {
            verdict.broken.extend(begins(seen.rows > 0 && breaks.first().is_none_or(|first| first.nth > 1)));
            ordered(&mut verdict, breaks, *tied, chain, kind);
        }
        How::Unordered { lost, beginnings, forks } => {
            let mut beginnings = beginnings.clone();
            let first_is_one = beginnings.places.first().is_some_and(|place| place == first);
            verdict.broken.extend(begins(first_is_one));
            if !beginnings.places.is_empty() {
                // One there may be.
                beginnings.places.remove(0);
                beginnings.places.truncate(EXAMPLES);
                beginnings.count -= 1;
            }
            let lost = lost.say(order, LOST_ONE, LOST);
            verdict.broken.extend(lost.into_iter().chain(beginnings.say(order, HEADLESS_ONE, HEADLESS)));
            verdict.forks = forks.count;
            verdict.notes.extend(fork_note(forks, order));
            verdict.notes.push(format!(
                "the order of {order} is not that of the chain: each row that is named is there or was looked for, but rows that \
                 name each other in a circle would not be noticed"
            ));
        }
    }
    verdict
}

const LOST_ONE: &str = "names a predecessor that is not there";
const LOST: &str = "name predecessors that are not there";
const HEADLESS_ONE: &str = "behind the first names no predecessor";
const HEADLESS: &str = "behind the first name no predecessor";

fn fork_note(forks: &Examples, order: &str) -> Option<String> {
    let what = if forks.count == 1 { "the chain forks once" } else { "the chain forks" };
    forks
        .say(order, "names a predecessor that an earlier one names too", "name predecessors that earlier ones name too")
        .map(|said| format!("{what}, as it does when two write at the same time: {said}"))
}

fn ordered(verdict: &mut Verdict, breaks: &[Break], tied: bool, chain: &Chain, kind: &VerifyChain) {
    let order = kind.order_by.get_ref().as_str();
    let anchors: HashSet<&str> = chain.anchors.iter().filter_map(|anchor| anchor.hash.as_deref()).collect();
    let [mut lost, mut headless, mut twice, mut circle] = [(); 4].map(|()| Examples::default());
    let mut forks: BTreeMap<&str, &str> = BTreeMap::new();
    let circles = circles(breaks);
    for (nth, row) in breaks.iter().enumerate() {
        let Some(previous) = row.previous.as_deref() else {
            headless.add(&row.place);
            continue;
        };
        if row.namers > 1 {
            forks.insert(previous, &row.place);
        }
        match row.bearers {
            0 if anchors.contains(previous) => verdict.anchored = true,
            0 if kind.genesis.as_deref() == Some(previous) => {
                if row.nth > 1 {
                    headless.add(&row.place);
                }
            }
            0 => lost.add(&row.place),
            bearers => {
                if bearers > 1 {
                    twice.add(&row.place);
                }
                // Of a fork one row stands behind another than it names.
                if row.namers == 1 {
                    verdict.out_of_order += 1;
                }
                if circles.contains(&nth) {
                    circle.add(&row.place);
                }
            }
        }
    }
    let mut fork = Examples::default();
    for place in forks.values() {
        fork.add(place);
    }
    verdict.forks = fork.count;
    verdict.broken.extend(lost.say(order, LOST_ONE, LOST));
    verdict.broken.extend(headless.say(order, HEADLESS_ONE, HEADLESS));
    let circle = circle.say(order, "is its own predecessor, by way of others", "name each other in a circle");
    if tied {
        verdict
            .notes
            .extend(circle.map(|said| format!("{order} is not unique, so that it cannot be told whether {said}")));
    } else {
        verdict.broken.extend(circle);
    }
    verdict.notes.extend(fork_note(&fork, order));
    verdict.notes.extend(
        twice
            .say(order, "names a hash that several rows bear", "name hashes that several rows bear")
            .map(|said| format!("a hash is not of one row alone: {said}")),
    );
    if verdict.out_of_order > 0 {
        verdict.notes.push(format!(
            "{} in another order than that of {order}, as it is where two write at the same time",
            if verdict.out_of_order == 1 {
                "1 row stands".into()
            } else {
                format!("{} rows stand", verdict.out_of_order)
            }
        ));
    }
}

/// Which breaks lie in a circle. Between two of them the rows are one run, each naming the one before; so it is enough to
/// look from where each run goes on.
fn circles(breaks: &[Break]) -> HashSet<usize> {
    // Run 0 is that before the first break, which goes on from nowhere.
    let parent = |run: usize| {
        let row = breaks.get(run.checked_sub(1)?)?;
        (row.bearers > 0).then_some(row.run)
    };
    let mut fine: HashSet<usize> = HashSet::new();
    let mut circles = HashSet::new();
    for start in 1..=breaks.len() {
        let (mut path, mut at) = (Vec::new(), Some(start));
        while let Some(run) = at.filter(|run| !fine.contains(run)) {
            if let Some(from) = path.iter().position(|seen| *seen == run) {
                circles.extend(path[from..].iter().map(|run| run - 1));
                break;
            }
            path.push(run);
            at = parent(run);
        }
        fine.extend(path);
    }
    circles
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
