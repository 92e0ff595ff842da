//! The Logdrive agent.

use std::process::ExitCode;

fn main() -> ExitCode {
    logdrive::cli::main()
}
