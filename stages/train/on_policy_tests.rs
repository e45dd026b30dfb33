//! A student that is taught on answers of its own.

use std::path::Path;
use std::sync::Arc;

use datasets::table::Loss;

use super::batch::Example;
use super::learner::Learner;
use super::losses::TokenLoss;
use super::on_policy::OnPolicy;
use super::teacher::Teacher;
use super::tests::{config, copies, cpu, fresh};
use super::{Moment, Rows, TrainConfig, Training, checkpoint, train};
use crate::events::Silent;
use crate::model::generate::Limits;
use crate::model::soft::Divergence;
use crate::model::{Decoder, Precision, Tokenizer};

/// A decoder that has learned to repeat the first token of a question.
fn teacher() -> Decoder {
    let config = TrainConfig { learning_rate: 1e-2, ..config(30.0, 0) };
    let rows = Rows { train: copies(160), validation: Vec::new(), too_long: 0, exact: Vec::new() };
    fit((&fresh(), None), &rows, &config, None, &mut |_| Ok(())).0.decoder()
}

fn student() -> Decoder {
    let like = fresh();
    let mut seeded = Decoder::random(&like.config, 99, &like.device());
    seeded.config.eos_token_ids = vec![4];
    seeded.map(|w| if w.dims()[0] == 1 { w } else { w.div_scalar(2.0) })
}

fn fit(
    (model, teacher): (&Decoder, Option<&Decoder>),
    rows: &Rows,
    config: &TrainConfig,
    resume: Option<(&Path, Vec<Loss>)>,
    keep: &mut dyn FnMut(Moment<'_>) -> anyhow::Result<()>,
) -> (Learner, Vec<Loss>) {
    let (tokenizer, device) = (Tokenizer::tiny().unwrap(), cpu());
    let prompts: Vec<Vec<u32>> = copies(160).iter().map(|row| row.tokens[..=row.asked].to_vec()).collect();
    let own = teacher.map(|teacher| OnPolicy {
        teacher: Teacher::new(teacher, &device),
        tokenizer: &tokenizer,
        prompts: &prompts,
        limits: Limits { rows: 8, cache: 1 << 22 },
        dtype: Precision::Auto,
        device: &device,
    });
    let work =
        Training { model, head: None, rows, config, seed: 3, fingerprint: "f", resume, own, device: &device };
    train(work, &Silent, keep).unwrap()
}

/// Kept rows with random answers, which teach nothing, and what the teacher says of them.
fn noise(teacher: &Decoder) -> Rows {
    let mut reader = Teacher::new(teacher, &cpu());
    let mut train: Vec<Example> = copies(64)
        .into_iter()
        .enumerate()
        .map(|(i, row)| Example::new(&row.tokens[..=row.asked], &[7 + i as u32 % 50, 4], 0.0, 1.0))
        .collect();
    for row in &mut train {
        row.teacher =
            Some(Arc::new(reader.likeliest(&[row], (8, teacher.config.vocab_size), &Silent).unwrap()));
    }
    Rows { train, validation: Vec::new(), too_long: 0, exact: Vec::new() }
}

fn distil(on_policy: f64, divergence: Divergence) -> TrainConfig {
    TrainConfig {
        loss: TokenLoss::Distil,
        top_k: 8,
        on_policy,
        on_policy_tokens: 3,
        divergence,
        learning_rate: 1e-2,
        ..config(30.0, 0)
    }
}

#[test]
fn a_student_learns_from_what_a_teacher_says_of_its_own_answers() {
    let (teacher, student, test) = (teacher(), student(), copies(160));
    let loss = |decoder: &Decoder| {
        let setup =
            super::tests::setup(super::lora::Tuned::all(&decoder.config), super::tests::adam(), false, None);
        let rows: Vec<&Example> = test.iter().collect();
        Learner::new(decoder, setup, &cpu()).mean_losses(&rows, 32).unwrap().0
    };
    let rows = noise(&teacher);
    let (untrained, best) = (loss(&student), loss(&teacher));
    for divergence in [Divergence::Forward, Divergence::Reverse] {
        let (learner, curve) =
            fit((&student, Some(&teacher)), &rows, &distil(1.0, divergence), None, &mut |_| Ok(()));
        let found = loss(&learner.decoder());
        assert!(found - best < 0.65 * (untrained - best), "{divergence:?}: {untrained} {found} {best}");
        let last = curve.last().unwrap();
        assert!(last.sampled_tokens > 0 && last.teacher_tokens > last.sampled_tokens, "{last:?}");
        assert!(curve.iter().all(|row| row.sampled_length.is_some_and(|length| length <= 4.0)));
        // It learns to end, as the teacher does.
        let ended = |rows: &[Loss]| rows.iter().filter_map(|row| row.sampled_ended).sum::<f32>();
        assert!(ended(&curve[curve.len() - 20..]) > ended(&curve[..20]) + 4.0);
    }
}

#[test]
fn a_resumed_run_writes_the_same_rows_and_ends_bit_for_bit_the_same() {
    let (teacher, student) = (teacher(), student());
    let rows = noise(&teacher);
    let config = TrainConfig { checkpoint_every: 7, max_steps: 20, ..distil(0.5, Divergence::Forward) };
    let (dir, mut kept) = (tempfile::tempdir().unwrap(), Vec::new());
    let of = (&student, Some(&teacher));
    let (whole, curve) = fit(of, &rows, &config, None, &mut |moment| {
        if kept.is_empty() {
            for (name, bytes) in checkpoint::files(&moment.state, &moment.cursor)? {
                std::fs::write(dir.path().join(name), bytes)?;
            }
            kept = moment.losses.to_vec();
        }
        Ok(())
    });
    assert_eq!(kept.len(), 7);
    let (resumed, again) = fit(of, &rows, &config, Some((dir.path(), kept)), &mut |_| Ok(()));
    assert!(whole.state() == resumed.state());
    assert_eq!(curve, again);
    // Half of the rows give way.
    let own = curve.last().unwrap().sampled_tokens as f32 / 20.0;
    assert!((4.0..16.0).contains(&own), "{own} tokens a step");
}
