//! Edge, gate, dispatch, pages, catalog, plugins, configuration, logs: the server as a
//! library. `docs/architecture.md` is the map.

pub mod access;
mod api;
pub mod app;
pub mod audit;
pub mod catalog;
pub mod config;
pub mod deploy;
pub mod dispatch;
pub mod edge;
mod egress;
pub mod failure;
mod files;
mod forwarded;
pub mod fuzzing;
pub(crate) mod gate;
mod gateway;
pub mod health;
pub mod html;
pub mod logging;
pub mod message;
pub mod metrics;
pub(crate) mod own;
pub mod plugins;
mod removal;
pub mod sandbox;
pub mod service;
pub mod shutdown;
pub mod store;
mod tls;
mod unit_states;
mod worker_logs;
