//! The value head in training: its gradients are slopes, both engines agree, and it learns, alone or beside
//! the tokens.

use burn::tensor::{Device, FloatDType, Tensor, TensorData};

use super::batch::{Example, Target};
use super::cpu::Cpu;
use super::device::{self, AuxLosses, Head, OnDevice, Pass};
use super::learner::{Adam, Learner};
use super::lora::{FREEZABLE, Tuned};
use super::tests::{adam, config, copies, cpu, distance, fresh, setup};
use super::value::{HeadConfig, ValueLoss};
use super::{Moment, Rows, TrainConfig, Training, checkpoint, train};
use crate::events::Silent;
use crate::model::fault::{DeviceFault, read};
use crate::model::generate::{Generator, Limits};
use crate::model::weight::Weight;
use crate::model::{Decoder, ModelError, ValueHead, hf, tensors};

const LOSSES: [ValueLoss; 3] = [ValueLoss::Bce, ValueLoss::Mse, ValueLoss::Pairwise];

/// A head that is not zero, so that values have a gradient in the decoder.
fn start() -> ValueHead {
    ValueHead { weight: (0..32).map(|i| ((i * 7) as f32).sin() * 0.3).collect(), bias: 0.1 }
}

fn head(loss: ValueLoss) -> HeadConfig {
    HeadConfig { loss, weight: 0.7, start: start() }
}

/// Rows with values at several places, in groups of four rows; `tokens` is the weight of their tokens.
fn valued(count: u32, tokens: f32) -> Vec<Example> {
    copies(count)
        .into_iter()
        .enumerate()
        .map(|(i, mut example)| {
            example.weights.iter_mut().for_each(|w| *w *= tokens);
            let target = |place: usize, target: f32| Target {
                place,
                target,
                weight: 0.5 + (i % 3) as f32 * 0.25,
                group: i as u32 / 4,
            };
            let last = example.tokens.len() - 2;
            let values =
                vec![target(last, (i % 4) as f32 / 3.0), target(1, if i % 2 == 0 { 0.9 } else { 0.2 })];
            example.with_values(values)
        })
        .collect()
}

fn refs(examples: &[Example]) -> Vec<&Example> {
    examples.iter().collect()
}

fn everything(decoder: &Decoder) -> Tuned {
    Tuned::all(&decoder.config)
}

fn nothing(decoder: &Decoder) -> Tuned {
    let frozen =
        TrainConfig { freeze: FREEZABLE.iter().map(|f| (*f).to_owned()).collect(), ..config(1.0, 0) };
    assert!(Tuned::of(&frozen, &decoder.config, 1).is_err());
    let tuned = Tuned::beside_head(&frozen, &decoder.config, 1).unwrap();
    assert!(!tuned.any());
    tuned
}

/// Loss of tokens + λ loss of values, of a decoder and head with these values.
fn objective(
    decoder: &Decoder,
    values: &[Vec<f32>],
    config: &HeadConfig,
    head: &[Vec<f32>; 2],
    batch: &[&Example],
) -> f32 {
    let start = ValueHead { weight: head[0].clone(), bias: head[1][0] };
    let config = HeadConfig { start, ..config.clone() };
    let lambda = config.weight;
    let mut cpu =
        Cpu::new(&decoder.with_values(values), setup(everything(decoder), adam(), false, Some(config)));
    let (loss, value_loss) = cpu.mean_losses(batch, 100);
    loss + lambda * value_loss.unwrap()
}

