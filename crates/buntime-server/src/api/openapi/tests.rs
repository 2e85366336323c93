use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;

use super::super::routes;
use super::*;

fn document() -> Value {
    serde_json::from_str(&document::document("/api")).unwrap()
}

/// `docs/openapi.json` is what the code says. `UPDATE_DOCS=1` writes it anew.
#[test]
fn the_description_in_the_documentation_is_this_one() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let now = document::document("/api");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &now).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == now,
        "docs/openapi.json is old: run UPDATE_DOCS=1 cargo test -p buntime-server openapi"
    );
}

#[test]
fn every_route_says_what_it_gives() {
    let all = routes::all().iter().copied().flatten();
    let silent: Vec<_> = all.filter(|route| !route.shape.is_known()).collect();
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn names_of_operations_are_unique_and_references_lead_somewhere() {
    let document = document();
    let mut names = HashSet::new();
    for path in document["paths"].as_object().unwrap().values() {
        for operation in path.as_object().unwrap().values() {
            assert!(names.insert(operation["operationId"].to_string()));
        }
    }
    let mut stack = vec![&document];
    while let Some(value) = stack.pop() {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                stack.extend(fields.values());
            }
            Value::Array(items) => stack.extend(items),
            _ => {}
        }
    }
}
