//! In which order the files of a dump go into the tar: as `pg_restore` wants them from one that it reads as a stream. Pure.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

/// The table of contents.
pub const CONTENTS: &str = "toc.dat";
/// The list of large objects, up to PostgreSQL 16.
const OBJECTS: &str = "blobs.toc";

/// An entry of the table of contents that has data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    Table(u32),
    /// Large objects: all of them up to PostgreSQL 16, up to a thousand since.
    Objects(u32),
}

/// A line of `pg_restore --list`: `3422; 0 16386 TABLE DATA public accounts owner`.
pub fn entry(line: &str) -> Option<Entry> {
    let (id, rest) = line.split_once("; ")?;
    let id = id.parse().ok()?;
    let what = rest.splitn(3, ' ').nth(2)?;
    if what.starts_with("TABLE DATA ") {
        Some(Entry::Table(id))
    } else if what.starts_with("BLOBS ") {
        Some(Entry::Objects(id))
    } else {
        None
    }
}

/// The files, the table of contents first, then in its order: of large objects each one before the list that names them.
/// `files` has the size of each, `read` gives what is in a list.
///
/// # Errors
/// A file that the table of contents needs is not there: the dump is not whole.
pub fn order(
    mut files: BTreeMap<String, u64>,
    entries: &[Entry],
    read: impl Fn(&str) -> Result<String>,
) -> Result<Vec<(String, u64)>> {
    let mut ordered = Vec::with_capacity(files.len());
    let mut take = |files: &mut BTreeMap<String, u64>, name: String| match files.remove_entry(&name) {
        Some(file) => {
            ordered.push(file);
            Ok(())
        }
        None => bail!("it has no file {name}, which its table of contents needs"),
    };
    take(&mut files, CONTENTS.into())?;
    for entry in entries {
        match entry {
            Entry::Table(id) => take(&mut files, format!("{id}.dat"))?,
            Entry::Objects(id) => {
                let list = format!("blobs_{id}.toc");
                let list = if files.contains_key(&list) { list } else { OBJECTS.into() };
                for line in read(&list).with_context(|| format!("read {list}"))?.lines() {
                    let (_, name) = line.split_once(' ').with_context(|| format!("{list} has a line {line:?}"))?;
                    take(&mut files, name.into())?;
                }
                take(&mut files, list)?;
            }
        }
    }
    // What a newer pg_dump may write besides.
    ordered.extend(files);
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[&str], entries: &[Entry], expect: Result<&[&str], &str>) {
        let files = files.iter().map(|name| ((*name).to_owned(), 7)).collect();
        let read = |list: &str| match list {
            "blobs.toc" => Ok("16390 blob_16390.dat\n16391 blob_16391.dat\n".into()),
            "blobs_9.toc" => Ok("5 blob_5.dat\n".into()),
            "blobs_10.toc" => Ok("30 blob_30.dat\n".into()),
            other => bail!("no {other}"),
        };
        let ordered = order(files, entries, read);
        let ordered = ordered.map(|files| files.into_iter().map(|(name, _)| name).collect::<Vec<_>>());
        match expect {
            Ok(names) => assert_eq!(ordered.unwrap(), names),
            Err(words) => assert!(format!("{:#}", ordered.unwrap_err()).contains(words)),
        }
    }

    #[test]
    fn files_go_in_the_order_of_the_table_of_contents() {
        let tables = [Entry::Table(12), Entry::Table(9), Entry::Table(100)];
        check(&["100.dat", "12.dat", "9.dat", "toc.dat"], &tables, Ok(&["toc.dat", "12.dat", "9.dat", "100.dat"]));
        check(&["12.dat", "9.dat", "toc.dat"], &tables, Err("no file 100.dat"));
        check(&["12.dat"], &[], Err("no file toc.dat"));
        check(&["12.dat", "odd", "toc.dat"], &[Entry::Table(12)], Ok(&["toc.dat", "12.dat", "odd"]));
    }

    #[test]
    fn large_objects_come_before_their_list_whatever_the_version() {
        let old = ["blob_16390.dat", "blob_16391.dat", "blobs.toc", "3.dat", "toc.dat"];
        let expect = ["toc.dat", "3.dat", "blob_16390.dat", "blob_16391.dat", "blobs.toc"];
        check(&old, &[Entry::Table(3), Entry::Objects(4)], Ok(&expect));
        check(&old[1..], &[Entry::Objects(4)], Err("no file blob_16390.dat"));
        let new = ["blob_5.dat", "blob_30.dat", "blobs_9.toc", "blobs_10.toc", "toc.dat"];
        let expect = ["toc.dat", "blob_30.dat", "blobs_10.toc", "blob_5.dat", "blobs_9.toc"];
        check(&new, &[Entry::Objects(10), Entry::Objects(9)], Ok(&expect));
        check(&["toc.dat"], &[Entry::Objects(11)], Err("no file blob_16390.dat"));
    }

    #[test]
    fn lines_of_the_list_are_told_apart() {
        for (line, expect) in [
            ("3422; 0 16386 TABLE DATA public accounts owner", Some(Entry::Table(3422))),
            ("3423; 0 0 BLOBS - BLOBS ", Some(Entry::Objects(3423))),
            ("3424; 0 0 BLOBS - 16390..16391 postgres", Some(Entry::Objects(3424))),
            ("200; 1259 16386 TABLE public TABLE DATA owner", None),
            ("3425; 2613 16390 BLOB - 16390 postgres", None),
            ("3426; 0 0 BLOB METADATA - 16390..16391 postgres", None),
            ("3427; 0 16389 MATERIALIZED VIEW DATA public sums owner", None),
            (";     Format: DIRECTORY", None),
            ("; Selected TOC Entries:", None),
            ("", None),
        ] {
            assert_eq!(entry(line), expect, "{line}");
        }
    }
}
