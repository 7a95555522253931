//! The documentation: where its links lead, that no kind of job is without a page, and no shipped job without its need.
//!
//! Read as text; the story of what its SQL does is `security`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use pgtend::kinds::Spec;

fn read(path: &Path) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All pages, relative to the root.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = glob::glob(&root.join("docs/**/*.md").display().to_string()).expect("a pattern").flatten();
    let found = found.map(|path| path.strip_prefix(root).expect("below the root").to_owned());
    let tops = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(PathBuf::from);
    tops.into_iter().chain(found).collect()
}

/// A page without its blocks of code.
fn prose(text: &str) -> String {
    let mut inside = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What a title is called in a link, as GitHub calls it: letters and digits, in lower case, with hyphens for spaces; one that
/// is there already gets a number.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen = BTreeMap::<String, u32>::new();
    let text = prose(text);
    let titles = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    titles
        .map(|title| {
            let kept = title.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
            let anchor = kept.collect::<String>().to_lowercase().replace(' ', "-");
            let times = seen.entry(anchor.clone()).or_default();
            *times += 1;
            if *times == 1 { anchor } else { format!("{anchor}-{}", *times - 1) }
        })
        .collect()
}

/// Where the links of a page lead to, as they are written. None is longer than a paragraph, but they may go over a line's end.
fn links(text: &str) -> Vec<String> {
    let text = prose(text);
    let ends = text.match_indices("](").map(|(place, _)| &text[place + 2..]);
    ends.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

fn joined(folder: &Path, path: &str) -> PathBuf {
    let mut joined = PathBuf::new();
    for part in folder.join(path).components() {
        match part {
            Component::ParentDir => {
                assert!(joined.pop(), "{path} in {} leads out of the repository", folder.display());
            }
            part => joined.push(part),
        }
    }
    joined
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut followed = 0;
    for page in pages() {
        let text = read(&page);
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            followed += 1;
            let (path, anchor) = link.split_once('#').map_or((link.as_str(), None), |(path, to)| (path, Some(to)));
            let target = if path.is_empty() { page.clone() } else { joined(page.parent().expect("a folder"), path) };
            let there = Path::new(env!("CARGO_MANIFEST_DIR")).join(&target);
            let fits = anchor.is_none_or(|anchor| there.is_file() && anchors(&read(&target)).contains(anchor));
            if !there.exists() || !fits {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    assert!(followed > 50, "{followed} links: is anything looked at?");
}

/// What the Debian package has below its folder of documentation, as its assets say.
fn packaged() -> BTreeSet<PathBuf> {
    let manifest: toml::Table = read(Path::new("Cargo.toml")).parse().expect("TOML");
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().expect("assets");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = BTreeSet::new();
    for asset in assets {
        let (from, to) = (asset[0].as_str().expect("a source"), asset[1].as_str().expect("a place"));
        let Some(to) = to.strip_prefix("usr/share/doc/pgtend/") else { continue };
        let found = glob::glob(&root.join(from).display().to_string()).expect("a pattern").flatten();
        let before = files.len();
        files.extend(
            found.filter(|file| file.is_file()).map(|file| Path::new(to).join(file.file_name().expect("a name"))),
        );
        assert!(files.len() > before, "{from} is no file");
    }
    files
}

#[test]
fn every_link_leads_somewhere_in_the_package_too() {
    let packaged = packaged();
    let mut broken = Vec::new();
    for page in pages() {
        if !packaged.contains(&page) {
            broken.push(format!("{} is not in the package", page.display()));
        }
        for link in links(&read(&page)).into_iter().filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let path = link.split_once('#').map_or(link.as_str(), |(path, _)| path);
            let target = joined(page.parent().expect("a folder"), path);
            if !packaged.iter().any(|file| file.starts_with(&target)) {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_kind_has_a_page_and_every_page_a_kind() {
    let config = read(Path::new("docs/configuration.md"));
    let mut left: BTreeSet<PathBuf> = pages().into_iter().filter(|page| page.starts_with("docs/kinds")).collect();
    for kind in Spec::NAMES {
        let (_, rest) = config
            .split_once(&format!("[`[jobs.NAME.{kind}]`]("))
            .unwrap_or_else(|| panic!("{kind} is not in the table of docs/configuration.md"));
        let page = joined(Path::new("docs"), rest.split_once(')').expect("the end of a link").0);
        let text = read(&page);
        let title = text.lines().next().unwrap_or_default();
        assert!(title.split_whitespace().any(|word| word == *kind), "{} is called {title:?}", page.display());
        for section in ["Options", "Locks", "Metrics and details", "Privileges", "What can go wrong"] {
            assert!(text.contains(&format!("\n## {section}\n")), "{} does not say: {section}", page.display());
        }
        left.remove(&page);
    }
    assert!(left.is_empty(), "of no kind: {left:?}");
}

/// The jobs of the shipped files, and whether they are on.
fn shipped() -> BTreeMap<String, bool> {
    let files = glob::glob(concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/*.toml")).expect("a pattern").flatten();
    let parsed =
        files.map(|file| read(&file).parse::<toml::Table>().unwrap_or_else(|e| panic!("{}: {e}", file.display())));
    let on = |job: &toml::Value| job.get("enabled").is_none_or(|enabled| enabled.as_bool() == Some(true));
    parsed
        .flat_map(|file| {
            file["jobs"].as_table().expect("jobs").iter().map(|(n, j)| (n.clone(), on(j))).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn the_readme_says_of_every_shipped_job_what_it_is_for_and_whether_it_is_on() {
    let text = read(Path::new("README.md"));
    let (_, table) = text.split_once("\n| | lukhas- |").expect("the table of the applications");
    let lines = table.lines().take_while(|line| !line.is_empty());
    let mut rows = lines.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let others = rows.next().expect("its head");
    let applications: Vec<&str> =
        ["lukhas-"].into_iter().chain(others.into_iter().filter(|cell| !cell.is_empty())).collect();
    let mut said = BTreeMap::new();
    for cells in rows.skip(1) {
        for (application, jobs) in applications.iter().zip(&cells[2..]) {
            for job in jobs.split(", ").filter(|job| !job.is_empty()) {
                let name = job.trim_matches(['(', ')']);
                said.insert(format!("{application}{name}"), !job.starts_with('('));
            }
        }
    }
    assert_eq!(said, shipped());
    let page = read(Path::new("docs/applications.md"));
    let missing: Vec<_> = shipped().into_keys().filter(|job| !page.contains(&format!("`{job}`"))).collect();
    assert!(missing.is_empty(), "docs/applications.md is silent on {missing:?}");
}

#[test]
fn titles_are_called_as_github_calls_them() {
    let page = "# `vacuum` and analyze\n## What can't be: *this*\n```\n# no title\n```\n## Again\n## Again\n";
    let expected = ["vacuum-and-analyze", "what-cant-be-this", "again", "again-1"];
    assert_eq!(anchors(page), expected.map(String::from).into());
    assert_eq!(links("[a](b.md#c) ![d](e.png)\n```\n[f](g)\n```\n[h\ni](#j)"), ["b.md#c", "e.png", "#j"]);
}
