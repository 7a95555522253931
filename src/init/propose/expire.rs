//! Rows that say themselves when they end.
//!
//! Only sessions of people who are logged in are ever switched on, and only where everything speaks for it: the name, a NOT
//! NULL end that is an instant, something that looks like a token, nothing that refers to the row, hides it or is set off by its
//! going, and no column that might be worth keeping. Whatever else has an end may still be needed after it.

use super::names::{self, snake};
use super::schedulers::working_on;
use super::{WHICH_STORE, writable};
use crate::init::draft::{Line, Part, Row, Table as Toml, Value};
use crate::init::facts::{Column, Facts, Table};
use crate::pg::Ident;

/// The sessions, if there are any that can be relied on.
pub fn sessions(facts: &Facts) -> Option<Part> {
    let certain = certain(facts);
    if certain.is_empty() {
        return None;
    }
    let rows = certain.into_iter().map(|(table, column)| {
        let mut words = vec![Line::words(format!(
            "{}: {} is NOT NULL and an instant, nothing refers to the table, and no column of it says more than a session needs.",
            table.plain(),
            column.name.as_str()
        ))];
        words.extend(size(table, facts));
        if !table.indexed.contains(&column.name) {
            words.push(Line::words("No index begins with it, so that each run reads the whole table:"));
            words.push(Line::code(format!("CREATE INDEX CONCURRENTLY ON {} ({});", table.name, column.name)));
        }
        let pairs = vec![
            ("table", Value::text(table.plain())),
            ("column", Value::text(written(&column.name))),
            ("grace", Value::text("1 day")),
        ];
        Row { words, value: Value::Inline(pairs), active: true }
    });
    let kind = Toml::rows("sessions", "expire", "tables", rows.collect());
    let job =
        Toml::job("sessions", "@hourly", true).with("jitter", Value::text("5m")).with("timeout", Value::text("45m"));
    let words = vec![Line::words(
        "Sessions that have ended, a day after their end: an application refuses them by then, and what remains is a table that \
         grows, of tokens that are better gone. In small batches, each row looked at again under its lock, so that one that is \
         extended meanwhile lives. If something still looks at sessions that are over, take this job out.",
    )];
    Some(Part { words, tables: vec![job, kind] })
}

/// What the role lacks for it.
pub fn rights(facts: &Facts) -> Vec<Line> {
    let mut lines = Vec::new();
    let role = Ident::found(&facts.server.role).map_or_else(|_| "?".into(), |role| role.to_string());
    for (table, _) in certain(facts) {
        let (usage, on_table): (Vec<&String>, Vec<&String>) = table.lacking.iter().partition(|right| *right == "USAGE");
        if !usage.is_empty() {
            lines.push(Line::code(format!("GRANT USAGE ON SCHEMA {} TO {role};", table.name.schema)));
        }
        if !on_table.is_empty() {
            let rights: Vec<&str> = on_table.into_iter().map(String::as_str).collect();
            lines.push(Line::code(format!("GRANT {} ON {} TO {role};", rights.join(", "), table.name)));
        }
    }
    lines
}

fn certain(facts: &Facts) -> Vec<(&Table, &Column)> {
    let ends = facts.tables.iter().filter(|table| writable(&table.name)).flat_map(ends);
    ends.filter(|(table, column)| doubts(table, column, facts).is_empty()).collect()
}

/// Everything else that has an end.
pub fn others(facts: &Facts) -> Option<Part> {
    let mut rows = Vec::new();
    for (table, column) in facts.tables.iter().filter(|table| writable(&table.name)).flat_map(ends) {
        let doubts = doubts(table, column, facts);
        if !doubts.is_empty() {
            rows.push(doubtful(table, column, &doubts, facts));
        }
    }
    if rows.is_empty() {
        return None;
    }
    let words = vec![Line::words(
        "Rows that have an end by the name of a column. That their time is over does not say that nobody needs them any more, and \
         nothing in the catalog does: so each is off, with what speaks against it. `grace` keeps a row for a while after its end.",
    )];
    let job = Toml::job("expired", "@daily", false).with("timeout", Value::text("45m"));
    Some(Part { words, tables: vec![job, Toml::rows("expired", "expire", "tables", rows)] })
}

