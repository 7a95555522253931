//! What the objects of a backup are called: `JOB/2026-11-21T020000Z/app.dump.zst`.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDateTime, Utc};
use sha2::{Digest as _, Sha256};

use super::config::{Compression, Format};
use crate::hex::hex;
use crate::store::Key;

pub const MANIFEST: &str = "manifest.json";
pub const VERIFIED: &str = "verified.json";
pub const RESTORED: &str = "restored.json";

const STAMP: &str = "%Y-%m-%dT%H%M%SZ";

/// So many hexadecimal digits tell one standby from another.
const SIGN: usize = 6;

/// What the id of a backup says: `2026-11-21T020000Z`, `2026-11-21T020000Z-2`, and from a standby `2026-11-21T020000Z-s3f9a1c`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id {
    pub began: DateTime<Utc>,
    /// Whose run it is; a primary has none. Its lock and its history are its own, and those of a standby that one's.
    pub sign: Option<String>,
}

/// What tells the runs on one standby from those on the primary and on other standbys, which have the same schedule.
pub fn sign(standby: &str) -> String {
    format!("s{}", &hex(&Sha256::digest(standby.as_bytes()))[..SIGN])
}

/// The id of a backup that begins at `at`, in UTC: its stamp, the sign of a standby, and, where that is taken, the first
/// number that is not.
pub fn id(at: DateTime<Utc>, sign: Option<&str>, taken: &BTreeSet<String>) -> String {
    let stamp = at.format(STAMP);
    let first = sign.map_or_else(|| stamp.to_string(), |sign| format!("{stamp}-{sign}"));
    let numbered = (2..).map(|n: u32| format!("{first}-{n}"));
    std::iter::once(first.clone()).chain(numbered).find(|id| !taken.contains(id)).unwrap_or(first)
}

/// Reads an id; nothing where the text is none.
pub fn read(id: &str) -> Option<Id> {
    let (stamp, mut rest) = id.split_at_checked("2026-11-21T020000Z".len())?;
    let began = NaiveDateTime::parse_from_str(stamp, STAMP).ok()?.and_utc();
    let is_hex = |digits: &str| digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let sign = rest.get(1..SIGN + 2).filter(|sign| rest.starts_with("-s") && is_hex(&sign[1..])).map(str::to_owned);
    if let Some(sign) = &sign {
        rest = &rest[1 + sign.len()..];
    }
    let number = rest.strip_prefix('-');
    let counts = number.is_none_or(|number| number.parse::<u32>().is_ok_and(|n| n >= 2 && n.to_string() == number));
    let whole = counts && (number.is_some() || rest.is_empty());
    (whole && began.format(STAMP).to_string() == stamp).then_some(Id { began, sign })
}

/// The folder of a job: `JOB`, or `JOB@DATABASE`.
pub fn folder(job: &str) -> Key {
    Key::new(job)
}

/// `app.dump.zst`, or, encrypted, `app.dump.zst.age`.
pub fn dump(format: Format, compression: Compression, encrypted: bool) -> String {
    let base = match format {
        Format::Custom => "app.dump",
        Format::Plain => "app.sql",
        Format::Directory => "app.dir.tar",
    };
    format!("{base}{}{}", suffix(compression), last(encrypted))
}

/// `globals.sql.zst`, or, encrypted, `globals.sql.zst.age`.
pub fn globals(compression: Compression, encrypted: bool) -> String {
    format!("globals.sql{}{}", suffix(compression), last(encrypted))
}

/// Encrypted after it was packed: what is encrypted cannot be packed any more.
const fn last(encrypted: bool) -> &'static str {
    if encrypted { ".age" } else { "" }
}

const fn suffix(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "",
        Compression::Zstd(_) => ".zst",
        Compression::Gzip(_) => ".gz",
    }
}

/// Whether an object of this name, in the folder of a backup, can be one of ours.
pub fn is_ours(name: &str) -> bool {
    let bases = ["app.dump", "app.sql", "app.dir.tar", "globals.sql"];
    let ends = ["", ".zst", ".gz", ".age", ".zst.age", ".gz.age"];
    [MANIFEST, VERIFIED, RESTORED].contains(&name)
        || bases.iter().filter_map(|base| name.strip_prefix(base)).any(|end| ends.contains(&end))
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    #[test]
    fn a_stamp_that_is_taken_gets_a_number() {
        let at = Utc.with_ymd_and_hms(2026, 11, 21, 2, 0, 0).unwrap();
        let mut taken = BTreeSet::new();
        for expect in ["2026-11-21T020000Z", "2026-11-21T020000Z-2", "2026-11-21T020000Z-3"] {
            let id = id(at, None, &taken);
            assert_eq!(id, expect);
            assert_eq!(read(&id), Some(Id { began: at, sign: None }));
            taken.insert(id);
        }
    }

    #[test]
    fn what_is_made_on_a_standby_is_called_otherwise_in_the_same_second() {
        let at = Utc.with_ymd_and_hms(2026, 11, 21, 2, 0, 0).unwrap();
        let (one, other) = (sign("a.internal"), sign("b.internal"));
        assert_ne!(one, other);
        let mut taken = BTreeSet::from(["2026-11-21T020000Z".to_owned()]);
        for end in ["", "-2"] {
            let id = id(at, Some(&one), &taken);
            assert_eq!(id, format!("2026-11-21T020000Z-{one}{end}"));
            assert_eq!(read(&id), Some(Id { began: at, sign: Some(one.clone()) }));
            taken.insert(id);
        }
        assert!(taken.iter().all(|id| id.as_str() < "2026-11-21T020001Z"), "{taken:?}");
    }

    #[test]
    fn what_is_no_stamp_is_not_taken_for_one() {
        for text in [
            "",
            "latest",
            "2026-11-21",
            "2026-11-21T020000",
            "2026-11-21T020000Z-1",
            "2026-11-21T020000Z-02",
            "2026-11-21T020000Z-x",
            "2026-11-21T020000Z-",
            "2026-11-21T020000Z2",
            "2026-11-21T020000Z-s12345",
            "2026-11-21T020000Z-s12345g",
            "2026-11-21T020000Z-S123456",
            "2026-11-21T020000Z-s123456-1",
            "2026-11-21T020000Z-s123456x",
            "2026-11-31T020000Z",
            "2026-1-21T020000Z",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn objects_are_named_by_what_opens_them() {
        assert_eq!(dump(Format::Custom, Compression::Zstd(1), false), "app.dump.zst");
        assert_eq!(dump(Format::Plain, Compression::Gzip(6), true), "app.sql.gz.age");
        assert_eq!(dump(Format::Custom, Compression::None, true), "app.dump.age");
        assert_eq!(globals(Compression::None, false), "globals.sql");
        assert_eq!(globals(Compression::Zstd(1), true), "globals.sql.zst.age");
        for name in ["app.dump.zst", "app.sql", "globals.sql.gz.age", "manifest.json", "verified.json", "restored.json"]
        {
            assert!(is_ours(name), "{name}");
        }
        for name in ["app.dump.zst.old", "notes.txt", "app", "app.dumpling", ""] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
