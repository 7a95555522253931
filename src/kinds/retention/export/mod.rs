//! `export`: a partition is written to a store, and read back, before it goes.
//!
//! | step | where |
//! |---|---|
//! | what a row counts for, whatever the order of the rows | `content` |
//! | the rows, as COPY writes them | `copy` |
//! | the statement that makes a table for them | `definition` |
//! | what an export says of itself, and where it lies | `manifest` |
//! | rows -> store, manifest, read back | `write` |
//! | exports of earlier runs | `find` |
//! | store -> table | `load` |
//!
//! An export is written while the partition is still attached, so that a failure leaves everything as it was. It is held
//! against the table once more under the lock under which that is dropped: what was changed in between is exported again.

mod content;
mod copy;
mod definition;
pub mod find;
pub mod load;
pub mod manifest;
mod write;

use std::sync::Arc;

use anyhow::{Result, bail};

pub use self::content::Content;
use self::manifest::Export;
use super::partitions::at_work;
use super::partitions::facts::{Became, Going};
use crate::kinds::{Applied, Context, StopReason};
use crate::pg::ddl::{self, Ddl};
use crate::pg::{Session, explain};
use crate::testpoint;

/// What is in a store, read back: the table goes only if it holds just this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The folder of the export.
    pub place: String,
    pub content: Content,
}

/// How an export went, where it did not fail.
#[derive(Debug)]
pub enum Exported {
    Good(Proof),
    Stopped(StopReason),
}

/// The table is no longer what was exported.
#[derive(Debug, thiserror::Error)]
#[error("its rows were changed after they were exported")]
pub struct Changed;

/// The action of the plan: exports a partition that is attached.
///
/// # Errors
/// It is not in the store: then the partition stays.
pub async fn apply(cx: &Context, going: &Going) -> Result<Applied> {
    testpoint::reach("retention.export").await;
    let session = cx.session().await?;
    let outcome = exported(cx, &session, going).await;
    match &outcome {
        // It may be in the middle of what was to be read.
        Ok(Exported::Stopped(_)) => drop(session),
        _ => session.close().await,
    }
    match outcome {
        Ok(Exported::Good(proof)) => {
            going.ledger.prove(going.oid, proof);
            Ok(Applied::Done)
        }
        Ok(Exported::Stopped(reason)) => Ok(Applied::Stopped(reason)),
        Err(error) if ddl::is_locked(&error) => Ok(Applied::Locked(explain(&error))),
        Err(error) => {
            going.ledger.note(going.oid, Became::Failed);
            Err(error)
        }
    }
}

/// An export of just what the table holds now: one that an earlier run left, or a new one. A session whose work was stopped
/// is of no use any more.
///
/// # Errors
/// There is none.
pub async fn exported(cx: &Context, session: &Session, going: &Going) -> Result<Exported> {
    at_work::the_same(session, going).await?;
    at_work::not_held(session, going, cx.now).await?;
    let Some(name) = &going.export else { bail!("the policy names no store") };
    let Some(store) = cx.stores.get(name) else { bail!("no store {name:?} in the config") };
    let store = Arc::clone(store);
    let server = crate::kinds::backup::survey::server(session).await?;
    if let Some((place, export)) = find::newest(&store, cx.job.as_str(), &server, going).await? {
        // A dead daemon's, most likely. It is as good as a new one if the table is still that.
        let read = copy::digest(cx, session, going, &export.columns).await?;
        match read {
            Err(reason) => return Ok(Exported::Stopped(reason)),
            Ok(content) if content == export.content => {
                tracing::info!(partition = %going.leaf, "an export of an earlier run has all its rows: {place}");
                return Ok(Exported::Good(Proof { place, content }));
            }
            Ok(_) => {}
        }
    }
    write::write(cx, session, going, &store, &server).await
}

/// Under the lock under which it is dropped: whether the table holds just what was exported.
///
/// # Errors
/// It does not ([`Changed`]), or it cannot be read.
pub async fn compare(ddl: &Ddl<'_>, going: &Going, proof: &Proof) -> Result<()> {
    let columns = copy::columns(ddl.own().await?, going.oid).await?;
    let content = copy::content(ddl, going, &columns).await?;
    if content == proof.content { Ok(()) } else { Err(Changed.into()) }
}

/// What the report says of an export.
fn report(cx: &Context, going: &Going, place: &str, export: &Export) {
    let mut report = cx.report.lock();
    let field = report.fields.entry("exports").or_insert_with(|| serde_json::json!([]));
    if let Some(exports) = field.as_array_mut() {
        exports.push(serde_json::json!({
            "partition": going.leaf.plain(), "place": place, "rows": export.content.rows, "bytes": export.size(),
        }));
    }
}
