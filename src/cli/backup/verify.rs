//! `pgtend backup verify`: reads a backup back, as the job did after it made it, and writes down how it was.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use super::places::{self, Found, Guess, KeyArgs, Where};
use super::progress::{shown, unless_ended};
use crate::cli::{DONE, FAILED, output};
use crate::clock::Clock;
use crate::config::Config;
use crate::kinds::backup::choose::LATEST;
use crate::kinds::backup::config::Format;
use crate::kinds::backup::read::Progress;
use crate::kinds::backup::{pg_dump, verify, words};
use crate::pg::explain;

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Its id, as `pgtend backup list` has it
    #[arg(value_name = "BACKUP", default_value = LATEST)]
    backup: String,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    key: KeyArgs,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// # Errors
/// There is no such backup, or what reads it is missing.
pub async fn verify(config: &Config, args: &VerifyArgs) -> Result<u8> {
    let found = places::find(config, &args.place, &args.backup, Guess::Told, &args.key).await?;
    let Found { place, store, kept, folder, lock } = found;
    let manifest = &kept.manifest;
    let tools = match manifest.format {
        // Neither is anything for pg_restore.
        Format::Plain => None,
        _ if lock.is_closed() => None,
        _ => Some(pg_dump::look_for_reader(&manifest.pg_dump_version, place.backup.pg_bin.as_deref()).await?),
    };
    let progress = Arc::new(Progress::default());
    let reading = verify::verify(&store, &folder, manifest, &lock, tools.as_ref(), &progress);
    // That somebody ended it says nothing of the backup.
    let read = unless_ended(async {
        Ok(shown(&format!("verify {}", manifest.id), manifest.size(), &progress, reading).await)
    });
    let read = read.await?;
    let at = Clock::default().host();
    let verdict = verify::verdict(&manifest.id, at, &read);
    let written = match &verdict {
        Some(verified) => verify::write_down(&store, &folder, verified).await,
        None => Ok(()),
    };
    let good = read.is_ok();
    if args.json {
        output::json(&json!({
            "id": manifest.id, "job": manifest.job, "store": place.store, "place": store.place(), "at": at,
            "good": verdict.as_ref().map(|verified| verified.good), "how": read.as_ref().ok(),
            "size": manifest.size(), "error": read.as_ref().err().map(explain),
        }));
    }
    match &read {
        Ok(how) if !args.json && lock.is_closed() => {
            output::line(&format!(
                "{} of {} is stored as it was written: {} read ({how}). Whether it can be opened only its key can tell: \
                 --identity FILE",
                manifest.id,
                place.said(),
                words::size(manifest.size())
            ));
        }
        Ok(how) if !args.json => {
            output::line(&format!(
                "{} of {} is good: {} read ({how})",
                manifest.id,
                place.said(),
                words::size(manifest.size())
            ));
        }
        Ok(_) => {}
        Err(error) if verdict.is_some() => {
            eprintln!("{} of {} is DAMAGED: {}", manifest.id, place.said(), explain(error));
        }
        Err(error) => {
            eprintln!(
                "{} of {} could not be read, so nothing is known of it: {}",
                manifest.id,
                place.said(),
                explain(error)
            );
        }
    }
    written.context("write down how it was, in verified.json")?;
    Ok(if good { DONE } else { FAILED })
}
