//! What a model thinks is stored apart from what it says, whoever tells them apart: the server or its text.

use super::server::special;
use super::*;

const SAID: &str = "48/2=24\n#### 24";
const THOUGHT: &str = "Is it 48*2=96?\n#### 96";

/// One path of a server whose choice has these fields, of 20 tokens.
fn path(text: &str, fields: &Value) -> Proposal {
    let (text, fields) = (text.to_owned(), fields.clone());
    try_path(move |_| special(&text, 20, &fields), |_| ()).0.unwrap()
}

fn steps(proposal: &Proposal) -> Vec<&str> {
    proposal.steps.iter().map(|step| step.text.as_str()).collect()
}

#[test]
fn however_it_is_told() {
    let message = |fields: Value| {
        let mut message = json!({"role": "assistant", "content": SAID});
        message.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({ "message": message })
    };
    let part =
        |kind: &str, inner: Value| json!([{"type": kind, kind: inner}, {"type": "text", "text": SAID}]);
    let parts = json!([{"type": "text", "text": THOUGHT}]);
    let none = json!({});
    for (text, fields) in [
        (SAID.to_owned(), message(json!({"reasoning_content": THOUGHT}))),
        (SAID.to_owned(), message(json!({"reasoning": THOUGHT, "reasoning_content": null}))),
        (SAID.to_owned(), message(json!({"content": part("thinking", parts)}))),
        (SAID.to_owned(), message(json!({"content": part("reasoning", json!(THOUGHT))}))),
        (format!("<think>\n{THOUGHT}\n</think>\n\n{SAID}"), none.clone()),
        (format!("{THOUGHT}\n</think>\n\n{SAID}"), none.clone()),
        (format!("<thought>{THOUGHT}</thought>\n{SAID}"), none.clone()),
        (
            format!(
                "<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>\
                 {SAID}"
            ),
            none,
        ),
    ] {
        let found = path(&text, &fields);
        assert_eq!((steps(&found), found.final_answer.as_str()), (vec!["48/2=24"], "24"), "{text} {fields}");
        assert_eq!((found.thought.as_str(), found.end), (THOUGHT, End::Complete), "{text} {fields}");
        // Its share of the characters.
        assert!((8..=17).contains(&found.thought_tokens), "{text} {fields}: {}", found.thought_tokens);
        assert!(found.steps[0].tokens > 0 && found.thought_tokens + found.steps[0].tokens <= 20);
    }
    let plain = path(SAID, &json!({}));
    assert_eq!((plain.thought.as_str(), plain.thought_tokens), ("", 0));
}

#[test]
fn a_thought_that_is_cut_off_is_an_end_of_its_own() {
    let cut = json!({"finish_reason": "length"});
    let content = |content: Value| json!({"finish_reason": "length", "message": content});
    for (text, fields) in [
        ("<think>\nSo \\boxed{14}? Let me check", cut.clone()),
        ("", content(json!({"content": null, "reasoning_content": "So \\boxed{14}? Let me check"}))),
    ] {
        let found = path(text, &fields);
        assert_eq!((found.end, found.final_answer.as_str(), steps(&found).len()), (End::Thinking, "", 0));
        assert_eq!((found.thought.as_str(), found.thought_tokens), ("So \\boxed{14}? Let me check", 20));
    }
    // Cut off behind it, or with nothing said behind it.
    assert_eq!(path("<think>\n1+1\n</think>\n48/2=", &cut).end, End::Truncated);
    let silent = json!({"message": {"content": "", "reasoning_content": THOUGHT}});
    let found = path("", &silent);
    assert_eq!((found.end, found.thought.as_str(), found.final_answer.as_str()), (End::Empty, THOUGHT, ""));
}

#[test]
fn prompts_markers_and_stops_are_the_users() {
    let config = PromptConfig {
        instruction: "Think.".into(),
        question: "Problem: {{question}}\nGo!".into(),
        answer_markers: vec!["RESULT".into()],
        stop: vec!["Problem:".into()],
        ..PromptConfig::default()
    };
    // One server stops at the text, the other knows no stop strings.
    for text in ["48/2=24\nRESULT 24\n", "48/2=24\nRESULT 24\nProblem: 1+1?\nRESULT 2"] {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(move |_, _| completion(&[text], 9));
        let prompt = Prompt { config: config.clone(), examples: Vec::new() };
        let mut endpoint =
            Endpoint::with_key(super::config(&server.url), prompt, folder.path().to_owned(), None).unwrap();
        let found = paths(&mut endpoint, &[7]).unwrap().remove(0);
        assert_eq!((steps(&found), found.final_answer.as_str()), (vec!["48/2=24"], "24"), "{text}");
        let body = &server.seen()[0].body;
        assert_eq!(body["messages"][1]["content"], "Problem: 48/2?\nGo!");
        assert_eq!(body["stop"], json!(["Problem:"]));
    }
}

#[test]
fn a_step_goes_on_to_the_end_of_its_formula() {
    let server = Server::start(|number, _| match number {
        0 => completion(&["\\["], 1),
        1 => completion(&["48/2 = 24\n\\]\nThen"], 8),
        _ => panic!("asked too often"),
    });
    let folder = tempfile::tempdir().unwrap();
    let problem = problem("48/2?");
    let asks = [Ask { problem: &problem, steps: &[], seeds: &[5] }];
    let mut endpoint = endpoint(config(&server.url), folder.path());
    let found = endpoint.propose(&asks, Horizon::Step, &sampling(), &Silent).unwrap().remove(0).remove(0);
    assert_eq!(steps(&found), ["\\[\n48/2 = 24\n\\]"]);
    assert_eq!(server.seen()[1].body["stop"], Value::Null);
}
