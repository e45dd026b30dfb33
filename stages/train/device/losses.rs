//! Losses on burn's tensors: of tokens and of values, over rows that are padded to few lengths.

use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData, activation};

use super::super::batch::{Example, Padded, pad, taught};
use super::super::optimizer::weight_sum;
use super::super::value::{self, ValueLoss};
use crate::model::Decoder;
use crate::model::decoder::Places;
use crate::model::fault::{DeviceFault, guard, read};
use crate::model::soft::{Distil, Divergence, NONE, TopK};

/// Rows are padded to a multiple of so many tokens, and so are targets.
const UNIT: usize = 16;
/// Least share of the tail bucket: in f32, 1 minus the others is not known better.
const LEAST_TAIL: f32 = 1e-7;
/// Log-probability of a bucket that is none.
const ABSENT: f32 = -1e4;
/// Where the scale of f16 gradients starts, and the most that it grows to.
/// A value head on the device, and what it learns.
#[derive(Clone, Debug)]
pub struct Head {
    /// `[1, D]`
    pub weight: Tensor<2>,
    /// `[1, 1]`
    pub bias: Tensor<2>,
    pub loss: ValueLoss,
    /// λ
    pub lambda: f32,
}

impl Head {
    /// Logits `[M, 1]` in f32 of the places `[M]` of hidden states `[N, D]`.
    fn logits(&self, hidden: &Tensor<2>, places: Vec<i64>) -> Tensor<2> {
        let count = places.len();
        let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &hidden.device());
        hidden.clone().select(0, places).cast(FloatDType::F32).matmul(self.weight.clone().transpose())
            + self.bias.clone()
    }

    /// Weighted sum of the loss over the value targets of some rows; `None` if there is nothing to sum.
    pub(super) fn loss_sum(
        &self,
        hidden: &Tensor<2>,
        batch: &Padded,
        rows: &[&Example],
    ) -> Option<Tensor<1>> {
        let targets = value::targets(rows);
        if targets.is_empty() {
            return None;
        }
        let device = hidden.device();
        // Few shapes, as for tokens: what is added weighs nothing.
        let places = filled(batch.values.clone(), 0);
        let count = places.len();
        let logits = self.logits(hidden, places);
        let column = |of: &dyn Fn(&value::Pair) -> f32, pairs: &[value::Pair]| {
            let values = filled(pairs.iter().map(of).collect(), 0.0);
            let count = values.len();
            Tensor::<2>::from_data(TensorData::new(values, [count, 1]), &device)
        };
        let each = |of: &dyn Fn(&value::Target) -> f32| {
            let values = filled(targets.iter().map(|t| of(t)).collect(), 0.0);
            Tensor::<2>::from_data(TensorData::new(values, [count, 1]), &device)
        };
        let terms = match self.loss {
            ValueLoss::Bce => {
                let target = each(&|t| t.target);
                let (yes, no) =
                    (activation::log_sigmoid(logits.clone()), activation::log_sigmoid(logits.neg()));
                (target.clone() * yes + target.neg().add_scalar(1.0) * no).neg() * each(&|t| t.weight)
            }
            ValueLoss::Mse => {
                (activation::sigmoid(logits) - each(&|t| t.target)).square() * each(&|t| t.weight)
            }
            ValueLoss::Pairwise => {
                let pairs = value::pairs(&targets);
                if pairs.is_empty() {
                    return None;
                }
                let side = |of: &dyn Fn(&value::Pair) -> usize| {
                    let indices = filled(pairs.iter().map(|p| of(p) as i64).collect(), 0);
                    let count = indices.len();
                    logits
                        .clone()
                        .select(0, Tensor::<1, Int>::from_data(TensorData::new(indices, [count]), &device))
                };
                activation::log_sigmoid(side(&|p| p.better) - side(&|p| p.worse)).neg()
                    * column(&|p| p.weight, &pairs)
            }
        };
        Some(terms.sum())
    }
}

/// Fills up to a multiple of [`UNIT`].
pub(super) fn filled<T: Clone>(mut values: Vec<T>, with: T) -> Vec<T> {
    values.resize(values.len().next_multiple_of(UNIT), with);
    values
}

/// The stream `[B, T, D]` after the last layer of some rows, padded, and where their tokens stand.
pub(super) fn stream(
    decoder: &Decoder,
    examples: &[&Example],
    device: &Device,
) -> (Padded, Places, Tensor<3>) {
    let mut batch = pad(examples, UNIT);
    let inputs = std::mem::take(&mut batch.inputs);
    let tokens = Tensor::<2, Int>::from_data(TensorData::new(inputs, [batch.rows, batch.len]), device);
    let places = decoder.causal(batch.len, device);
    let stream = decoder.stream(tokens, &places, None);
    (batch, places, stream)
}

