//! Wrong command lines and settings: exit code 64, the key, and what was probably meant.

use crate::kit::{World, run};

#[test]
fn wrong_settings_are_named() {
    let world = World::new();
    let cases: &[(&str, &[&str])] = &[
        ("search.sample=16", &["unknown key `search.sample`", "did you mean `search.samples`?"]),
        ("serch.samples=16", &["unknown key `serch", "search"]),
        ("search.samples=many", &["`search.samples` must be a whole number of 0 or more"]),
        ("search.samples=1.5", &["`search.samples` must be a whole number of 0 or more"]),
        ("search.samples=-1", &["--set search.samples=-1", "whole number of 0 or more"]),
        ("search.algorithm=annealing", &["--set search.algorithm", "unknown variant `annealing`", "beam"]),
        ("train.batch_size=0", &["--set train.batch_size", "train.batch_size is 0", "1 or more"]),
        ("search.calculator=1", &["`search.calculator` must be true or false"]),
        ("search.policy=oracle", &["oracle", "endpoint"]),
        ("train.learning_rate=nan", &["`train.learning_rate` must be a number"]),
        ("problems.distractors=1.5", &["problems.distractors is 1.5", "share from 0 to 1"]),
        ("run.shard_size=0", &["run.shard_size is 0"]),
        ("problems.orders=2", &["problems.orders", "problems.options names no columns"]),
        ("search.top_p=0", &["search.top_p"]),
        ("train.loss=nll", &["nll", "golden"]),
        ("train.golden_share=2", &["train.golden_share is 2", "share from 0 to 1"]),
        ("train.future_weight=0", &["train.future_weight is 0"]),
        ("search.policy=teacher", &["model.teacher is empty", "search.policy"]),
        ("train.loss=distil", &["model.teacher is empty", "tokenizer"]),
        ("train.top_k=0", &["train.top_k is 0", "1 to 1024"]),
        ("train.loss=golden", &["from scratch", "train.reference", "model.path"]),
        ("train.loss=value", &["value.model is \"none\"", "set value.model"]),
        ("search.samples", &["KEY=VALUE"]),
        ("train.epochs=-1", &["train.epochs is -1", "permitted: a number above 0"]),
        ("model.heads=3", &["model.heads is 3", "permitted for model.hidden_size = 32: 1, 2, 4, 8, 16"]),
        ("model.kv_heads=3", &["model.kv_heads is 3", "permitted for model.heads = 2: 1, 2"]),
        ("model.layers=4294967296", &["model.layers is 4294967296", "permitted: 1 to 4096"]),
        ("model.hidden_size=31", &["model.hidden_size is 31", "even"]),
        ("model.vocab_size=100", &["model.vocab_size is 100", "259 to 16777216"]),
        ("train.freeze=[\"nose\"]", &["train.freeze names `nose`", "embed, head, norms, attention, mlp"]),
        ("train.freeze=[\"embed\",\"norms\",\"attention\",\"mlp\"]", &["train.freeze", "nothing to train"]),
        ("train.lora_targets=[\"nose\"]", &["train.lora_targets names `nose`", "q_proj"]),
        ("train.beta_1=7", &["train.beta_1 is 7", "from 0, below 1"]),
        ("train.clip=-3", &["train.clip is -3", "0 or more"]),
        ("tree.weights=[]", &["tree.weights", "1 or more"]),
        ("tree.c_base=0", &["tree.c_base is 0"]),
        ("curate.min_pass_rate=2", &["curate.min_pass_rate is 2"]),
        ("curate.answer_line=\"so\"", &["curate.answer_line is \"so\"", "one line with {answer}"]),
        ("prompt.answer=\"pattern\"", &["prompt.answer_pattern", "one of them is missing"]),
        ("prompt.answer_pattern=\"[a\"", &["prompt.answer_pattern", "no regular expression"]),
        ("curate.answer_line=\"perhaps {answer} or 5\"", &["no answer is read", "prompt.answer_markers"]),
        ("gate.max_length=0.5", &["gate.max_length is 0.5", "1 or more"]),
        ("problems.max_operations=9", &["problems.max_operations is 9", "to 8"]),
        ("problems.source=files", &["problems.files", "problems.train_files"]),
        ("endpoint.url=ftp://x", &["endpoint", "url", "http://"]),
        ("endpoint.concurrency=0", &["endpoint", "concurrency"]),
        ("problems.files=7", &["`problems.files` must be a list"]),
    ];
    for (set, said) in cases {
        world.run("a", &[set]).fails(64, said);
    }
    let trunk = ["train.loss=value", "value.model=trunk"];
    world.run("a", &trunk).fails(64, &["no trunk in round 1", "decoder"]);
    let outcomes = ["train.loss=value", "value.model=features", "value.levels=[\"outcome\"]"];
    world.run("a", &outcomes).fails(64, &["value.levels lacks \"steps\""]);
    assert!(!world.path("runs").exists(), "a wrong setting leaves nothing behind");
}

