//! A dump's folder as one tar, while it is read: nothing of it is on the disk twice.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::task::{Poll, ready};

use anyhow::Result;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;

use crate::kinds::backup::pipeline::thread;

const CHUNK: usize = 256 << 10;
const BLOCK: u64 = 512;

/// The files of a dump, in their order, with the size of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    pub folder: PathBuf,
    pub files: Vec<(String, u64)>,
    /// Seconds since 1970, that each of them is said to be of.
    pub modified: u64,
}

impl Contents {
    /// How many bytes the tar will have.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|(_, size)| BLOCK + size.next_multiple_of(BLOCK)).sum::<u64>() + 2 * BLOCK
    }

    /// # Errors
    /// No thread can be started. A file that cannot be read, or is not of its size any more, is an error of the reader's.
    pub fn tar(self) -> Result<impl AsyncRead + Send + Unpin + use<>> {
        let (chunks, mut packed) = mpsc::channel::<io::Result<Bytes>>(4);
        thread("tar", move || {
            let written = self.write(Chunks(chunks.clone()));
            // An empty one is the end. Without it the tar was cut off, by a panic of this thread.
            let _ = chunks.blocking_send(written.map(|()| Bytes::new()));
        })?;
        let chunks = stream::poll_fn(move |cx| match ready!(packed.poll_recv(cx)) {
            Some(Ok(chunk)) if chunk.is_empty() => Poll::Ready(None),
            Some(chunk) => Poll::Ready(Some(chunk)),
            None => Poll::Ready(Some(Err(io::Error::other("the tar came to no end")))),
        });
        Ok(StreamReader::new(chunks.fuse()))
    }

    fn write(&self, into: impl Write) -> io::Result<()> {
        let mut tar = tar::Builder::new(BufWriter::with_capacity(CHUNK, into));
        for (name, size) in &self.files {
            let about = |error: io::Error| io::Error::new(error.kind(), format!("{name} of the dump: {error}"));
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Regular);
            header.set_path(name).map_err(about)?;
            header.set_mode(0o600);
            header.set_mtime(self.modified);
            header.set_size(*size);
            header.set_cksum();
            let file = File::open(self.folder.join(name)).map_err(about)?;
            let mut data = BufReader::with_capacity(CHUNK, file).take(*size);
            tar.append(&header, &mut data)?;
            if data.limit() > 0 {
                return Err(about(io::Error::other(format!("it is {} bytes shorter than it was", data.limit()))));
            }
        }
        tar.into_inner()?.flush()
    }
}

/// Where a tar goes, chunk by chunk.
struct Chunks(mpsc::Sender<io::Result<Bytes>>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The files in a folder and their sizes.
///
/// # Errors
/// It cannot be read, or holds what no dump has.
pub fn files_in(folder: &Path) -> io::Result<std::collections::BTreeMap<String, u64>> {
    let entries = fs::read_dir(folder)?.map(|entry| {
        let entry = entry?;
        let (name, meta) = (entry.file_name().to_string_lossy().into_owned(), entry.metadata()?);
        if meta.is_file() { Ok((name, meta.len())) } else { Err(io::Error::other(format!("{name} is no file"))) }
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn contents(folder: &Path, files: &[(&str, u64)]) -> Contents {
        let files = files.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect();
        Contents { folder: folder.into(), files, modified: 1_795_000_000 }
    }

    async fn packed(contents: Contents) -> io::Result<Vec<u8>> {
        let mut tar = Vec::new();
        contents.tar().unwrap().read_to_end(&mut tar).await.map(|_| tar)
    }

    #[tokio::test]
    async fn the_standard_tool_opens_it_and_it_is_the_same_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let sizes = [("toc.dat", 511), ("9.dat", 512), ("10.dat", 0), ("blob_16390.dat", 1_000_001)];
        for (name, size) in sizes {
            let bytes: Vec<u8> = (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect();
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let all = contents(folder.path(), &sizes);
        let tar = packed(all.clone()).await.unwrap();
        assert_eq!((tar.len() as u64, packed(all.clone()).await.unwrap() == tar), (all.size(), true));
        let (file, out) = (folder.path().join("tar"), tempfile::tempdir().unwrap());
        fs::write(&file, tar).unwrap();
        let listed = Command::new("tar").arg("-tf").arg(&file).output().unwrap();
        assert_eq!(String::from_utf8(listed.stdout).unwrap(), "toc.dat\n9.dat\n10.dat\nblob_16390.dat\n");
        assert!(Command::new("tar").arg("-xf").arg(&file).arg("-C").arg(out.path()).status().unwrap().success());
        for (name, _) in sizes {
            assert!(fs::read(out.path().join(name)).unwrap() == fs::read(folder.path().join(name)).unwrap(), "{name}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_gone_or_shorter_is_no_end_of_the_tar() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("toc.dat"), "12345").unwrap();
        let shorter = packed(contents(folder.path(), &[("toc.dat", 9)])).await.unwrap_err();
        assert!(shorter.to_string().contains("4 bytes shorter"), "{shorter}");
        let gone = packed(contents(folder.path(), &[("toc.dat", 5), ("7.dat", 5)])).await.unwrap_err();
        assert!(gone.to_string().contains("7.dat of the dump"), "{gone}");
    }

    #[test]
    fn more_than_eight_gibibytes_have_a_header_that_the_standard_tool_reads() {
        let size = 9 << 30;
        let folder = tempfile::tempdir().unwrap();
        // Nothing of it is on the disk.
        File::create(folder.path().join("5.dat")).unwrap().set_len(size).unwrap();
        let mut head = Head(Vec::new());
        contents(folder.path(), &[("5.dat", size)]).write(&mut head).unwrap_err();
        let tar = folder.path().join("tar");
        fs::write(&tar, &head.0).unwrap();
        let listed = Command::new("tar").arg("-tvf").arg(&tar).output().unwrap();
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(listed.contains(&format!(" {size} ")) && listed.contains(" 5.dat"), "{listed}");
    }

    /// Takes no more than the beginning.
    struct Head(Vec<u8>);

    impl Write for &mut Head {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.len() > 1 << 20 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
