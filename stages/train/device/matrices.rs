//! The trained matrices on the device: read, written, and put into the decoder.

use burn::tensor::{FloatDType, Tensor};

use super::super::lora::Tuned;
use super::super::optimizer::{Slot, State};
use super::{OnDevice, tensor};
use crate::model::tensors;

impl OnDevice {
    /// Gradients of the trained matrices.
    pub(super) fn select(&self, gradients: Vec<Option<Tensor<2>>>) -> Vec<Tensor<2>> {
        match &self.tuned {
            Tuned::Weights(_) => gradients.into_iter().flatten().collect(),
            Tuned::Adapters { adapters, scale, .. } => adapters
                .iter()
                .zip(self.places.chunks_exact(2))
                .flat_map(|(adapter, places)| {
                    let sum = gradients[adapter.weight]
                        .clone()
                        .map(|g| g.narrow(0, adapter.rows.start, adapter.rows.len()));
                    let side = |i: usize| places[i].values.clone().map(|v: Tensor<2>| v.transpose());
                    let (a, b) = (side(0), side(1));
                    [
                        b.zip(sum.clone()).map(|(b, sum)| b.matmul(sum)),
                        a.zip(sum).map(|(a, sum)| sum.matmul(a)),
                    ]
                })
                .flatten()
                .map(|g| g.mul_scalar(*scale))
                .collect(),
        }
    }

    /// The trained matrices as they stand, the head's at the end.
    pub(super) fn trained(&self) -> Vec<Tensor<2>> {
        let placed = self.places.iter().filter_map(|p| p.values.clone());
        match &self.tuned {
            Tuned::Weights(wanted) => self
                .decoder
                .weights()
                .into_iter()
                .zip(wanted)
                .filter(|(_, w)| **w)
                .map(|(weight, _)| weight.tensor())
                .chain(placed)
                .collect(),
            Tuned::Adapters { .. } => placed.collect(),
        }
    }

    pub(super) fn put(&mut self, mut values: Vec<Tensor<2>>) {
        if self.head.is_some() {
            let first = values.len().saturating_sub(2);
            let places = self.places.iter_mut().skip(first);
            places.zip(values.split_off(first)).for_each(|(place, value)| place.values = Some(value));
        }
        let ahead = self.future_places();
        let of_heads = values.split_off(values.len() - ahead.len());
        self.places[ahead].iter_mut().zip(of_heads).for_each(|(place, value)| place.values = Some(value));
        match &self.tuned {
            Tuned::Weights(wanted) => {
                let (mut values, mut wanted) = (values.into_iter(), wanted.iter());
                self.decoder = self
                    .decoder
                    .map(|old| if wanted.next() == Some(&true) { values.next().unwrap_or(old) } else { old });
            }
            Tuned::Adapters { adapters, scale, .. } => {
                for (place, value) in self.places.iter_mut().zip(values) {
                    place.values = Some(value);
                }
                let mut index = 0;
                self.decoder = self.frozen.map(|mut weight| {
                    for (adapter, places) in
                        adapters.iter().zip(self.places.chunks_exact(2)).filter(|(a, _)| a.weight == index)
                    {
                        if let (Some(a), Some(b)) = (places[0].values.clone(), places[1].values.clone()) {
                            let columns = weight.dims()[1];
                            let at = [adapter.rows.clone(), 0..columns];
                            let sum = weight.clone().slice(at.clone()) + b.matmul(a).mul_scalar(*scale);
                            weight = weight.slice_assign(at, sum);
                        }
                    }
                    index += 1;
                    weight
                });
            }
        }
    }

    pub fn state(&self) -> State {
        let slots = self
            .trained()
            .iter()
            .zip(&self.places)
            .map(|(weight, place)| {
                let shape = weight.dims();
                let (first, second) = match &place.moments {
                    Some((m, v)) => (tensors::values(m), tensors::values(v)),
                    None => (vec![0.0; shape[0] * shape[1]], vec![0.0; shape[0] * shape[1]]),
                };
                Slot { shape, values: tensors::values(weight), first, second }
            })
            .collect();
        State {
            slots,
            time: self.time,
            counts: Vec::new(),
            scale: (self.decoder.dtype == FloatDType::F16).then_some(self.scale),
        }
    }

    /// Shapes are the caller's to check.
    pub fn restore(&mut self, state: State) {
        let device = self.decoder.device();
        let mut values = Vec::with_capacity(self.places.len());
        for (place, slot) in self.places.iter_mut().zip(state.slots) {
            let moments = (tensor(slot.first, slot.shape, &device), tensor(slot.second, slot.shape, &device));
            place.moments = (state.time > 0).then_some(moments);
            values.push(tensor(slot.values, slot.shape, &device));
        }
        self.time = state.time;
        self.scale = state.scale.unwrap_or(self.scale);
        self.put(values);
    }
}
