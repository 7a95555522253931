//! A folder of one run's own in the spool: closed to others, held for as long as the run lives, gone with it. What a run
//! that was killed has left is told from one at work by the lock that dies with its owner.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::{Spooling, half_of, sweep};
use crate::kinds::backup::words;

/// How all of them begin.
pub const PREFIX: &str = "pgtend-spool-";
/// The file in each that its run has locked.
pub const OWNER: &str = ".pgtend-spool";
/// The folder in each for the dump.
const DUMP: &str = "dump";
/// So long it is not looked at how large it is; longer where looking takes long.
const BETWEEN: Duration = Duration::from_millis(500);

/// Dropping it removes it, with all that is in it.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    /// Locked; nobody takes the folder for a leaving as long as it is open.
    owner: Option<File>,
}

/// What a dump will take, and how that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    pub bytes: u64,
    /// `the last dump had as much`
    pub why: &'static str,
}

impl Spool {
    /// Clears away what dead runs have left, looks for room, and makes a folder.
    ///
    /// # Errors
    /// There is too little room, or no folder can be made.
    pub async fn make(spooling: &Spooling, job: &str, need: Option<Need>) -> Result<Self> {
        let (spooling, job) = (spooling.clone(), job.to_owned());
        let making = move || {
            let folder = &spooling.folder;
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.with_context(|| format!("make the folder {} (`spool`)", folder.display()))?;
            sweep::sweep(folder);
            if let Some(need) = need {
                enough(&spooling, need, free(folder)?)?;
            }
            make(folder, &job).with_context(|| format!("make a folder in {} (`spool`)", folder.display()))
        };
        spawn_blocking(making).await.context("make a folder in the spool")?
    }

    /// Where the dump goes; it is not there yet.
    pub fn dump(&self) -> PathBuf {
        self.path.join(DUMP)
    }

    /// Comes back when the dump has grown larger than it may, with its size; `size` has it meanwhile.
    pub async fn outgrown(&self, most: u64, size: &AtomicU64) -> u64 {
        loop {
            let (began, dump) = (Instant::now(), self.dump());
            let bytes = spawn_blocking(move || bytes_in(&dump)).await.unwrap_or_default();
            size.store(bytes, Ordering::Relaxed);
            if bytes > most {
                return bytes;
            }
            tokio::time::sleep(BETWEEN.max(began.elapsed() * 10)).await;
        }
    }

    /// Removes it, off the threads that must not wait for a disk.
    pub async fn remove(self) {
        // Its end is that of a drop in any case.
        let _ = spawn_blocking(move || drop(self)).await;
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!("{} is left for the next run to clear away: {error}", self.path.display());
        }
        self.owner = None;
    }
}