/// Final hidden states `[B T, D]` of some rows, padded.
fn hidden(decoder: &Decoder, examples: &[&Example], device: &Device) -> (Padded, Tensor<2>) {
    let (batch, _, stream) = stream(decoder, examples, device);
    let [rows, len, size] = stream.dims();
    (batch, decoder.normed(stream).reshape([rows * len, size]))
}

/// Weighted cross-entropy summed over target tokens, -Σ m_t log p_t (the caller divides by Σ m_t of the whole
/// accumulated batch); `None` if no token has weight. With `best`: the likeliest token of each target is
/// added to the list. With a teacher, a token's loss is that of [`Distil`].
pub(super) fn loss_sum(
    decoder: &Decoder,
    hidden: &Tensor<2>,
    batch: &Padded,
    best: Option<&mut Vec<Tensor<1>>>,
    teacher: Option<(TopK, Distil)>,
) -> Option<Tensor<1>> {
    let count = batch.targets.len();
    if count == 0 {
        return None;
    }
    let logits = target_logits(decoder, hidden, batch);
    let device = hidden.device();
    if let Some(best) = best {
        let ids = logits.clone().without_autodiff().max_dim_with_indices(1).1;
        best.push(ids.cast(FloatDType::F32).reshape([count]).narrow(0, 0, real(batch)));
    }
    let weights = Tensor::<2>::from_data(TensorData::new(batch.weights.clone(), [count, 1]), &device);
    let losses = match teacher {
        Some((top, how)) => soft_losses(logits, batch, top, how),
        None => target_logprobs(logits, batch, &device).neg(),
    };
    Some((losses * weights).sum())
}

/// (1 − a) CE + a T² KL `[M, 1]` of the targets; plain cross-entropy where no teacher has read them.
fn soft_losses(logits: Tensor<2>, batch: &Padded, mut top: TopK, how: Distil) -> Tensor<2> {
    let (count, k, device) = (batch.targets.len(), top.k, logits.device());
    while top.len() < count {
        top.push_none();
    }
    let tensor = |values: Vec<f32>, width: usize| {
        Tensor::<2>::from_data(TensorData::new(values, [count, width]), &device)
    };
    let column = |of: &dyn Fn(u32) -> f32| top.ids.iter().map(|id| of(*id)).collect::<Vec<f32>>();
    let there = tensor(column(&|id| if id == NONE { 0.0 } else { 1.0 }), k);
    let absent = tensor(column(&|id| if id == NONE { ABSENT } else { 0.0 }), k);
    let ids = top.ids.iter().map(|id| if *id == NONE { 0 } else { i64::from(*id) }).collect();
    let ids = Tensor::<2, Int>::from_data(TensorData::new::<i64, _>(ids, [count, k]), &device);
    let teacher: Vec<f64> = top
        .logs
        .chunks_exact(k + 1)
        .flat_map(|row| how.soften(row.iter().map(|log| f64::from(*log))))
        .collect();
    let logs = tensor(teacher.iter().map(|log| log.max(f64::from(ABSENT)) as f32).collect(), k + 1);
    let shares = top.ids.chunks_exact(k).map(|row| if row[0] == NONE { 0.0 } else { how.share });
    let shares = tensor(shares.collect(), 1);

    let own = activation::log_softmax(logits, 1);
    let targets = Tensor::<2, Int>::from_data(TensorData::new(batch.targets.clone(), [count, 1]), &device);
    let entropy = own.clone().gather(1, targets).neg();
    let near = own.gather(1, ids);
    let named = (near.clone().exp() * there.clone()).sum_dim(1);
    let tail = named.neg().add_scalar(1.0).clamp_min(LEAST_TAIL).log();
    let buckets = Tensor::cat(vec![near * there + absent, tail], 1).div_scalar(how.temperature);
    let own = activation::log_softmax(buckets, 1);
    let terms = match how.divergence {
        Divergence::Forward => logs.clone().exp() * (logs - own),
        Divergence::Reverse => own.clone().exp() * (own - logs),
    };
    let divergence = terms.sum_dim(1).mul_scalar(how.temperature * how.temperature);
    entropy * shares.clone().neg().add_scalar(1.0) + divergence * shares
}

/// What a teacher says of some rows' targets, for [`loss_sum`].
pub(super) fn teacher(rows: &[&Example], distil: Option<(Distil, usize)>) -> Option<(TopK, Distil)> {
    distil.map(|(how, k)| (taught(rows, k), how))
}

