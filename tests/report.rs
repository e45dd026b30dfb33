//! `qstill report`: a run as one page that says what its files say, and that nothing in a run can break.

use std::collections::BTreeSet;
use std::fs;
use std::time::SystemTime;

use datasets::table::{Dropped, Node};
use datasets::types::Kept;
use serde_json::Value;

use crate::kit::{Left, Outcome, World, copy_tree, of_preset};

/// Right and wrong samples beside the enumeration, in two rounds.
const SETS: &[&str] = &[
    "run.rounds=2",
    "search.policy=rules",
    "search.samples=6",
    "search.rule_solutions=3",
    "curate.per_problem=2",
    "evaluate.samples=2",
];

/// The page of a run, and the facts that its scripts read.
fn page(left: &Left) -> (String, Value) {
    let html = fs::read_to_string(left.join("report.html")).unwrap();
    let facts = block(&html, "facts");
    (html, facts)
}

/// A block of data, as a browser reads it: up to the first end of a script.
fn block(html: &str, id: &str) -> Value {
    let (_, rest) = html.split_once(&format!("<script type=\"application/json\" id=\"{id}\">")).unwrap();
    serde_json::from_str(rest.split_once("</script").unwrap().0).unwrap()
}

#[test]
fn a_finished_run_has_its_page() {
    let world = World::new();
    world.run("a", SETS).done().says("report: runs/a/report.html");
    let left = world.left("a");
    let (html, facts) = page(&left);

    // What was measured, in the data and as a person reads it.
    let rows = left.evaluation();
    let rows = rows["rows"].as_array().unwrap();
    let measured = facts["measured"].as_array().unwrap();
    assert_eq!(measured.len(), rows.len());
    for (shown, row) in measured.iter().zip(rows) {
        assert_eq!(shown["solved"]["count"], row["solved"]);
        assert_eq!(shown["solved"]["low"], row["ci_low"]);
        let share = format!("{:.1}%", 100.0 * row["pass_at_1"].as_f64().unwrap());
        assert!(html.contains(&share), "{share} is not on the page");
    }

    // Every solution is counted once.
    for round in facts["rounds"].as_array().unwrap() {
        let stage = format!("round-{}/curate", round["round"]);
        let funnel = |name: &str| {
            let steps = round["funnel"].as_array().unwrap();
            steps.iter().find(|step| step["name"] == name).unwrap()["count"].as_u64().unwrap() as usize
        };
        let (kept, dropped): (Vec<Kept>, Vec<Dropped>) = (left.rows(&stage), left.rows(&stage));
        assert_eq!(funnel("kept"), kept.len());
        assert_eq!(funnel("solutions"), kept.len() + dropped.len());
        for reason in round["dropped"].as_array().unwrap() {
            let name = reason["name"].as_str().unwrap();
            assert_eq!(reason["count"], dropped.iter().filter(|row| row.reason == name).count(), "{name}");
            assert_ne!(reason["meaning"], "", "{name}");
        }
        let passed = funnel("no fault found");
        assert!(kept.len() <= passed && passed <= funnel("right answer"), "{round}");
    }

    // Samples are rows of the tables, of every kind.
    let kinds = facts["samples"].as_array().unwrap();
    assert_eq!(kinds[0]["kind"], "kept");
    assert!(kinds.len() > 2, "{facts}");
    for kind in kinds {
        for row in kind["rows"].as_array().unwrap() {
            let (stage, id) = (format!("round-{}/curate", row["round"]), &row["solution_id"]);
            if kind["kind"] == "kept" {
                assert!(left.rows::<Kept>(&stage).iter().any(|kept| kept.solution_id == *id));
            } else {
                let dropped = left.rows::<Dropped>(&stage);
                let dropped = dropped.iter().find(|dropped| dropped.solution_id == *id).unwrap();
                assert_eq!(kind["kind"], dropped.reason.as_str());
                assert_eq!(row["evidence"], dropped.evidence.as_str());
            }
            assert_ne!(row["question"], "");
        }
    }
    alone(&html);
    assert!(html.contains("seed = ") && html.contains("round 2 evaluate"), "configuration and provenance");
}

