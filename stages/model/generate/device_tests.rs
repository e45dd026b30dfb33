//! Generation on burn's tensors against the CPU engine: the same tokens, however rows are batched and
//! whatever fails on the way. Burn's CPU backend stands for the device, or a GPU with `QSTILL_TEST_WGPU=1`.

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Device;

use super::device::OnDevice;
use super::{Generated, Generation, Generator, Limits, Request, Stop};
use crate::events::{Events, Silent};
use crate::model::fault::{DeviceFault, read};
use crate::model::tests::tiny;
use crate::model::{Decoder, DeviceSetting, ModelError, Tokenizer};
use crate::policy::Sampling;

fn sampling(temperature: f32, max_tokens: usize) -> Sampling {
    Sampling { temperature, top_p: 1.0, top_k: 0, max_tokens, calculator: true }
}

/// Prompts of different lengths after a common start, three samples each.
fn requests(shared: u32) -> Vec<Request> {
    (1..7u32)
        .map(|n| Request {
            prompt: (0..shared)
                .map(|i| i * 5 % 200 + 3)
                .chain((0..n * n).map(|i| (i * 11 + n) % 200 + 3))
                .collect(),
            seeds: vec![u64::from(n), 50 + u64::from(n), 90 + u64::from(n)],
            begun: String::new(),
        })
        .collect()
}

fn limits(rows: usize) -> Limits {
    Limits { rows, cache: 1 << 24 }
}

fn run(
    on: &mut OnDevice,
    requests: &[Request],
    sampling: &Sampling,
    events: &dyn Events,
) -> anyhow::Result<Vec<Generated>> {
    let tokenizer = Tokenizer::tiny().unwrap();
    let mut all = on.run(
        &Generation { tokenizer: &tokenizer, requests, sampling, stop: Stop::Limit, stops: &[] },
        events,
    )?;
    all.sort_by_key(|(home, _)| *home);
    Ok(all.into_iter().map(|(_, generated)| generated).collect())
}

fn on_cpu(decoder: &Decoder, requests: &[Request], sampling: &Sampling) -> Vec<Generated> {
    let tokenizer = Tokenizer::tiny().unwrap();
    Generator::new(decoder, limits(64))
        .generate(
            &Generation { tokenizer: &tokenizer, requests, sampling, stop: Stop::Limit, stops: &[] },
            &Silent,
        )
        .unwrap()
        .concat()
}

fn assert_same(a: &[Generated], b: &[Generated], what: &str) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert_eq!(a.text, b.text, "{what}");
        for (x, y) in a.tokens.iter().zip(&b.tokens) {
            assert!(x.id == y.id && (x.logprob - y.logprob).abs() < 1e-3, "{what}: {x:?} {y:?}");
        }
    }
}

/// How many tokens the calculator filled in.
fn forced(all: &[Generated]) -> usize {
    all.iter().flat_map(|g| &g.tokens).filter(|t| t.logprob == 0.0).count()
}

#[test]
fn rows_have_the_tokens_of_the_cpu_engine_however_they_are_batched() {
    let decoder = tiny(&Tokenizer::tiny().unwrap());
    for shared in [0, 40] {
        let requests = requests(shared);
        for sampling in
            [sampling(0.0, 12), sampling(1.0, 60), Sampling { top_k: 20, top_p: 0.9, ..sampling(0.8, 12) }]
        {
            let expected = on_cpu(&decoder, &requests, &sampling);
            for rows in [1, 5, 64] {
                let mut on = OnDevice::new(&decoder, limits(rows));
                // Twice: the second call finds the common start and the block of the first.
                for call in 0..2 {
                    let got = run(&mut on, &requests, &sampling, &Silent).unwrap();
                    assert_same(
                        &expected,
                        &got,
                        &format!("{shared} shared, {rows} rows, call {call}, {sampling:?}"),
                    );
                }
            }
        }
    }
}

#[test]
fn the_calculator_fills_in_results_of_several_tokens() {
    let (tokenizer, mut decoder) = (Tokenizer::tiny().unwrap(), tiny(&Tokenizer::tiny().unwrap()));
    // A decoder that finds all tokens equally likely, so that some of many answers begin with `=`.
    decoder.head = Some(decoder.embed.tensor().zeros_like().into());
    decoder.config.tie_word_embeddings = false;
    let begun = "137*151";
    let requests =
        vec![Request { prompt: tokenizer.encode(begun), seeds: (0..2000).collect(), begun: begun.into() }];
    let sampling = sampling(1.0, 6);
    let expected = on_cpu(&decoder, &requests, &sampling);
    assert!(forced(&expected) >= 5, "{}", forced(&expected));
    for rows in [48, 64] {
        assert_same(
            &expected,
            &run(&mut OnDevice::new(&decoder, limits(rows)), &requests, &sampling, &Silent).unwrap(),
            "forced",
        );
    }
}

/// Counts notes.
#[derive(Default)]
struct Notes(AtomicUsize);

