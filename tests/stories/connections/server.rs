//! Servers of one's own: made when a story asks, shared by those that run at the time, gone with the last of them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use pgtend::pg::conninfo::Env;
use pgtend::pg::{Conninfo, Limits, Link, connect};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// No variables and an empty home, whatever the machine has.
pub struct Bare(pub PathBuf);

impl Env for Bare {
    fn var(&self, _: &str) -> Option<String> {
        None
    }

    fn user(&self) -> Option<String> {
        Some("postgres".into())
    }

    fn home(&self) -> Option<PathBuf> {
        Some(self.0.clone())
    }
}

/// A throw-away server; dropping it stops it and deletes its files.
pub struct Cluster {
    directory: tempfile::TempDir,
    pub port: u16,
}

fn as_server_user(program: &str) -> Command {
    let program = Path::new("/usr/lib/postgresql/15/bin").join(program);
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return Command::new(program);
    }
    // The server refuses root.
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program);
    command
}

fn must(command: &mut Command) {
    let output = command.current_dir("/tmp").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
}

impl Cluster {
    /// `files` are put beside the data and belong to the server, readable by nobody else; `HERE` in `settings` is that place.
    fn start(settings: &str, hba: &str, files: &[(&str, &str)]) -> Self {
        let directory = tempfile::Builder::new().prefix("pgc").tempdir_in("/tmp").unwrap();
        let here = directory.path();
        let root = fs::metadata("/proc/self").unwrap().uid() == 0;
        let give = |path: &Path| {
            if root {
                chown(path, Some(65534), Some(65534)).unwrap();
            }
        };
        fs::set_permissions(here, fs::Permissions::from_mode(0o755)).unwrap();
        give(here);
        for (name, content) in files {
            let path = here.join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            give(&path);
        }
        let data = here.join("data");
        must(as_server_user("initdb").args(["--no-sync", "-A", "trust", "-U", "postgres", "-D"]).arg(&data));
        fs::write(data.join("pg_hba.conf"), hba).unwrap();
        let port = crate::support::free_port();
        let place = here.display().to_string();
        let settings = settings.replace("HERE", &place);
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{place}'\nfsync = off\n{settings}\n"
        );
        fs::write(data.join("postgresql.conf"), settings).unwrap();
        // -w: it answers when this returns.
        must(as_server_user("pg_ctl").args(["-w", "-s", "-l"]).arg(here.join("log")).arg("-D").arg(&data).arg("start"));
        Self { directory, port }
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// `words` with `HERE` and `PORT` filled in; hosts by name go to this machine.
    pub fn info(&self, words: &str) -> Conninfo {
        self.info_with(words, None)
    }

    pub fn info_with(&self, words: &str, password_file: Option<&Path>) -> Conninfo {
        let here = self.directory.path();
        let words = words.replace("HERE", &here.display().to_string()).replace("PORT", &self.port.to_string());
        Conninfo::parse_with(&words, password_file, &Bare(here.join("home"))).unwrap()
    }

    pub async fn admin(&self, sql: &str) {
        let link = open(&self.info("host=HERE port=PORT user=postgres")).await;
        link.client.batch_execute(sql).await.unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ =
            as_server_user("pg_ctl").args(["-s", "-m", "immediate", "-D"]).arg(self.path("data")).arg("stop").status();
    }
}

/// The server that all tests share which run at the time; the last one of them stops it.
fn shared(place: &'static Mutex<Weak<Cluster>>, start: impl FnOnce() -> Cluster) -> Arc<Cluster> {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    place.upgrade().unwrap_or_else(|| {
        let cluster = Arc::new(start());
        *place = Arc::downgrade(&cluster);
        cluster
    })
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `common_name` and its key, in PEM.
fn issue(by: &CertifiedIssuer<'_, KeyPair>, common_name: &str, names: &[&str]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    (params.signed_by(&key, by).unwrap().pem(), key.serialize_pem())
}

/// With a certificate for `db.example` and `127.0.0.1`, signed by `ca.crt`; `other.crt` is an authority it does not know.
pub fn tls_server() -> Arc<Cluster> {
    static PLACE: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
    shared(&PLACE, || {
        let ours = authority("our authority");
        let (server, server_key) = issue(&ours, "db.example", &["db.example", "127.0.0.1"]);
        let (client, client_key) = issue(&ours, "carla", &[]);
        Cluster::start(
            "ssl = on\nssl_cert_file = 'HERE/server.crt'\nssl_key_file = 'HERE/server.key'\nssl_ca_file = 'HERE/ca.crt'",
            "local all all trust\n\
             hostnossl all tls_only all reject\n\
             hostssl all plain_only all reject\n\
             hostssl all carla all cert\n\
             host all anna,berta,doris,emil all scram-sha-256\n\
             host all all all trust\n",
            &[
                ("server.crt", &server),
                ("server.key", &server_key),
                ("ca.crt", &ours.pem()),
                ("other.crt", &authority("another authority").pem()),
                ("client.crt", &client),
                ("client.key", &client_key),
            ],
        )
    })
}

/// Without TLS; it plays the standby, since it takes no writes.
pub fn plain_server() -> Arc<Cluster> {
    static PLACE: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
    shared(&PLACE, || {
        Cluster::start("default_transaction_read_only = on", "local all all trust\nhost all all all trust\n", &[])
    })
}

pub const LIMITS: Limits = Limits::new(Duration::from_secs(30), Duration::from_secs(30));

pub async fn open(info: &Conninfo) -> Link {
    connect(info, "stories", LIMITS).await.unwrap_or_else(|error| panic!("{error:#}")).0
}
