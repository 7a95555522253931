//! The walls of the house: who may know whom, and how long a file may get.
//!
//! Read from the sources as text, so that the sentence that fails can name the line.

use std::fs;
use std::path::{Path, PathBuf};

/// Longer files are told in parts.
const LONGEST_FILE: usize = 500;

/// `main -> cli -> daemon -> engine -> kinds -> pg, store -> run, clock, period`: who must not know whom. `config` builds
/// definitions out of kinds, so it is above them.
const LAYERS: &[(&str, &[&str])] = &[
    ("kinds", &["init", "engine", "daemon", "cli", "config"]),
    ("pg", &["store", "kinds", "init", "engine", "daemon", "cli", "config"]),
    ("store", &["pg", "kinds", "init", "engine", "daemon", "cli", "config"]),
    ("init", &["engine", "daemon", "cli"]),
    ("engine", &["init", "daemon", "cli"]),
    ("config", &["init", "engine", "daemon", "cli"]),
    ("daemon", &["init", "cli"]),
    ("run", UPPER),
    ("clock", UPPER),
    ("period", UPPER),
    ("cron", UPPER),
    ("near", UPPER),
    ("zone", UPPER),
    ("hex", UPPER),
];
const UPPER: &[&str] = &["pg", "store", "kinds", "init", "config", "engine", "daemon", "cli"];

/// What a `plan.rs` must not touch: it is given what was found, and says what to do.
const IO: &[&str] = &[
    "tokio",
    "tokio_postgres",
    "deadpool_postgres",
    "std::fs",
    "std::net",
    "std::process",
    "std::io",
    "std::os",
    "std::env",
    "std::thread",
    "crate::pg::session",
    "crate::pg::connect",
];

