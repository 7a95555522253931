use super::*;

fn now() -> DateTime<Utc> {
    "2026-11-29T12:00:00Z".parse().unwrap()
}

fn hours_ago(hours: i64) -> Option<DateTime<Utc>> {
    Some(now() - chrono::TimeDelta::hours(hours))
}

/// A table of 1,000 rows, of which nothing has changed.
fn table(oid: u32, name: &str) -> Relation {
    Relation {
        oid,
        name: name.parse().unwrap(),
        of: Of::Rows,
        owner: Ident::new("app").unwrap(),
        role: Ident::new("pgtend").unwrap(),
        may: May::Itself,
        may_enter: true,
        has_children: false,
        ancestors: Vec::new(),
        tuples: 1000.0,
        dead: 0,
        inserted: 0,
        modified: 0,
        vacuum_threshold: 250.0,
        insert_threshold: Some(1200.0),
        analyze_threshold: 150.0,
        xid_age: 1000,
        freeze_max_age: 200_000_000.0,
        vacuumed_at: None,
        analyzed_at: None,
    }
}

/// Two levels: `p` has `p_1` and the partitioned `p_2`, which has `p_2_1`.
fn tree() -> Vec<Relation> {
    let parent = |oid, name: &str| Relation { of: Of::Partitions, has_children: true, tuples: 0.0, ..table(oid, name) };
    vec![
        parent(1, "p"),
        Relation { ancestors: vec![1], ..table(2, "p_1") },
        Relation { ancestors: vec![1], ..parent(3, "p_2") },
        Relation { ancestors: vec![1, 3], ..table(4, "p_2_1") },
    ]
}

fn facts(version: i32, relations: Vec<Relation>) -> Facts {
    Facts { version, now: now(), until: None, relations, holders: Vec::new() }
}

/// The plan, one line an action or note: `VACUUM "public"."t"`, `refuse public.t`, `keep public.t`.
fn lines<const VACUUM: bool>(config: &str, facts: &Facts) -> Vec<String> {
    let chore: Chore<VACUUM> = toml::from_str(config).unwrap();
    let plan = plan(&chore, facts);
    let steps = plan.actions.iter().map(Action::step).chain(plan.notes);
    steps.map(|step| step.sql.unwrap_or_else(|| format!("{} {}", step.action, step.target)).replace('"', "")).collect()
}

fn vacuum(config: &str, relations: Vec<Relation>) -> Vec<String> {
    lines::<true>(config, &facts(180_000, relations))
}

#[test]
fn the_neediest_come_first_by_whichever_reason_autovacuum_would_come_for() {
    let relations = vec![
        table(1, "idle"),
        Relation { xid_age: 2000, ..table(2, "older") },
        Relation { dead: 500, ..table(3, "dead") },
        Relation { inserted: 1800, ..table(4, "inserted") },
        Relation { inserted: 9000, insert_threshold: None, ..table(5, "appended") },
        Relation { xid_age: 199_000_000, ..table(6, "ancient") },
    ];
    let expected = ["dead", "inserted", "ancient", "older", "appended", "idle"];
    assert_eq!(vacuum("", relations), expected.map(|name| format!("VACUUM public.{name}")));
}

#[test]
fn leaves_come_once_and_parents_are_analyzed_and_never_vacuumed() {
    let expected = [
        "ANALYZE ONLY public.p",
        "ANALYZE ONLY public.p_2",
        "VACUUM (ANALYZE) public.p_1",
        "VACUUM (ANALYZE) public.p_2_1",
    ];
    assert_eq!(vacuum("analyze = true", tree()), expected);
    assert_eq!(vacuum("", tree()), ["VACUUM public.p_1", "VACUUM public.p_2_1"]);
    let analyzed = ["ANALYZE ONLY public.p", "ANALYZE ONLY public.p_2", "ANALYZE public.p_1", "ANALYZE public.p_2_1"];
    assert_eq!(lines::<false>("", &facts(180_000, tree())), analyzed);
}