/// The page loads nothing, and names nothing that could be loaded.
#[track_caller]
fn alone(html: &str) {
    for part in [" src=", "href=\"http", "url(", "@import", "fetch(", "XMLHttpRequest", "import(", "<link"] {
        assert!(!html.contains(part), "`{part}` is on the page");
    }
    assert!(html.contains("default-src 'none'"));
    assert!(html.len() < 10_000_000, "{} bytes", html.len());
}

#[test]
fn the_explorer_has_the_trees_of_the_tables() {
    let world = World::new();
    world.run("a", SETS).done();
    let left = world.left("a");
    let (html, facts) = page(&left);
    let entries = facts["explorer"]["problems"].as_array().unwrap();
    assert_eq!(entries.len(), 24, "a small run is shown whole");
    assert!(html.contains("All 24 searched problems"));
    let mut shown = 0;
    for entry in entries {
        let id = entry["id"].as_str().unwrap();
        let block = block(&html, &format!("tree-{id}"));
        let text =
            |place: &Value| block["texts"][place.as_u64().unwrap() as usize].as_str().unwrap().to_owned();
        let mut kinds = BTreeSet::new();
        for round in block["rounds"].as_array().unwrap() {
            let stage = format!("round-{}/search", round["round"]);
            let nodes: Vec<Node> = left.rows(&stage);
            for tree in round["trees"].as_array().unwrap() {
                let of_tree = |node: &&Node| node.problem_id == id && tree["name"] == node.tree_id.as_str();
                let nodes: Vec<&Node> = nodes.iter().filter(of_tree).collect();
                let column = |name: &str| tree[name].as_array().unwrap().clone();
                let (parents, steps, status) = (column("parent"), column("step"), column("status"));
                assert_eq!((parents.len(), tree["total"].as_u64()), (nodes.len(), Some(nodes.len() as u64)));
                for (at, node) in nodes.iter().enumerate() {
                    assert_eq!(
                        (text(&steps[at]), text(&status[at])),
                        (node.step.clone(), node.status.clone())
                    );
                    let parent = parents[at].as_i64().unwrap();
                    assert!(parent < at as i64, "{tree}");
                    let parent = usize::try_from(parent).ok().map(|parent| nodes[parent].node_id);
                    assert_eq!(parent, node.parent_id);
                }
                shown += nodes.len();
            }
            let solutions = round["solutions"].as_array().unwrap();
            kinds.extend(solutions.iter().map(|solution| text(&solution["fate"])));
        }
        let listed: BTreeSet<String> =
            entry["kinds"].as_array().unwrap().iter().map(|kind| kind.as_str().unwrap().to_owned()).collect();
        assert_eq!(kinds, listed, "{entry}");
        assert_eq!(
            entry["solved"].as_bool().unwrap(),
            !kinds.is_subset(&BTreeSet::from(["not_correct".to_owned()]))
        );
    }
    let all = [1, 2].map(|round| left.rows::<Node>(&format!("round-{round}/search")).len());
    assert_eq!(shown, all[0] + all[1]);
    assert_eq!(facts["explorer"]["nodes"], shown);

    // The dearest are listed and lead to their trees.
    let dear = &facts["dearest"][0];
    let most = entries.iter().map(|entry| entry["expansions"].as_u64().unwrap()).max();
    assert_eq!(dear["expansions"].as_u64(), most);
    assert!(html.contains(&format!("href=\"#tree-{}\"", dear["id"].as_str().unwrap())));

    // Trees that were deleted to save space are missed by nothing else.
    for round in [1, 2] {
        fs::remove_dir_all(left.join(&format!("round-{round}/search"))).unwrap();
    }
    world.qstill(&["report", "runs/a"]).done();
    let (html, without) = page(&left);
    assert!(html.contains("The run has no search trees") && !html.contains("id=\"tree-"));
    assert_eq!(without["measured"], facts["measured"]);
    let kept = |of: &Value| of["rounds"][0]["funnel"].as_array().unwrap().last().unwrap()["share"].clone();
    assert_eq!(kept(&without), kept(&facts));
}

