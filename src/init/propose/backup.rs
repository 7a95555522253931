//! A backup, which needs a place that only somebody else can name.

use super::database_name;
use crate::init::draft::{Line, Part, Table as Toml, Value};
use crate::init::facts::Facts;

pub fn backup(facts: &Facts) -> Part {
    let bytes: i64 = facts.tables.iter().map(|table| table.bytes).sum();
    let size = if bytes < 1_000_000 {
        String::new()
    } else {
        format!(" Its tables have about {} MB, without indexes.", bytes / 1_000_000)
    };
    let words = vec![
        Line::words(format!(
            "A backup each night, read back from where it was written. Off, since nothing here says where it is to go: a bucket, \
             or a directory of another machine that is mounted here; on the disk of the server it is none. If somebody backs the \
             database up already, leave this out.{size}"
        )),
        Line::words(
            "Without `keep` nothing is ever deleted there. A backup that was never restored is a hope: kind restore_test proves \
             it. pg_dump of the server's major version or newer has to be on this host.",
        ),
    ];
    let store = Toml::new(&["stores", "offsite", "s3"], false)
        .with("bucket", Value::text("WHICH BUCKET"))
        .with("region", Value::text("WHICH REGION"))
        .with("prefix", Value::text(format!("{}/", database_name(&facts.server.database))));
    let job = Toml::job("backup", "0 1 * * *", false).with("jitter", Value::text("5m"));
    let to = Value::List(vec![Value::Inline(vec![("store", Value::text("offsite"))])]);
    let kind = Toml::new(&["jobs", "backup", "backup"], false).with("to", to);
    Part { words, tables: vec![store, job, kind] }
}
