//! The decoder against itself: cached, batched and prefix-shared generation must say what one plain forward
//! pass says.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::cpu::Weights;
use super::cpu::decoder::{Asked, Entry, PackedDecoder, Passes};
use super::generate::{Generated, Generation, Generator, Limits, Request, Stop};
use super::value_head::{FILE, ValueHead};
use super::{Decoder, DecoderConfig, Tokenizer, hf};
use crate::events::Silent;
use crate::policy::Sampling;

mod eight_bit;
mod exact;
mod families;

use exact::exact;

pub fn tiny(tokenizer: &Tokenizer) -> Decoder {
    let config = DecoderConfig::small(tokenizer.vocab_size(), 256);
    // Larger weights than training starts with, so that next tokens differ clearly in probability.
    Decoder::random(&config, 7, &Device::flex()).map(|w| if w.dims()[0] == 1 { w } else { w.mul_scalar(8.0) })
}

fn greedy(max_tokens: usize) -> Sampling {
    Sampling { temperature: 0.0, top_p: 1.0, top_k: 0, max_tokens, calculator: false }
}

/// Logits after each token by a whole forward pass of burn's decoder, `[T, V]`.
pub(crate) fn logits(decoder: &Decoder, tokens: &[u32]) -> Vec<f32> {
    let (device, decoder) = (decoder.device(), decoder.cast());
    let ids: Vec<i64> = tokens.iter().map(|t| i64::from(*t)).collect();
    let input = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, tokens.len()]), &device);
    let hidden = decoder.hidden(input, &decoder.causal(tokens.len(), &device), None);
    let hidden = hidden.reshape([tokens.len(), decoder.config.hidden_size]);
    decoder.logits(hidden).to_data().iter::<f32>().collect()
}

/// Greedy continuation by whole forward passes, without a cache.
fn plain(decoder: &Decoder, prompt: &[u32], count: usize) -> Vec<(u32, f32)> {
    let (mut tokens, mut out) = (prompt.to_vec(), Vec::new());
    for _ in 0..count {
        let all = logits(decoder, &tokens);
        let logits = &all[all.len() - decoder.config.vocab_size..];
        let top = logits.iter().copied().fold(f32::MIN, f32::max);
        let id = logits.iter().position(|l| *l >= top).unwrap() as u32;
        let sum: f32 = logits.iter().map(|l| (l - top).exp()).sum();
        out.push((id, -sum.ln()));
        tokens.push(id);
    }
    out
}

fn run(
    (decoder, tokenizer): (&Decoder, &Tokenizer),
    prompts: &[Vec<u32>],
    seeds: &[u64],
    sampling: &Sampling,
    rows: usize,
) -> Vec<Vec<Generated>> {
    let requests: Vec<Request> = prompts
        .iter()
        .map(|p| Request { prompt: p.clone(), seeds: seeds.to_vec(), begun: String::new() })
        .collect();
    Generator::new(decoder, Limits { rows, cache: 1 << 24 })
        .generate(
            &Generation { tokenizer, requests: &requests, sampling, stop: Stop::AnswerLine, stops: &[] },
            &Silent,
        )
        .unwrap()
}

#[test]
fn cached_generation_of_padded_rows_is_the_plain_forward_pass() {
    let tokenizer = Tokenizer::tiny().unwrap();
    let decoder = tiny(&tokenizer);
    let shared: Vec<u32> = (0..40).map(|i| i * 5 % 200 + 3).collect();
    for prefix in [0, 40] {
        // Prompts of different lengths, with and without a long common start.
        let prompts: Vec<Vec<u32>> = (1..6u32)
            .map(|n| {
                shared[..prefix].iter().copied().chain((0..n * 3).map(|i| (i * 11 + n) % 200 + 3)).collect()
            })
            .collect();
        let all = run((&decoder, &tokenizer), &prompts, &[1, 2], &greedy(12), 64);
        for (prompt, samples) in prompts.iter().zip(&all) {
            let expected = plain(&decoder, prompt, 12);
            for sample in samples {
                let ids: Vec<u32> = sample.tokens.iter().map(|t| t.id).collect();
                assert_eq!(ids, expected.iter().map(|e| e.0).collect::<Vec<_>>(), "prefix {prefix}");
                for (token, (_, logprob)) in sample.tokens.iter().zip(&expected) {
                    assert!((token.logprob - logprob).abs() < 1e-4, "{} {logprob}", token.logprob);
                }
            }
        }
    }
}

