//! Endpoints that do not answer as they should: 75 where trying again may help, 65 where something has to be
//! changed.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crate::kit::{Outcome, World};
use crate::server::{Answer, ENDPOINT, Server, sum, sums};

fn world() -> World {
    let world = World::new();
    world.write_rows("train.jsonl", &sums(0, 2));
    world.write_rows("test.jsonl", &sums(50, 1));
    world
}

fn ask(world: &World, name: &str, url: &str, more: &[&str]) -> Outcome {
    let setting = format!("endpoint.url={url}");
    world.run(name, &[ENDPOINT, &[&setting, "endpoint.concurrency=1"], more].concat())
}

#[test]
fn endpoints_that_are_down_or_broken() {
    let world = world();
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    ask(&world, "down", &format!("http://127.0.0.1:{port}/v1"), &[])
        .fails(75, &["cannot connect", "is the server running?", "tries: 2"]);

    let http =
        |status, headers, body: &'static str| move |_: &_| Answer::Http(status, headers, body.to_owned());
    let cases: Vec<(&str, Server, i32, usize, &[&str])> = vec![
        (
            "500",
            Server::start(http(500, "", "{\"error\": {\"message\": \"out of cheese\"}}")),
            75,
            4,
            &["status 500", "out of cheese"],
        ),
        (
            "429",
            Server::start(http(429, "retry-after: 0\r\n", "slow down")),
            75,
            4,
            &["status 429", "slow down", "try again later"],
        ),
        (
            "html",
            Server::start(http(200, "", "<html><body>Welcome</body></html>")),
            65,
            1,
            &["a web page instead of JSON", "url"],
        ),
        (
            "half",
            Server::start(http(200, "", "{\"choices\": [{\"mess")),
            75,
            4,
            &["broken answer", "tries: 2"],
        ),
        ("torn", Server::start(|_: &_| Answer::Torn("{\"choices\"".to_owned())), 75, 4, &["broken answer"]),
        ("never", Server::start(|_: &_| Answer::Never), 75, 4, &["did not answer within 0.3 s", "timeout_s"]),
        (
            "stream",
            Server::start(http(200, "", "data: {\"choices\": []}\n\n")),
            65,
            1,
            &["server-sent events"],
        ),
        (
            "escapes",
            Server::start(http(400, "", "{\"error\": {\"message\": \"bad \\u001b[31mred\\u202e model\"}}")),
            65,
            2,
            &["status 400): bad red model"],
        ),
        (
            "refuses",
            Server::start(http(400, "", "{\"error\": {\"code\": \"content_filter\", \"message\": \"no\"}}")),
            65,
            4,
            &["4 of 4 samples have no answer (4 filtered)", "endpoint.max_failed"],
        ),
        ("other", Server::start(http(200, "", "{\"hello\": 1}")), 65, 1, &["without `choices`"]),
        (
            "key",
            Server::start(http(401, "", "{\"error\": {\"message\": \"who are you\"}}")),
            65,
            1,
            &["refused access", "OPENAI_API_KEY"],
        ),
        ("gone", Server::start(http(404, "", "no such page")), 65, 1, &["status 404", "no such page"]),
        ("moved", Server::start(http(301, "location: http://127.0.0.1:1/\r\n", "")), 65, 1, &["redirects"]),
    ];
    for (name, server, code, tries, said) in cases {
        let limit = if name == "never" { ["endpoint.timeout_s=0.3"] } else { ["endpoint.timeout_s=60"] };
        ask(&world, name, &server.url, &limit).fails(code, said);
        assert_eq!(server.count(), tries, "requests to {name}");
    }
    ask(&world, "scheme", "ftp://127.0.0.1/v1", &[]).fails(64, &["url", "http://"]);
}

#[test]
fn a_server_that_comes_back_is_asked_for_the_rest() {
    let world = world();
    let well = Arc::new(AtomicBool::new(false));
    let healthy = Arc::clone(&well);
    let server =
        Server::start(
            move |request| {
                if healthy.load(SeqCst) { sum(request) } else { Answer::Http(503, "", String::new()) }
            },
        );
    ask(&world, "a", &server.url, &[]).fails(75, &["status 503"]);
    well.store(true, SeqCst);
    world.resume("a").done().says("problems: complete, skipped");
    let rows = world.left("a").evaluation()["rows"].clone();
    assert_eq!(rows[2]["solved"], 1, "{rows}");
}