#[test]
fn values_and_comparisons_are_drawn() {
    let world = World::new();
    let puzzles =
        ["run.shard_size=40", "problems.train=120", "search.rule_solutions=16", "train.max_steps=2"];
    let sets = [&puzzles[..], &["value.model=features", "problems.validation=6"]].concat();
    world.qstill(&of_preset("countdown", "run", "a", &sets)).done();
    let bakeoff =
        ["bakeoff", "runs/a", "--policy", "rules", "--search", "best-of-n,astar", "--budgets", "4,8"];
    world.qstill(&bakeoff).done();
    world
        .qstill(&[
            "ablate",
            "runs/a",
            "--arm",
            "one",
            "--arm",
            "two:train.learning_rate=0.001",
            "--seeds",
            "2",
        ])
        .done();
    world.qstill(&["report", "runs/a"]).done();
    let left = world.left("a");
    let (html, facts) = page(&left);
    let file = |path: &str| -> Value { serde_json::from_slice(&fs::read(left.join(path)).unwrap()).unwrap() };
    let metrics = file("round-1/value-steps/metrics.json");
    assert_eq!(facts["calibrations"][0]["brier"], metrics["report"]["brier"]);
    assert_eq!(
        facts["calibrations"][0]["bins"].as_array().unwrap().len(),
        metrics["report"]["reliability"].as_array().unwrap().len()
    );
    let plot = file("round-1/bakeoff/plot.json");
    let searches = facts["bakeoffs"][0]["rows"].as_array().unwrap();
    assert_eq!(searches.len(), plot["rows"].as_array().unwrap().len());
    for (shown, row) in searches.iter().zip(plot["rows"].as_array().unwrap()) {
        assert_eq!((&shown["search"], &shown["share"]), (&row["search"], &row["share"]));
    }
    let plot = file("round-1/ablation/plot.json");
    assert_eq!(facts["ablations"][0]["arms"][1]["share"], plot["arms"][1]["share"]);
    for part in
        ["Calibration of values", "Searches compared", "Students compared, round 1", "learning_rate=0.001"]
    {
        assert!(html.contains(part), "{part}");
    }
    alone(&html);

    // A file that says something else is no empty plot.
    fs::write(left.join("round-1/bakeoff/plot.json"), "{}").unwrap();
    world.qstill(&["report", "runs/a"]).fails(65, &["plot.json cannot be read", "writes it anew"]);
}

