//! Reads a manifest key by key and gathers all that is wrong.

use std::time::Duration;

use super::values::{Field, warn_empty, warn_unknown};
use super::{BundleMode, MANIFEST_MAX_BYTES, Manifest, Visibility, sections};
use crate::diagnostic::{DiagnosticKind, ManifestErrors, Parsed, Position, Report};
use crate::duration::HumanDuration;
use crate::entrypoint::{EntrypointError, normalize_entrypoint};
use crate::yaml::{self, Key, Node, Value};
use crate::{ByteSize, NameError, PackageName, Version};

const KEYS: [&str; 21] = [
    "name",
    "version",
    "enabled",
    "entrypoint",
    "ttl",
    "timeout",
    "idleTimeout",
    "maxRequests",
    "maxBodySize",
    "lowMemory",
    "bundle",
    "autoInstall",
    "injectBase",
    "env",
    "envPrefix",
    "publicRoutes",
    "csrf",
    "visibility",
    "permissions",
    "limits",
    "cron",
];

pub(super) const START: Position = Position { line: 1, column: 1 };

pub(super) fn read(text: &str, file: &str) -> Result<Parsed<Manifest>, ManifestErrors> {
    let mut report = Report::new(file);
    let mut manifest = Manifest::default();
    let mut times = Times::default();
    for (key, node) in entries(text, &mut report) {
        if !KEYS.contains(&key.text.as_str()) {
            warn_unknown(&mut report, "", &key, &KEYS);
        } else if node.is_null() {
            warn_empty(&mut report, key.at, &key.text);
        } else {
            let mut field = Field {
                key: key.text,
                node: &node,
                report: &mut report,
                secret: false,
            };
            read_key(&mut manifest, &mut times, &mut field);
        }
    }
    times.settle(&mut manifest, &mut report);
    report.finish(manifest)
}

/// The keys of a manifest and their values: none if the file is empty, or cannot
/// be read as a manifest, which is then in the report.
pub(super) fn entries(text: &str, report: &mut Report<'_>) -> Vec<(Key, Node)> {
    if text.len() > MANIFEST_MAX_BYTES {
        let message = format!("a manifest has at most {} kb", MANIFEST_MAX_BYTES / 1024);
        report.error(DiagnosticKind::Syntax, START, "", message, "");
        return Vec::new();
    }
    let Some(root) = yaml::read(text, report) else {
        return Vec::new();
    };
    match root.value {
        Value::Mapping(entries) => return entries,
        Value::Scalar(scalar) if scalar.is_null() => {}
        Value::Scalar(_) | Value::List(_) => report.error(
            DiagnosticKind::Syntax,
            root.at,
            "",
            "no mapping",
            "a manifest is lines of `key: value`",
        ),
    }
    Vec::new()
}

/// Sets what `value` holds; a refused value leaves the default, since the manifest
/// will be refused as a whole.
pub(super) fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

fn read_key(manifest: &mut Manifest, times: &mut Times, field: &mut Field<'_, '_>) {
    // Cloned because the arms borrow the field.
    match field.key.clone().as_str() {
        "name" => manifest.name = name(field),
        "version" => manifest.version = version(field),
        "enabled" => set(&mut manifest.enabled, field.boolean()),
        "entrypoint" => manifest.entrypoint = normal_path(field),
        "ttl" => times.ttl = Times::read(field),
        "timeout" => times.timeout = Times::read_positive(field),
        "idleTimeout" => times.idle_timeout = Times::read_positive(field),
        "maxRequests" => set(
            &mut manifest.max_requests,
            field.whole_number(1..=ByteSize::MAX.bytes()),
        ),
        "maxBodySize" => manifest.max_body_size = field.size(),
        "lowMemory" => set(&mut manifest.low_memory, field.boolean()),
        "bundle" => set(
            &mut manifest.bundle,
            field.word(&[
                ("auto", BundleMode::Auto),
                ("true", BundleMode::Always),
                ("false", BundleMode::Never),
            ]),
        ),
        "autoInstall" => set(&mut manifest.auto_install, field.boolean()),
        "injectBase" => set(&mut manifest.inject_base, field.boolean()),
        "env" => set(&mut manifest.env, sections::env(field)),
        "envPrefix" => set(&mut manifest.env_prefix, sections::env_prefix(field)),
        "publicRoutes" => set(&mut manifest.public_routes, sections::public_routes(field)),
        "csrf" => set(&mut manifest.csrf, sections::csrf(field)),
        "visibility" => set(&mut manifest.visibility, visibility(field)),
        "permissions" => set(&mut manifest.permissions, sections::permissions(field)),
        "limits" => set(&mut manifest.limits, sections::limits(field)),
        "cron" => set(&mut manifest.cron, sections::cron(field)),
        _ => {}
    }
}

