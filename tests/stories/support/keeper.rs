//! The folder and the child processes of this test run, and their end, however the run ends.
//!
//! Children carry a "parent death signal", so that they go when the test process is killed. Linux sends it when the
//! *thread* that started the child ends, and the test runner ends a thread with each test: so one thread, which lives
//! as long as the process, starts them all.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, mpsc};

/// The user and group that root's servers run as: `nobody` and `nogroup`.
const NOBODY: u32 = 65534;

const PREFIX: &str = "pgtend-test-";

/// Whether servers must be run as somebody else, since PostgreSQL and PgBouncer refuse root.
pub fn is_root() -> bool {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Makes the command run as `nobody` when the tests run as root, away from folders that `nobody` cannot enter, and
/// without the libpq settings of whoever runs the tests.
pub fn as_server(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").env_clear().env("LC_ALL", "C").env("TZ", "UTC").env("PATH", "/usr/bin:/bin");
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// A new folder for a server: short, because a socket's path must stay under 107 bytes, and the server's own. In memory where
/// there is room: the thousands of files that databases come and go with are half of what a server is busy with otherwise.
pub fn server_folder(kind: &str) -> PathBuf {
    let folder = folder_in(MEMORY.as_ref().unwrap_or(&WORKSPACE), kind);
    give_to_server(&folder);
    folder
}

/// Makes the server's user the owner.
pub fn give_to_server(path: &Path) {
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap_or_else(|e| panic!("chown {}: {e}", path.display()));
    }
}

/// A new folder inside that of this test run.
pub fn new_folder(kind: &str) -> PathBuf {
    folder_in(&WORKSPACE, kind)
}

fn folder_in(workspace: &Workspace, kind: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let folder = workspace.path.join(format!("{kind}{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    fs::create_dir(&folder).unwrap_or_else(|e| panic!("make {}: {e}", folder.display()));
    folder
}

/// Starts a child that gets `death_signal` when this process ends.
pub fn spawn(mut command: Command, death_signal: libc::c_int) -> io::Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static ORDERS: LazyLock<Mutex<mpsc::Sender<Order>>> = LazyLock::new(|| {
        let (orders, taken) = mpsc::channel::<Order>();
        std::thread::Builder::new()
            .name("keeper".into())
            .spawn(move || {
                for (mut command, answer) in taken {
                    let _ = answer.send(command.spawn());
                }
            })
            .expect("start the thread that starts children");
        Mutex::new(orders)
    });
    // SAFETY: prctl is async-signal-safe, and runs after the user was changed, which would clear the setting.
    unsafe {
        command.pre_exec(move || match libc::prctl(libc::PR_SET_PDEATHSIG, death_signal) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    let (answer, answered) = mpsc::channel();
    ORDERS.lock().expect("the keeper").send((command, answer)).expect("the keeper lives");
    answered.recv().expect("the keeper answers")
}

/// Sends a signal to a child that has not been waited for.
pub fn signal(child: &Child, signal: libc::c_int) {
    let pid = libc::pid_t::try_from(child.id()).expect("a pid");
    // SAFETY: the pid is that of our child, which is not reaped while `child` is borrowed.
    let sent = unsafe { libc::kill(pid, signal) };
    assert_eq!(sent, 0, "signal {signal} to process {pid}: {}", io::Error::last_os_error());
}

struct Workspace {
    path: PathBuf,
    /// Locked as long as this process lives: what tells a leftover from a run in progress.
    _lock: File,
}

/// `/tmp`, not `$TMPDIR`, which may be too long for a socket. What a walk by hand needs much room for may be put elsewhere.
static WORKSPACE: LazyLock<Workspace> = LazyLock::new(|| {
    let folder = std::env::var_os("PGTEND_WALK_DIR").map_or_else(|| "/tmp".into(), PathBuf::from);
    assert!(folder.as_os_str().len() < 50, "{}: too long for a path that sockets lie below", folder.display());
    let workspace = Workspace::below(&folder);
    // SAFETY: registers a function that neither unwinds nor touches what is gone by then.
    unsafe { libc::atexit(at_exit) };
    workspace
});

/// Where there is a file system in memory with room for servers: they take a gigabyte, walks by hand take more.
static MEMORY: LazyLock<Option<Workspace>> = LazyLock::new(|| {
    // At the end of the process that one removes this one.
    LazyLock::force(&WORKSPACE);
    let shm = Path::new("/dev/shm");
    (!is_by_hand() && room(shm) >= 6 << 30).then(|| Workspace::below(shm))
});

/// Whether this is a walk by hand, of which nothing is left out and which may be of any size.
pub fn is_by_hand() -> bool {
    std::env::var_os("PGTEND_WALK_WHOLE").is_some_and(|value| !value.is_empty())
}

/// The bytes that are free there, none where there is no such folder.
fn room(folder: &Path) -> u64 {
    let path = std::ffi::CString::new(folder.as_os_str().as_encoded_bytes()).expect("a path");
    // SAFETY: the path is a C string, and the struct is plain numbers, written to when the call succeeds.
    unsafe {
        let mut found: libc::statvfs = std::mem::zeroed();
        if libc::statvfs(path.as_ptr(), &raw mut found) == 0 { found.f_bavail * found.f_frsize } else { 0 }
    }
}

impl Workspace {
    fn below(folder: &Path) -> Self {
        sweep(folder);
        let path = folder.join(format!("{PREFIX}{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap_or_else(|e| panic!("make {}: {e}", path.display()));
        let lock = File::create(path.join("lock")).expect("make the lock file of this test run");
        lock.lock().expect("lock the folder of this test run");
        Self { path, _lock: lock }
    }
}

/// Statics are not dropped: the servers that all stories share end here.
extern "C" fn at_exit() {
    let _ = std::panic::catch_unwind(|| {
        super::cluster::stop_all();
        for workspace in [Some(&*WORKSPACE), MEMORY.as_ref()].into_iter().flatten() {
            let _ = fs::remove_dir_all(&workspace.path);
        }
    });
}

/// Removes what killed test runs of this user left behind.
fn sweep(folder: &Path) {
    // SAFETY: takes nothing, cannot fail.
    let me = unsafe { libc::geteuid() };
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("read {}: {e}", folder.display())).flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let ours = entry.metadata().is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == me);
        let runs = Path::new("/proc").join(pid).exists();
        let locked = File::open(entry.path().join("lock")).is_ok_and(|lock| lock.try_lock().is_err());
        if ours && !runs && !locked {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
