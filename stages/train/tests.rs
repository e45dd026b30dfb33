//! Training against itself: what is computed must not depend on the engine, on how it is divided, or on
//! interruptions.

use burn::tensor::{DType, Device, FloatDType};

use super::batch::Example;
use super::cpu::Cpu;
use super::device::{self, AuxLosses, OnDevice, Pass};
use super::learner::{Adam, Learner, Step, learning_rate};
use super::lora::{Setup, TARGETS, Tuned, peft_files};
use super::losses::TokenLoss;
use super::select::{Select, Targets};
use super::value::HeadConfig;
use super::{Moment, Rows, Start, TeacherAt, TrainConfig, Training, checkpoint, train};
use crate::events::Silent;
use crate::model::fault::{DeviceFault, read};
use crate::model::soft::Divergence;
use crate::model::tests::tiny;
use crate::model::weight::Weight;
use crate::model::{Choice, Decoder, ModelError, Tokenizer, hf, tensors};

pub(crate) fn cpu() -> Choice {
    Choice { device: Device::flex(), kind: "cpu", gpu: false, why: String::new() }
}

/// A small decoder with weights as training starts with them.
pub(super) fn fresh() -> Decoder {
    tiny(&Tokenizer::tiny().unwrap()).map(|w| if w.dims()[0] == 1 { w } else { w.div_scalar(8.0) })
}

/// Rows in which the answer repeats the first token of the question.
pub(super) fn copies(count: u32) -> Vec<Example> {
    (0..count)
        .map(|i| {
            let prompt: Vec<u32> = (0..3 + i % 5).map(|j| (i * 7 + j * 3) % 40 + 5).collect();
            Example::new(&prompt, &[prompt[0], 4], 0.0, if i % 3 == 0 { 0.5 } else { 1.0 })
        })
        .collect()
}

pub(super) fn config(epochs: f64, checkpoint_every: usize) -> TrainConfig {
    TrainConfig {
        start: Start::Base,
        rules_until: 0,
        targets: Targets::All,
        dead_ends: 8,
        thoughts: super::Thoughts::Drop,
        select: Select::Uniform,
        replay_times: 2,
        epochs,
        max_steps: 0,
        max_tokens_total: 0,
        batch_size: 8,
        micro_batch: 8,
        learning_rate: 3e-3,
        warmup: 0.1,
        floor: 0.1,
        beta_1: 0.9,
        beta_2: 0.95,
        weight_decay: 0.1,
        clip: 1.0,
        prompt_weight: 0.0,
        max_tokens: 64,
        validation_share: 0.0,
        validate_every: 0,
        checkpoint_every,
        recompute: false,
        lora_rank: 0,
        lora_alpha: 8.0,
        lora_targets: Vec::new(),
        freeze: Vec::new(),
        freeze_layers: 0,
        value_weight: 0.0,
        allow_leaks: false,
        loss: TokenLoss::Ce,
        face_floor: 0.2,
        golden_share: 0.8,
        reference: String::new(),
        teacher: TeacherAt::Model,
        top_k: 32,
        distil_share: 1.0,
        distil_temperature: 1.0,
        divergence: Divergence::Forward,
        on_policy: 0.0,
        on_policy_tokens: 16,
        on_policy_temperature: 1.0,
        value_gain: 4.0,
        future: 0,
        future_weight: 1.0,
        future_keep: false,
    }
}

pub(crate) fn setup(tuned: Tuned, adam: Adam, recompute: bool, head: Option<HeadConfig>) -> Setup {
    Setup { tuned, adam, recompute, head }
}

pub(super) fn adam() -> Adam {
    Adam::of(&config(1.0, 0))
}

pub(super) fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn mean_loss(decoder: &Decoder, examples: &[&Example], micro: usize) -> f32 {
    device::mean_losses(decoder, None, examples, micro).unwrap().0
}

