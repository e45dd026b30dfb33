//! How much room a run takes, and how much is left for it.

use std::fs;
use std::path::Path;

/// Bytes of the files under a directory, and those that its file system has left for this user; None where
/// the system does not tell. Files that come and go meanwhile are no error.
pub fn space(dir: &Path) -> (u64, Option<u64>) {
    (taken(dir), free(dir))
}

fn taken(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let of = |entry: fs::DirEntry| match entry.metadata() {
        // Of a link, the link: what it leads to is not the run's.
        Ok(meta) if meta.is_dir() => taken(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(of).sum()
}

#[cfg(unix)]
fn free(dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    stat.f_bavail.checked_mul(stat.f_frsize)
}

#[cfg(not(unix))]
fn free(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_in_all_depths() -> std::io::Result<()> {
        let home = tempfile::tempdir()?;
        fs::create_dir_all(home.path().join("a/b"))?;
        fs::write(home.path().join("a/b/x"), [0; 1000])?;
        fs::write(home.path().join("y"), [0; 24])?;
        let (taken, free) = space(home.path());
        assert_eq!(taken, 1024);
        assert!(!cfg!(unix) || free.is_some_and(|free| free > 0), "{free:?}");
        assert_eq!(space(&home.path().join("none")).0, 0);
        Ok(())
    }
}
