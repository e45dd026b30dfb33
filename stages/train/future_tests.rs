//! Future heads in training: gradients are slopes in heads and trunk, both engines agree, and nothing depends
//! on threads or stops.

use super::batch::{Example, Target};
use super::cpu::Cpu;
use super::device::OnDevice;
use super::future::{self, FutureConfig, targets};
use super::learner::{Adam, Learner, Step};
use super::lora::Tuned;
use super::tests::{adam, config, copies, cpu, distance, fresh, setup};
use super::value::{HeadConfig, ValueLoss};
use super::{Moment, Rows, TrainConfig, Training, checkpoint, train};
use crate::events::Silent;
use crate::model::weight::Weight;
use crate::model::{Decoder, FutureHeads, ValueHead};

fn refs(examples: &[Example]) -> Vec<&Example> {
    examples.iter().collect()
}

/// Heads that are not too small to matter.
fn heads(decoder: &Decoder, count: usize) -> FutureConfig {
    let mut start = FutureHeads::random(&decoder.config, count, 5);
    start.layers.iter_mut().flatten().filter(|w| w.len() > 32).flatten().for_each(|w| *w *= 6.0);
    FutureConfig { start, weight: 0.6 }
}

fn everything(decoder: &Decoder) -> Tuned {
    Tuned::all(&decoder.config)
}

/// Rows in which tokens follow from those before.
fn counting(count: u32) -> Vec<Example> {
    (0..count)
        .map(|i| {
            let prompt: Vec<u32> = (0..2 + i % 4).map(|j| (i * 7 + j * 3) % 40 + 5).collect();
            let answer: Vec<u32> = (0..5 + i % 3).map(|j| (prompt[0] + j * 2) % 40 + 5).chain([4]).collect();
            Example::new(&prompt, &answer, 0.0, if i % 3 == 0 { 0.5 } else { 1.0 })
        })
        .collect()
}

#[test]
fn a_heads_targets_stand_so_many_tokens_further() {
    let (a, b) = (Example::new(&[5, 6, 7], &[8, 9], 0.0, 1.0), Example::new(&[5], &[8, 9], 0.0, 0.5));
    assert_eq!(targets(&[&a, &b], 0), (vec![2, 3, 4, 5], vec![8, 9, 8, 9], vec![1.0, 1.0, 0.5, 0.5]));
    // After token 6 of the first row head 1 says 8, after token 5 of the second 9.
    assert_eq!(targets(&[&a, &b], 1), (vec![1, 2, 4], vec![8, 9, 9], vec![1.0, 1.0, 0.5]));
    assert_eq!(targets(&[&a, &b], 2), (vec![0, 1], vec![8, 9], vec![1.0, 1.0]));
    assert!(targets(&[&a, &b], 5).0.is_empty());
}

#[test]
fn gradients_are_slopes_in_heads_and_trunk() {
    let (decoder, examples) = (fresh(), counting(10));
    let batch = refs(&examples);
    let config = heads(&decoder, 2);
    let objective = |values: &[Vec<f32>], layers: &[Vec<f32>]| {
        let start = FutureHeads { layers: layers.chunks_exact(6).map(<[Vec<f32>]>::to_vec).collect() };
        let config = FutureConfig { start, ..config.clone() };
        let mut engine =
            Cpu::new(&decoder.with_values(values), setup(everything(&decoder), adam(), false, None))
                .with_future(config.clone());
        let next = engine.sums(&batch, 100).0;
        next + f64::from(config.weight) * engine.future_sums(&batch, 100).0
    };
    let values: Vec<Vec<f32>> = decoder.weights().into_iter().map(Weight::values).collect();
    let layers: Vec<Vec<f32>> = config.start.layers.iter().flatten().cloned().collect();
    let mut engine =
        Cpu::new(&decoder, setup(everything(&decoder), adam(), false, None)).with_future(config.clone());
    let trunk = engine.sums(&batch, 4).2.to_vec();
    let own = engine.future_sums(&batch, 4).1.to_vec();
    let moved = |of: &[Vec<f32>], by: &[Vec<f32>], distance: f32| -> Vec<Vec<f32>> {
        of.iter().zip(by).map(|(w, g)| w.iter().zip(g).map(|(w, g)| w + distance * g).collect()).collect()
    };
    let squares = |all: &[Vec<f32>]| f64::from(all.iter().flatten().map(|g| g * g).sum::<f32>());
    let step = 5e-3;
    let slope = |at: &dyn Fn(f32) -> f64| (at(step) - at(-step)) / f64::from(2.0 * step);
    let of_trunk = slope(&|d| objective(&moved(&values, &trunk, d), &layers));
    assert!((of_trunk / squares(&trunk) - 1.0).abs() < 0.02, "trunk: {of_trunk} {}", squares(&trunk));
    // Each matrix of each head by itself.
    for i in 0..own.len() {
        let by: Vec<Vec<f32>> = own
            .iter()
            .enumerate()
            .map(|(j, g)| g.iter().map(|g| if i == j { *g } else { 0.0 }).collect())
            .collect();
        // A step of about the same length, whatever the gradient's.
        let unit = step / (squares(&by).sqrt() as f32).max(1e-6);
        let along = |d: f32| objective(&values, &moved(&layers, &by, d / step * unit));
        let found = (along(10.0 * step) - along(-10.0 * step)) / f64::from(20.0 * unit);
        assert!((found / squares(&by) - 1.0).abs() < 0.05, "head matrix {i}: {found} {}", squares(&by));
    }
    // Without heads the trunk has another gradient.
    let mut plain = Cpu::new(&decoder, setup(everything(&decoder), adam(), false, None));
    assert!(plain.sums(&batch, 100).2.iter().zip(&trunk).any(|(a, b)| distance(a, b) > 1e-3));
}

