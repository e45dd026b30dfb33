//! Tests of the commit protocol.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::disk::commit::StageDir;
use crate::disk::durable::names;
use crate::disk::lock::Lock;
use crate::disk::pending::PendingFile;
use crate::disk::record::{Check, Commit, content_hash, hash_file};
use crate::disk::scan::{scan, table_paths};
use crate::terminal::exit::{Exit, exit_of};

struct Bench {
    _home: tempfile::TempDir,
    path: PathBuf,
    lock: Lock,
}

fn bench() -> Result<Bench> {
    let home = tempfile::tempdir()?;
    let lock = Lock::acquire(home.path(), "test")?;
    Ok(Bench { path: home.path().join("round-1/search"), lock, _home: home })
}

impl Bench {
    fn open(&self) -> Result<StageDir> {
        StageDir::open(&self.path, &self.lock)
    }

    fn ls(&self, part: &str) -> Result<Vec<String>> {
        Ok(names(&self.path.join(part))?)
    }
}

fn write(dir: &StageDir, shard: u32, fingerprint: &str, text: &str) -> Result<Commit> {
    let mut attempt = dir.begin(shard);
    for table in ["nodes", "solutions"] {
        let mut file = attempt.file(table)?;
        write!(file, "{table} {text}")?;
        attempt.finish_file(file, 3)?;
    }
    attempt.commit(fingerprint, BTreeMap::from([("solved".to_owned(), 2)]))
}

/// The commits that count, and what was said.
fn read(dir: &StageDir, fingerprint: &str, check: Check) -> Result<(Vec<Commit>, Vec<String>)> {
    let said = RefCell::new(Vec::new());
    let commits = dir.committed(fingerprint, check, &|line| said.borrow_mut().push(line.to_owned()))?;
    Ok((commits, said.into_inner()))
}

#[test]
fn a_commit_is_read_back_and_names_follow_from_content() -> Result<()> {
    let bench = bench()?;
    let dir = bench.open()?;
    let second = write(&dir, 1, "f", "b")?;
    let first = write(&dir, 0, "f", "a")?;
    let (commits, said) = read(&dir, "f", Check::Hash)?;
    assert_eq!(commits, [first.clone(), second]);
    assert!(said.is_empty());
    let nodes = first.table("nodes").context("no nodes")?;
    assert_eq!((nodes.length, nodes.rows), (7, 3));
    assert_eq!(nodes.name, format!("part-00000-nodes-{}.parquet", &nodes.sha256[..16]));
    assert_eq!(hash_file(&bench.path.join("shards").join(&nodes.name))?, (7, nodes.sha256.clone()));
    assert_eq!(table_paths(&bench.path, &commits, "solutions").len(), 2);
    assert!(bench.ls("tmp")?.is_empty());

    let other = self::bench()?;
    write(&other.open()?, 0, "f", "a")?;
    write(&other.open()?, 1, "f", "b")?;
    assert_eq!(bench.ls("shards")?, other.ls("shards")?);
    let record = |b: &Bench| fs::read(b.path.join("commits/00000.json"));
    assert_eq!(record(&bench)?, record(&other)?);
    Ok(())
}

#[test]
fn of_two_attempts_the_first_wins() -> Result<()> {
    let bench = bench()?;
    let dir = bench.open()?;
    let mut late = dir.begin(0);
    let mut file = late.file("nodes")?;
    file.write_all(b"late")?;
    late.finish_file(file, 1)?;
    let won = write(&dir, 0, "f", "early")?;
    assert_eq!(late.commit("f", BTreeMap::new())?, won);
    assert_eq!(read(&dir, "f", Check::Hash)?.0, vec![won.clone()]);
    assert_eq!(bench.ls("shards")?.len(), 2);
    // The same content once more must not take the winner's files away.
    assert_eq!(write(&dir, 0, "f", "early")?, won);
    assert_eq!(read(&dir, "f", Check::Hash)?.0, vec![won.clone()]);
    assert!(write(&dir, 0, "g", "early").is_err());
    assert_eq!(read(&dir, "f", Check::Hash)?.0, [won]);
    Ok(())
}

