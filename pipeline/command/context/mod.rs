//! `qstill context`: every command, key, table and exit code on one page, for scripts and agents. It is made
//! from the code that parses, checks and writes them, as the pages of `docs/` are (`reference`).

use std::fmt::Write;

use anyhow::Result;
use clap::{Args, Command};

use crate::terminal::exit::Exit;
use crate::terminal::text::to_stdout;

pub mod reference;

use reference::{CommandPage, Reference};

/// Print every command, key, table and exit code on one page, for scripts and agents.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill context > qstill.md
  qstill context --json | jq -r '.tables[] | .name, (.columns[] | \"  \" + .name + \" \" + .type)'
  qstill context --json | jq '.configuration[] | select(.name == \"search\")'")]
pub struct Context {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints the page.
///
/// # Errors
/// A stdout that cannot be written.
pub fn run(args: Context, program: Command) -> Result<Exit> {
    let reference = Reference::of(program);
    let text = if args.json { serde_json::to_string_pretty(&reference)? + "\n" } else { page(&reference)? };
    to_stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    Ok(Exit::Done)
}

fn page(reference: &Reference) -> Result<String> {
    let Reference { version, about, commands, exit_codes, presets, configuration, tables } = reference;
    let mut out = format!("# qstill {version}\n\n{about}\n\n## Exit codes\n\n");
    for (code, meaning) in exit_codes {
        writeln!(out, "- {code}: {meaning}")?;
    }
    out.push_str("\n## Commands\n");
    for command in commands {
        add(command, &mut out)?;
    }
    writeln!(
        out,
        "\n## Configuration\n\nPresets: {}. Any key on the command line: `--set section.key=value`.",
        presets.join(", ")
    )?;
    for section in configuration {
        writeln!(out, "\n### [{}]\n", section.name)?;
        if !section.about.is_empty() {
            writeln!(out, "{}\n", section.about)?;
        }
        for key in &section.keys {
            writeln!(out, "- `{} = {}`: {}", key.key, key.default, key.meaning)?;
        }
    }
    out.push_str(
        "\n## Tables\n\nIn Parquet; by SQL, all rounds of a run at once: `qstill sql RUN \"SELECT ...\"`.\n",
    );
    for table in tables {
        writeln!(out, "\n### {} (version {})\n\nA row is {}.\n", table.name, table.version, table.about)?;
        for column in &table.columns {
            let null = if column.nullable { ", may be null" } else { "" };
            writeln!(out, "- `{}` {}{null}: {}", column.name, column.kind, column.meaning)?;
        }
    }
    Ok(out)
}

fn add(command: &CommandPage, out: &mut String) -> Result<()> {
    writeln!(out, "\n### {}\n\n{}\n\nUsage: `{}`", command.name, command.about, command.usage)?;
    if !command.arguments.is_empty() {
        out.push('\n');
    }
    for argument in &command.arguments {
        write!(out, "- `{}`: {}", argument.form, argument.meaning)?;
        if !argument.values.is_empty() {
            write!(out, " [{}]", argument.values.join(", "))?;
        }
        if let Some(default) = &argument.default {
            write!(out, " [default: {default}]")?;
        }
        out.push('\n');
    }
    if !command.more.is_empty() {
        writeln!(out, "\n```\n{}\n```", command.more.trim_end())?;
    }
    Ok(())
}
