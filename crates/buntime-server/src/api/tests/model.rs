//! A second opinion on who may call what (threat T4): random keys, methods and paths go
//! through the router and the decision, and through a model that is written after
//! contract section 7 and shares no code with them.

use std::sync::Arc;
use std::time::SystemTime;

use buntime_core::access::{Namespaces, Permission, Principal, Rights, Role};

use super::super::decision;
use super::*;

const CALLS: usize = 100_000;
const SEED: u64 = 0x5EED_0004;

/// Whom a route is for, by the contract.
#[derive(Clone, Copy, Debug, PartialEq)]
enum For {
    Anybody,
    AnyKey,
    /// Who has the permission; the namespace is the handler's to find out.
    Holders(&'static str),
    /// The same, over the unit in the path.
    Unit(&'static str),
    /// The same, over all of the server.
    Server(&'static str),
}

use For::{AnyKey, Anybody, Holders, Server, Unit};

/// The table of contract section 7.
const CONTRACT: &[(&str, &str, For)] = &[
    ("GET", "/health", Anybody),
    ("GET", "/health/ready", Anybody),
    ("GET", "/health/live", Anybody),
    ("GET", "/openapi.json", Anybody),
    ("GET", "/docs", Anybody),
    ("GET", "/docs/app.js", Anybody),
    ("GET", "/docs/style.css", Anybody),
    ("GET", "/admin/session", AnyKey),
    ("POST", "/admin/session", Anybody),
    ("DELETE", "/admin/session", Anybody),
    ("GET", "/workers", Holders("workers:read")),
    ("POST", "/workers/upload", Holders("workers:install")),
    (
        "POST",
        "/workers/:scope/:name/:version/enable",
        Unit("workers:install"),
    ),
    (
        "POST",
        "/workers/:scope/:name/:version/disable",
        Unit("workers:install"),
    ),
    (
        "POST",
        "/workers/:scope/:name/:version/restart",
        Unit("workers:restart"),
    ),
    ("DELETE", "/workers/:scope/:name", Unit("workers:remove")),
    (
        "DELETE",
        "/workers/:scope/:name/:version",
        Unit("workers:remove"),
    ),
    ("GET", "/workers/:scope/:name/logs", Unit("workers:read")),
    (
        "GET",
        "/workers/:scope/:name/releases",
        Unit("workers:read"),
    ),
    (
        "POST",
        "/workers/:scope/:name/rollback",
        Unit("workers:install"),
    ),
    ("GET", "/plugins", Holders("plugins:read")),
    ("GET", "/plugins/loaded", AnyKey),
    ("POST", "/plugins/upload", Holders("plugins:install")),
    ("POST", "/plugins/reload", Server("plugins:install")),
    ("POST", "/plugins/:plugin/enable", Unit("plugins:install")),
    ("POST", "/plugins/:plugin/disable", Unit("plugins:install")),
    ("DELETE", "/plugins/:plugin", Unit("plugins:remove")),
    ("GET", "/keys", Holders("keys:read")),
    ("GET", "/keys/meta", Holders("keys:read")),
    ("POST", "/keys", Holders("keys:create")),
    ("DELETE", "/keys/:id", Holders("keys:revoke")),
    ("POST", "/keys/:id/rotate", Holders("keys:create")),
    ("GET", "/audit", Holders("keys:read")),
    ("GET", "/metrics", Holders("workers:read")),
];

/// What the contract says of a route; the file browser's have their permission by verb.
fn by_contract(method: &str, pattern: &str) -> Option<For> {
    for (kind, read, install, remove) in [
        (
            "workers",
            "workers:read",
            "workers:install",
            "workers:remove",
        ),
        (
            "plugins",
            "plugins:read",
            "plugins:install",
            "plugins:remove",
        ),
    ] {
        let below = pattern.strip_prefix(&format!("/{kind}/files/"));
        if let Some(verb) = below {
            return Some(Holders(match (method, verb) {
                ("GET", _) => read,
                ("DELETE", _) | (_, "delete-batch") => remove,
                _ => install,
            }));
        }
    }
    let row = CONTRACT
        .iter()
        .find(|row| (row.0, row.1) == (method, pattern));
    row.map(|row| row.2)
}

#[test]
fn every_route_is_for_whom_the_contract_says() {
    for route in all() {
        let said = by_contract(route.method.as_str(), route.pattern);
        let name = route.access.permission().map_or("", Permission::as_str);
        let is = match route.access {
            Access::Public(_) => Anybody,
            Access::AnyKey(_) => AnyKey,
            Access::Granted(..) => Holders(name),
            Access::Unit(..) => Unit(name),
            Access::Server(..) => Server(name),
        };
        assert_eq!(said, Some(is), "{route:?}");
    }
}

/// A key as the model knows it.
#[derive(Debug)]
struct Key {
    permissions: Vec<&'static str>,
    /// `None`: all.
    namespaces: Option<Vec<&'static str>>,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Passes,
    Refused(u16, &'static str),
}

const BAD_PATH: Answer = Answer::Refused(400, "BAD_PATH");
const STRANGER: Answer = Answer::Refused(401, "AUTH_REQUIRED");
const NO_PERMISSION: Answer = Answer::Refused(403, "PERMISSION_DENIED");
const OUTSIDE: Answer = Answer::Refused(403, "NAMESPACE_DENIED");
const NOTHING: Answer = Answer::Refused(404, "NOT_FOUND");
const OTHER_METHOD: Answer = Answer::Refused(405, "METHOD_NOT_ALLOWED");

/// What the contract says of a call.
fn expected(key: Option<&Key>, method: &str, path: &str) -> Answer {
    let method = if method == "HEAD" { "GET" } else { method };
    let raw: Vec<&str> = path.strip_prefix("/api/").unwrap().split('/').collect();
    let mut segments = Vec::new();
    for (index, raw_segment) in raw.iter().enumerate() {
        let Some(text) = decoded(raw_segment) else {
            return BAD_PATH;
        };
        let is_last = index + 1 == raw.len();
        if text == "." || text == ".." || (text.is_empty() && !is_last) {
            return BAD_PATH;
        }
        segments.push(text);
    }
    // Literal segments stand before parameters, from the left.
    let mut here: Vec<_> = all()
        .map(|route| (route.method.as_str(), route.pattern))
        .filter(|(_, pattern)| fits(pattern, &segments))
        .collect();
    here.sort_by_key(|(_, pattern)| pattern.replace(':', "~"));
    let Some((_, pattern)) = here.iter().find(|(known, _)| *known == method) else {
        let is_secret = here
            .iter()
            .any(|(known, pattern)| by_contract(known, pattern) != Some(Anybody));
        return match key {
            _ if here.is_empty() && segments.iter().any(|text| text.contains('/')) => BAD_PATH,
            None if here.is_empty() || is_secret => STRANGER,
            _ if here.is_empty() => NOTHING,
            _ => OTHER_METHOD,
        };
    };
    let whom = by_contract(method, pattern).unwrap();
    let permission = match whom {
        Anybody => return Answer::Passes,
        AnyKey => None,
        Holders(name) | Unit(name) | Server(name) => Some(name),
    };
    let Some(key) = key else { return STRANGER };
    if permission.is_some_and(|name| !key.permissions.contains(&name)) {
        return NO_PERMISSION;
    }
    match whom {
        Server(_) if key.namespaces.is_some() => OUTSIDE,
        Unit(_) => over_unit(key, pattern, &segments),
        _ => Answer::Passes,
    }
}

fn over_unit(key: &Key, pattern: &str, segments: &[String]) -> Answer {
    let (scope, name) = match pattern.contains(":plugin") {
        true => match segments[1].split_once('/') {
            Some((scope, name)) => (Some(scope), name),
            None => (None, &*segments[1]),
        },
        false => (
            Some(&*segments[1]).filter(|scope| *scope != "_"),
            &*segments[2],
        ),
    };
    let is_plain = |text: &str| {
        let mut letters = text.chars();
        letters
            .next()
            .is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit())
            && letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
    };
    if let Some(scope) = scope {
        let lower = scope.to_ascii_lowercase();
        if !lower.strip_prefix('@').is_some_and(is_plain) {
            return NOTHING;
        }
        if key
            .namespaces
            .as_ref()
            .is_some_and(|some| !some.contains(&&*lower))
        {
            return OUTSIDE;
        }
        if lower != scope {
            return NOTHING;
        }
    } else if key.namespaces.is_some() {
        return OUTSIDE;
    }
    if is_plain(name) {
        Answer::Passes
    } else {
        NOTHING
    }
}

fn fits(pattern: &str, segments: &[String]) -> bool {
    let pattern: Vec<&str> = pattern.split('/').skip(1).collect();
    pattern.len() == segments.len()
        && pattern
            .iter()
            .zip(segments)
            .all(|(wanted, found)| match wanted.strip_prefix(':') {
                Some("scope") if !is_scope(found) => false,
                Some(name) => !found.is_empty() && (name == "plugin" || !found.contains('/')),
                None => wanted == found,
            })
}

/// What is neither is no scope, and the path leads elsewhere.
fn is_scope(text: &str) -> bool {
    text == "_" || text.starts_with('@')
}

fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = segment.as_bytes();
    while let [first, after @ ..] = rest {
        (rest, _) = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digits = [*high, *low];
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                let digits = std::str::from_utf8(&digits).ok()?;
                (after, bytes.push(u8::from_str_radix(digits, 16).ok()?))
            }
            (b'%', _) => return None,
            (byte, after) => (after, bytes.push(*byte)),
        };
    }
    let text = String::from_utf8(bytes).ok()?;
    let is_ambiguous = |c: char| matches!(c, '\0' | '\\' | '\r' | '\n');
    (!text.contains(is_ambiguous)).then_some(text)
}

