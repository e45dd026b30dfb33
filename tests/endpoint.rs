//! A teacher behind an OpenAI-compatible server: what it says becomes solutions, and nothing is asked twice.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use datasets::table::VerdictRow;
use datasets::types::{End, Kept, Solution, Verdict};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::kit::{Left, World, names, run};
use crate::server::{Answer, ENDPOINT, Gate, Server, sum, sums};

fn world() -> World {
    let world = World::new();
    world.write_rows("train.jsonl", &sums(0, 24));
    world.write_rows("test.jsonl", &sums(50, 3));
    world
}

/// The requests whose answers a run has on disk.
fn stored(run: &Left) -> Vec<Value> {
    run.answers().into_iter().map(|answer| answer["request"].clone()).collect()
}

#[test]
fn its_answers_become_solutions() {
    let world = world();
    let server = Server::start(sum);
    let setting = server.setting();
    let sets = [ENDPOINT, &[&setting, "search.rule_solutions=2", "prompt.instruction=Add them."]].concat();
    world.run("a", &sets).done();
    let run = world.left("a");
    let solutions: Vec<Solution> = run.rows("round-1/search");
    let policies: BTreeSet<&str> = solutions.iter().map(|s| s.policy.as_str()).collect();
    assert_eq!(policies.into_iter().collect::<Vec<_>>(), ["endpoint", "rules"]);
    let told: Vec<&Solution> = solutions.iter().filter(|s| s.policy == "endpoint").collect();
    assert_eq!(told.len(), 24 * 2);
    assert!(
        told.iter().all(|s| s.steps.len() == 1 && s.tokens == 9 && s.final_answer.parse::<u64>().is_ok()),
        "{:?}",
        told[0]
    );
    assert_eq!(
        run.rows::<Kept>("round-1/curate").iter().map(|k| &k.problem_id).collect::<BTreeSet<_>>().len(),
        24
    );

    // The instruction is sent, the test problems are asked for the teacher's score alone, and all is stored.
    let seen = server.seen();
    assert!(
        seen.iter()
            .all(|request| request["messages"][0]["content"] == "Add them." && request["seed"].is_u64())
    );
    assert_eq!(stored(&run).len(), seen.len());
    assert_eq!(seen.len(), (24 + 3) * 2);

    // Without the tables, but with the answers, nobody is asked again.
    let before = run.product();
    fs::remove_dir_all(run.join("round-1")).unwrap();
    world.resume("a").done();
    assert_eq!(server.count(), seen.len());
    assert!(before == run.product());
}

#[test]
fn several_samples_in_one_request() {
    let world = world();
    let server = Server::start(sum);
    let setting = server.setting();
    world.run("a", &[ENDPOINT, &[&setting, "search.calculator=false"]].concat()).done();
    assert!(server.seen().iter().all(|request| request["n"] == 2));
    assert_eq!(server.count(), 24 + 3);
    assert_eq!(world.left("a").rows::<Solution>("round-1/search").len(), 24 * 2);
}

#[test]
fn a_killed_run_does_not_ask_again() {
    let world = world();
    // Answers the first shard of 8 problems with 2 samples each and some of the second, then falls silent.
    let allowed = Arc::new(AtomicUsize::new(21));
    let left = Arc::clone(&allowed);
    let server = Server::start(move |request| {
        let taken = left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        if taken.is_ok() { sum(request) } else { Answer::Never }
    });
    let setting = server.setting();
    let sets = [ENDPOINT, &[&setting, "endpoint.concurrency=2"]].concat();
    let run_dir = world.left("a");
    let mut running = world.start(&run("a", &sets));
    let commits = run_dir.join("round-1/search/commits");
    running.until("silence", |_| server.count() > 21 && stored(&run_dir).len() == 21);
    running.until("the commit of the first shard", |_| names(&commits).len() == 1);
    running.kill();

    let (paid, asked) = (stored(&run_dir), server.count());
    allowed.store(usize::MAX, SeqCst);
    world.resume("a").done().says("1 of 3 shards are committed and skipped");
    let later = server.seen().split_off(asked);
    assert!(later.iter().all(|request| !paid.contains(request)), "an answer that was stored is paid twice");
    assert_eq!(paid.len() + later.len(), (24 + 3) * 2);

    world.run("b", &sets).done();
    run_dir.equals(&world.left("b"));
}

