//! Edge, gate, dispatch, catalog, configuration, logs: the server as a library.
