//! Where things are in a run directory, and the few durable file operations that everything there is built
//! on.
//!
//! ```text
//! runs/NAME/run.toml             the resolved configuration
//!           lock                 who holds the run (see `lock`)
//!           run.log              all that was said, with times
//!           evaluation.json      the table of results
//!           responses/           stored answers of an HTTP policy
//!           problems/            the problems stage: one for all rounds, so it stands above them
//!           round-K/STAGE/       search, verify, curate, value, train, evaluate (see `commit` for what is inside)
//!           round-K/value-LEVEL/ a value model and how good it is
//!           round-K/student/     a model directory
//! ```
//!
//! What cannot be trusted is moved into a `damaged/` folder beside it, never deleted and never read as data.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use stages::fault;

use crate::exit::Failure;

/// The stages, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    Problems,
    Search,
    Verify,
    Curate,
    Value,
    Train,
    Gate,
    Evaluate,
    /// Searches compared, by a command of its own.
    Bakeoff,
    /// Answers chosen among samples, by the same command.
    Selection,
}

impl Stage {
    /// Those of a run; the others belong to commands of their own.
    pub const ALL: [Stage; 8] = [
        Stage::Problems,
        Stage::Search,
        Stage::Verify,
        Stage::Curate,
        Stage::Value,
        Stage::Train,
        Stage::Gate,
        Stage::Evaluate,
    ];

    /// Stages of commands of their own, that no other stage reads.
    pub const BESIDE: [Stage; 2] = [Stage::Bakeoff, Stage::Selection];

    pub fn name(self) -> &'static str {
        match self {
            Stage::Problems => "problems",
            Stage::Search => "search",
            Stage::Verify => "verify",
            Stage::Curate => "curate",
            Stage::Value => "value",
            Stage::Train => "train",
            Stage::Gate => "gate",
            Stage::Evaluate => "evaluate",
            Stage::Bakeoff => "bakeoff",
            Stage::Selection => "selection",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// The paths of one run. Knows names only: nothing is created or read here but in [`RunDir::rounds`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// A run by what the user typed: a plain name means `runs/NAME`, unless a run of that name lies right
    /// here; anything with a separator is a path.
    ///
    /// # Errors
    /// An empty name, or one made of dots.
    pub fn named(text: &str) -> Result<Self, Failure> {
        let hint = "give a name such as `first`, or a path such as runs/first";
        if text.trim().is_empty() || text == "." || text == ".." {
            return Err(Failure::usage(format!("`{text}` is not the name of a run"), hint));
        }
        let plain = Path::new(text);
        if text.contains(['/', '\\']) || plain.join("run.toml").is_file() {
            return Ok(Self::at(plain));
        }
        Ok(Self::at(Path::new("runs").join(plain)))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Last part of the path, for messages.
    pub fn name(&self) -> String {
        self.root
            .file_name()
            .map_or_else(|| self.root.display().to_string(), |n| n.to_string_lossy().into_owned())
    }

    pub fn config(&self) -> PathBuf {
        self.root.join("run.toml")
    }

    pub fn log(&self) -> PathBuf {
        self.root.join("run.log")
    }

    pub fn evaluation(&self) -> PathBuf {
        self.root.join("evaluation.json")
    }

    pub fn responses(&self) -> PathBuf {
        self.root.join("responses")
    }

    pub fn damaged(&self) -> PathBuf {
        self.root.join("damaged")
    }

    pub fn round(&self, round: u32) -> PathBuf {
        self.root.join(format!("round-{round}"))
    }

    /// Directory of a stage. All rounds share one `problems` stage.
    pub fn stage(&self, round: u32, stage: Stage) -> PathBuf {
        match stage {
            Stage::Problems => self.root.join(stage.name()),
            _ => self.round(round).join(stage.name()),
        }
    }

    pub fn checkpoints(&self, round: u32) -> PathBuf {
        self.stage(round, Stage::Train).join("checkpoints")
    }

    /// A round's value model of a level, by name.
    pub fn value(&self, round: u32, level: &str) -> PathBuf {
        self.round(round).join(format!("value-{level}"))
    }

    pub fn student(&self, round: u32) -> PathBuf {
        self.round(round).join("student")
    }

    /// Low-rank adapters in PEFT's layout, if they were trained.
    pub fn adapter(&self, round: u32) -> PathBuf {
        self.round(round).join("adapter")
    }

    /// Rounds that have a directory, in order.
    pub fn rounds(&self) -> io::Result<Vec<u32>> {
        let mut rounds: Vec<u32> =
            names(&self.root)?.iter().filter_map(|name| name.strip_prefix("round-")?.parse().ok()).collect();
        rounds.sort_unstable();
        Ok(rounds)
    }
}

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
    format!("{}-{nanos:x}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
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

/// The time as `2026-03-09T11:05:00Z`, for logs and locks.
pub fn now_utc() -> String {
    utc(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()))
}

/// Proleptic Gregorian date of a Unix time; the day count is Howard Hinnant's `civil_from_days`.
fn utc(secs: u64) -> String {
    let (days, rest) = (secs / 86_400, secs % 86_400);
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths() -> Result<(), Failure> {
        let run = RunDir::named("first")?;
        assert_eq!(run.root(), Path::new("runs/first"));
        assert_eq!(run.name(), "first");
        assert_eq!(run.stage(2, Stage::Search), Path::new("runs/first/round-2/search"));
        assert_eq!(run.stage(2, Stage::Problems), run.stage(1, Stage::Problems));
        assert_eq!(RunDir::named("/data/x")?.root(), Path::new("/data/x"));
        assert!(RunDir::named("").is_err() && RunDir::named("..").is_err());
        assert!(Stage::ALL.into_iter().all(|s| Stage::parse(s.name()) == Some(s)));
        Ok(())
    }

    #[test]
    fn rounds_are_found_in_order() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        for name in ["round-10", "round-2", "round-x", "problems"] {
            fs::create_dir(dir.path().join(name))?;
        }
        assert_eq!(RunDir::at(dir.path()).rounds()?, [2, 10]);
        assert!(RunDir::at(dir.path().join("none")).rounds()?.is_empty());
        Ok(())
    }

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

    #[test]
    fn dates() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_767_225_599), "2025-12-31T23:59:59Z");
    }
}
