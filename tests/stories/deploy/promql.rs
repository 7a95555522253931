//! What a PromQL expression asks for, as far as a test needs to know: metrics, and the labels that must be theirs. Whether it
//! is one is promtool's to say.

use std::collections::BTreeSet;

use pgtend::engine::metrics::Metrics;

/// Labels that whoever scrapes adds, and that of a histogram's buckets.
const ADDED: [&str; 2] = ["instance", "le"];

/// Metrics that are Prometheus's own, or another's that a rule guards against, with the label that whoever scrapes gives it.
const OTHERS: [(&str, &str); 1] = [("up", "job")];

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub metrics: BTreeSet<String>,
    /// With the metric in whose braces they stand; without one where they are listed after `by` and the like.
    pub labels: BTreeSet<(Option<String>, String)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Sign(char),
}

/// Strings and ranges are left out: nothing is named in them.
fn tokens(expression: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = expression.chars().peekable();
    while let Some(c) = rest.next() {
        if c.is_alphabetic() || c == '_' || c == ':' {
            let mut word = String::from(c);
            while let Some(c) = rest.next_if(|c| c.is_alphanumeric() || matches!(c, '_' | ':')) {
                word.push(c);
            }
            tokens.push(Token::Word(word));
        } else if c.is_ascii_digit() {
            // With a unit, if it has one.
            while rest.next_if(|c| c.is_alphanumeric() || *c == '.').is_some() {}
        } else if c == '[' {
            // How far back, and in which steps.
            while rest.next().is_some_and(|c| c != ']') {}
        } else if matches!(c, '"' | '\'' | '`') {
            while let Some(inner) = rest.next() {
                match inner {
                    '\\' => drop(rest.next()),
                    inner if inner == c => break,
                    _ => {}
                }
            }
        } else if !c.is_whitespace() {
            tokens.push(Token::Sign(c));
        }
    }
    tokens
}

pub fn asked(expression: &str) -> Asked {
    let mut asked = Asked::default();
    let tokens = tokens(expression);
    let sign = |at: usize, sign| tokens.get(at) == Some(&Token::Sign(sign));
    let mut at = 0;
    while at < tokens.len() {
        let Token::Word(word) = &tokens[at] else {
            at += 1;
            continue;
        };
        at += 1;
        let list = matches!(word.as_str(), "by" | "without" | "on" | "ignoring" | "group_left" | "group_right");
        // A function, an aggregation or an operator is followed by what it is of.
        let other = matches!(word.as_str(), "and" | "or" | "unless" | "offset" | "bool" | "inf" | "Inf" | "NaN");
        let (metric, close) = match (list, sign(at, '('), sign(at, '{')) {
            (true, true, _) => (None, ')'),
            (false, true, _) => continue,
            (_, _, braces) => {
                if other || list {
                    continue;
                }
                // `sum(x) by (y)` and `sum by (y) (x)`.
                if matches!(tokens.get(at), Some(Token::Word(next)) if next == "by" || next == "without") {
                    continue;
                }
                asked.metrics.insert(word.clone());
                if !braces {
                    continue;
                }
                (Some(word.clone()), '}')
            }
        };
        while at < tokens.len() && !sign(at, close) {
            if let Token::Word(label) = &tokens[at] {
                asked.labels.insert((metric.clone(), label.clone()));
            }
            at += 1;
        }
    }
    asked
}

/// Metrics and labels of an expression that are none of pgtend's. `recorded` are the names that rules give.
pub fn unknown(expression: &str, recorded: &[String]) -> Vec<String> {
    let metrics = Metrics::new();
    let asked = asked(expression);
    let find = |name: &str| {
        let parts = ["_bucket", "_sum", "_count"];
        let base = parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
        metrics.described().iter().find(|one| one.name == name || (one.name == base && base.ends_with("_seconds")))
    };
    let mut unknown = Vec::new();
    for name in &asked.metrics {
        if find(name).is_none() && !OTHERS.iter().any(|(other, _)| other == name) && !recorded.contains(name) {
            unknown.push(format!("{name} is no metric"));
        }
    }
    for (metric, label) in &asked.labels {
        // Of a list: a label that one of the metrics has.
        let of: Vec<_> =
            asked.metrics.iter().filter(|name| metric.as_ref().is_none_or(|metric| metric == *name)).collect();
        let has = |name: &&String| {
            recorded.contains(name)
                || OTHERS.contains(&(name.as_str(), label.as_str()))
                || find(name).is_some_and(|one| one.labels.iter().any(|known| known == label))
        };
        // Rules that look for a scrape which has renamed our label name that one.
        let renamed = label == "exported_job";
        if !ADDED.contains(&label.as_str()) && !renamed && !of.iter().any(has) {
            unknown.push(format!("{label} is no label of {of:?}"));
        }
    }
    unknown
}

#[test]
fn it_is_seen_what_an_expression_asks_for() {
    let names = |expression: &str| asked(expression).metrics.into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(names("time() - max by (job) (a_seconds{job=~\"x\", k!='a{b}'} > 0) > 2 * 86400"), "a_seconds");
    assert_eq!(names("sum(increase(a_total[1h] offset 1d)) by (job) unless on (job) b or absent(c)"), "a_total b c");
    assert_eq!(names("histogram_quantile(0.9, sum by (le) (rate(a_bucket[5m])))"), "a_bucket");
    assert_eq!(names("x:y < 0.4 * max_over_time(x:y[30d:6h])"), "x:y");
    let labels: Vec<_> = asked("sum by (job, le) (a{store=\"b\"})").labels.into_iter().collect();
    let expected = [(None, "job"), (None, "le"), (Some("a"), "store")];
    assert_eq!(labels, expected.map(|(metric, label)| (metric.map(Into::into), label.to_string())).to_vec());

    assert_eq!(unknown("sum by (job) (pgtend_job_running{job=\"x\"}) and on (instance) up == 1", &[]), [""; 0]);
    assert_eq!(unknown("pgtend_job_duration_seconds_bucket{le=\"1\"}", &[]), [""; 0]);
    assert_eq!(unknown("up{job=\"x\"} == 0", &[]), [""; 0]);
    assert_eq!(unknown("up{table=\"x\"} == 0", &[]), ["table is no label of [\"up\"]"]);
    assert_eq!(unknown("pgtend_jobs_running", &[]), ["pgtend_jobs_running is no metric"]);
    assert_eq!(unknown("pgtend_up{job=\"x\"}", &[]), ["job is no label of [\"pgtend_up\"]"]);
    assert_eq!(unknown("sum by (table) (pgtend_job_running)", &[]), ["table is no label of [\"pgtend_job_running\"]"]);
}
