//! Materialized views: refreshed where nobody has to wait for it.

use super::schedulers::working_on;
use super::writable;
use crate::init::draft::{Line, Part, Row, Table as Toml, Value};
use crate::init::facts::Facts;
use crate::kinds::refresh::facts::{Index, View};
use crate::pg::Ident;

pub fn views(facts: &Facts) -> Option<Part> {
    let rows: Vec<Row> = facts.views.iter().filter(|view| writable(&view.name)).map(|view| row(view, facts)).collect();
    if rows.is_empty() {
        return None;
    }
    let words = vec![Line::words(
        "Materialized views, each after those it is made from, beside their readers. How old one may be is for its readers to say: \
         daily is a guess. Take out what is meant to stay as it was when it was made.",
    )];
    let kind = Toml::rows("views", "refresh", "views", rows);
    let job = Toml::job("views", "0 4 * * *", kind.active).with("jitter", Value::text("5m"));
    Some(Part { words, tables: vec![job, kind] })
}

/// What the role lacks for those that are switched on.
pub fn rights(facts: &Facts) -> Vec<Line> {
    let mut lines = Vec::new();
    for view in facts.views.iter().filter(|view| writable(&view.name) && why_not(view, facts).is_empty()) {
        if let Err(refusal) = &view.role
            && !lines.contains(&Line::code(&refusal.mend))
        {
            lines.push(Line::code(&refusal.mend));
        }
    }
    lines
}

fn row(view: &View, facts: &Facts) -> Row {
    let off = why_not(view, facts);
    let mut words = Vec::new();
    match &view.index {
        Index::Usable(index) if off.is_empty() => {
            words.push(Line::words(format!("{}: index {index} tells its rows apart.", view.name.plain())));
        }
        _ => words.push(Line::words(format!("{}:", view.name.plain()))),
    }
    for (why, statement) in &off {
        words.push(Line::words(format!("Off: {why}")));
        words.extend(statement.iter().map(Line::code));
    }
    Row { words, value: Value::text(view.name.plain()), active: off.is_empty() }
}

/// Why it is not switched on, each with the statement that mends it, if there is one.
fn why_not(view: &View, facts: &Facts) -> Vec<(String, Option<String>)> {
    let mut off = Vec::new();
    if let Index::Lacking(near) = &view.index {
        let near = near.as_ref().filter(|near| !near.columns.is_empty());
        let columns = near.map_or_else(
            || "the columns that tell its rows apart".into(),
            |near| near.columns.iter().map(Ident::to_string).collect::<Vec<_>>().join(", "),
        );
        let like = near.map_or_else(String::new, |near| {
            let what = if near.partial {
                "is not of all rows"
            } else if near.valid {
                "is not unique"
            } else {
                "is not valid"
            };
            format!(" Index {} {what}.", near.name)
        });
        off.push((
            format!("it has no unique index on plain columns, so that its readers would wait for each refresh, a minute at most.{like} If its rows are unique by these:"),
            Some(format!("CREATE UNIQUE INDEX ON {} ({columns});", view.name)),
        ));
    }
    if !view.populated {
        let statement = format!("REFRESH MATERIALIZED VIEW {};", view.name);
        off.push((
            "it has never been filled, perhaps on purpose; the first time it cannot be beside its readers:".into(),
            Some(statement),
        ));
    }
    for job in working_on(facts, &view.name) {
        off.push((format!("pg_cron works on it already, by its job {job}: unschedule that first."), None));
    }
    off
}
