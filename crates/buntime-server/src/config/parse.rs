//! One parser for each kind of value. An error says what is wrong; what is accepted stands in the declaration.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;

use buntime_core::{ByteSize, DurationError, PackageName, SizeError, VersionRange, parse_duration};
use ipnet::IpNet;

use super::settings::{ApiPrefix, Database, Homepage, Mode, PluginEnv, SandboxMode};
use super::{Secret, TrustedProxies};
use crate::logging::{Format, Level};

/// Most entries of a list. A setting is written by hand.
const MOST_ENTRIES: usize = 1000;

/// Keeps a parsed value.
pub(super) fn set<T>(slot: &mut Option<T>, parsed: Result<T, String>) -> Result<(), String> {
    *slot = Some(parsed?);
    Ok(())
}

pub(super) fn number<T>(text: &str, least: T, most: T) -> Result<T, String>
where
    T: FromStr + PartialOrd + std::fmt::Display,
{
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("is not a whole number".to_owned());
    }
    match text.parse::<T>() {
        Ok(value) if value < least => Err("is too small".to_owned()),
        Ok(value) if value <= most => Ok(value),
        _ => Err("is too large".to_owned()),
    }
}

pub(super) fn host(text: &str) -> Result<IpAddr, String> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse().map_err(|_| "is not an IP address".to_owned())
}

pub(super) fn mode(text: &str) -> Result<Mode, String> {
    [
        Mode::Development,
        Mode::Production,
        Mode::Staging,
        Mode::Test,
    ]
    .into_iter()
    .find(|mode| mode.as_str() == text)
    .ok_or_else(|| "is not one of the modes".to_owned())
}

pub(super) fn api_prefix(text: &str) -> Result<ApiPrefix, String> {
    let Some(rest) = text.strip_prefix('/') else {
        return Err("does not start with a slash".to_owned());
    };
    for segment in rest.split('/') {
        if segment.is_empty() {
            return Err("has an empty segment".to_owned());
        }
        if segment == "." || segment == ".." {
            return Err("has a dot segment".to_owned());
        }
        if !segment
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
        {
            return Err("has a character other than letters, digits and -._~".to_owned());
        }
    }
    Ok(ApiPrefix(text.to_owned()))
}

pub(super) fn homepage(text: &str) -> Result<Homepage, String> {
    // The first byte may be the @ of a scope.
    let split = text
        .char_indices()
        .skip(1)
        .find(|(_, c)| *c == '@')
        .map(|(at, _)| at);
    let (name, range) = match split {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let name = name
        .parse::<PackageName>()
        .map_err(|error| error.to_string())?;
    let range = range
        .map(str::parse::<VersionRange>)
        .transpose()
        .map_err(|error| error.to_string())?;
    Ok(Homepage { name, range })
}

pub(super) fn database(text: &str) -> Result<Database, String> {
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        Err("a Postgres database is not built in yet".to_owned())
    } else {
        Err("is not a database URL that this server knows".to_owned())
    }
}

pub(super) fn sandbox(text: &str) -> Result<SandboxMode, String> {
    match text {
        "auto" => Ok(SandboxMode::Auto),
        "require" => Ok(SandboxMode::Require),
        "off" => Ok(SandboxMode::Off),
        _ => Err("is not one of the modes".to_owned()),
    }
}

/// What the server does if it is of use, or not at all.
pub(super) fn auto_or_off(text: &str) -> Result<bool, String> {
    match text {
        "auto" => Ok(true),
        "off" => Ok(false),
        _ => Err("is neither auto nor off".to_owned()),
    }
}

pub(super) fn registry(text: &str) -> Result<Secret, String> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest else {
        return Err("is not an http or https URL".to_owned());
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    if host.is_empty() || host.starts_with(':') {
        return Err("has no host".to_owned());
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("has a space, a control or a non-ASCII character".to_owned());
    }
    Ok(Secret::new(text))
}

