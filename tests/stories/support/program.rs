//! `pgtend` with a config, an environment and a clock.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use super::clock::Clock;
use super::daemon::Daemon;
use super::database::Database;
use super::keeper;
use super::majors;
use super::process::{Output, Process};

/// The real program, with a folder of its own that holds its config and is its home and working directory.
///
/// The environment of whoever runs the tests does not reach it.
pub struct Pgtend {
    folder: PathBuf,
    port: u16,
    env: BTreeMap<String, String>,
}

impl Pgtend {
    /// With this text as `pgtend.toml`. For a daemon that is to be asked over HTTP, the text must hold
    /// `[http] listen = "{listen}"`; the placeholder becomes an address with a free port.
    pub fn new(config: &str) -> Self {
        let program = Self { folder: keeper::new_folder("p"), port: free_port(), env: BTreeMap::new() };
        program.configure(config);
        program
    }

    /// A config with the database as `main`, HTTP on a free port, and these jobs (or any other tables), in which `{url}` is
    /// the database's.
    pub fn tending(database: &Database, jobs: &str) -> Self {
        let (url, jobs) = (database.url(), jobs.replace("{url}", &database.url()));
        Self::new(&format!("[databases.main]\nurl = \"{url}\"\n\n{LISTEN}\n{jobs}"))
    }

    /// Writes `pgtend.toml` anew, as before a reload.
    pub fn configure(&self, config: &str) {
        self.file("pgtend.toml", &config.replace("{listen}", &format!("127.0.0.1:{}", self.port)));
    }

    /// As [`Pgtend::tending`], for a program that is there.
    pub fn configure_tending(&self, database: &Database, jobs: &str) {
        self.configure(&format!("[databases.main]\nurl = \"{}\"\n\n{LISTEN}\n{jobs}", database.url()));
    }

    /// Writes a file beside the config, its folders made, readable by its owner alone, as password files must be.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("make the folder");
        fs::write(&path, text).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("close the file to others");
        path
    }

    /// Writes a program. Not by our own hand: a child that another story forks in that moment would have it open too, and
    /// whoever runs it then is told that the file is busy.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let source = self.file(&format!("{name}.txt"), text);
        let path = self.folder.join(name);
        let made = std::process::Command::new("install").args(["-m", "755"]).arg(source).arg(&path).status();
        assert!(made.expect("run install").success(), "make {}", path.display());
        path
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn config(&self) -> PathBuf {
        self.folder.join("pgtend.toml")
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets the wall clock of the program, as libfaketime understands it: `@2026-10-24 12:00:00 x3600` begins there and
    /// runs an hour a second. The monotonic clock stays true, so that time limits mean what they say.
    #[must_use]
    pub fn at(mut self, faketime: &str) -> Self {
        self.env.extend(clock(&[("FAKETIME", faketime)]));
        self
    }

    /// As [`Pgtend::at`], with a clock that [`Pgtend::set_clock`] can set while the program runs.
    #[must_use]
    pub fn with_clock(mut self, faketime: &str) -> Self {
        self.set_clock(faketime);
        let file = self.clock_file().display().to_string();
        self.env.extend(clock(&[("FAKETIME_TIMESTAMP_FILE", &file), ("FAKETIME_NO_CACHE", "1")]));
        self
    }

    /// Sets the clock of a program made by [`Pgtend::with_clock`]; it runs on from there.
    pub fn set_clock(&self, faketime: &str) {
        // Renamed into place, so that the program never reads half of it.
        let new = self.file("clock.new", faketime);
        fs::rename(new, self.clock_file()).expect("set the clock");
    }

    /// Makes the program go by this clock, which its server goes by too.
    #[must_use]
    pub fn by(mut self, clock: &Clock) -> Self {
        self.env.extend(clock.env());
        self
    }

    /// Starts `pgtend ARGS`.
    pub fn start<A: AsRef<str>>(&self, args: impl IntoIterator<Item = A>) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgtend"));
        command.args(args.into_iter().map(|arg| arg.as_ref().to_string()));
        command.current_dir(&self.folder).env_clear();
        for name in ["PATH", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        // Programs for each server there is, as on a host that tends them all.
        let majors = majors::majors().into_iter().map(|major| majors::installation(major).bin());
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env("PATH", std::env::join_paths(majors.chain(std::env::split_paths(&path))).expect("a PATH"));
        command.env("HOME", &self.folder).env("PGTEND_CONFIG", self.config()).envs(&self.env);
        Process::start(command)
    }

    /// Runs `pgtend ARGS` to its end.
    pub async fn run<A: AsRef<str>>(&self, args: impl IntoIterator<Item = A>) -> Output {
        self.start(args).wait().await
    }

    /// Starts `pgtend daemon`.
    pub fn daemon(&self) -> Daemon {
        self.daemon_with([])
    }

    /// Starts `pgtend daemon` with further arguments.
    pub fn daemon_with<const N: usize>(&self, args: [&str; N]) -> Daemon {
        Daemon::new(self.start(["daemon"].into_iter().chain(args)), self.port)
    }

    fn clock_file(&self) -> PathBuf {
        self.folder.join("clock")
    }
}

const LISTEN: &str = "[http]\nlisten = \"{listen}\"\n";

impl Drop for Pgtend {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A TCP port that nobody listens on, and that neither the system nor this process gives to anybody else: below the
/// range the system takes ports of outgoing connections from, and each only once.
pub fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 18_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two test processes begin at different places.
    let start = std::process::id().wrapping_mul(97) % u32::from(COUNT);
    loop {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        assert!(step < u32::from(COUNT), "no free port between {FIRST} and {}", FIRST + COUNT);
        let port = FIRST + u16::try_from((start + step) % u32::from(COUNT)).expect("below COUNT");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The environment of a program that lives in another time.
pub fn clock(settings: &[(&str, &str)]) -> BTreeMap<String, String> {
    let preload = libfaketime();
    // libfaketime reads times in the zone of the process; a story about that sets another TZ afterwards.
    let common = [("LD_PRELOAD", preload.as_str()), ("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("TZ", "UTC")];
    common.iter().chain(settings).map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// The variant for programs with threads.
fn libfaketime() -> String {
    let found = glob::glob("/usr/lib/*/faketime/libfaketimeMT.so.1").expect("a pattern").flatten().next();
    found.expect("libfaketime is not installed: run `make deps`").display().to_string()
}