#[test]
fn a_sample_depends_on_its_seed_and_not_on_its_batch() {
    let tokenizer = Tokenizer::tiny().unwrap();
    let decoder = tiny(&tokenizer);
    let prompts: Vec<Vec<u32>> =
        (1..5u32).map(|n| (0..n * 4).map(|i| (i * 13 + n) % 200 + 3).collect()).collect();
    let sampling = Sampling { temperature: 1.0, top_p: 0.95, top_k: 50, ..greedy(10) };
    let together = run((&decoder, &tokenizer), &prompts, &[5, 6, 7], &sampling, 64);
    let alone = run((&decoder, &tokenizer), &prompts, &[5, 6, 7], &sampling, 1);
    let ids = |all: &[Vec<Generated>]| -> Vec<Vec<u32>> {
        all.iter().flatten().map(|g| g.tokens.iter().map(|t| t.id).collect()).collect()
    };
    assert_eq!(ids(&together), ids(&alone));
    assert_ne!(together[0][0].tokens, together[0][1].tokens, "two seeds gave the same sample");
}

#[test]
fn top_k_one_is_greedy() {
    let tokenizer = Tokenizer::tiny().unwrap();
    let decoder = tiny(&tokenizer);
    let prompt = vec![(3..20).collect::<Vec<u32>>()];
    let one =
        run((&decoder, &tokenizer), &prompt, &[9], &Sampling { temperature: 1.5, top_k: 1, ..greedy(8) }, 8);
    assert_eq!(one, run((&decoder, &tokenizer), &prompt, &[1], &greedy(8), 8));
}

