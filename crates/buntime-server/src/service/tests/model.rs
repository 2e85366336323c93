//! What the contract (§4, §5, §7) makes of a target, in the plainest way: all
//! segments are decoded, and the decision is made on the decoded ones.

use buntime_core::{Version, VersionRange};
use buntime_http::Method;

/// Folder and id of each unit.
pub(super) const UNITS: [(&str, &str); 6] = [
    ("echo/1.2.3", "echo@1.2.3"),
    ("echo@2.0.0", "echo@2.0.0"),
    ("@acme/tool@1.0.0", "@acme/tool@1.0.0"),
    ("site", "site@latest"),
    ("home@1.0.0", "home@1.0.0"),
    // Its name is that of the API's prefix.
    ("admin@1.0.0", "admin@1.0.0"),
];

/// What is answered.
#[derive(Debug, PartialEq)]
pub(super) enum Expected {
    /// A body: a site's tells whose it is and which file.
    Text(String),
    /// 200 to a HEAD.
    Head,
    /// 204.
    Empty,
    Redirect(u16, String),
    Failure(u16, String),
}

impl Expected {
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Text(text) if text.starts_with('{') => "server".to_owned(),
            Self::Text(_) => "site".to_owned(),
            Self::Head => "head".to_owned(),
            Self::Empty => "empty".to_owned(),
            Self::Redirect(status, _) => format!("redirect {status}"),
            Self::Failure(status, code) => format!("{status} {code}"),
        }
    }
}

fn failure(status: u16, code: &str) -> Expected {
    Expected::Failure(status, code.to_owned())
}

/// The settings that routing knows.
pub(super) struct Model {
    pub(super) prefix: &'static str,
    pub(super) homepage: Option<&'static str>,
}

/// A decoded segment and where it ends in the path as sent.
struct Part {
    decoded: Vec<u8>,
    end: usize,
}

impl Part {
    /// Its text, unless it holds a slash: no name does.
    fn name(&self) -> Option<String> {
        let text = String::from_utf8(self.decoded.clone()).ok()?;
        (!text.contains('/')).then_some(text)
    }

    fn is(&self, name: &str) -> bool {
        self.decoded == name.as_bytes()
    }
}

impl Model {
    pub(super) fn new(prefix: &'static str, homepage: Option<&'static str>) -> Self {
        Self { prefix, homepage }
    }

    pub(super) fn answer(&self, method: Method, target: &[u8]) -> Expected {
        let reads = matches!(method, Method::Get | Method::Head);
        let mut halves = target.splitn(2, |&byte| byte == b'?');
        let path = halves.next().unwrap();
        let query = halves.next();
        let Some(parts) = parts(path, query) else {
            return failure(400, "BAD_PATH");
        };
        let path = std::str::from_utf8(path).unwrap();
        let query = query.map_or_else(String::new, |query| {
            format!("?{}", std::str::from_utf8(query).unwrap())
        });
        if path.contains("//") {
            if !reads || self.is_api(&parts) {
                return failure(400, "BAD_PATH");
            }
            let kept: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
            let end = if path.ends_with('/') && !kept.is_empty() {
                "/"
            } else {
                ""
            };
            return Expected::Redirect(308, format!("/{}{end}{query}", kept.join("/")));
        }
        if path == "/" && self.homepage.is_none() {
            return match reads {
                true => Expected::Redirect(302, "/cpanel/".to_owned()),
                false => failure(405, "METHOD_NOT_ALLOWED"),
            };
        }
        if path != "/"
            && let Some(expected) = self.of_the_server(method, &parts)
        {
            return expected;
        }
        match unit(&parts) {
            Some((_, end)) if end == path.len() && !reads => failure(404, "NOT_FOUND"),
            Some((_, end)) if end == path.len() => {
                Expected::Redirect(308, format!("{path}/{query}"))
            }
            Some((id, end)) => site(method, &id, &path[end..], &query),
            None => match self.homepage {
                Some(name) => site(method, &format!("{name}@1.0.0"), path, &query),
                None => failure(404, "NOT_FOUND"),
            },
        }
    }

    /// The segments that are the API's.
    fn api(&self) -> Vec<&str> {
        self.prefix.split('/').skip(1).chain(["api"]).collect()
    }

    fn is_api(&self, parts: &[Part]) -> bool {
        let api = self.api();
        parts.len() >= api.len() && parts.iter().zip(&api).all(|(part, api)| part.is(api))
    }

