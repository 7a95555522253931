//! `pgtend init`: a config proposed for a database, on stdout.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;

use super::{DONE, Usage, output};
use crate::init::{self, Way};
use crate::pg::Conninfo;

#[derive(Debug, Args)]
pub struct InitArgs {
    /// The database to look at [default: as psql without arguments, by PGHOST, PGPORT, PGDATABASE, PGUSER …]
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// A file with the password, for a URL that has none; as ever, PGPASSWORD, PGPASSFILE and ~/.pgpass serve too
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// # Errors
/// The URL cannot be understood, or the database cannot be looked at.
pub async fn init(args: &InitArgs) -> Result<u8> {
    let url = args.database_url.as_deref().unwrap_or_default();
    let conninfo = Conninfo::parse(url, args.password_file.as_deref())
        .map_err(|error| Usage(format!("--database-url: {error}")))?;
    let facts = init::look(&conninfo).await?;
    // The daemon may run elsewhere, but it will not run in this folder.
    let absolute = |path: &PathBuf| std::path::absolute(path).context("find the password file");
    let password_file = args.password_file.as_ref().map(absolute).transpose()?;
    let way = Way {
        url: conninfo.url(),
        password_file: password_file.map(|path| path.display().to_string()),
        password: conninfo.password_source(),
    };
    output::text(&init::print(&init::propose(&facts, &way)));
    Ok(DONE)
}
