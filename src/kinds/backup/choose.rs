//! Which backup is meant: an id, or the latest. Pure.
//!
//! The latest is that which began last, as its manifest has it: a name may say anything.

use super::manifest::Identity;
use super::shelf::{Kept, Shelf};

/// What stands for the newest backup.
pub const LATEST: &str = "latest";

/// The backup that is meant, and what whoever asked should know besides.
#[derive(Debug, PartialEq)]
pub struct Chosen<'a> {
    pub kept: &'a Kept,
    pub notes: Vec<String>,
}

/// # Errors
/// There is none such; in words that follow the place.
pub fn choose<'a>(shelf: &'a Shelf, which: &str) -> Result<Chosen<'a>, String> {
    if which == LATEST { latest(shelf) } else { by_id(shelf, which) }
}

fn by_id<'a>(shelf: &'a Shelf, id: &str) -> Result<Chosen<'a>, String> {
    if let Some(kept) = shelf.kept.iter().find(|kept| kept.manifest.id == id) {
        let damaged = kept.verified.as_ref().filter(|verified| !verified.good);
        let note = damaged.map(|verified| {
            format!(
                "{id} was read back at {} and was damaged: {}",
                verified.at,
                verified.error.as_deref().unwrap_or("-")
            )
        });
        return Ok(Chosen { kept, notes: note.into_iter().collect() });
    }
    if let Some((_, why)) = shelf.unreadable.iter().find(|(unreadable, _)| unreadable == id) {
        return Err(format!("{id} cannot be used: {why}"));
    }
    if shelf.taken.contains(id) {
        return Err(format!(
            "{id} has no manifest: a dump that did not come to its end has left it, and it is no backup"
        ));
    }
    let newest: Vec<&str> = shelf.kept.iter().rev().take(3).map(|kept| kept.manifest.id.as_str()).collect();
    Err(match newest.as_slice() {
        [] => format!("there is no backup {id}, nor any other"),
        newest => format!("there is no backup {id}; the newest are {}", newest.join(", ")),
    })
}

/// The latest of one database, whatever else lies there.
///
/// # Errors
/// There is none, in words that follow the place.
pub fn latest_of<'a>(shelf: &'a Shelf, identity: &Identity) -> Result<Chosen<'a>, String> {
    let of: Vec<&Kept> = shelf.kept.iter().filter(|kept| kept.manifest.identity() == *identity).collect();
    let others = shelf.kept.len() - of.len();
    if of.is_empty() && others > 0 {
        return Err(format!(
            "there is no backup of the database that the config names, which is {} of system {}; there {} of another, as a \
             database has that was made anew, or moved by pg_upgrade",
            identity.database_oid,
            identity.system_identifier,
            if others == 1 { "is 1".to_owned() } else { format!("are {others}") },
        ));
    }
    newest(&of, shelf)
}

fn latest(shelf: &Shelf) -> Result<Chosen<'_>, String> {
    let all: Vec<&Kept> = shelf.kept.iter().collect();
    let mut chosen = newest(&all, shelf)?;
    let databases = databases(shelf).len();
    if databases > 1 {
        let manifest = &chosen.kept.manifest;
        chosen.notes.push(format!(
            "the backups there are of {databases} databases; the latest is of {:?} of system {}, made on {}",
            manifest.database, manifest.system_identifier, manifest.host
        ));
    }
    Ok(chosen)
}

fn newest<'a>(all: &[&'a Kept], shelf: &'a Shelf) -> Result<Chosen<'a>, String> {
    let Some(at) = all.iter().rposition(|kept| !kept.is_damaged()) else {
        return Err(match (all.len(), shelf.unreadable.len()) {
            (0, 0) => "there is no backup".into(),
            (0, n) => format!("there is no backup whose manifest can be read; {n} cannot"),
            (n, _) => format!("there is no good backup: {n} were found damaged when they were read back"),
        });
    };
    let mut notes = Vec::new();
    for damaged in &all[at + 1..] {
        notes.push(format!("{} is newer, and was damaged when it was read back", damaged.manifest.id));
    }
    for (id, why) in &shelf.unreadable {
        notes.push(format!("{id} is left aside: {why}"));
    }
    Ok(Chosen { kept: all[at], notes })
}

/// The newest backup of each database that there are any of, the newest first.
pub fn databases(shelf: &Shelf) -> Vec<&Kept> {
    let mut found: Vec<&Kept> = Vec::new();
    for kept in shelf.kept.iter().rev() {
        if found.iter().all(|known| known.manifest.identity() != kept.manifest.identity()) {
            found.push(kept);
        }
    }
    found
}

