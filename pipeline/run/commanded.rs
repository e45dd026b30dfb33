//! What the processes of `verify.command` and `problems.rules` have around them, and what their faults mean
//! to the user.

use datasets::domain::Unsound;
use stages::Cancelled;
use stages::command::Host;

use crate::terminal::console::Console;
use crate::terminal::exit::Failure;

/// Lines of the command go to the console and its log; variables in `secrets` are kept from it.
pub fn host(console: &Console, secrets: &[String]) -> Host {
    let [log, warn, stop] = [(); 3].map(|()| console.clone());
    Host {
        log: Box::new(move |line| log.log(line)),
        warn: Box::new(move |line| warn.warn(line)),
        cancelled: Box::new(move || stop.cancelled()),
        secrets: secrets.to_vec(),
    }
}

/// What to do about a command that is no longer what it was.
pub const CHANGED: &str = "`qstill resume` does anew what rests on it";

/// Why verdicts cannot be used, as an error.
pub fn unsound(why: Unsound) -> anyhow::Error {
    match why {
        Unsound::Stopped => anyhow::Error::from(Cancelled),
        Unsound::Broken(what) => {
            let hint = "try it by hand on a line of the protocol, see docs/verifiers.md and docs/rules.md; \
                        run.log has what it said";
            Failure::input(what, hint).into()
        }
        Unsound::Changed(what) => Failure::input(what, CHANGED).into(),
    }
}
