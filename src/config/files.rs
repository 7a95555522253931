//! Which files there are, and what stands in them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretString;
use toml::Spanned;

use super::definition::{Origin, Source};
use super::errors::{Problems, origin};
use super::jobs::shown;

/// Where the config is looked for when neither a flag nor the environment says.
const PLACES: [&str; 2] = ["pgtend.toml", "/etc/pgtend/pgtend.toml"];

/// There is no config anywhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no config: looked for {}; name one with --config FILE or $PGTEND_CONFIG", .0.join(" and "))]
pub struct NoConfig(Vec<String>);

/// The config file: `flag`, then `$PGTEND_CONFIG`, then `./pgtend.toml`, then `/etc/pgtend/pgtend.toml`. When one was
/// named, the others are not looked at, whether or not it can be read.
///
/// # Errors
/// None was named, and none is at the usual places.
pub fn locate(flag: Option<&Path>) -> Result<PathBuf, NoConfig> {
    let named = std::env::var_os("PGTEND_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    locate_among(flag, named, Path::exists)
}

fn locate_among(
    flag: Option<&Path>,
    named: Option<PathBuf>,
    exists: impl Fn(&Path) -> bool,
) -> Result<PathBuf, NoConfig> {
    let usual = || PLACES.iter().map(PathBuf::from).find(|path| exists(path));
    flag.map(PathBuf::from)
        .or(named)
        .or_else(usual)
        .ok_or_else(|| NoConfig(PLACES.map(|place| absolute(Path::new(place))).to_vec()))
}

/// In full, so that the reader of a message need not know the working directory.
fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.into()).display().to_string()
}

/// Reads a file of the config, which `named_at` includes.
pub fn source(path: &Path, named_at: Option<&Origin>, problems: &mut Problems) -> Option<Arc<Source>> {
    let unreadable = |problems: &mut Problems, error: io::Error| {
        problems.unread = true;
        match named_at {
            Some(place) => {
                let file = shown(place, &path.display().to_string());
                problems.error(place, format!("the file {file} cannot be read: {}", reason(&error)));
            }
            None => problems.file(path.into(), format!("cannot be read: {}", reason(&error))),
        }
    };
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            unreadable(problems, error);
            return None;
        }
    };
    match String::from_utf8(bytes) {
        Ok(text) => Some(Arc::new(Source { path: path.into(), text })),
        Err(error) => {
            problems.unread = true;
            let valid = error.utf8_error().valid_up_to();
            let good = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
            let upto = Source { path: path.into(), text: good };
            problems.at(&upto, &(valid..valid), "not UTF-8 from here on; save the file as UTF-8");
            None
        }
    }
}

/// The operating system's words without its number.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// The files that `include` names, each once, in the order of the patterns and sorted within one. Their paths are shown
/// in messages even where a variable is in a pattern: a mistake needs its file.
pub fn included(patterns: &[Spanned<String>], main: &Arc<Source>, problems: &mut Problems) -> Vec<(PathBuf, Origin)> {
    let folder = folder(&main.path);
    let mut seen = vec![identity(&main.path)];
    let mut files = Vec::new();
    for pattern in patterns {
        let place = origin(main, pattern.span());
        let pattern = pattern.get_ref();
        let found = if pattern.contains(['*', '?', '[']) {
            // The folder's own name may hold what a glob would read as a wildcard.
            let folder = folder.to_str().map(glob::Pattern::escape);
            let whole = folder.map(|folder| Path::new(&folder).join(pattern));
            let Some(paths) = whole.as_deref().and_then(Path::to_str).map(glob::glob) else {
                problems.error(&place, "the folder of this file has a name that is not UTF-8; globs do not work there");
                continue;
            };
            match paths {
                Ok(paths) => paths.map(|path| path.unwrap_or_else(|error| error.path().into())).collect::<Vec<_>>(),
                Err(error) => {
                    problems.error(&place, format!("`include`: not a glob: {}", error.msg));
                    continue;
                }
            }
        } else {
            vec![folder.join(pattern)]
        };
        // A folder into which nothing has been put yet is no mistake; a slip of the hand looks the same, and takes every
        // job along.
        if found.is_empty() {
            let message = format!("`include`: {} matches no file", shown(&place, pattern));
            problems.warn(place, message, "mend it, unless the files are yet to come");
            continue;
        }
        for path in found {
            let id = identity(&path);
            if !seen.contains(&id) {
                seen.push(id);
                files.push((path, place.clone()));
            }
        }
    }
    files
}

fn identity(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.into())
}

/// The folder that relative paths in a file count from.
pub fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

/// Reads the token that POST requests must show.
pub fn token(path: &Spanned<PathBuf>, main: &Arc<Source>, problems: &mut Problems) -> Option<SecretString> {
    let place = origin(main, path.span());
    let path = path.get_ref();
    let mut say = |what: String| problems.error(&place, format!("`token_file`: {what}"));
    match fs::read_to_string(folder(&main.path).join(path)) {
        Ok(text) => match text.trim_end_matches(['\n', '\r']) {
            "" => say("the file is empty; put a long random token in it, such as from `openssl rand -hex 32`".into()),
            token => return Some(SecretString::from(token)),
        },
        Err(error) => say(format!("the file cannot be read: {}", reason(&error))),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(flag: Option<&str>, named: Option<&str>, there: &[&str]) -> String {
        match locate_among(flag.map(Path::new), named.map(PathBuf::from), |path| {
            there.iter().any(|p| Path::new(p) == path)
        }) {
            Ok(path) => path.display().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_flag_goes_before_the_environment_before_the_usual_places() {
        let all = ["pgtend.toml", "/etc/pgtend/pgtend.toml"];
        assert_eq!(found(Some("a.toml"), Some("b.toml"), &all), "a.toml");
        assert_eq!(found(None, Some("b.toml"), &all), "b.toml");
        assert_eq!(found(None, None, &all), "pgtend.toml");
        assert_eq!(found(None, None, &all[1..]), "/etc/pgtend/pgtend.toml");
    }

    #[test]
    fn when_there_is_none_the_error_says_where_it_looked() {
        let error = found(None, None, &[]);
        assert!(error.contains("/pgtend.toml and /etc/pgtend/pgtend.toml; name one with --config"), "{error}");
    }
}
