//! All that can be named to the program, as data: configuration keys, tables, exit codes, commands. The pages
//! of `docs/` are made of the same.

use arrow::datatypes::DataType;
use clap::{Arg, ArgAction, Command};
use datasets::table::{DESCRIPTION_KEY, TABLES, TableInfo};
use serde::Serialize;

use crate::config::presets::{DEFAULT, PRESETS};
use crate::terminal::exit::Exit;

/// Everything.
#[derive(Serialize)]
pub struct Reference {
    pub version: &'static str,
    pub about: String,
    pub commands: Vec<CommandPage>,
    pub exit_codes: Vec<(u8, &'static str)>,
    pub presets: Vec<&'static str>,
    pub configuration: Vec<Section>,
    pub tables: Vec<TablePage>,
}

/// A command, or a command of a command.
#[derive(Serialize)]
pub struct CommandPage {
    /// As it is typed: `qstill bench train`.
    pub name: String,
    pub about: String,
    pub usage: String,
    pub arguments: Vec<Argument>,
    /// What its help ends with: examples, and what else there is to know.
    pub more: String,
}

/// An option, or an argument by its place.
#[derive(Serialize)]
pub struct Argument {
    /// `-h, --head <HEAD>`, `<RUN>`.
    pub form: String,
    pub meaning: String,
    pub required: bool,
    pub default: Option<String>,
    /// The values that are permitted, where they are a list.
    pub values: Vec<String>,
}

/// A section of the configuration.
#[derive(Serialize)]
pub struct Section {
    pub name: String,
    pub about: String,
    pub keys: Vec<Key>,
}

#[derive(Serialize)]
pub struct Key {
    pub key: String,
    /// In TOML.
    pub default: String,
    pub meaning: String,
}

#[derive(Serialize)]
pub struct TablePage {
    pub name: &'static str,
    pub version: u32,
    /// What a row is.
    pub about: &'static str,
    pub columns: Vec<ColumnPage>,
}

#[derive(Serialize)]
pub struct ColumnPage {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub nullable: bool,
    pub meaning: String,
}

impl Reference {
    /// Of a program with these commands.
    pub fn of(mut program: Command) -> Self {
        program.build();
        let mut commands = Vec::new();
        for command in program.get_subcommands_mut() {
            lay("qstill", command, &mut commands);
        }
        Self {
            version: env!("CARGO_PKG_VERSION"),
            about: program.get_about().map(ToString::to_string).unwrap_or_default(),
            commands,
            exit_codes: Exit::ALL.map(|exit| (exit.code(), exit.meaning())).to_vec(),
            presets: PRESETS.iter().map(|(name, _)| *name).collect(),
            configuration: sections(),
            tables: tables(),
        }
    }
}

/// A command and those within it.
fn lay(above: &str, command: &mut Command, pages: &mut Vec<CommandPage>) {
    if command.get_name() == "help" || command.is_hide_set() {
        return;
    }
    let name = format!("{above} {}", command.get_name());
    let text = |text: Option<&clap::builder::StyledStr>| text.map(ToString::to_string).unwrap_or_default();
    let usage = command.render_usage().to_string();
    let own = |arg: &&Arg| {
        !arg.is_hide_set()
            && !arg.is_global_set()
            && !matches!(arg.get_action(), ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong)
            && !matches!(arg.get_action(), ArgAction::Version)
    };
    pages.push(CommandPage {
        about: text(command.get_long_about().or_else(|| command.get_about())),
        usage: usage.trim_start_matches("Usage: ").to_owned(),
        arguments: command.get_arguments().filter(own).map(argument).collect(),
        more: text(command.get_after_long_help().or_else(|| command.get_after_help())),
        name: name.clone(),
    });
    for inner in command.get_subcommands_mut() {
        lay(&name, inner, pages);
    }
}

fn argument(arg: &Arg) -> Argument {
    let help = arg.get_long_help().or_else(|| arg.get_help());
    let takes = arg.get_action().takes_values();
    let values: Vec<String> = if takes {
        arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect()
    } else {
        Vec::new()
    };
    let default: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    Argument {
        form: arg.to_string(),
        meaning: help.map(ToString::to_string).unwrap_or_default().replace('\n', " "),
        required: arg.is_required_set(),
        default: (takes && !default.is_empty()).then(|| default.join(",")),
        values,
    }
}

/// Every key of the configuration with its default and its meaning.
pub fn sections() -> Vec<Section> {
    let (mut sections, mut comment): (Vec<Section>, Vec<&str>) = (Vec::new(), Vec::new());
    for line in DEFAULT.lines() {
        let about = |comment: &mut Vec<&str>| std::mem::take(comment).join(" ");
        if let Some(text) = line.strip_prefix('#') {
            comment.push(text.trim());
        } else if let Some(name) = line.strip_prefix('[') {
            let about = about(&mut comment);
            // What stands before the first one is about the file.
            let about = if sections.is_empty() { String::new() } else { about };
            sections.push(Section { name: name.trim_end_matches(']').to_owned(), about, keys: Vec::new() });
        } else if let Some((key, default)) = line.split_once(" = ") {
            let meaning = about(&mut comment);
            if let Some(section) = sections.last_mut() {
                section.keys.push(Key { key: key.to_owned(), default: default.to_owned(), meaning });
            }
        } else {
            comment.clear();
        }
    }
    sections
}

/// Every table with its columns.
pub fn tables() -> Vec<TablePage> {
    let page = |table: &'static TableInfo| TablePage {
        name: table.name,
        version: table.version,
        about: table.description,
        columns: (table.schema)()
            .fields()
            .iter()
            .map(|field| ColumnPage {
                name: field.name().clone(),
                kind: kind(field.data_type()),
                nullable: field.is_nullable(),
                meaning: field.metadata().get(DESCRIPTION_KEY).cloned().unwrap_or_default(),
            })
            .collect(),
    };
    TABLES.iter().map(page).collect()
}

/// A type in few words.
fn kind(of: &DataType) -> String {
    match of {
        DataType::Utf8 | DataType::LargeUtf8 => "text".into(),
        DataType::List(item) => format!("list of {}", kind(item.data_type())),
        DataType::Struct(fields) => {
            let parts: Vec<String> =
                fields.iter().map(|f| format!("{}: {}", f.name(), kind(f.data_type()))).collect();
            format!("struct ({})", parts.join(", "))
        }
        other => format!("{other}").to_lowercase(),
    }
}
