//! How a dump comes to `pg_restore`: as a stream, or, for several workers, unpacked in a spool.

use anyhow::Result;

use super::pour::needs_script;
use crate::kinds::backup::config::Format;
use crate::kinds::backup::directory::spool::Need;
use crate::kinds::backup::directory::unpack::unpack;
use crate::kinds::backup::directory::{Spool, Spooling};
use crate::kinds::backup::pg_dump::Tools;
use crate::kinds::backup::read::{Source, read};

pub enum Load<'a> {
    Stream(Source<'a>),
    /// What had been written, to its last byte, and for so many workers.
    Unpacked(Spool, u16),
}

/// Unpacks a dump of the directory format where there is a spool, and there are workers. `job` is whose folder it is.
///
/// # Errors
/// There is no room, the store cannot be read, or what it has is damaged. Nothing has been restored then.
pub async fn load<'a>(
    source: Source<'a>,
    format: Format,
    spooling: Option<&Spooling>,
    tools: &Tools,
    version: i32,
    job: &str,
) -> Result<Load<'a>> {
    let several = spooling.filter(|spooling| spooling.jobs > 1 && format == Format::Directory);
    // An older server gets a script, which is one stream.
    let Some(spooling) = several.filter(|_| !needs_script(tools, version)) else { return Ok(Load::Stream(source)) };
    let need = Need { bytes: source.object.raw_size, why: "it has as much unpacked" };
    let most = spooling.limit()?;
    let spool = Spool::make(spooling, job, Some(need)).await?;
    let folder = spool.dump();
    match read(source, async |raw| unpack(raw, folder, most).await).await {
        Ok(_) => Ok(Load::Unpacked(spool, spooling.jobs)),
        Err(error) => {
            spool.remove().await;
            Err(error)
        }
    }
}
