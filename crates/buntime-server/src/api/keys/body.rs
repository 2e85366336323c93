//! What the bodies of these routes may say. Every refusal names its field.

use std::time::{Duration, SystemTime};

use buntime_core::access::{Namespaces, Permission, Permissions, Role};
use buntime_core::parse_duration;
use schemars::JsonSchema;
use serde_json::Value;

use crate::access::NewKey;
use crate::api::json::Fields;
use crate::failure::Failure;

/// Longest name, in characters.
const NAME_MAX: usize = 100;
/// Longest time that the old secret of a rotated key counts.
const GRACE_MAX: Duration = Duration::from_secs(7 * DAY);
/// Farthest expiry.
const EXPIRES_MAX: u64 = 100 * 365;
const DAY: u64 = 24 * 60 * 60;

/// A key to be made.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "stands for the shape of what is read field by field"
)]
pub(super) struct NewKeyBody {
    /// 1 to 100 characters, no control characters.
    #[schemars(length(min = 1, max = 100))]
    name: String,
    /// `admin`, `editor`, `viewer` or `custom`.
    #[schemars(extend("enum" = ["admin", "editor", "viewer", "custom"]))]
    role: String,
    /// Of a `custom` key, and of no other.
    #[serde(default)]
    permissions: Vec<String>,
    /// `@scope` each, or `*` for all, which is what a key has that does not say.
    #[serde(default)]
    #[schemars(
        length(min = 1),
        inner(regex(pattern = r"^(\*|@[A-Za-z0-9][A-Za-z0-9._-]*)$"))
    )]
    namespaces: Vec<String>,
    /// `never`, or a number and `d`, `w`, `m` or `y`.
    #[serde(default)]
    #[schemars(regex(pattern = r"^(never|[1-9][0-9]{0,2}[dwmy])$"))]
    expires_in: String,
}

/// A text such as `1h`, or seconds.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(
    dead_code,
    reason = "stands for the shape of what is read field by field"
)]
enum Grace {
    Seconds(#[schemars(range(max = 604_800))] u64),
    Text(#[schemars(regex(pattern = r"^[0-9]+(ms|s|m|h|d|w)?$"))] String),
}

/// What a rotation may say.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "stands for the shape of what is read field by field"
)]
pub(super) struct RotationBody {
    /// How long the old secret still counts, such as `1h`; at most `7d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 0))]
    grace: Option<Grace>,
}

/// Reads `{name, role, permissions?, namespaces?, expiresIn?}`.
pub(super) fn new_key(mut fields: Fields, now: SystemTime) -> Result<NewKey, Failure> {
    let name = name(fields.take("name"))?;
    let role = role(fields.take("role"))?;
    let permissions = permissions(role, fields.take("permissions"))?;
    let namespaces = namespaces(fields.take("namespaces"))?;
    let expires_at = expires_at(fields.take("expiresIn"), now)?;
    fields.nothing_else()?;
    Ok(NewKey {
        name,
        role,
        permissions,
        namespaces,
        expires_at,
    })
}

/// Reads `{grace?}`: how long the old secret still counts.
pub(super) fn rotation(mut fields: Fields) -> Result<Duration, Failure> {
    let grace = match fields.take("grace") {
        None => Some(Duration::ZERO),
        Some(Value::String(text)) => parse_duration(&text).ok(),
        Some(Value::Number(seconds)) => seconds.as_u64().map(Duration::from_secs),
        Some(_) => None,
    };
    fields.nothing_else()?;
    grace.filter(|grace| *grace <= GRACE_MAX).ok_or_else(|| {
        invalid(
            "VALIDATION_ERROR",
            "grace: write a time of at most 7d, such as \"1h\".",
        )
    })
}

fn invalid(code: &'static str, message: &'static str) -> Failure {
    Failure::new(400, code, message)
}

fn name(value: Option<Value>) -> Result<Box<str>, Failure> {
    let text = value.as_ref().and_then(Value::as_str).map(str::trim);
    let fits = |text: &&str| {
        !text.is_empty() && text.chars().count() <= NAME_MAX && !text.chars().any(char::is_control)
    };
    text.filter(fits).map(Box::from).ok_or_else(|| {
        invalid(
            "VALIDATION_ERROR",
            "name: write 1 to 100 characters without control characters.",
        )
    })
}

