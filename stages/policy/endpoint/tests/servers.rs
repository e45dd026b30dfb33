//! The habits of servers, one after the other: each gives the answer that it means, or says what is wrong.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use super::server::{Seen, choice, special};
use super::*;

/// Draws two paths from a server; each of them should be `48/2=24` with 24 as the answer.
fn two(
    script: impl Fn(usize, &Seen) -> Answer + Send + Sync + 'static,
) -> (Vec<Proposal>, Vec<Value>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(script);
    let (problem, notes) = (problem("48/2?"), Notes::default());
    let asks = [Ask { problem: &problem, steps: &[], seeds: &[1, 2] }];
    let mut endpoint = endpoint(config(&server.url), folder.path());
    let drawn = endpoint.propose(&asks, Horizon::Path, &sampling(), &notes).unwrap().remove(0);
    let sent = server.seen().into_iter().map(|seen| seen.body).collect();
    (drawn, sent, notes.0.into_inner().unwrap())
}

const TEXT: &str = "48/2=24\n#### 24";

fn body() -> Value {
    json!({"choices": [choice(0, TEXT), choice(1, TEXT)], "usage": {"completion_tokens": 18}})
}

fn told(body: &Value) -> Answer {
    Answer::Http(200, "", body.to_string())
}

/// A body whose choices are changed.
fn with(change: impl Fn(&mut Value)) -> Value {
    let mut body = body();
    body["choices"].as_array_mut().unwrap().iter_mut().for_each(change);
    body
}

fn contents(content: &Value) -> Value {
    with(|choice| choice["message"]["content"] = content.clone())
}

#[track_caller]
fn right(drawn: &[Proposal]) {
    assert_eq!(drawn.len(), 2);
    for proposal in drawn {
        let steps: Vec<&str> = proposal.steps.iter().map(|step| step.text.as_str()).collect();
        assert_eq!((steps, proposal.final_answer.as_str()), (vec!["48/2=24"], "24"));
        assert_eq!((proposal.tokens, proposal.end), (9, End::Complete));
    }
}

#[test]
fn an_answer_has_many_forms() {
    let parts = json!([
        {"type": "thinking", "thinking": [{"type": "text", "text": "1+1=3"}]},
        {"type": "text", "text": "48/2=24\n"},
        {"type": "text", "text": "#### 24"},
    ]);
    let plain = with(|choice| {
        choice["text"] = choice["message"]["content"].take();
        choice["message"] = Value::Null;
    });
    let unnumbered = with(|choice| drop(choice.as_object_mut().unwrap().shift_remove("index")));
    let same = with(|choice| choice["index"] = json!(0));
    let mut float = body();
    float["usage"]["completion_tokens"] = json!(18.0);
    let unknown = json!({"content": [{"token": TEXT, "logprob": null, "bytes": null}]});
    for body in [
        body(),
        contents(&parts),
        contents(&json!([{"type": "text", "text": TEXT}])),
        contents(&json!("48/2=24\r\n#### 24\r\n")),
        contents(&json!(format!("\n\n{TEXT}"))),
        contents(&json!(format!("assistant\n\n{TEXT}"))),
        contents(&json!(format!("{TEXT}<|eot_id|>"))),
        contents(&json!(format!("```\n{TEXT}\n```"))),
        contents(&json!(format!("{TEXT}<|im_end|>\n"))),
        contents(&json!(format!("{TEXT}\n{}", "x".repeat(200_000)))),
        contents(&json!(format!("{TEXT}\n\nQuestion: 1+1?\n1+1=2\n#### 2"))),
        plain,
        unnumbered,
        same,
        float,
        with(|choice| choice["logprobs"] = unknown.clone()),
    ] {
        let said = body.to_string();
        let (drawn, ..) = two(move |_, _| told(&body));
        right(&drawn);
        assert!(drawn[0].steps[0].logprob.is_nan(), "{}", &said[..said.len().min(300)]);
    }
}

#[test]
fn log_probabilities_that_say_nothing_are_unknown() {
    let token =
        |token: &str, logprob: f64| json!({"token": token, "logprob": logprob, "bytes": token.as_bytes()});
    for tokens in [
        json!([token(TEXT, -9999.0)]),
        json!([token("", -0.5), token("", -0.5)]),
        json!([token("48/2=24 \u{fffd}", -0.5), token("\n#### 24", -0.5)]),
    ] {
        let body = with(|choice| choice["logprobs"] = json!({"content": tokens}));
        let (drawn, ..) = two(move |_, _| told(&body));
        right(&drawn);
        assert!(drawn[0].steps[0].logprob.is_nan(), "{tokens}");
    }
}

