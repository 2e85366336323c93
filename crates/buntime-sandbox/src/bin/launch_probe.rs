//! The launcher that this crate's tests use, and a server to kill.

use std::io::Write;
use std::path::PathBuf;

use buntime_sandbox::{Launch, Launcher, LauncherConfig, ProcessLimits, main_if_launcher};

/// Without arguments: starts a long `sleep`, prints its pid and waits for ever.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    main_if_launcher();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let launcher = Launcher::start(LauncherConfig::default())?;
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
            })
            .await?;
        writeln!(std::io::stdout(), "{}", process.pid())?;
        process.wait().await;
        Ok(())
    })
}
