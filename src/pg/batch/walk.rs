//! The way through a leaf: where the next batch begins, how much it takes, what it had to pass over.

use std::time::Duration;

use super::objects::{self, Outcome, Withheld};
use super::statement::{Deletion, Form};
use super::{Batch, MOST_LEFT, Size};

/// Rows a batch of blocks takes at most, whatever is in them.
const MOST_ROWS: u32 = 50_000;

/// Of rows with objects the first batch takes so many, since nobody knows yet how fast the store is.
const FEW_OBJECTS: u32 = 16;

/// Rows that stay for their objects' sake are passed over by their ctids; so many, and no more.
const MOST_WITHHELD: usize = 10_000;

/// What a batch came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Rows that were due.
    pub matching: u64,
    pub gone: u64,
    /// The last of `matching`: its time by an index, its ctid by blocks.
    pub last: Option<String>,
    /// The ctids of those that somebody else has locked, or has changed meanwhile.
    pub skipped: Vec<String>,
    /// The ctids of those that we locked and deleted, and that a trigger kept.
    pub kept: Vec<String>,
    /// A trigger may have kept rows that this way of deleting does not see.
    pub blind: bool,
    /// What became of their objects.
    pub objects: Outcome,
}

#[derive(Debug)]
pub struct Walk {
    position: Position,
    size: Size,
    skipped: Vec<String>,
    kept: Vec<String>,
    /// Rows that stay for their objects' sake, as far as they may be found again.
    withheld: Vec<Withheld>,
}

#[derive(Debug, PartialEq, Eq)]
enum Position {
    /// From this time on; what is before it is gone or left.
    Index { from: String, over: bool },
    /// From this ctid on.
    Blocks { block: u32, line: u16, end: u32, rows: u32 },
}

/// The block of a ctid such as `(12,3)`.
pub fn block_of(ctid: &str) -> Option<u32> {
    parse(ctid).map(|(block, _)| block)
}

fn parse(ctid: &str) -> Option<(u32, u16)> {
    let (block, line) = ctid.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    Some((block.parse().ok()?, line.parse().ok()?))
}

impl Walk {
    pub fn index(settings: &Batch) -> Self {
        let size = settings.rows.map_or_else(|| Size::new(500, 10, 50_000, settings.target.0), Size::fixed);
        // Every time there is, minus infinity included.
        let position = Position::Index { from: "-infinity".into(), over: false };
        Self { position, size, skipped: Vec::new(), kept: Vec::new(), withheld: Vec::new() }
    }

    /// As [`Walk::index`], of rows with objects: a batch takes as long as the store does.
    pub fn index_with_objects(settings: &Batch) -> Self {
        let most = settings.rows.unwrap_or(objects::MOST_ROWS);
        Self { size: Size::new(FEW_OBJECTS, 1, most, settings.target.0), ..Self::index(settings) }
    }

    /// Through the blocks from `first` until before `end`.
    pub fn blocks(first: u32, end: u32, settings: &Batch) -> Self {
        let rows = settings.rows.unwrap_or(MOST_ROWS);
        let position = Position::Blocks { block: first, line: 0, end, rows };
        let size = Size::new(64, 1, 16_384, settings.target.0);
        Self { position, size, skipped: Vec::new(), kept: Vec::new(), withheld: Vec::new() }
    }

    /// Whether ranges of blocks may go whole, because nobody has said how many rows a batch has.
    pub const fn is_whole(&self) -> bool {
        matches!(self.position, Position::Blocks { line: 0, rows: MOST_ROWS, .. })
    }

    pub fn sql(&self, deletion: &Deletion, version: i32, form: Form) -> String {
        match self.position {
            Position::Index { .. } => deletion.by_index(form),
            Position::Blocks { .. } => deletion.by_blocks(version, form),
        }
    }

    /// What the next batch would find; its parameters are those of [`Walk::sql`].
    pub fn matching(&self, deletion: &Deletion, version: i32) -> String {
        match self.position {
            Position::Index { .. } => deletion.matching_by_index(),
            Position::Blocks { .. } => deletion.matching_by_blocks(version),
        }
    }

