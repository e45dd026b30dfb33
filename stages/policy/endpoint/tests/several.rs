//! Several servers of one model.

use std::collections::HashSet;

use super::server::Seen;
use super::*;

fn question(seen: &Seen) -> String {
    seen.body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap().to_owned()
}

/// Draws four samples of each of `count` problems, a request each; with what was noted.
fn draw(urls: &[&str], count: usize, retries: u32) -> (anyhow::Result<Vec<Vec<Proposal>>>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let urls = urls.iter().map(|url| (*url).to_owned()).collect();
    // One that is not to be asked.
    let config = EndpointConfig { urls, use_n: false, retries, ..config("http://127.0.0.1:1/v1") };
    let problems: Vec<Problem> = (0..count).map(|n| problem(&format!("{n}+{n}?"))).collect();
    let asks: Vec<Ask<'_>> =
        problems.iter().map(|problem| Ask { problem, steps: &[], seeds: &[1, 2, 3, 4] }).collect();
    let notes = Notes::default();
    let mut endpoint = endpoint(config, folder.path());
    let drawn = endpoint.propose(&asks, Horizon::Path, &sampling(), &notes);
    (drawn, notes.0.into_inner().unwrap())
}

#[test]
fn the_samples_of_a_problem_go_to_one_server() {
    let servers = [(); 3].map(|()| Server::start(|_, _| good()));
    let urls = servers.each_ref().map(|server| server.url.as_str());
    let (drawn, notes) = draw(&urls, 30, 0);
    assert!(drawn.unwrap().iter().flatten().all(|proposal| proposal.final_answer == "24"));
    assert_eq!(notes, Vec::<String>::new());
    let seen = servers.each_ref().map(Server::seen);
    assert_eq!(seen.iter().map(Vec::len).sum::<usize>(), 120);
    assert!(seen.iter().all(|seen| seen.len() >= 16), "{:?}", seen.each_ref().map(Vec::len));
    // Some may have been left to one with less to do.
    let asked: Vec<HashSet<String>> = seen.iter().map(|seen| seen.iter().map(question).collect()).collect();
    assert!(asked.iter().map(HashSet::len).sum::<usize>() < 60, "{asked:?}");
}

#[test]
fn the_others_answer_for_a_server_that_does_not() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/v1", listener.local_addr().unwrap())
    };
    let broken = Server::start(|_, _| Answer::Http(500, "", "no memory".to_owned()));
    let sound = Server::start(|_, _| good());
    let (drawn, notes) = draw(&[&closed, &broken.url, &sound.url], 20, 0);
    assert!(drawn.unwrap().iter().flatten().all(|proposal| proposal.final_answer == "24"));
    assert_eq!(sound.count(), 80);
    // What was under way when it was set aside, and not what came after.
    assert!((1..=24).contains(&broken.count()), "{}", broken.count());
    for url in [&closed, &broken.url] {
        let told = |note: &&String| note.contains(url.as_str()) && note.contains("does not answer");
        assert_eq!(notes.iter().filter(told).count(), 1, "{notes:?}");
    }
}

#[test]
fn no_server_at_all_is_an_error_after_the_last_try() {
    let closed = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/v1", listener.local_addr().unwrap())
    };
    let (drawn, _) = draw(&[&closed(), &closed()], 2, 2);
    let error: EndpointError = drawn.unwrap_err().downcast().unwrap();
    assert!(matches!(error, EndpointError::Unreachable { tries: 3, .. }), "{error}");
}

#[test]
fn addresses_are_checked_before_anything_is_sent() {
    let refused = |urls: &[&str]| {
        let urls = urls.iter().map(|url| (*url).to_owned()).collect();
        EndpointConfig { urls, ..EndpointConfig::default() }.check().unwrap_err().to_string()
    };
    let url = "http://127.0.0.1:8000/v1";
    assert!(refused(&[url, "node7:8000"]).contains("`node7:8000` in `urls` should look like"));
    assert!(refused(&[url, "http://127.0.0.1:8000/v1/"]).contains("twice"));
    assert!(refused(&[url, "http://me:secret@node7/v1"]).contains("api_key_env"));
}
