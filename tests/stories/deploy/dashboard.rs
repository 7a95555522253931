//! deploy/grafana/pgtend.json: there is no Grafana here to show it, so all is looked at that can be seen without one.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::{promql, read, told};

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/grafana/pgtend.json")).expect("JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// All panels, those in rows that are folded too.
fn panels(dashboard: &Value) -> Vec<&Value> {
    list(&dashboard["panels"]).iter().flat_map(|panel| std::iter::once(panel).chain(list(&panel["panels"]))).collect()
}

/// Every query with the panel it is of, and those that the variables are filled by.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_string();
    let mut queries = Vec::new();
    for panel in panels(dashboard) {
        for target in list(&panel["targets"]) {
            queries.push((text(&panel["title"]), text(&target["expr"])));
        }
    }
    for variable in list(&dashboard["templating"]["list"]).iter().filter(|variable| variable["type"] == "query") {
        let query = text(&variable["query"]["query"]);
        assert_eq!(variable["definition"], json!(query));
        let (series, label) = query
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')')?.rsplit_once(", "))
            .unwrap_or_else(|| panic!("{query} is not understood"));
        queries.push((format!("variable {}", variable["name"]), format!("count by ({label}) ({series})")));
    }
    assert!(queries.len() > 20);
    queries
}

/// As Grafana fills them in.
fn filled(query: &str) -> String {
    let query = query.replace("$__rate_interval", "5m").replace("$__range", "1h");
    let query = query.replace("$job", ".*").replace("$database", "main|other");
    assert!(!query.contains('$'), "a variable that is not there: {query}");
    query
}

#[test]
fn every_query_of_the_dashboard_is_one() {
    let dashboard = dashboard();
    let rules: Vec<_> = queries(&dashboard)
        .iter()
        .enumerate()
        .map(|(n, (panel, query))| json!({"record": format!("query_{n}"), "expr": filled(query), "labels": {"panel": panel}}))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queries.yml");
    // JSON is YAML.
    fs::write(&file, json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string()).unwrap();
    let (well, said) = told(Command::new("promtool").args(["check", "rules"]).arg(&file));
    assert!(well, "{said}");
}

#[test]
fn no_query_asks_for_a_metric_or_a_label_that_is_not_there() {
    for (panel, query) in queries(&dashboard()) {
        assert_eq!(promql::unknown(&filled(&query), &[]), [""; 0], "{panel}: {query}");
    }
}

/// A metric that nobody sees is either of no use or forgotten.
#[test]
fn every_metric_has_its_place_on_the_dashboard_and_in_the_docs() {
    let dashboard = dashboard();
    let shown: BTreeSet<String> =
        queries(&dashboard).iter().flat_map(|(_, query)| promql::asked(&filled(query)).metrics).collect();
    let page = read("docs/operating.md");
    for metric in pgtend::engine::metrics::Metrics::new().described() {
        let name = &metric.name;
        if name.starts_with("process_") {
            continue;
        }
        assert!(shown.contains(name) || shown.contains(&format!("{name}_bucket")), "{name} is on no panel");
        assert!(
            page.contains(&format!("`{name}`")) || page.contains(&format!("`{name}{{")),
            "{name} is not in the docs"
        );
    }
}

#[test]
fn legends_name_labels_that_their_queries_keep() {
    for panel in panels(&dashboard()) {
        for target in list(&panel["targets"]) {
            let (legend, query) = (target["legendFormat"].as_str().unwrap(), target["expr"].as_str().unwrap());
            for label in legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap()) {
                let kept = query
                    .split(" by (")
                    .skip(1)
                    .any(|list| list.split(')').next().unwrap().split(',').any(|kept| kept.trim() == label));
                // Without an aggregation all are kept.
                assert!(kept || (label == "instance" && !query.contains(" by (")), "{label} is lost in {query}");
            }
        }
    }
}

#[test]
fn the_dashboard_is_laid_out_so_that_grafana_takes_it() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_i64().unwrap() >= 39);
    // Whoever provisions it has no "id" to give; "uid" is what links point to.
    assert_eq!((dashboard.get("id"), dashboard["uid"].as_str()), (None, Some("pgtend")));
    let names: Vec<_> =
        list(&dashboard["templating"]["list"]).iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "database", "job"]);

    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].as_i64().expect("an id")), "{title}: its id is another's");
        let at = |key| panel["gridPos"][key].as_i64().unwrap_or_else(|| panic!("{title} has no {key}"));
        assert!(at("x") + at("w") <= 24, "{title} is out of the page");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{title} lies on another");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        let source = json!({"type": "prometheus", "uid": "${datasource}"});
        let mut letters = BTreeSet::new();
        assert_eq!(panel["datasource"], source, "{title}");
        for target in list(&panel["targets"]) {
            assert_eq!(target["datasource"], source, "{title}");
            assert!(letters.insert(target["refId"].as_str().expect("a letter")), "{title}: two queries of one letter");
        }
        assert!(!letters.is_empty(), "{title} asks nothing");
    }
}
