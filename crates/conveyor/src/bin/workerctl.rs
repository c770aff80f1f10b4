//! `workerctl`: the old name of `conveyor`. It becomes the `conveyor` beside it, under its own name.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::process::ExitCode;

fn main() -> ExitCode {
    let conveyor = std::env::current_exe()
        .ok()
        .and_then(|path| Some(path.parent()?.join("conveyor")))
        .filter(|path| path.exists())
        .unwrap_or_else(|| "conveyor".into());
    let error = Command::new(&conveyor).arg0("workerctl").args(std::env::args_os().skip(1)).exec();
    eprintln!("workerctl: {} cannot be run: {error}", conveyor.display());
    eprintln!("hint: install `conveyor` beside `workerctl` or on PATH");
    ExitCode::FAILURE
}
