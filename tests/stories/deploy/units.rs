//! The units of systemd/. What they promise when they run is looked at by scripts/test_systemd.sh, on a real systemd.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{read, shipped, told};

const UNITS: [&str; 2] = ["pgtend.service", "pgtend@.service"];

/// An instance of a template, as it is called when it runs.
fn called(unit: &str) -> String {
    unit.replace('@', "@main")
}

/// What a unit says, without what it says to people.
fn lines(unit: &str) -> Vec<String> {
    let text = read(&format!("systemd/{unit}"));
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(Into::into).collect()
}

/// `systemd-analyze` ends well whatever it finds, so that nothing may be said at all.
fn analyze(folder: &Path, unit: &str) -> String {
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no"]).arg(folder.join(called(unit)));
    told(&mut command).1
}

#[test]
fn systemd_has_nothing_to_say_of_the_units() {
    let folder = tempfile::tempdir().unwrap();
    for unit in UNITS {
        // The program has to be somewhere.
        let text = read(&format!("systemd/{unit}")).replace("=pgtend ", &format!("={} ", env!("CARGO_BIN_EXE_pgtend")));
        fs::write(folder.path().join(unit), &text).unwrap();
        assert_eq!(analyze(folder.path(), unit), "", "{unit}");

        fs::write(folder.path().join(unit), text.replace("WatchdogSec=", "WatchdogSecs=")).unwrap();
        assert!(analyze(folder.path(), unit).contains("WatchdogSecs"), "a mistake in {unit} is not seen");
    }
}

/// 0 is a service that can do nothing, 10 one that can do everything; "OK" begins at 2.
#[test]
fn the_units_leave_little_to_be_abused() {
    for unit in UNITS {
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", "--no-pager", "--threshold=15"]);
        let (well, said) = told(command.arg(shipped("systemd").join(unit)));
        assert!(well, "{unit} is exposed by more than 1.5:\n{said}");
    }
}

/// One is the other for an instance: what is changed in one and forgotten in the other would be found by somebody else.
#[test]
fn the_template_says_what_the_unit_says() {
    let for_an_instance = |line: &String| {
        let line = match line.as_str() {
            "Description=pgtend, tending PostgreSQL databases" => return format!("{line} (%i)"),
            "StateDirectory=pgtend" | "WorkingDirectory=/var/lib/pgtend" => return format!("{line}/%i"),
            line => line,
        };
        line.replace("/etc/pgtend/pgtend.toml", "/etc/pgtend/%i.toml")
    };
    let expected: Vec<String> = lines("pgtend.service").iter().map(for_an_instance).collect();
    let (own, common): (Vec<String>, _) =
        lines("pgtend@.service").into_iter().partition(|line| line == "EnvironmentFile=-/etc/default/pgtend-%i");
    assert_eq!(common, expected);
    assert_eq!(own.len(), 1);
}

/// systemd kills what has not ended by then; a run that is about to come to its safe point should not be.
#[test]
fn the_units_wait_longer_than_the_daemon_does() {
    let seconds = |unit, key: &str| -> u64 {
        let line = lines(unit).into_iter().find_map(|line| Some(line.strip_prefix(key)?.to_string()));
        line.unwrap_or_else(|| panic!("no {key}")).trim_end_matches('s').parse().unwrap()
    };
    for unit in UNITS {
        let fixed = read("docs/configuration.md");
        assert!(fixed.contains("| `shutdown_timeout` | `\"30s\"` |"), "its default is another now");
        assert!(seconds(unit, "TimeoutStopSec=") > 30 + 10, "{unit}");
    }
}

#[test]
fn the_user_and_the_folders_are_as_systemd_reads_them() {
    let root = tempfile::tempdir().unwrap();
    let at = |program: &str, arguments: &[&str], file: &str| {
        let mut command = Command::new(program);
        told(command.arg(format!("--root={}", root.path().display())).args(arguments).arg(shipped(file)))
    };
    let (well, said) = at("systemd-sysusers", &["--dry-run"], "systemd/sysusers.d/pgtend.conf");
    assert!(well && said.contains("pgtend"), "{said}");
    fs::create_dir_all(root.path().join("etc")).unwrap();
    fs::write(root.path().join("etc/passwd"), "root:x:0:0::/root:/bin/sh\npgtend:x:0:0::/:/bin/sh\n").unwrap();
    fs::write(root.path().join("etc/group"), "root:x:0:\npgtend:x:0:\n").unwrap();
    let (well, said) = at("systemd-tmpfiles", &["--create"], "systemd/tmpfiles.d/pgtend.conf");
    assert!(well && said.is_empty(), "{said}");
    assert!(root.path().join("etc/pgtend/credentials").is_dir());
    assert!(root.path().join("var/lib/pgtend").is_dir());
}