/// The columns that say when a row ends: a time, a number that counts one, or how long it lives.
fn ends(table: &Table) -> impl Iterator<Item = (&Table, &Column)> {
    let is_end = |column: &&Column| {
        let name = column.name.as_str();
        names::is_expiry(name) && (column.is_time() || column.is_whole())
            || names::is_revocation(name) && column.is_time()
            || names::is_ttl(name) && column.is_whole() && written_at(table).is_some()
    };
    table.columns.iter().filter(is_end).map(move |column| (table, column))
}

fn doubtful(table: &Table, column: &Column, doubts: &[String], facts: &Facts) -> Row {
    let mut words = vec![Line::words(format!("{}, {}: {}.", table.plain(), column.name.as_str(), doubts.join("; ")))];
    words.extend(size(table, facts));
    let mut pairs = vec![("table", Value::text(table.plain()))];
    pairs.push(if column.is_time() {
        ("column", Value::text(written(&column.name)))
    } else if names::is_ttl(column.name.as_str()) {
        let from = written_at(table).map_or_else(String::new, |column| column.name.to_string());
        ("expression", Value::text(format!("{from} + {} * interval '1 second'", column.name)))
    } else {
        ("expression", Value::text(format!("to_timestamp({})", column.name)))
    });
    pairs.push(("grace", Value::text(super::HOW_LONG)));
    if let Some(address) = table.columns.iter().find(|column| names::is_address(column.name.as_str())) {
        let objects = vec![("column", Value::text(written(&address.name))), ("store", Value::text(WHICH_STORE))];
        pairs.push(("objects", Value::Inline(objects)));
    }
    Row { words, value: Value::Inline(pairs), active: false }
}

