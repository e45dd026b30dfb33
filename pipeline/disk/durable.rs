//! The few durable file operations that a run directory is built on.

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use stages::fault;

/// Names in a directory, sorted; none if it is not there. A name that is not Unicode is none of ours.
pub fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// A name that no other process, and no earlier one, has used: for temporary files, never for data.
pub fn unique() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    // Processes of several machines have the same numbers, and may begin in the same instant.
    let random = RandomState::new().build_hasher().finish();
    format!("{}-{nanos:x}-{random:x}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// Makes the bytes of a file durable.
pub fn sync_file(file: &File) -> io::Result<()> {
    if fault::is("no-fsync") {
        return Ok(());
    }
    let synced = file.sync_all();
    if fault::is("fsync-ignored") { Ok(()) } else { synced }
}

/// Makes the names in a directory durable: without it a rename or a new file may be gone after a power cut.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    if fault::is("no-dir-fsync") {
        return Ok(());
    }
    // Other systems cannot open a directory as a file, and journal names themselves.
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// Creates a directory and those above it, each durable in the one that holds it: without that a power cut
/// may take a whole directory of fsynced files away.
pub fn create_dirs(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = parent(path);
    create_dirs(&above)?;
    match fs::create_dir(path) {
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other.and_then(|()| sync_dir(&above)),
    }
}

/// Largest record, list of hashes or settings that is read into memory: a run from a stranger is hostile
/// input.
const SMALL: u64 = 16 << 20;

/// Reads a small file of a run.
///
/// # Errors
/// Besides failed reads, `InvalidData` for what is not a plain file (a pipe would block, a link may lead out
/// of the run) or too large.
pub fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{} {what}", path.display()));
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_file() {
        return Err(wrong("is not a plain file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(SMALL + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SMALL { Err(wrong("is too large")) } else { Ok(bytes) }
}

const TMP_MARK: &str = ".tmp-";
/// What the names of unpublished directories begin with.
const STAGED: &str = "tmp-";

/// Replaces a small file as a whole: a reader, or a crash, sees the old bytes or the new ones.
///
/// # Errors
/// Any failed step; the old file is then still there. A failed fsync is not tried again on the same file,
/// because the kernel may have dropped the dirty pages: the temporary file is given up.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let tmp = beside(path)?;
    let written = write_new(&tmp, bytes).and_then(|()| fs::rename(&tmp, path));
    if written.is_err() {
        let _ = fs::remove_file(&tmp);
    }
    written?;
    sync_parent(path)
}

/// A new name beside a file, for what shall take its place.
pub fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    Ok(parent(path).join(format!(".{name}{TMP_MARK}{}", unique())))
}

/// Makes the name of a file durable, see [`sync_dir`].
pub fn sync_parent(path: &Path) -> io::Result<()> {
    sync_dir(&parent(path))
}

/// Writes a file that must not be there yet, and fsyncs it.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    sync_file(&file)
}

/// Removes what a killed [`write_atomic`] or [`write_dir`] left in a directory. For the holder of the run
/// lock only.
pub fn remove_leftovers(dir: &Path) -> io::Result<()> {
    for name in names(dir)? {
        if name.starts_with('.') && name.contains(TMP_MARK) {
            fs::remove_file(dir.join(name))?;
        } else if name.starts_with(STAGED) {
            fs::remove_dir_all(dir.join(name))?;
        }
    }
    Ok(())
}

/// `link()`, which never replaces a file.
pub fn link(tmp: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(tmp, path) {
        // Some file systems (FAT, many network and FUSE mounts) have no hard links. The run lock keeps other
        // processes out, and attempts of this one differ in their shards unless a caller means to race.
        Err(err) if matches!(err.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) => {
            if path.try_exists()? {
                Err(io::ErrorKind::AlreadyExists.into())
            } else {
                fs::rename(tmp, path)
            }
        }
        other => other,
    }
}

/// Moves a file or directory into the folder `into` (created if need be), beside what is there already.
/// Returns where it went; `None` if there was nothing to move.
pub fn set_aside(from: &Path, into: &Path) -> io::Result<Option<PathBuf>> {
    if from.symlink_metadata().is_err_and(|err| err.kind() == io::ErrorKind::NotFound) {
        return Ok(None);
    }
    create_dirs(into)?;
    let name = from.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy().into_owned();
    let mut to = into.join(&name);
    let mut copy = 1;
    while to.symlink_metadata().is_ok() {
        to = into.join(format!("{name}.{copy}"));
        copy += 1;
    }
    fs::rename(from, &to)?;
    sync_dir(into)?;
    sync_dir(&parent(from))?;
    Ok(Some(to))
}

/// Writes files into a new directory beside `target`, for [`publish_dir`]. What a full disk leaves of it is
/// removed.
pub fn write_dir(target: &Path, files: &[(String, Vec<u8>)]) -> io::Result<PathBuf> {
    let staged = parent(target).join(format!("{STAGED}{}", unique()));
    let written = create_dirs(&staged)
        .and_then(|()| files.iter().try_for_each(|(name, bytes)| write_new(&staged.join(name), bytes)));
    if let Err(error) = written {
        let _ = fs::remove_dir_all(&staged);
        return Err(error);
    }
    Ok(staged)
}

/// Puts a directory that was written elsewhere on the same file system in its place, all or nothing:
/// fsyncs every file in it, renames, fsyncs the parent.
///
/// # Errors
/// Any failed step; also if `target` is there already and not empty (set it aside first).
pub fn publish_dir(staged: &Path, target: &Path) -> io::Result<()> {
    sync_tree(staged)?;
    create_dirs(&parent(target))?;
    fs::rename(staged, target)?;
    sync_dir(&parent(target))
}

fn sync_tree(dir: &Path) -> io::Result<()> {
    for name in names(dir)? {
        let path = dir.join(name);
        if path.is_dir() { sync_tree(&path)? } else { sync_file(&File::open(&path)?)? }
    }
    sync_dir(dir)
}

/// Parent directory; `.` for a bare name.
fn parent(path: &Path) -> PathBuf {
    path.parent().filter(|p| !p.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_atomic_write_replaces_and_leaves_nothing_behind() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("a.json");
        write_atomic(&path, b"old")?;
        write_atomic(&path, b"new")?;
        assert_eq!(fs::read(&path)?, b"new");
        fs::write(dir.path().join(".a.json.tmp-1-2-3"), b"half")?;
        write_dir(&path, &[("b".to_owned(), b"half".to_vec())])?;
        remove_leftovers(dir.path())?;
        assert_eq!(names(dir.path())?, ["a.json"]);
        Ok(())
    }

    #[test]
    fn setting_aside_never_overwrites() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (file, aside) = (dir.path().join("x"), dir.path().join("damaged"));
        for text in ["one", "two"] {
            fs::write(&file, text)?;
            assert!(set_aside(&file, &aside)?.is_some());
        }
        assert_eq!(set_aside(&file, &aside)?, None);
        assert_eq!(fs::read(aside.join("x"))?, b"one");
        assert_eq!(fs::read(aside.join("x.1"))?, b"two");
        Ok(())
    }

    #[test]
    fn a_directory_is_published_once() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (staged, target) = (dir.path().join("tmp"), dir.path().join("round-1/student"));
        for expected in [true, false] {
            fs::create_dir_all(staged.join("deep"))?;
            fs::write(staged.join("deep/a"), b"a")?;
            assert_eq!(publish_dir(&staged, &target).is_ok(), expected);
        }
        assert_eq!(fs::read(target.join("deep/a"))?, b"a");
        Ok(())
    }
}