#[test]
fn one_question_without_an_answer_is_recorded_and_the_run_goes_on() {
    let world = world();
    let server = Server::start(|request| {
        let question = request["messages"].as_array().unwrap().last().unwrap()["content"].to_string();
        if question.contains("holds 12 pens and") {
            let error = serde_json::json!({"error": {"code": "content_filter", "message": "unwanted"}});
            Answer::Http(400, "", error.to_string())
        } else if question.contains("holds 13 pens and") {
            Answer::Http(200, "", "{\"choices\": []}".to_owned())
        } else {
            sum(request)
        }
    });
    let setting = server.setting();
    let sets = [ENDPOINT, &[&setting, "search.calculator=false"]].concat();
    world
        .run("a", &sets)
        .done()
        .says("2 empty, 2 filtered")
        .says("(filtered: the server's filter (unwanted))");
    let run = world.left("a");
    let solutions: Vec<Solution> = run.rows("round-1/search");
    let lost = |end: End| solutions.iter().filter(|solution| solution.end == end).count();
    assert_eq!([lost(End::Complete), lost(End::Filtered), lost(End::Empty)], [22 * 2, 2, 2]);
    // Nothing speaks against what was never said.
    let verdicts: Vec<VerdictRow> = run.rows("round-1/verify");
    let reason = |reason: &str| verdicts.iter().filter(|row| row.judgement.reason == reason).count();
    assert_eq!([reason("filtered"), reason("no_answer")], [2, 2]);
    assert!(
        verdicts
            .iter()
            .all(|row| row.judgement.verdict != Verdict::Wrong || row.judgement.reason == "no_answer")
    );
}

#[test]
fn thoughts_are_stored_apart_and_learned_only_where_asked() {
    const THOUGHT: &str = "Is it 1+1=3?\n#### 3";
    let world = world();
    let server = Server::start(|request| {
        let Answer::Http(status, headers, body) = sum(request) else { panic!("sums are answered") };
        let mut body: Value = serde_json::from_str(&body).unwrap();
        let cut = request["messages"].to_string().contains("holds 12 pens and");
        for choice in body["choices"].as_array_mut().unwrap() {
            choice["message"]["reasoning_content"] = THOUGHT.into();
            if cut {
                choice["message"]["content"] = Value::Null;
                choice["finish_reason"] = "length".into();
            }
        }
        Answer::Http(status, headers, body.to_string())
    });
    let setting = server.setting();
    let question = "prompt.question=\"{{question}} Think first.\"";
    let sets = [ENDPOINT, &[&setting, "search.calculator=false", question]].concat();
    world.run("a", &sets).done().says("2 thinking");
    assert!(server.seen().iter().all(|request| request["messages"].to_string().contains("Think first.")));
    let run = world.left("a");
    let solutions: Vec<Solution> = run.rows("round-1/search");
    assert!(
        solutions
            .iter()
            .all(|s| s.thought == THOUGHT && s.thought_tokens > 0 && s.thought_tokens <= s.tokens)
    );
    let cut: Vec<&Solution> = solutions.iter().filter(|s| s.end == End::Thinking).collect();
    assert!(cut.len() == 2 && cut.iter().all(|s| s.steps.is_empty() && s.final_answer.is_empty()));
    let kept: Vec<Kept> = run.rows("round-1/curate");
    assert_eq!(kept.len(), 23);
    assert!(kept.iter().all(|row| row.thought == THOUGHT && !row.completion.contains('?')));
    let said = |arguments: &[&str]| -> String {
        let out = world.qstill(&[&["export", "runs/a"], arguments].concat()).done().stdout;
        let row: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
        row["messages"][1]["content"].as_str().unwrap().to_owned()
    };
    assert_eq!(said(&[]), kept[0].completion);
    assert_eq!(said(&["--thoughts"]), format!("<think>\n{THOUGHT}\n</think>\n\n{}", kept[0].completion));
    // Students learn them if they are told to.
    let before = run.product();
    world.run("a", &[&sets[..], &["train.thoughts=keep"]].concat()).done();
    assert!(before != run.product());
}

