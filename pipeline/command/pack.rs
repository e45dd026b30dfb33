//! `qstill pack` and `qstill unpack`: a run as one file, for a colleague or another machine.
//!
//! The file is a tar archive with the run's folder in it: what counts, in the order of its names, without
//! times and owners, so the same run gives the same bytes. On arrival every committed file is compared with
//! the hash in its record, before the run has its name.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use stages::{Cancelled, Events, fault};
use tar::{Archive, Builder, EntryType, Header};

use crate::command::arguments::existing;
use crate::command::verify_run::{damaged, verify};
use crate::disk::durable::{beside, create_dirs, names, publish_dir, sync_file, sync_parent, unique};
use crate::disk::layout::RunDir;
use crate::disk::lock::{Lock, Share};
use crate::terminal::console::Console;
use crate::terminal::exit::{Exit, Failure};
use crate::terminal::text::{plural, size};

/// Files of the process at work, and folders of what does not count.
const LEFT_OUT: [&str; 6] = ["lock", "workers", "tmp", "stale", "damaged", fault::MARKER];
/// Folders that a run can do without, unless it is resumed.
const HEAVY: [&str; 3] = ["responses", "verifier", "checkpoints"];
/// Bytes that are copied at once.
const CHUNK: usize = 1 << 20;

/// Write a run as one file, which `qstill unpack` checks on arrival.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill pack runs/mine mine.tar
  qstill pack runs/mine mine.tar --light    tables, students and report, without answers and checkpoints
  scp mine.tar there: && ssh there qstill unpack mine.tar
It is a tar archive. What is under way, set aside or damaged is left out.")]
pub struct Pack {
    /// The run's directory, or its name under runs/.
    pub run: String,
    /// The file to write.
    file: PathBuf,
    /// Leave out what only a resumed run needs: an endpoint's and a verifier's answers, and checkpoints.
    #[arg(long)]
    light: bool,
    /// Replace the file if it is there.
    #[arg(long)]
    force: bool,
}

/// Take a run out of a file that `qstill pack` wrote, and check it.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill unpack mine.tar              to runs/NAME, with the name that it had
  qstill unpack mine.tar runs/theirs
Every committed file is compared with the hash in its record; of a damaged archive nothing stays.")]
pub struct Unpack {
    /// The file.
    file: PathBuf,
    /// The run's directory, or its name under runs/.
    run: Option<String>,
}

/// Packs a run.
///
/// # Errors
/// A process at work on it; a file that is there; failed reads and writes.
pub fn pack(args: Pack, console: &Console) -> Result<Exit> {
    let run = existing(&args.run)?;
    let (root, file) = (run.root(), &args.file);
    if let Some(holder) = Lock::holder(root) {
        let what = format!("the run {} is held by {holder}", root.display());
        return Err(Failure::busy(what, "wait until it is done, or stop it").into());
    }
    if Share::is_taken(root) {
        let what = format!("workers are at work on the run {}", root.display());
        return Err(Failure::busy(what, "wait until they are done, or stop them").into());
    }
    if file.exists() && !args.force {
        let what = format!("{} is there already", file.display());
        return Err(Failure::usage(what, "give another name, or --force").into());
    }
    let mut files = Vec::new();
    list(root, Path::new(""), args.light, &mut files)
        .with_context(|| format!("failed to list {}", root.display()))?;
    let bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    console.install_interrupt().context("failed to listen for signals")?;
    let progress = console.stage("pack", "MB", bytes.div_ceil(CHUNK as u64), 0);
    let place = || format!("failed to write {}", file.display());
    let staged = beside(file).with_context(place)?;
    let written = write(&staged, &run, &files, &progress);
    if let Err(error) = written {
        let _ = fs::remove_file(&staged);
        progress.check()?;
        return Err(error.context(place()));
    }
    fs::rename(&staged, file).and_then(|()| sync_parent(file)).with_context(place)?;
    progress.finish();
    console.say(&format!(
        "pack: {} of {} in {}",
        plural(files.len() as u64, "file"),
        size(bytes),
        file.display()
    ));
    Ok(Exit::Done)
}

/// What of a folder counts: paths within the run and their sizes. Records come before the shards that they
/// name, so none is without them.
fn list(root: &Path, within: &Path, light: bool, found: &mut Vec<(PathBuf, u64)>) -> io::Result<()> {
    for name in names(&root.join(within))? {
        let out = LEFT_OUT.contains(&name.as_str()) || light && HEAVY.contains(&name.as_str());
        if out || name.contains(".tmp-") || name.starts_with("tmp-") {
            continue;
        }
        let path = within.join(&name);
        let meta = fs::symlink_metadata(root.join(&path))?;
        if meta.is_dir() {
            list(root, &path, light, found)?;
        } else if meta.is_file() {
            found.push((path, meta.len()));
        }
    }
    Ok(())
}

fn write(staged: &Path, run: &RunDir, files: &[(PathBuf, u64)], events: &dyn Events) -> Result<()> {
    let mut archive = Builder::new(BufWriter::with_capacity(CHUNK, File::create(staged)?));
    let mut done = 0;
    for (path, bytes) in files {
        let from = run.root().join(path);
        let source = File::open(&from).with_context(|| format!("failed to read {}", from.display()))?;
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(*bytes);
        header.set_mode(0o644);
        let watched = Watched { source: BufReader::new(source).take(*bytes), done: &mut done, events };
        archive.append_data(&mut header, Path::new(&run.name()).join(path), watched)?;
    }
    let file = archive.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(sync_file(&file)?)
}

