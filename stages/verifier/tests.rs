//! Commands that answer, and commands that do all that they should not. They are shell scripts, whose `read`
//! takes a line at a time.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use datasets::Domain;
use datasets::domains::compiled;
use datasets::domains::math::Math;
use datasets::types::{FaultKind, StepCheck, Verdict};

use super::*;
use crate::command::{CommandConfig, Sandbox, program};

/// A folder with a script, and what was said about it.
struct World {
    folder: tempfile::TempDir,
    config: CommandConfig,
    said: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

/// What all scripts begin with: `finds TEXT` says whether the question has it.
const BEGIN: &str = r#"
finds() { case "$line" in *"$1"*) return 0;; esac; return 1; }
say() { printf '%s\n' "$1"; }
"#;

impl World {
    /// A script whose body judges each `$line`.
    fn of(body: &str) -> Self {
        Self::script(&format!("{BEGIN}\nwhile read -r line; do\n{body}\ndone\n"))
    }

    fn script(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("check.sh");
        std::fs::write(&script, text).unwrap();
        let words = vec!["sh".to_owned(), script.to_str().unwrap().to_owned()];
        let config =
            CommandConfig { words, workers: 2, timeout_s: 60.0, memory_mb: 0, sandbox: Sandbox::Off };
        Self { folder, config, said: Arc::default(), stop: Arc::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn lines(&self, name: &str) -> usize {
        std::fs::read_to_string(self.path(name)).map_or(0, |text| text.lines().count())
    }

    fn domains(&self) -> Domains {
        let hear = |mark: &'static str| {
            let said = Arc::clone(&self.said);
            Box::new(move |line: &str| said.lock().unwrap().push(format!("{mark}{line}")))
        };
        let stop = Arc::clone(&self.stop);
        let host = Host {
            log: hear(""),
            warn: hear("warn: "),
            cancelled: Box::new(move || stop.load(SeqCst)),
            secrets: vec!["QSTILL_TEST_SECRET".to_owned()],
        };
        let inputs = CommandInputs::of(self.config.clone(), VERSION).unwrap();
        domains(compiled(), &inputs, Some(&self.path("answers")), host).unwrap()
    }

    fn says(&self, part: &str) -> bool {
        self.said.lock().unwrap().iter().any(|line| line.contains(part))
    }
}

fn problem(question: &str) -> Problem {
    Problem { domain: "math".into(), question: question.into(), answer: "7".into(), ..Problem::default() }
}

fn judge(domains: &Domains, question: &str, answer: &str) -> (Verdict, String) {
    let problem = problem(question);
    let judged = domains.of(&problem).unwrap().verify(&problem, &["3+4=7".to_owned()], answer);
    (judged.verdict, judged.reason)
}

/// The reason of a command that fails for `bad`, after it has judged another question and before a third.
fn reason(world: &World) -> String {
    let domains = world.domains();
    assert_eq!(judge(&domains, "first", "7"), (Verdict::Correct, "correct".into()));
    let (verdict, reason) = judge(&domains, "bad", "7");
    assert_eq!(verdict, Verdict::Undecidable);
    assert_eq!(judge(&domains, "third", "8"), (Verdict::Wrong, "wrong_answer".into()));
    assert_eq!(domains.sound(), Ok(()));
    reason
}

/// Judges all but `bad` questions as it should.
fn failing(bad: &str) -> World {
    World::of(&format!(
        r#"if finds '"problem":"bad"'; then {bad}
        elif finds '"final_answer":"7"'; then say '{{"verdict": "correct"}}'
        else say '{{"verdict": "wrong"}}'; fi"#
    ))
}

#[test]
fn a_question_has_all_that_is_known() {
    let world = World::of("say \"$line\" >> \"$(dirname \"$0\")/asked\"; say '{\"verdict\": \"correct\"}'");
    let domains = world.domains();
    let problem = Problem { meta: r#"{"row": 3}"#.into(), ..problem("How\nmany?") };
    let steps = ["a = \"x\"".to_owned(), "b\n  c".to_owned()];
    domains.of(&problem).unwrap().verify(&problem, &steps, "é 7");
    let asked = std::fs::read_to_string(world.path("asked")).unwrap();
    let mut asked: serde_json::Value = serde_json::from_str(&asked).unwrap();
    assert_eq!(asked["id"].take().as_str().map(str::len), Some(16));
    assert_eq!(
        asked,
        serde_json::json!({
            "id": null, "problem": "How\nmany?", "gold": "7", "meta": {"row": 3},
            "solution": {"steps": steps, "text": "a = \"x\"\nb\n  c", "final_answer": "é 7"},
        })
    );
}

#[test]
fn an_answer_has_reasons_steps_and_a_score() {
    let body = r#"id=${line#*'"id":"'}; id=${id%%'"'*}
        rest='"reason": "Tests failed: 3 of 4", "steps": [false], "score": 0.25'
        say '{"id": "'$id'", "verdict": "correct", '"$rest"'}'"#;
    let world = World::of(body);
    let problem = problem("q");
    let domains = world.domains();
    let domain = domains.of(&problem).unwrap();
    let judged = domain.verify(&problem, &["3+4=8".to_owned()], "7");
    assert_eq!((judged.verdict, judged.reason.as_str()), (Verdict::Correct, "tests_failed"));
    assert_eq!((judged.checks, judged.first_wrong), (vec![StepCheck::False], Some(0)));
    assert_eq!((judged.faults[0].kind, judged.score), (FaultKind::WrongStep, Some(0.25)));
    assert_eq!(domain.score(&problem, &["3+4=8".to_owned()], "7"), Some(0.25));
    assert_eq!((domain.name(), domain.version()), ("math", Math.version()));
    assert_eq!(domain.check_step(&problem, &[], "1+1=3"), StepCheck::Prose);
}

#[test]
fn what_is_no_answer_is_undecidable_and_started_anew() {
    for bad in [
        "say 'looks fine to me'",
        "say '[1]'",
        "say '{\"reason\": \"x\"}'",
        "say '{\"verdict\": \"maybe\"}'",
        "say '{\"verdict\": \"correct\", \"score\": 1.5}'",
        "say '{\"verdict\": \"correct\", \"steps\": [true, true]}'",
        "say '{\"verdict\": \"correct\", \"reason\": 3}'",
        "say '{\"verdict\": \"correct\", \"id\": \"0123456789abcdef\"}'",
        "head -c 3000000 /dev/zero | tr '\\0' x",
    ] {
        let world = failing(bad);
        assert_eq!(reason(&world), "verifier_unreadable", "{bad}");
        assert!(world.says("warn: verify.command gave a line that is no answer"), "{:?}", world.said);
    }
}

#[test]
fn an_end_is_undecidable_with_its_last_words() {
    let world = failing("printf 'Trace\\033[31mback: no module\\n' >&2; exit 3");
    assert_eq!(reason(&world), "verifier_died");
    assert!(world.says("verify.command says: Traceback: no module"), "{:?}", world.said);
    assert!(world.says("ended without an answer (exit status: 3): Traceback: no module (problem"));
    assert_eq!(reason(&failing("exec 1>&-; while :; do read -r x <&2 || :; done")), "verifier_died");
    // Killed from outside, and told so by its own words.
    assert_eq!(reason(&failing("kill -9 $$")), "verifier_memory");
    assert_eq!(reason(&failing("say MemoryError >&2; exit 1")), "verifier_memory");
}

#[test]
fn memory_is_limited() {
    let mut world = failing("head -c 200000000 /dev/zero | tail -c 150000000 > /dev/null || exit 1");
    world.config.memory_mb = 64;
    assert_eq!(reason(&world), "verifier_memory", "{:?}", world.said);
}

#[test]
fn what_hangs_is_killed_with_all_that_it_started() {
    let mut world =
        failing("(echo $$ > \"$(dirname \"$0\")/pid\"; while :; do read -r x </dev/zero; done) & wait");
    world.config.timeout_s = 1.5;
    let domains = world.domains();
    assert_eq!(judge(&domains, "bad", "7").1, "verifier_timeout");
    assert!(world.says("gave no answer within 1.5 s"), "{:?}", world.said);
    // The group has the number of its leader; what is left of it is only what the system has yet to clear.
    let pid: i32 = std::fs::read_to_string(world.path("pid")).unwrap().trim().parse().unwrap();
    let group = nix::unistd::Pid::from_raw(pid);
    let gone = || nix::sys::signal::killpg(group, None).is_err();
    while !gone() {
        std::thread::yield_now();
    }
}

#[test]
fn a_failure_counts_only_where_a_fresh_process_shows_it() {
    // Every process ends at its second question, and one question ends each.
    let world = World::of(
        r#"say x >> "$(dirname "$0")/asked"; n=$((n + 1)); [ $n = 1 ] || exit 1
        say '{"verdict": "correct"}'"#,
    );
    let domains = world.domains();
    for question in ["a", "b", "c", "d"] {
        assert_eq!(judge(&domains, question, "7").0, Verdict::Correct);
    }
    assert_eq!(world.lines("asked"), 7, "all but the first are asked twice");
}

#[test]
fn nothing_is_asked_twice_but_failures_of_earlier_processes() {
    let world = World::of(
        r#"say x >> "$(dirname "$0")/asked"; finds '"problem":"bad"' && exit 1
        say '{"verdict": "wrong", "score": 0.5}'"#,
    );
    let ask = |domains: &Domains| ["a", "b", "bad", "a"].map(|question| judge(domains, question, "7"));
    let domains = world.domains();
    let first = ask(&domains);
    // The bad question was asked of a process that had answered, and of a fresh one.
    assert_eq!((world.lines("asked"), ask(&domains) == first, world.lines("asked")), (4, true, 4));
    drop(domains);
    let again = world.domains();
    assert_eq!((ask(&again) == first, world.lines("asked")), (true, 5));
    // Another limit, or another content of the script, is another command.
    let mut other = World { config: world.config.clone(), ..world };
    other.config.timeout_s += 1.0;
    ask(&other.domains());
    assert!(other.lines("asked") > 5);
    let name = CommandInputs::of(other.config.clone(), VERSION).unwrap().name();
    std::fs::write(&other.config.words[1], "exit 1").unwrap();
    assert_ne!(CommandInputs::of(other.config.clone(), VERSION).unwrap().name(), name);
}

#[test]
fn many_are_judged_at_once_and_alike_on_any_number_of_processes() {
    let body = r#"n=${line#*'"problem":"'}; n=${n%%'"'*}
        say "$$" >> "$(dirname "$0")/asked"
        if [ $((n % 3)) = 0 ]; then say '{"verdict": "correct"}'; else say '{"verdict": "wrong"}'; fi"#;
    let problems: Vec<Problem> = (0..60).map(|n| problem(&(n % 40).to_string())).collect();
    let judged = |workers: usize| {
        let mut world = World::of(body);
        world.config.workers = workers;
        let domains = world.domains();
        let case = |problem| Case { problem, steps: Vec::new(), answer: "7".to_owned() };
        domains.foresee(|| problems.iter().map(case));
        let asked = world.lines("asked");
        let verdicts: Vec<Verdict> =
            problems.iter().map(|p| domains.of(p).unwrap().verify(p, &[], "7").verdict).collect();
        assert_eq!((asked, world.lines("asked")), (40, 40), "each once, and all of them beforehand");
        verdicts
    };
    let one = judged(1);
    assert_eq!(one.iter().filter(|verdict| **verdict == Verdict::Correct).count(), 21);
    assert_eq!(one, judged(4));
}

#[test]
fn a_command_that_never_answers_is_given_up() {
    let world = World::of("say 'no module named rules' >&2; exit 1");
    let domains = world.domains();
    for n in 0..7 {
        assert_eq!(judge(&domains, &n.to_string(), "7").1, "verifier_died");
        assert_eq!(domains.sound(), Ok(()));
    }
    judge(&domains, "7", "7");
    let Err(Unsound::Broken(what)) = domains.sound() else { panic!("{:?}", domains.sound()) };
    assert!(
        what.contains("answered none of 8 questions") && what.contains("no module named rules"),
        "{what}"
    );
    let warned = world.said.lock().unwrap().iter().filter(|line| line.starts_with("warn: ")).count();
    assert_eq!(warned, 4, "three of them, and that more are in the log");
}

#[test]
fn a_script_that_changes_under_a_run_ends_it() {
    let world = failing("exit 1");
    let domains = world.domains();
    judge(&domains, "first", "7");
    std::fs::write(world.path("check.sh"), "exit 0").unwrap();
    judge(&domains, "bad", "7");
    let Err(Unsound::Changed(what)) = domains.sound() else { panic!("{:?}", domains.sound()) };
    assert!(what.contains("has changed while the run used it"), "{what}");
}

#[test]
fn a_wish_to_stop_ends_the_wait_and_gives_no_verdict() {
    let world = failing("while :; do read -r x </dev/zero; done");
    world.stop.store(true, SeqCst);
    let domains = world.domains();
    judge(&domains, "bad", "7");
    assert_eq!(domains.sound(), Err(Unsound::Stopped));
    assert!(!world.says("warn: "), "{:?}", world.said);
}

#[test]
fn a_program_is_found_on_the_path_or_by_its_own() {
    assert!(program("sh").is_some_and(|path| path.ends_with("sh")));
    assert!(program("no-such-program-anywhere").is_none());
    assert!(program("./no/such/program").is_none() && program("/bin/sh").is_some());
}

#[test]
fn a_sandbox_has_no_network_and_what_there_is_is_said() {
    // Interfaces: two lines of headings, and one for each.
    let mut world = World::of(
        r#"n=$(grep -c : /proc/net/dev)
        say '{"verdict": "undecidable", "reason": "interfaces '$n'"}'"#,
    );
    let interfaces = |world: &World| judge(&world.domains(), "q", "7").1;
    let open = interfaces(&world);
    assert!(!world.says("sandbox"), "{:?}", world.said);
    world.config.sandbox = Sandbox::Auto;
    let within = interfaces(&world);
    if world.says("warn: verify.command runs in a sandbox of") {
        assert_eq!(within, "interfaces_1", "the loopback alone; outside: {open}");
        world.config.sandbox = Sandbox::Required;
        assert_eq!(interfaces(&world), "interfaces_1");
    } else {
        assert!(world.says("warn: verify.command runs without a sandbox"), "{:?}", world.said);
        assert_eq!(within, open);
        assert!(Sandbox::Required.words("verify.command", &world.config.words).is_err());
    }
}
