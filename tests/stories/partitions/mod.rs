//! The kind `partitions`: what is made, how, and beside whom.

pub mod beside;
mod default_rows;
mod inheritance;
mod odd_keys;
mod paths;
mod published;
mod run;
mod session;

use std::sync::Arc;
use std::time::Duration;

use pgtend::kinds::partitions::create::create;
use pgtend::kinds::partitions::facts::{Create, DefaultRows, DefaultWork, NewBound, TableFacts};
use pgtend::kinds::partitions::survey::survey;
use pgtend::kinds::{Applied, Context, Reporter, Stop};
use pgtend::pg::{Access, Conninfo, Database as Tended, Sessions, TableName, explain};
use pgtend::run::JobName;
use tokio::time::Instant;

use crate::support::Database;

/// What one run of a job may use, without the job.
pub fn context(db: &Database) -> Context {
    context_as(db, "postgres")
}

pub fn context_as(db: &Database, role: &str) -> Context {
    let conninfo = Conninfo::parse(&db.url_as(role), None).unwrap();
    let database = Arc::new(Tended::new("main", conninfo, 4).unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    let lock_timeout = Duration::from_millis(300);
    let (stopper, stop) = Stop::pair();
    // Nobody stops these runs; the other end going away is no reason to.
    drop(stopper);
    Context {
        job: JobName("partitions".into()),
        run: None,
        now: "2026-06-15T12:00:00Z".parse().unwrap(),
        timezone: chrono_tz::Tz::UTC,
        pg: Sessions::new(database, "partitions", Access::ReadWrite, lock_timeout, deadline),
        stop,
        report: Reporter::default(),
        deadline,
        lock_timeout,
        apart: None,
        timeout: std::time::Duration::from_secs(3600),
        kept: Arc::default(),
        stores: Arc::default(),
    }
}

pub async fn facts(cx: &Context, table: &str) -> TableFacts {
    let session = cx.session().await.unwrap();
    let found = survey(&session, &[table.parse::<TableName>().unwrap()]).await.unwrap();
    session.close().await;
    found.into_iter().next().unwrap().unwrap_or_else(|refusal| panic!("{refusal:?}"))
}

/// The partition `name` of `table`, from one midnight in UTC to another.
pub async fn partition(cx: &Context, table: &str, name: &str, from: &str, to: &str) -> Create {
    let facts = facts(cx, table).await;
    Create {
        parent: facts.table.clone(),
        parent_oid: facts.oid,
        owner: facts.owner.clone(),
        name: TableName::new(facts.table.schema.as_str(), name).unwrap(),
        bound: NewBound::Range {
            from: format!("{from} 00:00:00+00"),
            to: format!("{to} 00:00:00+00"),
            columns: facts.key.columns,
        },
        from: format!("{from}T00:00:00Z").parse().unwrap(),
        to: format!("{to}T00:00:00Z").parse().unwrap(),
        tablespace: None,
        default: facts.default.map(|default| DefaultWork {
            default,
            mode: DefaultRows::Move,
            max_rows: 100,
            immutable: facts.immutable.clone(),
        }),
        reason: "a story".into(),
    }
}

/// July 2026, in `TABLE_2026_07`.
pub async fn july(cx: &Context, table: &str) -> Create {
    let name = table.parse::<TableName>().unwrap().name;
    partition(cx, table, &format!("{}_2026_07", name.as_str()), "2026-07-01", "2026-08-01").await
}

/// Makes it.
pub async fn make(cx: &Context, partition: &Create) {
    insist(cx, partition).await;
}

/// Tries until it is made, and says why the tries before that one were in vain.
pub async fn insist(cx: &Context, partition: &Create) -> Vec<String> {
    let mut said = Vec::new();
    loop {
        match create(cx, partition).await.unwrap_or_else(|error| panic!("{}", explain(&error))) {
            Applied::Done => return said,
            Applied::Locked(by) => said.push(by),
            other @ (Applied::Partly(_) | Applied::NotYet(_) | Applied::Stopped(_)) => panic!("{other:?}"),
        }
    }
}

/// The error that is reported.
pub async fn refused(cx: &Context, partition: &Create) -> String {
    loop {
        match create(cx, partition).await {
            Ok(Applied::Locked(_)) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => return explain(&error),
        }
    }
}

/// A prefix for the roles and tablespaces of this story, which all stories of a server share.
pub fn prefix(db: &Database) -> String {
    format!("p{}", db.name().split('_').next().unwrap())
}