fn role(value: Option<Value>) -> Result<Role, Failure> {
    let role = value.as_ref().and_then(Value::as_str);
    role.and_then(|role| role.parse().ok()).ok_or_else(|| {
        invalid(
            "INVALID_KEY_ROLE",
            "role: write admin, editor, viewer or custom.",
        )
    })
}

fn permissions(role: Role, value: Option<Value>) -> Result<Permissions, Failure> {
    let invalid_list = || {
        invalid(
            "INVALID_PERMISSION",
            "permissions: write a list of permissions; the route keys/meta lists them.",
        )
    };
    let listed = match value {
        None => Permissions::NONE,
        Some(Value::Array(items)) => {
            let parsed = items
                .iter()
                .map(|item| item.as_str()?.parse::<Permission>().ok());
            parsed.collect::<Option<_>>().ok_or_else(invalid_list)?
        }
        Some(_) => return Err(invalid_list()),
    };
    match role.permissions() {
        None if listed.is_empty() => Err(invalid(
            "MISSING_PERMISSIONS",
            "permissions: a key of role custom lists at least one.",
        )),
        None => Ok(listed),
        // Else one would think that they count.
        Some(_) if !listed.is_empty() => Err(invalid(
            "INVALID_PERMISSION",
            "permissions: only a key of role custom lists its own.",
        )),
        Some(permissions) => Ok(permissions),
    }
}

fn namespaces(value: Option<Value>) -> Result<Namespaces, Failure> {
    let items = match value {
        None => return Ok(Namespaces::All),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(bad_namespaces()),
    };
    let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
    let texts = texts.ok_or_else(bad_namespaces)?;
    Namespaces::parse(texts).map_err(|_| bad_namespaces())
}

fn bad_namespaces() -> Failure {
    invalid(
        "INVALID_NAMESPACE",
        "namespaces: write a list of \"@scope\" entries, or [\"*\"] for all.",
    )
}

/// `never`, or a number with `d`, `w`, `m` (30 days) or `y` (365 days).
fn expires_at(value: Option<Value>, now: SystemTime) -> Result<Option<SystemTime>, Failure> {
    let bad = || {
        invalid(
            "INVALID_EXPIRATION",
            "expiresIn: write never, or a number with d, w, m or y, up to 100y.",
        )
    };
    let text = match &value {
        None => return Ok(None),
        Some(Value::String(text)) => text.as_str(),
        Some(_) => return Err(bad()),
    };
    if text == "never" {
        return Ok(None);
    }
    let days = days(text).filter(|days| (1..=EXPIRES_MAX).contains(days));
    let after = Duration::from_secs(days.ok_or_else(bad)? * DAY);
    Ok(Some(now + after))
}

