//! A fresh database for each story.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, mpsc};

use tokio_postgres::types::FromSqlOwned;
use tokio_postgres::{Client, NoTls};

use super::cluster::Cluster;
use super::majors;

/// A database that only this story uses. Where it was made on a shared server it goes with its last clone: the
/// thousands of a test run would fill the disk.
#[derive(Clone)]
pub struct Database {
    cluster: Cluster,
    name: String,
    _passing: Option<Arc<Passing>>,
}

/// Tells the story on every major there is, each time in a fresh database of the shared server.
///
/// ```ignore
/// on_each_major(async |db| {
///     db.execute("create table t ()").await;
/// })
/// .await;
/// ```
pub async fn on_each_major(story: impl AsyncFn(Database)) {
    on(majors::majors(), story).await;
}

/// As [`on_each_major`], for a story that takes long: see [`majors::majors_for_long`].
pub async fn on_newest_or_all(story: impl AsyncFn(Database)) {
    on(majors::majors_for_long(), story).await;
}

async fn on(majors: Vec<u32>, story: impl AsyncFn(Database)) {
    for major in majors {
        let cluster = Cluster::shared(major);
        // Shown only when the story fails: the last such line says where.
        eprintln!("on PostgreSQL {}", cluster.version());
        story(cluster.database().await).await;
    }
}

impl Database {
    /// A database that exists.
    pub fn named(cluster: Cluster, name: &str) -> Self {
        Self { cluster, name: name.into(), _passing: None }
    }

    /// Makes it drop the database when nobody has it any more.
    pub fn passing(self) -> Self {
        let passing = Arc::new(Passing(Self { _passing: None, ..self.clone() }));
        Self { _passing: Some(passing), ..self }
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn url(&self) -> String {
        self.url_as("postgres")
    }

    /// The server asks nobody for a password.
    pub fn url_as(&self, role: &str) -> String {
        let (host, port) = (self.cluster.host().display(), self.cluster.port());
        format!("postgresql://{role}@/{}?host={host}&port={port}", self.name)
    }

    /// Of a server made by [`Cluster::with_tcp`].
    pub fn tcp_url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{}", self.cluster.port(), self.name)
    }

    pub fn conninfo(&self) -> String {
        self.cluster.conninfo(&self.name)
    }

    pub async fn client(&self) -> Client {
        self.client_as("postgres").await
    }

    pub async fn client_as(&self, role: &str) -> Client {
        self.try_client_as(role).await.unwrap_or_else(|e| panic!("connect to {} as {role}: {e:?}", self.name))
    }

    /// For whoever expects to be refused.
    pub async fn try_client_as(&self, role: &str) -> Result<Client, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host_path(self.cluster.host()).port(self.cluster.port()).user(role).dbname(&self.name);
        let (client, connection) = config.application_name("story").connect(NoTls).await?;
        #[expect(clippy::disallowed_methods, reason = "it ends with the client")]
        tokio::spawn(connection);
        Ok(client)
    }

    /// Runs one or several statements.
    pub async fn execute(&self, sql: &str) {
        self.client().await.batch_execute(sql).await.unwrap_or_else(|e| panic!("{e:?}\nin: {sql}"));
    }

    /// The only column of the only row.
    pub async fn scalar<T: FromSqlOwned>(&self, sql: &str) -> T {
        let row = self.client().await.query_one(sql, &[]).await.unwrap_or_else(|e| panic!("{e:?}\nin: {sql}"));
        row.try_get(0).unwrap_or_else(|e| panic!("{e}\nin: {sql}"))
    }

    /// The first column of all rows.
    pub async fn column<T: FromSqlOwned>(&self, sql: &str) -> Vec<T> {
        let rows = self.client().await.query(sql, &[]).await.unwrap_or_else(|e| panic!("{e:?}\nin: {sql}"));
        rows.iter().map(|row| row.try_get(0).unwrap_or_else(|e| panic!("{e}\nin: {sql}"))).collect()
    }

    /// How many rows a table has.
    pub async fn count(&self, table: &str) -> i64 {
        self.scalar(&format!("select count(*) from {table}")).await
    }

    /// Ends every connection whose `application_name` is like this pattern; says how many.
    pub async fn terminate(&self, application_name: &str) -> i64 {
        let sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                   where datname = current_database() and pid <> pg_backend_pid() and application_name like $1";
        let row = self.client().await.query_one(sql, &[&application_name]).await;
        row.unwrap_or_else(|e| panic!("{e:?}\nin: {sql}")).get(0)
    }

    /// Loads a file under `tests/fixtures` with this major's own `psql`, variables set.
    ///
    /// ```ignore
    /// db.load("lukhas.sql", &[("rows", "1000")]);
    /// ```
    pub fn load(&self, fixture: &str, variables: &[(&str, &str)]) {
        self.load_as("postgres", fixture, variables);
    }

    /// As [`Database::load`], by a role that is to own what is made.
    pub fn load_as(&self, role: &str, fixture: &str, variables: &[(&str, &str)]) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let mut psql = self.cluster.program("psql");
        psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", &self.url_as(role)]);
        for (name, value) in variables {
            psql.arg(format!("--set={name}={value}"));
        }
        // By standard input: the server's user may not be able to read the checkout.
        psql.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut psql = psql.spawn().expect("run psql");
        // Where it has ended early, it says why.
        let _ = psql.stdin.take().expect("its input").write_all(with_parts(&folder.join(fixture)).as_bytes());
        let output = psql.wait_with_output().expect("wait for psql");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "loading {fixture} failed:\n{said}");
    }
}

/// The text of a fixture, its parts (`\ir FILE`) in it.
fn with_parts(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let part = |line: &str| Some(with_parts(&file.with_file_name(line.strip_prefix("\\ir ")?)));
    text.lines().map(|line| part(line).unwrap_or_else(|| format!("{line}\n"))).collect()
}

/// Drops a database when it is itself dropped: later, and beside the other stories.
struct Passing(Database);

impl Drop for Passing {
    fn drop(&mut self) {
        static LEFT: LazyLock<Mutex<mpsc::Sender<Database>>> = LazyLock::new(|| {
            let (left, taken) = mpsc::channel::<Database>();
            std::thread::Builder::new().name("janitor".into()).spawn(|| clean(taken)).expect("start the janitor");
            Mutex::new(left)
        });
        let _ = LEFT.lock().unwrap_or_else(PoisonError::into_inner).send(self.0.clone());
    }
}

fn clean(left: mpsc::Receiver<Database>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("start a runtime");
    for database in left {
        runtime.block_on(async {
            // What a story left open ends with its database. One that will not go, because of a prepared transaction
            // or a slot, ends with the server.
            if let Ok(client) = Database::named(database.cluster.clone(), "postgres").try_client_as("postgres").await {
                let _ = client.batch_execute(&format!(r#"drop database "{}" with (force)"#, database.name)).await;
            }
        });
    }
}
