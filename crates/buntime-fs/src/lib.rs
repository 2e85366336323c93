//! Everything that touches untrusted paths: directory handles, static files.