#[test]
fn wall_one_a_plan_does_no_io() {
    let broken = files("src").into_iter().filter(|file| file.ends_with("plan.rs")).flat_map(|file| {
        let text = read(&file);
        broken_wall_one(&text).into_iter().map(move |(line, path)| {
            format!("{}:{line}: wall one: a plan.rs does no I/O, and this one names {path}", file.display())
        })
    });
    let broken: Vec<_> = broken.collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn wall_two_each_layer_knows_only_those_below() {
    let mut broken = Vec::new();
    for file in files("src") {
        let module = module(&file);
        let text = read(&file);
        for (line, path, layer, upper) in broken_wall_two(&module, &text) {
            broken.push(format!(
                "{}:{line}: wall two: {layer} must not know {upper}, and this names {path}",
                file.display()
            ));
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn no_file_is_too_long_to_read() {
    let long = ["src", "tests"].into_iter().flat_map(files).filter_map(|file| {
        let lines = read(&file).lines().count();
        let sentence = format!("{} has {lines} lines; over {LONGEST_FILE}, tell it in parts", file.display());
        (lines > LONGEST_FILE).then_some(sentence)
    });
    let long: Vec<_> = long.collect();
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}

#[test]
fn a_broken_wall_is_seen() {
    let check = |module: &str, text: &str, expect: &[(usize, &str)]| {
        let found = broken_wall_two(module, text);
        let found: Vec<_> = found.iter().map(|(line, path, ..)| (*line, path.as_str())).collect();
        assert_eq!(found, expect, "{module}: {text}");
    };
    check("kinds::expire", "use crate::engine::lock;", &[(1, "crate::engine::lock")]);
    check(
        "kinds::expire",
        "use crate::{\n    run::Plan,\n    engine::{history, lock},\n};",
        &[(3, "crate::engine::history"), (3, "crate::engine::lock")],
    );
    check("kinds::expire", "fn f() { crate::cli::main() }", &[(1, "crate::cli::main")]);
    check("kinds::expire", "use super::super::daemon::Reload;", &[(1, "crate::daemon::Reload")]);
    check("kinds", "use super::config;", &[(1, "crate::config")]);
    check("kinds::expire", "use pgtend::engine;", &[(1, "crate::engine")]);
    check("kinds::expire", "use super::engine; // a neighbour of that name", &[]);
    check("kinds::expire", "//! See [`crate::engine`].\nuse crate::pg::ident; // not crate::engine", &[]);
    check("kinds::expire", "let s = \"crate::engine::x\";", &[]);
    check("run", "use crate::kinds::Kind as _;", &[(1, "crate::kinds::Kind")]);
    check("cli::run", "use crate::daemon::x;\nuse crate::engine::y;", &[]);

    let found = broken_wall_one("use std::{fmt, fs::File};\nasync fn f() { ::tokio::task::yield_now().await }");
    assert_eq!(found, [(1, "std::fs::File".to_string()), (2, "tokio::task::yield_now".to_string())]);
    assert_eq!(broken_wall_one("use std::fmt;\nuse crate::run::Plan; // tokio::spawn\n"), []);
}

fn broken_wall_one(text: &str) -> Vec<(usize, String)> {
    let is_io = |path: &str| IO.iter().any(|io| path == *io || path.starts_with(&format!("{io}::")));
    paths(text).into_iter().filter(|(_, path)| is_io(path)).collect()
}

/// Line, path, the layer that names it, the layer that is named.
fn broken_wall_two(module: &str, text: &str) -> Vec<(usize, String, &'static str, &'static str)> {
    let mut broken = Vec::new();
    for (line, path) in paths(text) {
        let path = absolute(module, &path);
        for (layer, uppers) in LAYERS.iter().filter(|(layer, _)| module.split("::").next() == Some(layer)) {
            let named = path.strip_prefix("crate::").and_then(|rest| rest.split("::").next());
            if let Some(upper) = uppers.iter().find(|upper| named == Some(upper)) {
                broken.push((line, path.clone(), *layer, *upper));
            }
        }
    }
    broken
}

/// `super::x` said from the crate's root; the library's own name is the crate.
fn absolute(module: &str, path: &str) -> String {
    if let Some(rest) = path.strip_prefix("pgtend::") {
        return format!("crate::{rest}");
    }
    let mut here: Vec<_> = module.split("::").collect();
    let mut rest = path;
    while let Some(up) = rest.strip_prefix("super::") {
        here.pop();
        rest = up;
    }
    if rest.len() == path.len() {
        return path.into();
    }
    here.insert(0, "crate");
    format!("{}::{rest}", here.join("::"))
}

/// Every path with its line, `use` trees spelled out, comments and strings left out.
fn paths(text: &str) -> Vec<(usize, String)> {
    let code = blank_comments_and_strings(text);
    let mut found = Vec::new();
    // What each open brace of a use tree stands for; nothing where a brace is only a brace.
    let mut prefixes: Vec<Option<String>> = Vec::new();
    let mut word = String::new();
    let mut line = 1;
    for c in code.chars().chain(['\n']) {
        if c.is_alphanumeric() || c == '_' || c == ':' || c == '#' {
            word.push(c);
            continue;
        }
        let prefix = prefixes.last().cloned().flatten().unwrap_or_default();
        let opens_tree = c == '{' && word.ends_with("::");
        let path = format!("{prefix}{word}");
        if opens_tree {
            prefixes.push(Some(path.trim_start_matches("::").into()));
        } else {
            let path = path.trim_start_matches("::").trim_end_matches(':');
            // A lone word is a path only in a use tree: elsewhere it may be anything.
            if path.contains("::") && !word.is_empty() {
                found.push((line, path.into()));
            }
            match c {
                // Inside a use tree there are only trees.
                '{' => prefixes.push(None),
                '}' => drop(prefixes.pop()),
                _ => {}
            }
        }
        word.clear();
        line += usize::from(c == '\n');
    }
    found
}

/// Comments and the insides of strings as blanks, lines kept.
fn blank_comments_and_strings(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    let starts = |at: usize, what: &str| what.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    while at < chars.len() {
        let end = if starts(at, "//") {
            (at..chars.len()).find(|&i| chars[i] == '\n').unwrap_or(chars.len())
        } else if starts(at, "/*") {
            (at + 2..chars.len()).find(|&i| starts(i, "*/")).map_or(chars.len(), |i| i + 2)
        } else if let Some(hashes) = raw_string(&chars, at) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = at + 2 + hashes;
            (open..chars.len()).find(|&i| starts(i, &close)).map_or(chars.len(), |i| i + 1 + hashes)
        } else if chars[at] == '"' {
            let mut i = at + 1;
            while i < chars.len() && chars[i] != '"' {
                i += if chars[i] == '\\' { 2 } else { 1 };
            }
            (i + 1).min(chars.len())
        } else if starts(at, "'\"'") || starts(at, "'{'") || starts(at, "'}'") {
            at + 3
        } else if starts(at, "'\\") {
            (at + 3..chars.len()).find(|&i| chars[i] == '\'').map_or(chars.len(), |i| i + 1)
        } else {
            code.push(chars[at]);
            at += 1;
            continue;
        };
        code.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    code
}

/// How many `#` a raw string that begins here has.
fn raw_string(chars: &[char], at: usize) -> Option<usize> {
    let in_a_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    if chars[at] != 'r' || in_a_word {
        return None;
    }
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    (chars.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

/// `src/kinds/expire/plan.rs` is `kinds::expire::plan`, `src/kinds/mod.rs` is `kinds`.
fn module(file: &Path) -> String {
    let name = file.with_extension("");
    let parts = name.iter().skip(1).map(|part| part.to_str().expect("a plain name"));
    parts.filter(|part| *part != "mod").collect::<Vec<_>>().join("::")
}

fn read(file: &Path) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every Rust file under a folder, its path beginning with that folder.
fn files(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = glob::glob(&format!("{}/{folder}/**/*.rs", root.display())).expect("a pattern");
    let found: Vec<_> =
        found.map(|path| path.expect("a readable file").strip_prefix(root).expect("inside").to_path_buf()).collect();
    assert!(!found.is_empty(), "no Rust files under {folder}");
    found
}