impl Events for Notes {
    fn advance(&self, _: u64, _: u64, _: u64) {}
    fn note(&self, text: &str) {
        assert!(text.contains("rows"), "{text}");
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn state(&self, _: &str) {}
    fn cancelled(&self) -> bool {
        false
    }
}

/// A device whose passes fail at the given counts.
fn failing(decoder: &Decoder, rows: usize, at: &'static [usize], fault: DeviceFault) -> OnDevice {
    let (mut on, mut count) = (OnDevice::new(decoder, limits(rows)), 0);
    on.reader = Box::new(move |tensor| {
        count += 1;
        if at.contains(&count) { Err(fault.clone()) } else { read(tensor) }
    });
    on
}

#[test]
fn without_memory_it_goes_on_with_fewer_rows_and_the_same_answers() {
    let decoder = tiny(&Tokenizer::tiny().unwrap());
    let (requests, sampling) = (requests(40), sampling(1.0, 20));
    let memory = || DeviceFault::Memory("no room".into());
    let (mut on, notes) = (failing(&decoder, 16, &[4, 9], memory()), Notes::default());
    let got = run(&mut on, &requests, &sampling, &notes).unwrap();
    assert_same(&on_cpu(&decoder, &requests, &sampling), &got, "after two failures");
    assert_eq!(notes.0.load(Ordering::Relaxed), 1, "said once");
    // A single row that does not fit is an error of the input.
    let error = run(&mut failing(&decoder, 2, &[1, 2, 3], memory()), &requests, &sampling, &Notes::default())
        .unwrap_err();
    assert!(
        matches!(error.downcast_ref(), Some(ModelError::Device(text)) if text.contains("out of memory")),
        "{error}"
    );
}

#[test]
fn a_lost_device_may_be_tried_again_and_a_panic_of_it_is_no_bug() {
    let decoder = tiny(&Tokenizer::tiny().unwrap());
    let error = run(
        &mut failing(&decoder, 8, &[3], DeviceFault::Lost("reset".into())),
        &requests(0),
        &sampling(0.0, 9),
        &Silent,
    )
    .unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(ModelError::Lost(_))), "{error}");
    let mut on = OnDevice::new(&decoder, limits(8));
    on.reader = Box::new(|_| panic!("wgpu error: Parent device is lost"));
    let error = run(&mut on, &requests(0), &sampling(0.0, 9), &Silent).unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(ModelError::Lost(_))), "{error}");
}

#[test]
fn memory_for_keys_and_values_is_bounded() {
    let decoder = tiny(&Tokenizer::tiny().unwrap());
    // A slot of 64 cells has 64 x 2 layers x 2 heads x 8 x 2 x 4 bytes.
    let slot = 64 * 2 * 2 * 8 * 2 * 4;
    let mut on = OnDevice::new(&decoder, Limits { rows: 16, cache: 3 * slot });
    let (requests, sampling) = (requests(0), sampling(1.0, 20));
    assert_same(
        &on_cpu(&decoder, &requests, &sampling),
        &run(&mut on, &requests, &sampling, &Silent).unwrap(),
        "three slots",
    );
    assert_eq!(on.cache_bytes(), 3 * slot);
    let error = run(
        &mut OnDevice::new(&decoder, Limits { rows: 16, cache: slot - 1 }),
        &requests,
        &sampling,
        &Silent,
    )
    .unwrap_err();
    assert!(error.to_string().contains("model.cache_mib"), "{error}");
}

#[test]
fn hidden_states_are_those_of_the_cpu_engine_however_they_are_batched() {
    let decoder = tiny(&Tokenizer::tiny().unwrap());
    let texts: Vec<Vec<u32>> = [70, 1, 64, 130, 256, 3, 65]
        .iter()
        .map(|&n: &u32| (0..n).map(|i| (i * i * 3 + n) % 200 + 3).collect())
        .collect();
    let expected = Generator::new(&decoder, limits(64)).hidden(&texts, &Silent).unwrap();
    let same = |got: &[Vec<f32>]| {
        assert_eq!(got.len(), expected.len());
        for (a, b) in got.iter().zip(&expected) {
            assert!(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4));
        }
    };
    for rows in [1, 3, 64] {
        let mut on = OnDevice::new(&decoder, limits(rows));
        same(&on.hidden(&texts, &Silent).unwrap());
        assert_eq!(on.computed(), 70 + 1 + 64 + 130 + 256 + 3 + 65);
    }
    let memory = || DeviceFault::Memory("no room".into());
    same(&failing(&decoder, 16, &[1, 2], memory()).hidden(&texts, &Silent).unwrap());
    let error = failing(&decoder, 1, &[2], memory()).hidden(&texts, &Silent).unwrap_err();
    assert!(
        matches!(error.downcast_ref(), Some(ModelError::Device(text)) if text.contains("out of memory")),
        "{error}"
    );
}

#[test]
fn tokens_are_counted_without_padding() {
    let decoder = tiny(&Tokenizer::tiny().unwrap());
    let requests = requests(40);
    let mut on = OnDevice::new(&decoder, limits(64));
    run(&mut on, &requests, &Sampling { calculator: false, ..sampling(0.0, 5) }, &Silent).unwrap();
    // The common part once, each prompt's own tokens, and those that three samples read again after its last
    // one.
    let own: u64 = (1..7).map(|n| n * n).sum();
    let seen = on.computed();
    assert!((40..=41).contains(&(seen - (own - 6) - 6 * 3 * 5)), "{seen}");
}

/// The same on a GPU, or on a software adapter.
#[test]
fn a_gpu_gives_the_answers_of_the_cpu() {
    if std::env::var("QSTILL_TEST_WGPU").is_ok_and(|v| v == "1") {
        let device = crate::model::device::choose(&DeviceSetting::Wgpu).unwrap().device;
        let decoder = tiny(&Tokenizer::tiny().unwrap());
        let moved = moved(&decoder, &device);
        let requests = requests(40);
        let mut on = OnDevice::new(&moved, limits(8));
        for sampling in [sampling(0.0, 8), sampling(1.0, 8)] {
            assert_same(
                &on_cpu(&decoder, &requests, &sampling),
                &run(&mut on, &requests, &sampling, &Silent).unwrap(),
                "wgpu",
            );
        }
    }
}

fn moved(decoder: &Decoder, device: &Device) -> Decoder {
    decoder.map(|weight| burn::tensor::Tensor::from_data(weight.to_data(), device))
}
