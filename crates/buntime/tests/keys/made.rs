//! K4, K5, K6, N14: what keys can be made, by whom, and who may revoke them.

use serde_json::{Value, json};

use super::support::{ROOT, ask, builder, custom, failed, get, make, revoke, viewer};

#[test]
fn a_new_key_is_told_once_and_does_what_its_role_says() {
    let server = builder().start();
    let body =
        json!({"name": "deploy", "role": "viewer", "namespaces": [" @A "], "expiresIn": "1d"});
    let response = ask(&server, ROOT, "POST", "/api/keys", Some(&body));
    assert_eq!(response.status, 201);
    assert_eq!(response.header("cache-control").unwrap(), "no-store");
    let answer = response.json();
    assert_eq!(answer["success"], true);
    let data = &answer["data"];
    let secret = data["key"].as_str().unwrap();
    assert!(secret.starts_with("btk_") && secret.len() == 53, "{secret}");
    assert_eq!(data["keyPrefix"], secret[..12]);
    assert_eq!(
        (&data["name"], &data["role"], &data["namespaces"]),
        (&json!("deploy"), &json!("viewer"), &json!(["@a"]))
    );
    let me = get(&server, secret, "/api/admin/session").json();
    assert_eq!(me["principal"]["id"], data["id"]);
    assert_eq!(
        me["principal"]["permissions"],
        json!(["workers:read", "plugins:read", "keys:read"])
    );
    assert!(me["principal"]["lastUsedAt"].is_string());
    assert!(me["principal"]["expiresAt"].is_string());
    assert!(me["principal"].get("isRoot").is_none());
    let list = get(&server, ROOT, "/api/keys");
    assert!(
        !list.text().contains(&secret[12..]),
        "the list tells a secret"
    );
    assert_eq!(list.json()[0]["lastUsedFrom"], "127.0.0.1");
    assert_eq!(list.json()[0]["createdBy"], "root");
    // By either header, and by no other.
    let bearer = format!("Bearer {secret}");
    for (name, value, status) in [
        ("Authorization", bearer.as_str(), 200),
        ("X-API-Key", secret, 200),
        ("Authorization", secret, 401),
        ("X_Api_Key", secret, 401),
        ("X-Key", secret, 401),
    ] {
        let response = server
            .connect()
            .request("GET", "/api/keys", &[(name, value)], b"");
        assert_eq!(response.status, status, "{name}");
    }
    failed(
        &ask(&server, secret, "POST", "/api/keys", Some(&viewer("x"))),
        403,
        "PERMISSION_DENIED",
    );
}

#[test]
fn k4_n14_bodies_that_make_no_key_name_the_field() {
    let server = builder().start();
    for (field, value, code) in [
        ("name", json!({}), "VALIDATION_ERROR"),
        ("name", json!("x".repeat(500_000)), "VALIDATION_ERROR"),
        ("role", json!("__proto__"), "INVALID_KEY_ROLE"),
        ("role", json!("custom"), "MISSING_PERMISSIONS"),
        ("permissions", json!(["root"]), "INVALID_PERMISSION"),
        (
            "expiresIn",
            json!("99999999999999999999y"),
            "INVALID_EXPIRATION",
        ),
        ("expiresIn", json!("soon"), "INVALID_EXPIRATION"),
        ("isRoot", json!(true), "VALIDATION_ERROR"),
        ("namespaces", json!([]), "INVALID_NAMESPACE"),
        ("namespaces", json!("@a"), "INVALID_NAMESPACE"),
        ("namespaces", json!(["@a", 5]), "INVALID_NAMESPACE"),
        ("namespaces", json!(["@"]), "INVALID_NAMESPACE"),
    ] {
        let mut body = viewer("a");
        body[field] = value;
        let response = ask(&server, ROOT, "POST", "/api/keys", Some(&body));
        failed(&response, 400, code);
        let named = if code == "MISSING_PERMISSIONS" {
            "permissions"
        } else {
            field
        };
        assert!(response.text().contains(named), "{}", response.text());
        assert!(response.text().len() < 500);
    }
    for body in ["null", "[]", "{", "\"x\"", "", "{\"name\":\"a\"} x"] {
        let headers = [("X-API-Key", ROOT), ("Content-Type", "application/json")];
        let mut connection = server.connect();
        let response = connection.request("POST", "/api/keys", &headers, body.as_bytes());
        failed(&response, 400, "INVALID_JSON");
    }
    let huge = format!("{{\"name\":\"{}\"}}", "x".repeat(2 << 20));
    let headers = [("X-API-Key", ROOT), ("Content-Type", "application/json")];
    let response = server
        .connect()
        .request("POST", "/api/keys", &headers, huge.as_bytes());
    assert_eq!(response.status, 413);
    assert_eq!(get(&server, ROOT, "/api/keys").json(), json!([]));
    let mut body = viewer("a");
    body["namespaces"] = json!(["*", "@a"]);
    make(&server, ROOT, &body);
    assert_eq!(
        get(&server, ROOT, "/api/keys").json()[0]["namespaces"],
        json!(["*"])
    );
}

