use chrono::TimeZone;

use super::*;
use crate::kinds::backup::manifest::Verified;
use crate::kinds::backup::manifest::tests::manifest;
use crate::kinds::backup::survey::tests::server;

fn kept(id: &str, size: u64) -> Kept {
    let manifest = manifest(id, size);
    let at = manifest.started_at;
    let verified = Some(Verified { id: id.into(), at, good: true, how: "x".into(), error: None, intact: false });
    Kept { manifest, verified, restored: None }
}

fn shelf(all: Vec<Kept>) -> Shelf {
    Shelf { taken: all.iter().map(|kept| kept.manifest.id.clone()).collect(), kept: all, ..Shelf::default() }
}

fn seen(store: &str, keep: &str, shelf: Result<Shelf, String>) -> Seen {
    let keep = (!keep.is_empty()).then(|| toml::from_str(keep).unwrap());
    let parts = Parts { size: 8 << 20, most: 10_000 };
    Seen { store: store.into(), place: format!("/{store}"), keep, in_flight: 4, shelf, parts }
}

fn plan_of(seen: Vec<Seen>) -> Plan<Action> {
    plan(facts(seen))
}

fn facts(seen: Vec<Seen>) -> Facts {
    let tools = Tools { folder: "/bin".into(), version: "15.18".into(), major: 15 };
    let now = Utc.with_ymd_and_hms(2026, 11, 21, 2, 0, 0).unwrap();
    let timeout = Duration::from_secs(24 * 3600);
    let (server, names, zone) = (server(), Names::default(), chrono_tz::UTC);
    Facts { server, tools, names, sign: None, now, apart: None, timeout, zone, seen }
}

fn dump(plan: &Plan<Action>) -> &Dump {
    match &plan.actions[0] {
        Action::Dump(dump) => dump,
        Action::Delete(_) => panic!("the dump comes first"),
    }
}

fn deleted(plan: &Plan<Action>) -> Vec<String> {
    let of = |action: &Action| match action {
        Action::Delete(delete) => Some(format!("{}: {}", delete.store, delete.id)),
        Action::Dump(_) => None,
    };
    plan.actions.iter().filter_map(of).collect()
}

#[test]
fn the_first_dump_is_as_large_as_the_database_and_the_next_as_the_last() {
    let first = plan_of(vec![seen("a", "", Ok(Shelf::default()))]);
    assert_eq!(dump(&first).expected, 1 << 30);
    assert_eq!(dump(&first).memory(), 5 * (8 << 20) + (32 << 20));
    let next = plan_of(vec![seen("a", "", Ok(shelf(vec![kept("2026-11-20T020000Z", 300)])))]);
    assert_eq!(dump(&next).expected, 300);
    assert_eq!(dump(&next).last_raw, Some(1200));
}

#[test]
fn what_was_to_be_left_out_and_is_not_there_is_a_warning() {
    use crate::kinds::backup::survey::Absent;
    let mut facts = facts(vec![seen("a", "", Ok(Shelf::default()))]);
    facts.names.absent.push(Absent { key: "exclude_tables", name: "public.nope".into() });
    let notes = plan(facts).notes;
    assert_eq!((notes.len(), notes[0].action, notes[0].target.as_str()), (1, "warn", "public.nope"));
    assert!(notes[0].reason.contains("which `exclude_tables` names, so nothing is left out"), "{notes:?}");
}

#[test]
fn one_size_of_parts_serves_all_stores() {
    let mut large = seen("b", "", Ok(Shelf::default()));
    large.parts = Parts { size: 64 << 20, most: 1_000 };
    large.in_flight = 2;
    let plan = plan_of(vec![seen("a", "", Ok(Shelf::default())), large]);
    assert_eq!(dump(&plan).part_size, 64 << 20);
    assert_eq!(dump(&plan).targets.iter().map(|target| target.most_parts).collect::<Vec<_>>(), [10_000, 1_000]);
    assert_eq!(dump(&plan).in_flight(), 4);
}

#[test]
fn a_stamp_that_is_taken_in_one_store_is_taken_in_all() {
    let taken = shelf(vec![kept("2026-11-21T020000Z", 300)]);
    let plan = plan_of(vec![seen("a", "", Ok(Shelf::default())), seen("b", "", Ok(taken))]);
    assert_eq!(dump(&plan).id, "2026-11-21T020000Z-2");
}

#[test]
fn backups_go_after_the_dump_and_each_store_has_its_own_rules() {
    let old =
        || Ok(shelf(vec![kept("2026-11-18T020000Z", 1), kept("2026-11-19T020000Z", 1), kept("2026-11-20T020000Z", 1)]));
    let plan = plan_of(vec![seen("a", "last = 2", old()), seen("b", "", old()), seen("c", "last = 1", old())]);
    // The new one counts as the newest; the newest that was verified stays until the new one is.
    assert_eq!(
        deleted(&plan),
        ["a: 2026-11-18T020000Z", "a: 2026-11-19T020000Z", "c: 2026-11-18T020000Z", "c: 2026-11-19T020000Z"]
    );
    assert_eq!(plan.notes.iter().filter(|note| note.action == "keep").count(), 5);
    for action in &plan.actions[1..] {
        let Action::Delete(delete) = action else { panic!("one dump") };
        assert_eq!((delete.after.as_str(), delete.objects.len()), ("2026-11-21T020000Z", 1));
    }
}

