//! What a reference says of training rows, for `train.loss = "golden"` ([`super::losses::Golden`]).

use anyhow::Result;

use super::batch::Example;
use super::{cpu, device};
use crate::model::fault::DeviceFault;
use crate::model::{Choice, Decoder, ModelError};

/// Rows that a reference reads at once: a number of its own, so that its losses do not depend on
/// `train.micro_batch`.
const TOGETHER: usize = 32;

/// Writes a reference's cross-entropy at each target that weighs something into the rows
/// ([`Example::reference`]).
///
/// # Errors
/// If the device fails.
pub fn refer(reference: &Decoder, rows: &mut [Example], device: &Choice) -> Result<()> {
    let mut order: Vec<usize> =
        (0..rows.len()).filter(|i| rows[*i].weights.iter().any(|w| *w > 0.0)).collect();
    order.sort_by_key(|i| rows[*i].tokens.len());
    let mut on_cpu = (device.kind == "cpu").then(|| cpu::Reader::new(reference));
    for together in order.chunks(TOGETHER) {
        let examples: Vec<&Example> = together.iter().map(|i| &rows[*i]).collect();
        let losses = match &mut on_cpu {
            Some(reader) => reader.losses(&examples),
            None => on_device(reference, &examples)?,
        };
        let mut losses = losses.into_iter();
        for i in together {
            let row = &mut rows[*i];
            row.reference = row
                .weights
                .iter()
                .map(|w| if *w > 0.0 { losses.next().unwrap_or(0.0) } else { 0.0 })
                .collect();
        }
    }
    Ok(())
}

/// Losses at all targets on a device, of fewer rows at once if memory is short.
fn on_device(decoder: &Decoder, examples: &[&Example]) -> Result<Vec<f32>> {
    let mut micro = examples.len();
    loop {
        match device::token_losses(decoder, examples, micro) {
            Ok(losses) => return Ok(losses),
            Err(DeviceFault::Memory(_)) if micro > 1 => {
                crate::model::fault::recover(&decoder.device());
                micro /= 2;
            }
            Err(fault) => return Err(ModelError::from(fault).into()),
        }
    }
}
