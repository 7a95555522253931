//! Clears away what runs that were killed have left in a spool. Only what is unmistakably pgtend's, and whose owner is dead.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process};

use super::spool::{OWNER, PREFIX, remove};

/// How long programs that were killed are waited for.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// Never fails: what cannot be cleared away is told, and left.
pub fn sweep(folder: &Path) {
    let anybodys = fs::metadata(folder).is_ok_and(|meta| meta.mode() & 0o002 != 0);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| is_named_like_ours(&entry.file_name().to_string_lossy())) {
        // Not through a link: nobody's folder becomes ours by being pointed at.
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        // Where anybody may make folders, somebody else's could become another one while it is looked at.
        if anybodys && !entry.metadata().is_ok_and(|meta| meta.uid() == geteuid().as_raw()) {
            continue;
        }
        let path = entry.path();
        match dead(&path) {
            Whose::Dead(_lock) => {
                end_programs(&path);
                match remove(&path) {
                    Ok(()) => tracing::info!("cleared away {}, which a dead run had left", path.display()),
                    Err(error) => tracing::warn!("{} cannot be cleared away: {error}", path.display()),
                }
            }
            Whose::Unmarked => {
                // One that was just made, or was left just then: it is empty, or it is somebody else's.
                let _ = fs::remove_dir(&path);
            }
            Whose::Alive => {}
        }
    }
}

enum Whose {
    /// Locked by us now.
    Dead(#[allow(dead_code, reason = "held, and not read")] File),
    Alive,
    /// It has no owner's file.
    Unmarked,
}

fn dead(path: &Path) -> Whose {
    let file = path.join(OWNER);
    if !fs::symlink_metadata(&file).is_ok_and(|meta| meta.is_file()) {
        return Whose::Unmarked;
    }
    let locked = OpenOptions::new().read(true).write(true).open(file).ok().filter(|owner| owner.try_lock().is_ok());
    locked.map_or(Whose::Alive, Whose::Dead)
}

/// `pgtend-spool-JOB-` and sixteen hexadecimal digits.
fn is_named_like_ours(name: &str) -> bool {
    let Some((_, chance)) = name.strip_prefix(PREFIX).and_then(|rest| rest.rsplit_once('-')) else { return false };
    chance.len() == 16 && chance.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
}

/// A `pg_dump` that writes to a folder does not notice that we are gone, and would go on filling it. Known by its arguments,
/// which name this very folder.
fn end_programs(path: &Path) {
    for n in 0..TRIES {
        let at_work = programs(path);
        if at_work.is_empty() {
            return;
        }
        if n == 0 {
            tracing::info!("ends {} programs that a dead run has left at work in {}", at_work.len(), path.display());
            for pid in at_work {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        std::thread::sleep(PAUSE);
    }
}

fn programs(path: &Path) -> Vec<Pid> {
    let within = |argument: &[u8]| {
        let argument = argument.strip_prefix(b"--file=").unwrap_or(argument);
        PathBuf::from(OsString::from_vec(argument.to_vec())).starts_with(path)
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let ours = pids.filter(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        // Without arguments it has ended, and only waits to be seen.
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        ["pg_dump", "pg_restore"].contains(&name.trim()) && arguments.split(|byte| *byte == 0).any(within)
    });
    ours.filter_map(Pid::from_raw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_stays_and_what_is_dead_goes() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let ours = "pgtend-spool-nightly-0123456789abcdef";
        let make = |name: &str, marked: bool| {
            fs::create_dir_all(at(name).join("dump")).unwrap();
            fs::write(at(name).join("dump/toc.dat"), "x").unwrap();
            if marked {
                fs::write(at(name).join(OWNER), "").unwrap();
            }
        };
        make(ours, true);
        make("pgtend-spool-alive-0123456789abcdef", true);
        let alive = File::open(at("pgtend-spool-alive-0123456789abcdef").join(OWNER)).unwrap();
        alive.lock().unwrap();
        make("pgtend-spool-unmarked-0123456789abcdef", false);
        make("pgtend-spool-nightly", true);
        make("pgtend-spool-nightly-0123456789ABCDEF", true);
        make("other", true);
        fs::create_dir(at("pgtend-spool-empty-0123456789abcdef")).unwrap();
        std::os::unix::fs::symlink(at("other"), at("pgtend-spool-link-0123456789abcdef")).unwrap();
        fs::write(at("pgtend-spool-file-0123456789abcdef"), "").unwrap();
        sweep(folder.path());
        let mut left: Vec<String> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(
            left,
            [
                "other",
                "pgtend-spool-alive-0123456789abcdef",
                "pgtend-spool-file-0123456789abcdef",
                "pgtend-spool-link-0123456789abcdef",
                "pgtend-spool-nightly",
                "pgtend-spool-nightly-0123456789ABCDEF",
                "pgtend-spool-unmarked-0123456789abcdef",
            ]
        );
        assert!(at("other/dump/toc.dat").exists());
        drop(alive);
        sweep(folder.path());
        assert!(!at("pgtend-spool-alive-0123456789abcdef").exists());
    }
}
