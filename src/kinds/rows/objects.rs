//! Objects in a store that rows stand for: what is to be known of them before a row goes, and how they are deleted.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;
use tokio_postgres::types::Type;

use super::Wanted;
use super::plan::{Foreign, ObjectFacts, Refusal};
use crate::kinds::{Context, StopReason};
use crate::pg::batch::Removed;
use crate::pg::catalog::{Leaf, Relation};
use crate::pg::{Ident, Session};
use crate::store::{Deleted, Located, Store};
use crate::testpoint;

/// So long may one object take, with all tries.
const ONE: Duration = Duration::from_secs(5);
/// No object is begun with after this long: rows are locked meanwhile.
const ALL: Duration = Duration::from_secs(10);
const AT_ONCE: usize = 8;
/// So many in a row without an answer, and the others of the batch are left alone.
const SILENT: usize = 10;
/// How many addresses are looked at for a plan or a check.
pub(super) const LOOKED_AT: i64 = 1_000;

/// `objects = { … }` of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectsOf {
    /// The column with the address of a row's object.
    pub column: Ident,
    /// The store that it is in, by name.
    pub store: String,
}

impl ObjectsOf {
    /// # Errors
    /// There is no such store, which the config does not allow.
    pub fn find<'a>(&self, cx: &'a Context) -> Result<&'a Arc<Store>> {
        cx.stores.get(&self.store).with_context(|| format!("there is no store {}", self.store))
    }
}

/// Whether the column is one that addresses can be read from, by one who may.
///
/// # Errors
/// The server cannot be asked.
pub async fn readable(session: &Session, wanted: &Wanted, root: &Relation) -> Result<Result<(), Refusal>> {
    let Some(ObjectsOf { column, .. }) = &wanted.objects else { return Ok(Ok(())) };
    let refused = |why: String, mend: String| Ok(Err(Refusal { why, mend }));
    let table = wanted.table.plain();
    if !root.columns.contains(column) {
        let mend = super::survey::nearest(root, column)
            .map_or_else(String::new, |near| format!("name it with objects.column; the nearest is {near}"));
        return refused(format!("{table} has no column {column}"), mend);
    }
    let sql_type = session.prepare(&format!("SELECT {column} FROM {}", wanted.table)).await?;
    let sql_type = sql_type.columns()[0].type_().clone();
    if ![Type::TEXT, Type::VARCHAR].contains(&sql_type) {
        let why = format!("column {column} of {table}, which is to hold addresses, is of type {sql_type}");
        return refused(why, "name one of type text or varchar".into());
    }
    // The whole table is asked, whatever partitions there are, who else has an address.
    let may = session.query_one("SELECT pg_catalog.has_table_privilege($1::oid, 'SELECT')", &[&root.oid]).await?;
    if !may.get::<_, bool>(0) {
        return refused(
            format!("role {} may not read {table}, so that it cannot see which objects other rows have", root.role),
            format!("GRANT SELECT ON {} TO {};", wanted.table, root.role),
        );
    }
    Ok(Ok(()))
}

/// Whether an index finds the rows of a leaf by an address.
///
/// # Errors
/// The catalog cannot be read.
pub async fn is_indexed(session: &Session, leaf: &Leaf, column: &Ident) -> Result<bool> {
    let row = session
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_index i
                            JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                            WHERE i.indrelid = $1::oid AND a.attname = $2 AND i.indisvalid AND i.indpred IS NULL)",
            &[&leaf.oid, &column.as_str()],
        )
        .await
        .context("look up the indexes on the column of objects")?;
    Ok(row.get(0))
}

/// The object at an address that is written as others would write it.
///
/// # Errors
/// It is none of the store, or other rows that have it could not be found by it; why, in words.
pub fn located(store: &Store, address: &str) -> Result<Located, String> {
    let object = store.locate(address)?;
    let usual = store.spelled(&object);
    if usual.iter().any(|usual| usual == address) {
        return Ok(object);
    }
    Err(format!(
        "it is not written as URLs usually are, so that rows which have the same object could be missed; write {:?}",
        usual.iter().find(|usual| usual.starts_with("http")).or(usual.first()).map_or("", String::as_str)
    ))
}

/// What addresses there are, as far as the store can tell without being asked.
pub fn sorted(store: &Store, indexed: bool, addresses: &[String]) -> ObjectFacts {
    let mut foreign: Option<Foreign> = None;
    for address in addresses {
        if let Err(why) = located(store, address) {
            let first = foreign.get_or_insert_with(|| Foreign { rows: 0, address: address.clone(), why });
            first.rows += 1;
        }
    }
    ObjectFacts { indexed, looked_at: addresses.len(), foreign }
}

/// Deletes objects, several at once, and gives up on those that a store is too slow for.
pub async fn remove(cx: &Context, store: &Store, objects: &[Located]) -> Vec<Removed> {
    let begun = Instant::now();
    let silent = std::sync::atomic::AtomicUsize::new(0);
    let one = async |object: &Located| {
        use std::sync::atomic::Ordering::Relaxed;
        if begun.elapsed() >= testpoint::patience(ALL) || silent.load(Relaxed) >= SILENT || must_stop(cx) {
            return Removed::Untried;
        }
        let patience = testpoint::patience(ONE);
        let removed = match tokio::time::timeout(patience, store.remove(object)).await {
            Ok(Ok(Deleted::Gone)) => Removed::Gone,
            Ok(Ok(Deleted::Absent)) => Removed::Absent,
            Ok(Ok(Deleted::Refused(words))) => Removed::Refused(format!("store {}: {words}", store.name)),
            Ok(Err(error)) => Removed::Silent(format!("{error:#}")),
            Err(_) => {
                Removed::Silent(format!("store {}: it did not answer within {} s", store.name, patience.as_secs_f32()))
            }
        };
        match removed {
            Removed::Silent(_) => silent.fetch_add(1, Relaxed),
            _ => silent.swap(0, Relaxed),
        };
        removed
    };
    stream::iter(objects).map(one).buffered(AT_ONCE).collect().await
}

/// A window that closes, or a stop, waits for the batch; that somebody else may work on the same rows does not.
fn must_stop(cx: &Context) -> bool {
    matches!(cx.stop.requested(), Some(StopReason::Shutdown | StopReason::TimedOut | StopReason::LockLost))
}