#[test]
fn bytes_are_decoded() {
    let text = body().to_string();
    let (mut gzip, mut deflate) =
        (GzEncoder::new(Vec::new(), Compression::fast()), ZlibEncoder::new(Vec::new(), Compression::fast()));
    gzip.write_all(text.as_bytes()).unwrap();
    deflate.write_all(text.as_bytes()).unwrap();
    let nan = text.replace("\"completion_tokens\"", "\"junk\": NaN, \"completion_tokens\"");
    for (headers, bytes) in [
        ("Content-Encoding: gzip\r\n", gzip.finish().unwrap()),
        ("Content-Encoding: deflate\r\n", deflate.finish().unwrap()),
        ("", [b"\xef\xbb\xbf", text.as_bytes()].concat()),
        ("", format!("\n\n  \n{text}\n\n").into_bytes()),
        ("", nan.into_bytes()),
    ] {
        let (drawn, ..) = two(move |_, _| Answer::Bytes(200, headers, bytes.clone()));
        right(&drawn);
    }
    let latin = text.replace("48/2=24\\n", "48/2=24 caf\u{e9}\\n");
    let latin: Vec<u8> = latin.chars().map(|c| c as u8).collect();
    let (drawn, ..) = two(move |_, _| Answer::Bytes(200, "", latin.clone()));
    assert_eq!(drawn[0].steps[0].text, "48/2=24 café");

    let mut gone = GzEncoder::new(Vec::new(), Compression::fast());
    gone.write_all(br#"{"error": {"message": "no model m", "code": "model_not_found"}}"#).unwrap();
    let gone = gone.finish().unwrap();
    let (result, _) =
        try_path(move |_| Answer::Bytes(404, "Content-Encoding: gzip\r\n", gone.clone()), |_| ());
    assert!(matches!(fault(result), EndpointError::NotFound { message, .. } if message == "no model m"));
}

#[test]
fn what_may_pass_is_tried_again_in_all_its_clothes() {
    for wrong in [
        json!({"choices": null, "error": {"message": "Provider returned error", "code": 429}}),
        json!({"error": {"message": "Rate limit exceeded", "code": "429"}}),
        json!({"error": {"message": "Overloaded", "type": "overloaded_error"}}),
        json!({"error": {"message": "slow", "type": "requests", "code": "rate_limit_exceeded"}}),
        json!({"object": "error", "message": "Too many requests", "code": 429}),
        json!({"choices": [], "usage": {"completion_tokens": 0}}),
        with(|choice| choice["finish_reason"] = json!("error")),
        with(|choice| choice["error"] = json!({"code": 502, "message": "upstream"})),
    ] {
        let (drawn, sent, _) = two(move |number, _| if number < 2 { told(&wrong) } else { told(&body()) });
        right(&drawn);
        assert_eq!((sent.len(), &sent[0]), (3, &sent[2]));
    }
    // One of two choices is an error: it alone is asked for again.
    let mut half = body();
    half["choices"][0]["finish_reason"] = json!("error");
    half["usage"]["completion_tokens"] = json!(9);
    let (drawn, sent, _) =
        two(move |number, _| if number == 0 { told(&half) } else { special(TEXT, 9, &json!({})) });
    right(&drawn);
    assert_eq!((sent.len(), &sent[1]["n"], &sent[1]["seed"]), (2, &Value::Null, &json!(2)));
}

#[test]
fn a_refused_field_is_left_out_from_then_on() {
    let refusal = |field: &'static str| {
        let message = format!("Unsupported parameter: '{field}' is not supported with this model.");
        Answer::Http(400, "", json!({"error": {"message": message, "param": field}}).to_string())
    };
    for (field, instead) in [
        ("logprobs", ""),
        ("seed", ""),
        ("top_p", ""),
        ("temperature", ""),
        ("max_tokens", "max_completion_tokens"),
    ] {
        let (drawn, sent, notes) =
            two(move |_, seen| if seen.body.get(field).is_some() { refusal(field) } else { told(&body()) });
        right(&drawn);
        assert_eq!(sent.len(), 2);
        assert!(
            sent[1].get(field).is_none()
                && sent[1].as_object().unwrap().len() >= sent[0].as_object().unwrap().len() - 1
        );
        assert!(instead.is_empty() || sent[1][instead] == sent[0][field], "{field}");
        assert!(notes.iter().any(|note| note.contains(&format!("`{field}`"))), "{notes:?}");
    }
    // Without `n`, samples are asked for one by one, and the next question at once.
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|_, seen| {
        if seen.body.get("n").is_some() {
            Answer::Http(400, "", json!({"error": {"message": "n must be 1"}}).to_string())
        } else {
            special(TEXT, 9, &json!({}))
        }
    });
    let mut endpoint = endpoint(config(&server.url), folder.path());
    right(&paths(&mut endpoint, &[1, 2]).unwrap());
    right(&paths(&mut endpoint, &[3, 4]).unwrap());
    let n: Vec<bool> = server.seen().iter().map(|seen| seen.body.get("n").is_some()).collect();
    assert_eq!(n, [true, false, false, false, false]);
    // A template without a system turn.
    let (drawn, sent, _) = two(|_, seen| {
        if seen.body["messages"][0]["role"] == "system" {
            let message = "Conversation roles must alternate user/assistant/user/assistant/...";
            Answer::Http(400, "", json!({"object": "error", "message": message, "code": 400}).to_string())
        } else {
            told(&body())
        }
    });
    right(&drawn);
    assert_eq!(sent[1]["messages"][0], json!({"role": "user", "content": "Solve.\n\n1+1?"}));
}

