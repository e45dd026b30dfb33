//! The same bytes whatever the threads and the order of shards, and other settings give other bytes.

use std::fs;

use crate::world::{Part, World, allow_faults, differs, each, finish, product, qstill, told};

pub fn threads_and_orders(world: &World, full: bool) -> Part {
    let orders = if full { 6 } else { 2 };
    let cases: Vec<(usize, usize)> = [1, 2, 3, 7, 16]
        .into_iter()
        .flat_map(|threads| (0..orders).map(move |order| (threads, order)))
        .collect();
    each(&cases, |_, (threads, order)| {
        let run = world.fresh();
        let mut command = qstill(&run, &[]);
        command.env("RAYON_NUM_THREADS", threads.to_string());
        let mut faults = std::env::var("QSTILL_FAULT").unwrap_or_default();
        if *order > 0 {
            faults = format!("{faults},shard-order:{order}");
            allow_faults(&run);
        }
        let said = finish(command.env("QSTILL_FAULT", faults));
        let wrong = if said.status.success() { world.compare(&run) } else { Some(told(&said)) };
        let _ = fs::remove_dir_all(&run);
        (true, wrong.map(|why| format!("{threads} threads, order {order}: {why}")))
    })
}

/// A finished run under changed settings is what a new run under them is.
pub fn changes(world: &World, _full: bool) -> Part {
    let cases = [
        "curate.per_problem=2",
        "problems.train=4",
        "train.learning_rate=0.01",
        "search.rule_expansions=40",
        "run.seed=5",
    ];
    each(&cases, |_, set| {
        let (old, new) = (world.copy(), world.fresh());
        for run in [&old, &new] {
            let said = finish(&mut qstill(run, &[set]));
            if !said.status.success() {
                return (false, Some(format!("{set}: {}", told(&said))));
            }
        }
        let wrong = differs(&product(&new), &product(&old)).map(|why| format!("{set}: {why}"));
        let _ = fs::remove_dir_all(old).and_then(|()| fs::remove_dir_all(new));
        (true, wrong)
    })
}
