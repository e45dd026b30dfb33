//! Which device computes, and why: a real GPU through wgpu where there is one, else the CPU. A software
//! adapter (lavapipe, SwiftShader) is used only when wgpu is asked for by name.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use burn::tensor::{Device, DeviceKind, FloatDType, Int, Tensor, TensorData, activation};
use burn_wgpu::wgpu;
use serde::{Deserialize, Serialize};

use super::{Decoder, DecoderConfig, ModelError};

/// What the user asked for: `auto`, `wgpu`, `wgpu:N` or `cpu`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceSetting {
    /// A real GPU if there is one, else the CPU.
    #[default]
    Auto,
    /// A GPU; a software adapter if it is the only one.
    Wgpu,
    /// One of several: its number, as [`adapters`] lists them, or its PCI address.
    Gpu(String),
    Cpu,
}

impl TryFrom<String> for DeviceSetting {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match (text.as_str(), text.strip_prefix("wgpu:").map(str::trim)) {
            ("auto", _) => Ok(Self::Auto),
            ("wgpu", _) => Ok(Self::Wgpu),
            ("cpu", _) => Ok(Self::Cpu),
            (_, Some(gpu)) if !gpu.is_empty() => Ok(Self::Gpu(gpu.to_owned())),
            _ => Err(format!(
                "there is no device `{text}`, expected `auto`, `wgpu`, `wgpu:N` (a GPU's number or PCI \
                 address) or `cpu`"
            )),
        }
    }
}

impl From<DeviceSetting> for String {
    fn from(setting: DeviceSetting) -> Self {
        match setting {
            DeviceSetting::Auto => "auto".to_owned(),
            DeviceSetting::Wgpu => "wgpu".to_owned(),
            DeviceSetting::Gpu(gpu) => format!("wgpu:{gpu}"),
            DeviceSetting::Cpu => "cpu".to_owned(),
        }
    }
}

/// What is computed in (`model.dtype`); files and checkpoints are f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bf16 where a real GPU computes in it, else f32. Never f16, whose range some models exceed.
    #[default]
    Auto,
    F32,
    Bf16,
    F16,
    /// The CPU generates with 8-bit weights and inputs of its products; it trains in f32.
    Int8,
}

/// An adapter that wgpu sees.
#[derive(Clone, Debug, Serialize)]
pub struct Adapter {
    pub name: String,
    /// `DiscreteGpu`, `IntegratedGpu`, `VirtualGpu`, `Cpu` or `Other`.
    pub kind: String,
    /// `Vulkan`, `Metal`, `Dx12` or `Gl`.
    pub backend: String,
    pub driver: String,
    /// PCI address, such as `0000:65:00.0`; empty where the driver does not say it.
    pub pci: String,
    /// How burn addresses it; `None` if it cannot.
    #[serde(skip)]
    select: Option<DeviceKind>,
}

impl Adapter {
    /// False for adapters that compute on the CPU.
    pub fn is_gpu(&self) -> bool {
        matches!(self.kind.as_str(), "DiscreteGpu" | "IntegratedGpu" | "VirtualGpu")
    }

    /// Whether it has this PCI address, of which the domain may be left out.
    fn is_at(&self, address: &str) -> bool {
        // nvidia-smi writes the domain with eight digits.
        let parts = |text: &str| text.trim_start_matches(['0', ':']).to_ascii_lowercase();
        !self.pci.is_empty() && address.contains(':') && parts(&self.pci) == parts(address)
    }
}

/// A device and one line that says why it was taken.
#[derive(Clone)]
pub struct Choice {
    pub device: Device,
    /// `cpu` or `wgpu`.
    pub kind: &'static str,
    /// False for the CPU and for software adapters.
    pub gpu: bool,
    pub why: String,
}