fn days(text: &str) -> Option<u64> {
    let unit = match text.as_bytes().last()? {
        b'd' => 1,
        b'w' => 7,
        b'm' => 30,
        b'y' => 365,
        _ => return None,
    };
    let number = text.get(..text.len() - 1)?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(body: Value) -> Result<NewKey, (&'static str, String)> {
        let Value::Object(fields) = body else {
            panic!("no object");
        };
        new_key(Fields::new(fields), SystemTime::UNIX_EPOCH)
            .map_err(|failure| (failure.code, failure.message.into_owned()))
    }

    #[test]
    fn k4_n14_every_refusal_has_its_code_and_names_the_field() {
        let ok = json!({"name": "a", "role": "viewer"});
        assert!(parse(ok.clone()).is_ok());
        for (field, value, code) in [
            ("name", json!({}), "VALIDATION_ERROR"),
            ("name", json!(""), "VALIDATION_ERROR"),
            ("name", json!("  "), "VALIDATION_ERROR"),
            ("name", json!("a\nb"), "VALIDATION_ERROR"),
            ("name", json!("x".repeat(500_000)), "VALIDATION_ERROR"),
            ("name", json!(null), "VALIDATION_ERROR"),
            ("role", json!("__proto__"), "INVALID_KEY_ROLE"),
            ("role", json!("Admin"), "INVALID_KEY_ROLE"),
            ("role", json!(5), "INVALID_KEY_ROLE"),
            ("role", json!("custom"), "MISSING_PERMISSIONS"),
            ("permissions", json!("workers:read"), "INVALID_PERMISSION"),
            ("permissions", json!(["workers:*"]), "INVALID_PERMISSION"),
            (
                "permissions",
                json!(["workers:read", 5]),
                "INVALID_PERMISSION",
            ),
            ("permissions", json!(["workers:read"]), "INVALID_PERMISSION"),
            ("namespaces", json!([]), "INVALID_NAMESPACE"),
            ("namespaces", json!("@a"), "INVALID_NAMESPACE"),
            ("namespaces", json!(["@a", 5]), "INVALID_NAMESPACE"),
            ("namespaces", json!(["@"]), "INVALID_NAMESPACE"),
            ("namespaces", json!(null), "INVALID_NAMESPACE"),
            ("expiresIn", json!("0d"), "INVALID_EXPIRATION"),
            ("expiresIn", json!("d"), "INVALID_EXPIRATION"),
            ("expiresIn", json!("+1d"), "INVALID_EXPIRATION"),
            ("expiresIn", json!("-1d"), "INVALID_EXPIRATION"),
            ("expiresIn", json!("1h"), "INVALID_EXPIRATION"),
            ("expiresIn", json!("101y"), "INVALID_EXPIRATION"),
            (
                "expiresIn",
                json!("999999999999999999999999y"),
                "INVALID_EXPIRATION",
            ),
            (
                "expiresIn",
                json!("99999999999999999y"),
                "INVALID_EXPIRATION",
            ),
            ("expiresIn", json!(7), "INVALID_EXPIRATION"),
            ("owner", json!("me"), "VALIDATION_ERROR"),
            ("__proto__", json!({}), "VALIDATION_ERROR"),
        ] {
            let mut body = ok.clone();
            body[field] = value.clone();
            let (found, message) = parse(body).expect_err(field);
            assert_eq!(found, code, "{field}: {value:.40}");
            // A role of its own asks for the permissions.
            let named = if code == "MISSING_PERMISSIONS" {
                "permissions"
            } else {
                field
            };
            assert!(message.contains(named), "{message}");
        }
    }

    #[test]
    fn n14_a_star_beside_others_is_all_and_cases_are_one() {
        let with = |namespaces: Value| {
            let key = parse(json!({"name": "a", "role": "viewer", "namespaces": namespaces}));
            key.unwrap().namespaces
        };
        assert_eq!(with(json!(["*", "@a"])), Namespaces::All);
        let some = with(json!([" @B", "@a", "@b "]));
        assert_eq!(some.iter().collect::<Vec<_>>(), ["@a", "@b"]);
    }

    #[test]
    fn times_are_counted_in_days() {
        for (text, days) in [
            ("1d", 1),
            ("2w", 14),
            ("1m", 30),
            ("1y", 365),
            ("100y", 36_500),
        ] {
            let key = parse(json!({"name": "a", "role": "viewer", "expiresIn": text})).unwrap();
            let after = Duration::from_secs(days * DAY);
            assert_eq!(
                key.expires_at,
                Some(SystemTime::UNIX_EPOCH + after),
                "{text}"
            );
        }
        let never = parse(json!({"name": "a", "role": "viewer", "expiresIn": "never"}));
        assert_eq!(never.unwrap().expires_at, None);
    }

    #[test]
    fn a_grace_is_at_most_a_week() {
        let grace = |value: Value| {
            let mut fields = serde_json::Map::new();
            fields.insert("grace".to_owned(), value);
            rotation(Fields::new(fields)).ok()
        };
        assert_eq!(rotation(Fields::default()).unwrap(), Duration::ZERO);
        assert_eq!(grace(json!("1h")), Some(Duration::from_secs(3600)));
        assert_eq!(grace(json!(60)), Some(Duration::from_secs(60)));
        assert_eq!(grace(json!("7d")), Some(GRACE_MAX));
        for wrong in [
            json!("8d"),
            json!(604_801),
            json!(-1),
            json!(null),
            json!("soon"),
        ] {
            assert_eq!(grace(wrong.clone()), None, "{wrong}");
        }
    }
}