pub(super) fn visibility(field: &mut Field<'_, '_>) -> Option<Visibility> {
    field.word(&[
        ("public", Visibility::Public),
        ("protected", Visibility::Protected),
        ("internal", Visibility::Internal),
    ])
}

pub(super) fn name(field: &mut Field<'_, '_>) -> Option<PackageName> {
    match field
        .text("a text, as in `shop` or `\"@acme/shop\"`")?
        .parse()
    {
        Ok(name) => Some(name),
        Err(error @ NameError::Reserved) => field.refuse_as(DiagnosticKind::ReservedName, error),
        Err(error) => field.refuse_as(DiagnosticKind::PackageName, error),
    }
}

fn version(field: &mut Field<'_, '_>) -> Option<Version> {
    let accepted = "a text of three numbers, as in `1.2.3`, or `latest`";
    match field.text(accepted)?.parse() {
        Ok(version) => Some(version),
        Err(error) => field.refuse_as(DiagnosticKind::PackageVersion, error),
    }
}

/// A file of the unit, without `.` and `..`.
pub(super) fn normal_path(field: &mut Field<'_, '_>) -> Option<String> {
    let accepted = "the path of a file below the app's folder, as in `src/index.ts`";
    match normalize_entrypoint(&field.text(accepted)?) {
        Ok(path) => Some(path),
        Err(error @ EntrypointError::Escapes) => {
            let message = format!("{error}: {}", field.shown());
            field.error(DiagnosticKind::EntrypointEscapes, message, accepted)
        }
        Err(error) => field.refuse(error),
    }
}

/// The three times as written. Their rules tie them together, so they are settled
/// when all are read.
#[derive(Default)]
struct Times {
    ttl: Option<Written>,
    timeout: Option<Written>,
    idle_timeout: Option<Written>,
}

#[derive(Clone, Copy)]
struct Written {
    value: Duration,
    at: Position,
}

impl Times {
    fn read(field: &mut Field<'_, '_>) -> Option<Written> {
        let at = field.node.at;
        field.duration().map(|value| Written { value, at })
    }

    fn read_positive(field: &mut Field<'_, '_>) -> Option<Written> {
        let written = Self::read(field)?;
        if written.value.is_zero() {
            return field.refuse("a duration above zero, as in `30s`");
        }
        Some(written)
    }

    /// Contract §3: with a ttl, `timeout <= idleTimeout <= ttl`. Written values that
    /// break the first are errors, an idleTimeout above ttl is lowered, and defaults
    /// move out of the way.
    fn settle(&self, manifest: &mut Manifest, report: &mut Report<'_>) {
        let value = |written: Option<Written>| written.map(|written| written.value);
        set(&mut manifest.ttl, value(self.ttl));
        set(&mut manifest.timeout, value(self.timeout));
        set(&mut manifest.idle_timeout, value(self.idle_timeout));
        let Some(ttl) = self.ttl.filter(|ttl| !ttl.value.is_zero()) else {
            return;
        };
        if let Some(timeout) = self.timeout {
            require_at_least(timeout.value, ttl, "ttl", report);
            if let Some(idle_timeout) = self.idle_timeout {
                require_at_least(timeout.value, idle_timeout, "idleTimeout", report);
            }
        }
        if let Some(idle_timeout) = self.idle_timeout.filter(|idle| idle.value > ttl.value) {
            let [idle, ttl_text] = [idle_timeout, ttl].map(|time| HumanDuration::from(time.value));
            let message = format!("`{idle}` is above ttl");
            let hint = format!("lowered to ttl, `{ttl_text}`");
            report.warn(idle_timeout.at, "idleTimeout", message, hint);
        }
        if self.timeout.is_none() {
            let room = value(self.idle_timeout).unwrap_or(ttl.value);
            manifest.timeout = manifest.timeout.min(room).min(ttl.value);
        }
        manifest.idle_timeout = manifest.idle_timeout.max(manifest.timeout).min(ttl.value);
    }
}

fn require_at_least(timeout: Duration, written: Written, key: &str, report: &mut Report<'_>) {
    if written.value < timeout {
        let value = HumanDuration::from(written.value);
        let timeout = HumanDuration::from(timeout);
        let message = format!("`{value}` is less than timeout, `{timeout}`");
        let hint = match key {
            "ttl" => "ttl is 0 or at least timeout",
            _ => "with a ttl above 0, idleTimeout is at least timeout",
        };
        report.error(DiagnosticKind::Value, written.at, key, message, hint);
    }
}