#[test]
fn samples_without_a_seed_on_the_wire_are_still_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|number, _| special(&format!("#### {number}"), 9, &json!({})));
    let omit = ["max_tokens", "seed", "temperature", "top_p"].map(str::to_owned).to_vec();
    let config = EndpointConfig { omit, use_n: false, concurrency: 1, ..config(&server.url) };
    let answers = |config: &EndpointConfig| -> Vec<String> {
        let drawn = paths(&mut endpoint(config.clone(), folder.path()), &[1, 2]).unwrap();
        drawn.into_iter().map(|proposal| proposal.final_answer).collect()
    };
    let first = answers(&config);
    assert_ne!(first[0], first[1]);
    assert_eq!((answers(&config), server.count()), (first, 2));
    let sent: Vec<String> = server.seen()[0].body.as_object().unwrap().keys().cloned().collect();
    assert_eq!(sent, ["logprobs", "messages", "model"]);
    // Under its other name the limit is no other request.
    let renamed =
        EndpointConfig { max_tokens_field: MaxTokens::MaxCompletionTokens, omit: Vec::new(), ..config };
    answers(&renamed);
    assert_eq!(server.seen()[2].body["max_completion_tokens"], 64);
    answers(&EndpointConfig { max_tokens_field: MaxTokens::MaxTokens, ..renamed });
    assert_eq!(server.count(), 4);
}

#[test]
fn a_server_that_does_not_go_on_with_a_begun_answer_says_how_to_ask() {
    let (folder, notes) = (tempfile::tempdir().unwrap(), Notes::default());
    let server = Server::start(|_, seen| {
        if seen.body["messages"].as_array().unwrap().last().unwrap()["role"] != "assistant" {
            return special("48/2", 3, &json!({"stop_reason": "="}));
        }
        let error =
            json!({"code": 400, "message": "Assistant response prefill is incompatible with thinking."});
        Answer::Http(400, "", json!({ "error": error }).to_string())
    });
    let problem = problem("48/2?");
    let asks = [Ask { problem: &problem, steps: &[], seeds: &[1] }];
    let sampling = Sampling { calculator: true, ..sampling() };
    let drawn = endpoint(config(&server.url), folder.path()).propose(&asks, Horizon::Path, &sampling, &notes);
    assert_eq!(drawn.unwrap()[0][0].end, End::Failed);
    let notes = notes.0.into_inner().unwrap();
    assert!(notes.iter().any(|note| note.contains("set search.calculator = false")), "{notes:?}");
}

#[test]
fn what_is_no_completion_is_told_with_advice() {
    let queued = try_path(|_| Answer::Http(202, "", json!({"status": "queued"}).to_string()), |_| ()).0;
    let said = fault(queued).to_string();
    assert!(said.contains("202") || said.contains("queued"), "{said}");
    // LM Studio answers a wrong path with a success and words.
    let wrong = json!({"error": "Unexpected endpoint or method. (POST /chat/completions)"}).to_string();
    let error = fault(try_path(move |_| Answer::Http(200, "", wrong.clone()), |_| ()).0);
    assert!(!error.is_temporary() && error.to_string().contains("Unexpected endpoint"), "{error}");
}
