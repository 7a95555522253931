//! Tree -> types, by serde, finding every mistake instead of the first.
//!
//! The reader of a piece gives up at its first mistake. So the mistake is put down, the spot is cut out of the tree,
//! and the piece is read again, until nothing is left to complain about.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use super::definition::Source;
use super::errors::Problems;
use super::fault::{Fault, What};
use super::tree::{Entry, Node, Text, Value};
use crate::near;

/// What reading a piece came to.
pub struct Read<T> {
    /// `None` when the mistakes left nothing to read.
    pub value: Option<T>,
    /// Keys of the piece that were cut out, and those that cut-out ones were probably meant to be: what is missing of
    /// them has been said.
    pub lost: HashSet<String>,
    /// Unknown keys that were probably meant to be kinds.
    pub unknown_kinds: usize,
    /// Nothing was wrong, anywhere in it.
    pub clean: bool,
    /// The tables and arrays that something was cut out of, by their places.
    pub cut: Vec<Range<usize>>,
}

/// Reads `node`, which `key` leads to. `kinds` are known in it besides the keys that its type knows.
pub fn read<T>(
    mut node: Node,
    key: &str,
    kinds: &[&'static str],
    source: &Arc<Source>,
    problems: &mut Problems,
    parse: impl Fn(&Node) -> Result<T, Fault>,
) -> Read<T> {
    let mut cuts = Cuts::default();
    let (mut clean, mut unknown_kinds) = (true, 0);
    let value = loop {
        let mut fault = match parse(&node) {
            Ok(value) => break Some(value),
            Err(fault) => fault,
        };
        clean = false;
        fault.path.reverse();
        let (spot, entry) = node.follow(&fault.path);
        let kinds = if fault.path.len() == 1 { kinds } else { &[] };
        if !cuts.explain(&fault, spot) {
            let place = entry.filter(|_| fault.at_key).map_or(&spot.span, |entry| &entry.key_span);
            let name = entry.map_or(key, |entry| entry.key.as_str());
            problems.at(source, place, fault.message(spot, name, kinds));
        }
        if let What::Missing(first) = fault.what {
            let others = others_missing(&node, &fault.path, first, &parse).into_iter();
            for other in others.map(|other| Fault::new(What::Missing(other))) {
                if !cuts.explain(&other, spot) {
                    problems.at(source, &spot.span, other.message(spot, key, &[]));
                }
            }
        }
        let was_table = spot.is_table();
        let Some((within, key)) = node.remove(&fault.path) else { break None };
        if let (What::UnknownKey { known, .. }, Some(key)) = (&fault.what, &key) {
            match near::nearest(key, known.iter().chain(kinds).copied()) {
                Some(meant) if !kinds.contains(&meant) => cuts.add(within.clone(), Some(meant.into())),
                _ => unknown_kinds += usize::from(was_table),
            }
        }
        cuts.add(within, key);
    };
    let cut = cuts.0.iter().map(|(within, _)| within.clone()).collect();
    Read { value, lost: cuts.keys_of(&node.span), unknown_kinds, clean, cut }
}

/// Which keys are missing besides `first` in the table that `path` leads to. A reader tells of the first alone, so it is given
/// something in its place, of whichever sort it takes, and asked again.
fn others_missing<T>(
    node: &Node,
    path: &[usize],
    first: &'static str,
    parse: &impl Fn(&Node) -> Result<T, Fault>,
) -> Vec<&'static str> {
    let stand_ins = || {
        let text = |text: &str| Value::Text(Text { text: text.into(), variables: Vec::new() });
        [
            text("x"),
            text("1 day"),
            Value::Array(Vec::new()),
            Value::Whole(1),
            Value::Bool(true),
            Value::Table(Vec::new()),
        ]
    };
    let (mut node, mut found, mut key) = (node.clone(), Vec::new(), first);
    loop {
        let next = stand_ins().into_iter().find_map(|value| {
            let mut tried = node.clone();
            let Value::Table(entries) = &mut tried.follow_mut(path)?.value else { return None };
            entries.push(Entry { key: key.into(), key_span: 0..0, node: Node { span: 0..0, value } });
            let mut fault = parse(&tried).err()?;
            fault.path.reverse();
            match fault.what {
                What::Missing(next) if fault.path == path && next != key => Some((next, tried)),
                _ => None,
            }
        });
        let Some((next, tried)) = next.filter(|(next, _)| !found.contains(next)) else { return found };
        found.push(next);
        (node, key) = (tried, next);
    }
}

/// What has been cut out, by the place of the table or array it was in; in a table with its key, and with the key that
/// was probably meant.
#[derive(Default)]
struct Cuts(HashSet<(Range<usize>, Option<String>)>);

impl Cuts {
    fn add(&mut self, within: Range<usize>, key: Option<String>) {
        self.0.insert((within, key));
    }

    /// Whether a mistake is only there because of a cut.
    fn explain(&self, fault: &Fault, spot: &Node) -> bool {
        match &fault.what {
            What::Nothing => true,
            What::Missing(key) => self.0.contains(&(spot.span.clone(), Some((*key).into()))),
            // What is wrong with a whole may be that a part is gone.
            What::Expected(_) | What::Said(_) if !fault.at_key => self.0.iter().any(|(within, _)| *within == spot.span),
            _ => false,
        }
    }