#[test]
fn threads_that_race_agree() -> Result<()> {
    let bench = bench()?;
    let dir = bench.open()?;
    let commits: Vec<Commit> = std::thread::scope(|scope| {
        let attempt = |n: u32| {
            let dir = &dir;
            scope.spawn(move || write(dir, n % 3, "f", &format!("text {n}")))
        };
        let threads: Vec<_> = (0..12).map(attempt).collect();
        threads.into_iter().map(|t| t.join().unwrap_or_else(|_| bail!("panicked"))).collect::<Result<_>>()
    })?;
    let (standing, said) = read(&dir, "f", Check::Hash)?;
    assert!(commits.iter().all(|c| standing.contains(c)));
    assert_eq!((standing.len(), bench.ls("shards")?.len(), said.len()), (3, 6, 0));
    Ok(())
}

#[test]
fn torn_flipped_and_missing_files_are_set_aside() -> Result<()> {
    let bench = bench()?;
    let dir = bench.open()?;
    let path = |c: &Commit, table: usize| bench.path.join("shards").join(&c.files[table].name);
    let commits = (0..4).map(|n| write(&dir, n, "f", "text")).collect::<Result<Vec<_>>>()?;
    fs::write(path(&commits[0], 0), "no")?;
    fs::remove_file(path(&commits[1], 1))?;
    let mut bytes = fs::read(path(&commits[2], 0))?;
    bytes[3] ^= 4;
    fs::write(path(&commits[2], 0), bytes)?;

    let before = scan(&bench.path, "f", Check::Length)?;
    assert_eq!((before.good.len(), before.damaged.len()), (2, 2));
    let (good, said) = read(&dir, "f", Check::Length)?;
    assert_eq!(good, commits[2..]);
    assert!(said[0].contains("has 2 bytes and not 10") && said[1].contains("is missing"), "{said:?}");
    let (good, said) = read(&dir, "f", Check::Hash)?;
    assert_eq!(good, commits[3..]);
    assert!(said[0].contains("has other bytes than were written"), "{said:?}");
    assert_eq!(bench.ls("damaged")?.len(), 5 + 3);

    for n in 0..3 {
        assert_eq!(write(&dir, n, "f", "text")?, commits[n as usize]);
    }
    assert_eq!(read(&bench.open()?, "f", Check::Hash)?.0, commits);
    Ok(())
}

#[test]
fn a_damaged_record_takes_its_files_along() -> Result<()> {
    for damage in ["", "{\"format\": 1}", "flip"] {
        let bench = bench()?;
        let dir = bench.open()?;
        write(&dir, 7, "f", "text")?;
        let kept = write(&dir, 8, "f", "text")?;
        let record = bench.path.join("commits/00007.json");
        let text = fs::read_to_string(&record)?;
        fs::write(
            &record,
            if damage == "flip" { text.replace("\"rows\": 3", "\"rows\": 2") } else { damage.to_owned() },
        )?;
        let (good, said) = read(&bench.open()?, "f", Check::Hash)?;
        assert_eq!((good, said.len()), (vec![kept], 1));
        assert_eq!(bench.ls("damaged")?.len(), 3);
        assert_eq!(bench.ls("shards")?.len(), 2);
    }
    Ok(())
}

#[test]
fn a_record_cannot_lead_elsewhere() -> Result<()> {
    let bench = bench()?;
    let commit = write(&bench.open()?, 0, "f", "text")?;
    let mut evil = commit.clone();
    evil.files[0].name = "../../run.toml".to_owned();
    assert!(Commit::parse("00000.json", &evil.to_bytes()?).is_err());
    assert!(Commit::parse("00001.json", &commit.to_bytes()?).is_err());
    assert!(Commit::parse("00000.json", &commit.to_bytes()?).is_ok());
    assert!(bench.open()?.begin(0).publish("../x", &[], &bench.path).is_err());
    Ok(())
}

#[test]
fn leftovers_of_dead_attempts_go_when_the_stage_is_opened() -> Result<()> {
    let bench = bench()?;
    let dir = bench.open()?;
    let commit = write(&dir, 0, "f", "text")?;
    fs::write(bench.path.join("tmp/nodes-1-2-3"), "half a file")?;
    fs::write(bench.path.join("shards/part-00001-nodes-0123456789abcdef.parquet"), "renamed, not committed")?;
    let (good, said) = read(&bench.open()?, "f", Check::Hash)?;
    assert_eq!((good, said.len()), (vec![commit], 0));
    assert!(bench.ls("tmp")?.is_empty());
    assert_eq!(bench.ls("shards")?.len(), 2);
    Ok(())
}

