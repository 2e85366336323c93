//! One line of the log.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use buntime_core::access::{Namespaces, Principal};
use buntime_core::{ApiKey, Namespace, hex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Call;
use crate::logging::{SafeFormatter, Timestamp};

/// Most bytes of a name, a path and a target, before what must be escaped is.
const NAME_MAX: usize = 256;
const PATH_MAX: usize = 2048;
const TARGET_MAX: usize = 2048;
/// Most bytes of a line's namespaces, with what stands between them. A key may have
/// hundreds, and a call may name as many as its body holds.
const NAMESPACES_MAX: usize = 3072;

/// Most bytes of a line: every character of the texts above escaped, and the rest. Readers
/// pass over what is longer.
pub(super) const LONGEST: usize = 32 * 1024;

/// Of an entry: two quotes and a comma.
const QUOTES: usize = 3;

/// What a line of the server as a whole, and of units without a namespace, has in
/// `namespaces`.
const SERVER: &str = "*";
const UNSCOPED: &str = "_";

/// One call, or one address's refusals of one minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AuditEntry")]
pub struct Line {
    /// When the call was over: UTC, RFC 3339, milliseconds.
    pub time: String,
    /// The request's id; none where requests are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Whose key it was; none where nobody has proved to be anybody.
    pub key: Option<Actor>,
    /// From where: an address (strangers of IPv6 by their network of 64 bits), or
    /// `worker:NAME` for an app.
    pub address: String,
    /// The HTTP method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The path, without the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What was done or refused, such as `worker.upload`.
    pub action: String,
    /// The unit, path or key that it was done to.
    pub target: Option<String>,
    /// The namespaces of the target: `@scope`, `_` for units without one, `*` for
    /// the server as a whole. Who does not reach all of them does not see the line.
    pub namespaces: Vec<String>,
    /// The status of the answer; none if the call was cut off before there was one.
    pub status: Option<u16>,
    /// The code of the refusal or failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// How many refusals of strangers this line counts, by code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<BTreeMap<String, u64>>,
}

/// The key with which a call was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AuditKey")]
pub struct Actor {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// The first characters of its secret.
    pub prefix: String,
    /// Which namespaces it reaches; no part of the line.
    #[serde(skip)]
    namespaces: Option<Namespaces>,
}

impl From<&Principal> for Actor {
    fn from(principal: &Principal) -> Self {
        Self {
            id: principal.id.as_str().to_owned(),
            name: cut(&principal.name, NAME_MAX),
            prefix: principal.key_prefix.to_string(),
            namespaces: Some(principal.rights.namespaces.clone()),
        }
    }
}

/// What a call is about, and whose eyes that is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    name: String,
    /// Entries of [`Line::namespaces`].
    namespaces: BTreeSet<Cow<'static, str>>,
}

impl Target {
    /// Something of this name, of which it is not known yet where it belongs.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let mut target = Self::default();
        target.rename(name);
        target
    }

    /// Gives it another name.
    pub fn rename(&mut self, name: &str) {
        self.name = cut(name, TARGET_MAX);
    }

    /// It is these, in their order. If they are too long for one line, it is said how many
    /// they are and the SHA-256 of all, each with a line feed behind it, before as many
    /// as fit: whoever has the list can prove that it is this one.
    pub fn rename_all(&mut self, names: &[String]) {
        let all = names.join(", ");
        if all.len() <= TARGET_MAX {
            return self.rename(&all);
        }
        let mut hash = Sha256::new();
        for name in names {
            hash.update(name);
            hash.update("\n");
        }
        let (count, hash) = (names.len(), hex(&hash.finalize()));
        self.rename(&format!("{count} paths, sha256 {hash}: {all}"));
    }

    /// Its name; empty if it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// It is, or lies in, a unit of this scope or of none.
    pub fn add_scope(&mut self, scope: Option<&Namespace>) {
        let namespace = scope.map_or(UNSCOPED.into(), |scope| scope.as_str().to_owned().into());
        self.namespaces.insert(namespace);
    }

    /// It reaches all of these: a key.
    pub fn add_reach(&mut self, namespaces: &Namespaces) {
        let entries = namespaces.iter().map(|entry| entry.to_owned().into());
        self.namespaces.extend(entries);
    }

    /// It is the server as a whole.
    pub fn add_server(&mut self) {
        self.namespaces.insert(SERVER.into());
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The status of the answer.
    pub status: u16,
    /// The code of the refusal or failure.
    pub code: Option<&'static str>,
}