#[test]
fn k5_no_key_makes_one_wider_than_itself() {
    let server = builder().start();
    let mut maker = custom("maker", &["@a"], &["keys:create", "workers:read"]);
    maker["expiresIn"] = json!("2d");
    let maker = make(&server, ROOT, &maker);
    let within = |change: &dyn Fn(&mut Value)| {
        let mut body = custom("made", &["@a"], &["workers:read"]);
        body["expiresIn"] = json!("1d");
        change(&mut body);
        ask(&server, &maker.secret, "POST", "/api/keys", Some(&body))
    };
    assert_eq!(within(&|_| {}).status, 201);
    let wider: [&dyn Fn(&mut Value); 8] = [
        &|body| {
            body["role"] = json!("admin");
            body.as_object_mut().unwrap().remove("permissions");
        },
        &|body| {
            body["role"] = json!("viewer");
            body.as_object_mut().unwrap().remove("permissions");
        },
        &|body| body["permissions"] = json!(["workers:read", "workers:remove"]),
        &|body| body["namespaces"] = json!(["*"]),
        &|body| body["namespaces"] = json!(["@a", "@b"]),
        &|body| drop(body.as_object_mut().unwrap().remove("namespaces")),
        &|body| body["expiresIn"] = json!("3d"),
        &|body| drop(body.as_object_mut().unwrap().remove("expiresIn")),
    ];
    for change in wider {
        failed(&within(change), 403, "PRIVILEGE_ESCALATION");
    }
    assert_eq!(
        get(&server, ROOT, "/api/keys")
            .json()
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn k6_a_key_revokes_only_what_is_below_it() {
    let server = builder().start();
    let every = ["keys:read", "keys:create", "keys:revoke", "workers:read"];
    let a = make(&server, ROOT, &custom("a", &["@a"], &every));
    let given = make(&server, ROOT, &custom("given", &["@a"], &["workers:read"]));
    let of_b = make(&server, ROOT, &custom("b", &["@b"], &["workers:read"]));
    let of_all = make(&server, ROOT, &viewer("all"));
    let child = make(
        &server,
        &a.secret,
        &custom("child", &["@a"], &["workers:read"]),
    );
    failed(
        &revoke(&server, &a.secret, &a.id),
        400,
        "CANNOT_REVOKE_SELF",
    );
    for id in [
        &of_b.id,
        &of_all.id,
        "11111111-1111-4111-8111-111111111111",
        "%20",
    ] {
        failed(&revoke(&server, &a.secret, id), 403, "NAMESPACE_DENIED");
    }
    failed(
        &revoke(&server, &a.secret, &given.id),
        403,
        "PERMISSION_DENIED",
    );
    let only_creates = make(&server, ROOT, &custom("c", &["@a"], &["keys:create"]));
    failed(
        &revoke(&server, &only_creates.secret, &child.id),
        403,
        "PERMISSION_DENIED",
    );
    failed(&revoke(&server, ROOT, "no-such-key"), 404, "KEY_NOT_FOUND");
    // What was not revoked opens; what was does not, from the next request on.
    for key in [&given, &of_b, &of_all] {
        assert_eq!(get(&server, &key.secret, "/api/admin/session").status, 200);
    }
    assert_eq!(revoke(&server, &a.secret, &child.id).status, 200);
    failed(
        &get(&server, &child.secret, "/api/admin/session"),
        401,
        "AUTH_REQUIRED",
    );
    assert_eq!(revoke(&server, ROOT, &a.id).status, 200);
    failed(&get(&server, &a.secret, "/api/keys"), 401, "AUTH_REQUIRED");
}

#[test]
fn a_rotated_key_has_a_new_secret_and_keeps_the_old_one_for_the_grace() {
    let server = builder().start();
    let key = make(&server, ROOT, &viewer("rotated"));
    let rotate = |by: &str, body: Option<Value>| {
        let target = format!("/api/keys/{}/rotate", key.id);
        ask(&server, by, "POST", &target, body.as_ref())
    };
    let secret_of = |response: &buntime_testkit::Response| {
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()["data"]["key"].as_str().unwrap().to_owned()
    };
    let opens = |secret: &str| get(&server, secret, "/api/admin/session").status == 200;
    let answer = rotate(ROOT, Some(json!({"grace": "1h"})));
    let second = secret_of(&answer);
    assert!(answer.json()["data"]["oldKeyUntil"].is_string());
    assert_eq!(answer.json()["data"]["id"], key.id.as_str());
    assert!(opens(&key.secret) && opens(&second));
    let third = secret_of(&rotate(ROOT, None));
    assert!(!opens(&key.secret) && !opens(&second) && opens(&third));
    for grace in [json!("8d"), json!(-1), json!({}), json!("x"), json!(null)] {
        failed(
            &rotate(ROOT, Some(json!({"grace": grace}))),
            400,
            "VALIDATION_ERROR",
        );
    }
    failed(
        &rotate(ROOT, Some(json!({"now": true}))),
        400,
        "VALIDATION_ERROR",
    );
    // Who gets its secret must be able to do what it can.
    let weak = make(&server, ROOT, &custom("weak", &["*"], &["keys:create"]));
    failed(&rotate(&weak.secret, None), 403, "PERMISSION_DENIED");
    failed(&rotate(&third, None), 403, "PERMISSION_DENIED");
    assert!(opens(&third));
}
