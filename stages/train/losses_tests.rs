//! Losses of tokens: what they weigh, that gradients are slopes, that both engines agree, and that nothing
//! depends on threads or stops.

use std::sync::Arc;

use super::batch::{Example, Target};
use super::cpu::Cpu;
use super::device::OnDevice;
use super::learner::{Adam, Learner, Step};
use super::lora::Tuned;
use super::losses::{Face, Golden, Objective, TokenLoss, by_value, exact_tokens, lines};
use super::reference::refer;
use super::teacher::Teacher;
use super::tests::{adam, config, copies, cpu, distance, fresh, setup};
use super::value::{HeadConfig, ValueLoss};
use super::{Moment, Rows, TrainConfig, Training, checkpoint, train};
use crate::events::Silent;
use crate::model::soft::{Distil, Divergence, TopK};
use crate::model::weight::Weight;
use crate::model::{Decoder, Tokenizer, ValueHead};

fn refs(examples: &[Example]) -> Vec<&Example> {
    examples.iter().collect()
}

/// Tokens 5 to 9 and the end 4 are exact.
fn exact(decoder: &Decoder) -> Vec<bool> {
    (0..decoder.config.vocab_size).map(|id| (4..10).contains(&id)).collect()
}

/// Another decoder of the same shape.
fn reference() -> Decoder {
    let decoder = fresh();
    let seeded = Decoder::random(&decoder.config, 99, &decoder.device());
    seeded.map(|w| if w.dims()[0] == 1 { w } else { w.mul_scalar(3.0) })
}

/// Rows with longer completions and prompts that weigh a little.
fn rows(count: u32) -> Vec<Example> {
    let mut rows: Vec<Example> = (0..count)
        .map(|i| {
            let prompt: Vec<u32> = (0..3 + i % 5).map(|j| (i * 7 + j * 3) % 40 + 5).collect();
            let answer: Vec<u32> = (0..4 + i % 3).map(|j| (i * 5 + j * j) % 12 + 5).chain([4]).collect();
            Example::new(&prompt, &answer, 0.1, if i % 3 == 0 { 0.5 } else { 1.0 })
        })
        .collect();
    refer(&reference(), &mut rows, &cpu()).unwrap();
    teach(&reference(), &mut rows);
    rows
}

/// Gives rows what a teacher says of their completions, five tokens of each; but not the third row.
fn teach(decoder: &Decoder, rows: &mut [Example]) {
    let mut teacher = Teacher::new(decoder, &cpu());
    for (_, row) in rows.iter_mut().enumerate().filter(|(i, _)| *i != 2) {
        let bare = Example::new(&row.tokens[..=row.asked], &row.tokens[row.asked + 1..], 0.0, 1.0);
        row.teacher =
            Some(Arc::new(teacher.likeliest(&[&bare], (5, decoder.config.vocab_size), &Silent).unwrap()));
    }
}

const DISTIL: Distil = Distil { share: 0.8, temperature: 1.5, divergence: Divergence::Forward };

/// All objectives, the frequency-aware one in the middle of its way.
fn objectives(decoder: &Decoder) -> Vec<Objective> {
    let mut face = Face::new(0.2, exact(decoder));
    let seen = rows(40);
    let best: Vec<u32> = seen.iter().flat_map(|e| e.tokens[1..].iter().map(|t| (t * t) % 17 + 3)).collect();
    face.count(&refs(&seen), &best);
    vec![
        Objective::Plain,
        Objective::Face(face),
        Objective::Golden(Golden::new(0.4, exact(decoder))),
        Objective::Distil(DISTIL, 5),
        Objective::Distil(Distil { divergence: Divergence::Reverse, ..DISTIL }, 5),
    ]
}

