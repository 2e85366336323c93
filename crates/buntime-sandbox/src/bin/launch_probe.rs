//! A server for this crate's tests to kill.

use std::io::Write;
use std::path::PathBuf;

use buntime_sandbox::{Launch, Launcher, ProcessLimits};

/// Starts a long `sleep`, prints its pid and waits for ever.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let launcher = Launcher::start()?;
        let (control, _ours) = std::os::unix::net::UnixStream::pair()?;
        let mut process = launcher
            .spawn(Launch {
                program: PathBuf::from("/bin/sleep"),
                args: vec!["1000".into()],
                env: Vec::new(),
                cwd: PathBuf::from("/"),
                control: control.into(),
                limits: ProcessLimits::default(),
                nice: 0,
                policy: None,
            })
            .await?;
        writeln!(std::io::stdout(), "{}", process.pid())?;
        process.wait().await;
        Ok(())
    })
}
