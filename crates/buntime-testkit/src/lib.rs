//! What the tests share: a real server on a free port, a fake Bun for the bad days.
