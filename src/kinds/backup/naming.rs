//! What the objects of a backup are called: `JOB/2026-11-21T020000Z/app.dump.zst`.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDateTime, Utc};

use super::config::{Compression, Format};
use crate::store::Key;

pub const MANIFEST: &str = "manifest.json";
pub const VERIFIED: &str = "verified.json";
pub const RESTORED: &str = "restored.json";

const STAMP: &str = "%Y-%m-%dT%H%M%SZ";

/// The id of a backup that begins at `at`, in UTC: its stamp, or, where that is taken, with the first number that is not.
pub fn id(at: DateTime<Utc>, taken: &BTreeSet<String>) -> String {
    let stamp = at.format(STAMP).to_string();
    let numbered = (2..).map(|n: u32| format!("{stamp}-{n}"));
    std::iter::once(stamp.clone()).chain(numbered).find(|id| !taken.contains(id)).unwrap_or(stamp)
}

/// When the backup of an id began; nothing where the text is no id.
pub fn began(id: &str) -> Option<DateTime<Utc>> {
    let (stamp, number) = match id.split_once("Z-") {
        Some((stamp, number)) => (format!("{stamp}Z"), Some(number)),
        None => (id.to_owned(), None),
    };
    let counts = number.is_none_or(|number| number.parse::<u32>().is_ok_and(|n| n >= 2 && n.to_string() == number));
    let at = NaiveDateTime::parse_from_str(&stamp, STAMP).ok()?.and_utc();
    (counts && at.format(STAMP).to_string() == stamp).then_some(at)
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
            let id = id(at, &taken);
            assert_eq!(id, expect);
            assert_eq!(began(&id), Some(at));
            taken.insert(id);
        }
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
            "2026-11-31T020000Z",
            "2026-1-21T020000Z",
        ] {
            assert_eq!(began(text), None, "{text}");
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
