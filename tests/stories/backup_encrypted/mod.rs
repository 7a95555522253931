//! Backups that only the holder of a key can read.

mod closed;
mod damaged;
mod looking;
mod opened;
mod secrets;

use std::fs;

use age::secrecy::ExposeSecret as _;
use age::x25519;
use serde_json::Value;

use crate::backup::{Setting, setting};
use crate::support::Database;

/// A pair of keys.
pub struct Pair {
    pub secret: String,
    pub public: String,
}

impl Pair {
    pub fn new() -> Self {
        let identity = x25519::Identity::generate();
        Self { secret: identity.to_string().expose_secret().to_owned(), public: identity.to_public().to_string() }
    }

    /// As `age-keygen` writes it.
    pub fn file(&self) -> String {
        format!("# created: 2026-11-21T02:00:00Z\n# public key: {}\n{}\n", self.public, self.secret)
    }
}

/// The job `nightly`, encrypted to these keys; without an identity of its own.
pub fn encrypted(db: &Database, keys: &[&Pair], backup: &str) -> Setting {
    let keys: Vec<&str> = keys.iter().map(|pair| pair.public.as_str()).collect();
    setting(db, &format!("to = [{{ store = \"local\" }}]\nencrypt_to = {keys:?}\n{backup}"))
}

/// The same, with the first of them in the file `key`.
pub fn readable(db: &Database, keys: &[&Pair], backup: &str) -> Setting {
    let setting = encrypted(db, keys, &format!("identity_file = \"key\"\n{backup}"));
    setting.program.file("key", &keys[0].file());
    setting
}

pub fn verified(setting: &Setting, id: &str) -> Option<Value> {
    let text = fs::read_to_string(setting.folder(id).join("verified.json")).ok()?;
    Some(serde_json::from_str(&text).expect("JSON"))
}

/// Puts something else in the place of the dump, and the right size and digest of it in the manifest.
pub fn forge(setting: &Setting, id: &str, bytes: &[u8]) {
    use crate::backup_commands::{change_manifest, dump_file};
    let file = dump_file(setting, id);
    fs::write(&file, bytes).expect("write the dump");
    let digest = std::process::Command::new("sha256sum").arg(&file).output().expect("sha256sum").stdout;
    let digest = String::from_utf8(digest).expect("UTF-8")[..64].to_owned();
    change_manifest(setting, id, |manifest| {
        manifest["objects"][0]["sha256"] = digest.into();
        manifest["objects"][0]["size"] = bytes.len().into();
    });
}
