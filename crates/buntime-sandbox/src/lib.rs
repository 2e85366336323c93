#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod entry;
mod error;
mod launch;
pub mod launcher;
mod layers;
mod process;
mod wire;

pub use error::{SpawnError, Step};
pub use launch::{Launch, ProcessLimits};
pub use launcher::{Launcher, LauncherConfig, main_if_launcher};
pub use process::{Exit, Process};
