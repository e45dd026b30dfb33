//! From requests to proposals: seeds, shares of tokens, the calculator, steps.

use super::server::{choice, special};
use super::*;
use crate::policy::endpoint::draw::seed31;

fn propose(
    server: &Server,
    change: impl Fn(&mut EndpointConfig, &mut Sampling),
    horizon: Horizon,
    steps: &[&str],
    seeds: &[u64],
) -> Vec<Proposal> {
    let folder = tempfile::tempdir().unwrap();
    let (mut config, mut sampling) = (config(&server.url), sampling());
    change(&mut config, &mut sampling);
    let (problem, steps) = (problem("48/2?"), steps.iter().map(ToString::to_string).collect::<Vec<_>>());
    let asks = [Ask { problem: &problem, steps: &steps, seeds }];
    endpoint(config, folder.path()).propose(&asks, horizon, &sampling, &Silent).unwrap().remove(0)
}

fn calculator(_: &mut EndpointConfig, sampling: &mut Sampling) {
    sampling.calculator = true;
}

fn texts(proposal: &Proposal) -> Vec<&str> {
    proposal.steps.iter().map(|step| step.text.as_str()).collect()
}

fn last_message(server: &Server, request: usize) -> (String, String) {
    let body = server.seen()[request].body.clone();
    let message = body["messages"].as_array().unwrap().last().unwrap().clone();
    (message["role"].as_str().unwrap().to_owned(), message["content"].as_str().unwrap().to_owned())
}

#[test]
fn one_request_for_several_samples() {
    let server = Server::start(|_, _| completion(&["48/2=24\n#### 24", "50\n#### 50", "#### 3"], 20));
    let proposals =
        propose(&server, |_, sampling| sampling.top_k = 40, Horizon::Path, &[], &[u64::MAX, 2, 3]);
    assert_eq!(
        proposals.iter().map(|p| (texts(p), p.final_answer.as_str(), p.tokens)).collect::<Vec<_>>(),
        [(vec!["48/2=24"], "24", 7), (vec!["50"], "50", 7), (vec![], "3", 6)]
    );
    assert!(
        proposals[0].steps[0].logprob.is_nan()
            && proposals[0].steps[0].value.is_nan()
            && proposals[0].steps[0].q.is_nan()
    );
    let body = &server.seen()[0].body;
    assert_eq!(
        body,
        &json!({
            "model": "default",
            "messages": [
                {"role": "system", "content": "Solve."},
                {"role": "user", "content": "1+1?"},
                {"role": "assistant", "content": "1+1=2\n#### 2"},
                {"role": "user", "content": "48/2?"},
            ],
            "seed": seed31(u64::MAX), "temperature": 0.8, "top_p": 0.95, "top_k": 40, "max_tokens": 64, "n": 3, "logprobs": true,
        })
    );
    assert_eq!(server.count(), 1);
    assert_eq!([seed31(5), seed31(1 << 31), seed31(1 << 62)], [5, 1, 1]);
    assert!(seed31(u64::MAX) < 1 << 31);
}

#[test]
fn missing_samples_are_asked_one_by_one() {
    let server = Server::start(|number, _| completion(&[&format!("#### {number}")], 5));
    let proposals = propose(&server, |_, _| (), Horizon::Path, &[], &[11, 12, 13]);
    assert_eq!(proposals.iter().map(|p| p.final_answer.as_str()).collect::<Vec<_>>(), ["0", "1", "2"]);
    let asked: Vec<_> =
        server.seen().iter().map(|seen| (seen.body["seed"].clone(), seen.body["n"].clone())).collect();
    assert_eq!(asked, [(json!(11), json!(3)), (json!(12), Value::Null), (json!(13), Value::Null)]);
}

#[test]
fn proposals_come_in_the_order_of_the_asks() {
    let server = Server::start(|_, seen| completion(&[&format!("#### {}", seen.body["seed"])], 5));
    let folder = tempfile::tempdir().unwrap();
    let problem = problem("48/2?");
    let seeds: Vec<Vec<u64>> = (0..6).map(|ask| (0..ask).map(|place| ask * 10 + place).collect()).collect();
    let asks: Vec<_> = seeds.iter().map(|seeds| Ask { problem: &problem, steps: &[], seeds }).collect();
    let config = EndpointConfig { use_n: false, ..config(&server.url) };
    let proposals =
        endpoint(config, folder.path()).propose(&asks, Horizon::Path, &sampling(), &Silent).unwrap();
    let answers: Vec<Vec<u64>> = proposals
        .iter()
        .map(|of_ask| of_ask.iter().map(|p| p.final_answer.parse().unwrap()).collect())
        .collect();
    assert_eq!(answers, seeds);
}

