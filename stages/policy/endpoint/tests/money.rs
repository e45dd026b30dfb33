//! What answers cost, and where it ends.

use super::*;
use crate::policy::endpoint::spent::{Spent, dollars};

fn priced(url: &str) -> EndpointConfig {
    EndpointConfig { price_prompt: 1.0, price_completion: 2.0, use_n: false, concurrency: 1, ..config(url) }
}

/// Each answer costs 100 + 2 * 50 millionths of a dollar.
fn server() -> Server {
    Server::start(|_, _| {
        let usage = json!({"prompt_tokens": 100, "completion_tokens": 50});
        let choices = [super::server::choice(0, "48/2=24\n#### 24")];
        Answer::Http(200, "", json!({"choices": choices, "usage": usage}).to_string())
    })
}

#[test]
fn spending_ends_at_its_limit_and_goes_on_from_there() {
    let (folder, server) = (tempfile::tempdir().unwrap(), server());
    let seeds: Vec<u64> = (0..9).collect();
    let ask = |max_cost, max_tokens_total| {
        let config = EndpointConfig { max_cost, max_tokens_total, ..priced(&server.url) };
        paths(&mut endpoint(config, folder.path()), &seeds)
    };
    for _ in 0..2 {
        let error = fault(ask(0.0009, 0).map(|mut paths| paths.remove(0)));
        assert!(error.is_temporary() && matches!(error, EndpointError::Spent { .. }), "{error}");
        assert!(error.to_string().contains("$0.0010") && error.to_string().contains("max_cost"), "{error}");
        // The second time, what was paid for is known.
        assert_eq!(server.count(), 5);
    }
    let error = fault(ask(0.0, 1050).map(|mut paths| paths.remove(0)));
    assert!(error.to_string().contains("1050 tokens"), "{error}");
    assert_eq!(server.count(), 7);
    assert_eq!(ask(0.0018, 0).unwrap().len(), 9);
    assert_eq!(server.count(), 9);
    // All is there: nothing is spent, so no limit is in the way.
    assert_eq!(ask(0.0001, 1).unwrap().len(), 9);
    let spent = Spent::of_folder(folder.path()).unwrap();
    assert_eq!(spent, Spent { answers: 9, prompt_tokens: 900, completion_tokens: 450 });
    assert_eq!(spent.cost(&priced("")).map(dollars).as_deref(), Some("$0.0018"));
    assert_eq!(spent.cost(&config("")), None);
    assert_eq!(Spent::of_folder(&folder.path().join("none")).unwrap(), Spent::default());
}

#[test]
fn a_server_that_does_not_count_is_estimated() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|_, _| {
        Answer::Http(200, "", json!({"choices": [super::server::choice(0, "12345678")]}).to_string())
    });
    paths(&mut endpoint(priced(&server.url), folder.path()), &[1]).unwrap();
    // Four characters a token, of `Solve.`, `1+1?`, `1+1=2\n#### 2` and `48/2?`.
    let spent = Spent { answers: 1, prompt_tokens: 7, completion_tokens: 2 };
    assert_eq!(Spent::of_folder(folder.path()).unwrap(), spent);
}
