//! Edge, gate, dispatch, catalog, configuration, logs: the server as a library.

pub mod config;
pub mod logging;
pub mod shutdown;
pub mod catalog;
