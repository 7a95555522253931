//! `pgtend backup`: what is in the stores, and how it is had again. None of it needs the database that was dumped.

mod exports;
mod fetch;
mod list;
mod places;
mod progress;
mod restore;
mod verify;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::config::Config;

#[derive(Debug, Args)]
pub struct BackupArgs {
    #[command(subcommand)]
    command: BackupCommand,
}

#[derive(Debug, Subcommand)]
enum BackupCommand {
    /// Show the backups and the exported partitions in the stores, newest first
    #[command(
        after_help = "Example:\n  pgtend backup list nightly --json\n\nExit status: 1 when a store cannot be asked, or a manifest cannot be read"
    )]
    List(list::ListArgs),
    /// Write a backup's dump, unpacked, to a file
    #[command(
        after_help = "Examples:\n  pgtend backup fetch latest app.dump\n  pgtend backup fetch 2026-11-21T020000Z - --store offsite | pg_restore --list\n\n\
                      FILE is there only when all of it was right; it is written under another name before."
    )]
    Fetch(fetch::FetchArgs),
    /// Read a backup back to its end, and write down how it was
    #[command(after_help = "Example:\n  pgtend backup verify latest --store offsite\n\n\
                      Of an encrypted backup, without its key, only size and digest of what is stored are seen.\n\nExit status: 1 when it is damaged, or cannot be read")]
    Verify(verify::VerifyArgs),
    /// Put a backup into a database that is empty, or not there yet; or an exported partition into a table
    #[command(after_help = "Examples:\n  pgtend backup restore --into postgresql://admin@db.internal/app_again\n  \
                      pgtend backup restore 2026-11-21T020000Z --job nightly --roles --into postgresql://localhost/app --password-file pw\n\n\
                      It stops at the first error. A database that holds anything is left as it is.\n\n\
                      An exported partition is named as `pgtend backup list` has it, and goes into a new table of its old name:\n  \
                      pgtend backup restore public.events_2024_01/2026-11-21T020000Z --into postgresql://localhost/app")]
    Restore(restore::RestoreArgs),
}

impl BackupArgs {
    /// Whether it only says what there is.
    pub fn only_looks(&self) -> bool {
        matches!(self.command, BackupCommand::List(_))
    }
}

/// # Errors
/// What is asked for is not there, or cannot be had.
pub async fn backup(config: &Config, args: &BackupArgs) -> Result<u8> {
    match &args.command {
        BackupCommand::List(args) => list::list(config, args).await,
        BackupCommand::Fetch(args) => fetch::fetch(config, args).await,
        BackupCommand::Verify(args) => verify::verify(config, args).await,
        BackupCommand::Restore(args) => restore::restore(config, args).await,
    }
}