/// Loss and gradients by automatic differentiation.
fn gradients(
    decoder: &Decoder,
    batch: &[&Example],
    micro: usize,
    recompute: bool,
) -> (f32, Vec<burn::tensor::Tensor<2>>) {
    let all = device::gradients(
        decoder,
        AuxLosses::default(),
        batch,
        Pass { micro, recompute, scale: 1.0 },
        |_| true,
    );
    (all.loss.into_scalar::<f32>(), all.weights.into_iter().flatten().collect())
}

/// Rows of very different lengths, so that there are several chunks and blocks of attention.
fn long() -> Vec<Example> {
    (0..40u32)
        .map(|i| {
            let tokens: Vec<u32> = (0..2 + i * 4).map(|j| (i * 7 + j * j * 3) % 200 + 3).collect();
            Example::new(&tokens[..1], &tokens[1..], 0.0, if i % 3 == 0 { 0.5 } else { 1.0 })
        })
        .collect()
}

#[test]
fn the_cpu_engine_computes_the_reference_however_it_is_divided() {
    let decoder = tiny(&Tokenizer::tiny().unwrap());
    for examples in [copies(13), long()] {
        let batch: Vec<&Example> = examples.iter().collect();
        let (loss, whole) = gradients(&decoder, &batch, 100, false);
        for (recompute, micro) in [(false, 100), (false, 3), (true, 100)] {
            let mut cpu = Cpu::new(&decoder, setup(Tuned::all(&decoder.config), adam(), recompute, None));
            assert!((cpu.mean_losses(&batch, micro).0 - mean_loss(&decoder, &batch, 100)).abs() < 1e-4);
            let (other, _, parts) = cpu.sums(&batch, micro);
            assert!((f64::from(loss) - other).abs() < 1e-4, "{loss} {other}");
            for (i, (a, b)) in whole.iter().zip(parts).enumerate() {
                let a = tensors::values(a);
                let top = a.iter().map(|v| v.abs()).fold(0.0, f32::max);
                assert!(
                    distance(&a, b) < 1e-4 * (1.0 + top),
                    "recompute {recompute}, micro {micro}, weight {i}: {}",
                    distance(&a, b)
                );
            }
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let (decoder, examples) = (fresh(), long());
    let batch: Vec<&Example> = examples.iter().collect();
    let run = |threads: usize| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let mut learner =
                Learner::new(&decoder, setup(Tuned::all(&decoder.config), adam(), false, None), &cpu());
            let curve: Vec<Step> = (0..3).map(|_| learner.step(&batch, 16, 1e-3).unwrap()).collect();
            (curve, learner.state())
        })
    };
    let one = run(1);
    for threads in [2, 3, 7, 16] {
        assert!(run(threads) == one, "{threads} threads");
    }
}

#[test]
fn a_row_counts_the_same_alone_and_in_a_batch() {
    let decoder = fresh();
    let examples = copies(10);
    let batch: Vec<&Example> = examples.iter().collect();
    let mut learner = Learner::new(&decoder, setup(Tuned::all(&decoder.config), adam(), false, None), &cpu());
    let weight = |e: &Example| e.weights.iter().sum::<f32>();
    let total: f32 = batch.iter().map(|e| weight(e)).sum();
    let alone: f32 =
        batch.iter().map(|e| learner.mean_losses(&[e], 1).unwrap().0 * weight(e)).sum::<f32>() / total;
    assert!((learner.mean_losses(&batch, 100).unwrap().0 - alone).abs() < 1e-5);
    assert!((mean_loss(&decoder, &batch, 100) - alone).abs() < 1e-5);
}

