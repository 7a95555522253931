//! A backup that no rule keeps any more. The manifest goes first: from then on it does not exist, and what is left of it is
//! leavings, which the next run clears away.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::manifest::Verified;
use super::naming::{self, MANIFEST, RESTORED, VERIFIED};
use super::plan::Delete;
use super::shelf::small;
use crate::kinds::{Applied, Context};
use crate::store::{Deleted, Store};

/// # Errors
/// The store cannot be asked. What it refuses is told, and is no error.
pub async fn apply(cx: &Context, delete: &Delete) -> Result<Applied> {
    let store = cx.stores.get(&delete.store).with_context(|| format!("no store {:?}", delete.store))?;
    let jobs = naming::folder(cx.job.as_str());
    if !is_good(store, &jobs.join(&delete.after).join(VERIFIED), &delete.after).await? {
        // That is told already: this run made no good backup there.
        tracing::info!(job = %cx.job, store = delete.store, backup = delete.id, "kept: {} is not there in its place", delete.after);
        return Ok(Applied::Done);
    }
    let folder = jobs.join(&delete.id);
    let objects = delete.objects.iter().map(String::as_str);
    for name in [MANIFEST].into_iter().chain(objects).chain([VERIFIED, RESTORED]) {
        if let Deleted::Refused(why) = store.delete(&folder.join(name)).await? {
            return Ok(Applied::Partly(format!("{name} was not deleted: {why}")));
        }
    }
    let mut report = cx.report.lock();
    let deleted = report.fields.get("backups_deleted").and_then(Value::as_u64).unwrap_or_default();
    report.fields.insert("backups_deleted".into(), json!(deleted + 1));
    let targets = report.fields.get_mut("targets").and_then(Value::as_array_mut);
    for target in targets.into_iter().flatten().filter(|target| target["store"] == json!(delete.store)) {
        let left = target["backups"].as_u64().unwrap_or_default().saturating_sub(1);
        target["backups"] = json!(left);
    }
    Ok(Applied::Done)
}

async fn is_good(store: &Store, sidecar: &crate::store::Key, id: &str) -> Result<bool> {
    let Some(bytes) = small(store, sidecar).await? else { return Ok(false) };
    Ok(serde_json::from_slice::<Verified>(&bytes).is_ok_and(|verified| verified.good && verified.id == id))
}