#[test]
fn equal_runs_have_equal_pages() {
    let world = World::new();
    world.run("a", SETS).done();
    let left = world.left("a");
    let (html, _) = page(&left);
    let before = modified(&left);
    world.qstill(&["report", "runs/a"]).done();
    assert_eq!(modified(&left), before, "what is there already is not written again");
    world.qstill(&["report", "runs/a", "--out", "page.html"]).done();
    assert_eq!(fs::read_to_string(world.path("page.html")).unwrap(), html);

    // From another place, and from the start.
    copy_tree(&left.0, &world.path("there/a"));
    fs::remove_file(world.path("there/a/report.html")).unwrap();
    let said = world.qstill(&["report", "there/a"]).done();
    assert_eq!(said.stdout.trim_end(), "there/a/report.html");
    assert!(fs::read_to_string(world.path("there/a/report.html")).unwrap() == html);

    world.qstill(&["report", "runs/none"]).fails(65, &["runs/none is not a run"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_browser_is_asked_to_open_it() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    world.qstill(&of_preset("demo", "stage problems", "a", SETS)).done();
    let open = |folder: &str| {
        let mut command = world.command(&["report", "runs/a", "--open"]);
        Outcome::from(command.env("PATH", world.path(folder)).output().unwrap())
    };
    let failed = open("nowhere");
    assert_eq!(failed.code, Some(64), "{}", failed.stderr);
    assert!(
        failed.stderr.contains("`xdg-open` could not open") && world.left("a").join("report.html").exists()
    );

    fs::create_dir(world.path("bin")).unwrap();
    world.write("bin/xdg-open", "#!/bin/sh\necho \"$1\" > opened\n");
    fs::set_permissions(world.path("bin/xdg-open"), fs::Permissions::from_mode(0o755)).unwrap();
    open("bin").done();
    let opened = fs::read_to_string(world.path("opened")).unwrap();
    assert!(opened.starts_with('/') && opened.trim_end().ends_with("runs/a/report.html"), "{opened}");
}

fn modified(left: &Left) -> SystemTime {
    fs::metadata(left.join("report.html")).unwrap().modified().unwrap()
}

#[test]
fn unfinished_runs_have_as_much_of_it() {
    let world = World::new();
    let report = |part: &str| {
        world.qstill(&["report", "runs/a"]).done();
        let (html, facts) = page(&world.left("a"));
        assert!(html.contains(part), "`{part}` is not in:\n{html}");
        facts
    };
    world.qstill(&of_preset("demo", "stage problems", "a", SETS)).done();
    assert!(!world.left("a").join("report.html").exists(), "single stages write none");
    let facts = report("Nothing is searched yet");
    assert_eq!(facts["rounds"].as_array().unwrap().len(), 0);
    for stage in ["search", "verify", "curate"] {
        world.qstill(&["stage", stage, "runs/a"]).done();
        let facts = report("Nothing is evaluated yet");
        let funnel = facts["rounds"][0]["funnel"].as_array().unwrap().len();
        assert_eq!(
            funnel,
            match stage {
                "search" => 1,
                "verify" => 2,
                _ => 4,
            }
        );
    }
    assert!(report("No student is measured yet")["samples"].as_array().unwrap().len() > 1);
    world.qstill(&["stage", "train", "runs/a"]).done();
    assert_eq!(report("Training")["losses"].as_array().unwrap().len(), 1);

    // A shard that is not there yet.
    fs::remove_file(world.left("a").join("round-1/search/commits/00000.json")).unwrap();
    let before = facts["splits"].clone();
    assert_eq!(report("Funnel")["splits"], before);
}

#[test]
fn text_of_a_run_is_never_markup() {
    let world = World::new();
    let evil =
        "</script><script>window.broken=1</script><img src=x onerror=alert(1)> {{ 7*7 }} {% if %} '\"&amp;";
    let rows: Vec<(String, String)> = (3..43)
        .map(|n| {
            (
                format!("Ann has {n} apples {evil} and buys {} more. How many has she?", n + 5),
                (2 * n + 5).to_string(),
            )
        })
        .collect();
    world.write_rows("rows.jsonl", &rows);
    let sets = ["problems.source=files", "problems.files=[\"rows.jsonl\"]", "problems.train=0"];
    world.run("a", &[SETS, &sets].concat()).done();
    let (html, facts) = page(&world.left("a"));
    assert!(facts.to_string().contains("window.broken"), "the text is there");
    assert!(html.contains("&lt;script&gt;window.broken=1&lt;"), "and can be read");
    let starts: Vec<&str> =
        html.split("<script").skip(1).map(|rest| rest.split('>').next().unwrap()).collect();
    for start in &starts {
        assert!(start.contains("application/json") || start.contains("nonce="), "{starts:?}");
    }
    assert_eq!(html.matches("</script").count(), starts.len());
    assert!(!html.contains("<img") && !html.contains("{{ 7*7 }} 49") && html.contains("{{ 7*7 }}"));
}

#[test]
fn a_page_that_cannot_be_written_is_no_failed_run() {
    let world = World::new();
    fs::create_dir_all(world.path("runs/a/report.html")).unwrap();
    world.run("a", SETS).done().says("note: the run is done, but has no report: ");
    assert!(world.left("a").evaluation()["rows"].as_array().unwrap().len() > 2);
    let fails = world.qstill(&["report", "runs/a"]);
    assert_eq!(fails.code, Some(74), "{}", fails.stderr);
}