/// What the server says.
fn found(key: Option<&Arc<Principal>>, method: Method, path: &str) -> Answer {
    let refused = |failure: Failure| Answer::Refused(failure.status, failure.code);
    match find(method, path) {
        Err(failure) => refused(failure),
        Ok(Found::Route(route, params)) => match decision::decide(route, &params, key) {
            Ok(_) => Answer::Passes,
            Err(failure) => refused(failure),
        },
        Ok(Found::OtherMethod { public, .. }) if public || key.is_some() => OTHER_METHOD,
        Ok(Found::Nothing) if key.is_some() => NOTHING,
        Ok(Found::OtherMethod { .. } | Found::Nothing) => STRANGER,
    }
}

fn any_key(random: &mut fastrand::Rng) -> Option<(Key, Arc<Principal>)> {
    let names: Vec<&str> = Permission::ALL.iter().map(|it| it.as_str()).collect();
    let permissions: Vec<&str> = match random.u8(..10) {
        0 => return None,
        1..=4 => names,
        5 => names
            .into_iter()
            .filter(|name| name.ends_with(":read"))
            .collect(),
        6 => names
            .into_iter()
            .filter(|name| !name.starts_with("keys:"))
            .collect(),
        _ => names.into_iter().filter(|_| random.bool()).collect(),
    };
    let namespaces = match random.u8(..5) {
        0 | 1 => None,
        2 | 3 => Some(vec!["@a"]),
        _ => Some(vec!["@a", "@b-2"]),
    };
    let list = namespaces.clone().unwrap_or_else(|| vec!["*"]);
    let principal = Principal {
        id: "k1".parse().unwrap(),
        name: "key".into(),
        key_prefix: "btk_abcdefgh".into(),
        role: Role::Custom,
        rights: Rights {
            permissions: permissions
                .iter()
                .map(|name| name.parse().unwrap())
                .collect(),
            namespaces: Namespaces::parse(list).unwrap(),
            expires_at: None,
        },
        created_at: SystemTime::UNIX_EPOCH,
        is_root: false,
    };
    let key = Key {
        permissions,
        namespaces,
    };
    Some((key, Arc::new(principal)))
}

