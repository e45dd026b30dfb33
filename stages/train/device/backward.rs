//! Losses and gradients of a batch by automatic differentiation.

use burn::tensor::{GradientCheckpointingStrategy, Tensor};

use super::super::batch::Example;
use super::super::optimizer::weight_sum;
use super::super::value;
use super::future::Future;
use super::losses::{Head, loss_sum, stream, teacher};
use crate::model::Decoder;
use crate::model::soft::Distil;

/// What is computed beside the decoder's own predictions.
#[derive(Clone, Copy, Default)]
pub struct AuxLosses<'a> {
    pub value: Option<&'a Head>,
    pub future: Option<&'a Future>,
    /// How the student is held against the rows' teacher, and of how many tokens that speaks.
    pub distil: Option<(Distil, usize)>,
    /// Whether the likeliest token at each target is asked.
    pub best: bool,
}

/// How gradients are computed.
#[derive(Clone, Copy)]
pub struct Pass {
    /// Most rows at once.
    pub micro: usize,
    /// Keep less of the forward pass, and compute it again.
    pub recompute: bool,
    /// What the loss is multiplied by on its way back.
    pub scale: f32,
}

/// Losses and gradients of a batch, all still on the device.
pub struct Gradients {
    /// Mean cross-entropy of the tokens `[1]`.
    pub loss: Tensor<1>,
    /// Mean loss of the values `[1]`, if any weigh something.
    pub value_loss: Option<Tensor<1>>,
    /// In the order of [`Decoder::weights`], of what is needed.
    pub weights: Vec<Option<Tensor<2>>>,
    /// Of the value head's weight and bias, if there is one.
    pub head: Vec<Tensor<2>>,
    /// Sum of the future heads' losses `[1]`, if there are any.
    pub future_loss: Option<Tensor<1>>,
    /// Of the future heads' weights, head by head.
    pub future: Vec<Tensor<2>>,
    /// Likeliest tokens, in the order of the rows' targets that weigh something, if asked.
    pub best: Vec<Tensor<1>>,
}

/// Adds to a sum that begins with nothing.
fn add(sum: &mut Option<Tensor<2>>, new: Tensor<2>) {
    *sum = Some(match sum.take() {
        None => new,
        Some(old) => old + new,
    });
}

