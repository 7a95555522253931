//! Throwaway PostgreSQL servers.
//!
//! A cluster is a copy of a template made once per version by `initdb`; it listens on a socket in its own folder, so
//! that no port can be taken. It does not sync to disk, and is stopped without ceremony.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::clock::{self, Clock};
use super::database::Database;
use super::keeper;
use super::majors::{self, Installation};

const LIMIT: Duration = Duration::from_secs(60);

/// A server. Clones are the same server; it ends with the last of them, or with the test process.
#[derive(Clone)]
pub struct Cluster(Arc<Server>);

struct Server {
    installation: &'static Installation,
    folder: PathBuf,
    /// Without TCP it only names the socket.
    port: u16,
    settings: BTreeMap<String, String>,
    env: BTreeMap<String, String>,
    process: Mutex<Option<Child>>,
    databases: AtomicU32,
}

/// The shared clusters stay here; all others are known only to be stopped at the end.
static SHARED: Mutex<BTreeMap<u32, Cluster>> = Mutex::new(BTreeMap::new());
static ALL: Mutex<Vec<Weak<Server>>> = Mutex::new(Vec::new());

impl Cluster {
    /// The server that all stories of a major share. Whoever restarts, kills, reconfigures or replicates a server, or
    /// makes roles in it, takes [`Cluster::own`].
    pub fn shared(major: u32) -> Cluster {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.entry(major).or_insert_with(|| Cluster::own(major)).clone()
    }

    /// A server that only this story uses.
    pub fn own(major: u32) -> Cluster {
        Cluster::with(major, &[])
    }

    /// A server of one's own with settings, as in `postgresql.conf`.
    pub fn with(major: u32, settings: &[(&str, &str)]) -> Cluster {
        let cluster = Cluster::stopped(major, settings);
        cluster.start();
        cluster
    }

    /// A server of one's own that also listens on 127.0.0.1; see [`Cluster::port`].
    pub fn with_tcp(major: u32, settings: &[(&str, &str)]) -> Cluster {
        let mut settings = settings.to_vec();
        let port = super::free_port().to_string();
        settings.extend([("listen_addresses", "127.0.0.1"), ("port", &port)]);
        Cluster::with(major, &settings)
    }

    /// A server of one's own that goes by this clock.
    pub fn by(clock: &Clock, major: u32) -> Cluster {
        let cluster = Cluster::new(major, &[], clock.env());
        cluster.start();
        cluster
    }

    /// A server that has not been started, for who comes before it.
    pub fn stopped(major: u32, settings: &[(&str, &str)]) -> Cluster {
        Cluster::new(major, settings, BTreeMap::new())
    }

    fn new(major: u32, settings: &[(&str, &str)], env: BTreeMap<String, String>) -> Cluster {
        let installation = majors::installation(major);
        let folder = keeper::server_folder("c");
        copy(&template(installation), &folder.join("data"));
        let settings = settings.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Cluster::of(installation, folder, settings, env)
    }

