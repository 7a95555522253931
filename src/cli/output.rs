//! Results on stdout: tables for people, a JSON object a line for programs.

use std::io::Write as _;

use chrono::{DateTime, Utc};
use comfy_table::{Table, presets};
use serde::Serialize;

/// A line on stdout. A reader that has gone away is no error of ours.
pub fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A text of many lines, as it is.
pub fn text(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// One JSON object, on a line of its own.
pub fn json(value: &impl Serialize) {
    line(&serde_json::to_string(value).unwrap_or_default());
}

/// A table as wide as it needs to be: lines that were folded could neither be searched nor copied.
pub fn table(header: &[&str], rows: Vec<Vec<String>>) {
    line(&drawn(header, rows));
}

/// The same, with what there is to say of a row below it.
pub fn table_with(header: &[&str], rows: Vec<Vec<String>>, below: &[Option<String>]) {
    let drawn = drawn(header, rows);
    // A cell is one line, so that there is one for each row.
    let mut lines = drawn.lines();
    lines.next().into_iter().for_each(line);
    for (row, below) in lines.zip(below) {
        line(row);
        below.iter().flat_map(|text| text.lines()).for_each(|text| line(&format!("    {text}")));
    }
}

fn drawn(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// A time for people, in UTC.
pub fn stamp(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(|| "-".into(), |at| at.format("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// The first line of a text, cut where a table would be spoilt by more.
pub fn brief(text: &str) -> String {
    const MOST: usize = 160;
    let first = text.lines().next().unwrap_or_default();
    if first.chars().count() <= MOST { first.into() } else { first.chars().take(MOST - 1).chain(['…']).collect() }
}

/// `1 job`, `2 jobs`.
pub fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
