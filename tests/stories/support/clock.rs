//! A clock that servers and programs share.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use chrono::{DateTime, Utc};

use super::{keeper, program};

/// A wall clock that can be set while servers and programs go by it: see `Cluster::by` and `Pgtend::by`. It runs as fast
/// as the true one, and is the same for all of them, which one that counts from the start of each process would not be.
/// The monotonic clock stays true.
pub struct Clock {
    folder: PathBuf,
}

impl Clock {
    /// Times are as in `2026-10-25T00:59:58Z`.
    pub fn at(time: &str) -> Self {
        let clock = Self { folder: keeper::new_folder("k") };
        // The server's user reads it too.
        fs::set_permissions(&clock.folder, fs::Permissions::from_mode(0o755)).expect("open the clock's folder");
        clock.set(time);
        clock
    }

    /// It jumps there, forth or back, and runs on.
    pub fn set(&self, time: &str) {
        let time: DateTime<Utc> = time.parse().unwrap_or_else(|e| panic!("{time}: {e}"));
        #[expect(clippy::disallowed_methods, reason = "the other clock is told by how far it is from this one")]
        let offset = time - Utc::now();
        // Renamed into place, so that nobody reads half of it.
        let new = self.folder.join("new");
        fs::write(&new, format!("{:+.3}\n", offset.as_seconds_f64())).expect("write the clock");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).expect("show the clock to everybody");
        fs::rename(new, self.file()).expect("set the clock");
    }

    /// The environment of a process that goes by this clock.
    pub fn env(&self) -> BTreeMap<String, String> {
        let file = self.file().display().to_string();
        program::clock(&[("FAKETIME_TIMESTAMP_FILE", &file), ("FAKETIME_NO_CACHE", "1")])
    }

    fn file(&self) -> PathBuf {
        self.folder.join("clock")
    }
}

/// Removes what libfaketime leaves in shared memory when a process did not end by itself.
pub fn sweep(pid: u32) {
    for name in ["faketime_shm_", "sem.faketime_sem_"] {
        let _ = fs::remove_file(format!("/dev/shm/{name}{pid}"));
    }
}