    /// The API, health, `/.well-known` and the icon that nobody has.
    fn of_the_server(&self, method: Method, parts: &[Part]) -> Option<Expected> {
        let reads = matches!(method, Method::Get | Method::Head);
        let health = |rest: &[Part]| {
            let name: Vec<_> = rest.iter().map(Part::name).collect();
            let status = match &name[..] {
                [] => "healthy",
                [Some(name)] if name == "live" || name == "ready" => name,
                _ => return failure(404, "NOT_FOUND"),
            };
            match method {
                Method::Get => Expected::Text(format!(
                    r#"{{"ok":true,"status":"{status}","version":"{}"}}"#,
                    env!("CARGO_PKG_VERSION")
                )),
                Method::Head => Expected::Head,
                _ => failure(405, "METHOD_NOT_ALLOWED"),
            }
        };
        if self.is_api(parts) {
            let is_plain = |part: &Part| {
                let name = part.name();
                name.is_some_and(|name| !name.contains('\\'))
            };
            if !parts.iter().all(is_plain) {
                return Some(failure(400, "BAD_PATH"));
            }
            return Some(match &parts[self.api().len()..] {
                [part] if part.is("health") => health(&[]),
                [part, probe] if part.is("health") && (probe.is("live") || probe.is("ready")) => {
                    health(std::slice::from_ref(probe))
                }
                _ => failure(401, "AUTH_REQUIRED"),
            });
        }
        let first = parts.first()?;
        if first.is("health") {
            return Some(health(&parts[1..]));
        }
        if first.is(".well-known") {
            return Some(match (&parts[1..], method) {
                ([name], Method::Get) if name.is("buntime") => Expected::Text(format!(
                    r#"{{"api":"{}/api","version":"{}"}}"#,
                    self.prefix,
                    env!("CARGO_PKG_VERSION")
                )),
                ([name], Method::Head) if name.is("buntime") => Expected::Head,
                ([name], _) if name.is("buntime") && !reads => failure(405, "METHOD_NOT_ALLOWED"),
                _ => failure(404, "NOT_FOUND"),
            });
        }
        let is_icon = parts.len() == 1 && first.is("favicon.ico") && self.homepage.is_none();
        is_icon.then_some(Expected::Empty)
    }
}

/// The segments, unless the target is one that two readers could take differently.
fn parts(path: &[u8], query: Option<&[u8]>) -> Option<Vec<Part>> {
    let visible = |byte: &u8| (0x21..=0x7E).contains(byte) && *byte != b'#';
    let plain = |byte: &u8| visible(byte) && *byte != b'\\';
    if path.first() != Some(&b'/')
        || !path.iter().all(plain)
        || !query.unwrap_or_default().iter().all(visible)
    {
        return None;
    }
    let mut parts = Vec::new();
    let mut end = 0;
    for raw in path[1..].split(|&byte| byte == b'/') {
        end += 1 + raw.len();
        let decoded = decoded(raw)?;
        let forbidden = |byte: &u8| matches!(byte, 0 | b'\r' | b'\n');
        if decoded.iter().any(forbidden) || decoded == b"." || decoded == b".." {
            return None;
        }
        parts.push(Part { decoded, end });
    }
    Some(parts)
}

fn decoded(raw: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(raw).unwrap();
    let mut pieces = text.split('%');
    let mut decoded = pieces.next().unwrap().as_bytes().to_vec();
    for piece in pieces {
        let digits = piece.get(..2)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
        decoded.extend_from_slice(&piece.as_bytes()[2..]);
    }
    Some(decoded)
}

/// The unit that the first segments name, and where they end.
fn unit(parts: &[Part]) -> Option<(String, usize)> {
    let first = parts[0].name()?;
    let (text, end) = if first.starts_with('@') {
        let second = parts.get(1)?;
        (format!("{first}/{}", second.name()?), second.end)
    } else {
        (first, parts[0].end)
    };
    // The first `@` after that of the scope.
    let at = text
        .char_indices()
        .skip(1)
        .find(|&(_, c)| c == '@')
        .map(|(at, _)| at);
    let scope_has_one = at.is_some_and(|at| text.starts_with('@') && text[at..].contains('/'));
    if scope_has_one {
        return None;
    }
    let (name, range) = match at {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (&text[..], None),
    };
    let mut versions: Vec<&str> = UNITS
        .iter()
        .filter_map(|(_, id)| id.rsplit_once('@'))
        .filter(|(unit, _)| *unit == name)
        .map(|(_, version)| version)
        .collect();
    // Highest first, and nothing here is both numbered and `latest`.
    versions.sort();
    versions.reverse();
    let fits = |version: &&&str| match range {
        None => true,
        Some(range) if range.len() > 64 => false,
        Some(range) => {
            let version = version.parse::<Version>().unwrap();
            range == version.as_str()
                || VersionRange::try_from(range).is_ok_and(|range| range.matches(&version))
        }
    };
    let version = versions.iter().find(fits)?;
    Some((format!("{name}@{version}"), end))
}

/// What a site answers below its base.
fn site(method: Method, id: &str, below: &str, query: &str) -> Expected {
    if !matches!(method, Method::Get | Method::Head) {
        return failure(405, "METHOD_NOT_ALLOWED");
    }
    let plain: Option<Vec<_>> = below[1..]
        .split('/')
        .map(|raw| {
            decoded(raw.as_bytes()).map(|decoded| String::from_utf8_lossy(&decoded).into_owned())
        })
        .collect();
    let names: Vec<_> = plain.unwrap_or_default();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    if names == ["sub"] {
        return Expected::Redirect(
            308,
            format!("./{}/{query}", below.rsplit('/').next().unwrap()),
        );
    }
    let text = match &names[..] {
        ["a.txt"] => format!("{id} a.txt"),
        ["sub", "" | "index.html"] => format!("{id} sub/index.html"),
        _ => id.to_owned(),
    };
    match method {
        Method::Head => Expected::Head,
        _ => Expected::Text(text),
    }
}