fn lora() -> TrainConfig {
    TrainConfig { lora_rank: 2, lora_targets: vec!["q_proj".into(), "down_proj".into()], ..config(1.0, 0) }
}

#[test]
fn both_engines_take_the_same_steps_with_heads_however_a_batch_is_divided() {
    let (decoder, mut examples) = (fresh(), counting(24));
    for (i, row) in examples.iter_mut().enumerate() {
        row.values.push(Target { place: 1, target: (i % 2) as f32, weight: 1.0, group: 0 });
    }
    let batch = refs(&examples);
    let frozen = TrainConfig { freeze: vec!["embed".into(), "norms".into()], ..config(1.0, 0) };
    for settings in [config(1.0, 0), lora(), frozen] {
        for valued in [false, true] {
            // A large epsilon, for AdamW's first steps divide noise by noise.
            let adam = Adam { epsilon: 1e-3, ..adam() };
            let tuned = || Tuned::of(&settings, &decoder.config, 5).unwrap();
            let head = || {
                valued.then(|| HeadConfig { loss: ValueLoss::Bce, weight: 0.5, start: ValueHead::new(32) })
            };
            let on_cpu = |recompute| {
                Cpu::new(&decoder, setup(tuned(), adam, recompute, head())).with_future(heads(&decoder, 2))
            };
            let (mut one, mut other) = (on_cpu(false), on_cpu(true));
            let mut device =
                OnDevice::new(&decoder, setup(tuned(), adam, false, head())).with_future(heads(&decoder, 2));
            for step in 0..5 {
                let (a, b) = (one.step(&batch, 10, 3e-3).unwrap(), device.step(&batch, 7, 3e-3).unwrap());
                let c = other.step(&batch, 100, 3e-3).unwrap();
                for b in [b, c] {
                    assert!(
                        (a.loss - b.loss).abs() < 1e-4 && (a.norm / b.norm - 1.0).abs() < 1e-3,
                        "step {step}: {a:?} {b:?}"
                    );
                    assert!(
                        (a.future_loss.unwrap() - b.future_loss.unwrap()).abs() < 1e-4,
                        "step {step}: {a:?} {b:?}"
                    );
                    assert_eq!(a.value_loss.is_some(), valued);
                }
            }
            let (a, b) = (one.state(), device.state());
            assert_eq!(a.slots.len(), b.slots.len());
            for (a, b) in a.slots.iter().zip(&b.slots) {
                assert_eq!(a.shape, b.shape);
                assert!(distance(&a.values, &b.values) < 1e-4 && distance(&a.first, &b.first) < 1e-4);
            }
            let (a, b) = (one.future().unwrap(), device.future().unwrap());
            assert!(
                a.layers.iter().flatten().zip(b.layers.iter().flatten()).all(|(a, b)| distance(a, b) < 1e-4)
            );
            assert!(
                a.layers
                    .iter()
                    .flatten()
                    .zip(heads(&decoder, 2).start.layers.iter().flatten())
                    .all(|(a, b)| distance(a, b) > 1e-4)
            );
            // One engine goes on from the other's state.
            let mut again = on_cpu(false);
            again.restore(device.state());
            let (a, b) = (again.step(&batch, 10, 3e-3).unwrap(), device.step(&batch, 10, 3e-3).unwrap());
            assert!((a.future_loss.unwrap() - b.future_loss.unwrap()).abs() < 1e-4, "{a:?} {b:?}");
        }
    }
}

