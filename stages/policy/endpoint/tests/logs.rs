//! Stored answers: what damage does to them, and how many share a log.

use std::path::PathBuf;

use crate::policy::endpoint::spent::Spent;
use crate::policy::endpoint::store::{Answer, Store, Stored, check, clear};

use super::*;

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn remove_others(folder: &Path, log: &Path) {
    for other in files(folder).iter().filter(|path| *path != log) {
        fs::remove_file(other).unwrap();
    }
}

fn request(number: usize) -> String {
    format!("{{\"messages\":[{{\"content\":\"{number}?\"}}],\"seed\":{number}}}")
}

fn text(number: usize) -> String {
    format!("{{\"text\": \"é\\n{number}\"}}")
}

/// Stores answers to some requests, all at once; the bodies that stand for them.
fn put(store: &Store, numbers: impl Iterator<Item = usize>, body: fn(usize) -> String) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let one = async |number: usize| -> String {
        let (request, body) = (request(number), body(number));
        let spent = Spent { answers: 1, prompt_tokens: 2, completion_tokens: 3 };
        let name = Store::name("", &request);
        let answer = Answer { name, request: &request, status: 200, body: &body, spent };
        store.put("search-1-00000", &answer).await.unwrap().unwrap_or(body)
    };
    runtime.block_on(async {
        let mut all = Vec::new();
        for number in numbers {
            all.push(one(number).await);
        }
        all
    })
}

fn get(store: &Store, number: usize) -> Stored {
    store.get(&Store::name("", &request(number)), &request(number)).unwrap()
}

#[test]
fn an_attempt_has_a_log_and_the_first_answer_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_owned()).unwrap();
    assert!(files(folder.path()).is_empty(), "nothing is written before there is an answer");
    put(&store, 0..40, text);
    assert_eq!(put(&store, 39..41, |_| "another".to_owned()), [text(39), "another".to_owned()]);
    let other = Store::open(folder.path().to_owned()).unwrap();
    assert_eq!(put(&other, 40..42, text), ["another".to_owned(), text(41)]);
    assert_eq!((files(folder.path()).len(), check(folder.path()).unwrap().answers), (2, 42));
    let third = Store::open(folder.path().to_owned()).unwrap();
    assert!((0..40).chain([41]).all(|number| get(&third, number) == Stored::Body(text(number))));
    assert_eq!(get(&third, 42), Stored::Nothing);
    let spent = Spent { answers: 42, prompt_tokens: 84, completion_tokens: 126 };
    assert_eq!(third.spent().unwrap(), spent);
}

#[test]
fn a_log_that_ends_anywhere_has_the_answers_before_that() {
    let folder = tempfile::tempdir().unwrap();
    put(&Store::open(folder.path().to_owned()).unwrap(), 0..3, text);
    let [log] = &files(folder.path())[..] else { panic!("one log") };
    let whole = fs::read(log).unwrap();
    let ends: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] == b'\n').map(|at| at + 1).collect();
    for length in 0..=whole.len() {
        fs::write(log, &whole[..length]).unwrap();
        let there = ends.iter().filter(|end| **end <= length).count();
        let store = Store::open(folder.path().to_owned()).unwrap();
        for number in 0..3 {
            let expected = if number < there { Stored::Body(text(number)) } else { Stored::Nothing };
            assert_eq!(get(&store, number), expected, "{length}");
        }
        // What a kill leaves is no damage; who holds the run cuts it off.
        assert!(check(folder.path()).unwrap().wrong.is_empty(), "{length}");
        clear(folder.path()).unwrap();
        let end = ends.iter().rfind(|end| **end <= length).copied().unwrap_or(0);
        assert_eq!(fs::read(log).unwrap(), &whole[..end]);
    }
    assert_eq!(files(folder.path()).len(), 1);
}

#[test]
fn a_changed_byte_costs_one_answer_and_gives_no_other() {
    let folder = tempfile::tempdir().unwrap();
    put(&Store::open(folder.path().to_owned()).unwrap(), 0..3, text);
    let [log] = &files(folder.path())[..] else { panic!("one log") };
    let whole = fs::read(log).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 7);
        fs::write(log, &bytes).unwrap();
        let store = Store::open(folder.path().to_owned()).unwrap();
        let found: Vec<Stored> = (0..3).map(|number| get(&store, number)).collect();
        let sound = (0..3).filter(|number| found[*number] == Stored::Body(text(*number))).count();
        let none = found.iter().filter(|stored| !matches!(stored, Stored::Body(_))).count();
        assert!(sound == 2 && none == 1, "{at}: {found:?}");
        // It is asked for again, and that is all there is to it.
        assert_eq!(put(&store, 0..3, text).len(), 3);
        let again = Store::open(folder.path().to_owned()).unwrap();
        assert!((0..3).all(|number| get(&again, number) == Stored::Body(text(number))), "{at}");
        clear(folder.path()).unwrap();
        let checked = check(folder.path()).unwrap();
        assert!(checked.answers == 3 && checked.wrong.is_empty(), "{at}: {checked:?}");
        remove_others(folder.path(), log);
    }
}

#[test]
fn damaged_answers_are_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|_, _| good());
    let notes = Notes::default();
    let ask = || {
        let problem = problem("48/2?");
        let asks = [Ask { problem: &problem, steps: &[], seeds: &[7] }];
        let mut endpoint = endpoint(config(&server.url), folder.path());
        endpoint.propose(&asks, Horizon::Path, &sampling(), &notes).unwrap().remove(0)
    };
    let first = ask();
    let [log] = &files(folder.path())[..] else { panic!("one log") };
    let whole = fs::read_to_string(log).unwrap();
    for (count, damaged) in
        [whole.replace("#### 24", "#### 25"), whole.replacen("48/2?", "48/3?", 1), String::new()]
            .iter()
            .enumerate()
    {
        fs::write(log, damaged).unwrap();
        assert_eq!(format!("{:?}", ask()), format!("{first:?}"));
        assert_eq!(server.count(), count + 2);
        assert_eq!(&fs::read_to_string(log).unwrap(), damaged, "what is there is not written to again");
        // The sound one is found behind the damaged one.
        assert_eq!(format!("{:?}", ask()), format!("{first:?}"));
        assert_eq!(server.count(), count + 2);
        remove_others(folder.path(), log);
    }
    let notes = notes.0.into_inner().unwrap();
    assert_eq!(notes.iter().filter(|note| note.contains("damaged")).count(), 2, "{notes:?}");
}