#[test]
fn gradients_of_each_loss_are_slopes_in_head_and_decoder() {
    let decoder = fresh();
    for tokens in [0.0, 1.0] {
        let examples = valued(12, tokens);
        let batch = refs(&examples);
        for loss in LOSSES {
            let config = HeadConfig { weight: 3.0, ..head(loss) };
            let mut engine =
                Cpu::new(&decoder, setup(everything(&decoder), adam(), false, Some(config.clone())));
            let all = engine.sums(&batch, 5).2.to_vec();
            let own = engine.head_sums().unwrap().clone();
            let values: Vec<Vec<f32>> = decoder.weights().into_iter().map(Weight::values).collect();
            let first = [start().weight, vec![start().bias]];
            let moved = |of: &[Vec<f32>], by: &[Vec<f32>], distance: f32| -> Vec<Vec<f32>> {
                of.iter()
                    .zip(by)
                    .map(|(w, g)| w.iter().zip(g).map(|(w, g)| w + distance * g).collect())
                    .collect()
            };
            let pair = |all: Vec<Vec<f32>>| -> [Vec<f32>; 2] { all.try_into().unwrap() };
            // Along each gradient's own direction the loss must change by its squared norm: the decoder's,
            // then the head's.
            let squares = |all: &[Vec<f32>]| all.iter().flatten().map(|g| g * g).sum::<f32>();
            let step = 1e-2 / squares(&all).sqrt().max(1.0);
            let at = |d: f32| objective(&decoder, &moved(&values, &all, d), &config, &first, &batch);
            let slope = (at(step) - at(-step)) / (2.0 * step);
            assert!(
                (slope / squares(&all) - 1.0).abs() < 0.03,
                "{loss:?}, decoder: {slope} {}",
                squares(&all)
            );
            let step = 1e-2;
            let at = |d: f32| objective(&decoder, &values, &config, &pair(moved(&first, &own, d)), &batch);
            let slope = (at(step) - at(-step)) / (2.0 * step);
            assert!((slope / squares(&own) - 1.0).abs() < 0.03, "{loss:?}, head: {slope} {}", squares(&own));
            // The bias by itself; it cancels in pairs.
            let at = |d: f32| {
                objective(&decoder, &values, &config, &[first[0].clone(), vec![first[1][0] + d]], &batch)
            };
            let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
            assert!(
                (slope - own[1][0]).abs() < 1e-3 + 0.02 * slope.abs(),
                "{loss:?}, bias: {slope} {}",
                own[1][0]
            );
        }
    }
}

#[test]
fn both_engines_have_the_same_gradients_however_a_batch_is_divided() {
    let decoder = fresh();
    for tokens in [0.0, 1.0] {
        let examples = valued(14, tokens);
        let batch = refs(&examples);
        for loss in LOSSES {
            let config = head(loss);
            let tensor = |values: Vec<f32>, shape: [usize; 2]| {
                Tensor::<2>::from_data(TensorData::new(values, shape), &Device::flex())
            };
            let other = Head {
                weight: tensor(start().weight, [1, 32]),
                bias: tensor(vec![0.1], [1, 1]),
                loss,
                lambda: config.weight,
            };
            let whole = device::gradients(
                &decoder,
                AuxLosses { value: Some(&other), ..AuxLosses::default() },
                &batch,
                Pass { micro: 100, recompute: false, scale: 4.0 },
                |_| true,
            );
            let (ce, values) =
                (whole.loss.into_scalar::<f32>(), whole.value_loss.unwrap().into_scalar::<f32>());
            assert_eq!(ce > 0.0, tokens > 0.0);
            for (micro, recompute) in [(100, false), (5, false), (100, true)] {
                let mut engine =
                    Cpu::new(&decoder, setup(everything(&decoder), adam(), recompute, Some(config.clone())));
                let (a, b) = (
                    engine.mean_losses(&batch, micro),
                    device::mean_losses(&decoder, Some(&other), &batch, micro).unwrap(),
                );
                assert!(
                    (a.0 - b.0).abs() < 1e-4 && (a.1.unwrap() - b.1.unwrap()).abs() < 1e-5,
                    "{a:?} {b:?}"
                );
                let (loss_, value_loss, sums) = engine.sums(&batch, micro);
                assert!(
                    (loss_ as f32 - ce).abs() < 1e-4 && (value_loss.unwrap() - values).abs() < 1e-5,
                    "{value_loss:?} {values}"
                );
                assert!((a.1.unwrap() - values).abs() < 1e-5);
                for (i, (a, b)) in whole.weights.iter().zip(sums).enumerate() {
                    let a = tensors::values(a.as_ref().unwrap());
                    let top = a.iter().map(|v| v.abs()).fold(0.0, f32::max);
                    assert!(
                        distance(&a, b) < 1e-5 * (1.0 + top),
                        "{loss:?}, weight {i}: {}",
                        distance(&a, b)
                    );
                }
                for (a, b) in whole.head.iter().zip(engine.head_sums().unwrap()) {
                    assert!(distance(&tensors::values(a), b) < 1e-5, "{loss:?}");
                }
            }
        }
    }
}

