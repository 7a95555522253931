//! The mark of a table that was made to become a partition and is not attached yet: a comment on it.
//!
//! A daemon that dies between the two leaves a table that no insert reaches and no name tells apart. The mark does, and
//! it is part of the transaction that makes the table; the one that attaches it takes the mark away.

use std::fmt::Display;

/// How every mark begins: what to look for in `pg_description`.
pub const BEGINNING: &str = "pgtend: partition of ";
const MIDDLE: &str = ", not attached yet: ";

/// What a mark says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The oid of the partitioned table it was made for: names change hands, oids do not.
    pub parent: u32,
    /// The bound it was to have, as whoever made it wrote it.
    pub bound: String,
}

/// The comment for a table made for `parent`. The bound is for people, and for those who finish the work.
pub fn mark(parent: u32, bound: impl Display) -> String {
    format!("{BEGINNING}{parent}{MIDDLE}{bound}")
}

/// Reads a comment; nothing if it is anybody else's.
pub fn parse(comment: &str) -> Option<Mark> {
    let (parent, bound) = comment.strip_prefix(BEGINNING)?.split_once(MIDDLE)?;
    // `parse` alone would let a sign pass.
    let parent = parent.bytes().all(|b| b.is_ascii_digit()).then(|| parent.parse().ok())??;
    Some(Mark { parent, bound: bound.into() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_mark_is_words_that_a_person_understands() {
        let comment = mark(16_384, r#"{"from":"2026-12-01","to":"2027-01-01"}"#);
        assert_eq!(comment, r#"pgtend: partition of 16384, not attached yet: {"from":"2026-12-01","to":"2027-01-01"}"#);
    }

    #[test]
    fn comments_of_others_are_no_marks() {
        for comment in [
            "",
            "test results of December",
            "pgtend: partition of 16384",
            "pgtend: partition of , not attached yet: {}",
            "pgtend: partition of +1, not attached yet: {}",
            "pgtend: partition of -1, not attached yet: {}",
            "pgtend: partition of 4294967296, not attached yet: {}",
            "pgtend: partition of public.t, not attached yet: {}",
            " pgtend: partition of 1, not attached yet: {}",
        ] {
            assert_eq!(parse(comment), None, "{comment}");
        }
    }

    proptest! {
        #[test]
        fn what_is_marked_is_read_back(parent: u32, bound in ".*") {
            let comment = mark(parent, &bound);
            prop_assert_eq!(parse(&comment), Some(Mark { parent, bound }));
        }

        #[test]
        fn no_comment_makes_it_panic(comment in ".*") {
            let _ = parse(&comment);
        }
    }
}
