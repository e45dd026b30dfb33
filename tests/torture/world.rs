//! The tiny run, what it gives, and what must be true of every run that was mistreated.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// What a part did.
#[derive(Debug, Default)]
pub struct Part {
    pub asked: usize,
    pub done: usize,
    pub violations: Vec<String>,
    pub notes: Vec<String>,
}

/// Two rounds through every stage, in half a second.
const TINY: &[&str] = &[
    "run.rounds=2",
    "run.shard_size=2",
    "problems.train=6",
    "problems.validation=2",
    "problems.test=2",
    "problems.max_operations=1",
    "search.policy=model",
    "search.samples=1",
    "search.max_tokens=8",
    "search.rule_expansions=60",
    "model.vocab_size=280",
    "model.hidden_size=8",
    "model.intermediate_size=8",
    "model.layers=1",
    "model.heads=1",
    "model.kv_heads=1",
    "model.context=256",
    "train.epochs=1",
    "train.max_steps=4",
    "train.checkpoint_every=1",
    "train.batch_size=2",
    "evaluate.samples=0",
    "evaluate.max_tokens=4",
    "gate.problems=2",
    "gate.samples=1",
    "value.model=decoder",
    "value.epochs=1",
];

/// Files by their path within the run.
pub type Product = BTreeMap<String, Vec<u8>>;

/// A folder for runs, and what the uninterrupted one gave.
pub struct World {
    home: tempfile::TempDir,
    pub reference: Product,
    next: AtomicUsize,
}

impl World {
    /// Makes the uninterrupted run.
    pub fn new() -> Result<Self, String> {
        // In memory where possible: an fsync costs nothing there, and the calls are the same.
        let shm = Path::new("/dev/shm");
        let home = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
        let home = home.map_err(|error| format!("no temporary folder: {error}"))?;
        let mut world = Self { home, reference: Product::new(), next: AtomicUsize::new(0) };
        let run = world.fresh();
        let said = finish(&mut qstill(&run, &[]));
        if !said.status.success() {
            return Err(format!("the uninterrupted run failed: {}", told(&said)));
        }
        world.reference = product(&run);
        world.keep(&run, "reference");
        Ok(world)
    }

