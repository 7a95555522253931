//! deploy/prometheus: every rule can be read, fires when it should and not when it should not, asks for what is there, and
//! sends whoever it wakes to a page that helps.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::{promql, read, shipped, told, yaml};

/// Rules, and the tests of each.
const FILES: [(&str, &[&str]); 2] = [
    ("pgtend.rules.yml", &["pgtend.test.yml", "pgtend.days.test.yml"]),
    ("pgtend-health.rules.yml", &["pgtend-health.test.yml"]),
];

fn file(name: &str) -> String {
    format!("deploy/prometheus/{name}")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn rules(name: &str) -> Vec<Value> {
    let rules = yaml(&file(name)).remove(0);
    list(&rules["groups"]).flat_map(|group| list(&group["rules"]).cloned().collect::<Vec<_>>()).collect()
}

fn alerts() -> impl Iterator<Item = Value> {
    FILES.iter().flat_map(|(name, _)| rules(name)).filter(|rule| rule["alert"].is_string())
}

#[test]
fn promtool_accepts_the_rules_and_finds_their_tests_right() {
    for (rules, tests) in FILES {
        let (well, said) = told(Command::new("promtool").args(["check", "rules"]).arg(shipped(&file(rules))));
        assert!(well, "{said}");
        for test in tests {
            let (well, said) = told(Command::new("promtool").args(["test", "rules"]).arg(shipped(&file(test))));
            assert!(well, "{test}: {said}");
        }
    }
}

#[test]
fn every_alert_is_tested_to_fire_and_not_to_fire() {
    let (mut fires, mut does_not) = (BTreeSet::new(), BTreeSet::new());
    for test in FILES.iter().flat_map(|(_, tests)| *tests).map(|test| yaml(&file(test)).remove(0)) {
        for case in list(&test["tests"]).flat_map(|test| list(&test["alert_rule_test"])) {
            let name = case["alertname"].as_str().expect("a name").to_string();
            if list(&case["exp_alerts"]).next().is_some() {
                fires.insert(name)
            } else {
                does_not.insert(name)
            };
        }
    }
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap().to_string();
        assert!(fires.contains(&name), "no test in which {name} fires");
        assert!(does_not.contains(&name), "no test in which {name} does not fire");
    }
}

#[test]
fn no_rule_asks_for_a_metric_or_a_label_that_is_not_there() {
    for (name, _) in FILES {
        let rules = rules(name);
        let recorded: Vec<_> = rules.iter().filter_map(|rule| rule["record"].as_str().map(Into::into)).collect();
        for rule in &rules {
            let unknown = promql::unknown(rule["expr"].as_str().expect("an expression"), &recorded);
            assert_eq!(unknown, [""; 0], "{rule}");
        }
    }
}

#[test]
fn every_alert_has_a_severity_and_a_section_in_the_runbook() {
    let runbook = read("docs/runbook.md");
    let sections: Vec<&str> = runbook.split("\n### ").skip(1).collect();
    let titles: BTreeSet<&str> = sections.iter().map(|section| section.lines().next().unwrap()).collect();
    let mut names = BTreeSet::new();
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap().to_string();
        let severity = alert["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["critical", "warning", "info"].contains(&severity), "{name} is {severity:?}");
        let url = alert["annotations"]["runbook_url"].as_str().unwrap_or_default();
        assert_eq!(url, format!("docs/runbook.md#{}", name.to_lowercase()));
        assert!(titles.contains(name.as_str()), "docs/runbook.md has no section {name}");
        names.insert(name);
    }
    for section in &sections {
        let title = section.lines().next().unwrap();
        assert!(names.contains(title), "docs/runbook.md has a section of {title}, which is no alert");
        for part in ["**Means.**", "**Look at.**", "**Do.**"] {
            assert!(section.contains(part), "{title} has no {part}");
        }
    }
}
