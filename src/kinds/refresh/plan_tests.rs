use proptest::prelude::*;

use super::*;
use crate::kinds::refresh::facts::Memory;
use crate::pg::Ident;

fn name(text: &str) -> TableName {
    text.parse().unwrap()
}

/// A view `v1` of `app` that could be refreshed concurrently, and is as nothing has been noted of.
fn view(n: u32) -> View {
    View {
        oid: n,
        name: name(&format!("v{n}")),
        owner: Ident::new("app").unwrap(),
        role: Ok(Ident::new("app").unwrap()),
        populated: true,
        index: Index::Usable("public.i".into()),
        temporary: true,
        dead: 0,
        living: 0,
        file: Some(100 + n),
        change: None,
    }
}

fn near(unique: bool, valid: bool, partial: bool, columns: &[&str]) -> Index {
    let columns = columns.iter().map(|column| Ident::new(*column).unwrap()).collect();
    Index::Lacking(Some(Near { name: "public.i".into(), columns, unique, valid, partial }))
}

fn facts(views: Vec<View>, reads: &[(u32, u32)]) -> Facts {
    let mut facts = Facts { views, database: "\"app\"".into(), ..Facts::default() };
    for (upper, lower) in reads {
        facts.reads.entry(*upper).or_default().insert(*lower);
    }
    facts
}

/// What a config has done to these views, line by line, its statements and the rest.
fn lines(config: &str, facts: &Facts) -> Vec<String> {
    let refresh: Refresh = toml::from_str(&format!("views = ['*']\n{config}")).unwrap();
    let plan = plan(&refresh, facts);
    let steps = plan.actions.iter().map(Action::step).chain(plan.notes);
    steps
        .map(|step| format!("{} {} {}", step.sql.unwrap_or_else(|| step.action.into()), step.target, step.reason))
        .collect()
}

fn check(config: &str, facts: &Facts, expect: &[&[&str]]) {
    let lines = lines(config, facts);
    assert_eq!(lines.len(), expect.len(), "{lines:#?}");
    for (line, words) in lines.iter().zip(expect) {
        for word in *words {
            assert!(line.contains(word), "{word:?} is not in {line:?}");
        }
    }
}

#[test]
fn concurrently_where_it_can_be_had() {
    let one = facts(vec![view(1)], &[]);
    let concurrently = "REFRESH MATERIALIZED VIEW CONCURRENTLY \"public\".\"v1\"";
    let plainly = "REFRESH MATERIALIZED VIEW \"public\".\"v1\"";
    check("", &one, &[&[concurrently, "public.i"]]);
    check("concurrently = 'always'", &one, &[&[concurrently]]);
    check("concurrently = 'never'", &one, &[&[plainly]]);
}

#[test]
fn what_is_lacking_is_named_with_its_mend() {
    let make = "CREATE UNIQUE INDEX CONCURRENTLY ON \"public\".\"v1\" (\"a\", \"B\");";
    let cases = [
        (Index::Lacking(None), "no unique index on plain columns", "(…);"),
        (near(false, true, false, &["a", "B"]), "not unique", make),
        (near(true, true, true, &["a", "B"]), "WHERE", make),
        (near(true, false, false, &["a", "B"]), "not valid", "REINDEX INDEX CONCURRENTLY public.i;"),
        (near(true, true, false, &[]), "expressions", "(…);"),
    ];
    for (index, why, mend) in cases {
        let one = facts(vec![View { index, ..view(1) }], &[]);
        check("", &one, &[&["REFRESH MATERIALIZED VIEW \"public\"", "plainly", why, mend]]);
        check("concurrently = 'always'", &one, &[&["refuse", why, mend]]);
        let never = lines("concurrently = 'never'", &one);
        assert!(!never[0].contains(mend), "{never:?}");
    }
    let poor = facts(vec![View { temporary: false, ..view(1) }], &[]);
    check("", &poor, &[&["plainly", "GRANT TEMPORARY ON DATABASE \"app\" TO \"app\";"]]);
}

#[test]
fn a_view_that_was_never_filled_is_filled_plainly_where_it_could_be_refreshed_at_all() {
    let empty = View { populated: false, ..view(1) };
    for config in ["", "concurrently = 'always'", "skip_unchanged = true"] {
        let mut empty = empty.clone();
        empty.change = Some(same("now"));
        check(config, &facts(vec![empty], &[]), &[&["REFRESH MATERIALIZED VIEW \"public\"", "never filled"]]);
    }
    let lacking = facts(vec![View { index: Index::Lacking(None), ..empty }], &[]);
    check("concurrently = 'always'", &lacking, &[&["refuse", "(…);"]]);
}

/// Nothing has changed since.
fn same(digest: &str) -> Change {
    let memory = Memory { digest: Some(digest.into()), file: Some(101), at: "noon".into() };
    Change { digest: digest.into(), doubts: vec![], remembered: Some(memory) }
}

