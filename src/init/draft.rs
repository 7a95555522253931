//! A config that is proposed, with the words that say why: what `propose` makes and `print` writes. No behaviour but that of
//! putting things together.

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Draft {
    /// What stands at the top.
    pub words: Vec<Line>,
    pub parts: Vec<Part>,
}

/// Words, then tables of the config that belong together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Part {
    pub words: Vec<Line>,
    pub tables: Vec<Table>,
}

/// A line of a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Words, as many lines of them as they need.
    Words(String),
    /// A statement or a line of config: never folded.
    Code(String),
    /// Nothing: what follows is another matter.
    Blank,
}

/// `[jobs.sessions.expire]` and what stands under it.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub path: Vec<String>,
    /// Otherwise all of it is a comment.
    pub active: bool,
    pub entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub words: Vec<Line>,
    pub key: String,
    pub value: Value,
    pub active: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(String),
    Number(u32),
    Bool(bool),
    List(Vec<Value>),
    /// `{ key = value, … }`, on one line.
    Inline(Vec<(&'static str, Value)>),
    /// An array of one line each, each with words of its own.
    Rows(Vec<Row>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub words: Vec<Line>,
    pub value: Value,
    pub active: bool,
}

impl Line {
    pub fn words(text: impl Into<String>) -> Self {
        Self::Words(text.into())
    }

    pub fn code(text: impl Into<String>) -> Self {
        Self::Code(text.into())
    }
}

impl Value {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

impl Table {
    pub fn new(path: &[&str], active: bool) -> Self {
        Self { path: path.iter().map(|name| (*name).into()).collect(), active, entries: Vec::new() }
    }

    #[must_use]
    pub fn with(mut self, key: &str, value: Value) -> Self {
        let active = self.active;
        self.entries.push(Entry { words: Vec::new(), key: key.into(), value, active });
        self
    }

    #[must_use]
    pub fn without(mut self, key: &str, value: Value, words: Vec<Line>) -> Self {
        self.entries.push(Entry { words, key: key.into(), value, active: false });
        self
    }

    /// With the usual keys of a job.
    pub fn job(name: &str, schedule: &str, active: bool) -> Self {
        Self::new(&["jobs", name], active).with("schedule", Value::text(schedule))
    }

    /// The table named after the kind, of the job `name`, with one row a table or view: active if any of them is.
    pub fn rows(name: &str, kind: &str, key: &str, rows: Vec<Row>) -> Self {
        let active = rows.iter().any(|row| row.active);
        Self::new(&["jobs", name, kind], active).with(key, Value::Rows(rows))
    }
}
