//! Every fault of a config has a tiny file named after it in tests/config-faults, and the exact message beside it. Set
//! `PGTEND_WRITE_EXPECTED=1` to write the messages anew, and read the difference before committing it.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::tree::Env;
use super::*;

const ENVIRONMENT: Env = &|name| match name {
    "PASSWORD" | "SECRET" => Some("s3cr-et".into()),
    "EMPTY" => Some(String::new()),
    // In a URL, where a percent sign begins an escape, this is malformed.
    "PERCENT" => Some("s3cr%et".into()),
    "DATABASE" => Some("main".into()),
    _ => None,
};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// Paths below the folder, so that a message reads the same in every checkout.
fn relative(text: &str, folder: &Path) -> String {
    text.replace(&format!("{}/", folder.display()), "")
}

fn outcome(path: &Path) -> String {
    match load_with(path, ENVIRONMENT) {
        Err(errors) => errors.to_string() + "\n",
        Ok(config) => config
            .warnings
            .iter()
            .map(|warning| {
                let (path, line) = warning.origin.place(None);
                format!("{}:{line}: warning: {}; {}\n", path.display(), warning.message, warning.mend)
            })
            .collect(),
    }
}

#[test]
fn each_fault_has_its_exact_message() {
    let folder = folder("config-faults");
    let mut wrong = Vec::new();
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    assert!(files.len() > 40, "the faults are gone from {}", folder.display());
    for path in files {
        let expected = path.with_extension("expected");
        let said = relative(&outcome(&path), &folder);
        if std::env::var_os("PGTEND_WRITE_EXPECTED").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        let wanted = fs::read_to_string(&expected).unwrap_or_default();
        if said != wanted || said.is_empty() {
            wrong.push(format!("{}\n--- said\n{said}--- expected\n{wanted}", path.display()));
        }
        assert!(!said.contains("s3cr"), "a secret is shown: {said}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn summary(config: &Config, folder: &Path) -> String {
    let mut lines = vec![format!(
        "shutdown {:?}, runs {}, history {}, http {:?}",
        config.shutdown_timeout,
        config.max_runs,
        config.history_keep,
        config.http.as_ref().map(|http| http.listen)
    )];
    lines.extend(config.sources.iter().map(|source| format!("{}", source.path.display())));
    lines.extend(
        config.databases.iter().map(|(name, database)| format!("{name}: {} connections", database.max_connections)),
    );
    lines.extend(config.stores.iter().map(|(name, store)| format!("{name}: {:#?}", store.settings)));
    for job in &config.jobs {
        let (path, line) = job.origin.place(None);
        lines.push(format!(
            "{} is {} in {}, {}:{line}\n  {:?} {} jitter {:?} enabled {} timeout {:?} catch_up {} lock_timeout {:?}\n  \
             retry {} {:?} {:?} window {} signal {:?} after {:?}",
            job.name,
            job.spec.kind(),
            job.database,
            path.display(),
            job.schedule.as_ref().map(crate::cron::Cron::as_str),
            job.timezone,
            job.jitter,
            job.enabled,
            job.timeout,
            job.catch_up,
            job.lock_timeout,
            job.retry.attempts,
            job.retry.wait,
            job.retry.max_wait,
            job.window.map_or("none".into(), |window| window.to_string()),
            job.signal,
            job.after.iter().map(crate::run::JobName::as_str).collect::<Vec<_>>(),
        ));
    }
    relative(&lines.join("\n"), folder)
}

#[test]
fn a_full_config_says_what_it_says_and_defaults_fill_in_key_by_key() {
    let folder = folder("config-good");
    let config = load_with(&folder.join("pgtend.toml"), ENVIRONMENT).unwrap_or_else(|errors| panic!("{errors}"));
    insta::assert_snapshot!(summary(&config, &folder), @r#"
    shutdown 45s, runs 3, history 6 months, http Some([::1]:9000)
    pgtend.toml
    jobs/a.toml
    jobs/b.toml
    more/one.toml
    main: 4 connections
    tenant-a: 8 connections
    tenant-b: 8 connections
    aws: S3(
        Settings {
            bucket: "arn:aws:s3:eu-west-1:123456789012:accesspoint/backups",
            prefix: "",
            region: None,
            endpoint: None,
            path_style: false,
            max_parts: 10000,
            part_size: 8388608,
            parts_in_flight: 4,
            sse: None,
            storage_class: None,
            check_etags: true,
            credentials_file: None,
            profile: None,
            ca_file: None,
            attempts: 10,
            stall_timeout: 60s,
        },
    )
    local: Directory(
        Settings {
            path: "backups",
        },
    )
    offsite: S3(
        Settings {
            bucket: "app-backups",
            prefix: "pg/",
            region: Some(
                "eu-west-1",
            ),
            endpoint: Some(
                "https://objects.internal",
            ),
            path_style: true,
            max_parts: 1000,
            part_size: 16777216,
            parts_in_flight: 2,
            sse: Some(
                Kms {
                    key: Some(
                        "alias/backups",
                    ),
                },
            ),
            storage_class: Some(
                "STANDARD_IA",
            ),
            check_etags: false,
            credentials_file: Some(
                "aws",
            ),
            profile: Some(
                "backups",
            ),
            ca_file: None,
            attempts: 3,
            stall_timeout: 10s,
        },
    )
    dump is backup in main, jobs/b.toml:10
      Some("0 2 * * *") Europe/Berlin jitter 0ns enabled true timeout 1200s catch_up true lock_timeout 300ms
      retry 2 30s 600s window 22:00-06:00 signal None after []
    follows-all is sql in main, jobs/b.toml:1
      None Europe/Berlin jitter 0ns enabled true timeout 1200s catch_up true lock_timeout 300ms
      retry 2 30s 600s window 22:00-06:00 signal None after ["tenants@tenant-a", "tenants@tenant-b", "plain"]
    follows-each@main is sql in main, jobs/b.toml:5
      None Europe/Berlin jitter 0ns enabled true timeout 1200s catch_up true lock_timeout 300ms
      retry 2 30s 600s window 22:00-06:00 signal None after ["tenants@tenant-a", "tenants@tenant-b"]
    follows-each@tenant-a is sql in tenant-a, jobs/b.toml:5
      None Europe/Berlin jitter 0ns enabled true timeout 1200s catch_up true lock_timeout 300ms
      retry 2 30s 600s window 22:00-06:00 signal None after ["tenants@tenant-a"]
    follows-each@tenant-b is sql in tenant-b, jobs/b.toml:5
      None Europe/Berlin jitter 0ns enabled true timeout 1200s catch_up true lock_timeout 300ms
      retry 2 30s 600s window 22:00-06:00 signal None after ["tenants@tenant-b"]
    nightly is sql in main, jobs/a.toml:1
      Some("30 2 * * *") UTC jitter 0ns enabled true timeout 86400s catch_up true lock_timeout 300ms
      retry 2 30s 600s window 22:00-06:00 signal None after []
    one is sql in main, more/one.toml:1
      None Europe/Berlin jitter 0ns enabled true timeout 1200s catch_up true lock_timeout 300ms
      retry 2 30s 600s window 09:00-17:00 signal None after []
    plain is sql in main, pgtend.toml:53
      None Europe/Berlin jitter 0ns enabled true timeout 1200s catch_up true lock_timeout 300ms
      retry 2 30s 600s window 22:00-06:00 signal None after []
    tenants@tenant-a is sql in tenant-a, pgtend.toml:56
      Some("@hourly") Europe/Berlin jitter 60s enabled false timeout 1200s catch_up false lock_timeout 1s
      retry 5 1200s 1200s window 22:00-06:00 signal Some(7) after []
    tenants@tenant-b is sql in tenant-b, pgtend.toml:56
      Some("@hourly") Europe/Berlin jitter 60s enabled false timeout 1200s catch_up false lock_timeout 1s
      retry 5 1200s 1200s window 22:00-06:00 signal Some(7) after []
    "#);
    let http = config.http.as_ref().unwrap();
    assert_eq!(http.token.as_ref().unwrap().expose_secret(), "let-me-in");
    let crate::kinds::Spec::Sql(sql) = &config.jobs.iter().find(|job| job.name.as_str() == "plain").unwrap().spec
    else {
        panic!("not sql")
    };
    assert_eq!(sql.statements, ["SELECT '${not a variable}', 'main'"]);
}

#[test]
fn no_secret_is_in_the_debug_form() {
    let config = load_with(&folder("config-good").join("pgtend.toml"), ENVIRONMENT).unwrap();
    let debug = format!("{config:?}");
    assert!(!debug.contains("s3cr") && !debug.contains("let-me-in"), "{debug}");
}

fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pgtend.toml");
    fs::write(&path, text).unwrap();
    (folder, path)
}

#[test]
fn the_least_config_gets_the_defaults() {
    let (folder, path) = written("[databases.main]\n[jobs.a.sql]\nstatements = [\"SELECT 1\"]\n");
    let config = load_with(&path, ENVIRONMENT).unwrap();
    insta::assert_snapshot!(summary(&config, folder.path()), @r#"
    shutdown 30s, runs 8, history 90 days, http Some(127.0.0.1:9934)
    pgtend.toml
    main: 8 connections
    a is sql in main, pgtend.toml:2
      None UTC jitter 0ns enabled true timeout 3600s catch_up true lock_timeout 300ms
      retry 1 30s 600s window none signal None after []
    "#);
}

#[test]
fn a_backup_may_take_a_day() {
    let text =
        "[databases.main]\n[stores.a.directory]\npath = \"a\"\n[jobs.a]\n[jobs.a.backup]\nto = [{ store = \"a\" }]\n";
    let (_folder, path) = written(text);
    assert_eq!(load_with(&path, ENVIRONMENT).unwrap().jobs[0].timeout, std::time::Duration::from_secs(24 * 3600));
    let (_folder, path) = written(&text.replace("[jobs.a]", "[jobs.a]\ntimeout = \"2h\""));
    assert_eq!(load_with(&path, ENVIRONMENT).unwrap().jobs[0].timeout, std::time::Duration::from_secs(7200));
}

#[test]
fn http_can_be_off_and_the_environment_may_be_empty() {
    let (_folder, path) = written("[databases.main]\npassword_file = \"${EMPTY}\"\n[http]\nlisten = \"off\"\n");
    assert!(load_with(&path, ENVIRONMENT).unwrap().http.is_none());
}

#[test]
fn a_file_that_two_patterns_match_is_read_once_and_the_file_itself_never() {
    let (folder, path) = written("include = [\"*.toml\", \"b.toml\", \"./b.toml\"]\n[databases.main]\n");
    fs::write(folder.path().join("b.toml"), "[jobs.b.sql]\nstatements = [\"SELECT 1\"]\n").unwrap();
    let config = load_with(&path, ENVIRONMENT).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.sources.len(), 2);
    assert_eq!(config.jobs.len(), 1);
}

#[test]
fn a_config_that_is_not_there_says_so() {
    let error = load_with(Path::new("/no/such/pgtend.toml"), ENVIRONMENT).unwrap_err().to_string();
    assert_eq!(error, "/no/such/pgtend.toml: cannot be read: No such file or directory");
}

#[test]
fn keys_nested_a_hundred_thousand_deep_end_in_an_error_not_in_the_stack() {
    for text in [
        "a.".repeat(100_000) + "a = 1",
        "a = ".to_owned() + &"[".repeat(100_000),
        "[".to_owned() + &"a.".repeat(100_000) + "a]",
    ] {
        let (_folder, path) = written(&text);
        assert!(load_with(&path, ENVIRONMENT).is_err());
    }
}

/// Bits of syntax in any order.
const TOKENS: &str = r#"(\[jobs\.[a-c]\]|[a-z]{1,3} = |"|\n|\{|\[|[0-9-]{1,4}|\$\{){0,40}"#;

/// Good config, cut up and sewn together wrongly: nearer to what people write than random characters are.
fn garbled() -> impl Strategy<Value = String> {
    let good = ["pgtend.toml", "jobs/a.toml", "jobs/b.toml"]
        .map(|file| fs::read_to_string(folder("config-good").join(file)).unwrap())
        .concat();
    let length = good.len();
    let pieces = proptest::collection::vec(
        (0..length, 0..40usize, "\\PC{0,3}|[\\[\\]{}\"'=.,#\n]{0,3}|\\$\\$?\\{[A-Z]{0,8}\\}?"),
        1..12,
    );
    let wrong = move |pieces: Vec<(usize, usize, String)>| {
        let mut text = good.clone();
        for (at, count, instead) in pieces {
            let at = text.floor_char_boundary(at.min(text.len()));
            let end = text.ceil_char_boundary((at + count).min(text.len()));
            text.replace_range(at..end, &instead);
        }
        text
    };
    pieces.prop_map(wrong)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_stands_in_the_file_load_answers(text in prop_oneof!["\\PC{0,200}", TOKENS, garbled()]) {
        let (_folder, path) = written(&text);
        match load_with(&path, ENVIRONMENT) {
            Ok(config) => prop_assert!(config.databases.len() < 10),
            Err(errors) => {
                prop_assert!(!errors.0.is_empty());
                prop_assert!(!errors.to_string().contains("s3cr"));
            }
        }
    }

    #[test]
    fn whatever_bytes_stand_in_the_file_load_answers(bytes: Vec<u8>) {
        let (_folder, path) = written("");
        fs::write(&path, bytes).unwrap();
        prop_assert!(load_with(&path, ENVIRONMENT).is_err());
    }
}