#[test]
fn a_model_directory_gives_back_the_same_weights() {
    let tokenizer = Tokenizer::tiny().unwrap();
    let decoder = tiny(&tokenizer);
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in hf::files(&decoder, &tokenizer).unwrap() {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let again = hf::load(dir.path(), &Device::flex()).unwrap();
    assert_eq!(hf::export(&decoder), hf::export(&again.decoder));
    let text = "What is 12 + 34?\n";
    assert_eq!(tokenizer.encode(text), again.tokenizer.encode(text));
    assert_eq!(again.tokenizer.decode(&again.tokenizer.encode(text)), text);
}

#[test]
fn a_model_directory_gives_back_its_value_head_and_is_another_model_with_it() {
    let tokenizer = Tokenizer::tiny().unwrap();
    let decoder = tiny(&tokenizer);
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in hf::files(&decoder, &tokenizer).unwrap() {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let plain = hf::load(dir.path(), &Device::flex()).unwrap();
    assert_eq!((plain.value, hf::file_hashes(dir.path()).unwrap().contains_key(FILE)), (None, false));
    let with = |head: &ValueHead| {
        let (name, bytes) = head.file().unwrap();
        std::fs::write(dir.path().join(name), bytes).unwrap();
        hf::load(dir.path(), &Device::flex())
    };
    let head = ValueHead { weight: (0..32).map(|i| i as f32 * 0.1 - 1.0).collect(), bias: 0.25 };
    let valued = with(&head).unwrap();
    assert_eq!(valued.value, Some(head));
    assert_ne!(*valued.fingerprint, *plain.fingerprint);
    assert!(hf::file_hashes(dir.path()).unwrap().contains_key(FILE));
    let error = with(&ValueHead::new(31)).err().unwrap().to_string();
    assert!(error.contains(FILE) && error.contains("[1, 32]"), "{error}");
}

#[test]
fn digits_stand_apart_and_training_a_tokenizer_is_deterministic() {
    let texts: Vec<String> =
        (0..200).map(|i| format!("{i} apples and {} pears, {i}+7={}", i * 3, i + 7)).collect();
    let (a, b) = (Tokenizer::train(&texts, 400).unwrap(), Tokenizer::train(&texts, 400).unwrap());
    assert_eq!(a.json(), b.json());
    assert_eq!(a.encode("1234").len(), 4);
    assert!(Tokenizer::train(&texts, 100).is_err());
}

#[test]
fn rows_that_wait_for_memory_get_the_same_answers() {
    let tokenizer = Tokenizer::tiny().unwrap();
    let decoder = tiny(&tokenizer);
    // A common beginning, then prompts of different lengths: more than fits at once, whichever comes first.
    let prompts: Vec<Vec<u32>> =
        (1..12u32).map(|n| (0..20).chain((0..n * 5).map(|i| (i * 13 + n) % 200 + 3)).collect()).collect();
    let requests: Vec<Request> = prompts
        .iter()
        .map(|p| Request { prompt: p.clone(), seeds: vec![1, 2, 3], begun: String::new() })
        .collect();
    let sampling = Sampling { temperature: 1.0, ..greedy(30) };
    let with = |cache: usize, rows: usize| {
        let mut generator = Generator::new(&decoder, Limits { rows, cache });
        let all = generator.generate(
            &Generation {
                tokenizer: &tokenizer,
                requests: &requests,
                sampling: &sampling,
                stop: Stop::Limit,
                stops: &[],
            },
            &Silent,
        );
        // What an earlier call has left in memory makes no difference.
        if let Ok(all) = &all {
            assert_eq!(
                *all,
                generator
                    .generate(
                        &Generation {
                            tokenizer: &tokenizer,
                            requests: &requests,
                            sampling: &sampling,
                            stop: Stop::Limit,
                            stops: &[]
                        },
                        &Silent
                    )
                    .unwrap()
            );
        }
        (all, generator.cache_bytes())
    };
    let (plenty, _) = with(1 << 24, 64);
    let plenty = plenty.unwrap();
    assert!(plenty.iter().flatten().all(|g| g.tokens.len() == 30 && !g.finished));
    let block = 16 * 2 * 2 * 2 * 8 * 4;
    for (blocks, rows) in [(9, 64), (12, 64), (40, 3), (1000, 1)] {
        let (all, held) = with(blocks * block, rows);
        assert_eq!(all.unwrap(), plenty, "{blocks} blocks, {rows} rows");
        assert!(held.unwrap() <= blocks * block);
    }
    let (none, _) = with(3 * block, 64);
    let error = none.unwrap_err().to_string();
    assert!(error.contains("model.cache_mib"), "{error}");
}

/// Texts with common beginnings, one twice, one of a single token, and some of whole blocks.
fn texts() -> Vec<Vec<u32>> {
    let shared: Vec<u32> = (0..40).map(|i| i * 5 % 200 + 3).collect();
    let mut texts: Vec<Vec<u32>> = (0..12u32)
        .map(|n| shared.iter().copied().chain((0..n * 4).map(|i| (i * 13 + n % 3) % 200 + 3)).collect())
        .collect();
    texts.extend([vec![9], shared[..32].to_vec(), shared[..16].to_vec(), texts[3].clone()]);
    texts
}

/// Hidden state after the last token by a plain forward pass of burn's decoder.
fn plain_hidden(decoder: &Decoder, text: &[u32]) -> Vec<f32> {
    let device = decoder.device();
    let ids: Vec<i64> = text.iter().map(|t| i64::from(*t)).collect();
    let input = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, text.len()]), &device);
    let hidden = decoder.hidden(input, &decoder.causal(text.len(), &device), None);
    hidden.narrow(1, text.len() - 1, 1).to_data().iter::<f32>().collect()
}

fn bits(rows: &[Vec<f32>]) -> Vec<Vec<u32>> {
    rows.iter().map(|row| row.iter().map(|v| v.to_bits()).collect()).collect()
}

