//! A world to run the program in, and what a run left behind.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use datasets::table::{self, Row};
use parquet::arrow::ArrowWriter;
use serde_json::Value;
use tempfile::TempDir;

/// Settings that make a run of the `demo` preset a matter of a second or two.
const TINY: &[&str] = &[
    "run.rounds=1",
    "run.shard_size=8",
    "problems.train=24",
    "problems.validation=2",
    "problems.test=4",
    "problems.max_operations=2",
    "search.samples=2",
    "search.max_tokens=24",
    "model.vocab_size=300",
    "model.context=384",
    "train.epochs=1",
    "evaluate.samples=1",
    "evaluate.max_tokens=24",
];

/// A student that is trained in no time.
const STUDENT: &[&str] = &[
    "model.hidden_size=32",
    "model.intermediate_size=64",
    "model.layers=1",
    "model.heads=2",
    "model.kv_heads=1",
];

/// Longest that a test waits for something to happen before it gives up.
const PATIENCE: Duration = Duration::from_mins(4);
/// Pause between two looks at whether it has.
const GLANCE: Duration = Duration::from_millis(2);

/// A directory in which the program runs.
pub struct World(TempDir);

impl World {
    pub fn new() -> Self {
        World(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Writes JSON lines of questions and answers.
    pub fn write_rows(&self, name: &str, rows: &[(String, String)]) {
        let line = |(question, answer): &(String, String)| {
            serde_json::json!({"question": question, "answer": answer}).to_string() + "\n"
        };
        self.write(name, rows.iter().map(line).collect::<String>());
    }

    pub fn write_parquet(&self, name: &str, batch: &RecordBatch) {
        let mut writer =
            ArrowWriter::try_new(fs::File::create(self.path(name)).unwrap(), batch.schema(), None).unwrap();
        writer.write(batch).unwrap();
        writer.close().unwrap();
    }

    /// The program with some arguments. The caller's environment must not change what it says.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("qstill"));
        command.args(arguments).current_dir(self.0.path()).stdin(Stdio::null());
        for variable in ["RUST_BACKTRACE", "RUST_LOG", "OPENAI_API_KEY", "http_proxy", "HTTP_PROXY"] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs the program to its end.
    pub fn qstill<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Outcome {
        self.command(arguments).output().unwrap().into()
    }

    /// Runs the program to its end with a deliberate fault, on a run under `runs/` that is marked for it.
    pub fn faulty(&self, name: &str, fault: &str, arguments: &[String]) -> Outcome {
        let run = self.left(name).0;
        fs::create_dir_all(&run).and_then(|()| fs::write(run.join(stages::fault::MARKER), "")).unwrap();
        self.command(arguments).env("QSTILL_FAULT", fault).output().unwrap().into()
    }

    /// `qstill run` of a tiny run under `runs/`.
    pub fn run(&self, name: &str, sets: &[&str]) -> Outcome {
        self.qstill(&run(name, sets))
    }

    /// Copies an example of the repository here. Arguments of its run under `runs/` with a small student;
    /// `sets` win.
    pub fn example(&self, example: &str, name: &str, sets: &[&str]) -> Vec<String> {
        let folder = format!("examples/{example}");
        copy_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join(&folder), &self.path(&folder));
        let (config, run) = (format!("{folder}/run.toml"), format!("runs/{name}"));
        let head = ["run", "--config", &config, "--run", &run, "--device", "cpu"].map(str::to_owned);
        head.into_iter().chain(set(STUDENT.iter().chain(sets))).collect()
    }

    /// `qstill resume` of a run under `runs/`.
    pub fn resume(&self, name: &str) -> Outcome {
        self.qstill(&["resume", &format!("runs/{name}")])
    }

    /// Starts the program and goes on.
    pub fn start<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Running {
        let mut child = self.command(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (stderr, into) = (child.stderr.take().unwrap(), Arc::clone(&said));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                *into.lock().unwrap() += &(line + "\n");
            }
        });
        Running { child, said }
    }

    /// A run under `runs/`.
    pub fn left(&self, name: &str) -> Left {
        Left(self.path("runs").join(name))
    }
}

/// Arguments of a tiny run under `runs/`; `sets` win over what makes it tiny.
pub fn run(name: &str, sets: &[&str]) -> Vec<String> {
    of_preset("demo", "run", name, sets)
}

/// The same for another preset or command (`run`, or `stage problems`, ...).
pub fn of_preset(preset: &str, command: &str, name: &str, sets: &[&str]) -> Vec<String> {
    let mut arguments: Vec<String> = command.split(' ').map(str::to_owned).collect();
    if command == "run" {
        arguments.push("--run".to_owned());
    }
    arguments.push(format!("runs/{name}"));
    arguments.extend(["--preset", preset, "--device", "cpu"].map(str::to_owned));
    arguments.extend(set(STUDENT.iter().chain(TINY).chain(sets)));
    arguments
}

/// Settings as arguments.
fn set<'a>(sets: impl Iterator<Item = &'a &'a str>) -> impl Iterator<Item = String> {
    sets.flat_map(|set| ["--set".to_owned(), (*set).to_owned()])
}

