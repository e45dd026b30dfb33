//! `qstill doctor`: which devices there are, what `auto` takes and why, and whether each computes what the
//! CPU does.

use anyhow::Result;
use clap::Args;
use serde_json::json;
use stages::model::device::{self, DeviceSetting};

use crate::terminal::exit::Exit;
use crate::terminal::text::to_stdout;

/// List devices, say which one `auto` takes, and check that each computes correctly.
#[derive(Args)]
pub struct Doctor {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Checks the devices.
///
/// # Errors
/// If the graphics driver cannot be asked.
pub fn run(args: Doctor) -> Result<Exit> {
    Ok(if doctor(args.json)? { Exit::Done } else { Exit::Bug })
}

/// Checks every device and prints what was found; false if `auto`'s choice does not work.
///
/// # Errors
/// If the graphics driver cannot be asked.
fn doctor(as_json: bool) -> Result<bool> {
    let choice = device::choose(&DeviceSetting::Auto)?;
    let mut rows =
        vec![json!({"device": "cpu", "kind": "Cpu", "check": outcome(&device::check(&device::cpu()))})];
    for (number, adapter) in device::adapters()?.into_iter().enumerate() {
        let check = device::open(&adapter).and_then(|d| device::check(&d));
        rows.push(json!({
            "device": adapter.name, "kind": adapter.kind, "backend": adapter.backend,
            "driver": adapter.driver, "pci": adapter.pci, "gpu": adapter.is_gpu(), "number": number,
            "check": outcome(&check),
        }));
    }
    let works = device::check(&choice.device).is_ok();
    let version = env!("CARGO_PKG_VERSION");
    let report = json!({"version": version, "auto": choice.kind, "why": choice.why, "devices": rows});
    if as_json {
        let text = serde_json::to_string_pretty(&report)?;
        to_stdout(|out| Ok(writeln!(out, "{text}")?))?;
        return Ok(works);
    }
    let mut text = format!("qstill {version}\n");
    for row in &rows {
        let of = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let about: Vec<String> = [of("kind"), of("backend"), of("driver"), of("pci")]
            .into_iter()
            .filter(|s| !s.is_empty())
            .collect();
        let name = match row["number"].as_u64() {
            Some(number) => format!("wgpu:{number}, {}", of("device")),
            None => of("device"),
        };
        text.push_str(&format!("  {name} ({}): {}\n", about.join(", "), of("check")));
    }
    text.push_str(&format!("auto takes {}: {}\n", choice.kind, choice.why.trim_start_matches("device: ")));
    to_stdout(|out| Ok(write!(out, "{text}")?))?;
    Ok(works)
}

fn outcome(check: &Result<f32, stages::model::ModelError>) -> String {
    match check {
        Ok(difference) => format!("works: forward and backward agree with the CPU within {difference:.1e}"),
        Err(error) => format!("does not work: {error}"),
    }
}
