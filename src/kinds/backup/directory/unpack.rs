//! A dump's folder again, from its tar while that comes. Nothing in it decides where a file goes, nor how much there may be.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::future;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::order::CONTENTS;
use crate::kinds::backup::read::Unfit;
use crate::kinds::backup::words::size;

const BLOCK: u64 = 512;
/// Two blocks of nothing end a tar.
const END: u64 = 2 * BLOCK;

/// Unpacks what comes into a folder that it makes, `most` bytes of it.
///
/// # Errors
/// It is no whole tar of a dump, an [`Unfit`]; or the disk takes no more.
pub async fn unpack(raw: &mut mpsc::Receiver<Bytes>, folder: PathBuf, most: u64) -> Result<()> {
    let (chunks, packed) = mpsc::channel(2);
    let unpacking = spawn_blocking(move || {
        DirBuilder::new().mode(0o700).create(&folder).with_context(|| format!("make {}", folder.display()))?;
        let mut left = most;
        walk(Chunks::new(packed), |name, length, data| {
            let more = || format!("it has more than the {} that it may", size(most));
            left = left.checked_sub(length).with_context(more)?;
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(name));
            let written = file.and_then(|mut file| io::copy(data, &mut file));
            written.with_context(|| format!("write {name} into {}", folder.display()))
        })
    });
    while let Some(chunk) = raw.recv().await {
        if chunks.send(chunk).await.is_err() {
            break;
        }
    }
    drop(chunks);
    unpacking.await.context("the unpacking was not finished")?
}

/// Hands all that comes to `using`, and looks beside it whether it is the whole tar of a dump. `pg_restore` does not: to it
/// a table ends where the archive does.
///
/// # Errors
/// Those of `using`; or it is no whole tar, an [`Unfit`].
pub async fn beside(
    raw: &mut mpsc::Receiver<Bytes>,
    using: impl AsyncFnOnce(&mut mpsc::Receiver<Bytes>) -> Result<()>,
) -> Result<()> {
    let (chunks, packed) = mpsc::channel(2);
    let (hand_on, mut handed) = mpsc::channel(2);
    let looking = spawn_blocking(move || walk(Chunks::new(packed), |_, _, data| Ok(io::copy(data, &mut io::sink())?)));
    let handing = async move {
        // Whoever of them has ended has said why.
        while let Some(chunk) = raw.recv().await {
            let _ = chunks.send(chunk.clone()).await;
            let _ = hand_on.send(chunk).await;
        }
    };
    let using = async move {
        let used = using(&mut handed).await;
        drop(handed);
        used
    };
    let (used, ()) = future::join(using, handing).await;
    used?;
    looking.await.context("it was not looked at to its end")?
}

/// Goes through a tar to its end; `each` is given the name, the length and the data of a file, and says how much there was.
fn walk(tar: Chunks, mut each: impl FnMut(&str, u64, &mut dyn Read) -> Result<u64>) -> Result<()> {
    let damage = |words: String| anyhow::Error::new(Unfit(words));
    let mut tar = tar::Archive::new(tar);
    let (mut whole, mut contents) = (END, false);
    for entry in tar.entries()? {
        let mut entry = entry.map_err(|error| damage(format!("it is no whole tar: {error}")))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !is_plain(&name) || !entry.header().entry_type().is_file() {
            return Err(damage(format!("it holds {name:?}, which is no file of a dump")));
        }
        let length = entry.size();
        let there = each(&name, length, &mut entry)?;
        if there != length {
            return Err(damage(format!("{name} in it has {there} bytes, and should have {length}")));
        }
        whole += BLOCK + length.next_multiple_of(BLOCK);
        contents |= name == CONTENTS;
    }
    let mut rest = tar.into_inner();
    io::copy(&mut rest, &mut io::sink())?;
    if rest.total < whole {
        return Err(damage(format!("it is cut off after {} bytes, behind a file", rest.total)));
    }
    if !contents {
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
    total: u64,
}

impl Chunks {
    fn new(packed: mpsc::Receiver<Bytes>) -> Self {
        Self { packed, chunk: Bytes::new(), total: 0 }
    }
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
        self.total += n as u64;
        into[..n].copy_from_slice(&self.chunk.split_to(n));
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

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

    fn chunks(tar: &[u8]) -> mpsc::Receiver<Bytes> {
        let (sender, raw) = mpsc::channel(100);
        for chunk in tar.chunks(700) {
            sender.try_send(Bytes::copy_from_slice(chunk)).unwrap();
        }
        raw
    }

    async fn unpacked(tar: &[u8], folder: &Path) -> Result<()> {
        unpack(&mut chunks(tar), folder.join("dump"), 1_000).await
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
        // In a header, in the data, behind them, and in the end.
        for cut in [0, 100, 600, 1_400, 1_536, whole.len() - 1] {
            assert!(is_damage(&refused(&whole[..cut]).await), "{cut}");
            let mut raw = chunks(&whole[..cut]);
            let seen = beside(&mut raw, async |raw| {
                while raw.recv().await.is_some() {}
                Ok(())
            });
            assert!(is_damage(&seen.await.unwrap_err()), "{cut}");
        }
        // Whoever has enough before the end.
        for _ in 0..3 {
            beside(&mut chunks(&whole), async |_| Ok(())).await.unwrap();
        }
        let twice = refused(&tar(&[("toc.dat", regular, b"1"), ("toc.dat", regular, b"2")])).await;
        assert!(format!("{twice:#}").contains("toc.dat"), "{twice:#}");
        assert!(is_damage(&refused(&tar(&[("7.dat", regular, b"1")])).await));
        let much = refused(&tar(&[("toc.dat", regular, &[7; 600]), ("7.dat", regular, &[7; 401])])).await;
        assert!(format!("{much:#}").contains("more than the 1.0 kB"), "{much:#}");
    }
}