/// A line without its time, which the writer gives it: so that lines stand in the
/// order of their times.
#[derive(Debug)]
pub(super) struct Entry(Box<Line>);

impl Entry {
    pub(super) fn new(call: Call, target: Target, outcome: Option<Outcome>) -> Self {
        let namespaces = seen_in(call.actor.as_ref(), &target);
        Self(Box::new(Line {
            time: String::new(),
            request_id: Some(cut(&call.request_id, NAME_MAX)),
            key: call.actor,
            address: call.from.to_string(),
            method: Some(call.method.to_owned()),
            path: Some(cut(&call.path, PATH_MAX)),
            action: call.action.to_owned(),
            target: (!target.name.is_empty()).then_some(target.name),
            namespaces,
            status: outcome.map(|outcome| outcome.status),
            code: match outcome {
                Some(outcome) => outcome.code.map(str::to_owned),
                None => Some("CUT_OFF".to_owned()),
            },
            counts: None,
        }))
    }

    /// The refusals of one address.
    pub(super) fn strangers(address: String, counts: BTreeMap<String, u64>) -> Self {
        Self(Box::new(Line {
            time: String::new(),
            request_id: None,
            key: None,
            address,
            method: None,
            path: None,
            action: "access.refused".to_owned(),
            target: None,
            namespaces: vec![SERVER.to_owned()],
            status: None,
            code: None,
            counts: Some(counts),
        }))
    }

    /// The line with its end.
    pub(super) fn render(mut self, time: Timestamp) -> Vec<u8> {
        self.0.time = time.full().to_string();
        let mut bytes = Vec::with_capacity(512);
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, SafeFormatter);
        // Texts and numbers, written to memory: nothing here can fail.
        let written = self.0.serialize(&mut serializer);
        debug_assert!(written.is_ok() && bytes.len() < LONGEST);
        bytes.push(b'\n');
        bytes
    }
}

/// Who may see the line: those who reach the target. Where the key reached out of
/// its own namespaces, those who reach these too: neither side learns of the other.
fn seen_in(actor: Option<&Actor>, target: &Target) -> Vec<String> {
    let reach = actor.and_then(|actor| actor.namespaces.as_ref());
    let mut all: BTreeSet<&str> = target.namespaces.iter().map(|name| &**name).collect();
    let inside = reach.is_some_and(|reach| all.iter().all(|name| reaches(reach, name)));
    // Of what is about nothing yet, its own namespaces are all that is known.
    if all.is_empty() || !inside {
        all.extend(reach.into_iter().flat_map(Namespaces::iter));
    }
    // Who reaches all of too many is told as little as who reaches some of them.
    let length: usize = all.iter().map(|name| name.len() + QUOTES).sum();
    if all.is_empty() || length > NAMESPACES_MAX {
        all = BTreeSet::from([SERVER]);
    }
    all.into_iter().map(str::to_owned).collect()
}

fn reaches(reach: &Namespaces, name: &str) -> bool {
    match (reach, name.parse::<Namespace>()) {
        (Namespaces::All, _) => true,
        (some, Ok(namespace)) => some.contain(Some(&namespace)),
        (_, Err(_)) => false,
    }
}

impl Line {
    /// Whether a reader of these namespaces may see the line.
    pub(super) fn is_seen_by(&self, reader: &Namespaces) -> bool {
        match reader {
            Namespaces::All => true,
            some => {
                let mut all = self.namespaces.iter();
                !self.namespaces.is_empty() && all.all(|name| reaches(some, name))
            }
        }
    }
}

/// A text of at most `most` bytes; one that is cut ends in `…`.
fn cut(text: &str, most: usize) -> String {
    // A key that is cut would no longer be known for one.
    let text = &*ApiKey::hide_in(text);
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most - '…'.len_utf8());
    format!("{}…", &text[..end])
}