/// The bytes that are free for us in the file system of `folder`.
///
/// # Errors
/// It cannot be asked.
pub fn free(folder: &Path) -> Result<u64> {
    // A folder that is to be made has the room of the one that it will be in.
    let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(folder);
    let stat = rustix::fs::statvfs(there).with_context(|| format!("ask how much is free in {}", there.display()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// # Errors
/// There is too little room, or too little is allowed.
pub fn enough(spooling: &Spooling, need: Need, free: u64) -> Result<()> {
    let Need { bytes, why } = need;
    let (folder, size) = (spooling.folder.display(), words::size);
    let (most, by) = match spooling.most {
        Some(most) => (most, "`spool_max`"),
        None => (half_of(free), "half of what is free there, as long as no `spool_max` is set"),
    };
    if bytes > most {
        bail!("the spool may take {} ({by}), and the dump needs about {}: {why}", size(most), size(bytes));
    }
    if bytes > free {
        bail!("{folder} (`spool`) has {} free, and the dump needs about {}: {why}", size(free), size(bytes));
    }
    Ok(())
}

fn make(folder: &Path, job: &str) -> io::Result<Spool> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_@".contains(c) { c } else { '_' };
    let job: String = job.chars().map(plain).take(80).collect();
    let mut failed = io::Error::from(ErrorKind::AlreadyExists);
    // Somebody who sweeps may take it for a leaving, in the moment before it is locked.
    for _ in 0..3 {
        let path = folder.join(format!("{PREFIX}{job}-{:016x}", RandomState::new().hash_one(std::process::id())));
        DirBuilder::new().mode(0o700).create(&path)?;
        match own(&path) {
            Ok(owner) => return Ok(Spool { path, owner: Some(owner) }),
            Err(error) => failed = error,
        }
        let _ = remove(&path);
    }
    Err(failed)
}

fn own(path: &Path) -> io::Result<File> {
    let file = path.join(OWNER);
    let mut owner = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file)?;
    owner.try_lock()?;
    if fs::metadata(&file)?.ino() != owner.metadata()?.ino() {
        return Err(ErrorKind::NotFound.into());
    }
    writeln!(
        owner,
        "pgtend keeps a dump here while it is made or restored, and clears it away, if need be at its next run."
    )?;
    Ok(owner)
}

/// Removes a folder of ours: what makes it one last, so that what is left of it is still known.
///
/// # Errors
/// The system refuses; what is not there is no error.
pub fn remove(path: &Path) -> io::Result<()> {
    let gone = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    };
    // Whoever is just being ended may still make a file or two in it.
    let mut tries = 0..20;
    loop {
        let removed = gone(fs::remove_dir_all(path.join(DUMP)))
            .and_then(|()| gone(fs::remove_file(path.join(OWNER))))
            .and_then(|()| gone(fs::remove_dir(path)));
        match removed {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty && tries.next().is_some() => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

/// The bytes of the files in a folder; what goes meanwhile has none.
pub fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).filter(fs::Metadata::is_file).map(|meta| meta.len()).sum()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn spooling(folder: &Path) -> Spooling {
        Spooling { folder: folder.into(), most: Some(1_000_000), jobs: 2 }
    }

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    #[tokio::test]
    async fn a_spool_is_closed_to_others_and_gone_with_its_run() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("made/for it");
        let spool = Spool::make(&spooling(&inner), "night/ly@d b", None).await.unwrap();
        let name = names(&inner).remove(0);
        assert!(name.starts_with("pgtend-spool-night_ly@d_b-"), "{name}");
        assert_eq!(fs::metadata(inner.join(&name)).unwrap().permissions().mode() & 0o777, 0o700);
        fs::create_dir(spool.dump()).unwrap();
        fs::write(spool.dump().join("toc.dat"), "12345").unwrap();
        assert_eq!(bytes_in(&spool.dump()), 5);
        assert_eq!(spool.outgrown(4, &AtomicU64::new(0)).await, 5);
        spool.remove().await;
        assert_eq!(names(&inner), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_is_said_with_what_there_is() {
        let spooling = spooling(Path::new("/spool"));
        let check = |bytes: u64, free: u64, expect: &str| {
            let said = enough(&spooling, Need { bytes, why: "the last dump had as much" }, free);
            assert_eq!(said.map_err(|error| error.to_string()).err().unwrap_or_default(), expect);
        };
        check(1_000_000, 1_000_000, "");
        check(
            1_500_000,
            9_000_000,
            "the spool may take 1.0 MB (`spool_max`), and the dump needs about 1.5 MB: the last dump had as much",
        );
        check(
            900_000,
            800_000,
            "/spool (`spool`) has 800 kB free, and the dump needs about 900 kB: the last dump had as much",
        );
        let unsaid = Spooling { most: None, ..spooling.clone() };
        enough(&unsaid, Need { bytes: 400_000, why: "" }, 800_000).unwrap();
        let said = enough(&unsaid, Need { bytes: 400_001, why: "" }, 800_000).unwrap_err().to_string();
        assert!(said.contains("may take 400 kB (half of what is free there"), "{said}");
    }

    #[test]
    fn room_is_that_of_the_file_system_also_for_a_folder_that_is_not_there_yet() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free(folder.path()).unwrap() > 0);
        assert!(free(&folder.path().join("not/there")).unwrap() > 0);
    }
}