#[test]
fn numbers_operators_and_the_end_are_exact() {
    let tokenizer = Tokenizer::tiny().unwrap();
    let end = tokenizer.eos().unwrap();
    let exact = exact_tokens(&tokenizer, 300, &[end]);
    assert_eq!(exact.len(), 300);
    for text in ["0", "7", "+", "-", "*", "/", "="] {
        assert!(exact[tokenizer.encode(text)[0] as usize], "{text}");
    }
    for text in ["a", " ", ".", "\n", "#", "("] {
        assert!(!exact[tokenizer.encode(text)[0] as usize], "{text}");
    }
    assert!(exact[end as usize] && !exact[299]);
}

#[test]
fn frequent_outputs_weigh_less_down_to_the_floor() {
    // Tokens 0 to 3 are counted, 4 is exact.
    let mut face = Face::new(0.2, vec![false, false, false, false, true]);
    assert_eq!(face.weights(), [1.0; 5]);
    // The first target is the prompt's, which counts nothing; the third weighs nothing, so that nothing was
    // predicted there.
    let mut row = Example::new(&[1, 1], &[1, 1, 1, 1], 1.0, 1.0);
    row.weights[2] = 0.0;
    face.count(&[&row], &[3, 0, 0, 1]);
    face.count(&[&row], &[3, 0, 0, 4]);
    assert_eq!(Objective::Face(face.clone()).counts(), [4, 1, 0, 0, 0]);
    // 1 - f / max: 0, 3/4, 1, 1 with mean 11/16.
    let expected = [0.2, 0.75 * 16.0 / 11.0, 16.0 / 11.0, 16.0 / 11.0, 1.0];
    assert!(distance(&face.weights(), &expected) < 1e-6, "{:?}", face.weights());
    let weighed = &face.weigh(&[&Example::new(&[2, 0], &[0, 4, 1], 0.5, 2.0)])[0];
    assert!(distance(&weighed.weights, &[1.0, 0.4, 2.0, 2.0 * expected[1]]) < 1e-6, "{:?}", weighed.weights);
}

#[test]
fn golden_tokens_are_those_behind_the_reference() {
    let golden = Golden::new(0.5, vec![false, false, false, false, true]);
    let with = |example: Example, reference: &[f32]| Example { reference: reference.to_vec(), ..example };
    let one = with(Example::new(&[1, 2], &[3, 4, 0], 0.1, 1.0), &[9.0, 1.0, 1.0, 1.0]);
    let other = with(Example::new(&[1], &[2, 0, 0], 0.0, 0.5), &[0.0, 2.0, 0.5]);
    let silent = Example::new(&[], &[1, 2, 3], 0.0, 0.0);
    // Excess: prompt -, 3 has 0.5, 4 is exact, 0 has -0.5; then 1, -2, 0.5. Of five the best three count:
    // ties by place.
    let chosen = golden.choose(&[&one, &silent, &other], &[0.0, 1.5, 0.1, 0.5, 1.0, 0.0, 1.0]).unwrap();
    assert_eq!(chosen[0].weights, [0.1, 1.0, 1.0, 0.0]);
    assert_eq!(chosen[1].weights, [0.0, 0.0]);
    assert_eq!(chosen[2].weights, [0.5, 0.0, 0.5]);
    let all = Golden::new(1.0, golden_exact())
        .choose(&[&one, &other], &[0.0, 1.5, 0.1, 0.5, 1.0, 0.0, 1.0])
        .unwrap();
    assert_eq!((&all[0].weights, &all[1].weights), (&one.weights, &other.weights));
    let none = Golden::new(0.0, golden_exact()).choose(&[&one], &[0.0, 1.5, 0.1, 0.5]).unwrap();
    assert_eq!(none[0].weights, [0.1, 0.0, 1.0, 0.0]);
    let bare = Example::new(&[1, 2], &[3], 0.0, 1.0);
    assert!(golden.choose(&[&bare], &[1.0]).unwrap_err().to_string().contains("reference"));
}

fn golden_exact() -> Vec<bool> {
    vec![false, false, false, false, true]
}