#[test]
fn a_gradient_is_the_slope_of_the_loss() {
    let decoder = fresh();
    let examples = copies(6);
    let batch: Vec<&Example> = examples.iter().collect();
    let mut cpu = Cpu::new(&decoder, setup(Tuned::all(&decoder.config), adam(), false, None));
    let all = cpu.sums(&batch, 100).2.to_vec();
    // Along each gradient's own direction the loss must change by its squared norm.
    let norm: f32 = all.iter().flatten().map(|g| g * g).sum();
    let values: Vec<Vec<f32>> = decoder.weights().into_iter().map(Weight::values).collect();
    let move_by = |distance: f32| {
        let moved: Vec<Vec<f32>> = values
            .iter()
            .zip(&all)
            .map(|(w, g)| w.iter().zip(g).map(|(w, g)| w + distance * g).collect())
            .collect();
        mean_loss(&decoder.with_values(&moved), &batch, 100)
    };
    let distance = 1e-2;
    let slope = (move_by(distance) - move_by(-distance)) / (2.0 * distance);
    assert!((slope / norm - 1.0).abs() < 0.02, "slope {slope}, squared norm {norm}");
}

/// All ways of choosing what is trained.
fn ways() -> Vec<TrainConfig> {
    let lora = |targets: &[&str], freeze_layers| TrainConfig {
        lora_rank: 3,
        lora_targets: targets.iter().map(|t| (*t).to_owned()).collect(),
        freeze_layers,
        ..config(12.0, 0)
    };
    let freeze = |parts: &[&str], freeze_layers| TrainConfig {
        freeze: parts.iter().map(|t| (*t).to_owned()).collect(),
        freeze_layers,
        ..config(12.0, 0)
    };
    vec![
        config(12.0, 0),
        lora(&TARGETS, 0),
        lora(&["q_proj", "v_proj"], 1),
        freeze(&["embed", "norms"], 0),
        freeze(&["mlp"], 1),
    ]
}

#[test]
fn both_engines_take_the_same_steps() {
    let (decoder, examples) = (fresh(), copies(24));
    let batch: Vec<&Example> = examples.iter().collect();
    for config in ways() {
        let tuned = || Tuned::of(&config, &decoder.config, 5).unwrap();
        // A large epsilon, for AdamW's first steps divide noise by noise.
        let adam = Adam { epsilon: 1e-3, ..adam() };
        let mut cpu = Cpu::new(&decoder, setup(tuned(), adam, false, None));
        let mut device = OnDevice::new(&decoder, setup(tuned(), adam, false, None));
        for step in 0..6 {
            let (a, b) = (cpu.step(&batch, 10, 3e-3).unwrap(), device.step(&batch, 10, 3e-3).unwrap());
            assert!(
                (a.loss - b.loss).abs() < 1e-4 && (a.norm / b.norm - 1.0).abs() < 1e-3,
                "step {step}: {a:?} {b:?}"
            );
        }
        let (a, b) = (cpu.state(), device.state());
        assert_eq!((a.time, a.slots.len()), (b.time, b.slots.len()));
        for (a, b) in a.slots.iter().zip(&b.slots) {
            assert_eq!(a.shape, b.shape);
            assert!(distance(&a.values, &b.values) < 1e-4 && distance(&a.first, &b.first) < 1e-4);
        }
        for (a, b) in cpu.decoder().weights().into_iter().zip(device.decoder().weights()) {
            assert!(distance(&a.values(), &b.values()) < 1e-4);
        }
        // One engine goes on from the other's state.
        let mut other = Cpu::new(&decoder, setup(tuned(), adam, false, None));
        other.restore(device.state());
        let (a, b) = (other.step(&batch, 10, 3e-3).unwrap(), device.step(&batch, 10, 3e-3).unwrap());
        assert!((a.loss - b.loss).abs() < 1e-4, "{a:?} {b:?}");
    }
}

#[test]
fn computing_again_changes_no_gradient() {
    let (decoder, examples) = (fresh(), long());
    let batch: Vec<&Example> = examples.iter().collect();
    let (kept, again) = (gradients(&decoder, &batch, 7, false), gradients(&decoder, &batch, 7, true));
    assert!((kept.0 - again.0).abs() < 1e-6);
    for (a, b) in kept.1.iter().zip(&again.1) {
        assert!(distance(&tensors::values(a), &tensors::values(b)) < 1e-6);
    }
}