/// A reader that says how far it is, and ends at the wish to stop.
struct Watched<'a, R> {
    source: R,
    done: &'a mut u64,
    events: &'a dyn Events,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.events.check().map_err(io::Error::other)?;
        let read = self.source.read(buffer)?;
        let before = *self.done / CHUNK as u64;
        *self.done += read as u64;
        self.events.advance(*self.done / CHUNK as u64 - before, 0, 0);
        Ok(read)
    }
}

/// Unpacks a run.
///
/// # Errors
/// No archive of a run, or a damaged one; a run that is there; failed writes.
pub fn unpack(args: Unpack, console: &Console) -> Result<Exit> {
    let file = &args.file;
    let open = || File::open(file).with_context(|| format!("failed to read {}", file.display()));
    let name = name(open()?).map_err(|what| no_run(file, &what))?;
    let run = RunDir::named(args.run.as_deref().unwrap_or(&name))?;
    let root = run.root();
    if root.exists() {
        let what = format!("{} is there already", root.display());
        let hint = format!("give another name: `qstill unpack {} NAME`", file.display());
        return Err(Failure::usage(what, hint).into());
    }
    console.install_interrupt().context("failed to listen for signals")?;
    let total = fs::metadata(file).map_or(0, |meta| meta.len()).div_ceil(CHUNK as u64);
    let progress = console.stage("unpack", "MB", total, 0);
    let home = root.parent().filter(|home| !home.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let staged = home.join(format!(".tmp-unpack-{}", unique()));
    let read = create_dirs(&staged)
        .with_context(|| format!("failed to create {}", staged.display()))
        .and_then(|()| extract(open()?, file, (&name, &staged), &progress))
        .and_then(|files| {
            sound(&staged, file)?;
            publish_dir(&staged, root).with_context(|| format!("failed to write {}", root.display()))?;
            Ok(files)
        });
    if read.is_err() {
        let _ = fs::remove_dir_all(&staged);
    }
    let files = read?;
    progress.finish();
    console.say(&format!(
        "unpack: {} in {}, all as they were written",
        plural(files, "file"),
        root.display()
    ));
    Ok(Exit::Done)
}

fn no_run(file: &Path, what: &str) -> anyhow::Error {
    let hint = "it may be cut off: copy it again; `qstill pack` writes such files";
    Failure::input(format!("{} is no packed run: {what}", file.display()), hint).into()
}

/// The name of the run in an archive.
fn name(source: File) -> Result<String, String> {
    let mut archive = Archive::new(BufReader::new(source));
    let first = archive.entries().and_then(|mut entries| entries.next().transpose());
    let first = first.map_err(|error| error.to_string())?.ok_or("it is empty")?;
    let path = first.path().map_err(|error| error.to_string())?.into_owned();
    let parts = parts(&path).ok_or_else(|| format!("`{}` leads out of it", path.display()))?;
    parts.first().cloned().ok_or_else(|| "its first file has no name".to_owned())
}

/// The parts of a path, if all of them are names.
fn parts(path: &Path) -> Option<Vec<String>> {
    let part = |part: Component<'_>| match part {
        Component::Normal(name) => name.to_str().map(str::to_owned),
        _ => None,
    };
    path.components().map(part).collect()
}

/// Writes the files of an archive into a folder; how many there were.
fn extract(source: File, file: &Path, (name, to): (&str, &Path), events: &dyn Events) -> Result<u64> {
    let mut done = 0;
    let watched = Watched { source: BufReader::with_capacity(CHUNK, source), done: &mut done, events };
    let mut archive = Archive::new(watched);
    let bad = |error: io::Error| match error.get_ref().and_then(|inner| inner.downcast_ref::<Cancelled>()) {
        Some(Cancelled) => anyhow::Error::from(Cancelled),
        None => no_run(file, &error.to_string()),
    };
    let mut files = 0;
    let mut buffer = vec![0; CHUNK];
    for entry in archive.entries().map_err(bad)? {
        let mut entry = entry.map_err(bad)?;
        let path = entry.path().map_err(bad)?.into_owned();
        let plain = entry.header().entry_type() == EntryType::Regular;
        let within = parts(&path).filter(|parts| plain && parts.len() > 1 && parts[0] == name);
        let Some(within) = within else {
            return Err(no_run(file, &format!("`{}` is no file of the run {name}", path.display())));
        };
        let target = within[1..].iter().fold(to.to_path_buf(), |at, part| at.join(part));
        let place = || format!("failed to write {}", target.display());
        create_dirs(target.parent().unwrap_or(to)).with_context(place)?;
        let mut out = File::options().write(true).create_new(true).open(&target).with_context(place)?;
        let mut left = entry.size();
        while left > 0 {
            let read = entry.read(&mut buffer).map_err(bad)?;
            if read == 0 {
                return Err(no_run(file, &format!("`{}` is cut off", path.display())));
            }
            out.write_all(&buffer[..read]).with_context(place)?;
            left = left.saturating_sub(read as u64);
        }
        files += 1;
    }
    Ok(files)
}

/// Checks the run that was taken out.
fn sound(staged: &Path, file: &Path) -> Result<()> {
    let run = RunDir::at(staged);
    if !run.config().is_file() {
        return Err(no_run(file, "it has no run.toml"));
    }
    let damaged = damaged(&verify(&run)?);
    match damaged.first() {
        None => Ok(()),
        Some(first) => Err(no_run(file, &format!("{} not as written: {first}", damaged.len()))),
    }
}