#[test]
fn hidden_states_are_those_of_the_plain_forward_pass_in_any_company() {
    let decoder = tiny(&Tokenizer::tiny().unwrap());
    let texts = texts();
    let generator = |cache| Generator::new(&decoder, Limits { rows: 64, cache });
    let together = generator(1 << 24).hidden(&texts, &Silent).unwrap();
    for (text, hidden) in texts.iter().zip(&together) {
        let expected = plain_hidden(&decoder, text);
        assert_eq!(hidden.len(), expected.len());
        assert!(hidden.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4), "{} tokens", text.len());
        assert_eq!(
            bits(&generator(1 << 24).hidden(std::slice::from_ref(text), &Silent).unwrap()),
            bits(std::slice::from_ref(hidden))
        );
    }
    // In another order, with what an earlier call has left, on other numbers of threads, and with hardly any
    // memory.
    let backwards: Vec<Vec<u32>> = texts.iter().rev().cloned().collect();
    let block = 16 * 2 * 2 * 2 * 8 * 4;
    for (threads, cache) in [(1, 1 << 24), (3, 1 << 24), (7, 7 * block)] {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let mut one = generator(cache);
            for _ in 0..2 {
                let mut all = one.hidden(&backwards, &Silent).unwrap();
                all.reverse();
                assert_eq!(bits(&all), bits(&together));
            }
            assert!(one.cache_bytes().unwrap() <= cache);
        });
    }
    let error = generator(2 * block).hidden(&texts, &Silent).unwrap_err().to_string();
    assert!(error.contains("model.cache_mib"), "{error}");
    let error = generator(1 << 24).hidden(&[vec![1; 257]], &Silent).unwrap_err().to_string();
    assert!(error.contains("257 tokens") && error.contains("context of 256"), "{error}");
    assert!(generator(1 << 24).hidden(&[Vec::new()], &Silent).is_err());
    assert!(generator(1 << 24).hidden(&[], &Silent).unwrap().is_empty());
}

#[test]
fn what_hidden_states_have_read_is_not_read_again() {
    let tokenizer = Tokenizer::tiny().unwrap();
    let decoder = tiny(&tokenizer);
    let generator = || Generator::new(&decoder, Limits { rows: 64, cache: 1 << 24 });
    let text: Vec<u32> = (0..70).map(|i| i * 5 % 200 + 3).collect();
    let request = [Request { prompt: text.clone(), seeds: vec![1, 2], begun: String::new() }];
    let run = |generator: &mut Generator| {
        let before = generator.computed();
        let all = generator
            .generate(
                &Generation {
                    tokenizer: &tokenizer,
                    requests: &request,
                    sampling: &greedy(8),
                    stop: Stop::Limit,
                    stops: &[],
                },
                &Silent,
            )
            .unwrap();
        (all, generator.computed() - before)
    };
    let (expected, cold) = run(&mut generator());
    // Both samples read all that they draw but the last.
    assert_eq!(cold, 70 + 2 * 7);
    let mut warm = generator();
    warm.hidden(std::slice::from_ref(&text), &Silent).unwrap();
    assert_eq!(warm.computed(), 70);
    assert_eq!(run(&mut warm), (expected, 6 + 2 * 7));
    // Longer texts pay for what is new, and those that are known for the tokens of their last block, or of
    // the last of these.
    let before = warm.computed();
    let texts =
        [[&text[..], &[5; 20]].concat(), [&text[..], &[6; 3]].concat(), text.clone(), text[..64].to_vec()];
    warm.hidden(&texts, &Silent).unwrap();
    assert_eq!(warm.computed() - before, 26 + 9 + 6 + 16);
    // Prefixes of one text in one call: what they share is read once.
    let mut fresh = generator();
    fresh.hidden(&[text[..20].to_vec(), text[..40].to_vec(), text.clone()], &Silent).unwrap();
    assert_eq!(fresh.computed(), 20 + 24 + 38);
}

#[test]
fn texts_longer_than_a_pass_have_hidden_states() {
    let mut decoder = tiny(&Tokenizer::tiny().unwrap());
    decoder.config.max_position_embeddings = 3000;
    let text: Vec<u32> = (0..2500u32).map(|i| i * i * 7 % 200 + 3).collect();
    let mut generator = Generator::new(&decoder, Limits { rows: 4, cache: 1 << 24 });
    let all = generator.hidden(&[text[..10].to_vec(), text.clone(), text[..1500].to_vec()], &Silent).unwrap();
    assert_eq!(generator.computed(), 10 + 2500 + 1500 - 1488);
    let expected = plain_hidden(&decoder, &text);
    assert!(all[1].iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4));
}