#[test]
fn a_judge_decides_what_the_verifier_leaves_open() {
    let world = World::new();
    let rows: Vec<(String, String)> = (0..4)
        .map(|n| (format!("Is a box of {n} pens and {n} cups mixed?"), "by colour and size".into()))
        .collect();
    world.write_rows("train.jsonl", &rows);
    world.write_rows("test.jsonl", &sums(50, 2));
    let server = Server::start(|request| {
        let asked = request["messages"].to_string();
        let text = match asked.contains("Reference answer") {
            // Right of the first two boxes, and one vote of three against it.
            true if asked.contains("box of 0") || asked.contains("box of 1") => "Same words.\nVerdict: yes",
            true => "It is not.\nVerdict: no",
            false if asked.contains("box of") => "So\n#### size and colour",
            false => return sum(request),
        };
        let count = request["n"].as_u64().unwrap_or(1);
        let message = serde_json::json!({"role": "assistant", "content": text});
        let choice = |n| serde_json::json!({"index": n, "finish_reason": "stop", "message": message});
        let choices: Vec<Value> = (0..count).map(choice).collect();
        let body = serde_json::json!({"choices": choices, "usage": {"completion_tokens": 9 * count}});
        Answer::Http(200, "", body.to_string())
    });
    let setting = server.setting();
    let sets = [ENDPOINT, &[&setting, "search.calculator=false", "verify.judge=endpoint"]].concat();
    let until = [run("a", &sets), ["--until", "curate"].map(str::to_owned).to_vec()].concat();
    world.qstill(&until).done().says("8 of 8 verdicts rest on the judge");
    let run = world.left("a");
    let verdicts: Vec<VerdictRow> = run.rows("round-1/verify");
    let reason = |reason: &str| verdicts.iter().filter(|row| row.judgement.reason == reason).count();
    assert_eq!([reason("judged_correct"), reason("judged_wrong")], [4, 4]);
    assert!(verdicts.iter().all(|row| row.judge_votes == Some(3)));
    // One answer is one question, of three votes in one request.
    assert_eq!(server.count(), 4 + 4);
    assert_eq!(run.rows::<Kept>("round-1/curate").len(), 2);

    // Judged anew nothing is asked twice; without the judge nothing is decided.
    let again = world.qstill(&["regrade", "runs/a", "--json"]).done().json();
    assert_eq!((&again["solutions"], &again["judged"], server.count()), (&8.into(), &8.into(), 8));
    assert_eq!(again["changed"].as_object().unwrap().len(), 0);
    let before = run.product();
    let alone = world.qstill(&["regrade", "runs/a", "--set", "verify.judge=none"]).done();
    assert!(alone.stdout.contains("8 verdicts change"), "{}", alone.stdout);
    assert!(alone.stdout.contains("correct (judged_correct) -> undecidable"), "{}", alone.stdout);
    assert!(before == run.product(), "it only shows");
    world.qstill(&["regrade", "runs/a", "--round", "2"]).fails(65, &["nothing is verified"]);
}

#[test]
fn a_server_that_moved_is_asked_for_nothing() {
    let world = world();
    let (old, new) = (Server::start(sum), Server::start(sum));
    world.run("a", &[ENDPOINT, &[&old.setting()]].concat()).done();
    let before = world.left("a").product();
    world.run("a", &[ENDPOINT, &[&new.setting()]].concat()).done();
    assert!(new.count() == 0 && world.left("a").product() == before);
    // Another revision of the model is another model.
    world.run("a", &[ENDPOINT, &[&new.setting(), "endpoint.revision=2"]].concat()).done();
    assert_eq!(new.count(), old.count());
}