#[test]
fn both_engines_take_the_same_steps_with_a_head() {
    let decoder = fresh();
    let examples = valued(24, 1.0);
    let batch = refs(&examples);
    let lora = TrainConfig {
        lora_rank: 2,
        lora_targets: vec!["q_proj".into(), "down_proj".into()],
        ..config(1.0, 0)
    };
    let adapters = || Tuned::of(&lora, &decoder.config, 5).unwrap();
    let ways: [&dyn Fn() -> Tuned; 3] = [&|| everything(&decoder), &adapters, &|| nothing(&decoder)];
    for tuned in ways {
        for loss in LOSSES {
            // A large epsilon, for AdamW's first steps divide noise by noise.
            let adam = Adam { epsilon: 1e-3, ..adam() };
            let mut cpu = Cpu::new(&decoder, setup(tuned(), adam, false, Some(head(loss))));
            let mut device = OnDevice::new(&decoder, setup(tuned(), adam, false, Some(head(loss))));
            for step in 0..5 {
                let (a, b) = (cpu.step(&batch, 10, 3e-3).unwrap(), device.step(&batch, 10, 3e-3).unwrap());
                assert!(
                    (a.loss - b.loss).abs() < 1e-4 && (a.norm / b.norm - 1.0).abs() < 1e-3,
                    "step {step}: {a:?} {b:?}"
                );
                assert!(
                    (a.value_loss.unwrap() - b.value_loss.unwrap()).abs() < 1e-4,
                    "step {step}: {a:?} {b:?}"
                );
            }
            let (a, b) = (cpu.state(), device.state());
            assert_eq!((a.time, a.slots.len()), (b.time, b.slots.len()));
            assert_eq!(
                a.slots[a.slots.len() - 2..].iter().map(|s| s.shape).collect::<Vec<_>>(),
                [[1, 32], [1, 1]]
            );
            for (a, b) in a.slots.iter().zip(&b.slots) {
                assert_eq!(a.shape, b.shape);
                assert!(distance(&a.values, &b.values) < 1e-4 && distance(&a.first, &b.first) < 1e-4);
            }
            let (one, other) = (cpu.head().unwrap(), device.head().unwrap());
            assert!(distance(&one.weight, &other.weight) < 1e-4 && (one.bias - other.bias).abs() < 1e-4);
            assert!(distance(&one.weight, &start().weight) > 1e-3, "the head learns");
            // One engine goes on from the other's state.
            let mut again = Cpu::new(&decoder, setup(tuned(), adam, false, Some(head(loss))));
            again.restore(device.state());
            assert!(distance(&again.head().unwrap().weight, &other.weight) == 0.0);
            let (a, b) = (again.step(&batch, 10, 3e-3).unwrap(), device.step(&batch, 10, 3e-3).unwrap());
            assert!((a.value_loss.unwrap() - b.value_loss.unwrap()).abs() < 1e-4, "{a:?} {b:?}");
        }
    }
}

#[test]
fn half_precision_learns_values_as_f32_does() {
    let examples = valued(24, 1.0);
    let batch = refs(&examples);
    let run = |dtype| {
        let decoder = Decoder { dtype, ..fresh() };
        let mut device = OnDevice::new(
            &decoder,
            setup(everything(&decoder), Adam { epsilon: 1e-3, ..adam() }, false, Some(head(ValueLoss::Bce))),
        );
        (0..10).map(|_| device.step(&batch, 10, 3e-3).unwrap().value_loss.unwrap()).collect::<Vec<f32>>()
    };
    let expected = run(FloatDType::F32);
    for dtype in [FloatDType::BF16, FloatDType::F16] {
        let curve = run(dtype);
        assert!(
            expected.iter().zip(&curve).all(|(a, b)| (a - b).abs() < 0.02),
            "{dtype:?}: {expected:?} {curve:?}"
        );
        assert!(curve[9] < curve[0]);
    }
}

