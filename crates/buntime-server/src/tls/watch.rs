//! Notices a new certificate.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::pair::{Part, Stamp, load};
use super::{Tls, TlsFiles, TlsPair};
use crate::logging::Logger;

/// How often the files are looked at. A look is two calls of `stat`, which also
/// sees what a watch on a folder would miss: a link further up that was swapped.
const LOOK: Duration = Duration::from_secs(1);

impl Tls {
    /// Looks at the files until `stop`, and serves with what they hold once it
    /// has stood still between two looks: certificate and key are seldom written
    /// at the same moment.
    pub(crate) async fn watch(&self, pair: TlsPair, log: Logger, stop: CancellationToken) {
        let mut known = pair.stamp;
        let mut settling: Option<Stamp> = None;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = look.tick() => {}
            }
            let files = self.files.clone();
            let Ok(stamp) = tokio::task::spawn_blocking(move || Stamp::of(&files)).await else {
                return;
            };
            if stamp == known {
                settling = None;
            } else if settling.as_ref() == Some(&stamp) {
                known = stamp;
                settling = None;
                self.reload(&log).await;
            } else {
                settling = Some(stamp);
            }
        }
    }

    async fn reload(&self, log: &Logger) {
        let files = self.files.clone();
        match tokio::task::spawn_blocking(move || load(&files)).await {
            Ok(Ok(pair)) => {
                self.current.store(Arc::clone(&pair.config));
                log.info("tls", "The new certificate is in use", |_| {});
            }
            Ok(Err(faults)) => {
                for (part, fault) in faults {
                    refused(&self.files, part, &fault, log);
                }
            }
            // The runtime is going down.
            Err(_) => {}
        }
    }
}

fn refused(files: &TlsFiles, part: Part, fault: &super::TlsFault, log: &Logger) {
    let file = match part {
        Part::Cert => &files.cert,
        Part::Key => &files.key,
    };
    log.error(
        "tls",
        "The new certificate is not used; the old one serves on",
        |fields| {
            fields.text("file", file.display());
            fields.text("reason", fault);
        },
    );
}
