//! Drawing tokens where the logits are: what comes to the host is an id and a log-probability a row, and not
//! a vocabulary.

use burn::tensor::{FloatDType, IntDType, Tensor};

/// Tokens whose probabilities are summed together before one of them is picked.
const BLOCK: usize = 256;

/// The likeliest tokens of logits `[B, V]`: B ids and B log-probabilities, as one tensor for one transfer.
pub fn greedy(logits: Tensor<2>) -> Tensor<1> {
    let rows = logits.dims()[0];
    let (top, ids) = logits.clone().max_dim_with_indices(1);
    let log_sum = log_sum(logits, &top);
    let ids = ids.cast(FloatDType::F32).reshape([rows]);
    Tensor::cat(vec![ids, log_sum.neg().reshape([rows])], 0)
}

/// Tokens drawn from logits `[B, V]` at a temperature, by the inverse of the cumulative distribution at
/// uniform numbers `[B, 1]`: first a block of the vocabulary, then a token of it. Log-probabilities are those
/// of temperature 1.
pub fn sample(logits: Tensor<2>, temperature: f32, uniform: Tensor<2>) -> Tensor<1> {
    let [rows, vocabulary] = logits.dims();
    let device = logits.device();
    let blocks = vocabulary.div_ceil(BLOCK);
    let top = logits.clone().max_dim(1);
    let mut weights = (logits.clone() - top.clone()).mul_scalar(1.0 / temperature).exp();
    if blocks * BLOCK > vocabulary {
        weights = Tensor::cat(vec![weights, Tensor::zeros([rows, blocks * BLOCK - vocabulary], &device)], 1);
    }
    let weights = weights.reshape([rows, blocks, BLOCK]);
    let masses = weights.clone().sum_dim(2).reshape([rows, blocks]);
    let sums = masses.clone().cumsum(1);
    let goal = uniform * sums.clone().narrow(1, blocks - 1, 1);
    // How many sums do not pass the goal is the place of the first that does.
    let place =
        |sums: Tensor<2>, goal: Tensor<2>| sums.lower_equal(goal).int().cast(IntDType::I32).sum_dim(1);
    let block = place(sums.clone(), goal.clone()).clamp_max(blocks as i32 - 1);
    let before = (sums - masses).gather(1, block.clone());
    let inside = weights
        .gather(1, block.clone().reshape([rows, 1, 1]).expand([rows, 1, BLOCK]))
        .reshape([rows, BLOCK]);
    // Rounding may put the goal behind all of the block: then its last token that can be drawn is it.
    let order = Tensor::<1>::from_data(
        burn::tensor::TensorData::new((0..BLOCK).map(|i| i as f32).collect::<Vec<_>>(), [BLOCK]),
        &device,
    );
    let last = (inside.clone().greater_elem(0.0).float() * order.reshape([1, BLOCK])).max_dim(1);
    let token = place(inside.cumsum(1), goal - before).cast(FloatDType::F32).min_pair(last);
    let ids = block.cast(FloatDType::F32).mul_scalar(BLOCK as f32) + token;
    let chosen = logits.clone().gather(1, ids.clone().cast(IntDType::I32));
    let logprobs = chosen - top.clone() - log_sum(logits, &top);
    Tensor::cat(vec![ids.reshape([rows]), logprobs.reshape([rows])], 0)
}

/// log Σ exp(l - top), `[B, 1]`.
fn log_sum(logits: Tensor<2>, top: &Tensor<2>) -> Tensor<2> {
    (logits - top.clone()).exp().sum_dim(1).log()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::model::fault::read;

    /// Draws at evenly spaced numbers: each token's share is its probability, within the spacing.
    #[test]
    fn draws_have_the_frequencies_of_the_softmax() {
        let device = Device::flex();
        for (vocabulary, temperature) in [(1000, 1.0f32), (512, 0.7), (40, 1.5)] {
            let logits: Vec<f32> = (0..vocabulary).map(|i| ((i * 37) as f32).sin() * 3.0).collect();
            let draws = 8192;
            let uniform: Vec<f32> = (0..draws).map(|i| (i as f32 + 0.5) / draws as f32).collect();
            let row = Tensor::<2>::from_data(TensorData::new(logits.clone(), [1, vocabulary]), &device);
            let out = sample(
                row.clone().repeat_dim(0, draws),
                temperature,
                Tensor::from_data(TensorData::new(uniform, [draws, 1]), &device),
            );
            let out = read(out).unwrap();
            let warm: Vec<f64> = logits.iter().map(|l| f64::from(*l / temperature).exp()).collect();
            let (mass, plain) =
                (warm.iter().sum::<f64>(), logits.iter().map(|l| f64::from(*l).exp()).sum::<f64>());
            let mut counts = vec![0usize; vocabulary];
            for (id, logprob) in out[..draws].iter().zip(&out[draws..]) {
                counts[*id as usize] += 1;
                assert!((f64::from(*logprob) - (f64::from(logits[*id as usize]) - plain.ln())).abs() < 1e-4);
            }
            for (id, weight) in warm.iter().enumerate() {
                let expected = weight / mass * draws as f64;
                assert!(
                    (counts[id] as f64 - expected).abs() < 2.0 + 0.01 * expected,
                    "token {id}: {} of {expected}",
                    counts[id]
                );
            }
            let best = read(greedy(row)).unwrap();
            let top = logits.iter().copied().fold(f32::MIN, f32::max);
            assert!(logits[best[0] as usize] >= top);
            assert!((f64::from(best[1]) - (f64::from(top) - plain.ln())).abs() < 1e-4);
        }
    }

    #[test]
    fn what_has_no_probability_is_never_drawn() {
        let device = Device::flex();
        let mut logits = vec![-1e9f32; 600];
        (logits[3], logits[300]) = (1.0, 1.0);
        let uniform = vec![0.0f32, 0.499_999, 0.5, 1.0 - f32::EPSILON / 2.0];
        let rows = Tensor::<2>::from_data(TensorData::new(logits, [1, 600]), &device).repeat_dim(0, 4);
        let out =
            read(sample(rows, 1.0, Tensor::from_data(TensorData::new(uniform, [4, 1]), &device))).unwrap();
        assert_eq!(out[..4], [3.0, 3.0, 300.0, 300.0]);
    }
}
