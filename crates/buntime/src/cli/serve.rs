//! `buntime serve`.

use buntime_server::app::RunError;
use buntime_server::config::{Config, Flags, Loaded, ProcessVars, Sources};
use buntime_server::logging::Logger;
use buntime_server::sandbox::close_to_others;
use clap::{ArgMatches, Command};

use super::{Outcome, output, settings};

pub(super) fn command() -> Command {
    Command::new("serve")
        .about("Run the server")
        .long_about(
            "Run the server. Each setting is a flag or the environment variable in brackets; the flag wins, and an \
             empty value counts as unset.",
        )
        .after_help(
            "Times: a number is seconds; or with ms, s, m, h, d, w, y. Sizes: a number is bytes; or with b, kb, mb, gb \
             (1024-based).\nThe log goes to stdout. SIGTERM or SIGINT stops the server once requests under way are \
             done; a second one at once.",
        )
        .args(settings::flags(|_| true))
}

pub(super) fn run(matches: &ArgMatches) -> Outcome {
    run_with(&settings::given(matches), |_| {})
}

/// Loads the configuration, lets `adapt` change it, and serves until told to stop.
pub(super) fn run_with(flags: &Flags, adapt: impl FnOnce(&mut Config)) -> Outcome {
    // Before a secret is read, and before there is another thread.
    let closed = close_to_others();
    let current_dir = match std::env::current_dir() {
        Ok(dir) => dir,
        Err(error) => {
            output::complain(format_args!(
                "the current folder is gone: {error}; start from another one"
            ));
            return Outcome::Failure;
        }
    };
    let loaded = Config::load(&Sources {
        vars: &ProcessVars,
        flags,
        current_dir,
    });
    let Loaded {
        mut config,
        warnings,
    } = match loaded {
        Ok(loaded) => loaded,
        Err(errors) => {
            output::complain_all("the configuration is wrong", errors.problems());
            return Outcome::Usage;
        }
    };
    adapt(&mut config);
    // Before there is another thread.
    let forgotten = ProcessVars.forget_secrets();
    let (logger, _guard) = match Logger::start(config.log, std::io::stdout()) {
        Ok(started) => started,
        Err(error) => {
            output::complain(format_args!(
                "no thread for the log: {error}; raise the limit of processes"
            ));
            return Outcome::Failure;
        }
    };
    log_panics(&logger);
    if let Err(error) = closed {
        let message = "Other processes of this user may read the server's memory";
        logger.warn("config", message, |fields| {
            fields.text("error", error);
        });
    }
    if !forgotten {
        let message = "Secrets in the environment could not be overwritten";
        logger.warn("config", message, |_| {});
    }
    for warning in &warnings {
        logger.warn("config", warning, |_| {});
    }
    match buntime_server::app::run(config, logger) {
        Ok(()) => Outcome::Success,
        Err(error) => {
            let outcome = if error.is_configuration() {
                Outcome::Usage
            } else {
                Outcome::Failure
            };
            match error {
                // The contract fixes these lines to the letter.
                RunError::Plugins(bases) => output::complain_verbatim(bases),
                error => output::complain(error),
            }
            outcome
        }
    }
}

/// A panic is a fault of ours: it goes where the operator looks, as one line.
fn log_panics(logger: &Logger) {
    let logger = logger.clone();
    std::panic::set_hook(Box::new(move |panic| {
        logger.error(
            "panic",
            panic.payload_as_str().unwrap_or("a thread panicked"),
            |fields| {
                if let Some(place) = panic.location() {
                    fields.text("place", place);
                }
                fields.text("thread", std::thread::current().name().unwrap_or("unnamed"));
            },
        );
    }));
}