    /// The last of the rows that the next batch finds, as [`Found::last`] has it: an expression beside `matching`.
    pub const fn last(&self) -> &'static str {
        match self.position {
            Position::Index { .. } => Deletion::LAST_BY_INDEX,
            Position::Blocks { .. } => Deletion::LAST_BY_BLOCKS,
        }
    }

    /// The time of each of them, where the way goes by it.
    pub const fn ends(&self) -> &'static str {
        match self.position {
            Position::Index { .. } => "matching.ends::pg_catalog.text",
            Position::Blocks { .. } => "NULL::pg_catalog.text",
        }
    }

    /// Where the next batch begins, how many rows it may have, and by blocks the ctid it ends before.
    pub fn step(&self) -> (String, i64, Option<String>) {
        match &self.position {
            Position::Index { from, .. } => (from.clone(), self.size.get().into(), None),
            Position::Blocks { block, line, end, rows } => {
                (format!("({block},{line})"), (*rows).into(), Some(format!("({},0)", self.range_end(*block, *end))))
            }
        }
    }

    fn range_end(&self, block: u32, end: u32) -> u32 {
        block.saturating_add(self.size.get()).min(end)
    }

    /// The ctids not to be looked at again.
    pub fn passed_over(&self) -> Vec<String> {
        let withheld = self.withheld.iter().map(|row| &row.ctid);
        self.skipped.iter().chain(&self.kept).chain(withheld).cloned().collect()
    }

    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    pub fn kept(&self) -> &[String] {
        &self.kept
    }

    /// Whether it ended early because too much was left.
    pub const fn gave_up(&self) -> bool {
        self.skipped.len() + self.kept.len() > MOST_LEFT
    }

    /// Whether more rows of one time stay for their objects' sake than can be passed over.
    pub const fn is_choked(&self) -> bool {
        self.withheld.len() > MOST_WITHHELD
    }

    pub fn is_over(&self) -> bool {
        self.gave_up()
            || self.is_choked()
            || match self.position {
                Position::Index { over, .. } => over,
                Position::Blocks { block, end, .. } => block >= end,
            }
    }

    pub fn cut(&mut self) -> bool {
        self.size.cut()
    }

    pub fn advance(&mut self, found: Found, took: Duration) {
        self.withheld.extend(found.objects.withheld);
        if found.objects.untried {
            // There was no time for all of it: the same again, of which there is less by now.
            self.size.took(took, true);
            self.skipped.extend(found.skipped);
            self.kept.extend(found.kept);
            return;
        }
        let range_end = match self.position {
            Position::Blocks { block, end, .. } => self.range_end(block, end),
            Position::Index { .. } => 0,
        };
        match &mut self.position {
            Position::Index { from, over } => {
                let full = found.matching >= u64::from(self.size.get());
                // Not "nothing deleted": rows may be due and locked, and others behind them free.
                *over = found.matching == 0;
                if let Some(last) = found.last {
                    *from = last;
                }
                self.size.took(took, full);
            }
            Position::Blocks { block, line, rows, .. } => {
                let full = found.matching >= u64::from(*rows);
                let first = *block;
                match found.last.as_deref().and_then(parse) {
                    // The range holds more rows than one batch may have: go on behind the last of them.
                    Some((last, at)) if full => {
                        (*block, *line) = (last, at.saturating_add(1));
                        self.size.took(took, false);
                        self.size.at_most(last - first + 1);
                    }
                    _ => {
                        (*block, *line) = (range_end, 0);
                        self.size.took(took, true);
                        // However fast they are, a transaction has no more rows than that.
                        let most = u64::from(range_end - first) * u64::from(MOST_ROWS) / found.gone.max(1);
                        self.size.at_most(u32::try_from(most).unwrap_or(u32::MAX));
                    }
                }
            }
        }
        self.skipped.extend(found.skipped);
        self.kept.extend(found.kept);
        // What lies before the place where the next batch begins is not met again.
        match &self.position {
            Position::Index { from, .. } => self.withheld.retain(|row| row.ends.as_ref() == Some(from)),
            Position::Blocks { .. } => self.withheld.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings(rows: Option<u32>) -> Batch {
        Batch { rows, ..Batch::default() }
    }

    #[test]
    fn an_index_is_walked_until_nothing_is_found_not_until_nothing_is_deleted() {
        let mut walk = Walk::index(&settings(Some(2)));
        assert_eq!(walk.step(), ("-infinity".into(), 2, None));
        let locked = Found {
            matching: 2,
            last: Some("2026-01-01".into()),
            skipped: vec!["(0,1)".into(), "(0,2)".into()],
            ..Found::default()
        };
        walk.advance(locked, Duration::ZERO);
        assert!(!walk.is_over());
        assert_eq!(walk.step().0, "2026-01-01");
        assert_eq!(walk.passed_over().len(), 2, "or the same two would be found for ever");
        walk.advance(Found::default(), Duration::ZERO);
        assert!(walk.is_over());
    }

    /// A batch of rows with objects, all of which stay.
    fn withheld(ctids: &[&str], ends: &str, untried: bool) -> Found {
        let row = |ctid: &&str| Withheld { ctid: (*ctid).into(), ends: Some(ends.into()), why: None };
        let objects = Outcome { withheld: ctids.iter().map(row).collect(), untried, ..Outcome::default() };
        Found { matching: ctids.len() as u64, last: Some(ends.into()), objects, ..Found::default() }
    }

    #[test]
    fn rows_that_stay_for_their_objects_sake_are_passed_over_as_long_as_they_would_be_found_again() {
        let mut walk = Walk::index_with_objects(&settings(Some(2)));
        walk.advance(withheld(&["(0,1)", "(0,2)"], "2026-01-01", false), Duration::ZERO);
        walk.advance(withheld(&["(0,3)"], "2026-01-01", false), Duration::ZERO);
        assert_eq!(walk.passed_over().len(), 3, "all of one time");
        walk.advance(withheld(&["(0,4)"], "2026-01-02", false), Duration::ZERO);
        assert_eq!((walk.step().0.as_str(), walk.passed_over()), ("2026-01-02", vec!["(0,4)".into()]));
    }

    #[test]
    fn no_more_rows_are_passed_over_than_a_statement_takes() {
        let mut walk = Walk::index_with_objects(&settings(Some(2)));
        for _ in 0..=MOST_WITHHELD / 100 {
            assert!(!walk.is_over());
            walk.advance(withheld(&["(0,1)"; 100], "2026-01-01", false), Duration::ZERO);
        }
        assert!(walk.is_choked() && walk.is_over());
    }

    #[test]
    fn what_there_was_no_time_for_is_found_again() {
        for mut walk in [Walk::index_with_objects(&settings(Some(9))), Walk::blocks(0, 9, &settings(Some(9)))] {
            let before = walk.step();
            walk.advance(withheld(&["(0,1)"], "2026-01-01", true), Duration::from_secs(10));
            assert_eq!((walk.step().0, walk.is_over()), (before.0, false));
            assert_eq!(walk.passed_over(), ["(0,1)"]);
        }
    }

    #[test]
    fn batches_of_rows_with_objects_are_small_and_follow_the_store() {
        let mut walk = Walk::index_with_objects(&settings(None));
        assert_eq!(walk.step().1, 16);
        for _ in 0..9 {
            let full = Found { matching: 100, gone: 100, last: Some("2026-01-01".into()), ..Found::default() };
            walk.advance(full, Duration::from_millis(10));
        }
        assert_eq!(walk.step().1, 100);
        walk.advance(Found { matching: 100, ..Found::default() }, Duration::from_secs(25));
        assert_eq!(walk.step().1, 1);
    }

    #[test]
    fn too_many_locked_rows_end_a_walk() {
        let mut walk = Walk::index(&settings(None));
        walk.advance(
            Found { matching: 2_000, skipped: vec!["(0,1)".into(); 2_000], ..Found::default() },
            Duration::ZERO,
        );
        assert!(walk.is_over() && walk.gave_up());
    }

    /// Walks a table whose blocks hold that many due rows each; gives what each block was found to have.
    fn walked(blocks: &[u16], rows: Option<u32>, took: impl Fn(u32) -> Duration) -> Vec<u16> {
        let mut seen = vec![0; blocks.len()];
        let mut walk = Walk::blocks(0, u32::try_from(blocks.len()).unwrap(), &settings(rows));
        while !walk.is_over() {
            let (from, limit, to) = walk.step();
            let (from, to) = (parse(&from).unwrap(), parse(&to.unwrap()).unwrap());
            let due = (from.0..to.0).flat_map(|block| (1..=blocks[block as usize]).map(move |line| (block, line)));
            let batch: Vec<_> = due.filter(|row| *row >= from).take(usize::try_from(limit).unwrap()).collect();
            for (block, _) in &batch {
                seen[*block as usize] += 1;
            }
            let last = batch.last().map(|(block, line)| format!("({block},{line})"));
            let n = batch.len() as u64;
            walk.advance(Found { matching: n, gone: n, last, ..Found::default() }, took(to.0 - from.0));
        }
        seen
    }

    proptest! {
        #[test]
        fn each_row_is_found_once_however_the_steps_fall(
            blocks in prop::collection::vec(0u16..6, 0..300),
            rows in prop::option::of(1u32..20),
            ms in 0u64..1_000,
        ) {
            prop_assert_eq!(walked(&blocks, rows, |n| Duration::from_millis(ms * u64::from(n) / 10)), blocks);
        }
    }
}
