//! A pooler before a database.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use tokio::time::Instant;

use super::database::Database;
use super::keeper;

/// A running PgBouncer. It ends when dropped.
pub struct PgBouncer {
    child: Child,
    folder: PathBuf,
    database: String,
}

impl PgBouncer {
    /// `pool_mode` is PgBouncer's own word: `session`, `transaction`, `statement`. `settings` are further lines of its
    /// `[pgbouncer]` section.
    pub fn start(database: &Database, pool_mode: &str, settings: &[(&str, &str)]) -> Self {
        let folder = keeper::server_folder("b");
        let (host, port) = (database.cluster().host().display(), database.cluster().port());
        let mut ini = format!(
            "[databases]\n* = host={host} port={port} user=postgres\n\n[pgbouncer]\nlisten_port = 6432\n\
             unix_socket_dir = {socket}\nauth_type = any\npool_mode = {pool_mode}\nlogfile = {socket}/log\n",
            socket = folder.display()
        );
        for (name, value) in settings {
            ini.push_str(&format!("{name} = {value}\n"));
        }
        fs::write(folder.join("pgbouncer.ini"), ini).expect("write pgbouncer.ini");
        let mut command = keeper::as_server(program());
        command.arg("-q").arg(folder.join("pgbouncer.ini"));
        let child = keeper::spawn(command, libc::SIGTERM).expect("start pgbouncer");
        let mut pooler = Self { child, folder, database: database.name().into() };
        pooler.wait_for_socket();
        pooler
    }

    /// The same database, by way of the pooler.
    pub fn url(&self) -> String {
        format!("postgresql://postgres@/{}?host={}&port=6432", self.database, self.folder.display())
    }

    fn wait_for_socket(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::os::unix::net::UnixStream::connect(self.folder.join(".s.PGSQL.6432")).is_err() {
            let ended = self.child.try_wait().expect("look after pgbouncer");
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(ended.is_none(), "pgbouncer ended at once ({ended:?}); its log:\n{}", log());
            assert!(Instant::now() < deadline, "pgbouncer does not listen; its log:\n{}", log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Debian puts it where an ordinary user's PATH does not lead.
fn program() -> &'static Path {
    let places = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].map(Path::new);
    places.into_iter().find(|path| path.exists()).expect("pgbouncer is not installed: run `make deps`")
}
