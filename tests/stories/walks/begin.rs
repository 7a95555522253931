//! How a walk begins: a server, the application and its roles on it, and its job file as its reader would complete it.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use pgtend::config;
use pgtend::engine::schedule::Rota;

use super::{Application, Walk, engine, is_whole};
use crate::backup::bin;
use crate::shipped_partitions::{alone, scratch};
use crate::shipped_retention::{grants, never};
use crate::support::{Cluster, Database, Pgtend, S3Server, majors, newest_major};

/// The moment of the fixture. Later than the clock of whoever runs the tests, so that what the server writes down by its own
/// clock (when it analyzed a table, say) is never in the future.
const BEGIN: &str = "2027-06-15T07:00:00Z";

/// What a server is given that may hold millions of rows.
const LARGE: &[(&str, &str)] =
    &[("shared_buffers", "512MB"), ("work_mem", "64MB"), ("maintenance_work_mem", "256MB"), ("max_wal_size", "8GB")];

/// A job file, and what it leaves to its reader: the server on which a restore test that is switched off would restore; and the
/// programs of this server's major, which need not be on the PATH of the tests.
fn as_here(db: &Database, file: &str) -> String {
    let pg_bin = format!("]\npg_bin = \"{}\"\n", bin(db).display());
    let with_programs = ["backup", "restore_test"]
        .iter()
        .fold(file.to_owned(), |text, kind| text.replace(&format!(".{kind}]\n"), &format!(".{kind}{pg_bin}")));
    let completed = with_programs.replace("# server = \"scratch\"", "server = \"scratch\"");
    if is_whole() {
        return completed;
    }
    // A machine that tells other stories beside may take longer than the five seconds that users are kept waiting for.
    let referred_to = "{ table = \"public.test_runs\", keep";
    completed.replace(referred_to, &referred_to.replace("keep", "detach_timeout = \"1m\", keep"))
}

/// What job files name, as they name it: a bucket, and a directory.
fn stores(bucket: &S3Server) -> String {
    let file = bucket.settings().credentials_file.expect("credentials");
    let s3 = |name: &str| format!("{}credentials_file = \"{}\"\n", bucket.config(name), file.display());
    let artifacts = s3("artifacts").replace("prefix = \"pg\"", "prefix = \"artifacts\"");
    format!("{}{artifacts}[stores.local.directory]\npath = \"local\"\n", s3("offsite"))
}

/// The statements that a job file gives, as its comments want them on this major: from 16 on membership is nothing that pgtend
/// has by itself, but a role that it takes on; and where its jobs would then not be let VACUUM what others own, the role that may.
fn granted(file: &str, owner: &str, major: u32) -> Vec<String> {
    let member = format!("GRANT {owner} TO pgtend");
    let mut found: Vec<String> = grants(file)
        .into_iter()
        .map(|grant| match grant.strip_suffix(';') {
            Some(grant) if grant == member && major >= 16 => format!("{grant} WITH INHERIT FALSE, SET TRUE"),
            _ => grant,
        })
        .collect();
    if major >= 17 && file.contains("`GRANT pg_maintain TO pgtend`") {
        found.push("GRANT pg_maintain TO pgtend".into());
    }
    found
}

fn number(variable: &str, otherwise: i32) -> i32 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

impl Walk {
    /// The application as its fixture leaves it, on a server of its own, and its job file read.
    pub async fn begin(application: &'static Application) -> Self {
        let Application { name, owner, writer, .. } = application;
        let major = if application.on_the_newest { newest_major() } else { majors()[0] };
        let cluster = if is_whole() { Cluster::with(major, LARGE) } else { Cluster::own(major) };
        let db = cluster.database().await;
        let (begin, rows) = (BEGIN.parse::<DateTime<Utc>>().expect("a time"), number("PGTEND_WALK_ROWS", 300));
        let end = begin + TimeDelta::days(number("PGTEND_WALK_DAYS", 731).into());
        let database = format!("\"{}\"", db.name());
        db.execute(&format!(
            "CREATE ROLE {owner} LOGIN CREATEROLE; ALTER DATABASE {database} OWNER TO {owner};
             CREATE ROLE pgtend LOGIN {}; GRANT CREATE ON DATABASE {database} TO pgtend;",
            application.attributes
        ))
        .await;
        let now = begin.to_rfc3339();
        let mut variables = vec![("rows", rows.to_string()), ("now", now.clone())];
        variables.extend((application.variables)(rows));
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        db.load_as(owner, &format!("{name}.sql"), &variables);
        db.load_as(owner, &format!("days/{name}.sql"), &variables);
        db.execute(&format!(
            "{}; GRANT USAGE ON SCHEMA walk TO {writer}; GRANT ALL ON ALL TABLES IN SCHEMA walk TO {writer}",
            application.rights
        ))
        .await;
        let file = alone(&format!("{name}.toml"));
        for grant in granted(&file, owner, major) {
            db.execute(&grant).await;
        }
        // Some of the GRANTs are on tables alone, and their partitions of today were there before.
        db.execute("CREATE TABLE walk.given AS SELECT inhrelid FROM pg_inherits").await;
        let (never, names) = never(&file);
        for name in names.iter().filter(|name| !name.ends_with(".*")) {
            assert_eq!(db.count(&format!("(SELECT '{name}'::regclass) AS named")).await, 1);
        }
        let bucket = if is_whole() { S3Server::start_in_files() } else { S3Server::start() };
        let program = Pgtend::new(&format!(
            "[databases.main]\nurl = \"{}\"\n{never}[http]\nlisten = \"off\"\n[history]\nkeep = \"3 years\"\n{}\n{}{}",
            db.url_as("pgtend"),
            as_here(&db, &file),
            stores(&bucket),
            scratch(&Database::named(cluster, "postgres").url()),
        ));
        let config = Arc::new(config::load(&program.config()).unwrap_or_else(|error| panic!("{error:?}")));
        let (sql, writes) = (db.client().await, db.client_as(writer).await);
        for client in [&sql, &writes] {
            client.batch_execute("SET timezone = 'UTC'").await.expect("UTC");
        }
        let engine = Arc::new(engine(&config));
        let rota = Rota::new(&config.jobs, &HashMap::new(), begin);
        let (last, rung, took, backed_up, succeeded, seen) = Default::default();
        let mut walk = Self {
            application,
            db,
            bucket,
            program,
            config,
            engine,
            rota,
            succeeded,
            now: begin,
            begin,
            end,
            rows,
            last,
            rung,
            took,
            backed_up,
            sql,
            writes,
            seen,
            awake: vec![begin],
            never: Vec::new(),
        };
        walk.never = walk.fingerprints().await;
        walk
    }
}
