//! The keys of a manifest that hold lists and mappings.

use std::collections::BTreeMap;

use super::values::{Field, one_of, warn_empty, warn_unknown};
use super::{CronJob, CsrfPolicy, HostPort, Instances, Limits, NetPermission, Permissions};
use crate::diagnostic::{DiagnosticKind, excerpt};
use crate::dotenv::{NAME_HINT, is_variable_name};
use crate::env::{VALUE_MAX_BYTES, VARIABLES_MAX};
use crate::glob::{RouteGlob, RouteGlobs};
use crate::origin::{Origin, split_host_port};
use crate::size::{ByteSize, split_number};
use crate::yaml::{Key, Node, Value};

/// Most items of any list.
const ITEMS_MAX: usize = 100;

/// Longest path, host or schedule, in bytes.
pub(super) const TEXT_MAX_BYTES: usize = 1024;

const CRON_METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
const CRON_NAMES: [&str; 7] = [
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
];

/// `env`: any scalar is a value, spelled as it is; no value is an empty one.
pub(super) fn env(field: &mut Field<'_, '_>) -> Option<BTreeMap<String, String>> {
    let entries = mapping(
        field,
        "a mapping of names to values, as in `{GREETING: hello}`",
    )?;
    if entries.len() > VARIABLES_MAX {
        let message = format!("over {VARIABLES_MAX} variables");
        return field.error(DiagnosticKind::Value, message, "");
    }
    field.secret = true;
    let mut variables = BTreeMap::new();
    for (key, node) in entries {
        let mut variable = field.child(&key.text, node);
        if !is_variable_name(&key.text) {
            let message = format!("{} is no name of a variable", excerpt(&key.text));
            variable
                .report
                .error(DiagnosticKind::Value, key.at, "env", message, NAME_HINT);
            continue;
        }
        let accepted = "a text, a number or a boolean, without NUL and up to 64 kb";
        match &node.value {
            Value::Scalar(scalar) if scalar.is_null() => {
                variables.insert(key.text.clone(), String::new());
            }
            Value::Scalar(scalar)
                if !scalar.text.contains('\0') && scalar.text.len() <= VALUE_MAX_BYTES =>
            {
                variables.insert(key.text.clone(), scalar.text.clone());
            }
            _ => {
                variable.refuse::<()>(accepted);
            }
        }
    }
    Some(variables)
}

/// `envPrefix`. An empty prefix would publish every variable.
pub(super) fn env_prefix(field: &mut Field<'_, '_>) -> Option<Vec<String>> {
    let accepted = "a list of prefixes, each a letter or `_` and then letters, digits and `_`, as in `[PUBLIC_]`";
    texts(field, accepted, |item, text| {
        if is_variable_name(text) {
            Some(text.to_owned())
        } else {
            item.refuse(accepted)
        }
    })
}

/// `publicRoutes`: a list of globs, or a mapping of methods to such lists.
pub(super) fn public_routes(field: &mut Field<'_, '_>) -> Option<RouteGlobs> {
    let mut globs = RouteGlobs::default();
    match &field.node.value {
        Value::List(_) => add_globs(field, "ALL", &mut globs)?,
        Value::Mapping(entries) => {
            for (key, node) in entries {
                let method = key.text.to_ascii_uppercase();
                if !RouteGlobs::METHODS.contains(&method.as_str()) {
                    let hint = one_of(RouteGlobs::METHODS.into_iter());
                    let message = format!("{} is no method", excerpt(&key.text));
                    let name = field.key.clone();
                    field
                        .report
                        .error(DiagnosticKind::Value, key.at, &name, message, hint);
                } else if !node.is_null() {
                    add_globs(&mut field.child(&key.text, node), &method, &mut globs);
                }
            }
        }
        Value::Scalar(_) => {
            return field.refuse(
                "a list of routes, or a mapping of methods to lists, as in `[\"/assets/**\"]`",
            );
        }
    }
    // Each is tried for each request, and one method may be written in many ways.
    if globs.len() > ITEMS_MAX {
        let message = format!("over {ITEMS_MAX} routes");
        return field.error(DiagnosticKind::Value, message, "");
    }
    Some(globs)
}

