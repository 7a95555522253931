//! Which `pg_dump` fits the server, found anew for each run: servers are upgraded while daemons run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::config::{Backup, Format};
use super::survey::{Names, Server};
use crate::pg::{Ident, TableName};

/// Where packages put the programs of each major.
const PLACES: [&str; 3] = ["/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/libexec/postgresql*"];

/// The programs of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    pub folder: PathBuf,
    /// `15.18`
    pub version: String,
    pub major: i32,
}

impl Tools {
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn ask(folder: &Path) -> Option<Self> {
        let answer = Command::new(folder.join("pg_dump")).arg("--version").output().ok()?;
        let (version, major) = version(&String::from_utf8_lossy(&answer.stdout))?;
        Some(Self { folder: folder.into(), version, major })
    }
}

/// `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`
fn version(said: &str) -> Option<(String, i32)> {
    let version = said.strip_prefix("pg_dump (PostgreSQL) ")?.split_whitespace().next()?.to_owned();
    let major = major(&version)?;
    Some((version, major))
}

/// 15 of `15.18`, 19 of `19beta1`.
pub fn major(version: &str) -> Option<i32> {
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The oldest installation of `major` or newer, with all of `programs`: in `pg_bin` if the config names it, else in the
/// usual places and on the PATH. Starts programs, so it may block. `missing` is given what there is.
fn oldest(
    major: i32,
    pg_bin: Option<&Path>,
    programs: &[&str],
    missing: impl FnOnce(&[Tools]) -> String,
) -> Result<Tools> {
    let folders = match pg_bin {
        Some(folder) => vec![folder.to_owned()],
        None => folders(),
    };
    let mut found: Vec<Tools> = folders.iter().filter_map(|folder| Tools::ask(folder)).collect();
    // Of two of one major, the one that comes first.
    found.sort_by_key(|tools| tools.major);
    let Some(tools) = found.iter().find(|tools| tools.major >= major) else {
        bail!("{}", missing(&found));
    };
    for program in programs {
        if !tools.program(program).exists() {
            bail!("{program} is not in {}, where pg_dump is: install the rest of its package", tools.folder.display());
        }
    }
    Ok(tools.clone())
}

/// The programs that dump a server.
///
/// # Errors
/// There is none, or one of its programs is missing.
pub fn find(server: &Server, pg_bin: Option<&Path>) -> Result<Tools> {
    let programs = ["pg_restore", "pg_dumpall"];
    oldest(server.version_num / 10_000, pg_bin, &programs, |found| missing(server, pg_bin, found))
}

/// The programs that read a dump of `pg_dump_version`: older ones do not know its form.
///
/// # Errors
/// As [`find`].
pub async fn look_for_reader(pg_dump_version: &str, pg_bin: Option<&Path>) -> Result<Tools> {
    let (said, pg_bin) = (pg_dump_version.to_owned(), pg_bin.map(Path::to_owned));
    let finding = move || {
        let major = major(&said).with_context(|| format!("{said:?} is no version of pg_dump"))?;
        oldest(major, pg_bin.as_deref(), &["pg_restore", "psql"], |found| {
            format!(
                "the dump was made by pg_dump {said}, and only programs of version {major} or newer read it; {}: install \
                 postgresql-client-{major}, or name the folder of a newer one by the job's `pg_bin`",
                seen(found, pg_bin.as_deref())
            )
        })
    };
    tokio::task::spawn_blocking(finding).await.context("look for pg_restore")?
}

fn missing(server: &Server, pg_bin: Option<&Path>, found: &[Tools]) -> String {
    let needed = server.version_num / 10_000;
    format!(
        "the server is PostgreSQL {}, which only a pg_dump of version {needed} or newer can dump; {}: install \
         postgresql-client-{needed}, or name the folder of a newer one by `pg_bin`",
        server.version,
        seen(found, pg_bin)
    )
}

fn seen(found: &[Tools], pg_bin: Option<&Path>) -> String {
    let seen: Vec<_> = found.iter().map(|tools| format!("{} in {}", tools.version, tools.folder.display())).collect();
    match (seen.as_slice(), pg_bin) {
        ([], Some(folder)) => format!("there is none in {} (pg_bin)", folder.display()),
        ([], None) => "there is none in the usual places, nor on the PATH".into(),
        (seen, _) => format!("found {}", seen.join(", ")),
    }
}

fn folders() -> Vec<PathBuf> {
    let usual = PLACES.iter().filter_map(|place| glob::glob(place).ok()).flatten().flatten();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut seen = BTreeSet::new();
    usual
        .chain(std::env::split_paths(&path))
        .filter(|folder| folder.join("pg_dump").exists())
        .filter(|folder| seen.insert(folder.canonicalize().unwrap_or_else(|_| folder.clone())))
        .collect()
}

/// The arguments of `pg_dump`, but for the connection; none of them secret. Names are meant literally.
pub fn arguments(backup: &Backup, names: &Names) -> Vec<String> {
    let mut args = vec![
        format!("--format={}", backup.format().as_str()),
        "--no-password".into(),
        format!("--lock-wait-timeout={}", backup.lock_wait.0.as_millis().max(1)),
    ];
    if backup.format() != Format::Plain {
        // Packed by us: faster, and in a stream that other tools open.
        args.push("--compress=0".into());
    }
    if let Some(spooling) = backup.spooling() {
        args.push(format!("--jobs={}", spooling.jobs));
        // It is on the disk for a while only.
        args.push("--no-sync".into());
    }
    let schemas = |option: &str, schemas: &[Ident]| {
        schemas.iter().map(|schema| format!("--{option}={schema}")).collect::<Vec<_>>()
    };
    let tables = |option: &str, tables: &[TableName]| {
        tables.iter().map(|table| format!("--{option}={table}")).collect::<Vec<_>>()
    };
    args.extend(schemas("schema", &backup.schemas));
    args.extend(schemas("exclude-schema", &backup.exclude_schemas));
    args.extend(tables("table", &names.tables));
    args.extend(tables("exclude-table", &names.exclude_tables));
    args.extend(tables("exclude-table-data", &names.exclude_table_data));
    if !backup.schemas.is_empty() || !names.tables.is_empty() {
        // A name that is not there is a mistake, and not a smaller backup.
        args.push("--strict-names".into());
    }
    args
}

/// The arguments of `pg_dumpall`.
pub fn globals_arguments(server: &Server) -> Vec<String> {
    let mut args = vec!["--globals-only".into(), "--no-password".into(), format!("--database={}", server.database)];
    if !server.reads_passwords {
        args.push("--no-role-passwords".into());
    }
    args
}

/// # Errors
/// As [`find`].
pub async fn look_for(server: &Server, pg_bin: Option<&Path>) -> Result<Tools> {
    let (server, pg_bin) = (server.clone(), pg_bin.map(Path::to_owned));
    tokio::task::spawn_blocking(move || find(&server, pg_bin.as_deref())).await.context("look for pg_dump")?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::backup::survey::tests::server;

    #[test]
    fn a_version_is_read_whoever_packaged_it() {
        let check = |said: &str, expect: Option<(&str, i32)>| {
            assert_eq!(version(said), expect.map(|(version, major)| (version.to_owned(), major)), "{said}");
        };
        check("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some(("15.18", 15)));
        check("pg_dump (PostgreSQL) 19beta1\n", Some(("19beta1", 19)));
        check("pg_dump: command not found", None);
        check("", None);
    }

    #[test]
    fn a_server_that_is_too_new_is_told_with_what_to_install() {
        let mut server = server();
        server.version_num = 180_004;
        server.version = "18.4".into();
        let tools = Tools { folder: "/usr/lib/postgresql/15/bin".into(), version: "15.18".into(), major: 15 };
        let said = missing(&server, None, &[tools]);
        for words in ["18.4", "15.18 in /usr/lib/postgresql/15/bin", "postgresql-client-18", "pg_bin"] {
            assert!(said.contains(words), "{said}");
        }
        assert!(missing(&server, Some(Path::new("/opt/pg")), &[]).contains("none in /opt/pg"));
    }

    #[test]
    fn names_are_meant_literally() {
        let backup: Backup = toml::from_str(
            r#"
            to = [{ store = "a" }]
            schemas = ['"My ""Schema"""', "app"]
            exclude_tables = ['app."a.b*"']
            "#,
        )
        .unwrap();
        let names = Names { exclude_tables: backup.exclude_tables.clone(), ..Names::default() };
        let args = arguments(&backup, &names);
        for arg in
            [r#"--schema="My ""Schema""""#, r#"--schema="app""#, r#"--exclude-table="app"."a.b*""#, "--strict-names"]
        {
            assert!(args.iter().any(|known| known == arg), "{arg} in {args:?}");
        }
        assert!(args.contains(&"--compress=0".into()));
        assert!(args.contains(&"--lock-wait-timeout=300000".into()));
    }

    #[test]
    fn workers_write_what_we_pack_to_files_that_need_not_last() {
        let args = |lines: &str| {
            let backup: Backup = toml::from_str(&format!("to = [{{ store = 'a' }}]\n{lines}")).unwrap();
            arguments(&backup, &Names::default()).join(" ")
        };
        let directory = args("format = 'directory'\njobs = 4\nspool = '/s'\nspool_max = '1 GB'");
        for arg in ["--format=directory", "--jobs=4", "--compress=0", "--no-sync", "--lock-wait-timeout=300000"] {
            assert!(directory.contains(arg), "{arg} in {directory}");
        }
        for other in [args(""), args("format = 'plain'")] {
            assert!(!other.contains("--jobs") && !other.contains("--no-sync"), "{other}");
        }
    }
}