impl Choice {
    /// Lets a decoder compute in a type.
    ///
    /// # Errors
    /// If the device does not compute in the one that is asked for.
    pub fn prepare(&self, decoder: &mut Decoder, wanted: Precision) -> Result<(), ModelError> {
        decoder.dtype = self.dtype(wanted)?;
        decoder.eight_bit = wanted == Precision::Int8 && self.kind == "cpu";
        Ok(())
    }

    /// The type of numbers to compute in.
    ///
    /// # Errors
    /// If the device does not compute in the one that is asked for.
    pub fn dtype(&self, wanted: Precision) -> Result<FloatDType, ModelError> {
        let dtype = match wanted {
            Precision::Auto | Precision::Int8 if self.gpu && self.device.supports_dtype(FloatDType::BF16) => {
                FloatDType::BF16
            }
            Precision::Auto | Precision::F32 | Precision::Int8 => FloatDType::F32,
            Precision::Bf16 => FloatDType::BF16,
            Precision::F16 => FloatDType::F16,
        };
        if dtype != FloatDType::F32 && self.kind == "cpu" {
            return Err(ModelError::Device(
                "model.dtype bf16 and f16 are for GPUs, and the device is the CPU: leave it at \"auto\", or \
                 generate with 8-bit weights (\"int8\")"
                    .into(),
            ));
        }
        if dtype != FloatDType::F32 && !self.device.supports_dtype(dtype) {
            return Err(ModelError::Device(format!(
                "this GPU does not support {dtype:?} (model.dtype): use \"auto\" or \"f32\""
            )));
        }
        Ok(dtype)
    }
}

/// Every adapter wgpu can use for compute: GPUs in the order of their PCI addresses, as nvidia-smi counts,
/// then the others.
///
/// # Errors
/// If the graphics driver is broken.
pub fn adapters() -> Result<Vec<Adapter>, ModelError> {
    let listed = catch_unwind(|| {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
        let instance = wgpu::Instance::new(descriptor);
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        Ok::<_, std::io::Error>(
            runtime
                .block_on(instance.enumerate_adapters(wgpu::Backends::all()))
                .into_iter()
                .map(|a| a.get_info())
                .collect::<Vec<_>>(),
        )
    });
    let infos = listed
        .map_err(|_| {
            ModelError::Device(
                "listing GPU adapters failed: the graphics driver is broken; use --device cpu".into(),
            )
        })?
        .map_err(|e| ModelError::Device(format!("listing GPU adapters failed: {e}")))?;
    let mut counts = [0usize; 3];
    let mut next = |kind: usize| {
        counts[kind] += 1;
        counts[kind] - 1
    };
    let mut adapters: Vec<Adapter> = infos
        .into_iter()
        .map(|info| {
            let select = match info.device_type {
                wgpu::DeviceType::DiscreteGpu => Some(DeviceKind::DiscreteGpu(next(0))),
                wgpu::DeviceType::IntegratedGpu => Some(DeviceKind::IntegratedGpu(next(1))),
                wgpu::DeviceType::VirtualGpu => Some(DeviceKind::VirtualGpu(next(2))),
                wgpu::DeviceType::Cpu => Some(DeviceKind::Cpu),
                wgpu::DeviceType::Other => None,
            };
            Adapter {
                name: info.name,
                kind: format!("{:?}", info.device_type),
                backend: format!("{:?}", info.backend),
                driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
                pci: info.device_pci_bus_id,
                select,
            }
        })
        .collect();
    adapters.sort_by_key(|adapter| (!adapter.is_gpu(), adapter.pci.clone()));
    Ok(adapters)
}

/// Whether there is a GPU of this number or PCI address.
///
/// # Errors
/// If there is none, with those there are.
pub fn find(gpu: &str) -> Result<(), ModelError> {
    numbered(&adapters()?, gpu).map(|_| ())
}