fn add_globs(field: &mut Field<'_, '_>, method: &str, globs: &mut RouteGlobs) -> Option<()> {
    let accepted = "a list of routes, as in `[\"/assets/**\"]`";
    let parsed = texts(field, accepted, |item, text| {
        match text.parse::<RouteGlob>() {
            Ok(glob) => Some(glob),
            Err(error) => item.refuse(error),
        }
    })?;
    for glob in parsed {
        globs.push(method, glob);
    }
    Some(())
}

/// `csrf`: a word, or the origins that are trusted besides one's own.
pub(super) fn csrf(field: &mut Field<'_, '_>) -> Option<CsrfPolicy> {
    let accepted =
        "`same-origin`, `strict`, `off` or `{trustedOrigins: [\"https://shop.example\"]}`";
    let node = field.node;
    let Value::Mapping(entries) = &node.value else {
        return match field.scalar() {
            Some("same-origin") => Some(CsrfPolicy::SameOrigin),
            Some("strict") => Some(CsrfPolicy::Strict),
            Some("off") => Some(CsrfPolicy::Off),
            _ => field.refuse(accepted),
        };
    };
    let mut origins = None;
    for (key, node) in entries {
        match key.text.as_str() {
            "trustedOrigins" => {
                let accepted = "a list of origins, as in `[\"https://shop.example\"]`";
                let mut list = field.child(&key.text, node);
                origins = Some(texts(&mut list, accepted, |item, text| {
                    match text.parse::<Origin>() {
                        Ok(origin) => Some(origin),
                        Err(error) => item.refuse(error),
                    }
                })?);
            }
            _ => warn_unknown(field.report, &field.key, key, &["trustedOrigins"]),
        }
    }
    match origins {
        Some(origins) => Some(CsrfPolicy::TrustedOrigins(origins)),
        None => field.refuse(accepted),
    }
}

pub(super) fn permissions(field: &mut Field<'_, '_>) -> Option<Permissions> {
    let mut permissions = Permissions::default();
    let accepted = "a mapping with `read`, `write`, `spawn` and `net`";
    each_key(
        field,
        accepted,
        &["read", "write", "spawn", "net"],
        |name, value| match name {
            "read" => paths(value).map(|paths| permissions.read = paths),
            "write" => paths(value).map(|paths| permissions.write = paths),
            "spawn" => value.boolean().map(|spawn| permissions.spawn = spawn),
            _ => net(value).map(|net| permissions.net = net),
        },
    )?;
    Some(permissions)
}

fn paths(field: &mut Field<'_, '_>) -> Option<Vec<String>> {
    let accepted = "a list of paths without `..`, as in `[/srv/maps]`";
    texts(field, accepted, |item, text| {
        if is_plain_path(text) {
            Some(text.to_owned())
        } else {
            item.refuse(accepted)
        }
    })
}

/// Whether a text can be the path of a permission.
pub(super) fn is_plain_path(text: &str) -> bool {
    let climbs = text.split('/').any(|segment| segment == "..");
    let fits = !text.is_empty() && text.len() <= TEXT_MAX_BYTES;
    fits && !climbs && !text.contains(char::is_control)
}

fn net(field: &mut Field<'_, '_>) -> Option<NetPermission> {
    let accepted = "`none`, `public` or a list of `host:port`";
    match &field.node.value {
        Value::List(_) => texts(field, accepted, host_port).map(NetPermission::Hosts),
        Value::Scalar(_) | Value::Mapping(_) => match field.scalar() {
            Some("none") => Some(NetPermission::None),
            Some("public") => Some(NetPermission::Public),
            _ => field.refuse(accepted),
        },
    }
}

