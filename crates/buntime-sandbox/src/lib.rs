#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod child;
mod environment;
mod error;
mod launch;
mod launcher;
mod layers;
mod plan;
mod process;

pub use environment::erase_variable;
pub use error::{SpawnError, Step};
pub use launch::{Launch, ProcessLimits};
pub use launcher::Launcher;
pub use process::{Exit, Process};