/// What stands where a path has a parameter, good and bad.
const FILLINGS: &[&str] = &[
    "@a",
    "@a",
    "@a",
    "@b",
    "@b-2",
    "@B-2",
    "@A",
    "@c",
    "_",
    "_",
    "x",
    "shop",
    "1.0.0",
    "latest",
    "%40a",
    "%40b",
    "%2540b",
    "@a%2fx",
    "@a%2Fx",
    "@b%2fx",
    "@b%2f..",
    "a%2f..%2f@b",
    "..",
    ".",
    "%2e%2e",
    "",
    "@",
    "@a.evil",
    "@-a",
    "a%00",
    "%",
    "%E0%A4%A",
    "%ff",
    "a%5cb",
    "a%0d%0a",
    "@a@b",
    "@%61",
    "@%EF%BD%81",
    "files",
    "upload",
    "logs",
    "meta",
    "loaded",
    "enable",
    "_a",
    "A",
    "con",
];

fn any_path(random: &mut fastrand::Rng) -> String {
    let routes: Vec<_> = all().collect();
    let route = random.choice(routes).unwrap();
    let mut segments: Vec<String> = route
        .pattern
        .split('/')
        .skip(1)
        .map(|part| match part.strip_prefix(':') {
            Some(_) => (*random.choice(FILLINGS).unwrap()).to_owned(),
            None if random.u8(..40) == 0 => part.to_uppercase(),
            None if random.u8(..40) == 0 => format!("%{:02x}{}", part.as_bytes()[0], &part[1..]),
            None => part.to_owned(),
        })
        .collect();
    match random.u8(..12) {
        0 => segments.push((*random.choice(FILLINGS).unwrap()).to_owned()),
        1 => drop(segments.pop()),
        2 => {
            let at = random.usize(..=segments.len());
            segments.insert(at, (*random.choice(FILLINGS).unwrap()).to_owned());
        }
        _ => {}
    }
    format!("/api/{}", segments.join("/"))
}

#[test]
fn t4_a_hundred_thousand_calls_are_decided_as_the_model_says() {
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut answers = std::collections::HashMap::new();
    for _ in 0..CALLS {
        let key = any_key(&mut random);
        let path = any_path(&mut random);
        let methods = [
            Method::Get,
            Method::Head,
            Method::Post,
            Method::Delete,
            Method::Put,
        ];
        let method = *random.choice(&methods).unwrap();
        let (known, principal) = key.as_ref().map(|(key, it)| (key, it)).unzip();
        let (expected, found) = (
            expected(known, method.as_str(), &path),
            found(principal, method, &path),
        );
        assert_eq!(found, expected, "{method} {path} with {known:?}");
        *answers.entry(format!("{found:?}")).or_insert(0) += 1;
    }
    // A model that is always asked the same thing shows nothing.
    assert!(
        answers.len() == 7 && answers.values().all(|count| *count > 500),
        "{answers:?}"
    );
}
