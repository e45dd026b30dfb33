//! The shape of the source: imports go one way, files stay small, lines short.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Files of Rust under a folder, by their path within the project.
fn sources(folder: &str) -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut all, mut folders) = (BTreeMap::new(), vec![root.join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
                all.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    all
}

fn is_test(path: &str) -> bool {
    path.contains("tests/") || path.contains("_tests") || path.ends_with("tests.rs")
}

/// Text without its unit tests.
fn code(text: &str) -> &str {
    let inline = |at: &usize| text[*at..].lines().nth(1).is_some_and(|line| line.ends_with('{'));
    let end = text.match_indices("#[cfg(test)]\n").map(|(at, _)| at).find(inline);
    &text[..end.unwrap_or(text.len())]
}

/// The module that a file is: `pipeline/run/mod.rs` is `run`, `pipeline/run/walk.rs` is `run::walk`.
fn module(krate: &str, path: &str) -> String {
    let inner = path.strip_prefix(krate).unwrap().trim_start_matches('/').trim_end_matches(".rs");
    let inner = if inner == "lib" { "" } else { inner.strip_suffix("/mod").unwrap_or(inner) };
    inner.replace('/', "::")
}

/// The paths that `use` lines of a module name, as modules of the crate.
fn imports(module: &str, text: &str) -> Vec<String> {
    let mut all = Vec::new();
    for part in code(text).split("\nuse ").skip(1) {
        let statement: String = part.split(';').next().unwrap_or_default().split_whitespace().collect();
        let (path, names) = statement.split_once('{').map_or((statement.as_str(), ""), |(a, b)| (a, b));
        let base: Vec<String> = match path {
            path if path.starts_with("crate::") => path[7..].split("::").map(str::to_owned).collect(),
            path if path.starts_with("super::") => {
                let mut above: Vec<String> = module.split("::").map(str::to_owned).collect();
                let mut rest = path;
                while let Some(next) = rest.strip_prefix("super::") {
                    above.pop();
                    rest = next;
                }
                above.extend(rest.split("::").map(str::to_owned));
                above
            }
            _ => continue,
        };
        let base: Vec<String> = base.into_iter().filter(|part| !part.is_empty()).collect();
        if names.is_empty() {
            all.push(base.join("::"));
        }
        for name in names.trim_end_matches('}').split(',').filter(|name| !name.is_empty()) {
            let name = name.split('{').next().unwrap_or(name).trim_end_matches("::");
            all.push(base.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join("::"));
        }
    }
    all
}

/// Circles of imports among the files of a crate: sets of modules that reach each other.
fn circles(krate: &str) -> Vec<BTreeSet<String>> {
    let files: BTreeMap<String, String> = sources(krate)
        .into_iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, text)| (module(krate, &path), text))
        .collect();
    // A path names the longest module that it begins with.
    let owner = |path: &str| -> Option<String> {
        let parts: Vec<&str> = path.split("::").collect();
        (1..=parts.len()).rev().map(|n| parts[..n].join("::")).find(|name| files.contains_key(name))
    };
    let edges: BTreeMap<&String, BTreeSet<String>> = files
        .iter()
        .map(|(name, text)| {
            let to = imports(name, text).into_iter().filter_map(|path| owner(&path));
            (name, to.filter(|to| to != name).collect())
        })
        .collect();
    let reach = |from: &String| -> BTreeSet<String> {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(at) = open.pop() {
            for to in &edges[&at] {
                if seen.insert(to.clone()) {
                    open.push(to.clone());
                }
            }
        }
        seen
    };
    let all: BTreeMap<&String, BTreeSet<String>> = files.keys().map(|name| (name, reach(name))).collect();
    let mut found: Vec<BTreeSet<String>> = Vec::new();
    for (name, reached) in &all {
        if reached.contains(*name) && !found.iter().any(|circle| circle.contains(*name)) {
            found.push(reached.iter().filter(|other| all[other].contains(*name)).cloned().collect());
        }
    }
    found
}

#[test]
fn no_circle_of_imports_in_pipeline() {
    let found = circles("pipeline");
    assert!(found.is_empty(), "{found:#?}");
    // The graph is there at all.
    let walk =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("pipeline/run/walk.rs")).unwrap();
    assert!(imports("run::walk", &walk).contains(&"stage::search".to_owned()));
}

#[test]
fn no_file_is_too_long_nor_a_line() {
    let mut wrong: Vec<String> = Vec::new();
    for krate in ["pipeline", "stages", "datasets"] {
        for (path, text) in sources(krate) {
            let lines = code(&text).lines().count();
            if !is_test(&path) && lines > 450 {
                wrong.push(format!("{path} has {lines} lines"));
            }
            if is_test(&path) {
                continue;
            }
            // Tables in comments cannot be broken.
            let long = |line: &str| line.chars().count() > 110 && !line.starts_with("//! |");
            let long = code(&text).lines().enumerate().filter(|(_, line)| long(line));
            wrong.extend(long.map(|(at, _)| format!("{path} line {} is longer than 110 columns", at + 1)));
        }
    }
    let readme: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let lines = fs::read_to_string(readme).unwrap().lines().count();
    if lines > 200 {
        wrong.push(format!("README.md has {lines} lines"));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