#[test]
fn before_18_the_analyze_of_a_parent_is_that_of_all_below_it() {
    let old = facts(170_000, tree());
    assert_eq!(lines::<false>("", &old), ["ANALYZE public.p"]);
    let expected = ["ANALYZE public.p", "VACUUM public.p_1", "VACUUM public.p_2_1"];
    assert_eq!(lines::<true>("analyze = true", &old), expected);
    let chore: Chore<false> = toml::from_str("").unwrap();
    let Action::Tend(tend) = &plan(&chore, &old).actions[0] else { panic!("refused") };
    assert_eq!(tend.reaches, [1, 2, 3, 4]);
    assert!(tend.reason.contains("3 partitions"), "{}", tend.reason);
    // Only what is chosen covers what is below it.
    assert_eq!(lines::<false>("tables = ['p_2*']", &old), ["ANALYZE public.p_2"]);
    let mut recent = tree();
    recent[0].analyzed_at = hours_ago(1);
    let expected = ["ANALYZE public.p_2", "ANALYZE public.p_1", "keep public.p"];
    assert_eq!(lines::<false>("skip_if_within = '6h'", &facts(150_000, recent)), expected);
}

#[test]
fn an_inherited_table_stays_with_itself_from_18_on() {
    let relations = || {
        vec![
            Relation { has_children: true, ..table(1, "parent") },
            Relation { ancestors: vec![1], ..table(2, "child") },
        ]
    };
    let at = |version| lines::<true>("analyze = true", &facts(version, relations()));
    assert_eq!(at(180_000), ["VACUUM (ANALYZE) ONLY public.parent", "VACUUM (ANALYZE) public.child"]);
    assert_eq!(at(170_000), ["VACUUM (ANALYZE) public.parent", "VACUUM (ANALYZE) public.child"]);
}

#[test]
fn a_parent_that_was_never_analyzed_goes_by_its_rows_and_later_by_what_changed() {
    let need = |analyzed_at, modified| {
        let mut relations = tree();
        relations[0].analyzed_at = analyzed_at;
        relations[1].modified = modified;
        let chore: Chore<false> = toml::from_str("").unwrap();
        let plan = plan(&chore, &facts(180_000, relations));
        let of = |action: &Action| match action {
            Action::Tend(tend) if tend.oid == 1 => Some(tend.need),
            _ => None,
        };
        plan.actions.iter().find_map(of).unwrap()
    };
    assert!((need(None, 0) - 2000.0 / 300.0).abs() < 1e-9);
    assert!((need(hours_ago(1), 900) - 3.0).abs() < 1e-9);
    assert!((need(hours_ago(1), 0) - 1.0).abs() < 1e-9, "autovacuum never comes");
}

#[test]
fn what_was_done_within_is_left_alone_each_part_by_itself() {
    let relations = vec![
        Relation { vacuumed_at: hours_ago(1), analyzed_at: hours_ago(1), ..table(1, "both") },
        Relation { vacuumed_at: hours_ago(1), analyzed_at: hours_ago(7), ..table(2, "vacuumed") },
        Relation { vacuumed_at: hours_ago(7), analyzed_at: hours_ago(1), ..table(3, "analyzed") },
        Relation { vacuumed_at: hours_ago(6), ..table(4, "neither") },
    ];
    let expected =
        ["VACUUM public.analyzed", "VACUUM (ANALYZE) public.neither", "ANALYZE public.vacuumed", "keep public.both"];
    assert_eq!(vacuum("analyze = true\nskip_if_within = '6h'", relations.clone()), expected);
    let plain = vacuum("skip_if_within = '6h'", relations.clone());
    assert_eq!(plain, ["VACUUM public.analyzed", "VACUUM public.neither", "keep public.both", "keep public.vacuumed"]);
    let chore: Chore<true> = toml::from_str("skip_if_within = '6h'").unwrap();
    assert_eq!(plan(&chore, &facts(180_000, relations.clone())).in_order, 2);
    assert_eq!(vacuum("", relations).len(), 4);
}

#[test]
fn a_name_means_a_table_with_its_partitions_and_exclude_takes_them_away() {
    let with = |config: &str| {
        let mut relations = tree();
        relations.push(table(9, "archive.p"));
        vacuum(config, relations)
    };
    assert_eq!(with("tables = ['p']"), ["VACUUM public.p_1", "VACUUM public.p_2_1"]);
    assert_eq!(with("tables = ['p']\nexclude = ['p_2']"), ["VACUUM public.p_1"]);
    assert_eq!(with("exclude = ['p']"), ["VACUUM archive.p"]);
    assert_eq!(with("tables = ['*.p']\nexclude = ['public.*']"), ["VACUUM archive.p"]);
    assert_eq!(with("tables = ['gone', 'no*', 'p_1']"), ["refuse public.gone", "VACUUM public.p_1", "warn no*"]);
}

