//! The program `qstill`. `qstill --help` lists the commands.

fn main() -> std::process::ExitCode {
    pipeline::main()
}
