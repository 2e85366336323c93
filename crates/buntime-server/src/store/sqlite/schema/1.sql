-- Times are milliseconds since 1970. Lists are words with spaces between.

CREATE TABLE api_keys (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  -- SHA-256 of the secret; the secret itself is nowhere.
  secret BLOB NOT NULL UNIQUE CHECK (length(secret) = 32),
  prefix TEXT NOT NULL,
  role TEXT NOT NULL,
  -- Of role custom alone: the others bring theirs.
  permissions TEXT NOT NULL,
  namespaces TEXT NOT NULL,
  made_by TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  -- The secret before the last rotation.
  old_secret BLOB UNIQUE CHECK (length(old_secret) = 32),
  old_until INTEGER,
  used_at INTEGER,
  used_from TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
  digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
  -- NULL: the root key, which is not in api_keys.
  key_id TEXT REFERENCES api_keys (id) ON DELETE CASCADE,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_key ON sessions (key_id);

CREATE TABLE unit_states (
  name TEXT NOT NULL,
  -- Empty: a plugin.
  version TEXT NOT NULL,
  enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
  PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE releases (
  name TEXT NOT NULL,
  number INTEGER NOT NULL CHECK (number > 0),
  version TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  key_id TEXT NOT NULL,
  key_name TEXT NOT NULL,
  message TEXT,
  sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
  size INTEGER NOT NULL CHECK (size >= 0),
  kind TEXT NOT NULL,
  rollback_of INTEGER,
  -- The worker's other versions then: `version=number`.
  beside TEXT NOT NULL,
  PRIMARY KEY (name, number)
) STRICT, WITHOUT ROWID;
