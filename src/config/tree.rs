//! A file as a tree in which every key and value knows its place, `${VAR}` filled in.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::definition::Source;
use super::errors::Problems;

/// Gives the value of an environment variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

#[derive(Clone)]
pub struct Node {
    pub span: Range<usize>,
    pub value: Value,
}

/// No `Debug`: a text may hold a secret.
#[derive(Clone)]
pub enum Value {
    Text(Text),
    Whole(i128),
    Float(f64),
    Bool(bool),
    /// A date or a time, which no key of the config takes.
    Date,
    Array(Vec<Node>),
    /// In the order of the file.
    Table(Vec<Entry>),
    /// Its mistake has been reported; whoever meets it stays silent.
    Faulty,
}

#[derive(Clone)]
pub struct Text {
    pub text: String,
    /// The variables whose values are in it. Then no message may show it.
    pub variables: Vec<String>,
}

#[derive(Clone)]
pub struct Entry {
    pub key: String,
    pub key_span: Range<usize>,
    pub node: Node,
}

/// Reads a file. `None` when its syntax leaves open what it says; that has been reported.
pub fn parse(source: &Source, env: Env, problems: &mut Problems) -> Option<Node> {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    let mut understood = true;
    let mut last_line = 0;
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        if error.message() == "duplicate key" {
            // The parser keeps the first and goes on: everything else still means what it says.
            let key = source.text.get(span.clone()).unwrap_or_default();
            problems.at(source, &span, format!("`{key}` is given twice; keep one"));
            continue;
        }
        understood = false;
        // One slip can make several complaints about its line; the first is the one to read.
        let line = source.line(span.start);
        if line != last_line {
            problems.at(source, &span, format!("not valid TOML: {}", error.message()));
        }
        last_line = line;
    }
    problems.unread |= !understood;
    let mut builder = Builder { source, env, problems };
    understood.then(|| Node { span: 0..0, value: builder.table(table.into_inner()) })
}

struct Builder<'a> {
    source: &'a Source,
    env: Env<'a>,
    problems: &'a mut Problems,
}

impl Builder<'_> {
    fn table(&mut self, table: DeTable) -> Value {
        let mut entries: Vec<Entry> = table
            .into_iter()
            .map(|(key, value)| Entry {
                key_span: key.span(),
                key: key.into_inner().into_owned(),
                node: self.node(value),
            })
            .collect();
        entries.sort_by_key(|entry| entry.key_span.start);
        Value::Table(entries)
    }

    fn node(&mut self, value: Spanned<DeValue>) -> Node {
        let span = value.span();
        let value = match value.into_inner() {
            DeValue::String(text) => self.text(&text, &span),
            DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Whole(number),
                Err(_) => self.faulty(&span, "the number is too large".into()),
            },
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => Value::Float(number),
                Err(_) => self.faulty(&span, "the number cannot be read".into()),
            },
            DeValue::Boolean(value) => Value::Bool(value),
            DeValue::Datetime(_) => Value::Date,
            DeValue::Array(items) => Value::Array(items.into_iter().map(|item| self.node(item)).collect()),
            DeValue::Table(table) => self.table(table),
        };
        Node { span, value }
    }

    fn faulty(&mut self, span: &Range<usize>, message: String) -> Value {
        self.problems.at(self.source, span, message);
        Value::Faulty
    }

    /// Fills in `${VAR}`; `$${` stands for a literal `${`.
    fn text(&mut self, written: &str, span: &Range<usize>) -> Value {
        let mut text = String::with_capacity(written.len());
        let mut variables = Vec::new();
        let mut faulty = false;
        let mut rest = written;
        while let Some(at) = rest.find("${") {
            if let Some(before) = rest[..at].strip_suffix('$') {
                text.push_str(before);
                text.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            text.push_str(&rest[..at]);
            let from = &rest[at..];
            let Some(end) = from.find('}') else {
                self.faulty(&self.place("${", span), "`${` is not closed; a literal `${` is written `$${`".into());
                return Value::Faulty;
            };
            let (reference, name) = (&from[..=end], &from[2..end]);
            rest = &from[end + 1..];
            if !is_variable(name) {
                let place = self.place(reference, span);
                self.faulty(
                    &place,
                    format!(
                        "`{reference}` is not the name of an environment variable; a literal `${{` is written `$${{`"
                    ),
                );
                faulty = true;
            } else if let Some(value) = (self.env)(name) {
                text.push_str(&value);
                variables.push(name.to_owned());
            } else {
                let place = self.place(reference, span);
                self.faulty(
                    &place,
                    format!("the environment variable {name} is not set; a literal `${{` is written `$${{`"),
                );
                faulty = true;
            }
        }
        text.push_str(rest);
        if faulty { Value::Faulty } else { Value::Text(Text { text, variables }) }
    }

    /// The bytes of a part of a string: of the whole string where escapes hide the part.
    fn place(&self, part: &str, span: &Range<usize>) -> Range<usize> {
        let written = self.source.text.get(span.clone()).unwrap_or_default();
        written.find(part).map_or(span.clone(), |at| span.start + at..span.start + at + part.len())
    }
}