#[test]
fn steps_that_raise_the_value_weigh_more() {
    let tokenizer = Tokenizer::tiny().unwrap();
    let tokens = tokenizer.encode("1+2=3\n3+3=6\n#### 6");
    let lines = lines(&tokenizer, &tokens);
    let of = |line: usize| lines.iter().filter(|l| **l == line).count();
    assert_eq!((of(0), of(1), of(2)), (6, 6, tokens.len() - 12));
    assert_eq!(tokenizer.decode(&tokens[..6]), "1+2=3\n");
    // Values before, after each of two steps, and with the answer; the end token stands in the last line.
    let with_end: Vec<usize> = lines.iter().copied().chain([2]).collect();
    let weights = by_value(&[0.5, 0.75, 0.25, 0.25], &with_end, 4.0);
    let mean = (2.0 * 6.0 + (weights.len() - 6) as f32) / weights.len() as f32;
    for (line, weight) in with_end.iter().zip(&weights) {
        assert!((weight - if *line == 0 { 2.0 } else { 1.0 } / mean).abs() < 1e-6);
    }
    assert!((weights.iter().sum::<f32>() / weights.len() as f32 - 1.0).abs() < 1e-6);
    assert!(by_value(&[], &[0, 0], 4.0).iter().all(|w| (w - 1.0).abs() < 1e-6));
}

#[test]
fn reference_losses_are_those_of_the_reference_on_both_engines() {
    let (decoder, mut rows) = (reference(), rows(20));
    rows.push(Example::new(&[], &[5, 6], 0.0, 0.0));
    refer(&decoder, &mut rows, &cpu()).unwrap();
    let mut reader = Learner::new(&decoder, setup(Tuned::all(&decoder.config), adam(), false, None), &cpu());
    for row in &rows[..20] {
        let total: f32 = row.weights.iter().sum();
        let mean = row.weights.iter().zip(&row.reference).map(|(w, l)| w * l).sum::<f32>() / total;
        assert!((reader.mean_losses(&[row], 1).unwrap().0 - mean).abs() < 1e-5);
    }
    assert!(rows[20].reference.is_empty());
    let on_device = super::device::token_losses(&decoder, &refs(&rows), 3).unwrap();
    let flat: Vec<f32> = rows
        .iter()
        .flat_map(|e| e.reference.iter().zip(&e.weights).filter(|(_, w)| **w > 0.0).map(|(l, _)| *l))
        .collect();
    assert!(distance(&on_device, &flat) < 1e-4);
}

#[test]
fn gradients_of_each_loss_are_slopes() {
    let (decoder, examples) = (fresh(), rows(12));
    let batch = refs(&examples);
    for objective in objectives(&decoder) {
        let mut engine = Cpu::new(&decoder, setup(Tuned::all(&decoder.config), adam(), false, None));
        engine.objective = objective.clone();
        let (loss, _, all) = engine.sums(&batch, 5);
        let all = all.to_vec();
        // Weights are constants of the step.
        let weighed = match &objective {
            Objective::Plain | Objective::Distil(..) => examples.clone(),
            Objective::Face(face) => face.weigh(&batch),
            Objective::Golden(golden) => {
                let losses = super::device::token_losses(&decoder, &batch, 100).unwrap();
                golden.choose(&batch, &losses).unwrap()
            }
        };
        if matches!(objective, Objective::Face(_) | Objective::Golden(_)) {
            assert!(weighed != examples);
        }
        let weighed = refs(&weighed);
        let values: Vec<Vec<f32>> = decoder.weights().into_iter().map(Weight::values).collect();
        let at = |distance: f32| {
            let moved: Vec<Vec<f32>> = values
                .iter()
                .zip(&all)
                .map(|(w, g)| w.iter().zip(g).map(|(w, g)| w + distance * g).collect())
                .collect();
            let mut engine = Cpu::new(
                &decoder.with_values(&moved),
                setup(Tuned::all(&decoder.config), adam(), false, None),
            );
            match objective {
                Objective::Distil(..) => {
                    engine.objective = objective.clone();
                    engine.sums(&weighed, 100).0 as f32
                }
                _ => engine.mean_losses(&weighed, 100).0,
            }
        };
        assert!((f64::from(at(0.0)) - loss).abs() < 1e-5, "{} {loss}", at(0.0));
        let norm: f32 = all.iter().flatten().map(|g| g * g).sum();
        let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
        assert!((slope / norm - 1.0).abs() < 0.02, "{objective:?}: slope {slope}, squared norm {norm}");
    }
}

