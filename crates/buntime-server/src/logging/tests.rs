//! All lines and hostile content.