#[test]
fn metrics_are_labelled_by_the_entry_that_chose_a_table() {
    let chore: Chore<true> = toml::from_str("tables = ['p_1', '*']").unwrap();
    let of = |action: &Action| match action {
        Action::Tend(tend) => (tend.oid, tend.chosen_by.clone()),
        Action::Refuse { .. } => panic!("refused"),
    };
    let found: Vec<_> = plan(&chore, &facts(180_000, tree())).actions.iter().map(of).collect();
    assert_eq!(found, [(2, "p_1".into()), (4, "*".into())]);
}

#[test]
fn what_the_role_may_not_tend_is_refused_and_the_others_go_on() {
    let mut relations = tree();
    relations[1].may = May::Not;
    relations[3].may_enter = false;
    let old = facts(150_000, relations.clone());
    // Also where the statement of the parent would have come by.
    let expected = ["refuse public.p_1", "refuse public.p_2_1", "ANALYZE public.p"];
    assert_eq!(lines::<false>("", &old), expected);
    let chore: Chore<false> = toml::from_str("").unwrap();
    let actions = plan(&chore, &old).actions;
    let Action::Refuse { why, .. } = &actions[0] else { panic!("{actions:?}") };
    assert!(why.contains("role pgtend may not") && why.contains("app"), "{why}");
    let Action::Tend(tend) = &actions[2] else { panic!("{actions:?}") };
    assert_eq!(tend.reaches, [1, 3, 4], "no more is expected of it than it can do");
    // Whether autovacuum has been there changes nothing.
    relations[1].vacuumed_at = hours_ago(1);
    assert_eq!(vacuum("skip_if_within = '6h'", relations)[0], "refuse public.p_1");
}

#[test]
fn whoever_may_act_as_the_owner_does_and_comes_by_what_that_owner_has() {
    let mut relations = tree();
    for relation in &mut relations {
        relation.may = May::AsOwner;
    }
    relations[3].owner = Ident::new("other").unwrap();
    let old = facts(150_000, relations);
    let chore: Chore<false> = toml::from_str("").unwrap();
    let of = |action: &Action| match action {
        Action::Tend(tend) => (tend.oid, tend.as_owner.as_ref().unwrap().as_str().to_owned(), tend.reaches.clone()),
        Action::Refuse { .. } => panic!("refused"),
    };
    let found: Vec<_> = plan(&chore, &old).actions.iter().map(of).collect();
    assert_eq!(found, [(1, "app".into(), vec![1, 2, 3]), (4, "other".into(), vec![4])]);
}

#[test]
fn whoever_holds_on_to_dead_rows_is_named_where_any_would_be_removed() {
    let held = Facts { holders: vec!["pid 7".into()], ..facts(150_000, vec![table(1, "t")]) };
    assert_eq!(lines::<true>("", &held), ["VACUUM public.t", "warn dead rows"]);
    assert_eq!(lines::<false>("", &held), ["ANALYZE public.t"]);
    assert_eq!(lines::<true>("exclude = ['*']", &held), [""; 0]);
}

#[test]
fn a_budget_is_for_all_but_the_first() {
    let until = Some(Instant::now());
    let facts = Facts { until, ..facts(150_000, vec![table(1, "a"), table(2, "b")]) };
    let chore: Chore<true> = toml::from_str("budget = '1h'").unwrap();
    let of = |action: &Action| match action {
        Action::Tend(tend) => tend.until,
        Action::Refuse { .. } => panic!("refused"),
    };
    assert_eq!(plan(&chore, &facts).actions.iter().map(of).collect::<Vec<_>>(), [None, until]);
}

#[test]
fn an_exclusion_that_names_what_is_not_there_is_a_warning_and_a_wildcard_is_none() {
    let plan = vacuum("exclude = ['a', 'nope', 'n*']", vec![table(1, "a"), table(2, "b")]);
    assert_eq!(plan, ["VACUUM public.b", "warn nope"]);
    let chore: Chore<true> = toml::from_str("exclude = ['a', 'nope', 'n*']").unwrap();
    let found = super::super::check::findings(&chore, &facts(150_000, vec![table(1, "a")]), true);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].message.contains("view nope, so `exclude` leaves nothing out"), "{found:?}");
}
