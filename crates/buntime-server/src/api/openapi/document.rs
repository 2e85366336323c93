//! The document, put together.

use std::collections::{BTreeMap, BTreeSet};

use buntime_http::Method;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::shape::{Gives, Param, Takes};
use crate::api::route::{Access, Route};
use crate::api::routes;

/// A failure of any route.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "stands for its shape alone")]
struct Error {
    error: ErrorDetail,
}

/// What went wrong.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "stands for its shape alone")]
struct ErrorDetail {
    /// For programs; never changes.
    code: String,
    /// For people.
    message: String,
    /// Also in the header `X-Request-Id`, the log and the audit log.
    request_id: String,
}

/// The description of the API whose base is `base`, `/api` as a rule.
pub(super) fn document(base: &str) -> String {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.for_serialize().into_generator();
    let error = schemas.subschema_for::<Error>();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for route in routes::all().iter().copied().flatten() {
        let method = route.method.as_str().to_ascii_lowercase();
        let described = operation(route, &mut schemas, &json!(error));
        let path = paths.entry(path(route.pattern)).or_default();
        path.insert(method, described);
    }
    let components = schemas.take_definitions(true);
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Buntime",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Deploy and look after apps. Authenticate by `X-API-Key` or \
                `Authorization: Bearer`, or by the cookie of a session. Every answer has an \
                `X-Request-Id`. What changes something leaves one line in the audit log.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": base}],
        "security": [{"key": []}, {"bearer": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "buntime_session"},
            },
        },
    });
    // Made of texts and numbers: nothing here can fail.
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

/// `/workers/{scope}/{name}`.
fn path(pattern: &str) -> String {
    let segments = pattern
        .split('/')
        .map(|segment| match segment.strip_prefix(':') {
            Some(name) => format!("{{{name}}}"),
            None => segment.to_owned(),
        });
    segments.collect::<Vec<_>>().join("/")
}

fn operation(route: &Route, schemas: &mut SchemaGenerator, error: &Value) -> Value {
    let tag = route.pattern.split('/').nth(1).unwrap_or_default();
    let tag = match (tag, route.pattern.contains("/files/")) {
        ("workers" | "plugins", true) => "files",
        ("openapi.json" | "docs" | "health", _) => "server",
        (tag, _) => tag,
    };
    let mut operation = json!({
        "operationId": route.operation_id(),
        "summary": route.summary,
        "tags": [tag],
        "responses": responses(route, schemas, error),
    });
    let fields = operation.as_object_mut();
    let Some(fields) = fields else {
        return operation;
    };
    let parameters = parameters(route);
    if !parameters.is_empty() {
        fields.insert("parameters".to_owned(), parameters.into());
    }
    if let Some(body) = body(route) {
        fields.insert("requestBody".to_owned(), body);
    }
    if route.access.is_public() {
        fields.insert("security".to_owned(), json!([]));
    }
    if let Some(permission) = route.access.permission() {
        fields.insert("x-permission".to_owned(), permission.as_str().into());
    }
    if route.changes() {
        fields.insert("x-audit-action".to_owned(), route.action.into());
    }
    operation
}

fn parameters(route: &Route) -> Vec<Value> {
    let in_path = route.params().map(|name| {
        let (about, schema) = of_path(name);
        json!({
            "name": name, "in": "path", "required": true, "description": about, "schema": schema,
        })
    });
    let in_query = route.shape.query.iter().map(|param| {
        json!({
            "name": param.name, "in": "query", "required": param.is_required,
            "description": param.about, "schema": schema_of(param),
        })
    });
    in_path.chain(in_query).collect()
}

fn schema_of(param: &Param) -> Value {
    match param {
        Param { is_list: true, .. } => json!({"type": "array", "items": {"type": "string"}}),
        Param { pattern: "", .. } => json!({"type": "string"}),
        Param { pattern, .. } => json!({"type": "string", "pattern": pattern}),
    }
}

fn of_path(name: &str) -> (&'static str, Value) {
    let text = |pattern: &str| json!({"type": "string", "minLength": 1, "pattern": pattern});
    match name {
        "scope" => (
            "The namespace with its `@`, or `_` for units without one.",
            text("^(_|@[A-Za-z0-9][A-Za-z0-9._-]*)$"),
        ),
        "name" => ("The name below the scope.", text("^[a-z0-9][a-z0-9._-]*$")),
        "plugin" => (
            "The plugin's whole name, its slash encoded: `%40acme%2Fauth`.",
            text("^(@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*$"),
        ),
        "version" => (
            "A version as installed: `1.2.3` or `latest`.",
            text("^[A-Za-z0-9][A-Za-z0-9.+-]*$"),
        ),
        _ => ("Its id.", text("^[A-Za-z0-9-]+$")),
    }
}

