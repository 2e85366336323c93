#![doc = include_str!("../README.md")]

mod alarm;
mod app;
mod blanks;
mod bounds;
mod breaker;
mod bucket;
mod bundle;
mod client;
mod config;
mod confine;
mod connections;
mod entry;
mod error;
mod events;
mod forwards;
mod gateway;
mod install;
mod instance;
mod leftovers;
mod lines;
mod pool;
mod program;
mod scheduler;
mod slots;
mod status;
mod watch;
mod worker_env;
mod wrapper;

pub use alarm::Alarm;
pub use app::{App, Retirement};
pub use client::{Upgraded, UpgradedPlace, WorkerBody, WorkerRequest, WorkerResponse};
pub use config::{AppSpec, CrashLoop, InstallConfig, InstallLimits, PoolConfig};
pub use confine::Confinement;
pub use connections::ShardConnections;
pub use error::{
    Death, ExchangeError, ExitReason, Limit, StartError, StartFailure, WorkerBodyError,
};
pub use events::{LONGEST_LINE, LogStream, PoolEvents};
pub use gateway::{Forward, Gateway, Gateways};
pub use pool::Pool;
pub use status::{AppStatus, InstanceState, InstanceStatus, LastExit, PoolStatus};
