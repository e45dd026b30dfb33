//! Drafts by future heads change how many passes an answer takes, and nothing else.

use super::{Generated, Generation, Generator, Limits, Request, Stop};
use crate::events::Silent;
use crate::model::tests::tiny;
use crate::model::{Decoder, FutureHeads, Tokenizer, hf};
use crate::policy::Sampling;
use crate::train::batch::Example;
use crate::train::future::FutureConfig;
use crate::train::learner::{Adam, Learner};
use crate::train::lora::Tuned;
use crate::train::tests::setup;

/// Texts in which tokens follow from those before, with room for surprises.
fn text(i: u32, len: u32) -> Vec<u32> {
    (0..len).map(|j| (i * 3 + j * 2 + (i * j % 5) / 4) % 60 + 20).collect()
}

/// A decoder and its heads that have learned to go on.
fn trained(tokenizer: &Tokenizer, steps: usize) -> (Decoder, FutureHeads) {
    let decoder = tiny(tokenizer).map(|w| if w.dims()[0] == 1 { w } else { w.div_scalar(8.0) });
    let rows: Vec<Example> =
        (0..48).map(|i| Example::new(&text(i, 3), &text(i, 24)[3..], 0.0, 1.0)).collect();
    let batch: Vec<&Example> = rows.iter().collect();
    let adam = Adam { beta_1: 0.9, beta_2: 0.95, epsilon: 1e-8, weight_decay: 0.0, clip: 1.0 };
    let device = crate::train::tests::cpu();
    let future = FutureConfig { start: FutureHeads::random(&decoder.config, 3, 1), weight: 1.0 };
    let learner = Learner::new(&decoder, setup(Tuned::all(&decoder.config), adam, false, None), &device);
    let mut learner = learner.with_future(Some(future));
    for _ in 0..steps {
        learner.step(&batch, 48, 4e-3).unwrap();
    }
    (learner.decoder(), learner.future().unwrap())
}

fn run(
    generator: &mut Generator,
    tokenizer: &Tokenizer,
    sampling: &Sampling,
    prompts: u32,
    seeds: &[u64],
) -> Vec<Vec<Generated>> {
    let requests: Vec<Request> = (0..prompts)
        .map(|i| Request { prompt: text(i * 5, 3 + i % 20), seeds: seeds.to_vec(), begun: String::new() })
        .collect();
    generator
        .generate(
            &Generation { tokenizer, requests: &requests, sampling, stop: Stop::Limit, stops: &[] },
            &Silent,
        )
        .unwrap()
}

#[test]
fn answers_are_the_same_with_drafts_and_take_fewer_passes() {
    let tokenizer = Tokenizer::tiny().unwrap();
    let (decoder, heads) = trained(&tokenizer, 120);
    let limits = Limits { rows: 64, cache: 1 << 24 };
    for (temperature, top_k, top_p) in [(0.0, 0, 1.0), (0.3, 0, 1.0), (1.0, 0, 1.0), (0.8, 7, 0.9)] {
        let sampling = Sampling { temperature, top_p, top_k, max_tokens: 21, calculator: false };
        for (rows, seeds) in [(1, &[4u64][..]), (3, &[1, 2]), (30, &[9])] {
            let (mut plain, mut drafting) =
                (Generator::new(&decoder, limits), Generator::with_heads(&decoder, Some(&heads), limits));
            let expected = run(&mut plain, &tokenizer, &sampling, rows, seeds);
            // Twice: what is in the cache already makes no difference.
            for _ in 0..2 {
                let before = drafting.steps().unwrap();
                assert_eq!(
                    run(&mut drafting, &tokenizer, &sampling, rows, seeds),
                    expected,
                    "temperature {temperature}, {rows} prompts"
                );
                let (steps, without) = (drafting.steps().unwrap() - before, plain.steps().unwrap());
                println!("temperature {temperature}, {rows} prompts: {steps} passes instead of {without}");
                assert!(steps <= without, "{steps} {without}");
                assert!(temperature > 0.0 || rows > 8 || steps * 2 <= without, "{steps} {without}");
            }
        }
    }
    // On any number of threads, with hardly any memory, and with heads that know nothing.
    let sampling = Sampling { temperature: 1.0, top_p: 1.0, top_k: 0, max_tokens: 30, calculator: false };
    let expected = run(&mut Generator::new(&decoder, limits), &tokenizer, &sampling, 7, &[1, 2, 3]);
    let untrained = FutureHeads::random(&decoder.config, 2, 1);
    let block = 16 * 2 * 2 * 8 * 4;
    for (threads, heads, cache) in
        [(1, &heads, 1 << 24), (4, &heads, 1 << 24), (2, &heads, 12 * 5 * block), (2, &untrained, 1 << 24)]
    {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let mut drafting = Generator::with_heads(&decoder, Some(heads), Limits { rows: 5, cache });
            assert_eq!(
                run(&mut drafting, &tokenizer, &sampling, 7, &[1, 2, 3]),
                expected,
                "{threads} threads"
            );
            assert!(drafting.cache_bytes().unwrap() <= cache);
        });
    }
}

