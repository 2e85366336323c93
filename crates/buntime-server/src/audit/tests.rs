mod files;
mod lines;
mod pages;
mod queries;
mod strangers;

use std::fs;
use std::net::IpAddr;
use std::time::SystemTime;

use buntime_core::PackageName;
use buntime_core::access::Permissions;
use buntime_core::access::{KeyId, Namespaces, Principal, Rights, Role};
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::logging::Captured;

fn open(dir: &TempDir, limits: Limits) -> (Audit, Captured) {
    let (logger, captured) = Logger::capture();
    (Audit::open(dir.path(), limits, logger).unwrap(), captured)
}

fn key(name: &str, namespaces: &[&str]) -> Actor {
    let principal = Principal {
        id: KeyId::root(),
        name: name.into(),
        key_prefix: "btk_abcdefgh".into(),
        role: Role::Custom,
        rights: Rights {
            permissions: Permissions::all(),
            namespaces: reach(namespaces),
            expires_at: None,
        },
        created_at: SystemTime::UNIX_EPOCH,
        is_root: false,
    };
    Actor::from(&principal)
}

fn reach(list: &[&str]) -> Namespaces {
    Namespaces::parse(list.iter().copied()).unwrap()
}

fn call(id: &str, action: &'static str, actor: Option<Actor>) -> Call {
    Call {
        request_id: id.into(),
        actor,
        from: IpAddr::from([192, 0, 2, 7]).into(),
        method: "POST",
        path: "/workers/upload".into(),
        action,
    }
}

fn unit(name: &str) -> Target {
    let mut target = Target::named(&format!("{name}@1.0.0"));
    target.add_scope(name.parse::<PackageName>().unwrap().scope());
    target
}

fn server(name: &str) -> Target {
    let mut target = Target::named(name);
    target.add_server();
    target
}

fn units(names: &[&str]) -> Target {
    let mut target = Target::named(&names.join(", "));
    for name in names {
        target.add_scope(name.parse::<PackageName>().unwrap().scope());
    }
    target
}

const DONE: Outcome = Outcome {
    status: 200,
    code: None,
};

fn all(reader: &Namespaces) -> Query<'_> {
    Query {
        limit: 100,
        cursor: None,
        action: None,
        key: None,
        target: None,
        since: None,
        until: None,
        reader,
    }
}

fn lines(dir: &TempDir) -> Vec<Value> {
    let text = fs::read_to_string(dir.path().join("audit.log")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn stranger(address: impl Into<IpAddr>) -> Caller {
    address.into().into()
}
