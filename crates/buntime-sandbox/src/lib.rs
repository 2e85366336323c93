//! The launcher that starts a process with nothing inherited, and its layers.