/// The adapter of a number or PCI address.
fn numbered<'a>(found: &'a [Adapter], gpu: &str) -> Result<&'a Adapter, ModelError> {
    let by_number = gpu.parse().ok().and_then(|number: usize| found.get(number));
    by_number.or_else(|| found.iter().find(|adapter| adapter.is_at(gpu))).ok_or_else(|| {
        let all = found.iter().enumerate().map(|(number, adapter)| match adapter.pci.as_str() {
            "" => format!("{number} ({})", adapter.name),
            pci => format!("{number} ({}, {pci})", adapter.name),
        });
        let all = if found.is_empty() { "none".to_owned() } else { all.collect::<Vec<_>>().join(", ") };
        ModelError::Device(format!("there is no GPU `{gpu}` (run.device); adapters here: {all}"))
    })
}

/// Takes the device that the setting asks for.
///
/// # Errors
/// If wgpu is asked for and there is no adapter, or it cannot be opened.
pub fn choose(setting: &DeviceSetting) -> Result<Choice, ModelError> {
    let cpu = |why: String| Choice { device: Device::flex(), kind: "cpu", gpu: false, why };
    if *setting == DeviceSetting::Cpu {
        return Ok(cpu("device: CPU (as requested)".into()));
    }
    // Without a driver the auto choice is the CPU, whatever went wrong in looking for one.
    let found = match adapters() {
        Ok(found) => found,
        Err(error) if *setting == DeviceSetting::Auto => return Ok(cpu(format!("device: CPU ({error})"))),
        Err(error) => return Err(error),
    };
    let rank =
        |a: &&Adapter| ["DiscreteGpu", "IntegratedGpu", "VirtualGpu"].iter().position(|k| a.kind == *k);
    let gpu = found.iter().filter(|a| a.is_gpu()).min_by_key(rank);
    let software = found.iter().find(|a| a.kind == "Cpu");
    let described = |a: &Adapter| format!("device: wgpu on {} ({}, {})", a.name, a.kind, a.backend);
    let (adapter, why) = match (setting, gpu, software) {
        (DeviceSetting::Gpu(gpu), _, _) => {
            let adapter = numbered(&found, gpu)?;
            (adapter, format!("{}, GPU {gpu} as requested", described(adapter)))
        }
        (DeviceSetting::Auto, None, None) => return Ok(cpu("device: CPU (no GPU adapter found)".into())),
        (DeviceSetting::Auto, None, Some(a)) => {
            return Ok(cpu(format!(
                "device: CPU (the only adapter, {}, is a software renderer; --device wgpu would use it)",
                a.name
            )));
        }
        (_, Some(a), _) => (a, described(a)),
        (_, None, Some(a)) => (
            a,
            format!(
                "device: wgpu on {} ({}): a software adapter, slower than --device cpu",
                a.name, a.backend
            ),
        ),
        (_, None, None) => {
            return Err(ModelError::Device(
                "no GPU adapter found; install a Vulkan, Metal or DX12 driver, or use --device cpu".into(),
            ));
        }
    };
    Ok(Choice { device: open(adapter)?, kind: "wgpu", gpu: adapter.is_gpu(), why })
}

/// Opens an adapter. A process opens each at most once, and has the same device afterwards.
///
/// # Errors
/// If the driver refuses.
pub fn open(adapter: &Adapter) -> Result<Device, ModelError> {
    static OPENED: Mutex<Vec<(String, Device)>> = Mutex::new(Vec::new());
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    let key = format!("{:?}", adapter.select);
    if let Some((_, device)) = opened.iter().find(|(known, _)| *known == key) {
        return Ok(device.clone());
    }
    let device = open_new(adapter)?;
    opened.push((key, device.clone()));
    Ok(device)
}

fn open_new(adapter: &Adapter) -> Result<Device, ModelError> {
    let failed = |what: String| {
        ModelError::Device(format!("{} cannot be opened: {what}; use --device cpu", adapter.name))
    };
    let select = adapter.select.clone().ok_or_else(|| failed("an adapter of unknown kind".into()))?;
    // The driver stack panics on some failures instead of reporting them.
    catch_unwind(|| Device::wgpu_options().device_kind(select).init())
        .map_err(|_| failed("the driver failed".into()))?
        .map_err(|e| failed(e.to_string()))
}

