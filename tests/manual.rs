//! `qstill context`, `completions` and `man`: what they say is what the program takes.

use std::collections::BTreeSet;
use std::fs;

use datasets::table::TABLES;
use serde_json::Value;

use crate::kit::{World, names};

fn named(list: &Value, key: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|one| one[key].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_context_has_every_command_key_table_and_exit_code() {
    let world = World::new();
    let context = world.qstill(&["context", "--json"]).done().json();
    // Every command that the help lists, with the usage that its own help says.
    let help = world.qstill(&["--help"]).done().stdout;
    let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let listed: BTreeSet<String> = listed
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| format!("qstill {}", line.split_whitespace().next().unwrap()))
        .filter(|name| name != "qstill help")
        .collect();
    let all = named(&context["commands"], "name");
    let top: BTreeSet<String> = all.iter().filter(|name| name.matches(' ').count() == 1).cloned().collect();
    assert_eq!(top, listed);
    for command in context["commands"].as_array().unwrap() {
        let words: Vec<&str> =
            command["name"].as_str().unwrap().split(' ').skip(1).chain(["--help"]).collect();
        let help = world.qstill(&words).done().stdout;
        for argument in command["arguments"].as_array().unwrap() {
            let form = argument["form"].as_str().unwrap();
            let name = form.split([' ', '[', '=']).find(|part| part.starts_with("--")).unwrap_or(form);
            assert!(
                help.contains(name.trim_end_matches("...")),
                "`{name}` is not in the help of {words:?}:\n{help}"
            );
        }
    }
    let inspect =
        context["commands"].as_array().unwrap().iter().find(|c| c["name"] == "qstill inspect").unwrap();
    let seed =
        inspect["arguments"].as_array().unwrap().iter().find(|a| a["form"] == "--seed <SEED>").unwrap();
    assert_eq!((&seed["default"], &seed["required"]), (&"0".into(), &false.into()));

    // Every key can be set, to its default.
    let sections = context["configuration"].as_array().unwrap();
    let mut sets = vec![
        "stage".to_owned(),
        "problems".to_owned(),
        "runs/a".to_owned(),
        "--preset".to_owned(),
        "demo".to_owned(),
        "--device".to_owned(),
        "cpu".to_owned(),
    ];
    let mut keys = 0;
    for section in sections {
        for key in section["keys"].as_array().unwrap() {
            let (section, name) = (section["name"].as_str().unwrap(), key["key"].as_str().unwrap());
            assert!(key["meaning"].as_str().is_some_and(|meaning| !meaning.is_empty()), "{section}.{name}");
            sets.extend([
                "--set".to_owned(),
                format!("{section}.{name}={}", key["default"].as_str().unwrap()),
            ]);
            keys += 1;
        }
    }
    assert!(keys > 100, "{keys}");
    sets.extend(
        ["--set", "problems.train=2", "--set", "problems.validation=0", "--set", "problems.test=1"]
            .map(str::to_owned),
    );
    world.qstill(&sets).done();

    let tables: Vec<&str> = TABLES.iter().map(|table| table.name).collect();
    assert_eq!(named(&context["tables"], "name"), tables);
    let codes: Vec<u64> =
        context["exit_codes"].as_array().unwrap().iter().map(|code| code[0].as_u64().unwrap()).collect();
    assert_eq!(codes, [0, 64, 65, 70, 73, 74, 75, 130]);

    // The page says the same.
    let page = world.qstill(&["context"]).done().stdout;
    for part in all.iter().map(String::as_str).chain(tables).chain(["`samples = ", "- 130: interrupted"]) {
        assert!(page.contains(part), "`{part}` is not in the page");
    }
}

#[test]
fn completions_and_manual_pages() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = world.qstill(&["completions", shell]).done().stdout;
        assert!(script.contains("qstill") && script.contains("verify-run"), "{shell}");
    }
    assert_eq!(world.qstill(&["completions", "csh"]).code, Some(64));
    world.qstill(&["man", "pages/man1"]).done();
    let pages = names(&world.path("pages/man1"));
    assert!(
        pages.contains(&"qstill.1".to_owned()) && pages.contains(&"qstill-diff.1".to_owned()),
        "{pages:?}"
    );
    let page = fs::read_to_string(world.path("pages/man1/qstill-diff.1")).unwrap();
    assert!(page.contains("Compare two runs") && page.contains("\\-\\-limit"), "{page}");
    world.qstill(&["man", "pages/man1"]).done();
    world.write("file", "");
    world.qstill(&["man", "file"]).fails(74, &["cannot write to file"]);
}
