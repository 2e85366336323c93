//! Route globs of `publicRoutes` (contract §3). By hand, because in the globs of
//! libraries a `*` crosses `/`.

use std::fmt;
use std::str::FromStr;

const GLOB_MAX_BYTES: usize = 256;
const GLOB_MAX_SEGMENTS: usize = 32;

/// Why a text is no route glob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GlobError {
    /// It does not begin with a slash.
    #[error("a route begins with `/`, as in `/assets/**`")]
    NotAbsolute,
    /// Over 256 characters or 32 segments.
    #[error("a route has at most {GLOB_MAX_BYTES} characters and {GLOB_MAX_SEGMENTS} segments")]
    TooLong,
    /// More than one star in a segment that is not `**`.
    #[error("a segment holds at most one `*`; `**` stands alone between slashes")]
    Stars,
    /// An empty, `.` or `..` segment, a control character, `?` or `#`: no
    /// canonical path has them.
    #[error("a route has no empty, `.` or `..` segments, no query and no control characters")]
    Malformed,
}

/// A pattern of paths below an app: `/a/*` is one segment more, `/a/**` is `/a`
/// and everything below. `*` inside of a segment (`/*.js`) is any part of it.
/// Letter case matters. Matching takes time linear in the path for a given glob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteGlob {
    text: Box<str>,
    segments: Box<[Segment]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// `**`
    AnyDepth,
    /// Text around one `*`; a lone `*` has none on either side.
    Star {
        prefix: Box<str>,
        suffix: Box<str>,
    },
    Literal(Box<str>),
}

impl Segment {
    fn parse(text: &str) -> Result<Self, GlobError> {
        if text == "**" {
            return Ok(Self::AnyDepth);
        }
        if matches!(text, "." | "..") {
            return Err(GlobError::Malformed);
        }
        match text.split_once('*') {
            None => Ok(Self::Literal(text.into())),
            Some((_, suffix)) if suffix.contains('*') => Err(GlobError::Stars),
            Some((prefix, suffix)) => Ok(Self::Star {
                prefix: prefix.into(),
                suffix: suffix.into(),
            }),
        }
    }

    /// Whether one path segment fits. An empty one, after a trailing slash, fits
    /// no star.
    fn matches(&self, segment: &str) -> bool {
        match self {
            Self::AnyDepth => true,
            Self::Literal(text) => **text == *segment,
            Self::Star { prefix, suffix } => {
                !segment.is_empty()
                    && segment.len() >= prefix.len() + suffix.len()
                    && segment.starts_with(&**prefix)
                    && segment.ends_with(&**suffix)
            }
        }
    }
}

impl RouteGlob {
    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a canonical path below the app's base, such as `/a/b`, fits.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else {
            return false;
        };
        // The usual walk for globs: on a mismatch, the last `**` takes one segment
        // more. Earlier ones need not be tried again, since whatever they could
        // give the last one can take.
        let (mut at, mut rest) = (0, Some(path));
        let mut retry: Option<(usize, Option<&str>)> = None;
        loop {
            match (self.segments.get(at), rest) {
                (None, None) => return true,
                (Some(Segment::AnyDepth), _) => {
                    at += 1;
                    retry = Some((at, rest));
                    continue;
                }
                (Some(segment), Some(path)) => {
                    let (first, tail) = split_first(path);
                    if segment.matches(first) {
                        at += 1;
                        rest = tail;
                        continue;
                    }
                }
                (None, Some(_)) | (Some(_), None) => {}
            }
            let Some((resume_at, Some(path))) = retry else {
                return false;
            };
            let tail = split_first(path).1;
            retry = Some((resume_at, tail));
            (at, rest) = (resume_at, tail);
        }
    }
}

fn split_first(path: &str) -> (&str, Option<&str>) {
    match path.split_once('/') {
        Some((first, tail)) => (first, Some(tail)),
        None => (path, None),
    }
}

impl FromStr for RouteGlob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        let path = text.strip_prefix('/').ok_or(GlobError::NotAbsolute)?;
        if text.len() > GLOB_MAX_BYTES || path.split('/').count() > GLOB_MAX_SEGMENTS {
            return Err(GlobError::TooLong);
        }
        if text.contains("//")
            || text.contains(|c: char| c.is_control() || matches!(c, '?' | '#' | '\\'))
        {
            return Err(GlobError::Malformed);
        }
        let segments = path
            .split('/')
            .map(Segment::parse)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            text: text.into(),
            segments,
        })
    }
}

impl fmt::Display for RouteGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Globs by method: `["/a/**"]` for all methods, or `{GET: […], ALL: […]}`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteGlobs {
    rules: Vec<(MethodRule, RouteGlob)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum MethodRule {
    All,
    Only(&'static str),
}

impl RouteGlobs {
    /// What a method may be called here.
    pub(crate) const METHODS: [&'static str; 8] = [
        "ALL", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS",
    ];

    /// How many globs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no glob at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a request fits one of the globs. HEAD needs what GET needs, so a
    /// glob for GET is one for HEAD too.
    #[must_use]
    pub fn matches(&self, method: &str, path: &str) -> bool {
        self.rules.iter().any(|(rule, glob)| {
            let method_fits = match rule {
                MethodRule::All => true,
                MethodRule::Only(only) => *only == method || (*only == "GET" && method == "HEAD"),
            };
            method_fits && glob.matches(path)
        })
    }

    /// Adds a glob under a method name of [`Self::METHODS`]; others are ignored by
    /// returning false.
    pub(crate) fn push(&mut self, method: &str, glob: RouteGlob) -> bool {
        let Some(method) = Self::METHODS.into_iter().find(|known| *known == method) else {
            return false;
        };
        let rule = match method {
            "ALL" => MethodRule::All,
            only => MethodRule::Only(only),
        };
        self.rules.push((rule, glob));
        true
    }
}

#[cfg(test)]
mod tests;
