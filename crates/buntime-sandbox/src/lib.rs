#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod broker;
mod calls;
mod child;
mod environment;
mod error;
mod guard;
mod held;
mod landlock;
mod launch;
mod launcher;
mod layers;
mod network;
mod notify;
mod pace;
mod plan;
mod policy;
mod probe;
mod process;
mod root;
mod seccomp;
mod stack;
mod system;
mod user_map;
mod view;
mod watchdog;

pub use environment::erase_variable;
pub use error::{AttachError, ForwardError, SpawnError, Step};
pub use guard::close_to_others;
pub use held::Held;
pub use launch::{Launch, ProcessLimits};
pub use launcher::Launcher;
pub use pace::Pace;
pub use policy::{Attachment, Landlock, Layers, Net, Policy, ProcMount};
pub use probe::{Shortfall, Strength, probe};
pub use process::{Exit, Process};