/// An item of `net`.
pub(super) fn host_port(item: &mut Field<'_, '_>, text: &str) -> Option<HostPort> {
    let lower = text.to_ascii_lowercase();
    match split_host_port(&lower) {
        Some((host, Some(port))) if text.len() <= TEXT_MAX_BYTES => Some(HostPort {
            host: host.to_owned(),
            port: port.parse().ok()?,
        }),
        _ => item.refuse("a host and a port, as in `db.internal:5432`"),
    }
}

pub(super) fn limits(field: &mut Field<'_, '_>) -> Option<Limits> {
    let mut limits = Limits::default();
    let accepted = "a mapping with `memory`, `cpu`, `disk`, `output` and `instances`";
    each_key(
        field,
        accepted,
        &["memory", "cpu", "disk", "output", "instances"],
        |name, value| match name {
            "memory" => some_size(value).map(|size| limits.memory = Some(size)),
            "disk" => some_size(value).map(|size| limits.disk = Some(size)),
            "output" => some_size(value).map(|size| limits.output = Some(size)),
            "cpu" => cpu(value).map(|cpu| limits.cpu = Some(cpu)),
            _ => instances(value).map(|instances| limits.instances = instances),
        },
    )?;
    Some(limits)
}

fn some_size(field: &mut Field<'_, '_>) -> Option<ByteSize> {
    let size = field.size()?;
    if size.bytes() == 0 {
        return field.refuse("a size above zero, as in `256mb`");
    }
    Some(size)
}

fn cpu(field: &mut Field<'_, '_>) -> Option<f64> {
    // The same grammar as sizes, so neither exponents nor `NaN` get this far.
    let text = field.scalar().unwrap_or_default();
    let number = split_number(text).filter(|number| number.unit.is_empty());
    match text.trim().parse::<f64>() {
        Ok(cpu) if number.is_some() && cpu > 0.0 && cpu <= 1024.0 => Some(cpu),
        _ => field.refuse("a number of processors above 0, as in `0.5`, up to 1024"),
    }
}

fn instances(field: &mut Field<'_, '_>) -> Option<Instances> {
    let text = field.scalar().unwrap_or_default();
    let count = |text: &str| -> Option<u32> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    let bounds = match text.split_once("..") {
        Some((min, max)) => count(min).zip(count(max)),
        None => count(text).map(|exact| (exact, exact)),
    };
    match bounds.and_then(|(min, max)| Instances::new(min, max)) {
        Some(instances) => Some(instances),
        None => field.refuse(format_args!(
            "a number, or a range as in `1..4`, from 1 to {}",
            Instances::LIMIT
        )),
    }
}

pub(super) fn cron(field: &mut Field<'_, '_>) -> Option<Vec<CronJob>> {
    let accepted = "a list of `{schedule, endpoint, method}`";
    let items = list(field, accepted)?;
    let mut jobs = Vec::new();
    for (index, node) in items.iter().enumerate() {
        jobs.extend(cron_job(&mut field.item(index, node)));
    }
    Some(jobs)
}

fn cron_job(field: &mut Field<'_, '_>) -> Option<CronJob> {
    let (mut schedule, mut endpoint, mut method) = (None, None, Some("GET".to_owned()));
    let accepted = "a mapping with `schedule`, `endpoint` and `method`";
    let mut written = Vec::new();
    each_key(
        field,
        accepted,
        &["schedule", "endpoint", "method"],
        |name, value| {
            written.push(name.to_owned());
            match name {
                "schedule" => schedule = cron_schedule(value),
                "endpoint" => endpoint = cron_endpoint(value),
                _ => method = cron_method(value),
            }
            Some(())
        },
    )?;
    for (name, example) in [
        ("schedule", "as in `schedule: \"*/5 * * * *\"`"),
        ("endpoint", "as in `endpoint: /jobs/clean`"),
    ] {
        if !written.iter().any(|written| written == name) {
            field.error::<()>(DiagnosticKind::Value, format!("no `{name}`"), example);
        }
    }
    Some(CronJob {
        schedule: schedule?,
        endpoint: endpoint?,
        method: method?,
    })
}

