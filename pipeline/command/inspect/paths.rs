//! Paths with `*` and `?`, for shells that were kept from expanding them.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::disk::durable::names;

/// Whether a path is a pattern.
pub fn is_pattern(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?'])
}

/// What a pattern means, in the order of names. `*` and `?` stand for what has no `/` in it; names that begin
/// with a dot are meant only where the pattern says so.
///
/// # Errors
/// Folders that cannot be listed.
pub fn matching(pattern: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let text = part.as_os_str().to_string_lossy();
        if !matches!(part, Component::Normal(_)) || !is_pattern(Path::new(part.as_os_str())) {
            found = found.into_iter().map(|path| path.join(part)).collect();
            continue;
        }
        let mut next = Vec::new();
        for folder in found {
            let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
            if listed.is_dir() {
                let fits =
                    |name: &String| (text.starts_with('.') || !name.starts_with('.')) && matches(&text, name);
                next.extend(names(listed)?.into_iter().filter(fits).map(|name| folder.join(name)));
            }
        }
        found = next;
    }
    found.retain(|path| path.exists());
    Ok(found)
}

/// Whether a name is one that a pattern means.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut seen) = (0, 0);
    // The last star, and the character that it was given up to.
    let mut star: Option<(usize, usize)> = None;
    while seen < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(char) if *char == '?' || *char == name[seen] => {
                at += 1;
                seen += 1;
            }
            _ => match &mut star {
                Some((place, given)) => {
                    *given += 1;
                    (at, seen) = (*place + 1, *given);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|char| *char == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_marks() {
        for (pattern, name) in
            [("*", "a"), ("*.parquet", "x.parquet"), ("p?rt-*-n*", "part-0-nodes"), ("a*b*c", "a1bb2c")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("*.parquet", "x.parq"), ("?", ""), ("?", "ab"), ("a*b", "abc"), ("", "a")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_name_what_is_there() -> io::Result<()> {
        let home = tempfile::tempdir()?;
        for name in ["a/1.parquet", "a/2.parquet", "b/1.parquet", "b/.hidden.parquet", "b/1.txt"] {
            let path = home.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap_or(home.path()))?;
            std::fs::write(path, "")?;
        }
        let found = matching(&home.path().join("*/?.parquet"))?;
        let names = ["a/1.parquet", "a/2.parquet", "b/1.parquet"].map(|name| home.path().join(name));
        assert_eq!(found, names);
        assert!(matching(&home.path().join("c*/x"))?.is_empty());
        Ok(())
    }
}
