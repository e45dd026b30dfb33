//! Who may write to a run: one process everything ([`Lock`]), or any number of workers shards and nothing
//! else ([`Share`]).
//!
//! Both are the operating system's locks, so they go away with the process that holds them, even one that was
//! killed. Whoever has everything holds `runs/NAME/lock`, with a text that only says who that is; and
//! `runs/NAME/workers`, which workers hold together. It may lend that to them. The files stay: deleting one
//! would let two processes hold locks on two files of the same name.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stages::fault;

use crate::disk::durable::{create_dirs, remove_leftovers};
use crate::terminal::clock::now_utc;
use crate::terminal::exit::Failure;

/// Who holds a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    /// The machine it runs on; empty if that is not known.
    #[serde(default)]
    pub host: String,
    pub command: String,
    /// UTC.
    pub started: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {}{} (`{}`, since {})", self.pid, self.on(), self.command, self.started)
    }
}

impl Holder {
    /// This process, from now on.
    pub fn own(command: &str) -> Self {
        Self { pid: std::process::id(), host: host(), command: command.to_owned(), started: now_utc() }
    }

    /// Who has a file that says so.
    pub fn read(path: &Path) -> Option<Self> {
        let mut text = String::new();
        File::open(path).ok()?.take(1 << 16).read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Writes it to a file that is locked.
    ///
    /// # Errors
    /// Failed writes.
    pub fn write(&self, mut file: &File) -> io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(serde_json::to_string(self)?.as_bytes())?;
        file.write_all(b"\n")
    }

    /// ` on HOST`, or nothing.
    pub fn on(&self) -> String {
        if self.host.is_empty() { String::new() } else { format!(" on {}", self.host) }
    }
}

/// The name of this machine, where the system says so in a file.
fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map_or(String::new(), |name| name.trim().to_owned())
}

/// The right to write to a run, until dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
    /// Kept from workers.
    workers: File,
    run: PathBuf,
}

/// The right to add shards to a run beside others that do, until dropped.
#[derive(Debug)]
pub struct Share {
    _workers: File,
}

impl Lock {
    /// Takes the lock of a run, creating its directory if need be. `command` is what to show to whoever comes
    /// second.
    ///
    /// # Errors
    /// `Exit::Busy` if another process holds it; `Exit::Io` or `Exit::Full` if the directory cannot be
    /// written.
    pub fn acquire(run: &Path, command: &str) -> Result<Self, Failure> {
        let refused = |err| not_writable(run, err);
        create_dirs(run).map_err(refused)?;
        let (file, workers) =
            open(&path(run)).and_then(|file| Ok((file, open(&workers(run))?))).map_err(refused)?;
        if taken(run, || file.try_lock())? {
            let lock = Self { file, workers, run: run.to_path_buf() };
            lock.reclaim()?;
            Holder::own(command).write(&lock.file).map_err(refused)?;
            remove_leftovers(run).map_err(refused)?;
            return Ok(lock);
        }
        if fault::is("lock-ignored") {
            return Ok(Self { file, workers, run: run.to_path_buf() });
        }
        let holder =
            living_holder(&path(run)).map_or_else(|| "another process".to_owned(), |h| h.to_string());
        let what = format!("the run {} is held by {holder}", run.display());
        Err(Failure::busy(what, "wait until it is done, or stop it"))
    }

    /// Lets workers in.
    ///
    /// # Errors
    /// The file system.
    pub fn lend(&self) -> io::Result<()> {
        self.workers.unlock()
    }

    /// Keeps workers out again.
    ///
    /// # Errors
    /// `Exit::Busy` if one is at work.
    pub fn reclaim(&self) -> Result<(), Failure> {
        if taken(&self.run, || self.workers.try_lock())? {
            return Ok(());
        }
        let what = format!("workers are at work on the run {} (`qstill work`)", self.run.display());
        Err(Failure::busy(what, "wait until they are done, or stop them"))
    }

    /// Who holds the run now; `None` if nobody does. Works on a run that is read-only.
    pub fn holder(run: &Path) -> Option<Holder> {
        let file = File::open(path(run)).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(Holder::read(&path(run)).unwrap_or(Holder {
                pid: 0,
                host: String::new(),
                command: "unknown".to_owned(),
                started: "an unknown time".to_owned(),
            })),
            _ => None,
        }
    }
}

impl Share {
    /// Takes part in the work on a run that exists.
    ///
    /// # Errors
    /// `Exit::Busy` while a process has everything.
    pub fn take(run: &Path) -> Result<Self, Failure> {
        let file = open(&workers(run)).map_err(|err| not_writable(run, err))?;
        if taken(run, || file.try_lock_shared())? {
            return Ok(Self { _workers: file });
        }
        let holder = Lock::holder(run).map_or_else(|| "another process".to_owned(), |h| h.to_string());
        let what = format!("the run {} is held by {holder}, which does everything", run.display());
        Err(Failure::busy(what, "wait until it is done, or stop it"))
    }