fn cron_schedule(field: &mut Field<'_, '_>) -> Option<String> {
    let accepted =
        "five or six fields, as in `\"*/5 * * * *\"`, or a name such as `@daily`, quoted";
    let text = field.text(accepted)?;
    let fields = text.split_ascii_whitespace();
    let sign = |c: char| c.is_ascii_alphanumeric() || "*/,-?#".contains(c);
    let plain = text.len() <= TEXT_MAX_BYTES && fields.clone().all(|field| field.chars().all(sign));
    if CRON_NAMES.contains(&text.as_str()) || (plain && matches!(fields.count(), 5 | 6)) {
        Some(text)
    } else {
        field.refuse(accepted)
    }
}

fn cron_endpoint(field: &mut Field<'_, '_>) -> Option<String> {
    let accepted = "a path below the app that begins with `/`, as in `/jobs/clean`";
    let text = field.text(accepted)?;
    let visible = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'#' && byte != b'\\');
    let path = text.split('?').next().unwrap_or_default();
    let climbs = path.split('/').any(|segment| matches!(segment, "." | ".."));
    if text.starts_with('/')
        && !path.contains("//")
        && visible
        && !climbs
        && text.len() <= TEXT_MAX_BYTES
    {
        Some(text)
    } else {
        field.refuse(accepted)
    }
}

fn cron_method(field: &mut Field<'_, '_>) -> Option<String> {
    let method = field.scalar().unwrap_or_default().to_ascii_uppercase();
    if CRON_METHODS.contains(&method.as_str()) {
        Some(method)
    } else {
        field.refuse(one_of(CRON_METHODS.into_iter()))
    }
}

/// Reads the keys of a mapping one by one; unknown ones are a warning, refused ones
/// are in the report already. `None` if it is no mapping.
pub(super) fn each_key<'file>(
    field: &mut Field<'_, 'file>,
    accepted: &str,
    known: &[&str],
    mut read: impl FnMut(&str, &mut Field<'_, 'file>) -> Option<()>,
) -> Option<()> {
    for (key, node) in mapping(field, accepted)? {
        if !known.contains(&key.text.as_str()) {
            warn_unknown(field.report, &field.key, key, known);
        } else if node.is_null() {
            let name = format!("{}.{}", field.key, key.text);
            warn_empty(field.report, key.at, &name);
        } else {
            read(&key.text, &mut field.child(&key.text, node));
        }
    }
    Some(())
}

/// Reads each item of a list of texts; refused ones are in the report already.
pub(super) fn texts<T>(
    field: &mut Field<'_, '_>,
    accepted: &str,
    mut read: impl FnMut(&mut Field<'_, '_>, &str) -> Option<T>,
) -> Option<Vec<T>> {
    let mut values = Vec::new();
    for (index, node) in list(field, accepted)?.iter().enumerate() {
        let mut item = field.item(index, node);
        if let Some(text) = item.text(accepted) {
            values.extend(read(&mut item, &text));
        }
    }
    Some(values)
}

pub(super) fn list<'a>(field: &mut Field<'a, '_>, accepted: &str) -> Option<&'a [Node]> {
    let node = field.node;
    match &node.value {
        Value::List(items) if items.len() > ITEMS_MAX => {
            field.error(DiagnosticKind::Value, format!("over {ITEMS_MAX} items"), "")
        }
        Value::List(items) => Some(items),
        Value::Scalar(_) | Value::Mapping(_) => field.refuse(accepted),
    }
}

fn mapping<'a>(field: &mut Field<'a, '_>, accepted: &str) -> Option<&'a [(Key, Node)]> {
    let node = field.node;
    match &node.value {
        Value::Mapping(entries) => Some(entries),
        Value::Scalar(_) | Value::List(_) => field.refuse(accepted),
    }
}