fn body(route: &Route) -> Option<Value> {
    match route.shape.takes {
        Takes::Nothing => None,
        Takes::Json {
            schema,
            is_required,
        } => {
            // What may be left out differs between what is read and what is written.
            let settings = SchemaSettings::draft2020_12().with(|settings| {
                settings.inline_subschemas = true;
                settings.meta_schema = None;
            });
            let schema = schema(&mut settings.for_deserialize().into_generator());
            Some(json!({
                "required": is_required,
                "content": {"application/json": {"schema": schema}},
            }))
        }
        Takes::Form(parts) => {
            let file = json!({"type": "string", "contentMediaType": "application/octet-stream"});
            let properties: Map<String, Value> = parts
                .iter()
                .enumerate()
                .map(|(index, part)| {
                    let mut schema = if index == 0 {
                        file.clone()
                    } else {
                        schema_of(part)
                    };
                    schema["description"] = part.about.into();
                    (part.name.to_owned(), schema)
                })
                .collect();
            let required: Vec<&str> = parts
                .iter()
                .filter(|part| part.is_required)
                .map(|part| part.name)
                .collect();
            Some(json!({
                "required": true,
                "content": {"multipart/form-data": {"schema": {
                    "type": "object", "properties": properties, "required": required,
                }}},
            }))
        }
    }
}

fn responses(route: &Route, schemas: &mut SchemaGenerator, error: &Value) -> Value {
    let mut responses = Map::new();
    let done = |content: Value| json!({"description": "Done.", "content": content});
    match route.shape.gives {
        Gives::Unknown => {
            responses.insert("2XX".to_owned(), json!({"description": "Done."}));
        }
        Gives::Nothing => {
            responses.insert("204".to_owned(), json!({"description": "Done."}));
        }
        Gives::Json(status, schema) => {
            let mut content = json!({"application/json": {"schema": schema(schemas)}});
            for kind in route.shape.also {
                content[*kind] = json!({});
            }
            if let Some((status, means)) = route.shape.same {
                let same = json!({"description": means, "content": content});
                responses.insert(status.to_string(), same);
            }
            responses.insert(status.to_string(), done(content));
        }
        Gives::Files(types) => {
            let content: Map<String, Value> = types
                .iter()
                .map(|kind| ((*kind).to_owned(), json!({})))
                .collect();
            responses.insert("200".to_owned(), done(content.into()));
        }
    }
    for (status, codes) in failures(route) {
        let codes: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
        let mut content = json!({"application/json": {"schema": error}});
        // Two refusals are as old as the first browsers and stay text.
        if matches!(status, 403 | 413) {
            content["text/plain"] = json!({"schema": {"type": "string"}});
        }
        let failure = json!({"description": codes.join(", "), "content": content});
        responses.insert(status.to_string(), failure);
    }
    responses.into()
}

/// What can go wrong, by status: what the way to the handler can refuse, and what the
/// route says of itself.
fn failures(route: &Route) -> BTreeMap<u16, BTreeSet<&'static str>> {
    let mut all: BTreeMap<u16, BTreeSet<&'static str>> = BTreeMap::new();
    let mut add = |status, code| {
        all.entry(status).or_default().insert(code);
    };
    add(400, "BAD_PATH");
    add(404, "NOT_FOUND");
    if !route.shape.query.is_empty() {
        add(400, "BAD_QUERY");
        add(400, "VALIDATION_ERROR");
    }
    if !route.access.is_public() {
        add(401, "AUTH_REQUIRED");
        add(421, "HOST_NOT_ALLOWED");
    }
    match route.access {
        Access::Public(_) | Access::AnyKey(_) => {}
        Access::Granted(..) | Access::Unit(..) | Access::Server(..) => {
            add(403, "PERMISSION_DENIED");
            add(403, "NAMESPACE_DENIED");
        }
    }
    if route.changes() {
        add(403, "ORIGIN_REQUIRED");
        add(403, "ORIGIN_FORBIDDEN");
        add(503, "AUDIT_UNAVAILABLE");
    }
    if !matches!(route.shape.takes, Takes::Nothing) {
        add(400, "BAD_REQUEST");
        add(400, "VALIDATION_ERROR");
        add(408, "REQUEST_TIMEOUT");
        add(413, "PAYLOAD_TOO_LARGE");
    }
    if let Takes::Json { .. } = route.shape.takes {
        add(400, "INVALID_JSON");
        add(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    if route.method == Method::Get {
        add(500, "INTERNAL_ERROR");
    }
    for (status, code) in route.shape.fails {
        add(*status, *code);
    }
    all
}