    fn of(
        installation: &'static Installation,
        folder: PathBuf,
        mut settings: BTreeMap<String, String>,
        env: BTreeMap<String, String>,
    ) -> Cluster {
        let port = settings.get("port").map_or(5432, |port| port.parse().expect("a port"));
        for (name, value) in DEFAULTS {
            settings.entry(name.to_string()).or_insert_with(|| value.to_string());
        }
        settings.insert("unix_socket_directories".into(), folder.display().to_string());
        let (process, databases) = (Mutex::new(None), AtomicU32::new(1));
        let server = Arc::new(Server { installation, folder, port, settings, env, process, databases });
        ALL.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&server));
        Cluster(server)
    }

    /// A streaming replica of this server, accepting connections.
    pub fn standby(&self) -> Cluster {
        let folder = keeper::server_folder("s");
        let mut backup = self.program("pg_basebackup");
        backup.args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync", "--pgdata"]);
        run(backup.arg(folder.join("data")).args(["--dbname", &self.conninfo("")]));
        let mut settings = self.0.settings.clone();
        if settings.contains_key("port") {
            settings.insert("port".into(), super::free_port().to_string());
        }
        let standby = Cluster::of(self.0.installation, folder, settings, self.0.env.clone());
        standby.start();
        standby
    }

    /// A new, empty database.
    pub async fn database(&self) -> Database {
        let number = self.0.databases.fetch_add(1, Ordering::Relaxed);
        let thread = std::thread::current();
        let story = thread.name().and_then(|name| name.rsplit("::").next()).unwrap_or("story");
        let name = format!("{number}_{}", story.chars().take(48).collect::<String>());
        let postgres = Database::named(self.clone(), "postgres");
        postgres.execute(&format!(r#"create database "{name}""#)).await;
        let database = Database::named(self.clone(), &name);
        let shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let is_shared = shared.get(&self.major()).is_some_and(|shared| Arc::ptr_eq(&shared.0, &self.0));
        // The databases of a server that ends with its story end with it.
        if is_shared { database.passing() } else { database }
    }

    pub fn major(&self) -> u32 {
        self.0.installation.major
    }

    /// `15.18`
    pub fn version(&self) -> &str {
        &self.0.installation.version
    }

    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// The folder of the socket.
    pub fn host(&self) -> &Path {
        &self.0.folder
    }

    pub fn data(&self) -> PathBuf {
        self.0.folder.join("data")
    }

    /// Writes a file into the data folder, as the server's own and closed to others: `pg_hba.conf`, `server.key`.
    pub fn put(&self, name: &str, text: &str) {
        let path = self.data().join(name);
        fs::write(&path, text).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("close the file to others");
        keeper::give_to_server(&path);
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.0.folder.join("log")).unwrap_or_default()
    }

    /// A program of this server's installation, such as `psql`, run as the server's user.
    pub fn program(&self, name: &str) -> Command {
        keeper::as_server(self.0.installation.program(name))
    }

    /// Key-value form; an empty database leaves it out.
    pub fn conninfo(&self, database: &str) -> String {
        let base = format!("host={} port={} user=postgres", self.0.folder.display(), self.0.port);
        if database.is_empty() { base } else { format!("{base} dbname={database}") }
    }

    /// Starts a stopped server, and returns when it accepts connections.
    pub fn start(&self) {
        let deadline = Instant::now() + LIMIT;
        let mut process = self.0.process.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(process.is_none(), "the server runs already");
        // After a kill -9, the dead postmaster's children keep its shared memory for a moment: a start then fails, and
        // one a moment later does not.
        loop {
            let mut child = self.0.spawn();
            while child.try_wait().expect("look after the server").is_none() {
                if self.0.is_ready(child.id()) {
                    *process = Some(child);
                    return;
                }
                assert!(Instant::now() < deadline, "PostgreSQL did not become ready; its log:\n{}", self.log());
                std::thread::sleep(Duration::from_millis(5));
            }
            assert!(Instant::now() < deadline, "PostgreSQL did not start; its log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A fast shutdown: connections end with 57P01, the data is left clean.
    pub fn stop(&self) {
        self.0.end(libc::SIGINT);
    }

    /// Fast shutdown and start.
    pub fn restart(&self) {
        self.stop();
        self.start();
    }

    /// kill -9 of the postmaster: the next [`Cluster::start`] recovers.
    pub fn kill9(&self) {
        self.0.end(libc::SIGKILL);
    }

    /// Stops the server's processes where they are (SIGSTOP), as a machine that hangs: connections stay open, and
    /// nothing answers. Only the postmaster is stopped: no *new* connection gets an answer.
    pub fn freeze(&self) {
        self.0.signal(libc::SIGSTOP);
    }

    pub fn thaw(&self) {
        self.0.signal(libc::SIGCONT);
    }

    /// Makes the server read its configuration again (SIGHUP).
    pub fn reload(&self) {
        self.0.signal(libc::SIGHUP);
    }
}

/// What makes a throwaway server quick. Autovacuum stays on: what it does is part of the weather. So does
/// `synchronous_commit`, which costs little without `fsync`: what was committed survives a kill -9 of the server.
const DEFAULTS: &[(&str, &str)] = &[
    ("listen_addresses", ""),
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("shared_buffers", "32MB"),
    ("max_connections", "300"),
    ("log_line_prefix", "%m [%p] %q%u@%d %a "),
    // Not UTC, so that whoever leans on the server's time zone is found out.
    ("timezone", "Australia/Lord_Howe"),
    ("log_timezone", "UTC"),
];

impl Server {
    fn spawn(&self) -> Child {
        let log =
            File::options().create(true).append(true).open(self.folder.join("log")).expect("open the server's log");
        let mut command = keeper::as_server(self.installation.program("postgres"));
        command.arg("-D").arg(self.folder.join("data"));
        for (name, value) in &self.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.envs(&self.env);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("share the server's log")).stderr(log);
        keeper::spawn(command, libc::SIGQUIT).expect("start postgres")
    }

    /// The eighth line of `postmaster.pid` says `ready` once connections are accepted; `pg_ctl -w` reads it too.
    fn is_ready(&self, pid: u32) -> bool {
        let Ok(text) = fs::read_to_string(self.folder.join("data/postmaster.pid")) else { return false };
        let lines: Vec<_> = text.lines().collect();
        lines.first() == Some(&pid.to_string().as_str()) && lines.get(7).is_some_and(|line| line.trim() == "ready")
    }

    fn signal(&self, signal: libc::c_int) {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        keeper::signal(process.as_ref().expect("the server runs"), signal);
    }

    fn end(&self, signal: libc::c_int) {
        let Some(mut child) = self.process.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        keeper::signal(&child, signal);
        keeper::signal(&child, libc::SIGCONT);
        let _ = child.wait();
        clock::sweep(child.id());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end(libc::SIGQUIT);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// At the end of the process.
pub fn stop_all() {
    for server in ALL.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade) {
        server.end(libc::SIGQUIT);
    }
}

/// The data folder that `initdb` makes, kept from one test run to the next. It belongs to the server's user, and only
/// whoever runs the tests need get at it.
fn template(installation: &Installation) -> PathBuf {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(cache).expect("make the cache folder");
    let user = if keeper::is_root() { "nobody" } else { "self" };
    let template = cache.join(format!("initdb-{}-{user}", installation.version));
    let lock = File::create(template.with_added_extension("lock")).expect("make the lock file of the template");
    lock.lock().expect("wait for who makes the template");
    if !template.exists() {
        let scratch = keeper::server_folder("t").join("data");
        let mut initdb = keeper::as_server(installation.program("initdb"));
        initdb.args(["--no-sync", "--no-locale", "--encoding=UTF8", "--auth=trust", "--username=postgres", "--pgdata"]);
        run(initdb.arg(&scratch));
        let unfinished = template.with_added_extension("new");
        let _ = fs::remove_dir_all(&unfinished);
        copy(&scratch, &unfinished);
        fs::rename(&unfinished, &template).expect("put the template in its place");
    }
    template
}

/// `cp` keeps owner and permissions, and shares the blocks where the file system can.
fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("run {command:?}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed ({}):\n{said}", output.status);
}
