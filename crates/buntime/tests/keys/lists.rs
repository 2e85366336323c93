//! What a key sees of others.

use serde_json::json;

use super::support::{ROOT, ask, builder, custom, failed, get, make, viewer};

#[test]
fn a_key_sees_the_keys_within_its_namespaces_alone() {
    let server = builder().start();
    let a = make(&server, ROOT, &custom("reads", &["@a"], &["keys:read"]));
    let ab = make(
        &server,
        ROOT,
        &custom("reads both", &["@a", "@b"], &["keys:read"]),
    );
    make(
        &server,
        ROOT,
        &custom("secret b", &["@b"], &["workers:read"]),
    );
    make(&server, ROOT, &viewer("everywhere"));
    let names = |key: &str| {
        let list = get(&server, key, "/api/keys").json();
        let names = list
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["name"].clone());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&a.secret), ["reads"]);
    assert_eq!(names(&ab.secret), ["reads", "reads both", "secret b"]);
    assert_eq!(
        names(ROOT),
        ["reads", "reads both", "secret b", "everywhere"]
    );
}

#[test]
fn the_meta_tells_what_can_be_given() {
    let server = builder().start();
    let key = make(&server, ROOT, &custom("meta", &["@a"], &["keys:read"]));
    let meta = get(&server, &key.secret, "/api/keys/meta").json();
    let roles = meta["roles"].as_array().unwrap();
    let names: Vec<_> = roles
        .iter()
        .map(|role| role["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["admin", "editor", "viewer", "custom"]);
    assert_eq!(meta["permissions"].as_array().unwrap().len(), 11);
    assert_eq!(meta["grantable"]["namespaces"], json!(["@a"]));
    assert_eq!(meta["grantable"]["permissions"], json!(["keys:read"]));
    failed(
        &ask(&server, ROOT, "POST", "/api/keys/meta", None),
        405,
        "METHOD_NOT_ALLOWED",
    );
    failed(&server.get("/api/keys/meta"), 401, "AUTH_REQUIRED");
}