#[test]
fn the_calculator_fills_in_and_the_decoder_goes_on_after_it() {
    let tokenizer = Tokenizer::tiny().unwrap();
    // A decoder that always says `=`: every embedding is the same vector, which only that row of the head
    // points to.
    let mut decoder = tiny(&tokenizer);
    let [vocab, size] = decoder.embed.dims();
    let device = decoder.device();
    decoder = decoder.map(|w| if w.dims()[0] == 1 { w } else { w.zeros_like() });
    decoder.embed = Tensor::ones([vocab, size], &device).into();
    let says = tokenizer.encode("=")[0] as usize;
    let head: Vec<f32> =
        (0..vocab).flat_map(|row| std::iter::repeat_n(if row == says { 0.1 } else { 0.0 }, size)).collect();
    decoder.head = Some(Tensor::from_data(TensorData::new(head, [vocab, size]), &device).into());
    decoder.config.tie_word_embeddings = false;
    let requests =
        [Request { prompt: tokenizer.encode("What is 12*12"), seeds: vec![1], begun: "12*12".into() }];
    let answer = |max_tokens: usize, stops: &[String]| {
        let sampling = Sampling { calculator: stops.is_empty(), ..greedy(max_tokens) };
        Generator::new(&decoder, Limits { rows: 4, cache: 1 << 20 })
            .generate(
                &Generation {
                    tokenizer: &tokenizer,
                    requests: &requests,
                    sampling: &sampling,
                    stop: Stop::Limit,
                    stops,
                },
                &Silent,
            )
            .unwrap()
            .remove(0)
            .remove(0)
    };
    let whole = answer(6, &[]);
    assert!(whole.text.starts_with("=144="), "{}", whole.text);
    let filled: Vec<bool> = whole.tokens.iter().map(|t| t.logprob == 0.0).collect();
    assert_eq!(filled[..5], [false, true, true, true, false], "the calculator's tokens are not the model's");
    // The limit holds in the middle of a result too.
    assert_eq!((answer(3, &[]).text.as_str(), answer(3, &[]).tokens.len()), ("=14", 3));
    // A text at which it ends, over several tokens.
    let stopped = answer(6, &["#".into(), "===".into()]);
    assert_eq!((stopped.text.as_str(), stopped.tokens.len(), stopped.finished), ("", 3, true));
}

/// Logits of both decoders after each token, the CPU's reading token by token, against the exact ones:
/// largest differences.
fn off(decoder: &Decoder, tokens: &[u32]) -> (f64, f64) {
    let reference = logits(decoder, tokens);
    let weights = Weights::of(decoder);
    let decoder = PackedDecoder::new(decoder);
    let (mut pool, mut passes) = (decoder.pool(1 << 28), Passes::default());
    let mut sequence = pool.begin(tokens);
    let (mut of_engine, mut of_reference) = (0.0f64, 0.0f64);
    for ((token, reference), exact) in
        tokens.iter().zip(reference.chunks_exact(decoder.vocab())).zip(exact(&weights, tokens))
    {
        pool.extend(&mut sequence, 1).unwrap();
        let got = std::sync::Mutex::new(Vec::new());
        let entry = Entry { sequence: &mut sequence, tokens: &[*token], asked: 1 };
        decoder.forward(&mut [entry], &mut passes, Asked::Logits, &|_, logits| {
            got.lock().unwrap().extend_from_slice(logits);
        });
        pool.added(&mut sequence, &[*token]);
        let far = |logits: &[f32]| {
            logits.iter().zip(&exact).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max)
        };
        (of_engine, of_reference) =
            (of_engine.max(far(&got.into_inner().unwrap())), of_reference.max(far(reference)));
    }
    (of_engine, of_reference)
}

#[test]
fn logits_are_exact_within_what_f32_rounds() {
    let tokens: Vec<u32> = (0..40).map(|i| i * i * 7 % 200 + 3).collect();
    let (engine, reference) = off(&tiny(&Tokenizer::tiny().unwrap()), &tokens);
    assert!(engine < 1e-5 && reference < 1e-5, "{engine} {reference}");
}

/// On a real model, where one is given: `QSTILL_TEST_MODEL=path/to/smollm2 just test real_model --run-ignored
/// only --no-capture`.
#[test]
#[ignore = "needs QSTILL_TEST_MODEL"]
fn logits_of_a_real_model_are_exact_within_1e_4() {
    let dir = std::env::var_os("QSTILL_TEST_MODEL").expect("QSTILL_TEST_MODEL names a model directory");
    let model = hf::load(dir.as_ref(), &Device::flex()).unwrap();
    let text =
        "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. "
            .repeat(4);
    let (engine, reference) = off(&model.decoder, &model.tokenizer.encode(&text));
    println!(
        "largest difference of a logit from the exact one: {engine:.1e} on the CPU, {reference:.1e} with \
         burn's tensors"
    );
    assert!(engine < 1e-4, "{engine}");
}
