//! The mark of a partition that is on its way out: a comment on it, which says what is to become of it.
//!
//! A daemon that dies after the DETACH leaves a table that no query reaches, and whose bounds the server has forgotten. The
//! mark remembers them, and the next run finishes the work. A comment that was there before is kept in the mark, and
//! is put back where the table lives on.
//!
//! A mark that is older than the detaching proves nothing: somebody who wants to keep the partition may be quicker, and its
//! comment would then be that of a table of theirs. So a mark says whether the detaching is known to be ours. What a mark
//! without that is on is never dropped.

use serde::{Deserialize, Serialize};

use super::facts::Fate;
use crate::pg::{Ident, TableName};

/// How every mark begins: what to look for in `pg_description`.
pub const BEGINNING: &str = "pgtend: to be ";

/// What a mark says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub fate: Fate,
    /// The oid of the table it was a partition of: names change hands, oids do not.
    pub parent: u32,
    /// The oid of the partition itself: a copy of it that was made of a dump has the comment too.
    pub leaf: Option<u32>,
    pub table: TableName,
    /// As `pg_get_expr` gives it in a session of ours.
    pub bound: String,
    /// Whether its detaching is known to be ours: this was written by the transaction that detaches, or after it, or while
    /// our statement was seen in the midst of it.
    pub begun: bool,
    /// The comment that was there before.
    pub comment: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    parent: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leaf: Option<u32>,
    schema: String,
    table: String,
    bound: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    begun: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

const fn said(fate: &Fate) -> &'static str {
    match fate {
        Fate::Drop => "dropped",
        Fate::Detach => "left as a table of its own",
        Fate::Archive(_) => "moved to a schema",
    }
}

const MIDDLE: &str = " by retention: ";

impl Mark {
    /// The comment.
    pub fn text(&self) -> String {
        let written = Written {
            parent: self.parent,
            leaf: self.leaf,
            schema: self.table.schema.as_str().into(),
            table: self.table.name.as_str().into(),
            bound: self.bound.clone(),
            begun: self.begun,
            to: match &self.fate {
                Fate::Archive(to) => Some(to.as_str().into()),
                Fate::Drop | Fate::Detach => None,
            },
            comment: self.comment.clone(),
        };
        // Texts and numbers can always be written.
        let json = serde_json::to_string(&written).unwrap_or_default();
        format!("{BEGINNING}{}{MIDDLE}{json}", said(&self.fate))
    }

    /// Whether it is that of the table with this oid.
    pub fn is_of(&self, oid: u32) -> bool {
        self.leaf.is_none_or(|leaf| leaf == oid)
    }

    /// What is said of a table that lives on, so that it remembers where it belongs; with the comment it had before.
    pub fn memory(&self) -> String {
        let was = format!("Was a partition of {} {}", self.table.plain(), self.bound);
        match &self.comment {
            Some(comment) => format!("{comment}\n\n{was}"),
            None => was,
        }
    }
}

/// Reads a comment; nothing if it is anybody else's.
pub fn parse(comment: &str) -> Option<Mark> {
    let (said_to_be, json) = comment.strip_prefix(BEGINNING)?.split_once(MIDDLE)?;
    let written: Written = serde_json::from_str(json).ok()?;
    let fate = match written.to {
        Some(to) => Fate::Archive(Ident::new(to).ok()?),
        None if said_to_be == said(&Fate::Drop) => Fate::Drop,
        None => Fate::Detach,
    };
    (said(&fate) == said_to_be).then_some(())?;
    let table = TableName::new(written.schema, written.table).ok()?;
    Some(Mark {
        fate,
        parent: written.parent,
        leaf: written.leaf,
        table,
        bound: written.bound,
        begun: written.begun,
        comment: written.comment,
    })
}

/// The comment of a partition's owner, out of the comment there is now: a mark that a dead daemon left holds it.
pub fn original(comment: Option<&str>) -> Option<String> {
    match comment.map(|comment| (comment, parse(comment))) {
        Some((_, Some(mark))) => mark.comment,
        Some((comment, None)) => Some(comment.into()),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mark(fate: Fate, comment: Option<&str>) -> Mark {
        Mark {
            fate,
            parent: 16_384,
            leaf: Some(16_390),
            table: "public.events".parse().unwrap(),
            bound: "FOR VALUES IN ('2025-01')".into(),
            begun: false,
            comment: comment.map(Into::into),
        }
    }

    #[test]
    fn a_mark_is_words_that_a_person_understands() {
        assert_eq!(
            mark(Fate::Drop, Some("it's mine")).text(),
            "pgtend: to be dropped by retention: {\"parent\":16384,\"leaf\":16390,\"schema\":\"public\",\"table\":\"events\",\
             \"bound\":\"FOR VALUES IN ('2025-01')\",\"comment\":\"it's mine\"}"
        );
        let begun = Mark { begun: true, ..mark(Fate::Drop, None) };
        assert!(begun.text().ends_with("'2025-01')\",\"begun\":true}"), "{}", begun.text());
        assert_eq!(mark(Fate::Detach, None).memory(), "Was a partition of public.events FOR VALUES IN ('2025-01')");
        assert!(mark(Fate::Detach, Some("mine")).memory().starts_with("mine\n\nWas a partition"));
    }

    #[test]
    fn comments_of_others_are_no_marks() {
        let whole = mark(Fate::Drop, None).text();
        for comment in [
            "",
            "events of January",
            "pgtend: to be dropped by retention: ",
            "pgtend: to be dropped by retention: {}",
            &whole.replace("dropped", "kept"),
            &whole.replace("dropped", "moved to a schema"),
            &whole.replace("16384", "-1"),
            &whole.replace("16384", "4294967296"),
            &whole.replace("\"events\"", "\"\""),
            &whole.replace("\"table\"", "\"tables\""),
            &format!(" {whole}"),
            &format!("{whole} kept"),
        ] {
            assert_eq!(parse(comment), None, "{comment}");
            assert_eq!(original(Some(comment)).as_deref(), Some(comment));
        }
        assert_eq!(original(None), None);
        assert_eq!(original(Some(&mark(Fate::Drop, Some("mine")).text())).as_deref(), Some("mine"));
        assert_eq!(original(Some(&whole)), None);
    }

    proptest! {
        #[test]
        fn what_is_marked_is_read_back(
            parent: u32,
            names in "[^\0]{1,15}",
            to in prop::option::of("[^\0]{1,15}"),
            bound in ".*",
            comment in prop::option::of(".*"),
            dropped: bool,
            begun: bool,
        ) {
            let fate = match to {
                Some(to) => Fate::Archive(Ident::new(to).unwrap()),
                None if dropped => Fate::Drop,
                None => Fate::Detach,
            };
            let table = TableName::new(names.clone(), names).unwrap();
            let mark = Mark { fate, parent, leaf: dropped.then_some(parent / 2), table, bound, begun, comment };
            prop_assert_eq!(parse(&mark.text()), Some(mark));
        }

        #[test]
        fn no_comment_makes_it_panic(comment in ".*") {
            let _ = parse(&comment);
            let _ = parse(&format!("{BEGINNING}dropped{MIDDLE}{comment}"));
        }
    }
}
