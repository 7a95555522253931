//! `[notify.NAME]`, and the `ping` of a job: whom to tell.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use reqwest::Url;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use toml::Spanned;

use super::definition::{Address, Definition, NotifyConfig, NotifyFormat, NotifyOn, Origin, Source};
use super::errors::{Problems, origin};
use super::files;
use super::jobs::{check_name, shown};
use super::read::read;
use super::tree::Node;
use crate::near;

/// Somebody to be told.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotifyKeys {
    /// The webhook: `https://…`. Whoever has the address can often use it; better in `url_file` or in `${VAR}`.
    #[schemars(with = "Option<String>")]
    url: Option<Spanned<String>>,
    /// A file that holds the address. A relative path counts from the config's folder.
    #[schemars(with = "Option<PathBuf>")]
    url_file: Option<Spanned<PathBuf>>,
    /// What is sent: an object with fields, or a text as Slack and its like take it. Default: "json".
    #[serde(default)]
    format: NotifyFormat,
    /// Of what. Default: all.
    on: Option<Vec<NotifyOn>>,
    /// Of which jobs, as globs over their names. Default: all.
    #[schemars(with = "Option<Vec<String>>")]
    jobs: Option<Vec<Spanned<String>>>,
    /// A file that holds a token, sent as `Authorization: Bearer …`.
    #[schemars(with = "Option<PathBuf>")]
    token_file: Option<Spanned<PathBuf>>,
}

/// Reads `[notify]`. What would tell nobody anything is allowed, and told: whoever relies on it would never know.
pub fn notify(
    node: Node,
    main: &Arc<Source>,
    jobs: &[Arc<Definition>],
    problems: &mut Problems,
) -> BTreeMap<String, NotifyConfig> {
    let read = read(node, "notify", &[], main, problems, |node| {
        BTreeMap::<Spanned<String>, Spanned<NotifyKeys>>::deserialize(node)
    });
    let mut found = BTreeMap::new();
    for (name, keys) in read.value.unwrap_or_default() {
        let place = origin(main, name.span());
        let name = name.into_inner();
        if let Err(message) = check_name("notify", &name) {
            problems.error(&place, message);
        }
        let keys = keys.into_inner();
        let address = match (keys.url, keys.url_file) {
            (Some(url), None) => address("url", url.get_ref(), &origin(main, url.span()), problems),
            (None, Some(file)) => from_file(&file, main, problems),
            (Some(_), Some(file)) => {
                problems.at(main, &file.span(), format!("`{name}` has a url already; keep one of url and url_file"));
                None
            }
            // Where something was cut out, that has been said.
            (None, None) => {
                if read.clean {
                    problems.error(&place, format!("`{name}` does not say where to; add url or url_file"));
                }
                None
            }
        };
        let patterns = keys.jobs.map_or_else(
            || glob::Pattern::new("*").into_iter().collect(),
            |written| patterns(&name, &place, &written, jobs, problems),
        );
        let token = keys.token_file.and_then(|path| files::token(&path, main, problems));
        if let Some(address) = address {
            let on = keys.on.unwrap_or_else(|| NotifyOn::ALL.to_vec());
            if on.is_empty() {
                problems.warn(place, format!("`on` of `{name}` is empty: nobody is told"), LEAVE_OUT);
            }
            found.insert(name, NotifyConfig { address, format: keys.format, on, jobs: patterns, token });
        }
    }
    found
}

const LEAVE_OUT: &str = "leave it out for all, or take the table out";

/// The globs over the names of jobs.
fn patterns(
    name: &str,
    place: &Origin,
    written: &[Spanned<String>],
    jobs: &[Arc<Definition>],
    problems: &mut Problems,
) -> Vec<glob::Pattern> {
    if written.is_empty() {
        problems.warn(place.clone(), format!("`jobs` of `{name}` is empty: nobody is told"), LEAVE_OUT);
    }
    let known: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
    let mut patterns = Vec::new();
    for pattern in written {
        let place = origin(&place.source, pattern.span());
        let text = pattern.get_ref();
        match glob::Pattern::new(text) {
            Ok(glob) => {
                // Where there is no job at all, that has been said.
                if !known.is_empty() && !known.iter().any(|job| glob.matches(job)) {
                    let message = format!("`jobs` of `{name}`: {} matches no job", shown(&place, text));
                    let advice = near::advice(text, &known, "job");
                    problems.warn(place, message, advice.trim_start_matches("; "));
                }
                patterns.push(glob);
            }
            Err(error) => problems.error(&place, format!("`jobs`: not a glob: {}", error.msg)),
        }
    }
    patterns
}

fn from_file(path: &Spanned<PathBuf>, main: &Arc<Source>, problems: &mut Problems) -> Option<Address> {
    let place = origin(main, path.span());
    match fs::read_to_string(files::folder(&main.path).join(path.get_ref())) {
        Ok(text) => parse(text.trim()).map_err(|why| problems.error(&place, format!("`url_file`: {why}"))).ok(),
        Err(error) => {
            problems.error(&place, format!("`url_file`: the file cannot be read: {}", files::reason(&error)));
            None
        }
    }
}

/// An address as a config has it; what is wrong with it is said without showing it.
pub fn address(key: &str, text: &str, place: &Origin, problems: &mut Problems) -> Option<Address> {
    parse(text).map_err(|why| problems.error(place, format!("`{key}`: {why}"))).ok()
}

fn parse(text: &str) -> Result<Address, String> {
    let url =
        Url::from_str(text).map_err(|error| format!("not an address: {error}; write it like https://host/path"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("not an address of http or https; write it like https://host/path".into());
    }
    Ok(Address(SecretString::from(url.to_string())))
}
