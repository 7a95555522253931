//! Which PostgreSQL installations there are to test on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The programs of one PostgreSQL major.
#[derive(Debug, Clone)]
pub struct Installation {
    pub major: u32,
    /// `15.18`, `19beta1`.
    pub version: String,
    bin: PathBuf,
}

impl Installation {
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// The folder of its programs.
    pub fn bin(&self) -> PathBuf {
        self.bin.clone()
    }
}

/// The majors that a story is told on, the oldest first.
///
/// # Panics
/// There is only one, and nobody asked for that: a run that quietly tests one major would look like one that tests all.
pub fn majors() -> Vec<u32> {
    INSTALLATIONS.keys().copied().collect()
}

/// The majors for a story that takes long, and of which what differs between majors is told by shorter ones: the newest,
/// unless all majors are asked for (`PGTEND_TEST_MAJORS=all make test`).
pub fn majors_for_long() -> Vec<u32> {
    if std::env::var_os("PGTEND_TEST_QUICK").is_some_and(|value| !value.is_empty()) {
        vec![newest_major()]
    } else {
        majors()
    }
}

/// The newest major there is.
pub fn newest_major() -> u32 {
    *INSTALLATIONS.last_key_value().expect("at least one major").0
}

/// The majors that have the files of an extension: servers fetched for the tests have none of those that Debian packs with its
/// own. Where none of the tested ones has them, the newest there is besides; where none at all has, nothing, and it is said.
pub fn majors_with_extension(name: &str) -> Vec<u32> {
    let has = |installation: &&Installation| {
        let library = installation.bin.with_file_name("lib");
        ["", "postgresql"].iter().any(|folder| library.join(folder).join(format!("{name}.so")).exists())
    };
    let tested: Vec<u32> = INSTALLATIONS.values().filter(has).map(|found| found.major).collect();
    if !tested.is_empty() {
        return tested;
    }
    let besides = FOUND.values().rev().find(has).map(|found| found.major);
    match besides {
        Some(major) => println!("none of {:?} has the files of {name}: told on {major}", majors()),
        None => println!("skipped: no PostgreSQL here has the files of {name}"),
    }
    besides.into_iter().collect()
}

pub fn installation(major: u32) -> &'static Installation {
    FOUND.get(&major).unwrap_or_else(|| panic!("PostgreSQL {major} is not among {:?}", FOUND.keys()))
}

/// All there are.
static FOUND: LazyLock<BTreeMap<u32, Installation>> = LazyLock::new(find);

/// Those that are tested.
static INSTALLATIONS: LazyLock<BTreeMap<u32, Installation>> = LazyLock::new(|| {
    let found = FOUND.clone();
    let names = found.keys().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let Ok(wanted) = std::env::var("PGTEND_TEST_MAJORS") else {
        assert!(
            found.len() > 1,
            "the tests need at least two PostgreSQL majors and found [{names}]: run `make deps`, or set \
             PGTEND_TEST_MAJORS=15, say, to test on fewer"
        );
        return found;
    };
    let wanted = wanted.split([',', ' ']).filter(|word| !word.is_empty()).map(|word| {
        let major = word.parse().unwrap_or_else(|_| panic!("PGTEND_TEST_MAJORS: {word:?} is not a PostgreSQL major"));
        let installation =
            found.get(&major).unwrap_or_else(|| panic!("PGTEND_TEST_MAJORS asks for {major}; found [{names}]"));
        (major, installation.clone())
    });
    let wanted: BTreeMap<_, _> = wanted.collect();
    assert!(!wanted.is_empty(), "PGTEND_TEST_MAJORS names no major; found [{names}]");
    wanted
});

/// The distribution's own first, then what `scripts/majors.sh` fetched.
fn find() -> BTreeMap<u32, Installation> {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/majors");
    let mut found = BTreeMap::new();
    for place in [Path::new("/usr/lib/postgresql"), &fetched] {
        let Ok(entries) = place.read_dir() else { continue };
        for entry in entries.flatten() {
            // The link may lead out of a checkout that the server's user cannot enter.
            let Ok(bin) = entry.path().join("bin").canonicalize() else { continue };
            if let Some(installation) = ask(bin) {
                found.entry(installation.major).or_insert(installation);
            }
        }
    }
    found
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`
fn ask(bin: PathBuf) -> Option<Installation> {
    let answer = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
    let version = String::from_utf8(answer.stdout).ok()?.split_whitespace().nth(2)?.to_string();
    let major = version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    Some(Installation { major, version, bin })
}