    fn keys_of(self, table: &Range<usize>) -> HashSet<String> {
        self.0.into_iter().filter(|(within, _)| within == table).filter_map(|(_, key)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use toml::Spanned;

    use super::*;
    use crate::config::tree;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Kind {
        tables: Vec<Table>,
        #[serde(default)]
        mode: Mode,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Table {
        name: Spanned<String>,
        #[allow(dead_code, reason = "only its reading is tested")]
        column: Option<String>,
        #[serde(default)]
        rows: BTreeMap<Spanned<String>, u8>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        #[default]
        Auto,
        Fixed(u8),
        Within {
            #[allow(dead_code, reason = "only its reading is tested")]
            least: u8,
        },
    }

    fn kind(text: &str) -> (Option<Kind>, String) {
        let source = Arc::new(Source { path: "f".into(), text: text.into() });
        let mut problems = Problems::default();
        let env = |name: &str| (name == "SECRET").then(|| "s3cr-et".to_owned());
        let tree = tree::parse(&source, &env, &mut problems).unwrap();
        let read = read(tree, "kind", &[], &source, &mut problems, |node| Kind::deserialize(node));
        (read.value, problems.errors().err().map_or_else(String::new, |errors| errors.to_string()))
    }

    fn errors(text: &str) -> String {
        kind(text).1
    }

    #[test]
    fn every_key_that_is_missing_is_told() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code, reason = "only its reading is tested")]
        struct Needy {
            name: String,
            keep: crate::period::Period,
            rows: u8,
            note: Option<String>,
            list: Vec<Table>,
            mode: Mode,
        }
        let said = |text: &str| {
            let source = Arc::new(Source { path: "f".into(), text: text.into() });
            let mut problems = Problems::default();
            let tree = tree::parse(&source, &|_| None, &mut problems).unwrap();
            read(tree, "kind", &[], &source, &mut problems, |node| Needy::deserialize(node));
            problems.errors().unwrap_err().to_string()
        };
        let missing = |text: &str| -> Vec<String> {
            said(text).lines().map(|line| line.rsplit(':').next().unwrap().trim().to_owned()).collect()
        };
        let are = |keys: &[&str]| keys.iter().map(|key| format!("the key `{key}` is missing")).collect::<Vec<_>>();
        let sorted = |mut lines: Vec<String>| {
            lines.sort();
            lines
        };
        assert_eq!(sorted(missing("")), are(&["keep", "list", "mode", "name", "rows"]));
        assert_eq!(sorted(missing("keep = '1 day'\nlist = []")), are(&["mode", "name", "rows"]));
        // What was cut out is not missing.
        let said = said("rows = 300\nmode = 'auto'\nlist = []");
        assert!(said.contains("`rows`: expected") && !said.contains("`rows` is missing"), "{said}");
        assert!(said.contains("`name` is missing") && said.contains("`keep` is missing"), "{said}");
    }

    #[test]
    fn spanned_keys_and_values_know_their_bytes() {
        let text = "tables = [{ name = \"a\", rows = { big = 1 } }]\n[mode.within]\nleast = 3";
        let (kind, errors) = kind(text);
        assert_eq!(errors, "");
        let kind = kind.unwrap();
        assert!(matches!(kind.mode, Mode::Within { .. }));
        assert_eq!(&text[kind.tables[0].name.span()], "\"a\"");
        assert_eq!(&text[kind.tables[0].rows.keys().next().unwrap().span()], "big");
    }

    #[test]
    fn each_element_of_a_list_has_its_own_errors() {
        assert_eq!(
            errors("tables = [{ name = 1 }, { colum = \"x\" }, { name = \"c\", rows = { a = 300, b = -1 } }, 4]"),
            "f:1:20: `name`: expected a string, found 1\n\
             f:1:25: the key `name` is missing\n\
             f:1:27: unknown key `colum`; did you mean `column`?\n\
             f:1:69: `a`: expected a whole number from 0 to 255, found 300\n\
             f:1:78: `b`: expected a whole number from 0 to 255, found -1\n\
             f:1:86: `tables`: expected a table, found 4"
        );
    }

    #[test]
    fn what_is_missing_only_because_it_was_wrong_is_not_missing() {
        assert_eq!(errors("tables = [{ nane = \"a\" }]"), "f:1:13: unknown key `nane`; did you mean `name`?");
        assert_eq!(errors("tables = 5"), "f:1:10: `tables`: expected an array, found 5");
        assert_eq!(errors("mode = \"auto\""), "f:1:1: the key `tables` is missing");
    }

    #[test]
    fn choices_are_read_and_what_was_probably_meant_is_said() {
        assert!(matches!(kind("tables = []\nmode = { fixed = 3 }").0.unwrap().mode, Mode::Fixed(3)));
        assert_eq!(errors("tables = []\nmode = \"outo\""), "f:2:8: `mode`: unknown \"outo\"; did you mean `auto`?");
        assert_eq!(errors("tables = []\nmode = 3"), "f:2:8: `mode`: expected one of auto, fixed, within, found 3");
        assert_eq!(
            errors("tables = []\nmode = { within = { least = \"x\" } }"),
            "f:2:29: `least`: expected a whole number from 0 to 255, found \"x\""
        );
        assert_eq!(
            errors("tables = []\nmode = \"${SECRET}\""),
            "f:2:8: `mode`: what ${SECRET} stands for is not known here; known are auto, fixed, within"
        );
    }
}
