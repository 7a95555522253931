//! `pgtend backup fetch`: the dump of a backup, unpacked, in a file.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;

use super::places::{self, Guess, KeyArgs, Where};
use super::progress::{shown, unless_ended};
use crate::cli::{DONE, Usage, output};
use crate::config::Config;
use crate::kinds::backup::fetch::{self, Place};
use crate::kinds::backup::read::{Progress, try_key};
use crate::kinds::backup::{verify, words};

#[derive(Debug, Args)]
pub struct FetchArgs {
    /// Its id, as `pgtend backup list` has it, or `latest`
    #[arg(value_name = "BACKUP")]
    backup: String,
    /// Where it goes; `-` is stdout
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Roles and tablespaces instead of the dump
    #[arg(long)]
    globals: bool,
    /// Replace FILE if it is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    key: KeyArgs,
}

/// # Errors
/// There is no such backup, it is not what was written, or FILE cannot be written. Nothing is left of FILE then.
pub async fn fetch(config: &Config, args: &FetchArgs) -> Result<u8> {
    let to_stdout = args.file.as_os_str() == "-";
    // Seen before anything is asked for.
    let file = if to_stdout {
        if std::io::stdout().is_terminal() {
            return Err(Usage("a dump is nothing for a terminal: send stdout to a file or a program".into()).into());
        }
        None
    } else {
        Some(Place::new(&args.file, args.force).map_err(Usage)?)
    };
    let found = places::find(config, &args.place, &args.backup, Guess::Refused, &args.key).await?;
    let manifest = &found.kept.manifest;
    let (dump, compression) = verify::dump_of(manifest)?;
    let object = if args.globals { verify::globals_of(manifest, compression)? } else { dump };
    let progress = Arc::new(Progress::default());
    let source = found.source(object, compression, &progress);
    let said = format!("{} of {}: {}", manifest.id, found.place.said(), object.name);
    try_key(&source).await.with_context(|| said.clone())?;
    let title = format!("fetch {}", manifest.id);
    let written = match file {
        Some(file) => unless_ended(shown(&title, object.size, &progress, fetch::to_file(source, &file))).await,
        None => unless_ended(shown(&title, object.size, &progress, fetch::to_stdout(source)))
            .await
            .context("what was written to stdout is not what was stored, and must not be used"),
    };
    written.with_context(|| said.clone())?;
    if !to_stdout {
        output::line(&format!("{said}, as {}: {}", args.file.display(), words::size(object.raw_size)));
    }
    Ok(DONE)
}
