//! A dump's folder again, from its tar while that comes. Nothing in it decides where a file goes, nor how much there may be.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::order::CONTENTS;
use crate::kinds::backup::read::Damage;
use crate::kinds::backup::words::size;

/// Unpacks what comes into a folder that it makes, `most` bytes of it.
///
/// # Errors
/// It is no tar of a dump, a [`Damage`]; or the disk takes no more.
pub async fn unpack(raw: &mut mpsc::Receiver<Bytes>, folder: PathBuf, most: u64) -> Result<()> {
    let (chunks, packed) = mpsc::channel(2);
    let unpacking = spawn_blocking(move || {
        DirBuilder::new().mode(0o700).create(&folder).with_context(|| format!("make {}", folder.display()))?;
        write(Chunks { packed, chunk: Bytes::new() }, &folder, most)
    });
    while let Some(chunk) = raw.recv().await {
        if chunks.send(chunk).await.is_err() {
            break;
        }
    }
    drop(chunks);
    unpacking.await.context("the unpacking was not finished")?
}

fn write(tar: impl Read, folder: &Path, most: u64) -> Result<()> {
    let damage = |words: String| anyhow::Error::new(Damage(words));
    let mut tar = tar::Archive::new(tar);
    let mut left = most;
    for entry in tar.entries()? {
        let mut entry = entry.map_err(|error| damage(format!("it is no whole tar: {error}")))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !is_plain(&name) || !entry.header().entry_type().is_file() {
            return Err(damage(format!("it holds {name:?}, which is no file of a dump")));
        }
        let length = entry.size();
        left = left.checked_sub(length).with_context(|| format!("it has more than the {} that it may", size(most)))?;
        let about = || format!("write {name} into {}", folder.display());
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(&name));
        let file =
            file.as_mut().map_err(|error| io::Error::new(error.kind(), error.to_string())).with_context(about)?;
        let written = io::copy(&mut entry, file).with_context(about)?;
        if written != length {
            return Err(damage(format!("{name} in it has {written} bytes, and should have {length}")));
        }
    }
    if !fs::exists(folder.join(CONTENTS))? {
        return Err(damage(format!("there is no {CONTENTS} in it")));
    }
    Ok(())
}

/// A name that leads nowhere else, as those of `pg_dump` are: `toc.dat`, `3422.dat`, `blob_16390.dat`.
fn is_plain(name: &str) -> bool {
    !name.starts_with('.')
        && (1..=99).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// The tar as it comes.
struct Chunks {
    packed: mpsc::Receiver<Bytes>,
    chunk: Bytes,
}

impl Read for Chunks {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.packed.blocking_recv() {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let n = into.len().min(self.chunk.len());
        into[..n].copy_from_slice(&self.chunk.split_to(n));
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::backup::read::is_damage;

    fn tar(files: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, kind, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            // As somebody writes it who means harm: `set_path` would refuse.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_mode(0o777);
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            tar.append(&header, *bytes).unwrap();
        }
        tar.into_inner().unwrap()
    }

    async fn unpacked(tar: &[u8], folder: &Path) -> Result<()> {
        let (sender, mut raw) = mpsc::channel(100);
        for chunk in tar.chunks(700) {
            sender.send(Bytes::copy_from_slice(chunk)).await.unwrap();
        }
        drop(sender);
        unpack(&mut raw, folder.join("dump"), 1_000).await
    }

    #[tokio::test]
    async fn a_dump_is_unpacked_and_closed_to_others() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let regular = tar::EntryType::Regular;
        unpacked(&tar(&[("toc.dat", regular, b"toc"), ("7.dat", regular, b"")]), folder.path()).await.unwrap();
        assert_eq!(fs::read(folder.path().join("dump/toc.dat")).unwrap(), b"toc");
        let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("dump"), mode("dump/7.dat")), (0o700, 0o600));
    }

    #[tokio::test]
    async fn no_name_leads_out_of_the_folder_and_nothing_but_files_is_made() {
        let (regular, link) = (tar::EntryType::Regular, tar::EntryType::Symlink);
        for (name, kind) in [
            ("../toc.dat", regular),
            ("/tmp/pgtend-unpacked", regular),
            ("a/b", regular),
            ("..", regular),
            (".hidden", regular),
            ("toc.dat", link),
            ("toc.dat", tar::EntryType::Directory),
            ("toc.dat", tar::EntryType::Fifo),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let error = unpacked(&tar(&[(name, kind, b"")]), folder.path()).await.unwrap_err();
            assert!(is_damage(&error) && format!("{error:#}").contains("no file of a dump"), "{name}: {error:#}");
            assert_eq!(fs::read_dir(folder.path().join("dump")).unwrap().count(), 0, "{name}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{name}");
        }
    }

    #[tokio::test]
    async fn what_is_cut_off_or_too_much_is_refused() {
        let regular = tar::EntryType::Regular;
        let refused = async |tar: &[u8]| {
            let folder = tempfile::tempdir().unwrap();
            unpacked(tar, folder.path()).await.unwrap_err()
        };
        let whole = tar(&[("toc.dat", regular, &[7; 900])]);
        for cut in [100, 600, 1_400] {
            assert!(is_damage(&refused(&whole[..cut]).await), "{cut}");
        }
        let twice = refused(&tar(&[("toc.dat", regular, b"1"), ("toc.dat", regular, b"2")])).await;
        assert!(format!("{twice:#}").contains("toc.dat"), "{twice:#}");
        assert!(is_damage(&refused(&tar(&[("7.dat", regular, b"1")])).await));
        let much = refused(&tar(&[("toc.dat", regular, &[7; 600]), ("7.dat", regular, &[7; 401])])).await;
        assert!(format!("{much:#}").contains("more than the 1.0 kB"), "{much:#}");
    }
}