#[test]
fn both_engines_take_the_same_steps_with_each_loss() {
    let (decoder, examples) = (fresh(), rows(24));
    let batch = refs(&examples);
    for objective in objectives(&decoder) {
        // A large epsilon, for AdamW's first steps divide noise by noise.
        let adam = Adam { epsilon: 1e-3, ..adam() };
        let mut cpu =
            Learner::Cpu(Box::new(Cpu::new(&decoder, setup(Tuned::all(&decoder.config), adam, false, None))));
        let mut device = Learner::Device(Box::new(OnDevice::new(
            &decoder,
            setup(Tuned::all(&decoder.config), adam, false, None),
        )));
        (cpu, device) = (cpu.with_objective(objective.clone()), device.with_objective(objective.clone()));
        let mut whole = Learner::new(
            &decoder,
            setup(Tuned::all(&decoder.config), adam, false, None),
            &super::tests::cpu(),
        );
        whole = whole.with_objective(objective.clone());
        for step in 0..6 {
            let (a, b) = (cpu.step(&batch, 10, 3e-3).unwrap(), device.step(&batch, 7, 3e-3).unwrap());
            let c = whole.step(&batch, 24, 3e-3).unwrap();
            assert!(
                (a.loss - b.loss).abs() < 1e-4 && (a.norm / b.norm - 1.0).abs() < 1e-3,
                "step {step}: {a:?} {b:?}"
            );
            assert!(
                (a.loss - c.loss).abs() < 1e-4 && (a.norm / c.norm - 1.0).abs() < 1e-3,
                "step {step}: {a:?} {c:?}"
            );
        }
        let (a, b) = (cpu.state(), device.state());
        assert_eq!(a.counts, b.counts);
        assert_eq!(a.counts, whole.state().counts);
        assert_eq!(a.counts.iter().sum::<u64>() > 0, matches!(objective, Objective::Face(_)));
        for (a, b) in a.slots.iter().zip(&b.slots) {
            assert!(distance(&a.values, &b.values) < 1e-4);
        }
        // One engine goes on from the other's state, and from none of another loss.
        let other = Learner::new(
            &decoder,
            setup(Tuned::all(&decoder.config), adam, false, None),
            &super::tests::cpu(),
        );
        let mut other = other.with_objective(objective);
        other.restore(device.state()).unwrap();
        assert_eq!(other.state().counts, device.state().counts);
        let mut plain = Learner::new(
            &decoder,
            setup(Tuned::all(&decoder.config), adam, false, None),
            &super::tests::cpu(),
        );
        assert_eq!(plain.restore(device.state()).is_err(), !device.state().counts.is_empty());
    }
}

#[test]
fn each_loss_has_the_same_bits_on_any_number_of_threads() {
    let (decoder, examples) = (fresh(), rows(60));
    let batch = refs(&examples);
    for objective in objectives(&decoder) {
        for micro in [16, 60] {
            let run = |threads: usize| {
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
                    let mut rows = rows(60);
                    refer(&reference(), &mut rows, &cpu()).unwrap();
                    assert!(rows == examples);
                    let learner = Learner::new(
                        &decoder,
                        setup(Tuned::all(&decoder.config), adam(), false, None),
                        &cpu(),
                    );
                    let mut learner = learner.with_objective(objective.clone());
                    let curve: Vec<Step> =
                        (0..3).map(|_| learner.step(&batch, micro, 1e-3).unwrap()).collect();
                    (curve, learner.state())
                })
            };
            let one = run(1);
            for threads in [2, 4, 7] {
                assert!(run(threads) == one, "{threads} threads");
            }
        }
    }
}