#[test]
fn without_memory_a_step_takes_fewer_rows_at_once_and_is_the_same() {
    let (decoder, examples) = (fresh(), copies(24));
    let batch: Vec<&Example> = examples.iter().collect();
    let new = || OnDevice::new(&decoder, setup(Tuned::all(&decoder.config), adam(), false, None));
    let (mut plain, mut failing, mut count) = (new(), new(), 0);
    failing.reader = Box::new(move |tensor| {
        count += 1;
        if count < 3 { Err(DeviceFault::Memory("no room".into())) } else { read(tensor) }
    });
    let (a, b) = (plain.step(&batch, 24, 1e-3).unwrap(), failing.step(&batch, 24, 1e-3).unwrap());
    assert!((a.loss - b.loss).abs() < 1e-5 && (a.norm / b.norm - 1.0).abs() < 1e-4, "{a:?} {b:?}");
    assert_eq!(failing.notes().len(), 2);
    failing.reader = Box::new(|_| Err(DeviceFault::Lost("reset".into())));
    let error = failing.step(&batch, 24, 1e-3).unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(ModelError::Lost(_))), "{error}");
}

#[test]
fn half_precision_learns_what_f32_does() {
    let examples = copies(24);
    let batch: Vec<&Example> = examples.iter().collect();
    let run = |dtype| {
        let decoder = Decoder { dtype, ..fresh() };
        let mut device = OnDevice::new(
            &decoder,
            setup(Tuned::all(&decoder.config), Adam { epsilon: 1e-3, ..adam() }, false, None),
        );
        let curve: Vec<f32> = (0..12).map(|_| device.step(&batch, 10, 3e-3).unwrap().loss).collect();
        assert!(
            device.decoder().weights().iter().all(|w| w.tensor().dtype() == DType::F32),
            "weights stay f32"
        );
        (curve, device.mean_losses(&batch, 10).unwrap().0)
    };
    let (expected, after) = run(FloatDType::F32);
    for dtype in [FloatDType::BF16, FloatDType::F16] {
        let (curve, end) = run(dtype);
        for (a, b) in expected.iter().zip(&curve) {
            assert!((a - b).abs() < 0.03, "{dtype:?}: {expected:?} {curve:?}");
        }
        assert!((after - end).abs() < 0.03 && end < curve[0]);
    }
}

