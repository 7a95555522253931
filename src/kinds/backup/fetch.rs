//! An object of a backup, unpacked, in a file: there whole and right, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::read::{Source, read};

/// Where a file is to be.
#[derive(Debug, Clone)]
pub struct Place {
    file: PathBuf,
    replace: bool,
}

impl Place {
    /// # Errors
    /// There is something, and it is not to be replaced, or is no file.
    pub fn new(file: &Path, replace: bool) -> Result<Self, String> {
        let shown = file.display();
        match fs::metadata(file) {
            Ok(meta) if !meta.is_file() => Err(format!("{shown} is there and is no plain file")),
            Ok(_) if !replace => Err(format!("{shown} is there already; --force replaces it")),
            // A link stays one: what it leads to is replaced.
            Ok(_) => match file.canonicalize() {
                Ok(file) => Ok(Self { file, replace }),
                Err(error) => Err(format!("{shown}: {error}")),
            },
            Err(_) if file.file_name().is_none() => Err(format!("{shown} is no name of a file")),
            Err(error) if error.kind() == ErrorKind::NotFound => match fs::symlink_metadata(file) {
                Ok(_) => Err(format!("{shown} is a symbolic link that leads nowhere")),
                Err(_) => Ok(Self { file: file.into(), replace }),
            },
            Err(error) => Err(format!("{shown}: {error}")),
        }
    }

    fn folder(&self) -> &Path {
        self.file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }
}

/// The file under another name, which goes when it does not come to be the file.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// # Errors
/// The object is not what was written, or the file cannot be.
pub async fn to_file(source: Source<'_>, place: &Place) -> Result<()> {
    let name = place.file.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = place.folder().join(format!(".{name}.pgtend-{}", std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished);
    let file = Arc::new(file.with_context(|| format!("make {}", unfinished.display()))?);
    let unfinished = Unfinished(unfinished);
    let target = place.file.display();
    let into = Arc::clone(&file);
    read(source, async |raw| {
        let into = Arc::clone(&into);
        pass_on(raw, move |bytes| (&*into).write_all(bytes)).await.with_context(|| format!("write {target}"))
    })
    .await?;
    let finishing = spawn_blocking({
        let place = place.clone();
        move || {
            file.sync_all()?;
            put(&unfinished.0, &place)
        }
    });
    finishing.await?.with_context(|| format!("write {target}"))
}

fn put(unfinished: &Path, place: &Place) -> io::Result<()> {
    if place.replace {
        fs::rename(unfinished, &place.file)?;
    } else {
        // A link fails where meanwhile there is something; not every file system has them.
        match fs::hard_link(unfinished, &place.file) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error),
            Err(_) => fs::rename(unfinished, &place.file)?,
        }
    }
    File::open(place.folder())?.sync_all()
}

/// # Errors
/// The object is not what was written, which is known at its end, or nobody reads what is written.
pub async fn to_stdout(source: Source<'_>) -> Result<()> {
    read(source, async |raw| {
        pass_on(raw, |bytes| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(bytes)?;
            stdout.flush()
        })
        .await
        .context("write to stdout")
    })
    .await
    .map(drop)
}

/// Chunk by chunk, on threads that may block.
async fn pass_on(
    raw: &mut mpsc::Receiver<Bytes>,
    write: impl Fn(&[u8]) -> io::Result<()> + Clone + Send + 'static,
) -> io::Result<()> {
    while let Some(chunk) = raw.recv().await {
        let write = write.clone();
        spawn_blocking(move || write(&chunk)).await.map_err(io::Error::other)??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_replaced_only_when_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a dump");
        assert!(Place::new(&file, false).is_ok());
        fs::write(&file, "x").unwrap();
        assert!(Place::new(&file, false).unwrap_err().contains("--force"));
        assert!(Place::new(&file, true).is_ok());
        for other in [folder.path(), Path::new("/dev/null"), Path::new("/")] {
            assert!(Place::new(other, true).unwrap_err().contains("no plain file"), "{}", other.display());
        }
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(Place::new(&link, false).is_err());
        assert_eq!(Place::new(&link, true).unwrap().file, file.canonicalize().unwrap());
        fs::remove_file(&file).unwrap();
        assert!(Place::new(&link, true).unwrap_err().contains("leads nowhere"));
    }

    #[test]
    fn somebody_elses_file_that_came_meanwhile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(&folder.path().join("dump"), false).unwrap();
        let unfinished = folder.path().join("unfinished");
        fs::write(&unfinished, "ours").unwrap();
        fs::write(&place.file, "theirs").unwrap();
        assert_eq!(put(&unfinished, &place).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&place.file).unwrap(), "theirs");
    }
}