#[test]
fn a_view_stays_only_when_nothing_at_all_has_changed() {
    let with = |change: Change| facts(vec![View { change: Some(change), ..view(1) }], &[]);
    check("", &with(same("a")), &[&["keep public.v1", "since it was refreshed at noon"]]);
    let all: Refresh = toml::from_str("views = ['*']").unwrap();
    assert_eq!((plan(&all, &with(same("a"))).in_order, plan(&all, &facts(vec![view(1)], &[])).in_order), (1, 0));
    let refreshed = |change: Change, why: &str| check("", &with(change), &[&["REFRESH", why]]);
    refreshed(Change { digest: "b".into(), ..same("a") }, "has changed since noon");
    refreshed(Change { remembered: None, ..same("a") }, "no run has noted");
    refreshed(Change { doubts: vec!["now() is STABLE".into()], ..same("a") }, "never skipped, since now() is STABLE");
    let mut other = same("a");
    other.remembered.as_mut().unwrap().file = Some(7);
    refreshed(other, "somebody else");
    let mut blind = same("a");
    blind.remembered.as_mut().unwrap().digest = None;
    refreshed(blind, "no run has noted");
}

#[test]
fn a_view_does_not_stay_when_one_under_it_is_refreshed() {
    let upper = View { change: Some(same("a")), file: Some(101), ..view(1) };
    let lower = View { change: Some(Change { remembered: None, ..same("a") }), ..view(2) };
    // Through one that the job does not name.
    let both = facts(vec![upper, lower], &[(1, 9), (9, 2)]);
    check("", &both, &[&["REFRESH", "v2"], &["REFRESH", "v1", "public.v2 is refreshed before"]]);
}

#[test]
fn dead_rows_are_swept_after_refreshes_that_leave_them() {
    let bloated = View { dead: 2_000, living: 5_000, ..view(1) };
    let one = facts(vec![bloated.clone()], &[]);
    check("", &one, &[&["CONCURRENTLY"], &["VACUUM (TRUNCATE false) \"public\".\"v1\"", "2000 dead rows"]]);
    check("concurrently = 'never'", &one, &[&["REFRESH MATERIALIZED VIEW \"public\""]]);
    check("", &facts(vec![View { living: 10_000, ..bloated.clone() }], &[]), &[&["CONCURRENTLY"]]);
    check("", &facts(vec![View { dead: 900, living: 1, ..bloated }], &[]), &[&["CONCURRENTLY"]]);
}

#[test]
fn what_cannot_be_refreshed_is_refused_in_its_place() {
    let refusal = Refusal::new("role x may not", "GRANT it");
    let mut two = facts(vec![View { role: Err(refusal.clone()), ..view(2) }, view(1)], &[(1, 2)]);
    two.refused.push((name("gone"), Refusal::new("there is none", "make it")));
    check("", &two, &[&["refuse public.gone"], &["refuse public.v2 role x may not; GRANT it"], &["REFRESH", "v1"]]);
}

/// A plain view in between may be replaced by one that reads what is made from it.
#[test]
fn views_that_are_made_from_each_other_come_too_and_wait_for_nobody() {
    let circle = facts(vec![view(1), view(2), view(3)], &[(1, 2), (2, 1), (2, 3)]);
    check("", &circle, &[&["v3"], &["v1"], &["v2"]]);
}

proptest! {
    /// Whatever is made from whatever: each once, and each after those under it, but for circles.
    #[test]
    fn each_view_comes_once_and_after_those_under_it(
        reads in proptest::collection::vec((0u32..14, 0u32..14), 0..40),
        named in proptest::collection::btree_set(0u32..14, 0..14),
    ) {
        let reads: Vec<_> = reads.into_iter().filter(|(upper, lower)| upper != lower).collect();
        let facts = facts(named.iter().map(|n| view(*n)).collect(), &reads);
        let below = below(&facts.reads);
        let order: Vec<u32> = in_order(&facts.views, &below).iter().map(|view| view.oid).collect();
        prop_assert_eq!(order.iter().copied().collect::<BTreeSet<_>>(), named);
        prop_assert_eq!(order.len(), facts.views.len());
        // Walked along the edges, and not by what is tested.
        let reaches = |from: u32, to: u32| {
            let (mut seen, mut left) = (BTreeSet::new(), vec![from]);
            while let Some(at) = left.pop() {
                for (_, next) in reads.iter().filter(|(upper, _)| *upper == at) {
                    if seen.insert(*next) {
                        left.push(*next);
                    }
                }
            }
            seen.contains(&to)
        };
        for (place, upper) in order.iter().enumerate() {
            for lower in &order[place + 1..] {
                prop_assert!(!reaches(*upper, *lower) || reaches(*lower, *upper), "{upper} before {lower} in {order:?}");
            }
        }
    }
}