#[test]
fn what_the_calculator_fills_in_is_the_same_with_drafts() {
    let tokenizer = Tokenizer::tiny().unwrap();
    let mut rows = Vec::new();
    for a in 10..40u32 {
        let answer = tokenizer.encode(&format!("{a}+7={}\n", a + 7));
        rows.push(Example::new(&tokenizer.encode(&format!("{a} and 7: ")), &answer, 0.0, 1.0));
    }
    let decoder = tiny(&tokenizer).map(|w| if w.dims()[0] == 1 { w } else { w.div_scalar(8.0) });
    let adam = Adam { beta_1: 0.9, beta_2: 0.95, epsilon: 1e-8, weight_decay: 0.0, clip: 1.0 };
    let future = FutureConfig { start: FutureHeads::random(&decoder.config, 3, 1), weight: 1.0 };
    let learner = Learner::new(
        &decoder,
        setup(Tuned::all(&decoder.config), adam, false, None),
        &crate::train::tests::cpu(),
    );
    let mut learner = learner.with_future(Some(future));
    let batch: Vec<&Example> = rows.iter().collect();
    for _ in 0..150 {
        learner.step(&batch, 30, 4e-3).unwrap();
    }
    let (decoder, heads) = (learner.decoder(), learner.future().unwrap());
    let requests: Vec<Request> = (10..18)
        .map(|a| Request {
            prompt: tokenizer.encode(&format!("{a} and 7: ")),
            seeds: vec![1, 2],
            begun: String::new(),
        })
        .collect();
    for (temperature, stop) in [(0.0, Stop::Line), (1.0, Stop::Line), (0.7, Stop::Limit)] {
        let sampling = Sampling { temperature, top_p: 1.0, top_k: 0, max_tokens: 14, calculator: true };
        let limits = Limits { rows: 4, cache: 1 << 24 };
        let (mut plain, mut drafting) =
            (Generator::new(&decoder, limits), Generator::with_heads(&decoder, Some(&heads), limits));
        let expected = plain
            .generate(
                &Generation {
                    tokenizer: &tokenizer,
                    requests: &requests,
                    sampling: &sampling,
                    stop,
                    stops: &[],
                },
                &Silent,
            )
            .unwrap();
        assert_eq!(
            drafting
                .generate(
                    &Generation {
                        tokenizer: &tokenizer,
                        requests: &requests,
                        sampling: &sampling,
                        stop,
                        stops: &[]
                    },
                    &Silent
                )
                .unwrap(),
            expected
        );
        assert!(drafting.steps().unwrap() < plain.steps().unwrap());
        let filled = expected.iter().flatten().flat_map(|g| &g.tokens).filter(|t| t.logprob == 0.0).count();
        assert!(filled > 0, "the calculator took part");
    }
}

#[test]
fn a_model_directory_gives_back_its_heads_and_is_the_same_model_with_them() {
    let tokenizer = Tokenizer::tiny().unwrap();
    let decoder = tiny(&tokenizer);
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in hf::files(&decoder, &tokenizer).unwrap() {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let plain = hf::load(dir.path(), &decoder.device()).unwrap();
    let hashes = hf::file_hashes(dir.path()).unwrap();
    let heads = FutureHeads::random(&decoder.config, 2, 3);
    let (name, bytes) = heads.file(&decoder.config).unwrap();
    std::fs::write(dir.path().join(&name), &bytes).unwrap();
    let again = hf::load(dir.path(), &decoder.device()).unwrap();
    assert_eq!((plain.future, again.future), (None, Some(heads)));
    assert_eq!((&*plain.fingerprint, hashes), (&*again.fingerprint, hf::file_hashes(dir.path()).unwrap()));
    std::fs::write(dir.path().join(&name), &bytes[..bytes.len() / 2]).unwrap();
    assert!(hf::load(dir.path(), &decoder.device()).err().unwrap().to_string().contains(&name));
}