#[test]
fn an_attempt_that_is_dropped_leaves_nothing() -> Result<()> {
    let bench = bench()?;
    let dir = bench.open()?;
    let mut attempt = dir.begin(0);
    let mut file = attempt.file("nodes")?;
    file.write_all(b"text")?;
    attempt.finish_file(file, 1)?;
    assert!(attempt.file("nodes").is_err() && attempt.file("../x").is_err());
    let unfinished = attempt.file("solutions")?;
    drop((attempt, unfinished));
    assert!(bench.ls("tmp")?.is_empty() && bench.ls("shards")?.is_empty());
    Ok(())
}

#[test]
fn commits_of_other_settings_are_kept_aside() -> Result<()> {
    let bench = bench()?;
    let dir = bench.open()?;
    for shard in 0..2 {
        write(&dir, shard, "old", "text")?;
    }
    assert_eq!(scan(&bench.path, "new", Check::Hash)?.stale.len(), 2);
    let (good, said) = read(&dir, "new", Check::Hash)?;
    assert!(good.is_empty());
    assert!(
        said.len() == 1 && said[0].starts_with("set aside 2 shards made with other settings"),
        "{said:?}"
    );
    assert_eq!(bench.ls("stale/old")?.len(), 6);
    let fresh = write(&dir, 0, "new", "text")?;
    assert_eq!(read(&dir, "new", Check::Hash)?, (vec![fresh], vec![]));
    Ok(())
}

#[test]
fn a_directory_belongs_to_its_commit() -> Result<()> {
    let bench = bench()?;
    let dir = bench.open()?;
    let student = bench.path.with_file_name("student");
    let aside = bench.path.join("aside");
    let files = |text: &str| [("config.json".to_owned(), text.as_bytes().to_vec())];
    // What a killed attempt left.
    fs::create_dir_all(&student)?;
    let (mut attempt, mut late) = (dir.begin(0), dir.begin(0));
    attempt.publish("student", &files("{}"), &aside)?;
    let commit = attempt.commit("f", BTreeMap::new())?;
    assert_eq!(read(&dir, "f", Check::Hash)?.0, std::slice::from_ref(&commit));
    assert!(aside.join("student").exists());
    // An attempt that comes later leaves what is committed in its place.
    late.publish("student", &files("{ }"), &aside)?;
    assert_eq!(late.commit("f", BTreeMap::new())?, commit);
    assert_eq!(read(&dir, "f", Check::Hash)?.0, [commit]);
    assert!(!aside.join("student.1").exists());
    fs::write(student.join("config.json"), "[]")?;
    assert_eq!(read(&dir, "f", Check::Length)?.0.len(), 1);
    let (good, said) = read(&dir, "f", Check::Hash)?;
    assert!(good.is_empty() && said[0].contains("is not as it was written"), "{said:?}");
    assert!(!student.exists() && bench.path.join("damaged/student/config.json").exists());
    Ok(())
}

#[test]
fn content_decides_the_input_hash() -> Result<()> {
    let (one, two) = (bench()?, bench()?);
    let (a, b) = (write(&one.open()?, 0, "f", "text")?, write(&two.open()?, 0, "g", "text")?);
    assert_eq!(content_hash(std::slice::from_ref(&a)), content_hash(&[b]));
    let c = write(&one.open()?, 1, "f", "text")?;
    assert_ne!(content_hash(std::slice::from_ref(&a)), content_hash(&[a, c]));
    Ok(())
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_told_as_such() -> Result<()> {
    let bench = bench()?;
    let dir = bench.open()?;
    let full = || File::options().write(true).open("/dev/full");
    // Seen while writing, and seen only when the buffer is flushed at the end.
    let mut file = PendingFile::over("nodes", bench.path.join("tmp/none"), full()?);
    let err = anyhow::Error::from(file.write_all(&vec![0; 1 << 20]).err().context("written")?);
    assert_eq!(exit_of(&err, &[]), Exit::Full);
    let mut file = PendingFile::over("nodes", bench.path.join("tmp/none"), full()?);
    file.write_all(b"little")?;
    let mut attempt = dir.begin(0);
    let err = attempt.finish_file(file, 1).err().context("finished")?;
    assert_eq!(exit_of(&err, &[]), Exit::Full);
    Ok(())
}
