use proptest::prelude::*;

use super::*;
use crate::kinds::verify_chain::plan::Anchor;

/// Rows of a little table, in its order: hash and previous.
type Rows<'a> = &'a [(&'a str, Option<&'a str>)];

fn kind(genesis: Option<&str>) -> VerifyChain {
    let mut kind: VerifyChain =
        toml::from_str("table = 'log'\norder_by = 'id'\nhash = 'hash'\nprevious = 'previous'").unwrap();
    kind.genesis = genesis.map(Into::into);
    kind
}

/// What the statements would find in these rows, which stand at 1, 2, 3 …
fn seen(rows: Rows<'_>) -> Seen {
    let place = |n: usize| (n + 1).to_string();
    let number = |n: usize| i64::try_from(n).unwrap();
    let broken = |n: usize| rows[n].1 != n.checked_sub(1).map(|before| rows[before].0);
    let at: Vec<usize> = (0..rows.len()).filter(|n| broken(*n)).collect();
    let breaks = at.iter().map(|n| {
        let previous = rows[*n].1;
        let bearers: Vec<usize> = (0..rows.len()).filter(|m| Some(rows[*m].0) == previous).collect();
        Break {
            place: place(*n),
            nth: number(*n) + 1,
            previous: previous.map(Into::into),
            bearers: number(bearers.len()),
            run: bearers.first().map_or(0, |first| at.iter().filter(|n| *n <= first).count()),
            namers: number(rows.iter().filter(|row| row.1 == previous).count()),
        }
    });
    Seen {
        rows: number(rows.len()),
        nameless: 0,
        first: (!rows.is_empty()).then(|| place(0)),
        last: (!rows.is_empty()).then(|| place(rows.len() - 1)),
        begun_before: false,
        how: How::Ordered { breaks: breaks.collect(), tied: false },
    }
}

fn anchored(hash: &str) -> Chain {
    let anchor = Anchor { partition: "log_1".into(), hash: Some(hash.into()), place: None };
    Chain { anchors: vec![anchor], ..Chain::default() }
}

fn check(rows: Rows<'_>, broken: &[&str], notes: &[&str]) {
    let verdict = judge(&seen(rows), &anchored("dropped"), &kind(Some("genesis")));
    for (said, expect) in [(&verdict.broken, broken), (&verdict.notes, notes)] {
        assert_eq!(said.len(), expect.len(), "{verdict:#?}");
        assert!(said.iter().zip(expect).all(|(said, expect)| said.contains(expect)), "{verdict:#?}");
    }
}

#[test]
fn a_chain_is_whole_from_its_first_row_or_an_anchor() {
    check(&[], &[], &[]);
    check(&[("a", None), ("b", Some("a")), ("c", Some("b"))], &[], &[]);
    check(&[("a", Some("genesis")), ("b", Some("a"))], &[], &[]);
    check(&[("a", Some("dropped")), ("b", Some("a"))], &[], &[]);
    // Something in the middle was dropped: what is older is held.
    check(&[("a", None), ("b", Some("dropped"))], &[], &[]);
}

#[test]
fn what_is_missing_is_told_by_where_its_successor_stands() {
    check(&[("a", None), ("c", Some("b"))], &["1 row names a predecessor that is not there (id 2)"], &[]);
    check(&[("b", Some("a")), ("c", Some("b"))], &["that is not there (id 1)"], &[]);
    check(&[("a", None), ("x", Some("a")), ("c", Some("b"))], &["that is not there (id 3)"], &[]);
    check(&[("a", None), ("b", None)], &["1 row behind the first names no predecessor (id 2)"], &[]);
    check(&[("a", None), ("b", Some("genesis"))], &["names no predecessor (id 2)"], &[]);
}

#[test]
fn forks_and_another_order_are_noted_and_no_more() {
    let forks = "the chain forks once, as it does when two write at the same time: 1 row names a predecessor that an earlier one";
    check(&[("a", None), ("b", Some("a")), ("c", Some("a")), ("d", Some("c"))], &[], &[forks]);
    check(&[("a", None), ("c", Some("b")), ("b", Some("a"))], &[], &["2 rows stand in another order"]);
}