#[test]
fn money_is_counted_and_ends_at_its_limit() {
    let world = world();
    let server = Server::start(sum);
    let setting = server.setting();
    let base = [ENDPOINT, &[&setting, "search.calculator=false", "endpoint.concurrency=1"]].concat();
    let with = |more: &[&'static str]| [&base[..], more].concat();
    // Two samples of nine tokens each are 1.8 cents.
    let priced = ["endpoint.price_completion=1000"];
    let limited = ["endpoint.price_completion=1000", "endpoint.max_cost=0.1"];
    world.run("a", &with(&limited)).fails(75, &["$0.1080", "endpoint.max_cost = 0.1", "resume"]);
    assert_eq!(server.count(), 6);
    world.run("a", &with(&limited)).fails(75, &["$0.1080"]);
    assert_eq!(server.count(), 6);
    let done = world.run("a", &with(&priced)).done();
    assert!(done.stdout.contains("27 stored answers") && done.stdout.contains("$0.4860"), "{}", done.stdout);
    assert_eq!(server.count(), 27);
    let status = world.qstill(&["status", "runs/a"]).done();
    assert!(status.stdout.contains("endpoint: 27 stored answers") && status.stdout.contains("$0.4860"));
    let bill = world.qstill(&["status", "runs/a", "--json"]).json()["endpoint"].clone();
    assert_eq!(bill["completion_tokens"], 27 * 18);
    assert_eq!(world.left("a").evaluation()["endpoint"], bill);
    // Neither prices nor limits make anything outstanding, and they do not stop what is paid for.
    let before = world.left("a").product();
    world.run("a", &with(&["endpoint.price_prompt=3", "endpoint.max_cost=0.001"])).done();
    world.run("a", &with(&["endpoint.max_tokens_total=1"])).done();
    assert!(server.count() == 27 && world.left("a").product() == before);
    world.run("b", &with(&["endpoint.max_tokens_total=100"])).fails(75, &["endpoint.max_tokens_total = 100"]);
    world.run("c", &with(&["endpoint.max_cost=1"])).fails(64, &["endpoint.max_cost", "price"]);
}

#[test]
fn a_server_that_takes_few_requests_is_sent_few() {
    let world = world();
    let (arrived, under_way) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let server = Server::start(move |request| {
        let number = arrived.fetch_add(1, SeqCst);
        let many = under_way.fetch_add(1, SeqCst) >= 2;
        // Eight come together, of which two are taken.
        while number < 8 && arrived.load(SeqCst) < 8 {
            std::thread::yield_now();
        }
        let answer = if many { Answer::Http(429, "retry-after: 0\r\n", String::new()) } else { sum(request) };
        under_way.fetch_sub(1, SeqCst);
        answer
    });
    let setting = server.setting();
    // No request is tried again for a fault of its own.
    let sets = ["search.calculator=false", "endpoint.concurrency=8", "endpoint.retries=0"];
    let done = world.run("a", &[ENDPOINT, &[&setting], &sets].concat()).done();
    done.says("the server asks for less traffic");
    let solutions: Vec<Solution> = world.left("a").rows("round-1/search");
    assert!(solutions.len() == 24 * 2 && solutions.iter().all(|row| row.end == End::Complete));
    assert_eq!(world.left("a").answers().len(), 24 + 3);
}

#[test]
fn answers_of_earlier_runs_are_read_and_torn_ones_cut_off() {
    let world = world();
    let server = Server::start(sum);
    let setting = server.setting();
    let sets = [ENDPOINT, &[&setting, "search.calculator=false"]].concat();
    world.run("a", &sets).done();
    let (run, before) = (world.left("a"), world.left("a").product());
    let folder = run.join("responses");
    let logs = names(&folder);
    assert!(logs.iter().any(|name| name.starts_with("search-1-00002-")), "{logs:?}");
    let count = |verified: &str| -> u64 {
        let checked = world.qstill(&["verify-run", "runs/a", "--json"]);
        assert_eq!(checked.code, Some(if verified == "sound" { 0 } else { 65 }), "{}", checked.stdout);
        run.answers().len() as u64
    };
    assert_eq!(count("sound"), 27);
    // Earlier runs have a file for each answer.
    for answer in run.answers() {
        let body = answer["body"].as_str().unwrap();
        let digest = datasets::key::hex(&Sha256::digest(body.as_bytes()));
        let old = serde_json::json!({
            "format": 2, "request": answer["request"], "status": 200, "sha256": digest, "body": body,
        });
        let name = format!("{}.json", answer["answer"].as_str().unwrap());
        fs::write(folder.join(name), old.to_string()).unwrap();
    }
    for name in &logs {
        fs::remove_file(folder.join(name)).unwrap();
    }
    let again = || {
        fs::remove_dir_all(run.join("round-1")).unwrap();
        world.resume("a").done();
        assert!(before == run.product());
        server.count()
    };
    assert_eq!(again(), 27);
    let old = |name: &String| Path::new(name).extension() == Some("json".as_ref());
    assert!(names(&folder).iter().all(old) && run.answers().is_empty());
    // Asked anew, the last answer of a log is torn.
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(again(), 2 * 27);
    let log = folder.join(&names(&folder)[0]);
    let whole = fs::read(&log).unwrap();
    fs::write(&log, &whole[..whole.len() - 7]).unwrap();
    assert_eq!(again(), 2 * 27 + 1);
    let torn = fs::read(&log).unwrap();
    assert!(torn.len() < whole.len() - 7 && whole.starts_with(&torn) && torn.ends_with(b"\n"));
    // A line in the middle that cannot be read costs one answer; what is damaged is kept to look at.
    let mut damaged = torn.clone();
    damaged[3] ^= 1;
    fs::write(&log, &damaged).unwrap();
    assert_eq!(count("damaged"), 27);
    assert_eq!(again(), 2 * 27 + 2);
    assert!(names(&folder).iter().any(|name| name.starts_with("damaged-")), "{:?}", names(&folder));
    assert_eq!(count("sound"), 27);
}

#[test]
fn progress_counts_every_answer() {
    let (world, count) = (world(), AtomicUsize::new(0));
    // Five answers to the eight problems of the first shard, then none to anybody.
    let server = Server::start(move |request| {
        if count.fetch_add(1, SeqCst) < 5 { sum(request) } else { Answer::Http(401, "", String::new()) }
    });
    let setting = server.setting();
    let sets = [ENDPOINT, &[&setting, "search.calculator=false", "endpoint.concurrency=1"]].concat();
    // Two samples of nine tokens each.
    let stopped = world.run("a", &sets).fails(65, &["refused access"]);
    let said = ["search: 5/24 problems when it stopped", "90 tokens"];
    assert!(said.iter().all(|words| stopped.stderr.contains(words)), "{}", stopped.stderr);
}

#[test]
fn the_benchmark_asks_a_server_of_its_own_and_leaves_nothing() {
    let world = World::new();
    fs::create_dir(world.path("here")).unwrap();
    let load = ["--problems", "12", "--samples", "8", "--shard", "8", "--in-flight", "4", "--latency", "1"];
    for more in [&[][..], &["--logprobs"]] {
        let arguments = [&["bench", "endpoint", "--dir", "here"], &load[..], more].concat();
        let report = world.qstill(&arguments).done().json()[0].clone();
        let count = |key: &str| report[key].as_u64().unwrap();
        assert_eq!((count("requests"), count("problems")), (12, 12), "{report}");
        assert!((1..=4).contains(&count("most_in_flight")), "{report}");
        assert!(report["share_of_rate"].as_f64().unwrap() > 0.0, "{report}");
        assert!(names(&world.path("here")).is_empty());
    }
}

#[test]
fn the_server_has_the_next_shard_while_a_shard_waits_for_its_last_answer() {
    let world = world();
    let (count, gate) = (AtomicUsize::new(0), Gate::default());
    // The last answer of the first eight problems comes once the ninth is asked for.
    let server = Server::start(move |request| {
        match count.fetch_add(1, SeqCst) {
            7 => gate.pass(),
            8 => gate.open(),
            _ => {}
        }
        sum(request)
    });
    let setting = server.setting();
    let sets =
        ["search.calculator=false", "run.shard_size=8", "endpoint.concurrency=2", "endpoint.timeout_s=20"];
    world.run("a", &[ENDPOINT, &[&setting], &sets].concat()).done();
    assert_eq!(server.count(), 24 + 3);
    assert_eq!(names(&world.left("a").join("round-1/search/commits")).len(), 3);
}