/// Runs a small decoder forward and backward and compares logits and gradients with the CPU's.
///
/// # Errors
/// If the device fails, or differs from the CPU by more than 1e-3.
pub fn check(device: &Device) -> Result<f32, ModelError> {
    let config = DecoderConfig::small(40, 16);
    let run = |device: &Device| {
        let device = device.clone().autodiff();
        let larger = |w: Tensor<2>| if w.dims()[0] == 1 { w } else { w.mul_scalar(8.0) };
        let decoder = Decoder::random(&config, 1, &device).map(|w| larger(w).require_grad());
        let tokens: Vec<i64> = (0..20).map(|i| i * 7 % 40).collect();
        let tokens = Tensor::<2, Int>::from_data(TensorData::new(tokens, [2, 10]), &device);
        let logits = decoder.logits(
            decoder.hidden(tokens, &decoder.causal(10, &device), None).reshape([20, config.hidden_size]),
        );
        let gradients = activation::log_softmax(logits.clone(), 1).narrow(1, 3, 1).mean().backward();
        let mut all: Vec<f32> = logits.to_data().iter::<f32>().collect();
        for weight in decoder.weights() {
            all.extend(
                weight
                    .tensor()
                    .grad(&gradients)
                    .map(|g| g.to_data().iter::<f32>().collect::<Vec<f32>>())
                    .unwrap_or_default(),
            );
        }
        all
    };
    let expected = run(&cpu());
    let got = catch_unwind(AssertUnwindSafe(|| run(device)))
        .map_err(|_| ModelError::Device("a forward and backward pass failed on it".into()))?;
    let differences: Vec<f32> = expected.iter().zip(&got).map(|(x, y)| (x - y).abs()).collect();
    let difference = differences.iter().copied().fold(0.0, f32::max);
    // Not a number is no small difference either.
    if got.len() == expected.len() && differences.iter().all(|d| *d < 1e-3) {
        Ok(difference)
    } else {
        Err(ModelError::Device(format!("results differ from the CPU by {difference}")))
    }
}

/// The CPU device.
pub fn cpu() -> Device {
    Device::flex()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(name: &str, pci: &str) -> Adapter {
        let text = |text: &str| text.to_owned();
        let (kind, backend) = (text("DiscreteGpu"), text("Vulkan"));
        Adapter { name: text(name), kind, backend, driver: String::new(), pci: text(pci), select: None }
    }

    #[test]
    fn a_gpu_is_found_by_number_and_by_pci_address() {
        let found = [adapter("a", "0000:17:00.0"), adapter("b", "0000:65:00.0"), adapter("c", "")];
        let name = |gpu: &str| numbered(&found, gpu).map(|adapter| adapter.name.clone());
        for (gpu, expected) in [
            ("0", "a"),
            ("1", "b"),
            ("2", "c"),
            ("65:00.0", "b"),
            ("00000000:65:00.0", "b"),
            ("0000:17:00.0", "a"),
        ] {
            assert_eq!(name(gpu).ok().as_deref(), Some(expected), "{gpu}");
        }
        for gpu in ["3", "-1", "66:00.0", "b", ":"] {
            let error = name(gpu).unwrap_err().to_string();
            assert!(error.contains("1 (b, 0000:65:00.0), 2 (c)"), "{error}");
        }
    }

    #[test]
    fn a_setting_is_read_as_it_is_written() {
        for text in ["auto", "wgpu", "wgpu:3", "wgpu:0000:65:00.0", "cpu"] {
            let setting = DeviceSetting::try_from(text.to_owned()).unwrap();
            assert_eq!(String::from(setting), text);
        }
        for text in ["", "cuda", "wgpu:", "wgpu: ", "GPU"] {
            let error = DeviceSetting::try_from(text.to_owned()).unwrap_err();
            assert!(error.contains("wgpu:N"), "{error}");
        }
    }
}
