//! What rules have said, and the processes that say it: each thing is asked once, many at a time.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Result;
use datasets::domain::{State, Told, Unsound};
use datasets::domains::compared::blanks;
use datasets::types::Problem;
use serde_json::json;

use super::RulesInputs;
use super::told::{self, Moves};
use crate::command::{Crew, Failure, Host, locked};

/// Most items of a question.
const BATCH: usize = 256;
/// Bytes of the longest answer.
const LONGEST: u64 = 64 << 20;
/// Things that are remembered; then all are forgotten, and asked again when they are needed.
const REMEMBERED: usize = 2_000_000;
/// How an answer is read: the line, its id and the number of items.
type Read<T> = fn(&[u8], &str, usize) -> Result<Vec<T>, String>;

/// Characters of a state in a message.
const SHOWN: usize = 200;

pub(super) struct World {
    crew: Crew,
    enumerates: bool,
    next_id: AtomicU64,
    /// Most items of a question: fewer once that many took too long.
    batch: AtomicUsize,
    /// Items that were asked for.
    asked: AtomicUsize,
    starts: Memory<String, Option<Arc<Told>>>,
    moves: Memory<String, Moves>,
    steps: Memory<(String, String), Option<Arc<Told>>>,
}

/// What is known of things of one kind.
struct Memory<K, V>(Mutex<Known<K, V>>);

struct Known<K, V> {
    all: HashMap<K, V>,
    size: usize,
}

impl<K: Eq + Hash + Clone, V: Clone> Memory<K, V> {
    fn new() -> Self {
        Self(Mutex::new(Known { all: HashMap::new(), size: 0 }))
    }

    fn known(&self) -> MutexGuard<'_, Known<K, V>> {
        locked(&self.0)
    }

    fn get(&self, key: &K) -> Option<V> {
        self.known().all.get(key).cloned()
    }

    /// Those of the keys of which nothing is known, once each.
    fn open(&self, keys: impl Iterator<Item = K>) -> Vec<K> {
        let (known, mut seen) = (self.known(), HashSet::new());
        keys.filter(|key| !known.all.contains_key(key) && seen.insert(key.clone())).collect()
    }

    /// `size`: what each counts.
    fn put(&self, new: Vec<(K, V)>, size: impl Fn(&V) -> usize) {
        let mut known = self.known();
        let more: usize = new.iter().map(|(_, value)| size(value)).sum();
        if known.size + more > REMEMBERED {
            (known.all, known.size) = (HashMap::new(), 0);
        }
        known.size += more;
        known.all.extend(new);
    }
}

impl World {
    pub(super) fn new(inputs: &RulesInputs, host: Host) -> Result<Self> {
        Ok(Self {
            crew: Crew::new(("problems.rules", LONGEST), &inputs.command, host)?,
            enumerates: inputs.enumerates,
            next_id: AtomicU64::new(1),
            batch: AtomicUsize::new(BATCH),
            asked: AtomicUsize::new(0),
            starts: Memory::new(),
            moves: Memory::new(),
            steps: Memory::new(),
        })
    }

    pub(super) fn sound(&self) -> Result<(), Unsound> {
        self.crew.sound()
    }

    /// Where a problem starts.
    pub(super) fn start(&self, problem: &Problem) -> Option<Arc<Told>> {
        let shown = told::shown(problem);
        self.starts.get(&shown).unwrap_or_else(|| self.ask_starts(vec![shown]).pop().flatten())
    }

    pub(super) fn begin(&self, problems: &mut dyn Iterator<Item = &Problem>) {
        let open = self.starts.open(problems.map(told::shown));
        self.in_parts(&open, |part| {
            self.ask_starts(part);
        });
    }

    /// The legal steps of a state; none once the command has failed.
    pub(super) fn moves(&self, state: &Told) -> Moves {
        let known = self.moves.get(&state.text);
        known.unwrap_or_else(|| self.ask_moves(vec![state.text.clone()]).pop().unwrap_or_default())
    }

    pub(super) fn expand(&self, states: &mut dyn Iterator<Item = &Told>) {
        let open = self.moves.open(states.map(|told| told.text.clone()));
        self.in_parts(&open, |part| {
            self.ask_moves(part);
        });
    }