    /// A path for a new run.
    pub fn fresh(&self) -> PathBuf {
        self.home.path().join(format!("run-{}", self.next.fetch_add(1, SeqCst)))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn keep(&self, run: &Path, name: &str) {
        fs::rename(run, self.path(name)).expect("a rename in the temporary folder");
    }

    /// A copy of the uninterrupted run.
    pub fn copy(&self) -> PathBuf {
        let to = self.fresh();
        copy(&self.path("reference"), &to);
        to
    }

    /// Lets a mistreated run come to its end, compares it, and removes it. What is wrong, if anything is.
    pub fn heals(&self, run: &Path, sets: &[&str]) -> Option<String> {
        let said = finish(&mut qstill(run, sets));
        let wrong = if said.status.success() {
            self.compare(run)
        } else {
            Some(format!("it does not go on: {}", told(&said)))
        };
        let _ = fs::remove_dir_all(run);
        wrong
    }

    /// What is not as in the uninterrupted run.
    pub fn compare(&self, run: &Path) -> Option<String> {
        differs(&self.reference, &product(run)).or_else(|| leftover(run))
    }
}

/// The first difference of two products.
pub fn differs(one: &Product, other: &Product) -> Option<String> {
    if let Some(path) = one.keys().find(|path| !other.contains_key(*path)) {
        return Some(format!("{path} is missing"));
    }
    if let Some(path) = other.keys().find(|path| !one.contains_key(*path)) {
        return Some(format!("{path} is too much"));
    }
    one.iter()
        .find(|(path, bytes)| other[*path] != **bytes)
        .map(|(path, _)| format!("{path} has other bytes"))
}

/// What an interruption must not leave: unfinished files, and work that counts as damaged though nothing
/// damaged it.
fn leftover(run: &Path) -> Option<String> {
    files(run).into_keys().find_map(|path| {
        let parts: Vec<&str> = path.split('/').collect();
        let unfinished = parts.iter().any(|part| {
            *part == "tmp" || part.starts_with("tmp-") || part.contains(".tmp-") || *part == "checkpoints"
        });
        // A student that was published and not yet committed is set aside in the run's own folder: that is as
        // it should be.
        let damaged = parts.iter().skip(1).any(|part| *part == "damaged");
        (unfinished || damaged).then(|| format!("{path} is left behind"))
    })
}

/// `qstill run` of the tiny run.
pub fn qstill(run: &Path, sets: &[&str]) -> Command {
    if deliberate() {
        allow_faults(run);
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_qstill"));
    command.args(arguments(run, sets));
    quiet(&mut command);
    command
}

/// Marks a run as one that may be damaged on purpose.
pub fn allow_faults(run: &Path) {
    fs::create_dir_all(run)
        .and_then(|()| fs::write(run.join(stages::fault::MARKER), ""))
        .expect("a file in the temporary folder");
}

/// The same under strace with these options.
pub fn strace(options: &[&str], run: &Path, sets: &[&str]) -> Command {
    if deliberate() {
        allow_faults(run);
    }
    let mut command = Command::new("strace");
    command.args(["-f", "-qq"]).args(options).arg(env!("CARGO_BIN_EXE_qstill")).args(arguments(run, sets));
    quiet(&mut command);
    command
}

fn quiet(command: &mut Command) {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).env("RAYON_NUM_THREADS", "2");
    for variable in ["RUST_BACKTRACE", "http_proxy", "HTTP_PROXY"] {
        command.env_remove(variable);
    }
}

fn arguments(run: &Path, sets: &[&str]) -> Vec<String> {
    let mut all: Vec<String> =
        ["-q", "run", "--preset", "demo", "--device", "cpu", "--run"].map(str::to_owned).to_vec();
    all.push(run.display().to_string());
    all.extend(TINY.iter().chain(sets).flat_map(|set| ["--set".to_owned(), (*set).to_owned()]));
    all
}

pub fn finish(command: &mut Command) -> Output {
    command.output().expect("the program starts")
}

/// Exit code and last line.
pub fn told(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    format!("{}: {}", output.status, said.lines().last().unwrap_or("nothing said"))
}

/// Shards of all tables, students and value models: what a run is for.
pub fn product(run: &Path) -> Product {
    let counts = |path: &String| {
        let parts: Vec<&str> = path.split('/').collect();
        let beside = |name: &str| ["student", "value-steps", "value-outcome"].contains(&name);
        matches!(parts[..], ["problems", "shards", _] | [_, _, "shards", _])
            || matches!(parts[..], [round, name, _] if round.starts_with("round-") && beside(name))
    };
    files(run).into_iter().filter(|(path, _)| counts(path)).collect()
}

/// Every file by its path within a folder.
pub fn files(root: &Path) -> Product {
    let mut found = Product::new();
    walk(root, "", &mut found);
    found
}

fn walk(root: &Path, under: &str, found: &mut Product) {
    let Ok(entries) = fs::read_dir(root.join(under)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if under.is_empty() { name } else { format!("{under}/{name}") };
        if entry.path().is_dir() {
            walk(root, &path, found);
        } else if let Ok(bytes) = fs::read(entry.path()) {
            found.insert(path, bytes);
        }
    }
}

pub fn copy(from: &Path, to: &Path) {
    for (path, bytes) in files(from) {
        let to = to.join(path);
        fs::create_dir_all(to.parent().expect("a file is in a folder")).expect("a folder");
        fs::write(to, bytes).expect("a copy");
    }
}

/// Does each piece of work, two at a time; a piece says whether it could be done and what was wrong.
pub fn each<T: Sync>(work: &[T], job: impl Fn(usize, &T) -> (bool, Option<String>) + Sync) -> Part {
    let (next, part) = (AtomicUsize::new(0), Mutex::new(Part { asked: work.len(), ..Part::default() }));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, SeqCst);
                    let Some(piece) = work.get(at) else { break };
                    // Of a deliberate fault one sign is enough.
                    if deliberate() && !part.lock().expect("no job panics").violations.is_empty() {
                        break;
                    }
                    let (done, wrong) = job(at, piece);
                    let mut part = part.lock().expect("no job panics");
                    part.done += usize::from(done);
                    part.violations.extend(wrong);
                }
            });
        }
    });
    part.into_inner().expect("no job panics")
}

/// Whether this torture is one of a deliberate fault.
pub fn deliberate() -> bool {
    std::env::var_os("QSTILL_FAULT").is_some()
}

/// Numbers that are the same in every torture (SplitMix64).
pub struct Draw(pub u64);

impl Draw {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}