/// `[train]` of each loss, and rows for it.
fn settings() -> Vec<(TrainConfig, Rows)> {
    let all = [TokenLoss::Ce, TokenLoss::Face, TokenLoss::Golden, TokenLoss::Value, TokenLoss::Distil];
    all.map(|loss| {
        let mut train = rows(64);
        if loss == TokenLoss::Value {
            for row in &mut train {
                let gains = by_value(&[0.2, 0.9, 0.4], &[0, 0, 1], 4.0);
                row.weights[row.asked..].iter_mut().zip(gains).for_each(|(w, g)| *w *= g);
            }
        }
        let exact = exact(&fresh());
        (
            TrainConfig { loss, golden_share: 0.5, top_k: 5, checkpoint_every: 13, ..config(4.0, 0) },
            Rows { train, validation: rows(6), too_long: 0, exact },
        )
    })
    .into()
}

#[test]
fn a_resumed_run_of_each_loss_ends_bit_for_bit_the_same() {
    let mut ends = Vec::new();
    for (config, rows) in settings() {
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
        assert_eq!(whole.state().counts.is_empty(), config.loss != TokenLoss::Face);
        assert_eq!(curve, again);
        assert!(
            curve.last().unwrap().validation_loss < curve[0].validation_loss.or(Some(9.0)),
            "{:?}",
            curve.last()
        );
        ends.push(whole.state().slots);
    }
    for (i, end) in ends.iter().enumerate() {
        assert!(ends[..i].iter().all(|other| other != end), "each loss trains another student");
    }
}

