//! The protocol as clients meet it: the real program on real Bun, spoken to byte
//! by byte. Tests are named after the rows of the bad inputs that they try: P
//! paths, R request ids, H headers, B bodies, T the protocol itself.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "protocol/beside.rs"]
mod beside;
#[path = "protocol/bodies.rs"]
mod bodies;
#[path = "protocol/differential.rs"]
mod differential;
#[path = "protocol/early.rs"]
mod early;
#[path = "protocol/framing.rs"]
mod framing;
#[path = "protocol/h2.rs"]
mod h2;
#[path = "protocol/h2_abuse.rs"]
mod h2_abuse;
#[path = "protocol/h2_frames.rs"]
mod h2_frames;
#[path = "protocol/headers.rs"]
mod headers;
#[path = "protocol/panics.rs"]
mod panics;
#[path = "protocol/paths.rs"]
mod paths;
#[path = "protocol/request_ids.rs"]
mod request_ids;
#[path = "protocol/routes.rs"]
mod routes;
#[path = "protocol/slow.rs"]
mod slow;
#[path = "protocol/static_sites.rs"]
mod static_sites;
#[path = "protocol/streams.rs"]
mod streams;
#[path = "protocol/support.rs"]
mod support;
#[path = "protocol/tls.rs"]
mod tls;
#[path = "protocol/tls_files.rs"]
mod tls_files;
#[path = "protocol/websocket.rs"]
mod websocket;
