//! Names, versions, manifests, durations, sizes, globs: parsed once, pure, no I/O.