#[test]
fn a_scale_that_is_too_large_is_halved_until_the_step_can_be_taken() {
    let (decoder, examples) = (Decoder { dtype: FloatDType::F16, ..fresh() }, copies(8));
    let batch: Vec<&Example> = examples.iter().collect();
    let mut device = OnDevice::new(&decoder, setup(Tuned::all(&decoder.config), adam(), false, None));
    let mut count = 0;
    device.reader = Box::new(move |tensor| {
        count += 1;
        let out = read(tensor)?;
        Ok(if count < 4 { vec![out[0], f32::INFINITY] } else { out })
    });
    let Step { loss, norm, .. } = device.step(&batch, 8, 1e-3).unwrap();
    assert!(loss.is_finite() && norm.is_finite());
    device.reader = Box::new(|_| Ok(vec![1.0, f32::NAN]));
    assert!(device.step(&batch, 8, 1e-3).unwrap_err().to_string().contains("gradient"));
    assert_eq!(device.time(), 1, "only one step was taken");

    // A run that goes on from a checkpoint does not look for the scale again.
    let state = device.state();
    assert!(state.scale.is_some_and(|found| found.scale < 32768.0), "{:?}", state.scale);
    let cursor = checkpoint::Cursor {
        fingerprint: "f".into(),
        step: 1,
        tokens: 1,
        time: state.time,
        scale: state.scale,
    };
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in checkpoint::files(&state, &cursor).unwrap() {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let mut again = OnDevice::new(&decoder, setup(Tuned::all(&decoder.config), adam(), false, None));
    again.restore(checkpoint::state(dir.path(), &checkpoint::cursor(dir.path()).unwrap()).unwrap());
    assert!(again.state() == state);
}

#[test]
fn what_is_frozen_stays_and_the_rest_learns() {
    let (start, rows) =
        (fresh(), Rows { train: copies(160), validation: Vec::new(), too_long: 0, exact: Vec::new() });
    let batch: Vec<&Example> = rows.train.iter().collect();
    let before = mean_loss(&start, &batch, 100);
    for config in &ways()[1..] {
        let tuned = Tuned::of(config, &start.config, 3).unwrap();
        let (learner, _) = train(
            Training {
                model: &start,
                head: None,
                rows: &rows,
                config,
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
        let trained = learner.decoder();
        let after = mean_loss(&trained, &batch, 100);
        assert!(after < 0.97 * before, "{before} -> {after}");
        for (i, (old, new)) in start.weights().into_iter().zip(trained.weights()).enumerate() {
            assert_eq!(old.values() != new.values(), tuned.needs(i), "weight {i}");
        }
        let adapters = learner.adapters();
        assert_eq!(adapters.is_empty(), config.lora_rank == 0);
        for (adapter, a, b) in &adapters {
            // What is merged is W + (alpha / rank) B A.
            let columns = adapter.columns;
            let (old, new) =
                (start.weights()[adapter.weight].values(), trained.weights()[adapter.weight].values());
            for (r, row) in adapter.rows.clone().enumerate().step_by(5) {
                let sum: f32 = (0..3).map(|k| b.values[r * 3 + k] * a.values[k * columns]).sum();
                assert!((new[row * columns] - old[row * columns] - 8.0 / 3.0 * sum).abs() < 1e-5);
            }
        }
    }
    let unknown = TrainConfig { freeze: vec!["knees".into()], ..config(1.0, 0) };
    assert!(Tuned::of(&unknown, &start.config, 3).unwrap_err().to_string().contains("`knees`"));
    let unknown = TrainConfig { lora_rank: 2, lora_targets: vec!["lm_head".into()], ..config(1.0, 0) };
    assert!(Tuned::of(&unknown, &start.config, 3).unwrap_err().to_string().contains("`lm_head`"));
}

#[test]
fn adapters_are_written_as_peft_names_them() {
    let (decoder, config) = (fresh(), ways().swap_remove(2));
    let tuned = Tuned::of(&config, &decoder.config, 3).unwrap();
    let learner = Learner::new(&decoder, setup(tuned, adam(), false, None), &cpu());
    let files = peft_files(&learner.adapters(), &config, "base").unwrap();
    let json: serde_json::Value = serde_json::from_slice(&files[0].1).unwrap();
    assert_eq!((json["r"].as_u64(), json["lora_alpha"].as_f64()), (Some(3), Some(8.0)));
    assert_eq!(json["layers_to_transform"], serde_json::json!([1]));
    let tensors = safetensors::SafeTensors::deserialize(&files[1].1).unwrap();
    let shape = |name: &str| {
        tensors
            .tensor(&format!("base_model.model.model.layers.1.self_attn.{name}.weight"))
            .unwrap()
            .shape()
            .to_vec()
    };
    assert_eq!((shape("q_proj.lora_A"), shape("q_proj.lora_B")), (vec![3, 32], vec![32, 3]));
    assert_eq!((shape("v_proj.lora_B"), tensors.len()), (vec![16, 3], 4));
}

#[test]
fn training_learns_and_a_resumed_run_ends_bit_for_bit_the_same() {
    let rows = Rows { train: copies(160), validation: Vec::new(), too_long: 0, exact: Vec::new() };
    let batch: Vec<&Example> = rows.train.iter().collect();
    let start = fresh();
    let before = mean_loss(&start, &batch, 100);
    for config in ways() {
        let (whole, curve) = train(
            Training {
                model: &start,
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
        if config.lora_rank == 0 && config.freeze.is_empty() {
            let after = mean_loss(&whole.decoder(), &batch, 100);
            assert!(after < 0.5 * before, "{before} -> {after}");
        }

        let dir = tempfile::tempdir().unwrap();
        let mut kept = Vec::new();
        let mut keep = |m: Moment<'_>| {
            if kept.is_empty() {
                for (name, bytes) in checkpoint::files(&m.state, &m.cursor)? {
                    std::fs::write(dir.path().join(name), bytes)?;
                }
                kept = m.losses.to_vec();
            }
            Ok(())
        };
        let config = TrainConfig { checkpoint_every: 77, ..config };
        train(
            Training {
                model: &start,
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
            &mut keep,
        )
        .unwrap();
        let resume = Some((dir.path(), kept));
        let (resumed, again) = train(
            Training {
                model: &start,
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
            &mut |_| Ok(()),
        )
        .unwrap();
        assert!(whole.state() == resumed.state());
        assert_eq!(hf::export(&whole.decoder()), hf::export(&resumed.decoder()));
        assert_eq!(curve, again);
    }
}

#[test]
fn a_damaged_checkpoint_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let cursor = checkpoint::Cursor { fingerprint: "f".into(), step: 1, tokens: 1, time: 1, scale: None };
    std::fs::write(dir.path().join("state.safetensors"), b"short").unwrap();
    let error = checkpoint::state(dir.path(), &cursor).unwrap_err();
    assert!(error.to_string().contains("state.safetensors"), "{error}");

    // One of another model is whole, but does not fit.
    let decoder = fresh();
    let mut learner = Learner::new(&decoder, setup(Tuned::all(&decoder.config), adam(), false, None), &cpu());
    let mut state = learner.state();
    state.slots.pop();
    for (name, bytes) in checkpoint::files(&state, &cursor).unwrap() {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    assert!(learner.restore(checkpoint::state(dir.path(), &cursor).unwrap()).is_err());
}

#[test]
fn the_learning_rate_rises_then_falls_to_its_floor() {
    let rate = |step| learning_rate(1.0, step, 100, 10, 0.1);
    assert!((rate(0) - 0.1).abs() < 1e-12 && (rate(9) - 1.0).abs() < 1e-12);
    assert!((10..99).all(|s| rate(s + 1) < rate(s)));
    assert!((rate(100) - 0.1).abs() < 1e-12);
}

#[test]
fn a_budget_of_tokens_ends_training_before_the_step_that_exceeds_it() {
    let rows = Rows { train: long(), validation: Vec::new(), too_long: 0, exact: Vec::new() };
    let limit = |max_tokens_total| TrainConfig { max_tokens_total, batch_size: 7, ..config(2.5, 0) };
    let steps = |budget, seed| super::total_steps(&rows, &limit(budget), None, seed);
    let unlimited = steps(0, 1);
    assert_eq!(unlimited, 15, "2.5 epochs of 6 batches");
    let (decoder, device) = (fresh(), cpu());
    let taken = |config: &TrainConfig, seed| -> Vec<u64> {
        let (head, resume, fingerprint) = (None, None, "f");
        let (rows, device) = (&rows, &device);
        let training =
            Training { model: &decoder, head, rows, config, seed, fingerprint, resume, own: None, device };
        let (_, curve) = train(training, &Silent, &mut |_| Ok(())).unwrap();
        curve.iter().map(|loss| loss.tokens).collect()
    };
    for budget in [1, 500, 4000, 1_000_000] {
        let seed = 1 + budget;
        let tokens = taken(&limit(budget), seed);
        let count = tokens.len();
        assert_eq!(count, steps(budget, seed));
        assert!(tokens[count - 1] <= budget || count == 1, "{budget}: {tokens:?}");
        // One step more would have been too much, or there was none.
        let longer = taken(&TrainConfig { max_steps: count + 1, ..limit(0) }, seed);
        assert!(longer[longer.len() - 1] > budget || count == unlimited, "{budget}: {longer:?}");
    }
}