    /// Whether workers are at work on a run.
    pub fn is_taken(run: &Path) -> bool {
        let file = File::open(workers(run)).ok();
        let blocked = |file: File| matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        Lock::holder(run).is_none() && file.is_some_and(blocked)
    }
}

fn not_writable(run: &Path, err: io::Error) -> Failure {
    let hint = match err.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "it is read-only for you: make it writable, or choose another place for the run"
        }
        _ => "",
    };
    Failure::io(format!("cannot write to the run directory {}", run.display()), hint, err)
}

/// Tries to take a lock of a run; false if others hold it. Whoever asks who holds it takes it for a moment,
/// which is no reason to give up.
fn taken(run: &Path, attempt: impl Fn() -> Result<(), TryLockError>) -> Result<bool, Failure> {
    for pause in [20, 40, 80, 0] {
        match attempt() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(pause)),
            Err(TryLockError::Error(err)) => {
                let what = format!("cannot lock the run directory {}", run.display());
                return Err(Failure::io(what, "use a file system that has file locks", err));
            }
        }
    }
    Ok(false)
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

fn path(run: &Path) -> PathBuf {
    run.join("lock")
}

fn workers(run: &Path) -> PathBuf {
    run.join("workers")
}

fn open(path: &Path) -> io::Result<File> {
    // Not truncated: until the lock is ours, the text is the holder's.
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

/// The holder, once it has written who it is: until then the text is empty, or of one that was killed.
fn living_holder(path: &Path) -> Option<Holder> {
    let own = host();
    for _ in 0..50 {
        let lives = |holder: &Holder| {
            holder.host != own
                || !Path::new("/proc/self").exists()
                || Path::new(&format!("/proc/{}", holder.pid)).exists()
        };
        if let Some(holder) = Holder::read(path).filter(lives) {
            return Some(holder);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Holder::read(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::terminal::exit::Exit;

    #[test]
    fn the_second_is_told_who_holds_it() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let run = dir.path().join("runs/a");
        let held = Lock::acquire(&run, "qstill run a")?;
        let Err(second) = Lock::acquire(&run, "qstill resume a") else { anyhow::bail!("two locks") };
        assert_eq!(second.exit, Exit::Busy);
        let holder = format!("process {} on {} (`qstill run a`", std::process::id(), host());
        assert!(second.what.contains(&holder), "{second}");
        assert_eq!(Lock::holder(&run).map(|h| h.command), Some("qstill run a".to_owned()));
        drop(held);
        assert_eq!(Lock::holder(&run), None);
        drop(Lock::acquire(&run, "qstill resume a")?);
        Ok(())
    }

    #[test]
    fn workers_share_a_run_that_nobody_has_alone() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let held = Lock::acquire(dir.path(), "qstill launch")?;
        assert_eq!(Share::take(dir.path()).err().map(|failure| failure.exit), Some(Exit::Busy));
        held.lend()?;
        let workers = (Share::take(dir.path())?, Share::take(dir.path())?);
        assert_eq!(held.reclaim().err().map(|failure| failure.exit), Some(Exit::Busy));
        assert!(!Share::is_taken(dir.path()), "whoever holds the run is named");
        drop(held);
        assert!(Share::is_taken(dir.path()));
        let refused = Lock::acquire(dir.path(), "qstill resume").err().map(|failure| failure.what);
        assert!(refused.is_some_and(|what| what.contains("workers are at work")));
        drop(workers);
        assert!(!Share::is_taken(dir.path()));
        Lock::acquire(dir.path(), "qstill resume")?.reclaim()?;
        Ok(())
    }

    #[test]
    fn what_a_dead_process_left_does_not_block() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        fs::write(
            dir.path().join("lock"),
            r#"{"pid":1,"command":"dead","started":"2026-01-01T00:00:00Z"} trailing"#,
        )?;
        fs::write(dir.path().join(".run.toml.tmp-1-2-3"), "half")?;
        let held = Lock::acquire(dir.path(), "qstill run")?;
        assert_eq!(Lock::holder(dir.path()).map(|h| h.pid), Some(std::process::id()));
        assert_eq!(crate::disk::durable::names(dir.path())?, ["lock", "workers"]);
        drop(held);
        Ok(())
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_a_clear_failure() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("file"), "")?;
        let Err(failure) = Lock::acquire(&dir.path().join("file/run"), "qstill run") else {
            anyhow::bail!("locked")
        };
        assert_eq!(failure.exit, Exit::Io);
        assert!(failure.what.starts_with("cannot write to the run directory"), "{failure}");
        Ok(())
    }
}
