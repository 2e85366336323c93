//! Bun worker processes: spawn, wire, supervise; many of them: pool, blanks, queues, limits.
