//! A decoder in training: its weights, the gradient of a batch, AdamW. On the CPU by [`super::cpu`],
//! elsewhere by [`super::device`] on burn's tensors; both compute the same, and tests hold them to it.

use anyhow::Result;

use super::batch::Example;
use super::cpu::Cpu;
use super::device::OnDevice;
use super::future::FutureConfig;
pub use super::lora::Setup;
use super::lora::{Adapter, Tuned};
use super::losses::Objective;
pub use super::optimizer::{Adam, LossScale, Slot, State, Step, learning_rate, weight_sum};
use super::value;
use crate::model::{Choice, Decoder, FutureHeads, ValueHead};

/// A decoder in training.
pub enum Learner {
    Cpu(Box<Cpu>),
    Device(Box<OnDevice>),
}

impl Learner {
    /// A decoder to train, and a value head on it if there is to be one.
    pub fn new(decoder: &Decoder, setup: Setup, device: &Choice) -> Self {
        match device.kind {
            "cpu" => Self::Cpu(Box::new(Cpu::new(decoder, setup))),
            _ => Self::Device(Box::new(OnDevice::new(decoder, setup))),
        }
    }

    /// The same with another loss of tokens than plain cross-entropy.
    #[must_use]
    pub fn with_objective(mut self, objective: Objective) -> Self {
        match &mut self {
            Self::Cpu(cpu) => cpu.objective = objective,
            Self::Device(device) => device.objective = objective,
        }
        self
    }

    /// The same with heads that predict the tokens after the next, if there are to be any.
    #[must_use]
    pub fn with_future(self, future: Option<FutureConfig>) -> Self {
        match (self, future) {
            (learner, None) => learner,
            (Self::Cpu(cpu), Some(future)) => Self::Cpu(Box::new(cpu.with_future(future))),
            (Self::Device(device), Some(future)) => Self::Device(Box::new(device.with_future(future))),
        }
    }

    fn objective_mut(&mut self) -> &mut Objective {
        match self {
            Self::Cpu(cpu) => &mut cpu.objective,
            Self::Device(device) => &mut device.objective,
        }
    }

    /// One optimizer step on a batch of which at most `micro` rows go through the decoder at once; with pairs
    /// ([`value::ValueLoss::Pairwise`]) the whole batch does. The loss is that of tokens plus λ times that of
    /// values, each a weighted mean over the whole batch.
    ///
    /// # Errors
    /// If loss or gradient are not finite, a value target is none, or a GPU fails; the weights are then as
    /// they were.
    pub fn step(&mut self, batch: &[&Example], micro: usize, rate: f64) -> Result<Step> {
        value::check(batch)?;
        match self {
            Self::Cpu(cpu) => cpu.step(batch, micro, rate),
            Self::Device(device) => device.step(batch, micro, rate),
        }
    }

    /// Mean weighted loss of tokens over some examples, and that of their value targets if there is a head
    /// and any weigh something. Pairs reach over all examples given, whatever `micro` is.
    ///
    /// # Errors
    /// If a value target is none, or a GPU fails.
    pub fn mean_losses(&mut self, examples: &[&Example], micro: usize) -> Result<(f32, Option<f32>)> {
        value::check(examples)?;
        match self {
            Self::Cpu(cpu) => Ok(cpu.mean_losses(examples, micro)),
            Self::Device(device) => device.mean_losses(examples, micro),
        }
    }

    /// What there is to say since the last time.
    pub fn notes(&mut self) -> Vec<String> {
        match self {
            Self::Cpu(_) => Vec::new(),
            Self::Device(device) => device.notes(),
        }
    }

    pub fn state(&self) -> State {
        match self {
            Self::Cpu(cpu) => State { counts: cpu.objective.counts().to_vec(), ..cpu.state() },
            Self::Device(device) => State { counts: device.objective.counts().to_vec(), ..device.state() },
        }
    }

    /// Steps taken so far.
    pub fn time(&self) -> usize {
        match self {
            Self::Cpu(cpu) => cpu.time(),
            Self::Device(device) => device.time(),
        }
    }

    /// Puts back what [`Learner::state`] gave.
    ///
    /// # Errors
    /// If it is of another shape.
    pub fn restore(&mut self, mut state: State) -> Result<()> {
        let own: Vec<[usize; 2]> = self.state().slots.iter().map(|s| s.shape).collect();
        let given: Vec<[usize; 2]> = state.slots.iter().map(|s| s.shape).collect();
        ensure!(
            own == given,
            "the checkpoint has {} matrices, expected {} with other shapes",
            given.len(),
            own.len()
        );
        let (counts, expected) = (std::mem::take(&mut state.counts), self.objective_mut().counts().len());
        ensure!(
            counts.len() == expected,
            "the checkpoint has {} token counts, expected {expected}",
            counts.len()
        );
        self.objective_mut().set_counts(counts);
        match self {
            Self::Cpu(cpu) => cpu.restore(state),
            Self::Device(device) => device.restore(state),
        }
        Ok(())
    }

    /// The decoder as it stands, adapters merged.
    pub fn decoder(&self) -> Decoder {
        match self {
            Self::Cpu(cpu) => cpu.decoder(),
            Self::Device(device) => device.decoder(),
        }
    }

    /// The value head as it stands, if there is one.
    pub fn head(&self) -> Option<ValueHead> {
        match self {
            Self::Cpu(cpu) => cpu.head(),
            Self::Device(device) => device.head(),
        }
    }

    /// The future heads as they stand, if there are any.
    pub fn future(&self) -> Option<FutureHeads> {
        match self {
            Self::Cpu(cpu) => cpu.future(),
            Self::Device(device) => device.future(),
        }
    }

    /// The trained adapters, if it is adapters that are trained: each with its matrices A and B.
    pub fn adapters(&self) -> Vec<(Adapter, Slot, Slot)> {
        let tuned = match self {
            Self::Cpu(cpu) => cpu.tuned(),
            Self::Device(device) => device.tuned(),
        };
        let Tuned::Adapters { adapters, .. } = tuned else { return Vec::new() };
        let mut slots = self.state().slots.into_iter();
        adapters.iter().cloned().filter_map(|adapter| Some((adapter, slots.next()?, slots.next()?))).collect()
    }
}
