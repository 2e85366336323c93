//! What a route is, and how a path finds its route.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use buntime_core::PackageName;
use buntime_core::access::{Grant, Permission, Permit, Principal};
use buntime_http::{CanonicalPath, Method};

use super::Api;
use super::call::{Call, UNSCOPED};
use super::openapi::Shape;
use crate::failure::Failure;
use crate::message::Response;
use crate::service::Answer;

/// What a handler returns.
pub(crate) type Handled = Pin<Box<dyn Future<Output = Result<Response, Answer>> + Send>>;

/// One route of the API. A `const` in the file of its resource.
pub(crate) struct Route {
    pub(crate) method: Method,
    /// Below the API's base: `/workers/:scope/:name`. A segment that begins with a
    /// colon is a parameter; a `:plugin` may hold an encoded slash.
    pub(crate) pattern: &'static str,
    /// Who may call it, and what answers.
    pub(crate) access: Access,
    /// What the audit log calls it (`worker.remove`); empty for what changes nothing.
    pub(crate) action: &'static str,
    /// What it does, in one sentence, for the API's description.
    pub(crate) summary: &'static str,
    /// What it takes and gives, for the same.
    pub(crate) shape: Shape,
}

/// Who may call a route. Each handler is given the proof of what was checked.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    /// Anybody.
    Public(fn(Arc<Api>, Call) -> Handled),
    /// Any valid key or session.
    AnyKey(fn(Arc<Api>, Call, Arc<Principal>) -> Handled),
    /// Who has the permission. The namespace stands in the body or the query, or
    /// each item of a list has its own: the handler gets its permits by the grant.
    Granted(Permission, fn(Arc<Api>, Call, Grant) -> Handled),
    /// Who has the permission over the unit that the path names, by `:scope/:name`
    /// or by `:plugin`.
    Unit(
        Permission,
        fn(Arc<Api>, Call, Permit, PackageName) -> Handled,
    ),
    /// Who has the permission over all of the server.
    Server(Permission, fn(Arc<Api>, Call, Permit) -> Handled),
}

impl Access {
    /// The permission that is needed, if one is.
    pub(crate) fn permission(self) -> Option<Permission> {
        match self {
            Self::Public(_) | Self::AnyKey(_) => None,
            Self::Granted(permission, _)
            | Self::Unit(permission, _)
            | Self::Server(permission, _) => Some(permission),
        }
    }

    pub(crate) fn is_public(self) -> bool {
        matches!(self, Self::Public(_))
    }
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.pattern)
    }
}

impl Route {
    /// A route that looks: GET, and HEAD with it.
    pub(crate) const fn get(pattern: &'static str, access: Access, summary: &'static str) -> Self {
        Self {
            method: Method::Get,
            pattern,
            access,
            action: "",
            summary,
            shape: Shape::UNKNOWN,
        }
    }

    /// A route that changes something, under the name that the audit log has for it.
    pub(crate) const fn change(
        method: Method,
        pattern: &'static str,
        access: Access,
        action: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            pattern,
            access,
            action,
            summary,
            shape: Shape::UNKNOWN,
        }
    }

    /// Whether it changes something.
    pub(crate) fn changes(&self) -> bool {
        !self.action.is_empty()
    }

    fn answers(&self, method: Method) -> bool {
        self.method == method || (self.method == Method::Get && method == Method::Head)
    }

    fn matches(&self, segments: &[Part]) -> Option<Params> {
        let mut params = Params::default();
        let mut rest = segments.iter();
        for pattern in self.pattern.split('/').skip(1) {
            let part = rest.next()?;
            match pattern.strip_prefix(':') {
                Some(_) if part.text.is_empty() => return None,
                // What is no scope names no unit: `/workers/shop/releases` is not the
                // unit `releases` of a scope `shop`.
                Some("scope") if !is_scope(&part.text) => return None,
                Some(name) => params.0.push((name, part.clone())),
                None if &*part.text == pattern => {}
                None => return None,
            }
        }
        rest.next().is_none().then_some(params)
    }
}