    /// A legal step as rules write it, and where it leads; blanks make no difference.
    pub(super) fn follow(&self, state: &Told, step: &str) -> Option<(String, Arc<Told>)> {
        if self.enumerates {
            let same = |text: &str| text.split_whitespace().eq(step.split_whitespace());
            return self.moves(state).iter().find(|(text, _)| same(text)).cloned();
        }
        let key = (state.text.clone(), blanks(step));
        let known = self.steps.get(&key);
        let told = known.unwrap_or_else(|| self.ask_steps(vec![key.clone()]).pop().flatten())?;
        Some((key.1, told))
    }

    /// Says which steps will be followed.
    pub(super) fn foresee<'a>(&self, steps: impl Iterator<Item = (&'a State, &'a str)>) {
        let told = steps.filter_map(|(state, step)| Some((state.told.as_deref()?, step)));
        if self.enumerates {
            return self.expand(&mut told.map(|(state, _)| state));
        }
        let open = self.steps.open(told.map(|(state, step)| (state.text.clone(), blanks(step))));
        self.in_parts(&open, |part| {
            self.ask_steps(part);
        });
    }

    fn ask_starts(&self, shown: Vec<String>) -> Vec<Option<Arc<Told>>> {
        let found = self.ask("start", &shown, told::states);
        if let Some((problem, _)) = shown.iter().zip(&found).find(|(_, told)| told.is_none()) {
            let shown: String = problem.chars().take(SHOWN).collect();
            self.crew.give_up(format!("problems.rules has no start (null) for {shown}"));
        }
        self.starts.put(shown.into_iter().zip(found.iter().cloned()).collect(), |_| 1);
        found
    }

    fn ask_moves(&self, states: Vec<String>) -> Vec<Moves> {
        let found = self.ask("moves", &states, told::moves);
        self.moves.put(states.into_iter().zip(found.iter().cloned()).collect(), |moves| 1 + moves.len());
        found
    }

    fn ask_steps(&self, steps: Vec<(String, String)>) -> Vec<Option<Arc<Told>>> {
        let items: Vec<String> =
            steps.iter().map(|(state, step)| format!("[{state},{}]", json!(step))).collect();
        let found = self.ask("follow", &items, told::states);
        self.steps.put(steps.into_iter().zip(found.iter().cloned()).collect(), |_| 1);
        found
    }

    /// Asks about some items; nothing once the command has failed. What fails is asked in halves, for it may
    /// be too much at once; and so the item that it fails on is named.
    fn ask<T>(&self, kind: &str, items: &[String], read: Read<T>) -> Vec<T> {
        if self.crew.glance() || self.sound().is_err() {
            return Vec::new();
        }
        self.asked.fetch_add(items.len(), SeqCst);
        let id = self.next_id.fetch_add(1, SeqCst).to_string();
        let answer = self.crew.ask(&told::question(&id, kind, items), |line| read(line, &id, items.len()));
        match answer {
            Ok(found) => found,
            Err(Failure::Stopped) => Vec::new(),
            Err(failure) if items.len() > 1 => {
                let (one, other) = items.split_at(items.len() / 2);
                if matches!(failure, Failure::TimedOut(_)) {
                    self.batch.fetch_min(one.len(), SeqCst);
                }
                (self.crew.host.log)(&format!("problems.rules {failure}; asked again in halves"));
                let mut found = self.ask(kind, one, read);
                found.extend(self.ask(kind, other, read));
                found
            }
            Err(failure) => {
                let item: String = items[0].chars().take(SHOWN).collect();
                let limit = match failure {
                    Failure::TimedOut(_) => ", verify.timeout_s",
                    _ => "",
                };
                self.crew
                    .give_up(format!("problems.rules {failure}{limit} (asked for \"{kind}\" of {item})"));
                Vec::new()
            }
        }
    }

    /// Asks for parts of a list, as many at once as there are processes.
    fn in_parts<T: Clone + Sync>(&self, items: &[T], ask: impl Fn(Vec<T>) + Sync) {
        let size = items.len().div_ceil(self.crew.workers).clamp(1, self.batch.load(SeqCst));
        self.crew.each(&items.chunks(size).collect::<Vec<_>>(), |part| ask(part.to_vec()));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let (asked, lines) = (self.asked.load(SeqCst), self.next_id.load(SeqCst) - 1);
        if asked > 0 {
            (self.crew.host.log)(&format!("problems.rules was asked about {asked} states in {lines} lines"));
        }
    }
}