#[test]
fn a_frozen_decoder_stays_and_its_tokens_are_still_measured() {
    let decoder = fresh();
    let examples = valued(12, 1.0);
    let batch = refs(&examples);
    let mut plain = Learner::new(&decoder, setup(everything(&decoder), adam(), false, None), &cpu());
    let loss = plain.mean_losses(&batch, 100).unwrap().0;
    let mut learners = [
        Learner::Cpu(Box::new(Cpu::new(
            &decoder,
            setup(nothing(&decoder), adam(), false, Some(head(ValueLoss::Bce))),
        ))),
        Learner::Device(Box::new(OnDevice::new(
            &decoder,
            setup(nothing(&decoder), adam(), false, Some(head(ValueLoss::Bce))),
        ))),
    ];
    for learner in &mut learners {
        let first = learner.step(&batch, 5, 1e-2).unwrap();
        assert!((first.loss - loss).abs() < 1e-4);
        for _ in 0..50 {
            learner.step(&batch, 5, 1e-2).unwrap();
        }
        let last = learner.step(&batch, 5, 1e-2).unwrap();
        assert!(
            (last.loss - loss).abs() < 1e-4 && last.value_loss.unwrap() < first.value_loss.unwrap(),
            "{first:?} {last:?}"
        );
        assert_eq!(hf::export(&learner.decoder()), hf::export(&decoder));
        assert_eq!(learner.state().slots.len(), 2);
    }
}

#[test]
fn the_heads_weight_decays_and_its_bias_does_not() {
    let decoder = fresh();
    // Targets that weigh nothing have no gradient: only decay is left.
    let mut examples = valued(6, 1.0);
    examples.iter_mut().flat_map(|e| &mut e.values).for_each(|t| t.weight = 0.0);
    let batch = refs(&examples);
    for mut learner in [
        Learner::Cpu(Box::new(Cpu::new(
            &decoder,
            setup(everything(&decoder), adam(), false, Some(head(ValueLoss::Bce))),
        ))),
        Learner::Device(Box::new(OnDevice::new(
            &decoder,
            setup(everything(&decoder), adam(), false, Some(head(ValueLoss::Bce))),
        ))),
    ] {
        let step = learner.step(&batch, 6, 1e-1).unwrap();
        assert_eq!(step.value_loss, None);
        let head = learner.head().unwrap();
        assert!(head.bias.to_bits() == 0.1f32.to_bits(), "{}", head.bias);
        for (new, old) in head.weight.iter().zip(start().weight) {
            assert!((new - old * (1.0 - 0.1 * 0.1)).abs() < 1e-6, "{new} {old}");
        }
    }
}

