//! Kept connections to workers, one set for each shard.

/// The idle connections that one shard's runtime keeps to workers. Make one for
/// each runtime and use it there only.
#[derive(Debug, Default)]
pub struct ShardConnections {}

impl ShardConnections {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}
