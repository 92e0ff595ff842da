//! The second half of Logdrive: from Kafka to the reader.

use std::process::ExitCode;

fn main() -> ExitCode {
    logdrive_search::cli::main()
}
