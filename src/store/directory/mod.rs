//! A directory as a store.
//!
//! An object is written under a hidden name beside its own, brought to the disk, and renamed. Symbolic links are not
//! followed: what lies behind one is not ours to list, and less so to delete.

mod disk;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::{self, BoxStream, StreamExt};

use super::ledger::Ledger;
use super::{Deleted, Key, Located, Object, Parts};

/// `[stores.NAME.directory]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where it is. It is made when it is missing.
    pub path: PathBuf,
}

#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
}

/// An object on its way: a hidden file beside its place.
#[derive(Debug)]
pub struct Upload {
    place: PathBuf,
    /// The file as it is called meanwhile.
    hidden: PathBuf,
    file: Arc<File>,
    parts: Parts,
    taken: Mutex<Ledger<()>>,
}

/// How much is read at once.
const CHUNK: usize = 1 << 20;
/// Parts need not be large here; they are read and written whole, so not tiny either.
const PART: usize = 8 << 20;

impl Directory {
    pub fn new(settings: &Settings) -> Self {
        Self { root: settings.path.clone() }
    }

    pub fn place(&self) -> String {
        self.root.display().to_string()
    }

    pub fn parts(&self, _expected: u64) -> Parts {
        Parts { size: PART, most: u32::MAX }
    }

    pub fn is_there(&self) -> bool {
        self.root.is_dir()
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }

    /// # Errors
    /// A directory cannot be made, or the file.
    pub async fn begin(&self, key: &Key, parts: Parts) -> Result<Upload> {
        let (root, place) = (self.root.clone(), self.path(key));
        blocking(move || {
            disk::no_links(&root, &place)?;
            if place.is_dir() {
                bail!("write {}: it is a directory: there are objects under that name", place.display());
            }
            let (hidden, file) = disk::make_hidden(&place)?;
            Ok(Upload { place, hidden, file: Arc::new(file), parts, taken: Mutex::default() })
        })
        .await
    }

    /// # Errors
    /// It cannot be written; nothing of it is left then.
    pub async fn put(&self, key: &Key, bytes: Bytes) -> Result<()> {
        let size = bytes.len();
        let upload = self.begin(key, Parts { size: size.max(1), most: 1 }).await?;
        if size > 0 {
            upload.part(1, bytes).await?;
        }
        upload.complete(size as u64).await
    }

    /// # Errors
    /// There is no such file, or it cannot be read.
    pub async fn get(&self, key: &Key) -> Result<BoxStream<'static, Result<Bytes>>> {
        let (root, place) = (self.root.clone(), self.path(key));
        let (path, file, size) = blocking(move || {
            disk::no_links(&root, &place)?;
            let open = || -> io::Result<(File, u64)> {
                let file = File::open(&place)?;
                let meta = file.metadata()?;
                if meta.is_file() { Ok((file, meta.len())) } else { Err(io::ErrorKind::IsADirectory.into()) }
            };
            let (file, size) = open().with_context(|| format!("read {}", place.display()))?;
            Ok((Arc::new(place), Arc::new(file), size))
        })
        .await?;
        let chunks = stream::try_unfold(0_u64, move |offset| {
            let (path, file) = (Arc::clone(&path), Arc::clone(&file));
            async move {
                if offset == size {
                    return Ok(None);
                }
                let bytes = blocking(move || {
                    let mut bytes = vec![0; usize::try_from(size - offset).unwrap_or(CHUNK).min(CHUNK)];
                    file.read_exact_at(&mut bytes, offset)
                        .with_context(|| format!("read {}, at byte {offset} of {size}", path.display()))?;
                    Ok(Bytes::from(bytes))
                })
                .await?;
                let next = offset + bytes.len() as u64;
                Ok(Some((bytes, next)))
            }
        });
        Ok(chunks.boxed())
    }

    /// # Errors
    /// The directory cannot be read.
    pub async fn size(&self, key: &Key) -> Result<Option<u64>> {
        let (root, place) = (self.root.clone(), self.path(key));
        blocking(move || {
            disk::no_links(&root, &place)?;
            Ok(disk::look(&place)?.filter(|meta| meta.is_file()).map(|meta| meta.len()))
        })
        .await
    }

    /// # Errors
    /// A directory cannot be read.
    pub async fn list(&self, under: &Key) -> Result<Vec<Object>> {
        let (root, place) = (self.root.clone(), self.path(under));
        blocking(move || {
            let mut objects: Vec<_> = disk::walk(&root, &place)?
                .into_iter()
                .filter_map(|found| {
                    let key = Key::parse(found.path.strip_prefix(&root).ok()?.to_str()?)?;
                    Some(Object { key, size: found.meta.len() })
                })
                .collect();
            objects.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(objects)
        })
        .await
    }

    /// Directories that are empty after it are removed, up to the store's own.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn delete(&self, key: &Key) -> Result<Deleted> {
        let (root, place) = (self.root.clone(), self.path(key));
        blocking(move || {
            disk::no_links(&root, &place)?;
            if !disk::look(&place)?.is_some_and(|meta| meta.is_file()) {
                return Ok(Deleted::Absent);
            }
            let deleted = delete_file(&place)?;
            if deleted == Deleted::Gone {
                disk::remove_emptied(&root, &place)?;
            }
            Ok(deleted)
        })
        .await
    }

    /// The folders stay: somebody may be about to put another file there.
    ///
    /// # Errors
    /// The directory is not there, or something in it that is no file.
    pub async fn remove(&self, object: &Located) -> Result<Deleted> {
        let (root, place) = (self.root.clone(), self.root.join(object.as_str()));
        blocking(move || {
            if !root.is_dir() {
                bail!("there is no directory {}: is its file system mounted?", root.display());
            }
            disk::no_links(&root, &place)?;
            let deleted = match disk::look(&place)? {
                Some(meta) if meta.is_file() => delete_file(&place)?,
                Some(_) => bail!("{} is no file", place.display()),
                None => Deleted::Absent,
            };
            // Also of what is gone already: whoever removed it may have died before it was brought to the disk.
            if matches!(deleted, Deleted::Gone | Deleted::Absent) && place.parent().is_some_and(Path::is_dir) {
                disk::sync_folder(&place)?;
            }
            Ok(deleted)
        })
        .await
    }

    /// Removes hidden files in folders of such names, that nobody has written to since `before`.
    ///
    /// # Errors
    /// A directory cannot be read, or a file not be removed.
    pub async fn sweep(
        &self,
        under: &Key,
        before: DateTime<Utc>,
        of: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<usize> {
        let (root, place) = (self.root.clone(), self.path(under));
        blocking(move || {
            // What is on its way to `under` itself lies beside it, and does not say for whom: it is swept from above.
            let mut swept = 0;
            for found in disk::walk(&root, &place)?.into_iter().filter(|found| disk::is_hidden(&found.path)) {
                let folder = found.path.parent().and_then(Path::file_name);
                if !folder.is_some_and(|folder| of(&folder.to_string_lossy())) {
                    continue;
                }
                let path = found.path.display();
                let written = found.meta.modified().with_context(|| format!("look at {path}"))?;
                if DateTime::<Utc>::from(written) < before {
                    disk::remove(&found.path)
                        .with_context(|| format!("remove {path}, left by a run that was killed"))?;
                    disk::remove_emptied(&root, &found.path)?;
                    swept += 1;
                }
            }
            Ok(swept)
        })
        .await
    }
}