#[test]
fn counts_of_any_size_survive_a_checkpoint() {
    let mut learner = Learner::new(&fresh(), setup(Tuned::all(&fresh().config), adam(), false, None), &cpu());
    let counts = vec![0, 1, (1 << 24) - 1, 1 << 24, (1 << 24) + 1, 123_456_789_012, (1 << 47) + 12_345_678];
    let state = super::learner::State { counts: counts.clone(), ..learner.state() };
    let cursor = checkpoint::Cursor { fingerprint: "f".into(), step: 1, tokens: 1, time: 1, scale: None };
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in checkpoint::files(&state, &cursor).unwrap() {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let again = checkpoint::state(dir.path(), &cursor).unwrap();
    assert_eq!(again.counts, counts);
    let error = learner.restore(again).unwrap_err().to_string();
    assert!(error.contains("7 token counts") && error.contains("expected 0"), "{error}");
}

/// Losing paths teach the value head alone: whatever the loss, their tokens weigh nothing, and the tokens of
/// others as much as without.
#[test]
fn losing_paths_train_the_value_head_alone_with_every_loss() {
    let decoder = fresh();
    let target = |place, target| Target { place, target, weight: 1.0, group: 0 };
    let losing: Vec<Example> = (0..8u32)
        .map(|i| {
            Example::new(&[], &[5 + i, 11, 12 + i, 4], 0.0, 0.0)
                .with_values(vec![target(1, 0.0), target(2, 0.0)])
        })
        .collect();
    let start = ValueHead { weight: (0..32).map(|i| ((i * 7) as f32).sin() * 0.3).collect(), bias: 0.1 };
    let head = |weight| Some(HeadConfig { loss: ValueLoss::Bce, weight, start: start.clone() });
    for objective in objectives(&decoder) {
        let engine = |weight, objective: &Objective| {
            let mut engine =
                Cpu::new(&decoder, setup(Tuned::all(&decoder.config), adam(), false, head(weight)));
            engine.objective = objective.clone();
            engine
        };
        // Alone: the gradient is that of the values, to the last bit.
        let (mut own, mut plain) = (engine(0.7, &objective), engine(0.7, &Objective::Plain));
        let (a, b) = (own.sums(&refs(&losing), 3), plain.sums(&refs(&losing), 3));
        assert_eq!((a.0, a.1), (0.0, b.1));
        assert!(a.2 == b.2 && a.2.iter().flatten().any(|g| *g != 0.0));
        own.step(&refs(&losing), 3, 1e-3).unwrap();
        assert_eq!(
            own.objective.counts(),
            objective.counts(),
            "what losing paths would write is not counted"
        );
        // Beside others, with values that weigh nothing: no token's gradient changes.
        let winning = rows(12);
        let both: Vec<&Example> = winning.iter().chain(&losing).collect();
        let (mut alone, mut beside) = (engine(0.0, &objective), engine(0.0, &objective));
        let (a, b) = (alone.sums(&refs(&winning), 100), beside.sums(&both, 100));
        assert!((a.0 - b.0).abs() < 1e-6, "{} {}", a.0, b.0);
        for (a, b) in a.2.iter().zip(b.2) {
            assert!(distance(a, b) < 1e-5);
        }
    }
}

/// Rows of random tokens say nothing by themselves; all that is learned of them is the teacher's.
#[test]
fn a_student_comes_close_to_its_teacher_where_the_text_alone_would_not() {
    let teacher = reference();
    let apart = |learner: &Learner, rows: &[Example]| {
        let decoder = learner.decoder();
        let mut own = Teacher::new(&decoder, &cpu());
        let apart = |row: &Example| {
            let vocabulary = teacher.config.vocab_size;
            let read =
                |of: &mut Teacher<'_>| of.likeliest(&[row], (vocabulary, vocabulary), &Silent).unwrap();
            let (q, p) = (read(&mut Teacher::new(&teacher, &cpu())), read(&mut own));
            let by_id = |top: &TopK, place: usize| {
                let mut logs = vec![0.0; vocabulary];
                let ids = &top.ids[place * vocabulary..(place + 1) * vocabulary];
                ids.iter().zip(&top.logs[place * (vocabulary + 1)..]).for_each(|(id, log)| {
                    logs[*id as usize] = f64::from(*log);
                });
                logs
            };
            let kl = |place| -> f64 {
                by_id(&q, place).iter().zip(by_id(&p, place)).map(|(q, p)| q.exp() * (q - p)).sum()
            };
            (0..q.len()).map(kl).sum::<f64>() / q.len() as f64
        };
        rows.iter().map(apart).sum::<f64>() / rows.len() as f64
    };
    let (train, fresh) = (rows(48), fresh());
    let unseen: Vec<Example> = rows(60)[50..].to_vec();
    let trained = |objective: Objective| {
        let setup = setup(Tuned::all(&fresh.config), adam(), false, None);
        let mut learner = Learner::new(&fresh, setup, &cpu()).with_objective(objective);
        for _ in 0..120 {
            learner.step(&refs(&train), 48, 3e-3).unwrap();
        }
        apart(&learner, &unseen)
    };
    let all = Distil { share: 1.0, temperature: 1.0, divergence: Divergence::Forward };
    let (plain, forward) = (trained(Objective::Plain), trained(Objective::Distil(all, 5)));
    let reverse = trained(Objective::Distil(Distil { divergence: Divergence::Reverse, ..all }, 5));
    assert!(forward < 0.8 * plain && reverse < 0.8 * plain, "{plain} {forward} {reverse}");
}

#[test]
fn shares_that_are_none_are_errors() {
    for (config, key) in [
        (TrainConfig { face_floor: -0.1, ..config(1.0, 0) }, "train.face_floor"),
        (TrainConfig { golden_share: 1.5, ..config(1.0, 0) }, "train.golden_share"),
    ] {
        assert!(Objective::of(&config, &[]).unwrap_err().to_string().contains(key));
    }
    let rows = Rows { train: copies(8), validation: Vec::new(), too_long: 0, exact: exact(&fresh()) };
    let golden = TrainConfig { loss: TokenLoss::Golden, ..config(1.0, 0) };
    let error = train(
        Training {
            model: &fresh(),
            head: None,
            rows: &rows,
            config: &golden,
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
    .unwrap();
    assert!(format!("{error:#}").contains("reference losses"), "{error:#}");
}