#[test]
fn heads_have_the_same_bits_on_any_number_of_threads() {
    let (decoder, examples) = (fresh(), counting(60));
    let batch = refs(&examples);
    let run = |threads: usize| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let learner = Learner::new(&decoder, setup(everything(&decoder), adam(), false, None), &cpu());
            let mut learner = learner.with_future(Some(heads(&decoder, 3)));
            let curve: Vec<Step> = (0..3).map(|_| learner.step(&batch, 16, 1e-3).unwrap()).collect();
            (curve, learner.state())
        })
    };
    let one = run(1);
    for threads in [2, 4, 7] {
        assert!(run(threads) == one, "{threads} threads");
    }
}

#[test]
fn heads_learn_and_a_resumed_run_ends_bit_for_bit_the_same() {
    let rows = Rows { train: counting(96), validation: counting(8), too_long: 0, exact: Vec::new() };
    for settings in [config(8.0, 0), TrainConfig { epochs: 3.0, ..lora() }] {
        let config = TrainConfig { future: 2, future_weight: 0.5, checkpoint_every: 17, ..settings };
        let run = |resume, keep: &mut dyn FnMut(Moment<'_>) -> anyhow::Result<()>| {
            train(
                Training {
                    model: &fresh(),
                    head: None,
                    rows: &rows,
                    config: &config,
                    seed: 3,
                    fingerprint: "f",
                    resume,
                    own: None,
                    device: &cpu(),
                },
                &Silent,
                keep,
            )
            .unwrap()
        };
        let (dir, mut kept) = (tempfile::tempdir().unwrap(), Vec::new());
        let (mut whole, curve) = run(None, &mut |m| {
            if kept.is_empty() {
                for (name, bytes) in checkpoint::files(&m.state, &m.cursor)? {
                    std::fs::write(dir.path().join(name), bytes)?;
                }
                kept = m.losses.to_vec();
            }
            Ok(())
        });
        assert_eq!(kept.len(), 17);
        let (resumed, again) = run(Some((dir.path(), kept)), &mut |_| Ok(()));
        assert!(whole.state() == resumed.state());
        assert_eq!(whole.future(), resumed.future());
        assert_eq!((curve, whole.future().unwrap().layers.len()), (again, 2));
        if config.lora_rank == 0 {
            let batch = refs(&rows.train[..8]);
            let start = future::start(&config, &fresh().config, 3).unwrap();
            let mut untrained =
                Learner::new(&fresh(), setup(everything(&fresh()), adam(), false, None), &cpu())
                    .with_future(start);
            let (before, after) =
                (untrained.step(&batch, 8, 1e-3).unwrap(), whole.step(&batch, 8, 1e-3).unwrap());
            let (before, after) = (before.future_loss.unwrap(), after.future_loss.unwrap());
            println!("loss of the future heads {before:.3} -> {after:.3}");
            assert!(after < 0.8 * before, "{before} {after}");
        }
        // A checkpoint with heads is none of a decoder without.
        let cursor = checkpoint::cursor(dir.path()).unwrap();
        let mut plain = Learner::new(&fresh(), setup(everything(&fresh()), adam(), false, None), &cpu());
        assert!(plain.restore(checkpoint::state(dir.path(), &cursor).unwrap()).is_err());
    }
}

#[test]
fn rows_without_tokens_to_learn_leave_heads_alone() {
    let decoder = fresh();
    let silent: Vec<Example> =
        copies(8).into_iter().map(|row| Example { weights: vec![0.0; row.weights.len()], ..row }).collect();
    let mut engine =
        Cpu::new(&decoder, setup(everything(&decoder), adam(), false, None)).with_future(heads(&decoder, 2));
    let (loss, own) = engine.future_sums(&refs(&silent), 8);
    assert!(loss == 0.0 && own.iter().flatten().all(|g| *g == 0.0));
    let bad = TrainConfig { future: 1, future_weight: 0.0, ..config(1.0, 0) };
    assert!(future::start(&bad, &decoder.config, 1).unwrap_err().to_string().contains("train.future_weight"));
    assert!(future::start(&config(1.0, 0), &decoder.config, 1).unwrap().is_none());
}