/// Losses and gradients of a batch.
pub fn gradients(
    decoder: &Decoder,
    beside: AuxLosses<'_>,
    batch: &[&Example],
    pass: Pass,
    needs: impl Fn(usize) -> bool,
) -> Gradients {
    let AuxLosses { value: head, future, distil, best: asked } = beside;
    let total = weight_sum(batch);
    let values = head.map_or(0.0, |head| value::weight_sum(head.loss, &value::targets(batch)));
    let (strategy, tracked_device) = match (pass.recompute, decoder.device().autodiff()) {
        (true, device) => (GradientCheckpointingStrategy::Balanced, device.gradient_checkpointing()),
        (false, device) => (GradientCheckpointingStrategy::default(), device),
    };
    let track = |weight: Tensor<2>| weight.autodiff().with_gradient_checkpointing_strategy(strategy);
    let count = decoder.weights().len();
    let through = (0..count).any(&needs);
    // A decoder that stays as it is needs no backward pass, but for heads on it.
    let through = through || future.is_some();
    let device = if through { tracked_device } else { decoder.device() };
    let (mut losses, mut value_losses) = (Vec::new(), Vec::new());
    let mut sum: Vec<Option<Tensor<2>>> = vec![None; count];
    let mut head_sum: Vec<Option<Tensor<2>>> = vec![None; if head.is_some() { 2 } else { 0 }];
    let mut future_sum: Vec<Option<Tensor<2>>> =
        vec![None; future.map_or(0, |f| f.layers.iter().map(Vec::len).sum())];
    let (mut future_losses, mut best) = (Vec::new(), Vec::new());
    for rows in batch.chunks(pass.micro.max(1)) {
        let mut index = 0;
        let tracked = decoder.map(|weight| {
            index += 1;
            match (through, needs(index - 1)) {
                (false, _) => weight,
                (true, false) => track(weight),
                (true, true) => track(weight).require_grad(),
            }
        });
        let own = head.map(|head| Head {
            weight: track(head.weight.clone()).require_grad(),
            bias: track(head.bias.clone()).require_grad(),
            ..head.clone()
        });
        let own_future = future.map(|f| Future {
            layers: f
                .layers
                .iter()
                .map(|layer| layer.iter().map(|weight| track(weight.clone()).require_grad()).collect())
                .collect(),
            weight: f.weight,
        });
        let cast = tracked.cast();
        let (padded, places, stream) = stream(&cast, rows, &device);
        let [count, len, size] = stream.dims();
        let hidden = cast.normed(stream.clone()).reshape([count * len, size]);
        let teacher = teacher(rows, distil);
        let loss = loss_sum(&cast, &hidden, &padded, asked.then_some(&mut best), teacher)
            .map(|loss| loss.div_scalar(total));
        let future_loss = own_future
            .as_ref()
            .and_then(|own| own.loss_sum(&cast, &stream, &places, rows))
            .map(|loss| loss.div_scalar(total));
        let value_loss = own
            .as_ref()
            .filter(|_| values > 0.0)
            .and_then(|own| own.loss_sum(&hidden, &padded, rows))
            .map(|loss| loss.div_scalar(values));
        losses.extend(loss.clone().map(Tensor::without_autodiff));
        value_losses.extend(value_loss.clone().map(Tensor::without_autodiff));
        future_losses.extend(future_loss.clone().map(Tensor::without_autodiff));
        let weighted = value_loss.zip(head).map(|(loss, head)| loss.mul_scalar(head.lambda));
        let ahead = future_loss.zip(future).map(|(loss, future)| loss.mul_scalar(future.weight));
        let parts = [loss.filter(|_| through), ahead, weighted];
        let Some(whole) = parts.into_iter().flatten().reduce(|a, b| a + b) else { continue };
        let mut gradients = whole.mul_scalar(pass.scale).backward();
        for (_, (weight, sum)) in
            tracked.weights().into_iter().zip(&mut sum).enumerate().filter(|(i, _)| needs(*i))
        {
            if let Some(new) = weight.tensor().grad_remove(&mut gradients) {
                add(sum, new);
            }
        }
        let beside = own.iter().flat_map(|own| [&own.weight, &own.bias]).zip(&mut head_sum);
        for (weight, sum) in
            beside.chain(own_future.iter().flat_map(|own| own.layers.iter().flatten()).zip(&mut future_sum))
        {
            if let Some(new) = weight.grad_remove(&mut gradients) {
                add(sum, new);
            }
        }
    }
    let finish = |(like, sum): (&Tensor<2>, Option<Tensor<2>>)| match sum {
        Some(sum) if pass.scale > 1.0 => sum.div_scalar(pass.scale),
        Some(sum) => sum,
        None => like.zeros_like(),
    };
    let weights = decoder
        .weights()
        .into_iter()
        .zip(sum)
        .enumerate()
        .map(|(i, (weight, sum))| needs(i).then(|| finish((&weight.tensor(), sum))))
        .collect();
    let head = head.iter().flat_map(|head| [&head.weight, &head.bias]).zip(head_sum).map(finish).collect();
    let future = future.iter().flat_map(|f| f.layers.iter().flatten()).zip(future_sum).map(finish).collect();
    let total = |losses: Vec<Tensor<1>>| (!losses.is_empty()).then(|| Tensor::cat(losses, 0).sum());
    let loss = total(losses).unwrap_or_else(|| Tensor::zeros([1], &decoder.device()));
    Gradients {
        loss,
        value_loss: total(value_losses),
        weights,
        head,
        future_loss: total(future_losses),
        future,
        best,
    }
}