/// Why the rows may still be needed after their end; none where everything speaks for their going.
fn doubts(table: &Table, column: &Column, facts: &Facts) -> Vec<String> {
    let mut doubts = Vec::new();
    if names::is_revocation(column.name.as_str()) {
        doubts.push(
            "what was done with it before may be asked, and a row that was revoked is the evidence: nobody has said that it may go"
                .into(),
        );
    }
    if !column.is_time() {
        doubts.push(if names::is_ttl(column.name.as_str()) {
            "it is a number, of seconds or of something else, and nothing says that a row is of no use after it".into()
        } else {
            "it is a number, of seconds or of milliseconds since 1970".into()
        });
    } else if column.type_name != "timestamp with time zone" {
        doubts.push(format!("it is a {}, and in which time zone nothing says", column.type_name));
    }
    if !column.not_null {
        doubts.push("it may be NULL, and such a row never ends".into());
    }
    let has = |is: &dyn Fn(&str) -> bool| {
        let names = table.columns.iter().map(|column| column.name.as_str()).filter(|name| is(&snake(name)));
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let mut about = |columns: Vec<String>, what: &str| {
        if !columns.is_empty() {
            doubts.push(format!("it has {}: {what}", columns.join(", ")));
        }
    };
    about(
        has(&|name| name.contains("refresh_token")),
        "a row that holds a refresh token is needed when the other one is over",
    );
    about(has(&|name| name.starts_with("valid_")), "what was valid when may be asked for later");
    about(
        has(&|name| {
            ["revoked", "deleted", "used", "uses", "accepted", "consumed"].iter().any(|word| name.starts_with(word))
                || name == "max_uses"
        }),
        "the row says what became of it, which may be asked for later",
    );
    about(
        has(&|name| names::is_address(name)),
        "the object outside the database would be left behind; `objects` takes it along",
    );
    about(has(&|name| names::is_foreign_id(name)), "what it names in another system would be left behind");
    let name = snake(table.name.name.as_str());
    if ["key", "keys", "credential", "credentials", "secret", "secrets", "certificate", "certificates"]
        .iter()
        .any(|word| name.split('_').any(|part| part == *word))
    {
        doubts.push("who did what with a key is asked after its end too".into());
    }
    doubts.extend(beside(table));
    if doubts.is_empty() && !is_session(table) {
        doubts.push("nothing says that a row is of no use after it".into());
    }
    if doubts.is_empty() {
        let unknown = unknown(table, column);
        if !unknown.is_empty() {
            doubts.push(format!("{} may be worth keeping", unknown.join(", ")));
        }
    }
    let jobs = working_on(facts, &table.name);
    doubts.extend(jobs.iter().map(|job| format!("pg_cron works on it already, by its job {job}")));
    doubts
}

/// What a DELETE would do besides, or would not see.
pub fn beside(table: &Table) -> Vec<String> {
    let mut found = Vec::new();
    for reference in &table.referenced_by {
        found.push(format!("rows of {} refer to it ({})", reference.table.plain(), reference.on_delete.sql()));
    }
    if table.row_security {
        found.push("row security hides rows of it from some roles".into());
    }
    if !table.triggers.is_empty() {
        found.push(format!("DELETE sets off {}", table.triggers.join(", ")));
    }
    if table.has_children {
        found.push("it has partitions or child tables".into());
    }
    found
}

/// By its name, and by something in it that a session is known by.
fn is_session(table: &Table) -> bool {
    const TOKENS: &[&str] =
        &["token", "token_hash", "token_digest", "session_token", "session_key", "session_id", "session_data", "sid"];
    let token = table.columns.iter().any(|column| TOKENS.contains(&snake(column.name.as_str()).as_str()));
    names::is_session(table.name.name.as_str()) && token
}

/// The columns of which it is not known that they say nothing but what a session needs.
fn unknown(table: &Table, end: &Column) -> Vec<String> {
    const KNOWN: &[&str] = &[
        "id",
        "uuid",
        "sid",
        "session_id",
        "key",
        "token",
        "token_hash",
        "token_digest",
        "session_token",
        "session_key",
        "session_data",
        "csrf_token",
        "data",
        "payload",
        "metadata",
        "user_id",
        "account_id",
        "ip",
        "ip_address",
        "remote_addr",
        "user_agent",
        "device",
        "device_id",
        "device_info",
        "device_name",
        "browser",
        "os",
        "platform",
        "created",
        "created_at",
        "updated_at",
        "last_activity",
        "last_activity_at",
        "last_used",
        "last_used_at",
        "last_seen",
        "last_seen_at",
        "last_accessed_at",
    ];
    let refers = |column: &Column| table.references.iter().any(|reference| reference.columns.contains(&column.name));
    let others = table.columns.iter().filter(|column| column.name != end.name && !refers(column));
    let unknown = others.filter(|column| !KNOWN.contains(&snake(column.name.as_str()).as_str()));
    unknown.map(|column| column.name.as_str().to_owned()).collect()
}

/// The column that says when a row was written.
pub fn written_at(table: &Table) -> Option<&Column> {
    let times = || {
        let column =
            |name: &&str| table.columns.iter().find(|column| snake(column.name.as_str()) == **name && column.is_time());
        names::TIMES.iter().filter_map(column)
    };
    times().find(|column| table.indexed.contains(&column.name)).or_else(|| times().next())
}

/// What the server has counted and estimated, where it has.
pub fn size(table: &Table, facts: &Facts) -> Option<Line> {
    let mut said = Vec::new();
    if let Some(rows) = table.rows.filter(|rows| *rows > 0.0) {
        said.push(format!("about {} rows, {}", thousands(rows), bytes(table.bytes)));
    }
    let counters = table.counters;
    if counters.inserted + counters.updated + counters.deleted > 0 {
        let since =
            facts.server.counted_since.map_or_else(String::new, |at| format!(" since {}", at.format("%Y-%m-%d")));
        said.push(format!(
            "{} inserted, {} updated, {} deleted{since}",
            thousands(counters.inserted as f64),
            thousands(counters.updated as f64),
            thousands(counters.deleted as f64)
        ));
    }
    (!said.is_empty()).then(|| Line::words(format!("By the server's statistics: {}.", said.join("; "))))
}

fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bytes(bytes: i64) -> String {
    let bytes = bytes as f64;
    match bytes {
        ..1e6 => format!("{:.0} kB", bytes / 1e3),
        ..1e9 => format!("{:.0} MB", bytes / 1e6),
        _ => format!("{:.1} GB", bytes / 1e9),
    }
}

/// A name as the config writes it.
pub fn written(name: &Ident) -> String {
    let simple = name
        .as_str()
        .chars()
        .enumerate()
        .all(|(at, c)| c == '_' || c.is_ascii_lowercase() || at > 0 && c.is_ascii_digit());
    if simple { name.as_str().into() } else { name.to_string() }
}
