//! `qstill export-gguf MODEL OUT.gguf`: a model directory as one file that llama.cpp serves.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use stages::Cancelled;
use stages::model::gguf::export::{Type, Written, export};

use crate::disk::durable;
use crate::terminal::console::Console;
use crate::terminal::exit::{Exit, Failure};

/// Write a model directory as a GGUF file, which llama.cpp and what builds on it load.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill export-gguf runs/demo/round-2/student student.gguf
  qstill export-gguf path/to/model model-q8_0.gguf --type q8_0 --force
  llama-server -m student.gguf

Matrices are written in --type; norms and biases are f32, and matrices whose rows are no multiple of 32 are \
f16 instead of q8_0. A model or tokenizer that llama.cpp does not compute alike is refused. \
docs/models.md says what is written.")]
pub struct ExportGguf {
    /// A Hugging Face directory of a model; docs/models.md lists the families. A GGUF file, too.
    model: PathBuf,
    /// The file to write.
    out: PathBuf,
    /// What matrices are written as.
    #[arg(long = "type", value_enum, default_value = "f16", value_name = "TYPE")]
    kind: Kind,
    /// Name of the model in the file; the name of its directory if it is not given.
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    /// Replace OUT if it is there.
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    F16,
    Bf16,
    #[value(name = "q8_0")]
    Q8_0,
    F32,
}

/// Writes the file.
///
/// # Errors
/// A model that cannot be read or written as GGUF, a file that is there already, failed writes, and a stop on
/// request. Then nothing has changed at `out`.
pub fn run(args: ExportGguf, console: &Console) -> Result<Exit> {
    let shown = args.out.display();
    if args.out.is_dir() {
        return Err(Failure::usage(format!("{shown} is a directory"), "name a file").into());
    }
    if args.out.exists() && !args.force {
        let hint = "choose another name, or replace it with --force";
        return Err(Failure::usage(format!("{shown} already exists"), hint).into());
    }
    console.install_interrupt().context("failed to listen for signals")?;
    let staged = durable::beside(&args.out).with_context(|| format!("cannot write {shown}"))?;
    let written = write(&args, &staged, console);
    if written.is_err() {
        let _ = fs::remove_file(&staged);
    }
    let bytes = written?;
    console.say(&format!("wrote {shown}, {:.1} MiB", bytes as f64 / f64::from(1 << 20)));
    Ok(Exit::Done)
}

/// Writes the file under another name, and puts it in its place. Returns its size in bytes.
fn write(args: &ExportGguf, staged: &Path, console: &Console) -> Result<u64> {
    let failed = || format!("cannot write {}", args.out.display());
    let file = File::create_new(staged).with_context(failed)?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let kind = match args.kind {
        Kind::F16 => Type::F16,
        Kind::Bf16 => Type::Bf16,
        Kind::Q8_0 => Type::Q8_0,
        Kind::F32 => Type::F32,
    };
    let whole = fs::canonicalize(&args.model).unwrap_or_else(|_| args.model.clone());
    let own = || whole.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = if args.name.is_empty() { own() } else { args.name.clone() };
    let progress = console.stage("export-gguf", "tensors", 0, 0);
    let written = export(&args.model, kind, &name, (&args.out, &mut out), &progress)?;
    if written == Written::Stopped {
        return Err(Cancelled.into());
    }
    out.flush().with_context(failed)?;
    let file = out.get_ref();
    durable::sync_file(file).with_context(failed)?;
    let bytes = file.metadata().with_context(failed)?.len();
    if args.force {
        fs::rename(staged, &args.out).with_context(failed)?;
    } else {
        // Somebody may have made it in the meantime.
        durable::link(staged, &args.out).with_context(failed)?;
        let _ = fs::remove_file(staged);
    }
    durable::sync_parent(&args.out).with_context(failed)?;
    progress.finish();
    Ok(bytes)
}