fn is_scope(text: &str) -> bool {
    text == UNSCOPED || text.starts_with('@')
}

/// What the path says where the pattern has parameters.
#[derive(Debug, Default)]
pub(crate) struct Params(Vec<(&'static str, Part)>);

impl Params {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let (_, part) = self.0.iter().find(|(known, _)| *known == name)?;
        Some(&part.text)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, part)| (*name, &*part.text))
    }

    /// Only a plugin's name may come with its slash encoded, for it is one segment.
    fn has_stray_slash(&self) -> bool {
        self.0
            .iter()
            .any(|(name, part)| part.encoded_slash && *name != "plugin")
    }
}

/// A segment of the path, decoded.
#[derive(Clone, Debug)]
pub(super) struct Part {
    text: Box<str>,
    encoded_slash: bool,
}

/// The segments of `path` from the offset `base` on, decoded.
///
/// # Errors
/// 400 for what could be read in two ways, or is no text.
pub(super) fn segments(path: &CanonicalPath, base: usize) -> Result<Vec<Part>, Failure> {
    let mut below = path
        .segments()
        .filter(|segment| segment.end > base)
        .peekable();
    let mut parts = Vec::new();
    while let Some(segment) = below.next() {
        let text = std::str::from_utf8(&segment.decoded).map_err(|_| Failure::BAD_PATH)?;
        // The one after a slash at the end names nothing, and no route has it.
        let stray = text.is_empty() && below.peek().is_some();
        if stray || text.contains(['\\', '\0']) {
            return Err(Failure::BAD_PATH);
        }
        parts.push(Part {
            text: text.into(),
            encoded_slash: segment.encoded_slash,
        });
    }
    Ok(parts)
}

/// Whether these are the segments of `path`.
pub(super) fn is(segments: &[Part], path: &str) -> bool {
    let texts = segments.iter().map(|part| &*part.text);
    texts.eq(path.split('/').skip(1))
}

/// What a path and a method lead to.
#[derive(Debug)]
pub(super) enum Found {
    Route(&'static Route, Params),
    /// The path has routes, none for this method.
    OtherMethod {
        /// Whether all of them are public.
        public: bool,
        /// The methods that there are.
        allow: &'static str,
    },
    Nothing,
}

/// Finds the route.
///
/// # Errors
/// 400 for an encoded slash where no name can have one.
pub(super) fn find(
    routes: &'static [&'static [Route]],
    method: Method,
    segments: &[Part],
) -> Result<Found, Failure> {
    let mut here = Vec::new();
    let candidates = routes.iter().copied().flatten().filter_map(|route| {
        let params = route.matches(segments)?;
        Some((route, params))
    });
    for (route, params) in candidates {
        if params.has_stray_slash() {
            continue;
        }
        // Literal segments stand before parameters: `/keys/meta` before `/keys/:id`.
        if route.answers(method) {
            return Ok(Found::Route(route, params));
        }
        here.push(route);
    }
    if here.is_empty() {
        let slash = segments.iter().any(|part| part.encoded_slash);
        return if slash {
            Err(Failure::BAD_PATH)
        } else {
            Ok(Found::Nothing)
        };
    }
    Ok(Found::OtherMethod {
        public: here.iter().all(|route| route.access.is_public()),
        allow: allow(&here),
    })
}

fn allow(routes: &[&Route]) -> &'static str {
    let has = |method| routes.iter().any(|route| route.method == method);
    match (has(Method::Get), has(Method::Post), has(Method::Delete)) {
        (true, true, true) => "GET, HEAD, POST, DELETE",
        (true, true, false) => "GET, HEAD, POST",
        (true, false, true) => "GET, HEAD, DELETE",
        (true, false, false) => "GET, HEAD",
        (false, true, true) => "POST, DELETE",
        (false, true, false) => "POST",
        (false, false, _) => "DELETE",
    }
}
