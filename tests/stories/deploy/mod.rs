//! What is shipped for those who run pgtend is accepted by the programs that will read it, and names nothing that is not there.

mod alerts;
mod containers;
mod dashboard;
mod promql;
mod units;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A file of this repository.
fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(shipped(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All that a program said, and whether it ended well.
fn told(command: &mut Command) -> (bool, String) {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().unwrap_or_else(|error| panic!("{name}: {error}: run `make deps`"));
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// The documents of a YAML file. Python reads it, as do most programs that will.
fn yaml(path: &str) -> Vec<Value> {
    const READ: &str = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(open(sys.argv[1]))), sys.stdout)";
    let (well, said) = told(python().args(["-c", READ]).arg(shipped(path)));
    assert!(well, "{path}: {said}");
    serde_json::from_str(&said).expect("what Python has written")
}

/// Python, with what scripts/checkers.sh has fetched.
fn python() -> Command {
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", checkers());
    python
}

fn checkers() -> PathBuf {
    let checkers = shipped(".cache/checkers");
    assert!(checkers.join("complete").exists(), "the checkers are not installed: run `make deps`");
    checkers
}
