//! What a device does when it fails: it may be out of memory, which fewer rows cure, or be gone.
//!
//! Work on a device is queued. A failure stands on the tensors that were never written and surfaces when one
//! of them is read; an allocation that the driver refuses, or a lost device, may panic too. [`guard`] makes
//! one error of both.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use burn::tensor::{Device, Tensor};

use super::ModelError;

/// Why work on a device failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceFault {
    /// There was no room for a tensor.
    Memory(String),
    /// The device is gone, for this process at least.
    Lost(String),
    /// Whatever else a driver or a kernel complains of.
    Other(String),
}

/// What runtimes and drivers say when memory is short.
const MEMORY: [&str; 6] = [
    "out of device memory",
    "out of memory",
    "outofmemory",
    "out_of_device_memory",
    "can't allocate buffer",
    "not enough memory",
];
/// What they say of a device that is gone.
const LOST: [&str; 5] =
    ["device is poisoned", "device lost", "device was lost", "device_lost", "parent device is lost"];

impl DeviceFault {
    /// Reads a message of the runtime.
    pub fn of(message: &str) -> Self {
        // The rest of a message is a backtrace.
        let text = message
            .split("\nBacktrace")
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        let lower = text.to_lowercase();
        if LOST.iter().any(|said| lower.contains(said)) {
            Self::Lost(text)
        } else if MEMORY.iter().any(|said| lower.contains(said)) {
            Self::Memory(text)
        } else {
            Self::Other(text)
        }
    }
}

impl From<DeviceFault> for ModelError {
    fn from(fault: DeviceFault) -> Self {
        match fault {
            DeviceFault::Memory(text) => Self::Device(format!(
                "the GPU is out of memory ({text}): lower model.batch_rows, model.cache_mib or \
                 train.micro_batch"
            )),
            DeviceFault::Lost(text) => Self::Lost(text),
            DeviceFault::Other(text) => Self::Device(format!("the GPU failed: {text}; use --device cpu")),
        }
    }
}

/// Does some work on a device, and makes its panics faults as well. A panic that speaks of neither memory nor
/// a lost device is a bug and goes on.
///
/// # Errors
/// Those of the work.
pub fn guard<T>(work: impl FnOnce() -> Result<T, DeviceFault>) -> Result<T, DeviceFault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| match DeviceFault::of(text(panic.as_ref())) {
        DeviceFault::Other(_) => resume_unwind(panic),
        fault => Err(fault),
    })
}

fn text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or_default()
}

/// How values come to the host: [`read`], or a test's own way that fails.
pub type Reader<const D: usize> = Box<dyn FnMut(Tensor<D>) -> Result<Vec<f32>, DeviceFault> + Send>;

/// Waits for a tensor and brings it to the host.
///
/// # Errors
/// What went wrong in computing it.
pub fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, DeviceFault> {
    let data = tensor.try_into_data().map_err(|e| {
        if e.is_device_poisoned() {
            DeviceFault::Lost(e.reason().to_owned())
        } else {
            DeviceFault::of(e.reason())
        }
    })?;
    Ok(data.iter::<f32>().collect())
}

/// Gives back what failed work has left on the device.
pub fn recover(device: &Device) {
    // The wait itself may say again what is known already.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let _ = device.sync();
        device.memory_cleanup();
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart() {
        let text = "out of device memory allocating 4096 bytes\nBacktrace:\n0: x";
        assert!(matches!(DeviceFault::of(text), DeviceFault::Memory(t) if !t.contains("0: x")));
        assert!(matches!(DeviceFault::of("wgpu error: Out of Memory"), DeviceFault::Memory(_)));
        assert!(matches!(
            DeviceFault::of("The device is poisoned\nCaused by:\n  Unknown: reset"),
            DeviceFault::Lost(_)
        ));
        assert!(matches!(DeviceFault::of("a kernel failed to compile"), DeviceFault::Other(_)));
    }

    #[test]
    fn panics_of_the_driver_are_faults_and_others_go_on() {
        assert!(matches!(guard::<()>(|| panic!("wgpu error: Out of Memory")), Err(DeviceFault::Memory(_))));
        assert!(std::panic::catch_unwind(|| guard::<()>(|| panic!("index out of bounds"))).is_err());
    }
}