pub(super) fn size(text: &str) -> Result<ByteSize, String> {
    let size = text.parse::<ByteSize>().map_err(|error| match error {
        SizeError::Malformed => "is not a size".to_owned(),
        other => other.to_string(),
    })?;
    if size.bytes() == 0 {
        Err("is zero".to_owned())
    } else {
        Ok(size)
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = duration_or_zero(text)?;
    if duration.is_zero() {
        Err("is zero".to_owned())
    } else {
        Ok(duration)
    }
}

pub(super) fn duration_or_zero(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| match error {
        DurationError::Malformed => "is not a duration".to_owned(),
        other => other.to_string(),
    })
}

/// A header carries the key, so it holds what a header can.
pub(super) fn root_key(text: &str) -> Result<Secret, String> {
    if text.len() > 256 {
        return Err("is too long".to_owned());
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("has a space, a control or a non-ASCII character".to_owned());
    }
    Ok(Secret::new(text))
}

pub(super) fn proxies(text: &str) -> Result<TrustedProxies, String> {
    if text == "none" {
        return Ok(TrustedProxies::new(Vec::new()));
    }
    list(text, |part| {
        part.parse::<IpNet>()
            .or_else(|_| part.parse::<IpAddr>().map(IpNet::from))
            .map_err(|_| "is neither an address nor a CIDR".to_owned())
    })
    .map(TrustedProxies::new)
}

pub(super) fn host_names(text: &str) -> Result<Vec<String>, String> {
    list(text, host_name)
}

/// A host name without port, in lower case. IP addresses are accepted too, without brackets.
pub(super) fn host_name(text: &str) -> Result<String, String> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_ascii_lowercase());
    }
    if text.contains("://") {
        return Err("has a scheme".to_owned());
    }
    if text.contains(':') {
        return Err("has a port".to_owned());
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if text.len() <= 253 && text.split('.').all(is_label) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("is not a host name".to_owned())
    }
}

pub(super) fn plugin_env(text: &str) -> Result<PluginEnv, String> {
    let mut allowed: BTreeMap<PackageName, Vec<String>> = BTreeMap::new();
    for entry in text
        .split(';')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .take(MOST_ENTRIES)
    {
        let Some((name, variables)) = entry.split_once(':') else {
            return Err(format!("{entry:?} has no `:` after the plugin's name"));
        };
        let name = name
            .trim()
            .parse::<PackageName>()
            .map_err(|error| format!("{name:?}: {error}"))?;
        let variables = list(variables, |variable| {
            if variable.starts_with("RUNTIME_") {
                return Err("belongs to the server".to_owned());
            }
            let first_fits = variable.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            let rest_fits = variable
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if first_fits && rest_fits {
                Ok(variable.to_owned())
            } else {
                Err("is not a variable's name".to_owned())
            }
        })?;
        allowed.entry(name).or_default().extend(variables);
    }
    if allowed.is_empty() {
        Err("names no plugin".to_owned())
    } else {
        Ok(PluginEnv(allowed))
    }
}

pub(super) fn log_level(text: &str) -> Result<Level, String> {
    [Level::Debug, Level::Info, Level::Warn, Level::Error]
        .into_iter()
        .find(|level| level.as_str() == text)
        .ok_or_else(|| "is not one of the levels".to_owned())
}

pub(super) fn log_format(text: &str) -> Result<Format, String> {
    match text {
        "json" => Ok(Format::Json),
        "pretty" => Ok(Format::Pretty),
        _ => Err("is not one of the formats".to_owned()),
    }
}

/// A list with commas. Every wrong entry is named.
fn list<T>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let mut values = Vec::new();
    let mut wrong = Vec::new();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        match parse(part) {
            Ok(value) => values.push(value),
            Err(reason) => wrong.push(format!("{part:?} {reason}")),
        }
        if values.len() > MOST_ENTRIES || wrong.len() > 10 {
            return Err(format!(
                "has more than {MOST_ENTRIES} entries, or more than 10 wrong ones: {}",
                wrong.join(", ")
            ));
        }
    }
    if !wrong.is_empty() {
        return Err(wrong.join(", "));
    }
    if values.is_empty() {
        Err("is an empty list".to_owned())
    } else {
        Ok(values)
    }
}