#[test]
fn a_circle_is_no_chain() {
    let circle = "2 rows name each other in a circle (id 2, 4)";
    check(&[("a", None), ("b", Some("d")), ("c", Some("b")), ("d", Some("c"))], &["(id 2)"], &["another order"]);
    check(&[("a", None), ("b", Some("c")), ("x", Some("a")), ("c", Some("b"))], &[circle], &["another order"]);
    let mut tied = seen(&[("a", None), ("b", Some("c")), ("x", Some("a")), ("c", Some("b"))]);
    if let How::Ordered { tied, .. } = &mut tied.how {
        *tied = true;
    }
    let verdict = judge(&tied, &Chain::default(), &kind(None));
    assert!(verdict.broken.is_empty() && verdict.notes[0].contains("is not unique"), "{verdict:?}");
}

#[test]
fn a_first_row_that_names_nothing_is_no_first_row_behind_an_anchor() {
    let mut cut = seen(&[("a", None), ("b", Some("a"))]);
    cut.begun_before = true;
    let verdict = judge(&cut, &anchored("dropped"), &kind(None));
    assert!(verdict.broken[0].contains("pgtend.anchor remembers rows before it"), "{verdict:?}");
}

#[test]
fn no_more_than_ten_rows_are_named() {
    let rows: Vec<_> = (0..30).map(|_| ("h", Some("gone"))).collect();
    let verdict = judge(&seen(&rows), &Chain::default(), &kind(None));
    assert!(
        verdict.broken[0].contains("30 rows name predecessors") && verdict.broken[0].contains("9, 10, …"),
        "{verdict:?}"
    );
}

#[test]
fn without_an_order_each_row_is_looked_for_all_the_same() {
    let some = |count, places: &[&str]| Examples { count, places: places.iter().map(|p| (*p).into()).collect() };
    let verdict = |lost, beginnings, forks| {
        let how = How::Unordered { lost, beginnings, forks };
        judge(&Seen { how, first: Some("1".into()), ..seen(&[]) }, &Chain::default(), &kind(None))
    };
    let whole = verdict(some(0, &[]), some(1, &["7"]), some(0, &[]));
    assert!(whole.broken.is_empty() && whole.notes[0].contains("circle would not be noticed"), "{whole:?}");
    let broken = verdict(some(1, &["4"]), some(3, &["7", "8", "9"]), some(1, &["5"]));
    assert!(broken.broken[0].contains("not there (id 4)"), "{broken:?}");
    assert!(broken.broken[1].contains("2 rows behind the first name no predecessor (id 8, 9)"), "{broken:?}");
    assert_eq!(broken.forks, 1);
}

proptest! {
    /// Written one after the other and read in any order, a chain is whole; without one of its rows but the last it is not.
    #[test]
    fn a_chain_in_any_order_is_whole_and_one_without_a_row_is_not(
        order in (2usize..20).prop_flat_map(|n| Just((0..n).collect::<Vec<_>>()).prop_shuffle()),
        gone in any::<prop::sample::Index>(),
    ) {
        let names: Vec<String> = order.iter().map(|n| format!("h{n}")).collect();
        let before: Vec<Option<String>> = order.iter().map(|n| n.checked_sub(1).map(|n| format!("h{n}"))).collect();
        let mut rows: Vec<_> = names.iter().map(String::as_str).zip(before.iter().map(Option::as_deref)).collect();
        // The first row of all may only stand first.
        let first = rows.iter().position(|row| row.1.is_none()).unwrap();
        rows.swap(0, first);
        let verdict = judge(&seen(&rows), &Chain::default(), &kind(None));
        prop_assert!(verdict.broken.is_empty() && verdict.forks == 0, "{rows:?} {verdict:?}");
        let last = format!("h{}", order.len() - 1);
        let gone = gone.index(rows.len());
        if rows[gone].0 != last {
            rows.remove(gone);
            prop_assert!(!judge(&seen(&rows), &Chain::default(), &kind(None)).broken.is_empty(), "{rows:?}");
        }
    }
}
