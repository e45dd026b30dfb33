//! The decoder against itself: cached, batched and prefix-shared generation must say what one plain forward pass says.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::generate::{Generated, Generator, Limits, Request, Stop};
use super::{Llama, LlamaConfig, Tokenizer, hf};
use crate::events::Silent;
use crate::policy::Sampling;

pub fn tiny(tokenizer: &Tokenizer) -> Llama {
    let config = LlamaConfig {
        vocab_size: tokenizer.vocab_size(),
        hidden_size: 32,
        intermediate_size: 48,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 8,
        max_position_embeddings: 256,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        tie_word_embeddings: true,
        eos_token_ids: vec![],
        bos_token_id: None,
        pad_token_id: None,
    };
    // Larger weights than training starts with, so that next tokens differ clearly in probability.
    Llama::random(&config, 7, &Device::flex()).map(|w| if w.dims()[0] == 1 { w } else { w.mul_scalar(8.0) })
}

fn greedy(max_tokens: usize) -> Sampling {
    Sampling { temperature: 0.0, top_p: 1.0, top_k: 0, max_tokens, calculator: false }
}

/// Greedy continuation by whole forward passes, without a cache.
fn plain(llama: &Llama, prompt: &[u32], count: usize) -> Vec<(u32, f32)> {
    let device = llama.device();
    let (mut tokens, mut out) = (prompt.to_vec(), Vec::new());
    for _ in 0..count {
        let ids: Vec<i64> = tokens.iter().map(|t| i64::from(*t)).collect();
        let input = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, tokens.len()]), &device);
        let hidden = llama.hidden(input, &llama.causal(tokens.len(), &device), None);
        let last = hidden.narrow(1, tokens.len() - 1, 1).reshape([1, llama.config.hidden_size]);
        let logits: Vec<f32> = llama.logits(last).to_data().iter::<f32>().collect();
        let top = logits.iter().copied().fold(f32::MIN, f32::max);
        let id = logits.iter().position(|l| *l >= top).unwrap() as u32;
        let sum: f32 = logits.iter().map(|l| (l - top).exp()).sum();
        out.push((id, -sum.ln()));
        tokens.push(id);
    }
    out
}

fn run(llama: &Llama, tokenizer: &Tokenizer, prompts: &[Vec<u32>], seeds: &[u64], sampling: &Sampling, rows: usize) -> Vec<Vec<Generated>> {
    let requests: Vec<Request> =
        prompts.iter().map(|p| Request { prompt: p.clone(), seeds: seeds.to_vec(), begun: String::new() }).collect();
    Generator::new(llama, Limits { rows, cache: 1 << 24 }).generate(tokenizer, &requests, sampling, Stop::AnswerLine, &Silent).unwrap()
}

#[test]
fn cached_generation_of_padded_rows_is_the_plain_forward_pass() {
    let tokenizer = Tokenizer::tiny().unwrap();
    let llama = tiny(&tokenizer);
    let shared: Vec<u32> = (0..40).map(|i| i * 5 % 200 + 3).collect();
    for prefix in [0, 40] {
        // Prompts of different lengths, with and without a long common start.
        let prompts: Vec<Vec<u32>> =
            (1..6u32).map(|n| shared[..prefix].iter().copied().chain((0..n * 3).map(|i| (i * 11 + n) % 200 + 3)).collect()).collect();
        let all = run(&llama, &tokenizer, &prompts, &[1, 2], &greedy(12), 64);
        for (prompt, samples) in prompts.iter().zip(&all) {
            let expected = plain(&llama, prompt, 12);
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
    let llama = tiny(&tokenizer);
    let prompts: Vec<Vec<u32>> = (1..5u32).map(|n| (0..n * 4).map(|i| (i * 13 + n) % 200 + 3).collect()).collect();
    let sampling = Sampling { temperature: 1.0, top_p: 0.95, top_k: 50, ..greedy(10) };
    let together = run(&llama, &tokenizer, &prompts, &[5, 6, 7], &sampling, 64);
    let alone = run(&llama, &tokenizer, &prompts, &[5, 6, 7], &sampling, 1);
    let ids = |all: &[Vec<Generated>]| -> Vec<Vec<u32>> { all.iter().flatten().map(|g| g.tokens.iter().map(|t| t.id).collect()).collect() };
    assert_eq!(ids(&together), ids(&alone));
    assert_ne!(together[0][0].tokens, together[0][1].tokens, "two seeds gave the same sample");
}

#[test]
fn top_k_one_is_greedy() {
    let tokenizer = Tokenizer::tiny().unwrap();
    let llama = tiny(&tokenizer);
    let prompt = vec![(3..20).collect::<Vec<u32>>()];
    let one = run(&llama, &tokenizer, &prompt, &[9], &Sampling { temperature: 1.5, top_k: 1, ..greedy(8) }, 8);
    assert_eq!(one, run(&llama, &tokenizer, &prompt, &[1], &greedy(8), 8));
}

#[test]
fn a_model_directory_gives_back_the_same_weights() {
    let tokenizer = Tokenizer::tiny().unwrap();
    let llama = tiny(&tokenizer);
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in hf::files(&llama, &tokenizer).unwrap() {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let again = hf::load(dir.path(), &Device::flex()).unwrap();
    assert_eq!(hf::export(&llama), hf::export(&again.llama));
    let text = "What is 12 + 34?\n";
    assert_eq!(tokenizer.encode(text), again.tokenizer.encode(text));
    assert_eq!(again.tokenizer.decode(&again.tokenizer.encode(text)), text);
}

#[test]
fn digits_stand_apart_and_training_a_tokenizer_is_deterministic() {
    let texts: Vec<String> = (0..200).map(|i| format!("{i} apples and {} pears, {i}+7={}", i * 3, i + 7)).collect();
    let (a, b) = (Tokenizer::train(&texts, 400).unwrap(), Tokenizer::train(&texts, 400).unwrap());
    assert_eq!(a.json(), b.json());
    assert_eq!(a.encode("1234").len(), 4);
    assert!(Tokenizer::train(&texts, 100).is_err());
}
