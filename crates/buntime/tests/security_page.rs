//! The security page, line by line: the real program, the real Bun, real sockets.
//! The modules are the page's sections in its order, the tests its lines. Written
//! from the documents: what `docs/security.md` promises is shown here.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "security_page/auto_install.rs"]
mod auto_install;
#[path = "security_page/body_limits.rs"]
mod body_limits;
#[path = "security_page/collision.rs"]
mod collision;
#[path = "security_page/csrf.rs"]
mod csrf;
#[path = "security_page/entrypoint.rs"]
mod entrypoint;
#[path = "security_page/environment.rs"]
mod environment;
#[path = "security_page/header_limits.rs"]
mod header_limits;
#[path = "security_page/html.rs"]
mod html;
#[path = "security_page/request_id.rs"]
mod request_id;
#[path = "security_page/reserved_paths.rs"]
mod reserved_paths;
#[path = "security_page/support.rs"]
mod support;
