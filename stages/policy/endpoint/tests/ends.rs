//! One answer never ends a run: what becomes of a sample without one, and when there are too many.

use super::server::special;
use super::*;

/// Paths of several questions, one sample each, one request at a time; `script` gets the number in the
/// question and that of the request.
fn ask(
    questions: u64,
    script: impl Fn(u64, usize) -> Answer + Send + Sync + 'static,
    change: impl Fn(&mut EndpointConfig),
) -> (anyhow::Result<Vec<End>>, Vec<String>, usize) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(move |number, seen| {
        let question = seen.body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap();
        script(question.trim_end_matches('?').parse().unwrap(), number)
    });
    let mut config = EndpointConfig { concurrency: 1, ..config(&server.url) };
    change(&mut config);
    let problems: Vec<Problem> = (0..questions).map(|n| problem(&format!("{n}?"))).collect();
    let asks: Vec<Ask<'_>> =
        problems.iter().map(|problem| Ask { problem, steps: &[], seeds: &[7] }).collect();
    let notes = Notes::default();
    let drawn = endpoint(config, folder.path()).propose(&asks, Horizon::Path, &sampling(), &notes);
    let ends = drawn.map(|drawn| drawn.iter().map(|of| of[0].end).collect());
    (ends, notes.0.into_inner().unwrap(), server.count())
}

fn says(status: u16, error: Value) -> Answer {
    Answer::Http(status, "", json!({ "error": error }).to_string())
}

#[test]
fn a_sample_without_an_answer_says_why_and_the_others_go_on() {
    type Script = fn() -> Answer;
    let cases: [(Script, End, &str); 9] = [
        (|| says(400, json!({"code": "content_filter", "message": "unwanted"})), End::Filtered, "unwanted"),
        (
            || special("", 0, &json!({"finish_reason": "content_filter", "message": {"content": null}})),
            End::Filtered,
            "filter",
        ),
        (
            || special("", 3, &json!({"message": {"content": null, "refusal": "I \u{1b}[31mcannot."}})),
            End::Filtered,
            "(filtered: I cannot.)",
        ),
        (|| Answer::Http(200, "", json!({"choices": []}).to_string()), End::Empty, "without choices"),
        (|| special("", 1, &json!({"message": null})), End::Empty, "without text"),
        (|| special("", 9, &json!({"finish_reason": "length"})), End::Truncated, "before its first word"),
        (|| special("", 0, &json!({"error": {"code": 502}})), End::Failed, "status 502"),
        (|| says(400, json!({"message": "maximum context length is 9"})), End::Failed, "too long"),
        (|| says(500, json!({"message": "template"})), End::Failed, "status 500"),
    ];
    for (script, end, said) in cases {
        let (ends, notes, _) = ask(4, move |n, _| if n == 1 { script() } else { good() }, |_| ());
        assert_eq!(ends.unwrap(), [End::Complete, end, End::Complete, End::Complete], "{said}");
        assert!(notes.iter().any(|note| note.contains(said)), "{said}: {notes:?}");
    }
}

#[test]
fn too_many_of_them_end_the_run() {
    let filtered = |_| says(400, json!({"code": "content_filter", "message": "unwanted"}));
    let (ends, _, asked) = ask(9, move |n, _| if n < 5 { filtered(n) } else { good() }, |_| ());
    let error = ends.unwrap_err().downcast::<EndpointError>().unwrap();
    let told = error.to_string();
    assert!(
        told.contains("5 of 9 samples have no answer (5 filtered)") && told.contains("unwanted"),
        "{told}"
    );
    assert!(!error.is_temporary() && asked == 9);
    // As many as are permitted.
    let share = |config: &mut EndpointConfig| config.max_failed = 0.6;
    let (ends, notes, _) = ask(9, move |n, _| if n < 5 { filtered(n) } else { good() }, share);
    assert_eq!(ends.unwrap().iter().filter(|end| end.is_lost()).count(), 5);
    assert_eq!(notes.iter().filter(|note| note.contains("filtered")).count(), 1, "{notes:?}");
    // Of many samples it is seen before all are there, and what may pass is worth another try.
    let empty = || Answer::Http(200, "", json!({"choices": []}).to_string());
    let (ends, _, asked) = ask(200, move |_, _| empty(), |config| config.retries = 0);
    let error = ends.unwrap_err().downcast::<EndpointError>().unwrap();
    assert!(matches!(error, EndpointError::TooManyLost { temporary: true, .. }), "{error}");
    assert!(asked < 40, "{asked}");
    // Cut off is no loss, but worth a word.
    let cut = |_, _| special("1+", 9, &json!({"finish_reason": "length"}));
    let (ends, notes, _) = ask(5, cut, |_| ());
    assert_eq!(ends.unwrap(), [End::Truncated; 5]);
    assert!(notes.iter().any(|note| note.contains("5 of 5 samples were cut off")), "{notes:?}");
}

#[test]
fn a_server_is_down_where_two_requests_in_a_row_fail() {
    let broken = || says(500, json!({"message": "template"}));
    // The server answers before and in between.
    let (ends, ..) = ask(5, move |_, number| if number % 4 == 0 { good() } else { broken() }, |_| ());
    assert_eq!(ends.unwrap().iter().filter(|end| **end == End::Failed).count(), 2);
    let (ends, _, asked) = ask(9, move |_, number| if number < 3 { good() } else { broken() }, |_| ());
    let error = ends.unwrap_err().downcast::<EndpointError>().unwrap();
    assert!(matches!(error, EndpointError::Busy { status: 500, tries: 3, .. }), "{error}");
    assert_eq!(asked, 3 + 2 * 3);
    // What is rejected from the start on is the fault of the settings.
    let rejected = || says(400, json!({"message": "no such thing"}));
    let (ends, _, asked) = ask(9, move |_, _| rejected(), |_| ());
    let error = ends.unwrap_err().downcast::<EndpointError>().unwrap();
    assert!(matches!(error, EndpointError::Rejected { status: 400, .. }), "{error}");
    assert_eq!(asked, 2);
}
