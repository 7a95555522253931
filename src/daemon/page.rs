//! The status page: one table, readable without a script.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use super::board::Reach;
use crate::engine::JobStatus;
use crate::period::human;
use crate::run::Outcome;

const STYLE: &str = "
:root{color-scheme:light dark;--bad:#b42318;--good:#067647;--line:#8884}
@media(prefers-color-scheme:dark){:root{--bad:#f97066;--good:#47cd89}}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.4rem .8rem .4rem 0;border-bottom:1px solid var(--line);vertical-align:top}
.bad{color:var(--bad);font-weight:600}.good{color:var(--good)}.dim{opacity:.7}";

/// The page, whole.
pub fn render(jobs: &[JobStatus], databases: &BTreeMap<String, Reach>, now: DateTime<Utc>) -> String {
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <meta http-equiv=refresh content=30><title>pgtend</title><style>{STYLE}</style><h1>pgtend</h1><p class=dim>{} UTC</p>",
        now.format("%Y-%m-%d %H:%M:%S")
    );
    let wrong = wrong(jobs, databases);
    if wrong.is_empty() {
        page.push_str("<p class=good>Nothing is wrong.</p>");
    } else {
        page.push_str("<h2>Wrong right now</h2><ul>");
        for line in wrong {
            let _ = write!(page, "<li class=bad>{}</li>", escape(&line));
        }
        page.push_str("</ul>");
    }
    page.push_str(
        "<h2>Jobs</h2><div class=scroll><table><thead><tr><th scope=col>Job<th scope=col>Kind<th scope=col>Database\
         <th scope=col>Last run<th scope=col>Outcome<th scope=col>Last success<th scope=col>Next run</tr></thead><tbody>",
    );
    for job in jobs {
        let ago = |at: Option<DateTime<Utc>>| at.map_or_else(|| "never".into(), |at| distance(at, now));
        let outcome = match (job.running_since, job.last_outcome) {
            (Some(since), _) => format!("running for {}", human((now - since).to_std().unwrap_or_default())),
            (None, Some(outcome)) => outcome.to_string(),
            (None, None) => "–".into(),
        };
        let class = match job.last_outcome {
            Some(Outcome::Succeeded) => "good",
            Some(outcome) if outcome.is_bad() => "bad",
            _ => "dim",
        };
        let next = match (job.enabled, job.next_run_at) {
            (false, _) => "disabled".into(),
            (true, Some(at)) => distance(at, now),
            (true, None) => "by hand".into(),
        };
        let _ = write!(
            page,
            "<tr><th scope=row>{}<td>{}<td>{}<td>{}<td class={class}>{outcome}<td>{}<td>{next}</tr>",
            escape(job.job.as_str()),
            job.kind,
            escape(&job.database),
            ago(job.last_finished_at),
            ago(job.last_success_at),
        );
    }
    page.push_str("</tbody></table></div></html>");
    page
}

fn wrong(jobs: &[JobStatus], databases: &BTreeMap<String, Reach>) -> Vec<String> {
    let down = databases.iter().filter(|(_, reach)| !reach.up);
    let down =
        down.map(|(name, reach)| format!("database {name}: {}", reach.error.as_deref().unwrap_or("out of reach")));
    let bad = jobs.iter().filter(|job| job.consecutive_failures > 0 && job.last_outcome.is_some_and(Outcome::is_bad));
    let bad = bad.map(|job| {
        let outcome = job.last_outcome.map_or("failed", Outcome::as_str);
        format!("job {}: {outcome}: {}", job.job, job.last_error.as_deref().unwrap_or("no error was recorded"))
    });
    down.chain(bad).collect()
}

fn distance(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    match (now - at).to_std() {
        Ok(ago) => format!("{} ago", human(ago)),
        Err(_) => format!("in {}", human((at - now).to_std().unwrap_or_default())),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_message_cannot_become_markup() {
        let reach = Reach { up: false, standby: false, error: Some("<script>\"&".into()) };
        let page = render(&[], &BTreeMap::from([("main".into(), reach)]), DateTime::UNIX_EPOCH);
        assert!(page.contains("&lt;script&gt;&quot;&amp;") && !page.contains("<script>"));
    }
}
