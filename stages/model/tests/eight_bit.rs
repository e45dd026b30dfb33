//! Generation with 8-bit weights, beside the same with all digits.

use burn::tensor::Device;

use super::{greedy, run, tiny};
use crate::model::device::{Choice, Precision};
use crate::model::{Decoder, Tokenizer};
use crate::policy::Sampling;

fn eight_bit() -> (Tokenizer, Decoder, Decoder) {
    let tokenizer = Tokenizer::tiny().unwrap();
    let decoder = tiny(&tokenizer);
    let choice = Choice { device: Device::flex(), kind: "cpu", gpu: false, why: String::new() };
    let mut rounded = decoder.clone();
    choice.prepare(&mut rounded, Precision::Int8).unwrap();
    (tokenizer, decoder, rounded)
}

#[test]
fn answers_are_likely_ones_and_the_same_in_any_company() {
    let (tokenizer, decoder, rounded) = eight_bit();
    let prompts: Vec<Vec<u32>> =
        (0..5).map(|row| (0..9).map(|i| (i * 31 + row * 7) % 200 + 3).collect()).collect();
    let sampling = Sampling { temperature: 1.0, ..greedy(12) };
    let seeds: Vec<u64> = (0..4).collect();
    let answers = |decoder: &Decoder, rows| run((decoder, &tokenizer), &prompts, &seeds, &sampling, rows);
    let together = answers(&rounded, 64);
    assert_eq!(together, answers(&rounded, 1));
    assert_eq!(together, answers(&rounded, 3));
    // They are not those of all digits, but about as likely.
    let exact = answers(&decoder, 64);
    assert_ne!(together, exact);
    let first = |all: &Vec<Vec<crate::model::generate::Generated>>| -> Vec<(u32, f32)> {
        all.iter().flatten().filter_map(|own| own.tokens.first()).map(|t| (t.id, t.logprob)).collect()
    };
    let pairs: Vec<_> = first(&together).into_iter().zip(first(&exact)).collect();
    let same = pairs.iter().filter(|(a, b)| a.0 == b.0);
    assert!(same.clone().count() > pairs.len() / 2);
    assert!(same.clone().all(|(a, b)| (a.1 - b.1).abs() < 0.1), "{pairs:?}");
}

#[test]
fn a_gpu_takes_it_for_its_own_choice() {
    let choice = Choice { device: Device::flex(), kind: "wgpu", gpu: true, why: String::new() };
    assert_eq!(choice.dtype(Precision::Int8).unwrap(), choice.dtype(Precision::Auto).unwrap());
    let mut decoder = crate::model::tests::tiny(&Tokenizer::tiny().unwrap());
    choice.prepare(&mut decoder, Precision::Int8).unwrap();
    assert!(!decoder.eight_bit);
}
