//! Every fault of a config has a tiny file named after it in tests/config-faults, and the exact message beside it.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::tree::Env;
use super::*;

const ENVIRONMENT: Env = &|name| match name {
    "PASSWORD" | "SECRET" => Some("s3cr-et".into()),
    "EMPTY" => Some(String::new()),
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
