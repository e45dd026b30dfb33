//! Servers that take few requests at a time.

use std::time::Instant;

use super::*;

/// Answers to so many samples of one question, one request each.
fn ask(server: &Server, count: u64, change: impl Fn(&mut EndpointConfig)) -> (Vec<Proposal>, Vec<String>) {
    let (folder, notes) = (tempfile::tempdir().unwrap(), Notes::default());
    let mut config = EndpointConfig { use_n: false, retries: 0, ..config(&server.url) };
    change(&mut config);
    let (problem, seeds) = (problem("48/2?"), (0..count).collect::<Vec<u64>>());
    let asks = [Ask { problem: &problem, steps: &[], seeds: &seeds }];
    let mut endpoint = endpoint(config, folder.path());
    let drawn = endpoint.propose(&asks, Horizon::Path, &sampling(), &notes).unwrap().remove(0);
    (drawn, notes.0.into_inner().unwrap())
}

fn refusal(headers: &'static str) -> Answer {
    Answer::Http(429, headers, json!({"error": {"code": "rate_limit_exceeded"}}).to_string())
}

#[test]
fn half_as_many_are_sent_and_nobody_is_lost() {
    let (arrived, under_way) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    let seen: Arc<Mutex<Vec<usize>>> = Arc::default();
    let (all, counts) = (arrived.clone(), seen.clone());
    let server = Server::start(move |number, _| {
        counts.lock().unwrap().push(under_way.fetch_add(1, Ordering::SeqCst) + 1);
        all.fetch_add(1, Ordering::SeqCst);
        // The first eight are there together, and three of them until there is another one.
        let others = [9, 8, 0][usize::from(number >= 3) + usize::from(number >= 8)];
        while all.load(Ordering::SeqCst) < others {
            std::thread::yield_now();
        }
        under_way.fetch_sub(1, Ordering::SeqCst);
        if (3..8).contains(&number) { refusal("") } else { good() }
    });
    // No request is tried again for a fault of its own.
    let (drawn, notes) = ask(&server, 30, |config| config.concurrency = 8);
    assert!(drawn.len() == 30 && drawn.iter().all(|proposal| proposal.final_answer == "24"));
    assert_eq!(server.count(), 30 + 5);
    assert_eq!(notes.iter().filter(|note| note.contains("less traffic")).count(), 1, "{notes:?}");
    // Until four that were sent since are answered, there are four at most.
    let seen = seen.lock().unwrap();
    assert!(seen[8] == 4 && seen[9..12].iter().all(|count| *count <= 4), "{seen:?}");
}

#[test]
fn one_alone_that_is_refused_again_and_again_is_given_up() {
    let server = Server::start(|_, _| refusal(""));
    let folder = tempfile::tempdir().unwrap();
    let config = EndpointConfig { use_n: false, concurrency: 4, retries: 1, ..config(&server.url) };
    let error = paths(&mut endpoint(config, folder.path()), &[1, 2, 3, 4, 5, 6]).unwrap_err();
    let error: EndpointError = error.downcast().unwrap();
    assert!(matches!(error, EndpointError::Busy { status: 429, tries: 2, .. }), "{error}");
}

#[test]
fn nothing_is_sent_while_the_server_wants_to_be_left_alone() {
    let times: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let all = times.clone();
    let server = Server::start(move |number, _| {
        all.lock().unwrap().push(Instant::now());
        if number == 0 { refusal("retry-after: 1\r\n") } else { good() }
    });
    let (drawn, _) = ask(&server, 6, |config| (config.concurrency, config.retries) = (1, 1));
    assert!(drawn.iter().all(|proposal| proposal.final_answer == "24"));
    let times = times.lock().unwrap();
    assert!(times[1..].iter().all(|time| time.duration_since(times[0]).as_secs() >= 1), "{times:?}");
}