/// Log-probabilities as a server sends them: -1, -2, -3 and so on.
fn logprobs(tokens: &[&str]) -> Value {
    let content: Vec<_> = tokens
        .iter()
        .enumerate()
        .map(|(place, token)| json!({"token": token, "logprob": -(place as f64) - 1.0, "bytes": token.as_bytes()}))
        .collect();
    json!({"content": content})
}

#[test]
fn logprobs_are_laid_along_the_steps() {
    let server = Server::start(|_, _| {
        let logprobs = logprobs(&["48", "/2", "=24", "\n", "24", "+1", "\n", "####", " 25", "<eos>"]);
        special("48/2=24\n24+1\n#### 25", 11, &json!({"logprobs": logprobs}))
    });
    let proposal = propose(&server, |_, _| (), Horizon::Path, &[], &[1]).remove(0);
    assert_eq!(
        proposal.steps.iter().map(|step| (step.tokens, step.logprob)).collect::<Vec<_>>(),
        [(4, -10.0), (3, -18.0)]
    );
    assert_eq!((proposal.tokens, proposal.final_answer.as_str()), (11, "25"));
}

#[test]
fn what_was_taken_back_counts_in_the_proposal_alone() {
    let server = Server::start(|_, _| {
        let logprobs =
            logprobs(&["48", "*2", "=96", "\n", "undo", "\n", "48/2", "=24", "\n", "####", " 24", "<eos>"]);
        special("48*2=96\nundo\n48/2=24\n#### 24", 12, &json!({"logprobs": logprobs}))
    });
    let proposal = propose(&server, |_, _| (), Horizon::Path, &[], &[1]).remove(0);
    assert_eq!(
        (texts(&proposal), proposal.final_answer.as_str(), proposal.tokens),
        (vec!["48/2=24"], "24", 12)
    );
    assert_eq!((proposal.steps[0].tokens, proposal.steps[0].logprob), (3, -24.0));
    let server = Server::start(|_, _| completion(&["48*2=96\nundo\nundo\n48/2=24\n#### 24"], 12));
    let proposal = propose(&server, |_, _| (), Horizon::Path, &[], &[1]).remove(0);
    assert_eq!(proposal, Proposal { tokens: 12, ..Proposal::default() });
}

#[test]
fn logprobs_give_the_shares_of_several_samples() {
    let server = Server::start(|_, _| {
        let (mut one, mut two) = (choice(0, "a b c\n#### 1"), choice(1, "#### 2"));
        one["logprobs"] = logprobs(&["a", " b", " c", "\n", "####", " 1"]);
        two["logprobs"] = logprobs(&["####", " 2"]);
        Answer::Http(200, "", json!({"choices": [two, one], "usage": {"completion_tokens": 10}}).to_string())
    });
    let proposals = propose(&server, |_, _| (), Horizon::Path, &[], &[1, 2]);
    assert_eq!(
        proposals.iter().map(|p| (p.final_answer.as_str(), p.tokens)).collect::<Vec<_>>(),
        [("1", 7), ("2", 3)]
    );
}

#[test]
fn without_logprobs_tokens_follow_the_characters() {
    let server = Server::start(|_, _| completion(&["1+1=2\n\n1+1+1+1+1+1=6\nso"], 31));
    let proposal = propose(&server, |_, _| (), Horizon::Path, &[], &[1]).remove(0);
    assert_eq!(texts(&proposal), ["1+1=2", "1+1+1+1+1+1=6", "so"]);
    let tokens: Vec<_> = proposal.steps.iter().map(|step| step.tokens).collect();
    assert_eq!((tokens.iter().sum::<u32>(), proposal.tokens), (31, 31));
    assert!(tokens[1] > tokens[0] && tokens[0] > tokens[2], "{tokens:?}");
}

#[test]
fn the_calculator_fills_in_results() {
    // Says that it stopped at `=`; says nothing; says that it is done.
    let server = Server::start(|number, _| match number {
        0 => special("48/2", 3, &json!({"stop_reason": "="})),
        1 => completion(&["\nthen 24+1 "], 5),
        2 => special("\n#### 25", 4, &json!({"stop_reason": null})),
        _ => panic!("asked too often"),
    });
    let proposal = propose(&server, calculator, Horizon::Path, &[], &[5]).remove(0);
    let filled = datasets::expr::calculator("48/2=24\nthen 24+1 =").unwrap_or_default();
    assert_eq!(texts(&proposal), ["48/2=24".to_owned(), format!("then 24+1 ={filled}")]);
    // Twelve of the server's, and the characters of the calculator's.
    assert_eq!((proposal.final_answer.as_str(), proposal.tokens), ("25", 14 + filled.len() as u32));
    let seen = server.seen();
    assert_eq!(
        (&seen[0].body["stop"], &seen[0].body["max_tokens"], &seen[0].body["n"]),
        (&json!(["="]), &json!(64), &Value::Null)
    );
    assert_eq!(
        (&seen[1].body["max_tokens"], last_message(&server, 1)),
        (&json!(59), ("assistant".to_owned(), "48/2=24".to_owned()))
    );
    assert_eq!(
        (&seen[2].body["max_tokens"], last_message(&server, 2).1),
        (&json!(54 - filled.len()), format!("48/2=24\nthen 24+1 ={filled}"))
    );
    assert_ne!(seen[0].body["seed"], seen[1].body["seed"]);
}