/// What the program said and how it ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Outcome {
    /// Expects success.
    #[track_caller]
    pub fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// Expects an exit code and, as the last words, one clear line with all of these in it.
    #[track_caller]
    pub fn fails(self, code: i32, said: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert_eq!(self.stdout, "", "a failure is no result");
        let line = self.stderr.lines().last().unwrap_or_default();
        assert!(line.starts_with("qstill: error: "), "{}", self.stderr);
        for part in said {
            assert!(line.contains(part), "`{part}` is not in: {line}");
        }
        assert!(line.len() < 1500, "{line}");
        let lower = self.stderr.to_lowercase();
        assert_eq!(lower.matches("error: ").count(), 1, "{}", self.stderr);
        for word in ["panic", "backtrace", "this is a bug", "unwrap"] {
            assert!(!lower.contains(word), "{}", self.stderr);
        }
        self
    }

    /// Expects that something was said on stderr.
    #[track_caller]
    pub fn says(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "`{part}` is not in:\n{}", self.stderr);
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

/// A program at work; killed if the test ends before it.
pub struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until something is so while the program is at work.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut so: impl FnMut(&str) -> bool) {
        let start = Instant::now();
        while !so(&self.said()) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "ended ({ended:?}) before {what}:\n{}", self.said());
            assert!(start.elapsed() < PATIENCE, "waited too long for {what}:\n{}", self.said());
            std::thread::sleep(GLANCE);
        }
    }

    /// Ends the program as `kill -9` does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // What was said last may still be on its way.
                while Arc::strong_count(&self.said) > 1 && start.elapsed() < PATIENCE {
                    std::thread::sleep(GLANCE);
                }
                return (status, self.said());
            }
            assert!(start.elapsed() < PATIENCE, "waited too long for the end:\n{}", self.said());
            std::thread::sleep(GLANCE);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A run's directory.
#[derive(Clone)]
pub struct Left(pub PathBuf);

impl Left {
    pub fn join(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    /// All rows of a table in a stage, in order of the shards.
    pub fn rows<R: Row>(&self, stage: &str) -> Vec<R> {
        let names = names(&self.join(stage).join("shards"));
        let of_table = names.into_iter().filter(|name| name.split('-').nth(2) == Some(R::TABLE));
        of_table
            .flat_map(|name| table::read_all::<R>(&self.join(stage).join("shards").join(name)).unwrap())
            .collect()
    }

    /// Commit records of a stage.
    pub fn commits(&self, stage: &str) -> Vec<Value> {
        let folder = self.join(stage).join("commits");
        names(&folder)
            .iter()
            .map(|name| serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap())
            .collect()
    }

    /// Sum of a count over the commit records of a stage.
    pub fn count(&self, stage: &str, key: &str) -> i64 {
        self.commits(stage).iter().filter_map(|commit| commit["counts"][key].as_i64()).sum()
    }

    /// The stored answers of an endpoint; not what a process has begun to write.
    pub fn answers(&self) -> Vec<Value> {
        let folder = self.join("responses");
        let read = |name: String| fs::read_to_string(folder.join(name)).unwrap();
        let lines = |text: String| -> Vec<Value> {
            let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            whole.map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let is_log = |name: &String| Path::new(name).extension() == Some("jsonl".as_ref());
        names(&folder).into_iter().filter(is_log).map(read).flat_map(lines).collect()
    }

    pub fn evaluation(&self) -> Value {
        serde_json::from_slice(&fs::read(self.join("evaluation.json")).unwrap()).unwrap()
    }

    /// Every file by its path within the run.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        walk(&self.0, "", &mut files);
        files
    }

    /// What a run is for: shards of all tables, and students. Equal runs have equal ones.
    pub fn product(&self) -> BTreeMap<String, Vec<u8>> {
        let counts = |path: &String| {
            let parts: Vec<&str> = path.split('/').collect();
            let beside = |name: &str| name == "student" || name == "adapter" || name.starts_with("value-");
            matches!(parts[..], ["problems", "shards", _] | [_, _, "shards", _])
                || matches!(parts[..], [_, name, _] if beside(name))
        };
        self.files().into_iter().filter(|(path, _)| counts(path)).collect()
    }

    /// Expects the same shards and students as in another run.
    #[track_caller]
    pub fn equals(&self, other: &Left) {
        let (mine, others) = (self.product(), other.product());
        assert_eq!(mine.keys().collect::<Vec<_>>(), others.keys().collect::<Vec<_>>());
        for (path, bytes) in &mine {
            assert!(*bytes == others[path], "{path} differs");
        }
        assert!(mine.keys().any(|path| path.ends_with("student/model.safetensors")), "{:?}", mine.keys());
    }
}

/// Names in a folder, sorted; none if it is not there.
pub fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn walk(root: &Path, under: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for name in names(&root.join(under)) {
        let path = if under.is_empty() { name } else { format!("{under}/{name}") };
        if root.join(&path).is_dir() {
            walk(root, &path, files);
        } else {
            files.insert(path.clone(), fs::read(root.join(&path)).unwrap());
        }
    }
}

/// Copies the files of a folder.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in names(from) {
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

/// Copies a folder with all in it.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in names(from) {
        if from.join(&name).is_dir() {
            copy_tree(&from.join(&name), &to.join(&name));
        } else {
            fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

/// Whether a script cannot be run here; says so. A machine with nothing but Rust is asked for no more.
pub fn no_python() -> bool {
    let missing = Command::new("python3").arg("--version").output().is_err();
    if missing {
        eprintln!("not tested: there is no python3");
    }
    missing
}