#[test]
fn backups_of_another_database_are_nobodys_business_here() {
    let mut other = kept("2026-11-19T020000Z", 1);
    other.manifest.database_oid = 5;
    let mut shelf = shelf(vec![other, kept("2026-11-20T020000Z", 100)]);
    shelf.leavings = vec![left("2026-11-20T030000Z"), left("2026-11-20T000000Z")];
    let plan = plan_of(vec![seen("a", "last = 1", Ok(shelf.clone()))]);
    assert!(deleted(&plan).is_empty());
    let target = &dump(&plan).targets[0];
    assert_eq!((dump(&plan).expected, target.backups, target.sizes.as_slice()), (100, 1, [100].as_slice()));
    // Somebody else may be at work there, for as long as a run may take.
    assert_eq!(target.leavings, [left("2026-11-20T000000Z").1]);
    let warning = target.warning.as_deref().unwrap_or_default();
    assert!(warning.contains("another database, 2026-11-19T020000Z"), "{warning}");
    // Also somebody who was silent for long; of that one nothing is said any more.
    shelf.kept[0].manifest.started_at -= TimeDelta::days(7);
    let plan = plan_of(vec![seen("a", "last = 1", Ok(shelf))]);
    assert_eq!((dump(&plan).targets[0].leavings.len(), &dump(&plan).targets[0].warning), (1, &None));
}

fn left(id: &str) -> (String, Key) {
    (id.into(), naming::folder("nightly").join(id).join("app.dump.zst"))
}

#[test]
fn what_a_run_on_another_server_may_be_at_work_on_is_left_alone() {
    let check = |sign: Option<&str>, expect: &[&str]| {
        let ids =
            ["2026-11-20T000000Z", "2026-11-20T000000Z-sabcdef", "2026-11-21T015959Z", "2026-11-21T015959Z-sabcdef"];
        let all = Shelf { leavings: ids.iter().map(|id| left(id)).collect(), ..Shelf::default() };
        let plan = plan(Facts { sign: sign.map(str::to_owned), ..facts(vec![seen("a", "", Ok(all))]) });
        let target = &dump(&plan).targets[0];
        let expect: Vec<Key> = expect.iter().map(|id| left(id).1).collect();
        assert_eq!(target.leavings, expect, "{sign:?}");
        let stale: Vec<Key> = ids.iter().filter(|id| target.stale.is(id)).map(|id| left(id).1).collect();
        assert_eq!(stale, expect, "uploads as objects");
        assert!(!target.stale.is("notes"));
    };
    let old = ["2026-11-20T000000Z", "2026-11-20T000000Z-sabcdef"];
    check(None, &[old[0], old[1], "2026-11-21T015959Z"]);
    check(Some("sabcdef"), &[old[0], old[1], "2026-11-21T015959Z-sabcdef"]);
    check(Some("s000000"), &old);
}

#[test]
fn by_clocks_that_are_apart_a_backup_is_made_and_none_is_deleted() {
    let all =
        || Ok(shelf(vec![kept("2026-11-18T020000Z", 1), kept("2026-11-19T020000Z", 1), kept("2026-11-20T020000Z", 1)]));
    let apart = |keep: &str| {
        plan(Facts { apart: Some("they are 60 days apart".into()), ..facts(vec![seen("a", keep, all())]) })
    };
    let plan = apart("last = 1");
    assert!(deleted(&plan).is_empty() && plan.actions.len() == 1, "{:?}", plan.actions);
    let said = |action: &str, words: &str| {
        plan.notes.iter().filter(|note| note.action == action && note.reason.contains(words)).count()
    };
    assert_eq!((said("keep", "clocks"), said("warn", "60 days apart: no backup is deleted")), (2, 1));
    assert!(!apart("").notes.iter().any(|note| note.action == "warn"), "where nothing ever is, nothing is to be said");
}

#[test]
fn a_store_that_cannot_be_asked_is_told_and_the_others_go_on() {
    let plan = plan_of(vec![seen("a", "last = 1", Err("no route".into())), seen("b", "", Ok(Shelf::default()))]);
    assert_eq!(dump(&plan).targets[0].trouble.as_deref(), Some("no route"));
    assert_eq!(dump(&plan).targets[1].trouble, None);
    assert!(
        plan.notes.iter().any(|note| note.action == "warn" && note.reason.contains("no route")),
        "{:?}",
        plan.notes
    );
}

#[test]
fn a_size_is_unusual_only_beside_several() {
    assert_eq!(ratio(10, &[]), None);
    assert_eq!(ratio(10, &[100, 100]), None);
    assert_eq!(ratio(40, &[100, 80, 90]), Some(40.0 / 90.0));
    assert_eq!(ratio(50, &[100, 100, 80, 120]), Some(0.5));
    assert_eq!(ratio(50, &[0, 0, 0]), None);
}
