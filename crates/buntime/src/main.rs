//! The command line.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // The same program starts workers under another name. That must come before anything else opens a file or a thread.
    buntime_sandbox::launcher::main_if_launcher();
    cli::run(std::env::args_os())
}