/// How many targets weigh something; what is added to fill up stands at the end.
fn real(batch: &Padded) -> usize {
    batch.weights.iter().filter(|weight| **weight > 0.0).count()
}

/// Logits `[M, V]` at the places that count: only these go through the large output product.
fn target_logits(decoder: &Decoder, hidden: &Tensor<2>, batch: &Padded) -> Tensor<2> {
    let places = Tensor::<1, Int>::from_data(
        TensorData::new(batch.places.clone(), [batch.places.len()]),
        &hidden.device(),
    );
    decoder.logits(hidden.clone().select(0, places))
}

/// Log-probabilities `[M, 1]` of the targets.
fn target_logprobs(logits: Tensor<2>, batch: &Padded, device: &Device) -> Tensor<2> {
    let targets =
        Tensor::<2, Int>::from_data(TensorData::new(batch.targets.clone(), [batch.targets.len(), 1]), device);
    activation::log_softmax(logits, 1).gather(1, targets)
}

/// Cross-entropy at each target that weighs something, in the order of the rows.
///
/// # Errors
/// If the device fails.
pub fn token_losses(decoder: &Decoder, examples: &[&Example], micro: usize) -> Result<Vec<f32>, DeviceFault> {
    guard(|| {
        let (device, decoder) = (decoder.device(), decoder.cast());
        let mut parts = vec![Tensor::<1>::zeros([1], &device)];
        for rows in examples.chunks(micro.max(1)) {
            let (batch, hidden) = hidden(&decoder, rows, &device);
            let real = real(&batch);
            if real > 0 {
                let logprobs = target_logprobs(target_logits(&decoder, &hidden, &batch), &batch, &device);
                parts.push(logprobs.narrow(0, 0, real).reshape([real]).neg());
            }
        }
        Ok(read(Tensor::cat(parts, 0))?.split_off(1))
    })
}

/// A decoder's `k` likeliest tokens of the first `vocabulary` at each target that weighs something, in the
/// order of the rows. Logits go through the host, some rows at a time.
///
/// # Errors
/// If the device fails.
pub fn likeliest(
    decoder: &Decoder,
    examples: &[&Example],
    micro: usize,
    (k, vocabulary): (usize, usize),
) -> Result<TopK, DeviceFault> {
    guard(|| {
        let (device, decoder) = (decoder.device(), decoder.cast());
        let mut top = TopK { k, ..TopK::default() };
        for rows in examples.chunks(micro.max(1)) {
            let (batch, hidden) = hidden(&decoder, rows, &device);
            let real = real(&batch);
            if real == 0 {
                continue;
            }
            let logits = target_logits(&decoder, &hidden, &batch).narrow(0, 0, real);
            let width = logits.dims()[1];
            let logits = read(logits.reshape([real * width]))?;
            logits.chunks_exact(width).for_each(|row| top.add(row, vocabulary));
        }
        Ok(top)
    })
}

/// Mean weighted loss over some examples, without gradients, and that of their value targets.
///
/// # Errors
/// If the device fails.
pub fn mean_losses(
    decoder: &Decoder,
    head: Option<&Head>,
    examples: &[&Example],
    micro: usize,
) -> Result<(f32, Option<f32>), DeviceFault> {
    guard(|| {
        let (device, decoder) = (decoder.device(), decoder.cast());
        let mut order: Vec<&Example> = examples.to_vec();
        order.sort_by_key(|e| e.tokens.len());
        let (mut sums, mut logits) = (vec![Tensor::<1>::zeros([1], &device)], Vec::new());
        for rows in order.chunks(micro.max(1)) {
            let (batch, hidden) = hidden(&decoder, rows, &device);
            sums.extend(loss_sum(&decoder, &hidden, &batch, None, None));
            if let Some(head) = head.filter(|_| !batch.values.is_empty()) {
                let count = batch.values.len();
                logits
                    .push(head.logits(&hidden, filled(batch.values, 0)).narrow(0, 0, count).reshape([count]));
            }
        }
        let chunks = sums.len();
        sums.extend(logits);
        let out = read(Tensor::cat(sums, 0))?;
        let loss = out[..chunks].iter().sum::<f32>() / weight_sum(examples);
        let targets = value::targets(&order);
        let value_loss = head.and_then(|head| {
            let total = value::weight_sum(head.loss, &targets);
            (total > 0.0).then(|| (value::loss_sum(head.loss, &out[chunks..], &targets).0 / total) as f32)
        });
        Ok((loss, value_loss))
    })
}