#[test]
fn what_a_server_repeats_of_the_begun_turn_is_not_written_twice() {
    // Each answer holds the whole turn.
    let server = Server::start(|number, _| match number {
        0 => completion(&["48/2 "], 3),
        1 => completion(&["48/2 =24\n24+1 "], 5),
        2 => completion(&["48/2 =24\n24+1 =25\n#### 25"], 4),
        _ => panic!("asked too often"),
    });
    let proposal = propose(&server, calculator, Horizon::Path, &[], &[5]).remove(0);
    let steps: Vec<String> = texts(&proposal).iter().map(|step| step.replace(' ', "")).collect();
    assert_eq!(
        (steps, proposal.final_answer.as_str()),
        (vec!["48/2=24".to_owned(), "24+1=25".to_owned()], "25")
    );
}

#[test]
fn the_calculator_leaves_alone_what_it_cannot_read() {
    let server = Server::start(|number, _| match number {
        0 => special("x ", 2, &json!({"matched_stop": "="})),
        1 => special(" 3 apples\n#### 3\nQuestion: what", 9, &json!({"matched_stop": 151645})),
        _ => panic!("asked too often"),
    });
    let proposal = propose(&server, calculator, Horizon::Path, &[], &[5]).remove(0);
    assert_eq!((texts(&proposal), proposal.final_answer.as_str()), (vec!["x = 3 apples"], "3"));
    assert_eq!(last_message(&server, 1).1, "x =");
}

#[test]
fn max_tokens_holds_for_all_requests_of_a_sample() {
    // A server that counts nothing and always stops at `=`.
    let server = Server::start(|_, _| special("", 0, &json!({"stop_reason": "="})));
    let proposal = propose(
        &server,
        |_, sampling| (sampling.calculator, sampling.max_tokens) = (true, 5),
        Horizon::Path,
        &[],
        &[5],
    )
    .remove(0);
    assert_eq!((server.count(), proposal.tokens), (5, 5));
    // The context is full in the middle of a sample: it ends there.
    let server = Server::start(|number, _| match number {
        0 => special("48/2", 3, &json!({"stop_reason": "="})),
        _ => Answer::Http(400, "", json!({"error": {"message": "maximum context length is 10"}}).to_string()),
    });
    assert_eq!(texts(&propose(&server, calculator, Horizon::Path, &[], &[5]).remove(0)), ["48/2=24"]);
}

#[test]
fn one_step_ends_at_the_line() {
    let server = Server::start(|number, _| match number {
        0 => completion(&["24+1"], 3),
        1 => completion(&[""], 1),
        _ => panic!("asked too often"),
    });
    let change = |config: &mut EndpointConfig, sampling: &mut Sampling| {
        config.prefill = Prefill::Vllm;
        sampling.calculator = true;
    };
    let proposal = propose(&server, change, Horizon::Step, &["48/2=24"], &[5]).remove(0);
    assert_eq!((texts(&proposal), proposal.steps[0].tokens, proposal.tokens), (vec!["24+1=25"], 6, 6));
    let body = &server.seen()[0].body;
    assert_eq!(
        (&body["stop"], &body["continue_final_message"], &body["add_generation_prompt"]),
        (&json!(["\n", "="]), &json!(true), &json!(false))
    );
    assert_eq!(last_message(&server, 0), ("assistant".to_owned(), "48/2=24\n".to_owned()));
    assert_eq!(last_message(&server, 1).1, "48/2=24\n24+1=25");

    // A server that knows no stop strings.
    let server = Server::start(|_, _| completion(&["1+1=2\n2+2=4\n#### 4"], 9));
    let proposal = propose(&server, |_, _| (), Horizon::Step, &[], &[5]).remove(0);
    assert_eq!((texts(&proposal), proposal.final_answer.as_str()), (vec!["1+1=2"], ""));

    // A chat template that drops the newline behind the given step.
    let server = Server::start(|number, _| completion(&[["", "\n#### 24\nand"][number]], 4));
    let proposal = propose(&server, |_, _| (), Horizon::Step, &["48/2=24"], &[5]).remove(0);
    assert_eq!((texts(&proposal), proposal.final_answer.as_str(), proposal.tokens), (vec![], "24", 8));
    assert_eq!(server.seen()[1].body["stop"], Value::Null);
}