#[test]
fn targets_that_are_none_are_errors() {
    let decoder = fresh();
    let mut learner = Learner::new(
        &decoder,
        setup(everything(&decoder), adam(), false, Some(head(ValueLoss::Bce))),
        &cpu(),
    );
    let row = |place: usize, target: f32, weight: f32| {
        Example::new(&[5, 6], &[7, 4], 0.0, 1.0).with_values(vec![Target { place, target, weight, group: 0 }])
    };
    for (example, says) in [
        (row(3, 0.5, 1.0), "after token 3"),
        (row(0, 1.5, 1.0), "1.5"),
        (row(0, f32::NAN, 1.0), "NaN"),
        (row(0, 0.5, -1.0), "-1"),
    ] {
        let error = learner.step(&[&example], 1, 1e-3).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    learner.step(&[&row(2, 0.5, 1.0)], 1, 1e-3).unwrap();
    let rows = |train| Rows { train, validation: Vec::new(), too_long: 0, exact: Vec::new() };
    let run = |head, rows: &Rows| {
        train(
            Training {
                model: &decoder,
                head: Some(head),
                rows,
                config: &config(1.0, 0),
                seed: 3,
                fingerprint: "f",
                resume: None,
                own: None,
                device: &cpu(),
            },
            &Silent,
            &mut |_| Ok(()),
        )
        .err()
        .unwrap()
        .to_string()
    };
    let small = HeadConfig { start: ValueHead::new(31), ..head(ValueLoss::Bce) };
    assert!(run(small, &rows(valued(8, 1.0))).contains("states of size 31"));
    assert!(run(head(ValueLoss::Bce), &rows(copies(8))).contains("nothing to train the value head on"));
}

#[test]
fn a_device_without_room_for_all_pairs_says_what_to_do() {
    let decoder = fresh();
    let examples = valued(12, 1.0);
    let batch = refs(&examples);
    let with = |loss, failures: usize| {
        let (mut device, mut count) =
            (OnDevice::new(&decoder, setup(everything(&decoder), adam(), false, Some(head(loss)))), 0);
        device.reader = Box::new(move |tensor| {
            count += 1;
            if count <= failures { Err(DeviceFault::Memory("no room".into())) } else { read(tensor) }
        });
        device
    };
    let error = with(ValueLoss::Pairwise, 1).step(&batch, 12, 1e-3).unwrap_err();
    assert!(error.to_string().contains("train.batch_size") && error.is::<ModelError>(), "{error}");
    let (a, b) = (
        with(ValueLoss::Mse, 0).step(&batch, 12, 1e-3).unwrap(),
        with(ValueLoss::Mse, 2).step(&batch, 12, 1e-3).unwrap(),
    );
    assert!(
        (a.value_loss.unwrap() - b.value_loss.unwrap()).abs() < 1e-5 && (a.norm / b.norm - 1.0).abs() < 1e-4,
        "{a:?} {b:?}"
    );
}

/// Rows of random digits with a mark in them: good where the mark is 50, bad where it is 51, told after the
/// last input token. Two rows of a group differ in their mark alone.
fn marked(count: u32, tokens: f32, seed: u64) -> Vec<Example> {
    use rand::RngExt;
    let mut rng = datasets::key::rng(&["marked".into(), seed.into()]);
    let mut rows = Vec::new();
    for group in 0..count / 2 {
        let mut prompt: Vec<u32> = (0..rng.random_range(4..10)).map(|_| rng.random_range(5..40)).collect();
        let mark = rng.random_range(0..prompt.len() - 1);
        for good in [true, false] {
            prompt[mark] = if good { 50 } else { 51 };
            let place = prompt.len();
            let value = Target { place, target: f32::from(u8::from(good)), weight: 1.0, group };
            rows.push(Example::new(&prompt, &[prompt[0], 4], 0.0, tokens).with_values(vec![value]));
        }
    }
    rows
}

/// By how much good rows have a larger value than bad ones, on average, as a generator sees them.
fn apart(decoder: &Decoder, head: &ValueHead, rows: &[Example]) -> f32 {
    let texts: Vec<Vec<u32>> = rows.iter().map(|e| e.tokens[..=e.values[0].place].to_vec()).collect();
    let hidden =
        Generator::new(decoder, Limits { rows: 64, cache: 1 << 24 }).hidden(&texts, &Silent).unwrap();
    let signed =
        |(h, row): (&Vec<f32>, &Example)| head.value(h) * if row.values[0].target > 0.5 { 2.0 } else { -2.0 };
    hidden.iter().zip(rows).map(signed).sum::<f32>() / rows.len() as f32
}

#[test]
fn a_decoder_learns_from_values_alone_and_from_both() {
    let decoder = fresh();
    let held_out = marked(80, 0.0, 2);
    let untrained = ValueHead::new(32);
    assert!(apart(&decoder, &untrained, &held_out).abs() < 1e-6);
    for (loss, tokens) in
        [(ValueLoss::Bce, 0.0), (ValueLoss::Mse, 0.0), (ValueLoss::Pairwise, 0.0), (ValueLoss::Bce, 1.0)]
    {
        let rows = Rows {
            train: marked(240, tokens, 1),
            validation: marked(40, tokens, 3),
            too_long: 0,
            exact: Vec::new(),
        };
        let config = TrainConfig { batch_size: 16, micro_batch: 16, ..config(8.0, 0) };
        let head = HeadConfig { loss, weight: 1.0, start: untrained.clone() };
        let (learner, losses) = train(
            Training {
                model: &decoder,
                head: Some(head),
                rows: &rows,
                config: &config,
                seed: 3,
                fingerprint: "f",
                resume: None,
                own: None,
                device: &cpu(),
            },
            &Silent,
            &mut |_| Ok(()),
        )
        .unwrap();
        let margin = apart(&learner.decoder(), &learner.head().unwrap(), &held_out);
        println!("{loss:?}, tokens weigh {tokens}: values of good and bad rows are {margin:.3} apart");
        assert!(margin > 0.5, "{loss:?} {tokens}: {margin}");
        let (first, last) = (&losses[0], losses.last().unwrap());
        assert!(last.value_loss.unwrap() < 0.5 * first.value_loss.unwrap(), "{loss:?}: {first:?} {last:?}");
        assert!(
            last.validation_value_loss.unwrap() < 0.6 * first.value_loss.unwrap(),
            "{loss:?}: {first:?} {last:?}"
        );
        if tokens > 0.0 {
            let mean =
                |part: &[datasets::table::Loss]| part.iter().map(|l| l.loss).sum::<f32>() / part.len() as f32;
            let (before, after) = (mean(&losses[..5]), mean(&losses[losses.len() - 5..]));
            println!("cross-entropy {before:.3} -> {after:.3}");
            assert!(after < 0.6 * before, "{before} {after}");
        } else {
            assert!(losses.iter().all(|l| l.loss == 0.0 && l.validation_loss.is_none_or(|v| v == 0.0)));
        }
    }
}

#[test]
fn a_resumed_run_with_a_head_ends_bit_for_bit_the_same() {
    let rows = Rows { train: valued(64, 1.0), validation: valued(8, 1.0), too_long: 0, exact: Vec::new() };
    let frozen: Vec<String> = FREEZABLE.iter().map(|f| (*f).to_owned()).collect();
    for loss in LOSSES {
        for freeze in [Vec::new(), frozen.clone()] {
            let config = TrainConfig { checkpoint_every: 13, freeze, ..config(4.0, 0) };
            let run = |resume, keep: &mut dyn FnMut(Moment<'_>) -> anyhow::Result<()>| {
                train(
                    Training {
                        model: &fresh(),
                        head: Some(head(loss)),
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
            let (whole, curve) = run(None, &mut |m| {
                if kept.is_empty() {
                    for (name, bytes) in checkpoint::files(&m.state, &m.cursor)? {
                        std::fs::write(dir.path().join(name), bytes)?;
                    }
                    kept = m.losses.to_vec();
                }
                Ok(())
            });
            assert_eq!(kept.len(), 13);
            let (resumed, again) = run(Some((dir.path(), kept)), &mut |_| Ok(()));
            assert!(whole.state() == resumed.state());
            assert_eq!(whole.head(), resumed.head());
            assert_eq!(curve, again);
            // A checkpoint with a head is none of a decoder without one.
            let cursor = checkpoint::cursor(dir.path()).unwrap();
            let mut plain = Learner::new(&fresh(), setup(everything(&fresh()), adam(), false, None), &cpu());
            assert!(plain.restore(checkpoint::state(dir.path(), &cursor).unwrap()).is_err());
        }
    }
}

#[test]
fn values_have_the_same_bits_on_any_number_of_threads_and_tokens_do_not_change_by_a_head_of_no_weight() {
    let (decoder, examples) = (fresh(), valued(40, 1.0));
    let batch = refs(&examples);
    let run = |threads: usize| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let mut learner = Learner::new(
                &decoder,
                setup(everything(&decoder), adam(), false, Some(head(ValueLoss::Bce))),
                &cpu(),
            );
            let curve: Vec<_> = (0..3).map(|_| learner.step(&batch, 16, 1e-3).unwrap()).collect();
            (curve, learner.state())
        })
    };
    let one = run(1);
    for threads in [2, 7] {
        assert!(run(threads) == one, "{threads} threads");
    }
    // With λ = 0 the decoder trains as it does without a head.
    let rows = Rows { train: valued(64, 1.0), validation: Vec::new(), too_long: 0, exact: Vec::new() };
    let config = config(2.0, 0);
    let (plain, _) = train(
        Training {
            model: &decoder,
            head: None,
            rows: &rows,
            config: &config,
            seed: 3,
            fingerprint: "f",
            resume: None,
            own: None,
            device: &cpu(),
        },
        &Silent,
        &mut |_| Ok(()),
    )
    .unwrap();
    let weightless = HeadConfig { weight: 0.0, ..head(ValueLoss::Bce) };
    let (beside, _) = train(
        Training {
            model: &decoder,
            head: Some(weightless),
            rows: &rows,
            config: &config,
            seed: 3,
            fingerprint: "f",
            resume: None,
            own: None,
            device: &cpu(),
        },
        &Silent,
        &mut |_| Ok(()),
    )
    .unwrap();
    assert_eq!(hf::export(&plain.decoder()), hf::export(&beside.decoder()));
}
