//! What keeps a command from the network and from the user's files, where the system has it.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::program;

/// Whether a command runs in a sandbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sandbox {
    /// It runs as the user does.
    #[default]
    Off,
    /// In the best that the system has; in none, which is said, if it has none.
    Auto,
    /// The same, but not without one.
    Required,
}

/// The folder for temporary files, which a sandbox has of its own.
const TEMPORARY: &str = "/tmp";

/// A sandbox: the words before a command, and what it does.
struct Cage {
    words: Vec<String>,
    does: &'static str,
}

impl Sandbox {
    /// The words before the command of the key `what` that put it into the sandbox, and a line that says
    /// which one it is.
    ///
    /// # Errors
    /// There is none, and one is required.
    pub fn words(self, what: &str, command: &[String]) -> Result<(Vec<String>, String)> {
        if self == Self::Off {
            return Ok((Vec::new(), String::new()));
        }
        let found = [bubblewrap(command), namespaces()].into_iter().find(works);
        match found {
            Some(Cage { words, does }) => {
                let line = format!("{what} runs in a sandbox of {}: {does}", words[0]);
                Ok((words, line))
            }
            None if self == Self::Required => {
                bail!(
                    "{what} is to run in a sandbox (\"required\"), but this system has none: install \
                     bubblewrap, or permit user namespaces"
                )
            }
            None => Ok((
                Vec::new(),
                format!(
                    "{what} runs without a sandbox, with your files and network: this system has neither \
                     bubblewrap nor user namespaces"
                ),
            )),
        }
    }
}

/// All files read-only, but for temporary ones of its own.
fn bubblewrap(command: &[String]) -> Cage {
    let mut words: Vec<String> =
        ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", TEMPORARY]
            .map(str::to_owned)
            .to_vec();
    // What the command needs of the folder that is hidden now.
    let here = std::env::current_dir().ok().and_then(|here| here.to_str().map(str::to_owned));
    let files = command.iter().filter(|word| Path::new(word).is_absolute()).cloned();
    let inside = |path: &String| Path::new(path).starts_with(TEMPORARY) && Path::new(path).exists();
    for path in here.clone().into_iter().chain(files).filter(inside) {
        words.extend(["--ro-bind".to_owned(), path.clone(), path]);
    }
    words.extend(["--unshare-all", "--"].map(str::to_owned));
    Cage { words, does: "no network, no other processes, files read-only but for a /tmp of its own" }
}

fn namespaces() -> Cage {
    let words = ["unshare", "--map-root-user", "--net", "--ipc", "--pid", "--fork", "--mount-proc", "--"];
    Cage {
        words: words.map(str::to_owned).to_vec(),
        does: "no network and no other processes, but your files (bubblewrap makes them read-only)",
    }
}

/// Whether something can be run in it.
fn works(cage: &Cage) -> bool {
    program(&cage.words[0]).is_some()
        && Command::new(&cage.words[0])
            .args(&cage.words[1..])
            .arg("true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
}