fn is_variable(name: &str) -> bool {
    name.bytes().enumerate().all(|(i, b)| b == b'_' || b.is_ascii_alphabetic() || (i > 0 && b.is_ascii_digit()))
        && !name.is_empty()
}

impl Node {
    /// A table that is not there.
    pub fn empty() -> Self {
        Self { span: 0..0, value: Value::Table(Vec::new()) }
    }

    /// The values of which variables are in here.
    pub fn variables(&self) -> Vec<&str> {
        match &self.value {
            Value::Text(text) => text.variables.iter().map(String::as_str).collect(),
            Value::Array(items) => items.iter().flat_map(Node::variables).collect(),
            Value::Table(entries) => entries.iter().flat_map(|entry| entry.node.variables()).collect(),
            _ => Vec::new(),
        }
    }

    /// Takes an entry out of a table.
    pub fn take(&mut self, key: &str) -> Option<Entry> {
        let Value::Table(entries) = &mut self.value else { return None };
        entries.iter().position(|entry| entry.key == key).map(|i| entries.remove(i))
    }

    pub fn is_table(&self) -> bool {
        matches!(self.value, Value::Table(_))
    }

    /// The entries, if it is a table.
    pub fn entries(self) -> Vec<Entry> {
        match self.value {
            Value::Table(entries) => entries,
            _ => Vec::new(),
        }
    }

    /// The node `path` leads to, and the last key on the way.
    pub fn follow(&self, path: &[usize]) -> (&Node, Option<&Entry>) {
        let mut found = (self, None);
        for step in path {
            found = match &found.0.value {
                Value::Table(entries) => (&entries[*step].node, Some(&entries[*step])),
                Value::Array(items) => (&items[*step], found.1),
                _ => return found,
            };
        }
        found
    }

    /// The node `path` leads to, to change it.
    pub fn follow_mut(&mut self, path: &[usize]) -> Option<&mut Node> {
        path.iter().try_fold(self, |node, step| match &mut node.value {
            Value::Table(entries) => entries.get_mut(*step).map(|entry| &mut entry.node),
            Value::Array(items) => items.get_mut(*step),
            _ => None,
        })
    }

    /// Removes what `path` leads to. Gives the place of the table or array it was in, and its key in a table; nothing
    /// where there is nothing to remove.
    pub fn remove(&mut self, path: &[usize]) -> Option<(Range<usize>, Option<String>)> {
        let (last, way) = path.split_last()?;
        let node = self.follow_mut(way)?;
        match &mut node.value {
            Value::Table(entries) => Some((node.span.clone(), Some(entries.remove(*last).key))),
            Value::Array(items) => {
                items.remove(*last);
                Some((node.span.clone(), None))
            }
            _ => None,
        }
    }
}
