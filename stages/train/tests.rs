//! Training against itself: what is computed must not depend on how it is divided or interrupted.

use burn::tensor::Device;

use super::batch::Example;
use super::step::{Optimizer, gradients, learning_rate, mean_loss};
use super::{Moment, Rows, Start, TrainConfig, checkpoint, train};
use crate::events::Silent;
use crate::model::tests::tiny;
use crate::model::{Choice, Llama, Tokenizer, hf};

fn cpu() -> Choice {
    Choice { device: Device::flex(), kind: "cpu", why: String::new() }
}

/// A small decoder with weights as training starts with them.
fn fresh() -> Llama {
    tiny(&Tokenizer::tiny().unwrap()).map(|w| if w.dims()[0] == 1 { w } else { w.div_scalar(8.0) })
}

/// Rows in which the answer repeats the first token of the question.
fn copies(count: u32) -> Vec<Example> {
    (0..count)
        .map(|i| {
            let prompt: Vec<u32> = (0..3 + i % 5).map(|j| (i * 7 + j * 3) % 40 + 5).collect();
            Example::new(&prompt, &[prompt[0], 4], 0.0, if i % 3 == 0 { 0.5 } else { 1.0 })
        })
        .collect()
}

fn config(epochs: f64, checkpoint_every: usize) -> TrainConfig {
    TrainConfig {
        start: Start::Base,
        epochs,
        max_steps: 0,
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
        replicas: 2,
        allow_leaks: false,
    }
}

#[test]
fn gradients_do_not_depend_on_replicas_or_micro_batches() {
    let llama = fresh();
    let examples = copies(13);
    let batch: Vec<&Example> = examples.iter().collect();
    let (loss, whole) = gradients(&llama, &batch, 1, 100);
    for (replicas, micro) in [(1, 3), (2, 100), (3, 2)] {
        let (other, parts) = gradients(&llama, &batch, replicas, micro);
        assert!((loss - other).abs() < 1e-5);
        for (a, b) in whole.iter().zip(&parts) {
            let difference = hf::values(&(a.clone() - b.clone())).into_iter().map(f32::abs).fold(0.0, f32::max);
            assert!(difference < 1e-5, "{replicas} replicas, micro-batches of {micro}: {difference}");
        }
    }
}

#[test]
fn a_row_counts_the_same_alone_and_in_a_padded_batch() {
    let llama = fresh();
    let examples = copies(10);
    let batch: Vec<&Example> = examples.iter().collect();
    let weight = |e: &Example| e.weights.iter().sum::<f32>();
    let alone: f32 =
        batch.iter().map(|e| mean_loss(&llama, &[e], 1) * weight(e)).sum::<f32>() / batch.iter().map(|e| weight(e)).sum::<f32>();
    assert!((mean_loss(&llama, &batch, 100) - alone).abs() < 1e-5);
}

#[test]
fn a_gradient_is_the_slope_of_the_loss() {
    let llama = fresh();
    let examples = copies(6);
    let batch: Vec<&Example> = examples.iter().collect();
    let (_, all) = gradients(&llama, &batch, 1, 100);
    // Along each gradient's own direction the loss must change by its squared norm.
    let norm: f32 = all.iter().map(|g| g.clone().square().sum().into_scalar::<f32>()).sum();
    let move_by = |distance: f32| {
        let mut step = all.iter();
        let moved = llama.map(|w| w + step.next().unwrap().clone().mul_scalar(distance));
        mean_loss(&moved, &batch, 100)
    };
    let distance = 1e-2;
    let slope = (move_by(distance) - move_by(-distance)) / (2.0 * distance);
    assert!((slope / norm - 1.0).abs() < 0.02, "slope {slope}, squared norm {norm}");
}

#[test]
fn training_learns_and_a_resumed_run_ends_bit_for_bit_the_same() {
    let rows = Rows { train: copies(160), validation: Vec::new(), too_long: 0 };
    let batch: Vec<&Example> = rows.train.iter().collect();
    let start = fresh();
    let before = mean_loss(&start, &batch, 100);
    let (whole, curve) = train(&start, &rows, &config(12.0, 0), 3, "f", None, &cpu(), &Silent, &mut |_| Ok(())).unwrap();
    let after = mean_loss(&whole, &batch, 100);
    assert!(after < 0.5 * before, "{before} -> {after}");

    let dir = tempfile::tempdir().unwrap();
    let mut kept = Vec::new();
    let mut keep = |m: Moment<'_>| {
        if kept.is_empty() {
            for (name, bytes) in checkpoint::files(m.llama, m.optimizer, &m.cursor)? {
                std::fs::write(dir.path().join(name), bytes)?;
            }
            kept = m.losses.to_vec();
        }
        Ok(())
    };
    train(&start, &rows, &config(12.0, 77), 3, "f", None, &cpu(), &Silent, &mut keep).unwrap();
    let resume = Some((dir.path(), kept));
    let (resumed, again) = train(&start, &rows, &config(12.0, 77), 3, "f", resume, &cpu(), &Silent, &mut |_| Ok(())).unwrap();
    assert_eq!(hf::export(&whole), hf::export(&resumed));
    assert_eq!(curve, again);
}

#[test]
fn a_damaged_checkpoint_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let llama = fresh();
    let cursor = checkpoint::Cursor { fingerprint: "f".into(), step: 1, tokens: 1, time: 1 };
    std::fs::write(dir.path().join("state.safetensors"), b"short").unwrap();
    let mut optimizer = Optimizer::new(0.9, 0.95, 0.1, 1.0);
    let error = checkpoint::restore(dir.path(), &llama, &mut optimizer, &cursor, &Device::flex()).unwrap_err();
    assert!(error.to_string().contains("state.safetensors"), "{error}");
}

#[test]
fn the_learning_rate_rises_then_falls_to_its_floor() {
    let rate = |step| learning_rate(1.0, step, 100, 10, 0.1);
    assert!((rate(0) - 0.1).abs() < 1e-12 && (rate(9) - 1.0).abs() < 1e-12);
    assert!((10..99).all(|s| rate(s + 1) < rate(s)));
    assert!((rate(100) - 0.1).abs() < 1e-12);
}
