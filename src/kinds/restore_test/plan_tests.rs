use chrono::TimeZone as _;

use super::*;
use crate::kinds::backup::manifest::{Identity, tests::manifest};
use crate::kinds::backup::shelf::Kept;
use crate::run::JobName;

fn test(more: &str) -> RestoreTest {
    toml::from_str(&format!("backup = \"nightly\"\nserver = \"main\"\n{more}")).unwrap()
}

fn mark() -> Mark {
    Mark::new(&JobName("prove".into()), &Identity { system_identifier: "7".into(), database_oid: 1 })
}

fn facts(shelves: Vec<Result<Shelf, String>>) -> Facts {
    let seen = shelves.into_iter().zip(["a", "b", "c"]);
    Facts {
        now: Utc.with_ymd_and_hms(2026, 11, 21, 2, 0, 0).unwrap(),
        read_at: Instant::now(),
        mark: mark(),
        server: Server {
            place: "tester@h:5432/scratch".into(),
            role: "tester".into(),
            may: Rights { all: false, databases: true, roles: false },
            standby: false,
            room: None,
            databases: Vec::new(),
            roles: Vec::new(),
        },
        source: None,
        seen: seen.map(|(shelf, store)| Seen { store: store.into(), place: store.into(), shelf }).collect(),
    }
}

fn shelf(ids: &[&str]) -> Result<Shelf, String> {
    let kept = ids.iter().map(|id| Kept { manifest: manifest(id, 1000), verified: None, restored: None });
    Ok(Shelf { kept: kept.collect(), ..Shelf::default() })
}

/// Each test that is planned: which backup, or why none.
fn told(test: &RestoreTest, facts: Facts) -> Vec<String> {
    plan(test, facts)
        .actions
        .into_iter()
        .map(|action| match action {
            Action::Test(one) => {
                one.backup.map_or_else(|why| why, |manifest| format!("{} to {}", manifest.id, one.scratch))
            }
            Action::Sweep(name) => format!("drop {name}"),
            Action::SweepRoles(names) => format!("drop roles {}", names.join(" ")),
        })
        .collect()
}

#[test]
fn the_newest_of_each_store_is_tested_and_a_store_without_one_keeps_no_other_from_it() {
    let facts = facts(vec![shelf(&["2026-11-20T020000Z", "2026-11-21T020000Z"]), shelf(&[]), Err("no answer".into())]);
    assert_eq!(
        told(&test(""), facts),
        ["2026-11-21T020000Z to pgtend_restore_test_prove_20261121T020000Z", "there is no backup", "no answer"]
    );
}

#[test]
fn what_dead_runs_left_goes_first_and_what_others_made_stays() {
    let mut facts = facts(vec![shelf(&[])]);
    let known = |name: &str, comment: Option<String>| Known { name: name.into(), comment, closed: false };
    facts.server.databases = vec![
        known("pgtend_restore_test_prove_20261120T020000Z", Some(mark().comment("x"))),
        known("pgtend_restore_test_prove_20261119T020000Z", None),
        known("pgtend_restore_test_other_20261119T020000Z", None),
    ];
    facts.server.roles = vec!["r".into()];
    let plan = plan(&test(""), facts);
    assert_eq!(plan.actions[0], Action::Sweep("pgtend_restore_test_prove_20261120T020000Z".into()));
    assert_eq!(plan.actions[1], Action::SweepRoles(vec!["r".into()]));
    assert_eq!((plan.actions.len(), plan.notes.len()), (3, 1));
    assert!(plan.notes[0].target.contains("20261119"), "{:?}", plan.notes);
}

#[test]
fn what_cannot_go_well_is_told_before_anything_is_made() {
    let newest = || vec![shelf(&["2026-11-21T020000Z"])];
    let mut facts_ = facts(newest());
    facts_.server.may.databases = false;
    assert!(told(&test(""), facts_)[0].contains("ALTER ROLE tester CREATEDB"));
    assert!(told(&test("roles = \"make\""), facts(newest()))[0].contains("CREATEROLE"));
    let mut facts_ = facts(newest());
    facts_.server.standby = true;
    assert!(told(&test(""), facts_)[0].contains("is a standby"));
    // 1000 bytes stored are 4000 unpacked.
    let large = || {
        let mut shelf = shelf(&["2026-11-21T020000Z"]).unwrap();
        shelf.kept[0].manifest.database_size = Some(2_000_000);
        vec![Ok(shelf)]
    };
    let said = told(&test("max_size = \"1 MB\""), facts(large()));
    assert!(said[0].contains("2.0 MB") && said[0].contains("max_size"), "{said:?}");
    assert!(told(&test("max_size = \"2 MB\""), facts(large()))[0].starts_with("2026"));
    let with_room = |free: u64| {
        let mut facts = facts(large());
        facts.server.room = Some(Room { folder: "/data".into(), free });
        told(&test(""), facts)
    };
    assert_eq!(with_room(1_999_999), ["it takes about 2.0 MB, and 2.0 MB is free in /data"]);
    assert!(with_room(2_000_000)[0].starts_with("2026"));
}

#[test]
fn the_newest_of_the_database_that_the_config_names_is_tested() {
    let mut both = shelf(&["2026-11-20T020000Z", "2026-11-21T020000Z"]).unwrap();
    let ours = both.kept[0].manifest.identity();
    both.kept[1].manifest.system_identifier = "8".into();
    let with = |source| Facts { source, ..facts(vec![Ok(both.clone())]) };
    assert!(told(&test(""), with(Some(Ok(ours))))[0].starts_with("2026-11-20"));
    // Where it is gone: the newest of all, and that is told.
    let gone = plan(&test(""), with(Some(Err("no route".into()))));
    assert!(gone.notes.iter().any(|note| note.reason.contains("no route")), "{:?}", gone.notes);
    assert!(told(&test(""), with(Some(Err("no route".into()))))[0].starts_with("2026-11-21"));
}