/// Makes sure that `latest` is no guess: a database that is filled with another's rows is worse than none.
///
/// # Errors
/// It may be meant of several; with the newest of each.
pub fn certain(shelf: &Shelf, which: &str) -> Result<(), String> {
    let databases = databases(shelf);
    if which != LATEST || databases.len() < 2 {
        return Ok(());
    }
    let each: Vec<String> = databases
        .iter()
        .map(|kept| &kept.manifest)
        .map(|of| format!("{} is of {:?} of system {}, made on {}", of.id, of.database, of.system_identifier, of.host))
        .collect();
    Err(format!(
        "the backups there are of {} databases, and which one is meant has to be said by its id: {}",
        databases.len(),
        each.join("; ")
    ))
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, TimeZone as _, Utc};

    use super::*;
    use crate::kinds::backup::manifest::{Verified, tests::manifest};

    /// Backups `a`, `b` … that began in this order, of which those are damaged.
    fn shelf(ids: &[&str], damaged: &[&str]) -> Shelf {
        let start = Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap();
        let kept = ids.iter().zip(0..).map(|(id, day)| {
            let mut manifest = manifest(id, 10);
            manifest.started_at = start + TimeDelta::days(day);
            let bad = damaged.contains(id);
            let verified = bad.then(|| Verified {
                id: (*id).into(),
                at: start,
                good: false,
                how: String::new(),
                error: None,
                intact: false,
            });
            Kept { manifest, verified, restored: None }
        });
        Shelf { kept: kept.collect(), taken: ids.iter().map(|id| (*id).into()).collect(), ..Shelf::default() }
    }

    fn check(shelf: &Shelf, which: &str, expect: Result<(&str, usize), &str>) {
        let chosen = choose(shelf, which);
        match (chosen, expect) {
            (Ok(chosen), Ok((id, notes))) => {
                assert_eq!((chosen.kept.manifest.id.as_str(), chosen.notes.len()), (id, notes), "{:?}", chosen.notes);
            }
            (Err(why), Err(words)) => assert!(why.contains(words), "{why}"),
            (chosen, expect) => panic!("{chosen:?} where {expect:?} was expected"),
        }
    }

    #[test]
    fn the_latest_is_the_one_that_began_last_and_is_not_damaged() {
        check(&shelf(&["z", "b", "a"], &[]), LATEST, Ok(("a", 0)));
        check(&shelf(&["z", "b", "a"], &["a"]), LATEST, Ok(("b", 1)));
        check(&shelf(&["z"], &["z"]), LATEST, Err("no good backup"));
        check(&shelf(&[], &[]), LATEST, Err("there is no backup"));
    }

    #[test]
    fn an_id_is_meant_as_it_is() {
        check(&shelf(&["z", "b"], &["z"]), "z", Ok(("z", 1)));
        check(&shelf(&["z", "b"], &[]), "c", Err("the newest are b, z"));
        let mut shelf = shelf(&["z"], &[]);
        shelf.taken.insert("half".into());
        shelf.unreadable.push(("odd".into(), "it is no manifest".into()));
        check(&shelf, "half", Err("has no manifest"));
        check(&shelf, "odd", Err("it is no manifest"));
        check(&shelf, LATEST, Ok(("z", 1)));
    }

    #[test]
    fn several_databases_under_one_name_are_told() {
        let mut shelf = shelf(&["a", "b"], &[]);
        shelf.kept[0].manifest.system_identifier = "7".into();
        check(&shelf, LATEST, Ok(("b", 1)));
        // Whoever fills a database by it is not left to guess.
        let why = certain(&shelf, LATEST).unwrap_err();
        assert!(why.contains("2 databases") && why.contains("b is of") && why.contains("a is of"), "{why}");
        assert!(why.contains("of system 7,"), "{why}");
        assert_eq!(certain(&shelf, "a"), Ok(()));
        shelf.kept.remove(0);
        assert_eq!(certain(&shelf, LATEST), Ok(()));
    }

    #[test]
    fn the_latest_of_one_database_is_not_that_of_another() {
        let mut shelf = shelf(&["a", "b", "c"], &["b"]);
        let ours = shelf.kept[0].manifest.identity();
        shelf.kept[2].manifest.system_identifier = "7".into();
        let chosen = latest_of(&shelf, &ours).unwrap();
        assert_eq!((chosen.kept.manifest.id.as_str(), chosen.notes.len()), ("a", 1), "{:?}", chosen.notes);
        let nobody = Identity { database_oid: 1, ..ours };
        let why = latest_of(&shelf, &nobody).unwrap_err();
        assert!(why.contains("there are 3 of another"), "{why}");
        assert_eq!(latest_of(&Shelf::default(), &nobody).unwrap_err(), "there is no backup");
    }
}