fn delete_file(place: &Path) -> Result<Deleted> {
    match std::fs::remove_file(place) {
        Ok(()) => Ok(Deleted::Gone),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Deleted::Absent),
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
            Ok(Deleted::Refused(format!("delete {}: {error}", place.display())))
        }
        Err(error) => Err(anyhow!(error).context(format!("delete {}", place.display()))),
    }
}

impl Upload {
    /// # Errors
    /// It cannot be written; nothing of the object is left then.
    pub async fn part(&self, number: u32, bytes: Bytes) -> Result<()> {
        self.taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(self.parts, number, bytes.len(), ())
            .with_context(|| format!("write {}", self.place.display()))?;
        let offset = u64::from(number - 1) * self.parts.size as u64;
        let (file, place, hidden) = (Arc::clone(&self.file), self.place.clone(), self.hidden.clone());
        blocking(move || {
            file.write_all_at(&bytes, offset).map_err(|error| {
                // What is half written will never be whole, and others need the room at once.
                let _ = disk::remove(&hidden);
                anyhow!(error).context(format!("write {}", place.display()))
            })
        })
        .await
    }

    /// # Errors
    /// A part is missing, or it cannot be brought to the disk. Nothing of it is left then.
    pub async fn complete(self, size: u64) -> Result<()> {
        blocking(move || {
            let finish = || {
                self.taken.lock().unwrap_or_else(PoisonError::into_inner).whole(size)?;
                self.file.sync_all()?;
                let written = self.file.metadata()?.len();
                if written != size {
                    bail!("the file has {written} bytes instead of {size}");
                }
                std::fs::rename(&self.hidden, &self.place)?;
                disk::sync_folder(&self.place)?;
                Ok(())
            };
            finish().map_err(|error: anyhow::Error| {
                let _ = disk::remove(&self.hidden);
                error.context(format!("write {}", self.place.display()))
            })
        })
        .await
    }

    /// # Errors
    /// The file cannot be removed.
    pub async fn abort(self, patience: Duration) -> Result<()> {
        let hidden = self.hidden.display().to_string();
        let removed =
            blocking(move || disk::remove(&self.hidden).with_context(|| format!("remove {}", self.hidden.display())));
        tokio::time::timeout(patience, removed).await.unwrap_or_else(|_| {
            Err(anyhow!("remove {hidden}: not done within {} s; a later run does it", patience.as_secs()))
        })
    }
}

/// Disks make one wait; the other runs of this daemon must not.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("the thread that reads and writes files")?
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