#[test]
fn wrong_settings_in_a_file_come_with_their_line() {
    let world = World::new();
    world.write("my.toml", "[search]\nsamples = 4\ntemprature = 0.5\n");
    world
        .qstill(&["run", "--config", "my.toml"])
        .fails(64, &["my.toml line 3", "search.temprature", "search.temperature"]);
    world.write("my.toml", "[search]\nsamples = 4\n[train]\nbatch_size = 0\n");
    world.qstill(&["run", "--config", "my.toml"]).fails(64, &["my.toml line 4: train.batch_size is 0"]);
    world.write("my.toml", "[search]\nsamples = 4\nalgorithm = \"annealing\"\n");
    world.qstill(&["run", "--config", "my.toml"]).fails(64, &["my.toml line 3", "annealing", "beam"]);
    world.write("my.toml", "[search\n");
    world.qstill(&["run", "--config", "my.toml"]).fails(64, &["my.toml line 1"]);
    world.qstill(&["run", "--config", "none.toml"]).fails(65, &["none.toml: no such file", "qstill init"]);
}

#[test]
fn prompts_that_show_no_question() {
    let world = World::new();
    for (set, said) in [
        ("prompt.question=Solve it.", "does not show the question"),
        ("prompt.question=\"{{questoin}}\"", "undefined"),
        ("prompt.stop=[\"\"]", "prompt.stop has a text that is empty"),
        ("train.thoughts=some", "train.thoughts"),
    ] {
        world.qstill(&["run", "--preset", "demo", "--set", set]).fails(64, &[said]);
    }
}

#[test]
fn wrong_commands() {
    let world = World::new();
    world.qstill(&["run", "--preset", "dmeo"]).fails(
        64,
        &[
            "there is no preset `dmeo`",
            "demo, countdown, selfplay, words, countdown4, gsm-symbolic, gsm8k, gsm8k-endpoint, \
             gsm8k-base, gsm8k-base-endpoint",
        ],
    );
    world.qstill(&["init", "--preset", "dmeo"]).fails(64, &["there is no preset `dmeo`"]);
    world.qstill(&["run"]).fails(64, &["--preset demo"]);
    world.qstill(&["resume", "nothing"]).fails(65, &["runs/nothing is not a run"]);
    world.qstill(&["status", "nothing"]).fails(65, &["runs/nothing is not a run"]);
    world.qstill(&["stage", "serch", "runs/a"]).fails(64, &["there is no stage `serch`", "search"]);
    world.qstill(&["run", "--preset", "demo", "--run", ".."]).fails(64, &["not the name of a run"]);
    let device = world.qstill(&["run", "--preset", "demo", "--device", "tpu"]);
    device.fails(64, &["tpu", "wgpu"]);
    for arguments in [&["fly"][..], &["run", "--preset"], &["run", "--fast"], &[]] {
        let outcome = world.qstill(arguments);
        assert_eq!(outcome.code, Some(64), "{outcome:?}");
        assert!(outcome.stdout.is_empty() && !outcome.stderr.contains("panic"), "{outcome:?}");
    }
    let nobody = ["search.policy=none", "search.rule_solutions=0"];
    world.qstill(&run("a", &nobody)).fails(64, &["no sampling policy", "search.rule_solutions"]);
    let scratch = ["search.policy=model", "search.rule_solutions=0"];
    world.qstill(&run("a", &scratch)).fails(64, &["no sampling policy", "model.path"]);
    let units = ["search.algorithm=beam", "tree.unit=expansions"];
    world.qstill(&run("a", &units)).fails(64, &["tree.unit", "tokens"]);
    let frozen = ["train.lora_rank=2", "train.freeze=[\"embed\"]"];
    world.qstill(&run("a", &frozen)).fails(64, &["train.freeze", "train.lora_rank"]);
    let deep = ["train.lora_rank=2", "train.freeze_layers=1"];
    world.qstill(&run("a", &deep)).fails(64, &["train.freeze_layers", "1 layers"]);
    assert!(!world.path("runs").exists(), "nothing is left behind");
}

#[test]
fn deliberate_faults_are_for_marked_runs() {
    let world = World::new();
    let said = |fault: &str, arguments: &[&str]| -> crate::kit::Outcome {
        world.command(arguments).env("QSTILL_FAULT", fault).output().unwrap().into()
    };
    said("no-fsyncs", &["run", "--preset", "demo"]).fails(64, &["QSTILL_FAULT", "`no-fsyncs`"]);
    for arguments in [&["run", "--preset", "demo"][..], &["resume", "a"], &["doctor"]] {
        said("no-fsync", arguments).fails(64, &["QSTILL_FAULT is set", "not marked", "unset"]);
    }
    assert!(!world.path("runs").exists(), "nothing is left behind");
}
